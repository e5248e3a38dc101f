"""Numbers, durations and instants as people read them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from markupsafe import Markup, escape

__all__ = [
    "age",
    "ago",
    "brief",
    "call",
    "clock",
    "count",
    "dated",
    "elapsed",
    "many",
    "marked",
    "percent",
    "rate",
    "seconds",
    "short",
    "size",
    "utc",
]

MINUTE, HOUR, DAY = 60, 3600, 86_400
_INSTANT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} UTC)")
"""As explanations write them."""
_NAMED = re.compile(r"(?<=queue )'([^']+)'|(?<=tenant )'([^']+)'")
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


def age(at: datetime | None) -> Markup | str:
    """`3 min`, the same in one unit."""
    return "–" if at is None else _time(at, _coarse((datetime.now(UTC) - at).total_seconds(), parts=1), "age")


def _coarse(value: float, parts: int = 2) -> str:
    """As the script of the pages counts on."""
    return " ".join(_whole(max(int(value), 0)).split(" ")[: 2 * parts])


def _time(at: datetime, words: str, how: str) -> Markup:
    utc = at.astimezone(UTC)
    exact = utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    shown = f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03} UTC"
    return Markup('<time datetime="{}" title="{}" data-shown="{}">{}</time>').format(exact, shown, how, words)


def dated(text: str) -> Markup:
    """An explanation, with its code as such, and behind each instant in it how long ago that was."""
    parts = _INSTANT.split(text)
    return Markup().join(_with_ago(part) if at % 2 else _coded(part) for at, part in enumerate(parts))


def _coded(text: str) -> Markup:
    parts = text.split("`")
    if len(parts) % 2 == 0:  # of a reason that somebody has written
        return escape(text)
    code = Markup("<code>{}</code>")
    return Markup().join(code.format(part) if at % 2 else escape(part) for at, part in enumerate(parts))


def _with_ago(instant: str) -> Markup:
    try:
        at = datetime.fromisoformat(instant.replace(" UTC", "+00:00"))
    except ValueError:  # as in a reason that somebody has written
        return escape(instant)
    return Markup("{} ({})").format(instant, ago(at))


def marked(text: str, url: Callable[..., str]) -> Markup:
    """What the doctor says, with its code as such, and links to queues and tenants."""
    shown, at = Markup(), 0
    for found in _NAMED.finditer(text):
        queue, tenant = found.groups()
        page = url("queue", name=queue) if queue else url("tenant", name=tenant)
        shown += _coded(text[at : found.start()]) + Markup('<a href="{}">{}</a>').format(page, found[0])
        at = found.end()
    return shown + _coded(text[at:])


def short(id_: str) -> str:
    """The begin of an id, and what makes it one of a batch, or of a schedule."""
    schedule, colon, cycle = id_.rpartition(":")
    if colon:
        return f"{schedule[:SHORT]}{'…' if len(schedule) > SHORT else ''}{colon}{cycle[-SHORT:]}"
    head, dot, rest = id_.partition(".")
    return f"{head[:SHORT]}{'…' if len(head) > SHORT else ''}{dot}{rest}"


def call(name: str) -> Markup:
    """A method with its module set back."""
    module, colon, path = name.rpartition(":")
    return Markup('<code class="call"><span>{}{}</span>{}</code>').format(module, colon, path)


def clock(at: datetime, *, day: bool = False) -> Markup:
    """The hour of an instant, in UTC; with `day` the day, too."""
    return _time(at, f"{at.astimezone(UTC):{'%d %b %H:%M' if day else '%H:%M'}}", "clock")


def utc(at: datetime) -> str:
    """The instant to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
