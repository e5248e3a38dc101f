"""Queues, and the tasks of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from taskproc.models import PauseInfo
from taskproc.names import queue_name
from taskproc.statistics import StatisticsPoint
from taskproc_fastapi.dashboard.bounded import STATES, Counts, Listed, State, counts_of, list_tasks, queues_of
from taskproc_fastapi.dashboard.charts import Chart, axis_of, charts_of, merged
from taskproc_fastapi.dashboard.pages.overview import LATELY, speed
from taskproc_fastapi.dashboard.view import PAGE, Page, View

__all__ = ["pause_of", "show_all", "show_one"]

HOUR = timedelta(hours=1)
MOST_TENANTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A queue, how fast it is, and when it will be empty at that speed."""

    counts: Counts
    pause: PauseInfo | None
    per_second: float | None
    """Tasks that leave it."""
    empty_in: float | None
    """Seconds; None when it does not get shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    rows: list[Row]
    skip: int
    take: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    row: Row
    state: State
    states: list[State]
    listed: Listed
    skip: int
    take: int
    tenants: list[tuple[str, int]]
    """In a fair queue those with most ready tasks."""
    more_tenants: int
    charts: list[Chart]
    axis: list[datetime]


async def show_all(view: View) -> Page:
    skip = view.skip()
    queues = await queues_of(view)
    pauses = await view.processor.get_pauses()
    rows = [await _row(view, each, pauses) for each in queues[skip : skip + PAGE]]
    data = Queues(rows=rows, skip=skip, take=PAGE, total=len(queues))
    return Page(template="queues.html", title="Queues", data=data)


async def show_one(view: View) -> Page:
    name, skip = queue_name(view.text("name")), view.skip()
    states: dict[str, State] = {state: state for state in STATES}
    state = states[view.one_of("state", tuple(states))]
    counts = await counts_of(view, name)
    tenants = sorted(counts.tenants.items(), key=lambda pair: (-pair[1], pair[0]))
    points = merged(await view.processor.get_statistics(HOUR, queue=name)) if view.tenant is None else []
    data = Queue(
        row=await _row(view, counts, await view.processor.get_pauses()),
        state=state,
        states=list(STATES),
        listed=await list_tasks(view, name, state, skip),
        skip=skip,
        take=PAGE,
        tenants=tenants[:MOST_TENANTS],
        more_tenants=max(len(tenants) - MOST_TENANTS, 0),
        charts=charts_of(points) if points else [],
        axis=axis_of(points),
    )
    return Page(template="queue.html", title=f"Queue {name}", data=data)


async def _row(view: View, counts: Counts, pauses: Sequence[PauseInfo]) -> Row:
    if view.tenant is not None:
        return Row(counts=counts, pause=pause_of(view, pauses, counts.name), per_second=None, empty_in=None)
    points = await view.processor.get_statistics(LATELY, queue=counts.name)
    per_second = speed(points).per_second
    return Row(
        counts=counts,
        pause=pause_of(view, pauses, counts.name),
        per_second=per_second,
        empty_in=_empty_in(points, counts.ready.number, per_second),
    )


def _empty_in(points: Sequence[StatisticsPoint], ready: int, per_second: float) -> float | None:
    """Seconds until nothing is ready, if it goes on as in the last minutes: with what comes in meanwhile."""
    if not ready:
        return 0.0
    known = [point for point in points[-6:] if point.ready is not None]
    growth = 0.0
    if len(known) > 1:
        apart = (datetime.now(UTC) - known[0].at).total_seconds() - known[0].seconds / 2
        growth = (ready - (known[0].ready or 0)) / max(apart, 1)
    falling = -growth if len(known) > 1 else per_second
    return ready / falling if falling > 0 else None


def pause_of(view: View, pauses: Sequence[PauseInfo], queue: str) -> PauseInfo | None:
    """The pause of the queue itself; a viewer of one tenant is not told who made it, and why."""
    found = next((each for each in pauses if each.queue == queue and each.tenant in (None, view.tenant)), None)
    if found is None or view.tenant is None or found.tenant == view.tenant:
        return found
    return PauseInfo(queue=queue, tenant=None, since=found.since, until=found.until, reason="", by="")
