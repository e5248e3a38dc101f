"""Queues, and the tasks of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from taskproc import WorkerInfo
from taskproc.explaining import hindrance
from taskproc.models import PauseInfo
from taskproc.names import is_fair, queue_name
from taskproc.statistics import Emptying, StatisticsPoint, emptying
from taskproc_fastapi.dashboard.bounded import STATES, Counts, Listed, State, counts_of, list_tasks, queues_of
from taskproc_fastapi.dashboard.charts import Chart, axis_of, charts_of, merged
from taskproc_fastapi.dashboard.pages.overview import LATELY, alive, is_unserved, now_of, speed
from taskproc_fastapi.dashboard.view import PAGE, Page, View

__all__ = ["pause_of", "show_all", "show_one"]

HOUR = timedelta(hours=1)
MOST_TENANTS = 50
MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A queue, how fast it is, and when it will be empty at that speed."""

    counts: Counts
    pause: PauseInfo | None
    per_second: float | None
    """Tasks that leave it."""
    emptying: Emptying | None
    """None when it is empty, paused, or nothing leaves it."""
    unserved: bool
    """It has tasks, and no worker."""
    hindrance: str
    """What keeps workers from fetching, in words."""


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
    lately = await view.processor.get_statistics_of_queues(LATELY) if view.tenant is None else {}
    workers = await _workers(view)
    rows = [_row(view, each, pauses, lately.get(each.name, []), workers) for each in queues[skip : skip + PAGE]]
    data = Queues(rows=rows, skip=skip, take=PAGE, total=len(queues))
    return Page(template="queues.html", title="Queues", data=data)


async def show_one(view: View) -> Page:
    name, skip = queue_name(view.text("name")), view.skip()
    states: dict[str, State] = {state: state for state in STATES}
    state = states[view.one_of("state", tuple(states))]
    counts = await counts_of(view, name)
    tenants = sorted(counts.tenants.items(), key=lambda pair: (-pair[1], pair[0]))
    points = await view.processor.get_statistics(HOUR, queue=name) if view.tenant is None else []
    data = Queue(
        row=_row(view, counts, await view.processor.get_pauses(), points, await _workers(view)),
        state=state,
        states=list(STATES),
        listed=await list_tasks(view, name, state, skip),
        skip=skip,
        take=PAGE,
        tenants=tenants[:MOST_TENANTS],
        more_tenants=max(len(tenants) - MOST_TENANTS, 0),
        charts=charts_of(merged(points), now_of([counts])),
        axis=axis_of(merged(points)),
    )
    return Page(template="queue.html", title=f"Queue {name}", data=data)


async def _workers(view: View) -> list[WorkerInfo]:
    """Those that a viewer of one tenant is to know nothing of."""
    return await view.processor.get_workers() if view.tenant is None else []


def _row(
    view: View,
    counts: Counts,
    pauses: Sequence[PauseInfo],
    points: Sequence[StatisticsPoint],
    workers: Sequence[WorkerInfo],
) -> Row:
    pause = pause_of(view, pauses, counts.name)
    if view.tenant is not None:
        return Row(counts=counts, pause=pause, per_second=None, emptying=None, unserved=False, hindrance="")
    serving = [worker for worker in workers if counts.name in worker.queues]
    return Row(
        counts=counts,
        pause=pause,
        per_second=speed(points).per_second,
        emptying=None if counts.paused else emptying(points, counts.ready.number, datetime.now(UTC)),
        unserved=is_unserved(counts, workers),
        hindrance=_hindrance(counts, serving, pauses) if counts.ready else "",
    )


def _hindrance(counts: Counts, serving: Sequence[WorkerInfo], pauses: Sequence[PauseInfo]) -> str:
    said = hindrance(counts.name, serving, alive(serving), counted=True)
    paused = [pause.tenant for pause in pauses if pause.tenant is not None and pause.queue is None]
    held = [name for name in paused if name in counts.tenants] if is_fair(counts.name) else paused
    if held and (
        is_fair(counts.name) or counts.oldest is None
    ):  # in a plain queue none is next in line: all are set aside
        said += f" It has tasks of tenants that are paused: {', '.join(held[:MOST_NAMED])}."
    return said.strip()


def pause_of(view: View, pauses: Sequence[PauseInfo], queue: str) -> PauseInfo | None:
    """The pause of the queue itself; a viewer of one tenant is not told who made it, and why."""
    found = next((each for each in pauses if each.queue == queue and each.tenant in (None, view.tenant)), None)
    if found is None or view.tenant is None or found.tenant == view.tenant:
        return found
    return PauseInfo(queue=queue, tenant=None, since=found.since, until=found.until, reason="", by="")
