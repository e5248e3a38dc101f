"""Errors as bounded text, whatever they do when they are looked at."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Failure", "describe", "one_line"]

LONGEST_LOGGED = 300
LONGEST_TYPE = 500
LONGEST_MESSAGE = 2_000
LONGEST_TRACEBACK = 16_000
INNERMOST = 40  # frames shown of each traceback


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a dead task keeps of its last error."""

    type: str
    message: str
    traceback: str


def describe(error: BaseException) -> Failure:
    """The error's type, message and traceback, cut to a size that can be stored."""
    return Failure(
        type=_bounded("type", lambda: _type_of(error), LONGEST_TYPE),
        message=_bounded("text", lambda: str(error), LONGEST_MESSAGE),
        traceback=_bounded("traceback", lambda: _traceback_of(error), LONGEST_TRACEBACK),
    )


def _type_of(error: BaseException) -> str:
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _traceback_of(error: BaseException) -> str:
    shown = traceback.TracebackException(type(error), error, error.__traceback__, limit=-INNERMOST, compact=True)
    return "".join(_shorten(line, LONGEST_TRACEBACK) for line in shown.format())


def _bounded(what: str, make: Callable[[], str], longest: int) -> str:
    try:
        return _shorten(make(), longest)
    except BaseException as broken:  # noqa: BLE001 - it runs the user's __str__ and __repr__
        return f"<its {what} cannot be shown: {type(broken).__name__}>"


def _shorten(text: str, longest: int) -> str:
    if len(text) > longest:
        half = longest // 2
        text = f"{text[:half]}\n… {len(text) - longest} characters …\n{text[-half:]}"
    return text.encode("utf-8", "replace").decode()  # what cannot be written as UTF-8 could not be stored


def one_line(text: str) -> str:
    """Text for a log: bounded, and without line breaks or other control characters."""
    return text[:LONGEST_LOGGED].encode("unicode_escape").decode()
