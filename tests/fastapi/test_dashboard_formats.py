"""How a dashboard writes numbers, times and schedules, and draws charts."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from taskproc.redaction import HIDDEN, looks_secret, redacted
from taskproc.statistics import BOUNDS, Durations, StatisticsPoint
from taskproc_fastapi.dashboard import formats
from taskproc_fastapi.dashboard.charts import charts_of, merged
from taskproc_fastapi.dashboard.cron_words import in_words

NOW = datetime.now(UTC)
NOTHING_NOW = {"ready": 0, "running": 0, "delayed": 0, "dead": 0}


@pytest.mark.parametrize(
    "length, words, short",
    [
        (None, "–", "–"),
        (0, "0 ms", "0 ms"),
        (-3, "0 ms", "0 ms"),
        (0.0004, "< 1 ms", "< 1 ms"),
        (0.012, "12 ms", "12 ms"),
        (1.25, "1.2 s", "1.2 s"),
        (59.9, "59 s", "59 s"),
        (60, "1 min", "1.0 min"),
        (185, "3 min 5 s", "3.1 min"),
        (3600, "1 h", "1.0 h"),
        (7_440, "2 h 4 min", "2.1 h"),
        (86_400, "1 d", "1.0 d"),
        (100_000, "1 d 3 h", "1.2 d"),
        (8_640_000_000, "100,000 d", "100,000 d"),
    ],
)
def test_durations(length: float | None, words: str, short: str) -> None:
    """In two units at most, or in one."""
    assert (formats.seconds(length), formats.brief(length)) == (words, short)


@pytest.mark.parametrize(
    "number, words",
    [(None, "–"), (0, "0 / h"), (0.0001, "0.4 / h"), (0.05, "3.0 / min"), (12.4, "12 / s"), (4321.0, "4,321 / s")],
)
def test_rates(number: float | None, words: str) -> None:
    """By the second, minute or hour, whichever gives a number of one or more."""
    assert formats.rate(number) == words


def test_shares_and_sizes() -> None:
    """Nothing is none of it, or all, that is not quite so."""
    assert [formats.percent(part, 1000) for part in (0, 1, 500, 999, 1000)] == [
        "0 %",
        "< 1 %",
        "50 %",
        "> 99 %",
        "100 %",
    ]
    assert formats.percent(0, 0) == "–"
    assert [formats.size(number) for number in (0, 999, 1500, 2_500_000, 7e12)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.5 MB",
        "7000 GB",
    ]


def test_instants() -> None:
    """Relative, with the exact one to be read by people and programs; hostile ones there are none."""
    at = datetime.now(UTC) - timedelta(minutes=3, seconds=5.5)
    shown = str(formats.ago(at))
    assert ">3 min 5 s ago<" in shown
    assert f"{at:%Y-%m-%d %H:%M:%S}." in shown
    assert re.search(r'datetime="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"', shown)
    assert ">in 1 h" in str(formats.ago(datetime.now(UTC) + timedelta(hours=1, seconds=2)))
    assert ">now<" in str(formats.ago(datetime.now(UTC)))
    soon = datetime.now(UTC) + timedelta(minutes=5, seconds=2)
    dated = str(formats.dated(f"<b> until {soon:%Y-%m-%d %H:%M:%S} UTC: 2026-99-02 03:04:05 UTC."))
    assert dated.startswith(f"&lt;b&gt; until {soon:%Y-%m-%d %H:%M:%S} UTC (<time ")
    assert re.search(r">in 5 min( 1 s)?</time>\): 2026-99-02 03:04:05 UTC\.$", dated)


def test_what_the_doctor_says() -> None:
    """Leads to the queue or tenant that it names; what is code looks so; nothing of it is markup."""

    def url(page: str, **query: str) -> str:
        return f"/{page}?{query}"

    said = str(formats.marked("no worker serves queue 'a<b': let one serve it, by its `queues`", url))
    assert said.endswith("&#39;a&lt;b&#39;</a>: let one serve it, by its <code>queues</code>")
    assert "/queue?" in said
    assert "/tenant?" in formats.marked("a pause holds up tenant 'acme', of which 1 task waits", url)
    assert str(formats.marked("a ` alone <b>", url)) == "a ` alone &lt;b&gt;"


def test_names_are_escaped() -> None:
    """A call may have any text."""
    assert str(formats.call("<a>:<b>")) == '<code class="call"><span>&lt;a&gt;:</span>&lt;b&gt;</code>'
    assert formats.short("0123456789abcdef.3.7") == "0123456789….3.7"
    assert formats.short("disk-check-of-all:1795541400000") == "disk-check…:5541400000"


@pytest.mark.parametrize(
    "cron, words",
    [
        ("*/5 * * * *", "Every 5 minutes"),
        ("0 9 * * 1-5", "At 09:00, Monday through Friday"),
        ("30 2 * * L5", "At 02:30, on the last Friday of the month"),
        ("0 0 * * fri#2", "At 00:00, on the second Friday of the month"),
        ("*/10 * * * * *", "Every 10 seconds"),
        ("@monthly", "At 00:00, on day 1 of the month"),
        ("0 9 * * * | 0 18 * * *", "At 09:00; At 18:00"),
        ("nonsense", ""),
        ("", ""),
    ],
)
def test_schedules_in_words(cron: str, words: str) -> None:
    """Expressions as the library reads them; none for what cannot be said."""
    assert in_words(cron) == words


# Charts


def point(minutes_ago: int, **counts: int) -> StatisticsPoint:
    """A minute."""
    buckets = [0] * (len(BOUNDS) + 1)
    buckets[10] = counts.get("done", 0)
    run = Durations(count=counts.get("done", 0), total=1.0, buckets=tuple(buckets))
    depth = counts.get("ready")
    return StatisticsPoint(
        at=NOW - timedelta(minutes=minutes_ago),
        seconds=60,
        done=counts.get("done", 0),
        failed=counts.get("failed", 0),
        retried=0,
        canceled=0,
        released=0,
        run=run,
        wait=Durations(),
        ready=depth,
        running=depth,
        delayed=depth,
        dead=depth,
    )


def numbers(path: str) -> list[float]:
    """All numbers of a path."""
    return [float(each) for each in re.findall(r"-?\d+(?:\.\d+)?", path)]


@pytest.mark.parametrize(
    "points",
    [
        [],
        [point(1)],
        [point(1, done=5, ready=0)],
        [point(9, ready=5), point(8), point(7, ready=7), point(6, ready=9)],
        [point(number, done=number * 1000, failed=3, ready=number) for number in range(180, 0, -1)],
    ],
    ids=["none", "empty", "one", "with gaps", "many"],
)
def test_charts_stay_within_their_plot(points: Sequence[StatisticsPoint]) -> None:
    """Whatever there is, or is not: no coordinate is outside, and there is no NaN."""
    for chart in charts_of(merged(points), NOTHING_NOW):
        for series in chart.series:
            assert "nan" not in series.path
            assert "inf" not in series.path
            assert all(-600 <= number <= 601 for number in numbers(series.path))
        assert chart.said
        assert len(chart.labels) <= 72


def test_a_gap_is_no_line() -> None:
    """Where nothing is known nothing is drawn; a value between two gaps is a dot."""
    points = [point(5, ready=1), point(4), point(3, ready=1), point(2, ready=1), point(1)]
    [depth] = [chart for chart in charts_of(points, NOTHING_NOW) if chart.id == "depth"]
    assert depth.series[0].path.count("M") == 2
    assert depth.series[0].path.count("L") == 2
    assert depth.series[0].path.count("h3") == 1


def test_charts_of_what_there_is() -> None:
    """One of which nothing is known is left out; depths end with what is so now."""
    assert charts_of([point(2), point(1)], NOTHING_NOW) == []
    [rest] = charts_of([point(2), point(1)], {**NOTHING_NOW, "dead": 87})
    assert rest.id == "rest"
    assert {series.name: series.latest for series in rest.series} == {"delayed": "0", "dead": "87"}
    ran = [chart.id for chart in charts_of([point(1, done=5, ready=1)], NOTHING_NOW)]
    assert ran == ["throughput", "run"]


@pytest.mark.parametrize(
    "longest, top", [(0.2, "300 ms"), (12.0, "20 s"), (61.0, "1 min 30 s"), (400.0, "10 min"), (7_000.0, "3 h")]
)
def test_times_have_round_tops(longest: float, top: str) -> None:
    """As people count seconds, minutes and hours."""
    slow = replace(point(1), wait=Durations(count=1, total=longest, buckets=bucket_of(longest)))
    [wait] = [chart for chart in charts_of([slow], NOTHING_NOW) if chart.id == "wait"]
    assert wait.top == top


def bucket_of(seconds: float) -> tuple[int, ...]:
    """One duration of so many seconds."""
    place = bisect_left(BOUNDS, seconds)
    return tuple(int(each == place) for each in range(len(BOUNDS) + 1))


def test_merging_loses_nothing_recent() -> None:
    """Counts add up, depths are the last ones, and what is left out is at the far end."""
    points = [point(number, done=1, ready=number) for number in range(180, 0, -1)]
    fewer = merged(points)
    assert len(fewer) == 60
    assert {each.done for each in fewer} == {3}
    assert {each.seconds for each in fewer} == {180}
    assert (fewer[-1].ready, fewer[-1].run.count) == (1, 3)
    assert merged(points[:70]) == [*points[:70]]


# Redaction


@pytest.mark.parametrize(
    "name", ["password", "API_KEY", "userToken", "card_number", "Authorization", "ssn", "iban", "pin"]
)
def test_what_looks_secret(name: str) -> None:
    """By its name, however that is written."""
    assert looks_secret(name)


@pytest.mark.parametrize("name", ["number", "to", "subject", "spinner", "opinion", "user"])
def test_what_does_not(name: str) -> None:
    """Ordinary names."""
    assert not looks_secret(name)


def test_redaction_goes_as_deep_as_the_value() -> None:
    """Into lists and maps; what is nested too deep is hidden rather than looked at."""
    assert redacted({"a": [{"token": 1, "b": "x://u:p@h"}]}) == {"a": [{"token": HIDDEN, "b": "x://u:•••@h"}]}
    deep: object = "secret"
    for _ in range(30):
        deep = [deep]
    assert "secret" not in str(redacted({"a": deep}))
