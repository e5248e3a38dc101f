"""Workers, and what they run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from taskproc import TaskInfo, WorkerInfo
from taskproc_fastapi.dashboard.view import Page, View

__all__ = ["LATE", "show"]

MOST_WORKERS = 100
MOST_TASKS = 50
LATE = 0.1  # seconds by which an event loop is late when that is worth a look


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    worker: WorkerInfo
    alive: bool
    late: bool
    tasks: list[TaskInfo]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    rows: list[Row]
    total: int
    slots: int
    running: int


async def show(view: View) -> Page:
    view.need_all_tenants()
    workers = sorted(await view.processor.get_workers(), key=lambda each: (each.host, each.pid, each.id))
    rows = [await _row(view, worker) for worker in workers[:MOST_WORKERS]]
    living = [row.worker for row in rows if row.alive]
    data = Workers(
        rows=rows,
        total=len(workers),
        slots=sum(worker.max_workers for worker in living),
        running=sum(worker.running for worker in living),
    )
    return Page(template="workers.html", title="Workers", data=data)


async def _row(view: View, worker: WorkerInfo) -> Row:
    running = await view.processor.get_tasks_of_worker(worker.id) if worker.running else []
    return Row(
        worker=worker,
        alive=worker.alive_until > datetime.now(UTC),
        late=(worker.lag or 0) >= LATE,
        tasks=running[:MOST_TASKS],
        more=max(len(running) - MOST_TASKS, 0),
    )
