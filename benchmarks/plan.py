"""What is measured, how much of it, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["CURVES", "Curve", "Measure", "Scale", "plan"]

Scale = Literal["quick", "normal", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One part of one or more programs, which are started one after the other."""

    name: str
    programs: tuple[str, ...] = ("ours",)
    """Modules beside this one."""
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    size: int = 0
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How the time for a task depends on a size."""

    name: str
    title: str
    sizes: tuple[int, ...]
    more: tuple[int, ...] = ()
    """Sizes that take long, for a full run."""
    flat: bool = True
    """Whether the time shall be the same for all sizes."""
    options: Mapping[str, object] = field(default_factory=dict[str, object])


CURVES = (
    Curve(name="queued", title="queued behind those that run", sizes=(1_000, 10_000, 100_000), more=(1_000_000,)),
    Curve(name="tenants", title="tenants in a fair queue", sizes=(1, 100, 10_000), more=(1_000,)),
    Curve(name="queues", title="queues known, one served", sizes=(1, 1_000), more=(100,)),
    Curve(name="served", title="queues served, one with work", sizes=(1, 10), more=(100, 1_000), flat=False),
    Curve(name="in_flight", title="tasks in flight beside 100 slots", sizes=(10, 1_000, 9_900), more=(100,)),
    Curve(name="slots", title="slots of the worker", sizes=(10, 100, 1_000, 10_000), flat=False),
    Curve(name="processes", title="worker processes, no-op", sizes=(1, 2), flat=False, options={"job": "noop"}),
    Curve(
        name="processes_busy",
        title="worker processes, 0.5 ms of Python a task",
        sizes=(1, 2),
        flat=False,
        options={"part": "processes", "job": "busy"},
    ),
)


def plan(scale: Scale, rounds: int) -> list[Measure]:
    """All measures, in their order within a round."""
    few = scale == "quick"
    drained = 5_000 if few else 20_000
    both = ("floor", "ours")
    counts: dict[str, object] = {"one": 1_000, "concurrent": 3_000, "bulk": 5_000}
    if not few:
        counts = {"one": 3_000, "concurrent": 10_000, "bulk": 20_000}
    measures = [Measure(name="enqueue", programs=both, options={"part": "enqueue", **counts}, rounds=rounds)]
    for job in ("noop", "factory", "resource", "async_resource", "noop_def", "nap"):  # before each one, the floor
        count = drained // 4 if job in {"noop_def", "nap"} else drained
        options: dict[str, object] = {"part": "drain", "job": job, "count": count}
        measures.append(Measure(name=f"drain {job}", programs=both, options=options, rounds=rounds))
    latency: dict[str, object] = {"part": "latency", "count": 100 if few else 500}
    measures.append(Measure(name="latency", options=latency, rounds=min(rounds, 3)))
    return [*measures, *_once(scale), *_growth(scale, min(rounds, 3))]


def _once(scale: Scale) -> list[Measure]:
    few = scale == "quick"
    tasks = {"quick": 20_000, "normal": 100_000, "full": 1_000_000}[scale]
    options: dict[str, dict[str, object]] = {
        "producer": {"count": tasks},
        "idle": {"seconds": 3 if few else 10},
        "herd": {"workers": 50, "count": 10 if few else 40},
    }
    return [
        Measure(name=name, options={"part": name, **options[name]}, size=tasks if name == "producer" else 0, rounds=1)
        for name in options
    ]


def _growth(scale: Scale, rounds: int) -> list[Measure]:
    measures: list[Measure] = []
    for curve in CURVES:
        sizes = sorted({*curve.sizes, *(curve.more if scale == "full" else ())})
        for size in [sizes[0], sizes[-1]] if scale == "quick" else sizes:
            count = 2_000 if scale == "quick" else 10_000
            if curve.name == "processes_busy":
                count //= 4
            options = {"part": curve.name, "size": size, "count": max(count, min(size, 10_000)), **curve.options}
            measures.append(Measure(name=curve.name, programs=("growth",), options=options, size=size, rounds=rounds))
    return measures
