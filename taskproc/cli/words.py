"""Numbers, durations, instants and foreign text, as they are printed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from rich.text import Text

from taskproc.failure import visible

__all__ = ["NOTHING", "ago", "cell", "count", "instant", "length", "noun", "rate", "read_span", "since"]

NOTHING = "–"
MINUTE, HOUR, DAY = 60, 3600, 86_400
UNITS = (("d", DAY), ("h", HOUR), ("min", MINUTE), ("s", 1))
FEW = 10
LONGEST_CELL = 200  # characters of a text in a table
_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def cell(text: object, style: str = "") -> Text:
    """Text as it is, whoever made it up: markup means nothing, and what cannot be seen is spelled out."""
    whole = visible(str(text))
    return Text(whole if len(whole) <= LONGEST_CELL else f"{whole[:LONGEST_CELL]}…", style=style)


def count(number: int | None) -> str:
    """`1,234`."""
    return NOTHING if number is None else f"{number:,}"


def noun(number: int, thing: str) -> str:
    """`1 task`, `1,234 tasks`, `2 batches`."""
    plural = f"{thing}es" if thing.endswith("ch") else f"{thing}s"
    return f"{number:,} {thing if number == 1 else plural}"


def length(value: float | timedelta | None) -> str:
    """`12 ms`, `1.2 s`, `3 min 5 s`, `2 h 4 min`, `3 d 2 h`."""
    if value is None:
        return NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < FEW else _whole(int(seconds))


def _whole(seconds: int) -> str:
    if seconds < MINUTE:
        return f"{seconds} s"
    place = next(place for place, (_, size) in enumerate(UNITS) if seconds >= size)
    (unit, size), (part, part_size) = UNITS[place], UNITS[place + 1]
    rest = seconds % size // part_size
    return (
        f"{seconds // size:,} {unit} {rest} {part}" if rest and seconds < FEW * size else f"{seconds // size:,} {unit}"
    )


def _roughly(seconds: float) -> str:
    """In the largest unit of which there is one."""
    return next(f"{int(seconds // size):,} {unit}" for unit, size in UNITS if seconds >= size or size == 1)


def since(at: datetime | None) -> str:
    """How long ago that was: `3 s`."""
    return NOTHING if at is None else _roughly(max((datetime.now(UTC) - at).total_seconds(), 0))


def ago(at: datetime | None) -> str:
    """`3 s ago`, `now`, `in 2 h`."""
    if at is None:
        return NOTHING
    apart = (datetime.now(UTC) - at).total_seconds()
    if abs(apart) < 1:
        return "now"
    return f"{_roughly(apart)} ago" if apart > 0 else f"in {_roughly(round(-apart))}"


def instant(at: datetime | None) -> str:
    """`2026-01-31 12:00:00`, in UTC."""
    return NOTHING if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def rate(per_second: float) -> str:
    """`12 / s`, `3 / min`."""
    if per_second >= 1:
        return f"{per_second:,.0f} / s"
    return f"{per_second * MINUTE:,.0f} / min" if per_second * MINUTE >= 1 or not per_second else "< 1 / min"


def read_span(text: str) -> timedelta:
    """What `30s`, `15m`, `2h`, `1d12h` mean; ValueError for what means nothing."""
    match = _SPAN.fullmatch(text.replace(" ", "").lower())
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    try:
        span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        span = timedelta(0)
    if not span:
        written = f"{text.strip()}m for minutes" if text.strip().isdecimal() and int(text) else "30s, 15m, 2h or 1d12h"
        raise ValueError(f"{text!r} is no time: write {written}")
    return span
