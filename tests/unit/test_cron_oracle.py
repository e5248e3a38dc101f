"""When a cron expression fires, against oracles that watch the clock tick and turn the leaves of the calendar."""

from __future__ import annotations

import calendar
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from taskproc.cron import Cron
from taskproc.errors import InvalidSchedule

HOUR = 3600
# zone and a year in which its clock changes → how far around a change to look, in seconds
CHANGES = {
    **{
        (zone, 2024): 5 * HOUR
        for zone in ("Europe/Berlin", "America/New_York", "America/Santiago", "Africa/Casablanca")
    },
    **{(zone, 2024): 5 * HOUR for zone in ("Australia/Lord_Howe", "Europe/Dublin", "Africa/Cairo", "America/Havana")},
    ("Antarctica/Troll", 2024): 5 * HOUR,  # by two hours
    ("America/Caracas", 2016): 5 * HOUR,  # for good, by half an hour
    ("Asia/Kathmandu", 1985): 5 * HOUR,  # for good, by a quarter
    ("Pacific/Apia", 2012): 5 * HOUR,
    ("Pacific/Apia", 2011): 30 * HOUR,  # by a day
    ("Pacific/Kwajalein", 1993): 30 * HOUR,
}
HALF_HOURS = ["Australia/Lord_Howe"]  # short enough to be watched second by second


@dataclass(frozen=True)
class Field:
    """A field as it is written, and the values that it stands for."""

    text: str
    values: frozenset[int] = field(repr=False)


@dataclass(frozen=True)
class Expression:
    second: Field
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field

    def text(self, *, seconds: bool) -> str:
        written = [self.second, self.minute, self.hour, self.day, self.month, self.weekday]
        return " ".join(each.text for each in written[0 if seconds else 1 :])

    def matches(self, wall: datetime) -> bool:
        days = wall.day in self.day.values, wall.isoweekday() % 7 in self.weekday.values
        return (
            wall.second in self.second.values
            and wall.minute in self.minute.values
            and wall.hour in self.hour.values
            and wall.month in self.month.values
            and (all(days) if "*" in {self.day.text, self.weekday.text} else any(days))
        )


@st.composite
def fields(draw: st.DrawFn, first: int, last: int) -> Field:
    """Any field of numbers; ranges may be reversed."""
    size = last - first + 1
    kind = draw(st.sampled_from(["star", "every", "from", "range", "list"]))
    low, high = draw(st.integers(first, last)), draw(st.integers(first, last))
    step = draw(st.integers(1, size if kind == "every" else 9))
    if kind == "list":
        return Field(f"{low},{high}", frozenset({low, high}))
    if kind == "range":
        values = ((low - first + gone) % size + first for gone in range(0, (high - low) % size + 1, step))
        return Field(f"{low}-{high}" + (f"/{step}" if step > 1 else ""), frozenset(values))
    if kind == "from":
        return Field(f"{low}/{step}", frozenset(range(low, last + 1, step)))
    if kind == "every":
        return Field(f"*/{step}", frozenset(range(first, last + 1, step)))
    return Field("*", frozenset(range(first, last + 1)))


@st.composite
def expressions(draw: st.DrawFn, *, seconds: bool) -> Expression:
    """An expression whose date fields are mostly stars, lest nothing fires in the days that are looked at."""

    def mostly_star(first: int, last: int) -> Field:
        star = Field("*", frozenset(range(first, last + 1)))
        return star if draw(st.integers(0, 3)) else draw(fields(first, last))

    return Expression(
        second=draw(fields(0, 59)) if seconds else Field("0", frozenset({0})),
        minute=draw(fields(0, 59)),
        hour=mostly_star(0, 23) if seconds else draw(fields(0, 23)),
        day=mostly_star(1, 31),
        month=mostly_star(1, 12),
        weekday=mostly_star(0, 6),
    )


@cache
def changes(zone: str, year: int) -> list[int]:
    """The instants, in seconds, at which the clock of the zone changes in that year."""
    start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) - 1800
    instants = range(start, start + 366 * 24 * HOUR, 900)
    offsets = [datetime.fromtimestamp(instant, ZoneInfo(zone)).utcoffset() for instant in instants]
    found = [instant for instant, (one, other) in zip(instants[1:], pairwise(offsets), strict=True) if one != other]
    assert found, f"the clock of {zone} did not change in {year}"
    return found


def watched(expression: Expression, zone: str, instants: range) -> Iterator[int]:
    """Those of the `instants` at which the expression fires, found by watching the clock tick. The first of them must
    be earlier than any time that the clock repeats.
    """
    tick = timedelta(seconds=instants.step)
    elapsed = expression.hour.text.startswith("*")
    seen: set[datetime] = set()
    due: datetime | None = None
    for instant in instants:
        wall = datetime.fromtimestamp(instant, ZoneInfo(zone)).replace(tzinfo=None)
        left_out = False
        while due is not None and due < wall:
            left_out |= expression.matches(due)
            due += tick
        fresh = expression.matches(wall) and wall not in seen
        if expression.matches(wall) if elapsed else fresh or left_out:
            yield instant
        seen.add(wall)
        due = wall + tick


def check(expression: Expression, zone: str, instants: range, asked: list[int], *, seconds: bool) -> None:
    """Whether the schedule of the expression fires at what the oracle sees: at each of it, and nothing else."""
    expected = list(watched(expression, zone, instants))
    cron = parsed(expression.text(seconds=seconds), zone, seconds=seconds)
    if cron is None:
        assert not expected
        return
    assert list(walk(cron, instants[0] - 1, instants[-1])) == expected
    for after, until in pairwise(sorted(asked)):
        passed = expected[bisect_right(expected, after) : bisect_right(expected, until)]
        assert cron.latest(after * 1000, until * 1000) == (passed[-1] * 1000 if passed else None)
        if passed:
            assert cron.next(after * 1000 + 999) == passed[0] * 1000


