"""Numbers, durations and instants as people read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from markupsafe import Markup, escape

__all__ = [
    "ago",
    "brief",
    "call",
    "clock",
    "count",
    "dated",
    "elapsed",
    "many",
    "percent",
    "rate",
    "seconds",
    "short",
    "size",
    "utc",
]

MINUTE, HOUR, DAY = 60, 3600, 86_400
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?\+00:00)")
SHORT = 10  # characters of an id in a list


def count(number: float | None) -> str:
    """`1,234`."""
    return "–" if number is None else f"{number:,.0f}"


def many(number: int, thing: str) -> str:
    """`1 task`, `1,234 tasks`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def rate(per_second: float | None) -> str:
    """`12 / s`, `3 / min`, `0.5 / h`."""
    if per_second is None:
        return "–"
    for unit, length in (("s", 1), ("min", MINUTE), ("h", HOUR)):
        if per_second * length >= 1 or unit == "h":
            shown = per_second * length
            return f"{shown:,.0f} / {unit}" if shown >= 10 or not shown else f"{shown:.1f} / {unit}"  # noqa: PLR2004
    raise AssertionError


def percent(part: float, whole: float) -> str:
    """`12 %`, and never 0 or 100 where it is not quite so."""
    if not whole:
        return "–"
    share = part / whole * 100
    if 0 < share < 1:
        return "< 1 %"
    if 99 < share < 100:  # noqa: PLR2004
        return "> 99 %"
    return f"{share:.0f} %"


def seconds(length: float | timedelta | None) -> str:
    """`12 ms`, `1.2 s`, `3 min 5 s`, `2 h 4 min`, `3 d 2 h`."""
    if length is None:
        return "–"
    value = length.total_seconds() if isinstance(length, timedelta) else length
    if value < 0.001:  # noqa: PLR2004
        return "0 ms" if value <= 0 else "< 1 ms"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 10:  # noqa: PLR2004
        return f"{value:.1f} s"
    return _whole(int(value))


def brief(length: float | None) -> str:
    """The same in one unit: `12 ms`, `1.2 s`, `3.1 min`, `2.1 h`."""
    if length is None or length < MINUTE:
        return seconds(length)
    value, unit = next(
        (length / each, name) for name, each in (("d", DAY), ("h", HOUR), ("min", MINUTE)) if length >= each
    )
    return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"  # noqa: PLR2004


def _whole(value: int) -> str:
    if value < MINUTE:
        return f"{value} s"
    for large, small, length, part in (("min", "s", MINUTE, 1), ("h", "min", HOUR, MINUTE), ("d", "h", DAY, HOUR)):
        if value < length * (60 if large != "h" else 24) or large == "d":
            rest = value % length // part
            return (
                f"{value // length:,} {large} {rest} {small}"
                if rest and value < 100 * length
                else (f"{value // length:,} {large}")
            )
    raise AssertionError


def size(number: float | None) -> str:
    """`12 B`, `3.4 MB`."""
    if number is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":  # noqa: PLR2004
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"  # noqa: PLR2004
        number /= 1000
    raise AssertionError


def ago(at: datetime | None) -> Markup | str:
    """`3 min ago` or `in 3 min`, with the instant."""
    if at is None:
        return "–"
    apart = (datetime.now(UTC) - at).total_seconds()
    words = "now" if abs(apart) < 1 else f"{_coarse(apart)} ago" if apart > 0 else f"in {_coarse(-apart)}"
    return _time(at, words, "ago")


def elapsed(at: datetime | None) -> Markup | str:
    """`3 min`, the time since then, with the instant."""
    return "–" if at is None else _time(at, _coarse((datetime.now(UTC) - at).total_seconds()), "since")


def _coarse(value: float) -> str:
    """As the script of the pages counts on."""
    return _whole(max(int(value), 0))


def _time(at: datetime, words: str, how: str) -> Markup:
    utc = at.astimezone(UTC)
    exact = utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    shown = f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03} UTC"
    return Markup('<time datetime="{}" title="{}" data-shown="{}">{}</time>').format(exact, shown, how, words)


def dated(text: str) -> Markup:
    """A text whose instants are easier to read."""
    parts = _INSTANT.split(text)
    shown = [
        _time(datetime.fromisoformat(part), _to_second(part), "at") if at % 2 else escape(part)
        for at, part in enumerate(parts)
    ]
    return Markup().join(shown)


def _to_second(instant: str) -> str:
    return f"{datetime.fromisoformat(instant).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def short(id_: str) -> str:
    """The begin of an id, and what makes it one of a batch."""
    head, dot, rest = id_.partition(".")
    return f"{head[:SHORT]}{'…' if len(head) > SHORT else ''}{dot}{rest}"


def call(name: str) -> Markup:
    """A method with its module set back."""
    module, colon, path = name.rpartition(":")
    return Markup('<code class="call"><span>{}{}</span>{}</code>').format(module, colon, path)


def clock(at: datetime) -> Markup:
    """The hour of an instant, in UTC."""
    return _time(at, f"{at.astimezone(UTC):%H:%M}", "clock")


def utc(at: datetime) -> str:
    """The instant to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
