"""Says in words why a task does not run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from taskproc.controls import EVERYTHING
from taskproc.looking import FURTHEST
from taskproc.models import BatchInfo, BatchState, PauseInfo, TaskInfo, WorkerInfo
from taskproc.names import is_fair

if TYPE_CHECKING:
    from taskproc.looking import Looking

__all__ = ["explain", "hindrance"]

MOST_LOOKED_AT, PAGE = 2_000, 500
"""Tasks of a batch among which one is looked for that has not ended; so many at a time."""
AWAITED = {"success": "success", "failed": "failure", "canceled": "cancellation", "complete": "end"}
STATES: dict[BatchState, str] = {
    "running": "is running",
    "canceling": "is being canceled",
    "done": "has succeeded",
    "failed": "has failed",
    "canceled": "was canceled",
}


async def explain(looking: Looking, task_id: str, tenant: str | None = None) -> str:
    """Where the task is, and what it waits for; to a tenant nothing is said of others."""
    found = [task for task in await looking.tasks([task_id]) if tenant in (None, task.tenant)]
    if not found:
        return await _no_task(looking, task_id, tenant)
    task = found[0]
    match task.state:
        case "ready":
            place = await _ready(looking, task, tenant)
            return f"{place}{await _unknown(looking, task)}{await _obstacles(looking, task, tenant)}"
        case "leased":
            return await _leased(looking, task, tenant)
        case "delayed":
            return f"{await _delayed(looking, task)}{await _obstacles(looking, task, tenant)}"
        case "dead":
            error = f"{task.error_type}: {task.error_message}"
            return f"It is dead since {_instant(task.died_at)}: {error}. Retry or discard it."
        case "held":
            return await _held(looking, task)


def _instant(at: datetime | None) -> str:
    return "an unknown instant" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


async def _no_task(looking: Looking, id_: str, tenant: str | None) -> str:
    batch = await looking.batch(id_)
    if batch is None or tenant not in (None, batch.tenant):
        return "There is no such task: it has ended, was canceled or discarded, or never was."
    state = f"The batch {STATES[batch.state]}, {_progress(batch)}."
    return f"{state}{await _waiting(looking, batch, tenant)}" if batch.state == "running" and batch.remaining else state


def _progress(batch: BatchInfo) -> str:
    others = ((batch.failed, "failed"), (batch.canceled, "canceled"))
    counted = "".join(f", {count} {what}" for count, what in others if count)
    return f"{batch.done} of {batch.total} done{counted}"


async def _waiting(looking: Looking, batch: BatchInfo, tenant: str | None) -> str:
    """What holds up the rest of a batch: what one of those tasks waits for, unless one runs."""
    left = await _some_left(looking, batch.id)
    running, ready, delayed = [
        [task for task in left if task.state == state] for state in ("leased", "ready", "delayed")
    ]
    if running or not left:
        return _all_said(await looking.pauses([EVERYTHING, f"tenant:{batch.tenant}"]), tenant)
    if ready:
        return f" Its next task is ready in queue {ready[0].queue}.{await _obstacles(looking, ready[0], tenant)}"
    first = min(delayed, key=lambda task: task.due_at or task.enqueued_at)
    return f" Its next task is due at {_instant(first.due_at)}.{await _obstacles(looking, first, tenant)}"


async def _some_left(looking: Looking, batch_id: str) -> list[TaskInfo]:
    """Some tasks of a batch that have not ended, if there are any among the first that are looked at."""
    ids: list[str] = []
    async with aclosing(looking.ids_of_batch(batch_id)) as chunks:
        async for chunk in chunks:
            ids += chunk[: MOST_LOOKED_AT - len(ids)]
            if len(ids) == MOST_LOOKED_AT:
                break
    for first in range(0, len(ids), PAGE):
        found = await looking.tasks(ids[first : first + PAGE])
        if left := [task for task in found if task.state in ("leased", "ready", "delayed")]:
            return left
    return []


# One that runs


async def _leased(looking: Looking, task: TaskInfo, tenant: str | None) -> str:
    """Whether its worker lives, too; which one that is, is not for a tenant."""
    on = " on a worker" if tenant is not None else f" on worker {task.worker}"
    workers = await looking.workers()
    alive = await _alive(looking, workers)
    dead = [worker for worker in workers if worker.id == task.worker and worker not in alive]
    if not dead:
        return f"Its attempt {task.attempt} runs{on}, whose lease ends at {_instant(task.lease_ends)}."
    since = _instant(dead[0].seen or dead[0].since)
    began = f"Its attempt {task.attempt} began{on}, which has shown no sign of life since {since}"
    if alive:
        return f"{began}: it goes back to its queue within seconds."
    return f"{began}, and no worker runs that could take it back: start one."


async def _alive(looking: Looking, workers: list[WorkerInfo]) -> list[WorkerInfo]:
    """Those that do not count as dead."""
    now = await looking.now()
    return [worker for worker in workers if worker.alive_until.timestamp() * 1000 > now]


# One that waits for its batch


async def _held(looking: Looking, task: TaskInfo) -> str:
    awaited = AWAITED.get(task.awaits or "", "end")
    waits = f"It waits for the {awaited} of batch {task.batch_id}"
    batch = await looking.batch(task.batch_id or "")
    if batch is None:
        return f"{waits}, which is gone: cancel this task."
    state = f"{waits}, which {STATES[batch.state]}"
    match batch.state:
        case "running":
            return f"{state}: {_progress(batch)}."
        case "canceling" if task.awaits in ("success", "failed"):
            return f"{state}: it will not run."
        case "failed" if task.awaits == "success":
            return f"{state}: retry its dead tasks, or cancel this task."
        case "done" | "failed":
            return f"{state}: cancel this task, unless more is to be appended to the batch."
        case _:
            return f"{state}."


# One that waits for a worker


async def _ready(looking: Looking, task: TaskInfo, tenant: str | None) -> str:
    if tenant is not None and not is_fair(task.queue):
        return f"It is ready in queue {task.queue}."
    before = await looking.position(task)
    where = f"of tenant {task.tenant} in fair queue" if is_fair(task.queue) else "in queue"
    place = f"behind {_counted(before, 'other')}" if before else "next"
    if before is None:
        place = f"behind more than {FURTHEST} others"
    return f"It is ready, {place} {where} {task.queue}."


async def _delayed(looking: Looking, task: TaskInfo) -> str:
    why = " After a failed attempt it waits." if task.attempt > 1 else ""
    return f"It is delayed until {_instant(task.due_at)}.{await _unknown(looking, task) or why}"


async def _unknown(looking: Looking, task: TaskInfo) -> str:
    since = await looking.unknown_since(task)
    if since is None:
        return ""
    return f" No worker that fetched it since {_instant(since)} knows {task.call or task.topic}."


async def _obstacles(looking: Looking, task: TaskInfo, tenant: str | None) -> str:
    workers = await looking.workers()
    alive = await _alive(looking, workers)
    serving = [worker for worker in workers if task.queue in worker.queues]
    paused = await _pauses(looking, task, tenant)
    living = [worker for worker in serving if worker in alive]
    return f"{paused}{hindrance(task.queue, serving, living, counted=tenant is None)}"


def hindrance(queue: str, known: Sequence[WorkerInfo], alive: Sequence[WorkerInfo], *, counted: bool) -> str:
    """What keeps the workers that serve the queue from fetching, ahead of which there is a blank; `counted`: and how
    much they run. Empty if nothing does.
    """
    if not known:
        return f" No worker serves queue {queue}: add it to the `queues` of one."
    if not alive:
        seen = max(worker.seen or worker.since for worker in known)
        return f" No worker that serves queue {queue} has shown a sign of life since {_instant(seen)}: start one."
    fetching = [worker for worker in alive if not worker.draining]
    if not fetching:
        return " All workers that serve it are draining: let one go on, or start another."
    slots, running = sum(worker.max_workers for worker in fetching), sum(worker.running for worker in fetching)
    if running < slots:
        return ""
    if not counted:
        return " Its workers have no free slot."
    draining = len(alive) - len(fetching)
    more = f"; {draining} more that {'serves it is' if draining == 1 else 'serve it are'} draining" if draining else ""
    return f" Its workers have no free slot: they run {_counted(running, 'task')}{more}."


async def _pauses(looking: Looking, task: TaskInfo, tenant: str | None) -> str:
    """Those that hold the task up."""
    return _all_said(await looking.pauses_of(task), tenant)


def _all_said(pauses: list[PauseInfo], tenant: str | None) -> str:
    if tenant is not None:  # who paused what is everybody's, and why, is not for one of them
        pauses = [pause if pause.tenant else replace(pause, by="", reason="") for pause in pauses]
    return "".join(f" {_said(pause)}" for pause in pauses)


def _said(pause: PauseInfo) -> str:
    what, act = "Everything", "resume it"
    if pause.queue is not None:
        what, act = f"Queue {pause.queue}", "resume the queue"
    if pause.tenant is not None:
        what, act = f"Tenant {pause.tenant}", "resume the tenant"
    by = f" by {pause.by}" if pause.by else ""
    until = f" until {_instant(pause.until)}" if pause.until else ""
    reason = f" ({pause.reason})" if pause.reason else ""
    return f"{what} is paused{by}{until}{reason}: {act}."


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
