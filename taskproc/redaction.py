"""Keeps what looks secret out of what people are shown of a task's arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

__all__ = ["HIDDEN", "looks_secret", "redacted", "without_logins"]

HIDDEN = "•••••• hidden"
DEEPEST = 20
_SECRET = re.compile(
    r"pass(word|wd|phrase|code)?|pwd|secret|token|key|auth|cookie|session|credential|signature|otp|pin$|ssn|social|card"
    r"|cvv|cvc|iban|account_?number|private",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")


def looks_secret(name: str) -> bool:
    """Whether the name is that of something that is not shown: `password`, `api_key`, `card_number`."""
    return _SECRET.search(name) is not None


def without_logins(text: str) -> str:
    """The text without passwords in URLs."""
    return _LOGIN.sub(r"\1:•••@", text)


def redacted(
    arguments: Mapping[str, Any],
    hides: Callable[[str], bool] = looks_secret,
    clean: Callable[[str], str] = without_logins,
) -> dict[str, Any]:
    """The same, at any depth, with `HIDDEN` for what has a name that `hides`, and with texts as `clean` leaves them."""
    return {name: _value(name, value, hides, clean, 0) for name, value in arguments.items()}


def _value(name: str, value: object, hides: Callable[[str], bool], clean: Callable[[str], str], depth: int) -> object:
    if depth > DEEPEST or (name and hides(name)):
        return HIDDEN
    if isinstance(value, dict):
        within = cast("dict[str, object]", value)
        return {key: _value(key, each, hides, clean, depth + 1) for key, each in within.items()}
    if isinstance(value, list):
        return [_value("", each, hides, clean, depth + 1) for each in cast("list[object]", value)]
    return clean(value) if isinstance(value, str) else value
