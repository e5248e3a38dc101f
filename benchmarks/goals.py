"""What is to be reached, as ratios to the floor where there is one: machines differ, and drift."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal

from benchmarks.plan import CURVES, Curve
from benchmarks.results import FLOOR, OURS, Figure, Results

__all__ = ["Outcome", "all_outcomes"]

Kind = Literal["at least", "at most"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A figure, or its ratio to another one, and what it shall be at least or at most."""

    title: str
    figure: Figure
    to: Figure | None = None
    kind: Kind = "at least"
    bound: float | None = None
    """None: it is told only."""
    unit: str = "/s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a goal."""

    title: str
    unit: str
    ours: float
    other: float | None = None
    to_floor: bool = False
    value: float
    """What the bound is for: the ratio, or the figure itself."""
    spread: tuple[float, float] | None = None
    kind: Kind
    bound: float | None

    @property
    def reached(self) -> bool | None:
        """None when there is no bound."""
        if self.bound is None:
            return None
        return self.value >= self.bound if self.kind == "at least" else self.value <= self.bound


def _to_floor(
    title: str, measure: str, name: str, bound: float | None, *, kind: Kind = "at least", unit: str = "/s"
) -> Goal:
    ours, floor = Figure(measure, name), Figure(measure, name, FLOOR)
    return Goal(title=title, figure=ours, to=floor, kind=kind, bound=bound, unit=unit)


def _at_most(title: str, figure: Figure, bound: float | None, unit: str) -> Goal:
    return Goal(title=title, figure=figure, kind="at most", bound=bound, unit=unit)


ONE, CONCURRENT, DRAIN = Figure("enqueue", "one"), Figure("enqueue", "concurrent"), Figure("drain noop", "per_second")

GOALS = (
    _to_floor("Drain of no-op tasks: functions", "drain noop", "per_second", 0.6),
    _to_floor("… methods of a `Factory` service", "drain factory", "per_second", 0.35),
    _to_floor("… with a context-local resource", "drain resource", "per_second", 0.2),
    _to_floor("… with an async context-local resource", "drain async_resource", "per_second", 0.2),
    _to_floor("… `def` functions, in threads", "drain noop_def", "per_second", None),
    _to_floor("Drain of tasks that wait 10 ms", "drain nap", "per_second", 0.9),
    _to_floor("Enqueue one by one", "enqueue", "one", 0.8),
    Goal(title="Enqueue from 100 coroutines, to one by one", figure=CONCURRENT, to=ONE, bound=2.5),
    _to_floor("Enqueue a batch", "enqueue", "bulk", 0.6),
    _to_floor("Server's memory for a queued task of a batch", "enqueue", "bytes", 1.5, kind="at most", unit="B"),
    _at_most("… for a single one", Figure("enqueue", "bytes_single"), None, "B"),
    _to_floor("Server's CPU for a no-op task", "drain noop", "server_us", 2, kind="at most", unit="µs"),
    _to_floor("Python's CPU for a no-op task", "drain noop", "python_us", None, kind="at most", unit="µs"),
    _at_most("Round trips for a no-op task", Figure("drain noop", "round_trips"), 0.1, ""),
    _at_most("Latency of an idle worker, p50", Figure("latency", "p50"), 0.7, "ms"),
    _at_most("… p99", Figure("latency", "p99"), 1.5, "ms"),
    _at_most("Idle worker: round trips a second", Figure("idle", "round_trips"), 5, "/s"),
    _at_most("… share of a core", Figure("idle", "core"), 0.01, ""),
    _at_most("50 idle workers: woken by one task", Figure("herd", "woken"), 1, ""),
)


def outcome(results: Results, goal: Goal) -> Outcome | None:
    """What came of it, or None when it was not measured."""
    ours = results.median(goal.figure)
    if ours is None:
        return None
    if goal.to is None:
        return Outcome(title=goal.title, unit=goal.unit, ours=ours, value=ours, kind=goal.kind, bound=goal.bound)
    ratios = results.ratios(goal.figure, goal.to)
    if not ratios:
        return None
    return Outcome(
        title=goal.title,
        unit=goal.unit,
        ours=ours,
        other=results.median(goal.to),
        to_floor=goal.to.program == FLOOR,
        value=statistics.median(ratios),
        spread=(ratios[0], ratios[-1]),
        kind=goal.kind,
        bound=goal.bound,
    )


def growth_goal(results: Results, curve: Curve) -> Outcome | None:
    """The longest time for a task on the curve by that at its smallest size; of two processes, the speed-up."""
    sizes = results.sizes(curve.name)
    if len(sizes) < 2:
        return None
    base = Figure(curve.name, "per_second", size=sizes[0])
    others = [Figure(curve.name, "per_second", size=size) for size in sizes[1:]]
    if curve.name.startswith("processes"):
        ratio = statistics.median(results.ratios(others[0], base))
        return _growth(f"Two {curve.title}: speed", ratio, "at least", 1.7)
    if not curve.flat:
        return None
    worst = max(statistics.median(results.ratios(base, other)) for other in others)
    return _growth(f"{sizes[0]:,} to {sizes[-1]:,} {curve.title}: time", worst, "at most", 1.2)


def _growth(title: str, value: float, kind: Kind, bound: float) -> Outcome:
    return Outcome(title=title, unit="×", ours=value, value=value, kind=kind, bound=bound)


def peer_outcomes(results: Results) -> list[Outcome]:
    """Against the best of the peers, where there are any."""
    peers = [name for name in results.programs("peer") if name not in {OURS, FLOOR}]
    pairs: tuple[tuple[str, Figure, str, Kind, float, str], ...] = (
        ("Drain of no-op tasks, to the fastest peer", DRAIN, "drain_noop", "at least", 7, "/s"),
        ("Enqueue from 100 coroutines, to the fastest peer", CONCURRENT, "enqueue_100", "at least", 2.5, "/s"),
        ("Latency p50, to the quickest peer", Figure("latency", "p50"), "latency_p50_ms", "at most", 1, "ms"),
    )
    found: list[Outcome] = []
    for title, figure, name, kind, bound, unit in pairs:
        ours = results.median(figure)
        theirs = [value for peer in peers if (value := results.median(Figure("peer", name, peer))) is not None]
        if ours is not None and theirs:
            best = max(theirs) if kind == "at least" else min(theirs)
            found.append(
                Outcome(title=title, unit=unit, ours=ours, other=best, value=ours / best, kind=kind, bound=bound)
            )
    return found


def all_outcomes(results: Results) -> list[Outcome]:
    """Everything that was measured and has a place in the table of goals."""
    found = [outcome(results, goal) for goal in GOALS]
    if slowest := results.slowest():
        found.append(_limit(f"Longest script ({slowest[1]})", slowest[0], 10, "ms"))
    for tasks in results.sizes("producer"):
        memory = results.median(Figure("producer", "mib", size=tasks)) or 0
        found.append(_limit(f"Producer of {tasks:,} tasks from a generator: memory", memory, 8, "MiB"))
    found += [growth_goal(results, curve) for curve in CURVES]
    return [each for each in [*found, *peer_outcomes(results)] if each is not None]


def _limit(title: str, value: float, bound: float, unit: str) -> Outcome:
    return Outcome(title=title, unit=unit, ours=value, value=value, kind="at most", bound=bound)
