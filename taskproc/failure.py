"""Errors as bounded text, whatever they do when they are looked at."""

from __future__ import annotations

import functools
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

__all__ = ["Failure", "describe", "log_error", "message_of", "one_line", "type_of", "visible"]

LONGEST_LOGGED = 300
LONGEST_TYPE = 500
LONGEST_MESSAGE = 2_000
LONGEST_TRACEBACK = 16_000
MOST_NOTES = 20
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
        type=_bounded("type", lambda: _name_of(type(error)), LONGEST_TYPE),  # no deeper: the stack may be almost full
        message=_bounded("text", lambda: str(error), LONGEST_MESSAGE),
        traceback=_bounded("traceback", lambda: _traceback_of(error), LONGEST_TRACEBACK),
    )


def type_of(error: BaseException) -> str:
    """The name of the error's class, with its module."""
    return _bounded("type", lambda: _name_of(type(error)), LONGEST_TYPE)


def message_of(error: BaseException) -> str:
    """What the error says."""
    return _bounded("text", lambda: str(error), LONGEST_MESSAGE)


def _name_of(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _traceback_of(error: BaseException) -> str:
    shown = traceback.TracebackException(type(error), error, error.__traceback__, limit=-INNERMOST, compact=True)
    _shorten_messages(shown)
    return "".join(_shorten(line, LONGEST_TRACEBACK) for line in shown.format())


def _shorten_messages(shown: traceback.TracebackException) -> None:
    """Before they are split into lines, which takes ten seconds for a few hundred megabytes."""
    chain = [shown]
    while chain:
        each = chain.pop()
        message = vars(each).get("_str")
        if isinstance(message, str) and len(message) > LONGEST_TRACEBACK:
            vars(each)["_str"] = _shorten(message, LONGEST_TRACEBACK)
        if each.__notes__ is not None:
            vars(each)["__notes__"] = _short_notes(each.__notes__)
        chain += [below for below in (each.__cause__, each.__context__, *(each.exceptions or ())) if below is not None]


def _short_notes(notes: object) -> list[str]:
    those = cast("Sequence[object]", notes) if isinstance(notes, list | tuple) else [notes]
    return [_bounded("note", functools.partial(str, each), LONGEST_TRACEBACK) for each in those[:MOST_NOTES]]


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
    return visible(text[:LONGEST_LOGGED])


def visible(text: str) -> str:
    """The text with its line breaks, control characters and what else cannot be seen spelled out."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def log_error(logger: logging.Logger, error: BaseException, message: str, *args: object) -> None:
    """Logs an error with its traceback, bounded, and of which no line can pass for another entry of the log."""
    if not logger.isEnabledFor(logging.ERROR):
        return
    file, line, function, _ = logger.findCaller(stacklevel=2)
    details = (type(error), error, error.__traceback__)
    record = logger.makeRecord(logger.name, logging.ERROR, file, line, message, args, details, function)
    record.exc_text = _quoted(describe(error).traceback)  # what formatters show; others find the error itself
    logger.handle(record)


def _quoted(text: str) -> str:
    return "\n".join(f"  | {visible(line)}" for line in text.split("\n"))
