"""What of a task's arguments is not printed unless it is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

__all__ = ["HIDDEN", "without_secrets"]

HIDDEN = "•••••• hidden"
DEEPEST = 20
_SECRET = re.compile(
    r"pass(word|wd|phrase|code)?|pwd|secret|token|key|auth|cookie|session|credential|signature|otp|pin$|ssn|social|card|cvv|cvc"
    r"|iban|account_?number|private",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")


def without_secrets(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The same without the values of names that look secret, and without passwords in URLs, at any depth."""
    return {name: _without(name, value, 0) for name, value in arguments.items()}


def _without(name: str, value: object, depth: int) -> object:
    if depth > DEEPEST or _SECRET.search(name):
        return HIDDEN
    if isinstance(value, dict):
        within = cast("dict[str, object]", value)
        return {key: _without(key, each, depth + 1) for key, each in within.items()}
    if isinstance(value, list):
        return [_without("", each, depth + 1) for each in cast("list[object]", value)]
    return _LOGIN.sub(r"\1:•••@", value) if isinstance(value, str) else value
