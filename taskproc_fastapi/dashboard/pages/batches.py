"""Batches, by tenant, and one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from taskproc import BatchInfo, TaskInfo
from taskproc.models import PauseInfo
from taskproc.names import tenant_name
from taskproc_fastapi.dashboard.access import Refused
from taskproc_fastapi.dashboard.view import MOST_ENTRIES_SKIPPED, PAGE, Page, View

__all__ = ["Pace", "pace_of", "pause_of_tenant", "show_all", "show_one", "tenants_to_choose"]

MOST_QUEUES, MOST_LOOKED_AT, STEP = 20, 2_000, 500
MOST_TASKS, MOST_TENANTS = 50, 200
EXPLAINED_LASTS = 5.0  # seconds
MOST_COMPARED, LATEST, MOST_LISTED = 50, 20, 200
"""Tenants whose batches are looked at together, how many of each, and how many of them are shown."""
STATES_SHOWN = {"running": ("running", "canceling"), "failed": ("failed",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a batch is."""

    lasted: float
    """Seconds since its start, until its end."""
    per_second: float | None
    """Tasks that ran; None if none has."""
    left: float | None
    """Seconds until it will be done, if it goes on like this; None when it has ended, is paused, or has not begun."""
    each: float | None
    """Seconds that a task took on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    tenant: str
    tenants: list[str]
    rows: list[tuple[BatchInfo, Pace]]
    skip: int
    take: int
    total: int
    pause: PauseInfo | None
    """That of the tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllBatches:
    """Those in a state, whosever they are."""

    state: str
    tenants: list[str]
    """Of those seen last."""
    each: int
    """How many batches of each were looked at."""
    rows: list[tuple[BatchInfo, Pace]]
    whole: bool
    """There are no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OneBatch:
    batch: BatchInfo
    explained: str
    """Why it stands still, if it does; empty once it has ended."""
    pace: Pace
    continuations: list[TaskInfo]
    dead: list[TaskInfo]
    whole: bool
    """All dead tasks there are were looked at."""


async def show_all(view: View) -> Page:
    if view.tenant is None and (state := view.one_of("state", ("", "running", "failed"))):
        return await _show_all_tenants(view, state)
    tenants = await tenants_to_choose(view)
    tenant = view.tenant or tenant_name(view.text("tenant", tenants[0] if tenants else view.processor.settings.tenant))
    skip = view.skip(MOST_ENTRIES_SKIPPED)
    found = await view.processor.get_batches(tenant, skip, PAGE)
    pause = pause_of_tenant(view, tenant, await view.processor.get_pauses())
    data = Batches(
        tenant=tenant,
        tenants=tenants,
        rows=[(batch, pace_of(batch, paused=pause is not None)) for batch in found],
        pause=pause,
        skip=skip,
        take=PAGE,
        total=await view.processor.get_batches_count(tenant),
    )
    return Page(template="batches.html", title="Batches", data=data)


async def _show_all_tenants(view: View, state: str) -> Page:
    known = await view.processor.get_tenants()
    tenants = known[:MOST_COMPARED]

    async def look() -> list[list[BatchInfo]]:
        return await asyncio.gather(*(view.processor.get_batches(each, 0, LATEST) for each in tenants))

    latest = await view.shared.remembered.get("batches of all", EXPLAINED_LASTS, look)
    held = {each.tenant for each in await view.processor.get_pauses() if each.queue is None}
    found = [batch for some in latest for batch in some if batch.state in STATES_SHOWN[state]]
    found.sort(key=lambda batch: batch.start, reverse=True)
    rows = [(batch, pace_of(batch, paused=bool(held & {None, batch.tenant}))) for batch in found[:MOST_LISTED]]
    whole = len(known) <= MOST_COMPARED and all(len(some) < LATEST for some in latest) and len(found) <= MOST_LISTED
    data = AllBatches(state=state, tenants=tenants, each=LATEST, rows=rows, whole=whole)
    return Page(template="all_batches.html", title="Batches", data=data)


async def tenants_to_choose(view: View) -> list[str]:
    """Those seen last, first; for a viewer of one tenant only that."""
    return [view.tenant] if view.tenant is not None else (await view.processor.get_tenants())[:MOST_TENANTS]


async def show_one(view: View) -> Page:
    id_ = view.text("id")
    batch = await view.processor.get_batch(id_, tenant=view.tenant)
    if batch is None:
        raise Refused(
            404,
            "No such batch",
            f"There is no batch {id_}. Ended ones are kept for {view.processor.settings.retention}.",
        )
    dead, whole = await _dead_of(view, batch) if batch.failed else ([], True)
    continuations = await view.processor.get_continuations(id_, tenant=view.tenant)
    pauses = await view.processor.get_pauses()
    stopped = any(each.queue is None and each.tenant in (None, batch.tenant) for each in pauses)
    pace = pace_of(batch, paused=stopped)
    explained = "" if batch.end else await _explained(view, id_)
    data = OneBatch(batch=batch, explained=explained, pace=pace, continuations=continuations, dead=dead, whole=whole)
    return Page(template="batch.html", title=f"Batch {batch.scope or batch.id[:10]}", data=data)


def pause_of_tenant(view: View, tenant: str, pauses: Sequence[PauseInfo]) -> PauseInfo | None:
    """The one that holds up all that is the tenant's; not that of everything, which each page tells of."""
    found = next((pause for pause in pauses if pause.tenant == tenant and pause.queue is None), None)
    return found if view.tenant is None else None


def pace_of(batch: BatchInfo, *, paused: bool = False) -> Pace:
    lasted = max(((batch.end or datetime.now(UTC)) - batch.start).total_seconds(), 0.001)
    ran = batch.done + batch.failed
    per_second = ran / lasted if ran else None
    left = batch.remaining / per_second if batch.end is None and per_second and not paused else None
    return Pace(lasted=lasted, per_second=per_second, left=left, each=batch.duration / ran if ran else None)


async def _explained(view: View, id_: str) -> str:
    """Which looks at many tasks, if many have ended."""

    async def explain() -> str:
        return await view.processor.explain(id_, tenant=view.tenant)

    return await view.shared.remembered.get(f"batch {view.tenant} {id_}", EXPLAINED_LASTS, explain)


async def _dead_of(view: View, batch: BatchInfo) -> tuple[list[TaskInfo], bool]:
    """The dead tasks of a batch among those that died last, of each queue."""
    queues = [queue for queue in await view.processor.get_queues() if queue.deadletter]
    found: list[TaskInfo] = []
    whole = len(queues) <= MOST_QUEUES
    for queue in queues[:MOST_QUEUES]:
        whole = queue.deadletter <= MOST_LOOKED_AT and whole
        for position in range(0, min(queue.deadletter, MOST_LOOKED_AT), STEP):
            page = await view.processor.get_dead_tasks(queue.name, position, STEP)
            found += _of(batch, page)
            if len(found) >= min(batch.failed, MOST_TASKS):
                return found[:MOST_TASKS], batch.failed <= MOST_TASKS
    return found, whole


def _of(batch: BatchInfo, tasks: Sequence[TaskInfo]) -> list[TaskInfo]:
    return [task for task in tasks if task.batch_id == batch.id and task.tenant == batch.tenant]