@settings(max_examples=200, deadline=None)
@given(data=st.data(), expression=expressions(seconds=False), change=st.sampled_from(list(CHANGES)))
def test_every_minute(data: st.DataObject, expression: Expression, change: tuple[str, int]) -> None:
    """No minute is missing, added or repeated around any change of a clock, whatever its length."""
    turn = data.draw(st.sampled_from(changes(*change)))
    instants = range((turn - CHANGES[change]) // 60 * 60, turn + CHANGES[change], 60)
    asked = data.draw(st.lists(st.integers(instants[0], instants[-1]), max_size=6))
    check(expression, change[0], instants, asked, seconds=False)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), expression=expressions(seconds=True), zone=st.sampled_from(HALF_HOURS))
def test_every_second(data: st.DataObject, expression: Expression, zone: str) -> None:
    """Nor any second."""
    turn = data.draw(st.sampled_from(changes(zone, 2024)))
    instants = range(turn - 2000, turn + 2000)
    asked = data.draw(st.lists(st.integers(instants[0], instants[-1]), max_size=6))
    check(expression, zone, instants, asked, seconds=True)


@dataclass(frozen=True)
class Days:
    """A day field as it is written, and the days that it stands for."""

    text: str
    has: Callable[[date], bool]


def last_day(day: date) -> int:
    """The number of the last day of its month."""
    return calendar.monthrange(day.year, day.month)[1]


def is_nearest(number: int, day: date) -> bool:
    """Whether `day` is the weekday of its month that is nearest to its `number`-th."""
    target = min(number, last_day(day))
    workdays = [n for n in range(1, last_day(day) + 1) if day.replace(day=n).weekday() < 5]
    saturday = day.replace(day=target).weekday() == 5
    return day.day == min(workdays, key=lambda n: (abs(n - target), n if saturday else -n))


@st.composite
def days(draw: st.DrawFn) -> Days:
    """Any field of days of the month."""
    kind, number = draw(st.sampled_from(["L", "list", "W", "numbers"])), draw(st.integers(1, 31))
    if kind == "L":
        return Days("L", lambda day: day.day == last_day(day))
    if kind == "list":
        return Days(f"{number},L", lambda day: day.day in {number, last_day(day)})
    if kind == "W":
        return Days(f"{number}W", lambda day: is_nearest(number, day))
    some = draw(fields(1, 31))
    return Days(some.text, lambda day: day.day in some.values)


@st.composite
def weekdays(draw: st.DrawFn) -> Days:
    """Any field of days of the week."""
    kind, number = draw(st.sampled_from(["L", "#", "numbers"])), draw(st.integers(0, 6))
    if kind == "L":
        return Days(f"L{number}", lambda day: day.isoweekday() % 7 == number and day.day > last_day(day) - 7)
    if kind == "#":
        nth, name = draw(st.integers(1, 5)), ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"][number]
        return Days(f"{name}#{nth}", lambda day: day.isoweekday() % 7 == number and (day.day + 6) // 7 == nth)
    some = draw(fields(0, 6))
    return Days(some.text, lambda day: day.isoweekday() % 7 in some.values)


@settings(max_examples=150, deadline=None)
@given(day=days(), month=fields(1, 12), weekday=weekdays())
def test_every_day(day: Days, month: Field, weekday: Days) -> None:
    """Over six years an expression fires on each day of the month or of the week that it names, and on no other."""
    calendar_days = [date(2023, 12, 31) + timedelta(days=n) for n in range(6 * 366)]
    combined = all if "*" in {day.text, weekday.text} else any
    expected = [d for d in calendar_days[1:] if d.month in month.values and combined((day.has(d), weekday.has(d)))]
    cron = parsed(f"0 0 {day.text} {month.text} {weekday.text}", "UTC", seconds=False)
    if cron is None:
        assert not expected
        return
    first, last = (calendar.timegm(calendar_days[end].timetuple()) for end in (0, -1))
    assert [datetime.fromtimestamp(found, UTC).date() for found in walk(cron, first, last)] == expected


@settings(max_examples=300, deadline=None)
@given(
    expression=st.text(alphabet="0123456789*/,-#?LWRHlwh|@ SUNmonjandec()", max_size=30)
    | st.lists(st.text(alphabet="0123457*/,-#?LWlmonju", min_size=1, max_size=7), min_size=5, max_size=6).map(" ".join)
    | expressions(seconds=True).map(lambda drawn: drawn.text(seconds=True)),
    zone=st.sampled_from([zone for zone, _ in CHANGES]),
    after=st.integers(-(2**36), 2**42),
)
def test_any_text(expression: str, zone: str, after: int) -> None:
    """Whatever is written is either refused by the one error or has a next instant, which comes later, and is found
    again from a millisecond before.
    """
    try:
        cron = Cron.parse(expression, zone, seconds=True)
    except InvalidSchedule:
        return
    instant = cron.next(after)
    assert instant > after
    assert cron.next(instant - 1) == instant
    assert cron.latest(after, instant) == instant
    assert cron.latest(after, instant - 1) is None


def parsed(expression: str, zone: str, *, seconds: bool) -> Cron | None:
    """The schedule, or None if it would never fire."""
    try:
        return Cron.parse(expression, zone, seconds=seconds)
    except InvalidSchedule as error:
        if "never fires" not in str(error):
            raise
        return None


def walk(cron: Cron, after: int, last: int) -> Iterator[int]:
    """The instants, in seconds, at which it fires after `after` until `last`."""
    while (after := cron.next(after * 1000) // 1000) <= last:
        yield after
