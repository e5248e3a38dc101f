"""When a cron expression fires in a time zone: pure functions of the expression, the zone and an instant.

`croniter` reads the expression and steps through wall-clock times; it never sees a time zone. What happens when the
clock is put forward or back is decided here, by one of two rules, see `Cron`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, CroniterError, croniter

from taskproc.errors import InvalidSchedule

__all__ = ["ALIASES", "Cron"]

_SECOND = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 1000  # characters: bounds the time that one call can take

_Fold = Literal[0, 1]  # which of the two instants, where a wall-clock time is repeated


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """The instants at which a cron expression fires in a time zone; made by `Cron.parse`.

    An hour field that starts with `*` goes by elapsed time: the expression fires at each instant whose wall-clock time
    matches. So `*/30 * * * *` fires every 30 minutes whatever is done to the clock; `0 */2 * * *` fires whenever the
    clock shows an even hour, twice if that hour is repeated and not at all if it is left out.

    Every other hour field goes by wall clock: each matching time counts once. In a repeated hour it fires the first
    time round; the times that a jump leaves out fire together, once, at the instant of the jump.

    Both rules hold for shifts of any length. With several expressions joined by `|` each follows its own rule.
    """

    expression: str
    timezone: str
    seconds: bool
    _clock: _Clock = field(repr=False, compare=False)
    _rules: tuple[_Rule, ...] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, expression: str, timezone: str = "UTC", *, seconds: bool = False) -> Cron:
        """The schedule that `expression` means in `timezone`, a name of the IANA database.

        Fields: minute, hour, day of month, month, day of week; with `seconds` also six of them, seconds first.
        Raises InvalidSchedule for what cannot be read, would never fire, or depends on chance or the year.
        """
        if len(expression) > _LONGEST:
            raise InvalidSchedule(
                f"cron {expression[:40]!r}… has {len(expression)} characters, at most {_LONGEST} may be"
            )
        return cls(
            expression=expression,
            timezone=timezone,
            seconds=seconds,
            _clock=_Clock(_zone(timezone)),
            _rules=tuple(rule for part in expression.split("|") for rule in _rules(part.strip(), seconds=seconds)),
        )

    def next(self, after_ms: int) -> int:
        """The first instant later than `after_ms`, both in milliseconds since the epoch."""
        return self._next(after_ms // 1000) * 1000

    def latest(self, after_ms: int, until_ms: int) -> int | None:
        """The last instant later than `after_ms` and not later than `until_ms`, in milliseconds since the epoch; None
        if there is none. Bisects, so that its cost hardly depends on how many instants lie between.
        """
        after, until = after_ms // 1000, until_ms // 1000
        passed = bisect_left(range(after, until), 1, key=lambda second: self._next(second) > until)
        return self._next(after + passed - 1) * 1000 if passed else None

    def _next(self, second: int) -> int:
        return min(rule.next(self._clock, second) for rule in self._rules)


@dataclass(frozen=True, slots=True)
class _Clock:
    """The wall clock of a zone, and instants in seconds since the epoch."""

    zone: ZoneInfo

    def wall(self, instant: int) -> datetime:
        """What the clock shows at `instant`."""
        return (_EPOCH + timedelta(seconds=instant)).astimezone(self.zone).replace(tzinfo=None)

    def instant(self, wall: datetime, fold: _Fold) -> int:
        """When the clock shows `wall`, or would show it, had it not been put forward."""
        return int(wall.replace(tzinfo=self.zone, fold=fold).timestamp())

    def jump(self, wall: datetime) -> int:
        """The instant at which the clock was put forward or back, so that `wall` is left out or repeated."""
        early, late = sorted((self.instant(wall, 0), self.instant(wall, 1)))
        shift = self._shift(early)
        return early + bisect_left(range(early, late), 1, key=lambda instant: self._shift(instant) != shift)

    def reached(self, instant: int, fold: _Fold) -> datetime:
        """The last wall-clock time whose `fold`-th showing is not later than `instant`."""
        wall = self.wall(instant)
        if self.instant(wall, fold) == instant:
            return wall
        jump = self.jump(wall)  # `wall` is repeated, and `instant` is its other showing
        return self.wall(jump - 1) if fold == 0 else self.wall(jump) - _SECOND

    def _shift(self, instant: int) -> datetime:
        """Stands for the offset from UTC: equal exactly where that is."""
        return self.wall(instant) - timedelta(seconds=instant)


class _Pattern(Protocol):
    """What is used of a croniter object."""

    def get_next(self, ret_type: type[datetime], start_time: datetime) -> datetime: ...


@dataclass(frozen=True, slots=True)
class _Rule:
    """One expression: the wall-clock times that match, and which of the two rules makes instants of them."""

    pattern: _Pattern
    elapsed: bool

    def next(self, clock: _Clock, after: int) -> int:
        if self.elapsed:
            return min(self._next(clock, after, 0), self._next(clock, after, 1))
        return self._next(clock, after, 0)

    def _next(self, clock: _Clock, after: int, fold: _Fold) -> int:
        """The first instant later than `after`, if each time matches at its `fold`-th showing only."""
        wall = clock.reached(after, fold)
        while True:
            wall = self.following(wall)
            instant = clock.instant(wall, fold)
            if clock.wall(instant) == wall:
                return instant
            jump = clock.jump(wall)  # which leaves `wall` out
            if not self.elapsed:
                return jump
            wall = clock.wall(jump) - _SECOND

    def following(self, wall: datetime) -> datetime:
        return copy(self.pattern).get_next(datetime, wall)  # a copy, for get_next moves it, and threads share this rule

    def fires(self) -> bool:
        try:
            self.following(datetime(2000, 1, 1))  # noqa: DTZ001
        except CroniterBadDateError:  # nothing in 50 years; leap days and weekdays repeat within 40
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    also: str = ""
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int | None:
        if text in self.names:
            return self.first + self.names.index(text)
        return int(text) if text.isdigit() else None


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NTH = ", 7 for Sunday, SUN-SAT, FRI#2 for the second and L5 for the last Friday of a month"
_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31, ", L for the last, 15W for the weekday nearest the 15th"),
    _Field("month", 1, 12, ", JAN-DEC", _MONTHS),
    _Field("day of week", 0, 6, _NTH, _WEEKDAYS),
)
ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_RANGE = re.compile(r"(\w+)-(\w+)(?:/0*([1-9]\d*))?(#\d)?", re.ASCII)
_RANDOM = re.compile(r"(?:^|,)[hr](?![a-z])")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # the last two for "../x" and for "Europe", a folder
        raise InvalidSchedule(
            f"time zone {name!r} is not known: use a name of the IANA database such as 'Europe/Berlin', or 'UTC'"
        ) from error


def _rules(part: str, *, seconds: bool) -> list[_Rule]:
    """The rules of one expression: two where it restricts both kinds of days, for either may match."""
    *time, day, month, weekday = _fields(part, seconds=seconds)
    either = _restricts(day) and _restricts(weekday)
    dates = [(day, month, "*"), ("*", month, weekday)] if either else [(day, month, weekday)]
    rules = [_Rule(pattern=_pattern([*time, *date]), elapsed=time[-1].startswith("*")) for date in dates]
    alive = [rule for rule in rules if rule.fires()]
    if not alive:
        raise InvalidSchedule(f"cron {part!r} never fires: month {month!r} has no day {day!r}; correct one of them")
    return alive


def _restricts(days: str) -> bool:
    return not {"*", "?"} & set(days.split(","))


def _pattern(fields: Sequence[str]) -> _Pattern:
    pattern: _Pattern = croniter(" ".join(fields), 0, second_at_beginning=True)
    return pattern


def _fields(part: str, *, seconds: bool) -> list[str]:
    """The five or six fields of `part`, each of them valid."""
    texts = ALIASES.get(part.lower(), part).lower().split()
    if part.startswith("@") and part.lower() not in ALIASES:
        raise InvalidSchedule(f"cron {part!r} is not known: use one of {', '.join(ALIASES)}, or five fields")
    if len(texts) not in ((5, 6) if seconds else (5,)):
        raise InvalidSchedule(_miscounted(part, len(texts), seconds=seconds))
    kinds = _FIELDS[-len(texts) :]
    for position, (kind, text) in enumerate(zip(kinds, texts, strict=True)):
        texts[position] = ",".join(_plain(item, kind) for item in text.split(","))
        alone = ["*"] * position + [texts[position]] + ["*"] * (len(texts) - position - 1)
        _check(part, kind, text, " ".join(alone))
    return texts


def _miscounted(part: str, count: int, *, seconds: bool) -> str:
    names = ", ".join(kind.name for kind in _FIELDS[1:])
    hint = "six with the second in front" if seconds else "a second in front needs use_cron_seconds"
    return f"cron {part!r} has {count} fields: use five ({names}); {hint}, and a year is not supported"


def _plain(item: str, kind: _Field) -> str:
    """`item`, spelled so that croniter reads it right: it takes `5-5` for all, accepts `5-0` and errs in `22-4/3`."""
    match = _RANGE.fullmatch(item)
    if not match:
        return item
    low, high = kind.number(match[1]), kind.number(match[2])
    if low is None or high is None:
        return item
    if low == high or high < kind.first:
        return match[2] + (match[4] or "")
    if match[3] and not match[4] and high < low <= kind.last:
        size = kind.last - kind.first + 1
        values = range(low, high + size + 1, int(match[3]))
        return ",".join(str((value - kind.first) % size + kind.first) for value in values)
    return item


def _check(part: str, kind: _Field, text: str, alone: str) -> None:
    """Refuses the field `text`, which `alone` holds with nothing but stars around it."""
    if _RANDOM.search(text):
        raise InvalidSchedule(f"cron {part!r}: R and H, as in {text!r}, are not supported; name the {kind.name}")
    if kind.name == "day of week" and len({"#" in item or item.startswith("l") for item in text.split(",")}) > 1:
        raise InvalidSchedule(
            f"cron {part!r}: the day of week {text!r} mixes plain days with # or L; join two expressions with | instead"
        )
    try:
        croniter.expand(alone, second_at_beginning=True)
    except CroniterError as error:
        raise InvalidSchedule(
            f"cron {part!r}: {text!r} is not a valid {kind.name}; use {kind.first}-{kind.last}{kind.also}, "
            f"or * with lists (1,5), ranges (1-5) and steps (*/5)"
        ) from error
