"""Errors as bounded text, whatever they do when they are looked at."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

__all__ = ["Failure", "describe"]

LONGEST_MESSAGE = 2_000
LONGEST_TRACEBACK = 16_000
DEEPEST = 40  # frames shown from each end of a chain of calls


@dataclass(frozen=True, slots=True)
class Failure:
    """What a dead task keeps of its last error."""

    type: str
    message: str
    traceback: str


def describe(error: BaseException) -> Failure:
    """The error's type, message and traceback, cut to a size that can be stored."""
    return Failure(
        _type_of(error),
        _shorten(_message_of(error), LONGEST_MESSAGE),
        _shorten(_traceback_of(error), LONGEST_TRACEBACK),
    )


def _type_of(error: BaseException) -> str:
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as broken:  # noqa: BLE001 - __str__ is the user's code
        return f"<its text cannot be shown: {type(broken).__name__}>"


def _traceback_of(error: BaseException) -> str:
    try:
        shown = traceback.TracebackException(type(error), error, error.__traceback__, limit=-DEEPEST, compact=True)
        return "".join(shown.format())
    except BaseException as broken:  # noqa: BLE001 - formatting runs the user's __str__ and __repr__
        return f"<its traceback cannot be shown: {type(broken).__name__}>"


def _shorten(text: str, longest: int) -> str:
    text = text.encode("utf-8", "replace").decode()  # what cannot be written as UTF-8 could not be stored
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}\n… {len(text) - longest} characters …\n{text[-half:]}"
