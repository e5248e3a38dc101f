"""Batches, by tenant, and one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from taskproc import BatchInfo, TaskInfo
from taskproc.names import tenant_name
from taskproc_fastapi.dashboard.access import Refused
from taskproc_fastapi.dashboard.view import MOST_ENTRIES_SKIPPED, PAGE, Page, View

__all__ = ["Pace", "pace_of", "show_all", "show_one", "tenants_to_choose"]

MOST_QUEUES, MOST_LOOKED_AT, STEP = 20, 2_000, 500
MOST_TASKS, MOST_TENANTS = 50, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a batch is."""

    lasted: float
    """Seconds since its start, until its end."""
    per_second: float
    left: float | None
    """Seconds until it will be done, if it goes on like this; None when it has ended or has not begun."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OneBatch:
    batch: BatchInfo
    pace: Pace
    continuations: list[TaskInfo]
    dead: list[TaskInfo]
    whole: bool
    """All dead tasks there are were looked at."""


async def show_all(view: View) -> Page:
    tenants = await tenants_to_choose(view)
    tenant = view.tenant or tenant_name(view.text("tenant", tenants[0] if tenants else view.processor.settings.tenant))
    skip = view.skip(MOST_ENTRIES_SKIPPED)
    found = await view.processor.get_batches(tenant, skip, PAGE)
    data = Batches(
        tenant=tenant,
        tenants=tenants,
        rows=[(batch, pace_of(batch)) for batch in found],
        skip=skip,
        take=PAGE,
        total=await view.processor.get_batches_count(tenant),
    )
    return Page(template="batches.html", title="Batches", data=data)


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
    data = OneBatch(batch=batch, pace=pace_of(batch), continuations=continuations, dead=dead, whole=whole)
    return Page(template="batch.html", title=f"Batch {batch.scope or batch.id[:10]}", data=data)


def pace_of(batch: BatchInfo) -> Pace:
    lasted = max(((batch.end or datetime.now(UTC)) - batch.start).total_seconds(), 0.001)
    ended = batch.done + batch.failed + batch.canceled
    per_second = ended / lasted
    left = batch.remaining / per_second if batch.end is None and per_second else None
    ran = batch.done + batch.failed
    return Pace(lasted=lasted, per_second=per_second, left=left, each=batch.duration / ran if ran else None)


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
