"""When a cron expression fires: worked out by hand, above all around the clock changes of six zones."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from taskproc.cron import Cron
from taskproc.errors import InvalidSchedule

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
SANTIAGO, APIA, CASABLANCA = "America/Santiago", "Pacific/Apia", "Africa/Casablanca"

# zone, year, expression, an instant of that year, and the instants at which it fires next. What the clocks did:
GOLDEN = [
    # Berlin: 2024-03-31 from 02:00 to 03:00
    (BERLIN, 2024, "30 2 * * *", "03-30T12:00+01", "03-31T03:00+02 04-01T02:30+02"),
    (BERLIN, 2024, "*/20 2 * * *", "03-30T12:00+01", "03-31T03:00+02 04-01T02:00+02"),
    (BERLIN, 2024, "0,30 2,3 * * *", "03-31T00:00+01", "03-31T03:00+02 03-31T03:30+02 04-01T02:00+02"),
    (BERLIN, 2024, "*/30 * * * *", "03-31T01:00+01", "03-31T01:30+01 03-31T03:00+02 03-31T03:30+02"),
    (BERLIN, 2024, "15 * * * *", "03-31T01:00+01", "03-31T01:15+01 03-31T03:15+02"),
    (BERLIN, 2024, "0 */2 * * *", "03-30T23:00+01", "03-31T00:00+01 03-31T04:00+02 03-31T06:00+02"),
    (BERLIN, 2024, "0 0-23/2 * * *", "03-30T23:00+01", "03-31T00:00+01 03-31T03:00+02 03-31T04:00+02"),
    # Berlin: 2024-10-27 from 03:00 to 02:00
    (BERLIN, 2024, "30 2 * * *", "10-26T12:00+02", "10-27T02:30+02 10-28T02:30+01"),
    (BERLIN, 2024, "30 2 * * *", "10-27T02:10+01", "10-28T02:30+01"),
    (BERLIN, 2024, "*/30 * * * *", "10-27T02:00+02", "10-27T02:30+02 10-27T02:00+01 10-27T02:30+01 10-27T03:00+01"),
    (BERLIN, 2024, "0 */2 * * *", "10-27T00:00+02", "10-27T02:00+02 10-27T02:00+01 10-27T04:00+01"),
    (BERLIN, 2024, "0 1-3 * * *", "10-27T00:00+02", "10-27T01:00+02 10-27T02:00+02 10-27T03:00+01"),
    (BERLIN, 2024, "*/30 0-23 * * *", "10-27T02:00+02", "10-27T02:30+02 10-27T03:00+01"),
    # New York: 2024-03-10 from 02:00 to 03:00
    (NEW_YORK, 2024, "30 2 * * *", "03-09T12:00-05", "03-10T03:00-04 03-11T02:30-04"),
    (NEW_YORK, 2024, "@hourly", "03-10T00:00-05", "03-10T01:00-05 03-10T03:00-04 03-10T04:00-04"),
    (NEW_YORK, 2024, "*/45 * * * *", "03-10T01:00-05", "03-10T01:45-05 03-10T03:00-04 03-10T03:45-04"),
    # New York: 2024-11-03 from 02:00 to 01:00
    (NEW_YORK, 2024, "30 1 * * *", "11-02T12:00-04", "11-03T01:30-04 11-04T01:30-05"),
    (NEW_YORK, 2024, "@hourly", "11-03T00:00-04", "11-03T01:00-04 11-03T01:00-05 11-03T02:00-05"),
    (NEW_YORK, 2024, "@daily", "11-02T12:00-04", "11-03T00:00-04 11-04T00:00-05"),
    (NEW_YORK, 2024, "30 1 * * * | 15 * * * *", "11-03T01:00-04", "11-03T01:15-04 11-03T01:30-04 11-03T01:15-05"),
    # Lord Howe: 2024-04-07 from 02:00 to 01:30
    (LORD_HOWE, 2024, "45 1 * * *", "04-06T12:00+11", "04-07T01:45+11 04-08T01:45+10:30"),
    (LORD_HOWE, 2024, "*/30 * * * *", "04-07T01:00+11", "04-07T01:30+11 04-07T01:30+10:30 04-07T02:00+10:30"),
    (LORD_HOWE, 2024, "0 * * * *", "04-07T00:00+11", "04-07T01:00+11 04-07T02:00+10:30"),
    (LORD_HOWE, 2024, "0,30 1,2 * * *", "04-07T00:00+11", "04-07T01:00+11 04-07T01:30+11 04-07T02:00+10:30"),
    # Lord Howe: 2024-10-06 from 02:00 to 02:30
    (LORD_HOWE, 2024, "15 2 * * *", "10-05T12:00+10:30", "10-06T02:30+11 10-07T02:15+11"),
    (LORD_HOWE, 2024, "0,15,30 2 * * *", "10-05T12:00+10:30", "10-06T02:30+11 10-07T02:00+11"),
    (LORD_HOWE, 2024, "*/30 * * * *", "10-06T01:00+10:30", "10-06T01:30+10:30 10-06T02:30+11 10-06T03:00+11"),
    (LORD_HOWE, 2024, "0 * * * *", "10-06T00:00+10:30", "10-06T01:00+10:30 10-06T03:00+11"),
    # Santiago: 2024-09-08, a Sunday, from 00:00 to 01:00
    (SANTIAGO, 2024, "0 0 * * *", "09-07T12:00-04", "09-08T01:00-03 09-09T00:00-03"),
    (SANTIAGO, 2024, "@weekly", "09-07T12:00-04", "09-08T01:00-03 09-15T00:00-03"),
    (SANTIAGO, 2024, "30 0 8 * *", "09-01T00:00-04", "09-08T01:00-03 10-08T00:30-03"),
    (SANTIAGO, 2024, "30 * * * *", "09-07T23:00-04", "09-07T23:30-04 09-08T01:30-03"),
    # Santiago: 2024-04-07 from 00:00 back to 23:00 of the 6th, a Saturday
    (SANTIAGO, 2024, "30 23 * * *", "04-06T12:00-03", "04-06T23:30-03 04-07T23:30-04"),
    (SANTIAGO, 2024, "0 0 * * *", "04-06T12:00-03", "04-07T00:00-04 04-08T00:00-04"),
    (SANTIAGO, 2024, "30 * * * 6", "04-06T22:30-03", "04-06T23:30-03 04-06T23:30-04 04-13T00:30-04"),
    # Apia: no 2011-12-30, which was to be a Friday; 2012-04-01 from 04:00 to 03:00; 2012-09-30 from 03:00 to 04:00
    (APIA, 2011, "0 9 * * *", "12-29T00:00-10", "12-29T09:00-10 12-31T00:00+14 12-31T09:00+14"),
    (APIA, 2011, "0 0 * * *", "12-28T12:00-10", "12-29T00:00-10 12-31T00:00+14 2012-01-01T00:00+14"),
    (APIA, 2011, "0 9 * * FRI", "12-20T00:00-10", "12-23T09:00-10 12-31T00:00+14 2012-01-06T09:00+14"),
    (APIA, 2011, "0 9 30 12 *", "01-01T00:00-10", "12-31T00:00+14 2012-12-30T09:00+14"),
    (APIA, 2011, "0 */6 * * *", "12-29T12:00-10", "12-29T18:00-10 12-31T00:00+14 12-31T06:00+14"),
    (APIA, 2011, "0 */6 * * FRI", "12-23T12:00-10", "12-23T18:00-10 2012-01-06T00:00+14"),
    (APIA, 2012, "30 3 * * *", "03-31T12:00+14", "04-01T03:30+14 04-02T03:30+13"),
    (APIA, 2012, "30 3 * * *", "09-29T12:00+13", "09-30T04:00+14 10-01T03:30+14"),
    # Casablanca: Ramadan 2024, 03-10 from 03:00 to 02:00 and 04-14 from 02:00 to 03:00
    (CASABLANCA, 2024, "30 2 * * *", "03-09T12:00+01", "03-10T02:30+01 03-11T02:30+00"),
    (CASABLANCA, 2024, "*/30 * * * *", "03-10T02:00+01", "03-10T02:30+01 03-10T02:00+00 03-10T02:30+00 03-10T03:00+00"),
    (CASABLANCA, 2024, "30 2 * * *", "04-13T12:00+00", "04-14T03:00+01 04-15T02:30+01"),
    (CASABLANCA, 2024, "0 */3 * * *", "04-13T22:00+00", "04-14T00:00+00 04-14T03:00+01 04-14T06:00+01"),
]


@pytest.mark.parametrize("zone, year, expression, start, expected", GOLDEN)
def test_clock_changes(zone: str, year: int, expression: str, start: str, expected: str) -> None:
    """Around each change of the clock an expression fires at the instants worked out by hand, each found from any
    instant since the one before, and as the latest until just before the next.
    """
    cron = Cron.parse(expression, zone)
    times = [moment(text if text[4] == "-" else f"{year}-{text}") for text in (start, *expected.split())]
    for time in times:  # is it one that the clock of the zone shows?
        assert time.astimezone(ZoneInfo(zone)).isoformat() == time.isoformat()
    instants = [ms(time) for time in times]
    for before, instant in pairwise(instants):
        for after in (before, (before + instant) // 2, instant - 1):
            assert shown(cron.next(after), zone) == shown(instant, zone)
        assert cron.latest(before, instant - 1) is None
        assert cron.latest(before, instant) == instant
        assert cron.latest(instants[0], cron.next(instant) - 1) == instant


@pytest.mark.parametrize(
    "expression, expected",
    [
        ("*/20 0 12 * * *", "2024-06-05T12:00:00 2024-06-05T12:00:20 2024-06-05T12:00:40 2024-06-06T12:00:00"),
        ("30 12 * * *", "2024-06-05T12:30:00 2024-06-06T12:30:00"),  # five fields stay minutes
        ("@hourly", "2024-06-05T01:00:00 2024-06-05T02:00:00"),
        ("5 0 0 6 * * | 59 59 23 * * 3", "2024-06-05T23:59:59 2024-06-06T00:00:05 2024-06-12T23:59:59"),
    ],
)
def test_seconds(expression: str, expected: str) -> None:
    """With seconds allowed the first of six fields is the second, and five fields mean what they always do."""
    assert following(Cron.parse(expression, seconds=True), "2024-06-05T00:00:00", expected) == expected


@pytest.mark.parametrize(
    "expression, expected",
    [
        ("0 0 13 * FRI", "2024-09-06T00:00:00 2024-09-13T00:00:00 2024-09-20T00:00:00"),  # the 13th or a Friday
        ("0 0 3 * 7", "2024-09-03T00:00:00 2024-09-08T00:00:00 2024-09-15T00:00:00"),
        ("0 0 30 2 1", "2025-02-03T00:00:00 2025-02-10T00:00:00"),  # a day that never comes takes nothing away
        ("0 0 5 * FRI#1", "2024-09-05T00:00:00 2024-09-06T00:00:00 2024-10-04T00:00:00 2024-10-05T00:00:00"),
        ("0 0 L * ?", "2024-09-30T00:00:00 2024-10-31T00:00:00 2024-11-30T00:00:00"),
        ("0 0 ? * L5", "2024-09-27T00:00:00 2024-10-25T00:00:00"),
        ("0 0 15W * *", "2024-09-16T00:00:00 2024-10-15T00:00:00 2024-11-15T00:00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00:00 2032-02-29T00:00:00"),
        ("0 0 * FEB MON#5", "2044-02-29T00:00:00 2072-02-29T00:00:00"),
        ("0 5-5 * * *", "2024-09-01T05:00:00 2024-09-02T05:00:00"),
        ("0 0 * SEP-sep 2-02/3", "2024-09-03T00:00:00 2024-09-10T00:00:00"),
        ("0 20-5/4 * * *", "2024-09-01T04:00:00 2024-09-01T20:00:00 2024-09-02T00:00:00"),
        ("0 22-4/3 * * *", "2024-09-01T01:00:00 2024-09-01T04:00:00 2024-09-01T22:00:00"),
        ("0 0 1 oct-mar/2 *", "2024-10-01T00:00:00 2024-12-01T00:00:00 2025-02-01T00:00:00 2025-10-01T00:00:00"),
        ("0 0 * * sat-sun", "2024-09-07T00:00:00 2024-09-08T00:00:00 2024-09-14T00:00:00"),
        ("0 0 * * 0-7/2", "2024-09-03T00:00:00 2024-09-05T00:00:00 2024-09-07T00:00:00 2024-09-08T00:00:00"),
        ("0 0 1 1 * | 0 12 24 12 *", "2024-12-24T12:00:00 2025-01-01T00:00:00 2025-12-24T12:00:00"),
        (" @Yearly ", "2025-01-01T00:00:00 2026-01-01T00:00:00"),
        ("0 1 1 10 *|@weekly", "2024-09-08T00:00:00 2024-09-15T00:00:00 2024-09-22T00:00:00 2024-09-29T00:00:00"),
    ],
)  # fmt: skip
def test_dates(expression: str, expected: str) -> None:
    """Days, months, names, ranges, aliases and joined expressions mean what a crontab says; 2024-09-01 is a Sunday."""
    assert following(Cron.parse(expression), "2024-09-01T00:00:00", expected) == expected


@pytest.mark.parametrize(
    "expression, seconds, message",
    [
        ("0 0 30 2 *", False, r"'0 0 30 2 \*' never fires: month '2' has no day '30'"),
        ("0 0 31 4,6,9,nov *", False, "never fires"),
        ("0 0 * * * | 0 0 31 2 *", False, r"'0 0 31 2 \*' never fires"),
        ("0 25 * * *", False, "'25' is not a valid hour; use 0-23"),
        ("0 0 * * 8", False, "'8' is not a valid day of week; use 0-6"),
        ("60 * * * * *", True, "'60' is not a valid second; use 0-59"),
        ("*/0 * * * *", False, r"'\*/0' is not a valid minute"),
        ("5-5/0 * * * *", False, "'5-5/0' is not a valid minute"),
        ("0 0 1,,2 * *", False, "'1,,2' is not a valid day of month"),
        ("0 0 5-0/2 * *", False, "'5-0/2' is not a valid day of month"),
        ("0 0 * * MON,TUE#2", False, r"'mon,tue#2' mixes plain days .* join two expressions with \|"),
        ("* * * * * *", False, "has 6 fields: use five .* use_cron_seconds"),
        ("* * * * * * *", True, "has 7 fields.* a year is not supported"),
        ("* * * *", False, "has 4 fields"),
        ("", False, "has 0 fields"),
        ("* * * * * |", False, "has 0 fields"),
        ("@reboot", False, "'@reboot' is not known: use one of @hourly"),
        ("R * * * *", False, "R and H, as in 'r', are not supported; name the minute"),
        ("0 r(1-5) * * *", False, "R and H"),
        ("H/15 * * * *", False, "R and H"),
        ("0 0 * * h", False, "name the day of week"),
        (" | ".join(["0 0 * * *"] * 200), False, "has 2397 characters, at most 1000"),
    ],
)
def test_refused(expression: str, seconds: bool, message: str) -> None:  # noqa: FBT001
    """What cannot be read, never fires, or depends on chance or the year is refused, with the part and the remedy."""
    with pytest.raises(InvalidSchedule, match=message):
        Cron.parse(expression, seconds=seconds)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "Europe", "", "../etc/passwd", "/etc/localtime", "a\0b", "zone.tab"])
def test_unknown_zone(zone: str) -> None:
    """A time zone that is none is named in the error, whatever its name does to the file system."""
    with pytest.raises(InvalidSchedule, match="is not known: use a name of the IANA database") as error:
        Cron.parse("* * * * *", zone)
    assert repr(zone) in str(error.value)


def test_milliseconds() -> None:
    """Instants are strictly later than a millisecond before or within a second, before the epoch too."""
    cron = Cron.parse("* * * * * *", seconds=True)
    assert [cron.next(after) for after in (-1, 0, 1, 999, 1000)] == [0, 1000, 1000, 1000, 2000]
    assert [cron.latest(0, until) for until in (-5, 0, 999, 1000, 1999)] == [None, None, None, 1000, 1000]
    assert cron.latest(999, 1000) == 1000
    assert cron.latest(1000, 1999) is None


def test_latest_after_an_outage() -> None:
    """The latest missed instant is found at once, however many were missed."""
    start, end = ms(moment("2024-01-01T00:00+00")), ms(moment("2034-01-01T00:00:00.999+00"))
    assert Cron.parse("* * * * * *", BERLIN, seconds=True).latest(start, end) == end - 999
    assert Cron.parse("0 0 29 2 *").latest(start, end) == ms(moment("2032-02-29T00:00+00"))
    repeated, first_time = ms(moment("2024-10-27T02:30+01")), ms(moment("2024-10-27T02:59:59+02"))
    assert Cron.parse("* * 2 * * *", BERLIN, seconds=True).latest(start, repeated) == first_time


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "expression",
    ["59 59 23 29 2 *", "0 0 0 * 2 MON#5", "0 0 0 31W 2 MON#5", " | ".join(["0 0 0 L 2 L1"] * 66), "* * * 31 2,4,6 0"],
)
def test_bounded(expression: str) -> None:
    """The rarest and the longest of expressions answer in no time."""
    cron = Cron.parse(expression, LORD_HOWE, seconds=True)
    instant = ms(moment("2024-01-01T00:00+00"))
    for _ in range(8):
        after, instant = instant, cron.next(instant)
        assert cron.latest(after, instant) == instant


def test_equal() -> None:
    """Two schedules are equal when expression, zone and kind are."""
    cron = Cron.parse("0 0 * * *", BERLIN)
    assert cron == Cron.parse("0 0 * * *", BERLIN)
    assert hash(cron) == hash(Cron.parse("0 0 * * *", BERLIN))
    assert cron != Cron.parse("0 0 * * *", APIA)
    assert repr(cron) == "Cron(expression='0 0 * * *', timezone='Europe/Berlin', seconds=False)"


def test_threads() -> None:
    """One schedule may be asked by several threads at a time."""
    cron = Cron.parse("7 3 * * 1", BERLIN)
    starts = [ms(moment("2024-01-01T00:00+00")) + day * 86_400_000 for day in range(100)]
    expected = [cron.next(start) for start in starts]

    def ask(_: int) -> list[int]:
        return [cron.next(start) for start in starts]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(ask, range(8))) == [expected] * 8
    finally:
        sys.setswitchinterval(interval)


def moment(text: str) -> datetime:
    """The time that an ISO text with an offset stands for."""
    return datetime.fromisoformat(text)


def ms(time: datetime) -> int:
    """Milliseconds since the epoch."""
    return int(time.timestamp() * 1000)


def shown(instant: int, zone: str) -> str:
    """What the clock of the zone shows, for a failing test to be read."""
    return datetime.fromtimestamp(instant / 1000, ZoneInfo(zone)).isoformat(timespec="milliseconds")


def following(cron: Cron, start: str, expected: str) -> str:
    """As many instants after `start` as are expected, in UTC."""
    instants: list[int] = []
    for _ in expected.split():
        instants.append(cron.next(instants[-1] if instants else ms(moment(start + "+00"))))
    return " ".join(datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") for instant in instants)
