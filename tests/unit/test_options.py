"""What can be said of a call beside its arguments."""

# ruff: noqa: DTZ001 - datetimes without a zone are what is refused

import dataclasses
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from taskproc.errors import EnqueueError, InvalidName
from taskproc.options import LONGEST, MOST_RETRIES, WHENS, Options, milliseconds

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"delay": SECOND, "delay_until": datetime.now(UTC)}, r"delay and delay_until are both given: say one of them"),
        ({"delay": timedelta(0), "delay_until": datetime.now(UTC)}, r"both given"),
        ({"delay": 5}, r"delay=5 must be a timedelta.* such as timedelta\(seconds=5\)"),
        ({"delay": "soon"}, r"delay='soon' must be a timedelta"),
        ({"delay": LONGEST + SECOND}, r"at most a hundred years"),
        ({"delay": timedelta.max}, r"at most a hundred years"),
        (
            {"delay_until": datetime(2026, 1, 1)},
            r"has no time zone: which instant is meant\? Pass datetime\.now\(UTC\)",
        ),
        ({"delay_until": "2026-01-01T00:00Z"}, r"must be an aware datetime"),
        ({"delay_until": datetime(2026, 1, 1).date()}, r"must be an aware datetime"),
        ({"delay_until": datetime.max.replace(tzinfo=UTC)}, r"more than a hundred years away"),
        (
            {"delay_until": datetime.max.replace(tzinfo=timezone(-23 * 3600 * SECOND))},
            r"more than a hundred years away",
        ),
        ({"retries": 0}, r"retries=0: it counts the failures allowed.*for a single attempt use 1"),
        ({"retries": -1}, r"retries=-1"),
        ({"retries": 1.0}, r"retries=1\.0"),
        ({"retries": True}, r"retries=True"),
        ({"retries": "3"}, r"retries='3'"),
        ({"retries": MOST_RETRIES + 1}, r"retries=1000000001: .* from 1 to 1,000,000,000"),
        ({"invisibility": timedelta(0)}, r"invisibility=.* from a millisecond"),
        ({"invisibility": timedelta(microseconds=999)}, r"from a millisecond"),
        ({"invisibility": -SECOND}, r"from a millisecond"),
        ({"invisibility": 60}, r"invisibility=60 must be a timedelta"),
        ({"invisibility": timedelta.max}, r"to a hundred years"),
        ({"auto_extend": 1}, r"auto_extend=1 must be True or False"),
    ],
)
def test_impossible_options_are_refused_when_they_are_said(options: Any, message: str) -> None:
    """Each is named, with what is right."""
    with pytest.raises(EnqueueError, match=message):
        Options(**options)


@pytest.mark.parametrize(
    "options", [{"queue": "a b"}, {"queue": ""}, {"queue": "failed"}, {"tenant": "a:b"}, {"tenant": ""}]
)
def test_names_are_checked_too(options: Any) -> None:
    """An empty name is not the same as none."""
    with pytest.raises(InvalidName):
        Options(**options)


def test_nothing_said_leaves_all_to_the_defaults() -> None:
    """None everywhere, and no delay."""
    options = Options()
    assert set(dataclasses.asdict(options).values()) == {None}
    assert options.after is None
    assert options.at is None


@pytest.mark.parametrize(
    "delay, expected",
    [
        (SECOND, 1000),
        (timedelta(milliseconds=1), 1),
        (timedelta(microseconds=1999), 1),
        (timedelta(microseconds=1), None),
        (timedelta(0), None),
        (-SECOND, None),
        (timedelta.min, None),
        (LONGEST, 3_153_600_000_000),
    ],
)
def test_a_delay_in_milliseconds(delay: timedelta, expected: int | None) -> None:
    """What is over, or shorter than a millisecond, is none."""
    assert Options(delay=delay).after == expected


@pytest.mark.parametrize(
    "moment, expected",
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), 1_767_225_600_000),
        (datetime(2026, 1, 1, 0, 0, 0, 1_999, tzinfo=UTC), 1_767_225_600_001),
    ],
)
def test_an_instant_in_milliseconds(moment: datetime, expected: int) -> None:
    """Since the epoch, whatever its zone."""
    assert Options(delay_until=moment).at == expected


@pytest.mark.parametrize(
    "moment", [datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=timezone(SECOND * 3600))]
)
def test_the_past_is_no_mistake(moment: datetime) -> None:
    """It means now, even where it is before the first instant in UTC."""
    at = Options(delay_until=moment).at
    assert at is not None
    assert at < 0


@hypothesis.given(st.timedeltas())
def test_milliseconds_are_whole(duration: timedelta) -> None:
    """They are rounded down, so that nothing is later than it was said."""
    assert (
        milliseconds(duration)
        == (duration.days * 86_400_000_000 + duration.seconds * 1_000_000 + duration.microseconds) // 1000
    )


def test_outcomes_to_wait_for() -> None:
    """The four that a batch can be waited for."""
    assert WHENS == ("success", "failed", "canceled", "complete")
