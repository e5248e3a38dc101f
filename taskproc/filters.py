"""The filter language of lists of tasks, as in `call:load_row -error:Timeout* died:<2h`: terms, all of which must hold.

There is nothing in it that a user could make slow: names and texts are searched from left to right, once for each term.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import eq, ge, gt, le, lt

from taskproc.errors import InvalidFilter
from taskproc.failure import visible
from taskproc.models import TaskInfo

__all__ = ["LONGEST_FILTER", "Filter", "filter_or_none", "parse_filter"]

LONGEST_FILTER = 1_000  # characters
MOST_TERMS = 20
LONGEST_SHOWN = 100  # characters of a term in a message

Test = Callable[[TaskInfo, datetime], bool]
"""Whether a task is meant, now."""
Part = Callable[[TaskInfo], str]

_TERM = re.compile(
    r'(?P<term>(?P<without>-?+)(?:(?P<field>[^\s":]*+):)?+(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"|(?P<plain>[^\s"]++))?+)'
    r"(?:\s++|\Z)",
    re.DOTALL,
)
_ESCAPED = re.compile(r'\\(["\\])')
_COMPARES = {"": eq, "=": eq, "<": lt, "<=": le, ">": gt, ">=": ge}
_NUMBER = re.compile(r"([<>]=?|=?)([0-9]{1,9})")
_AGE = re.compile(r"([<>]=?)(?=[0-9])(?:([0-9]{1,5})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,8})m)?(?:([0-9]{1,9})s)?")


@dataclass(frozen=True, slots=True)
class Filter:
    """What a filter means."""

    _tests: tuple[Test, ...]

    def matches(self, task: TaskInfo, now: datetime) -> bool:
        """Whether all its terms hold; ages are counted back from `now`."""
        return all(test(task, now) for test in self._tests)


def filter_or_none(text: str | None) -> Filter | None:
    """None where none is asked for."""
    return None if text is None else parse_filter(text)


def parse_filter(text: str) -> Filter:
    """What a filter means; InvalidFilter, about the first term that is wrong, for what is none."""
    if not isinstance(text, str) or len(text) > LONGEST_FILTER:
        shown = repr(text)[:LONGEST_SHOWN]
        raise InvalidFilter(f"the filter {shown} is not a str of at most {LONGEST_FILTER:,} characters")
    tests: list[Test] = []
    rest = text.strip()
    while rest:
        match = _TERM.match(rest)
        if match is None:
            raise _wrong(rest.split()[0], 'quotes stand around the whole of a text, as in message:"not a number"')
        if len(tests) == MOST_TERMS:
            raise _wrong(match["term"], f"a filter has {MOST_TERMS} terms at most")
        tests.append(_test(match))
        rest = rest[match.end() :]
    if not tests:
        raise InvalidFilter("the filter is empty, which could be a slip: leave it out to mean all")
    return Filter(tuple(tests))


def _wrong(term: str, why: str) -> InvalidFilter:
    shown = term if len(term) <= LONGEST_SHOWN else f"{term[:LONGEST_SHOWN]}…"
    return InvalidFilter(f"filter term `{visible(shown)}`: {why}")


def _test(match: re.Match[str]) -> Test:
    """What one term asks."""
    term, field, quoted, plain = match["term"], match["field"], match["quoted"], match["plain"]
    make = _contains_anywhere if field is None else _FIELDS.get(field.lower())
    if make is None:
        said = f"there is no such field; there are {', '.join(_FIELDS)}. Text with a colon in it stands in quotes"
        raise _wrong(term, said)
    if not (quoted or plain):
        raise _wrong(term, "it says nothing to look for")
    try:
        test = make(_Words.quoted(quoted) if quoted is not None else _Words.plain(plain))
    except ValueError as error:
        raise _wrong(term, str(error)) from None
    return (lambda task, now: not test(task, now)) if match["without"] else test


@dataclass(frozen=True, slots=True)
class _Words:
    """What a term looks for: texts with anything in between them."""

    pieces: tuple[str, ...]

    @classmethod
    def plain(cls, text: str) -> _Words:
        """In which `*` stands for anything."""
        return cls(tuple(text.split("*")))

    @classmethod
    def quoted(cls, text: str) -> _Words:
        """In which nothing is special but a backslash before a quote or another one."""
        return cls((_ESCAPED.sub(r"\1", text),))

    @property
    def text(self) -> str:
        """As it was written."""
        return "*".join(self.pieces)

    def folded(self) -> _Words:
        return _Words(tuple(piece.casefold() for piece in self.pieces))

    def are_in(self, text: str) -> bool:
        """Whether they occur in the text, in this order."""
        return _in_order(self.pieces, text)

    def are(self, text: str) -> bool:
        """Whether they are the text, from its begin to its end."""
        first, last = self.pieces[0], self.pieces[-1]
        if len(self.pieces) == 1:
            return text == first
        if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
            return False
        return _in_order(self.pieces[1:-1], text[len(first) : len(text) - len(last)])

    def end(self, name: str) -> bool:
        """Whether they are a name, or the end of it, from one of its parts on: those are divided by `.` and `:`."""
        first = self.pieces[0]
        if self.are(name):
            return True
        if len(self.pieces) == 1:
            return name.endswith((f".{first}", f":{first}"))
        begins = [place + 1 for place in (name.find(f".{first}"), name.find(f":{first}")) if place >= 0]
        return bool(begins) and self.are(name[min(begins) :])  # the first place leaves most room for the rest


def _in_order(pieces: tuple[str, ...], text: str) -> bool:
    place = 0
    for piece in pieces:
        place = text.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    return True


def _call(task: TaskInfo) -> str:
    return task.call or task.topic


def _error(task: TaskInfo) -> str:
    return task.error_type or ""


def _message(task: TaskInfo) -> str:
    return task.error_message or ""


def _ends(part: Part) -> Callable[[_Words], Test]:
    def make(words: _Words) -> Test:
        folded = words.folded()
        return lambda task, _: folded.end(part(task).casefold())

    return make


def _is(part: Part) -> Callable[[_Words], Test]:
    return lambda words: lambda task, _: words.are(part(task))


def _contains(*parts: Part) -> Callable[[_Words], Test]:
    def make(words: _Words) -> Test:
        folded = words.folded()
        return lambda task, _: any(folded.are_in(part(task).casefold()) for part in parts)

    return make


_contains_anywhere = _contains(_call, _error, _message)


def _attempts(words: _Words) -> Test:
    match = _NUMBER.fullmatch(words.text)
    if match is None:
        raise ValueError("write a number, as in attempts:3, attempts:>=3 or attempts:<3")
    compare, number = _COMPARES[match[1]], int(match[2])
    return lambda task, _: compare(task.attempt, number)


def _died(words: _Words) -> Test:
    match = _AGE.fullmatch(words.text)
    if match is None:
        raise ValueError("write how long ago, in s, m, h and d: died:<2h is later than that, died:>1d12h longer ago")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
    compare, age = _COMPARES[match[1]], timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    return lambda task, now: task.died_at is not None and compare(now - task.died_at, age)


_FIELDS: dict[str, Callable[[_Words], Test]] = {
    "call": _ends(_call),
    "error": _ends(_error),
    "message": _contains(_message),
    "tenant": _is(lambda task: task.tenant),
    "batch": _is(lambda task: task.batch_id or ""),
    "id": _is(lambda task: task.task_id),
    "attempts": _attempts,
    "died": _died,
}
