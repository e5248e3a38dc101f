"""What the benchmarks' report makes of given figures; nothing is measured here."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping

import pytest

from benchmarks.goals import all_outcomes
from benchmarks.plan import CURVES, plan
from benchmarks.report import between, floor_chart, goals_table, number, peers_table, render
from benchmarks.results import Results, Row


def row(round_: int, measure: str, program: str, figures: Mapping[str, float], size: int = 0) -> Row:
    """What a program printed."""
    return Row(round=round_, measure=measure, program=program, size=size, figures=dict(figures), texts={})


def drains(*pairs: tuple[float, float]) -> list[Row]:
    """Rounds of a drain: the floor's speed and ours."""
    return [
        row(number_, "drain noop", program, {"per_second": speed})
        for number_, (floor, ours) in enumerate(pairs)
        for program, speed in (("floor", floor), ("taskproc", ours))
    ]


def test_a_ratio_is_the_median_of_those_of_each_round() -> None:
    """Figures of different rounds are never divided by each other: the machine drifts."""
    results = Results(drains((100, 70), (200, 160), (50, 30)))  # 0.7, 0.8, 0.6; the medians alone: 70 / 100
    assert "| 100/s | 70/s | **0.70** (0.60–0.80) | ≥ 0.6 | ✓ |" in goals_table(all_outcomes(results))
    results = Results(drains((100, 10), (200, 100), (50, 5)))
    assert "**0.10** (0.10–0.50) | ≥ 0.6 | ✗ |" in goals_table(all_outcomes(results))


def test_less_is_better_where_it_is() -> None:
    """A latency above its goal is marked, one below it is reached."""
    rows = [row(0, "latency", "taskproc", {"p50": 0.5, "p99": 2.0})]
    table = goals_table(all_outcomes(Results(rows)))
    assert "p50 |  | 0.5 ms |  | ≤ 0.7 | ✓ |" in table
    assert "p99 |  | 2 ms |  | ≤ 1.5 | ✗ |" in table


def test_growth_is_the_longest_time_by_that_at_the_smallest_size() -> None:
    """Tasks that take twice as long with more queued are a growth of 2, wherever on the curve."""
    speeds = {1_000: 100.0, 10_000: 50.0, 100_000: 100.0}
    rows = [row(0, "queued", "taskproc", {"per_second": speed}, size) for size, speed in speeds.items()]
    table = goals_table(all_outcomes(Results(rows)))
    assert "1,000 to 100,000 queued behind those that run: time |  |  | **2.00** | ≤ 1.2 | ✗ |" in table


def test_peers_stand_beside_the_floor_and_ours() -> None:
    """A figure that a peer has not is a dash; the goal is set by the fastest."""
    peers = [Row.read(0, "peer", name, 0, line) for name, line in PEERS.items()]
    results = Results([*drains((100, 80)), *peers])
    assert "| quick 2.0 | – | – | – | 10 | – |" in peers_table(results)
    assert "| **taskproc** | – | – | – | 80 |" in peers_table(results)
    assert "to the fastest peer | 10/s | 80/s | **8.00** | ≥ 7 | ✓ |" in goals_table(all_outcomes(results))
    assert peers_table(Results(drains((100, 80)))) == ""


PEERS = {
    "slow": '{"name": "slow", "version": "1.0", "enqueue_bulk": null, "drain_noop": 4}',
    "quick": '{"name": "quick", "version": "2.0", "enqueue_bulk": null, "drain_noop": 10}',
}


def test_a_whole_report_and_its_chart() -> None:
    """Every measure that is planned has a place, and the chart is well-formed."""
    figures = {"per_second": 1e4, "one": 1e3, "concurrent": 3e3, "bulk": 1e5, "bytes": 250, "mib": 1, "server_us": 9}
    rows = [
        row(0, each.name, "floor" if program == "floor" else "taskproc", figures, each.size)
        for each in plan("full", 1)
        for program in each.programs
    ]
    page = render(Results(rows), "today; here", "")
    assert all(curve.title in page for curve in CURVES)
    assert "| 1,000,000 |" in page
    drawn = ET.fromstring(floor_chart(all_outcomes(Results(rows)), "today; here"))  # noqa: S314  our own
    assert len(drawn.findall("{http://www.w3.org/2000/svg}rect[@class='ours']")) == 8


def test_figures_have_three_digits_that_count() -> None:
    """Nobody believes more."""
    shown = [number(value) for value in (None, 0.0101234, 1.234, 98.76, 1234.5, 104_507.04)]
    assert shown == ["–", "0.0101", "1.23", "98.8", "1,234", "105,000"]


def test_a_page_keeps_what_is_around_its_place() -> None:
    """Only what is between the marks is written anew, and a page without them is refused."""
    page = "a\n<!-- results -->\nold\n<!-- end of results -->\nb\n"
    assert between(page, "results", "new") == "a\n<!-- results -->\nnew\n<!-- end of results -->\nb\n"
    with pytest.raises(SystemExit, match="no place for peers"):
        between(page, "peers", "new")
