"""Says in words why a task does not run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from taskproc.looking import FURTHEST
from taskproc.models import PauseInfo, TaskInfo
from taskproc.names import is_fair

if TYPE_CHECKING:
    from taskproc.looking import Looking

__all__ = ["explain"]


async def explain(looking: Looking, task_id: str, tenant: str | None = None) -> str:
    """Where the task is, and what it waits for; to a tenant nothing is said of others."""
    found = [task for task in await looking.tasks([task_id]) if tenant in (None, task.tenant)]
    if not found:
        return "There is no such task: it has ended, was canceled or discarded, or never was."
    task = found[0]
    match task.state:
        case "ready":
            place = await _ready(looking, task, tenant)
            return f"{place}{await _unknown(looking, task)}{await _obstacles(looking, task, tenant)}"
        case "leased":
            return f"Its attempt {task.attempt} runs on worker {task.worker}, whose lease ends at {task.lease_ends}."
        case "delayed":
            return f"{await _delayed(looking, task)}{await _obstacles(looking, task, tenant)}"
        case "dead":
            return f"It is dead since {task.died_at}: {task.error_type}: {task.error_message}. Retry or discard it."
        case "held":
            return f"It is a continuation, and waits for the end of batch {task.batch_id}."


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
    return f"It is delayed until {task.due_at}.{await _unknown(looking, task) or why}"


async def _unknown(looking: Looking, task: TaskInfo) -> str:
    since = await looking.unknown_since(task)
    return "" if since is None else f" No worker that fetched it since {since} knows {task.call or task.topic}."


async def _obstacles(looking: Looking, task: TaskInfo, tenant: str | None) -> str:
    paused = await _pauses(looking, task, tenant)
    serving = [worker for worker in await looking.workers() if task.queue in worker.queues]
    if not serving:
        return f"{paused} No worker serves queue {task.queue}: add it to the `queues` of one."
    slots, running = sum(worker.max_workers for worker in serving), sum(worker.running for worker in serving)
    if running < slots:
        return paused
    return f"{paused} Its workers have no free slot: they run {_counted(running, 'task')}."


async def _pauses(looking: Looking, task: TaskInfo, tenant: str | None) -> str:
    """Those that hold the task up."""
    pauses = await looking.pauses_of(task)
    if tenant is not None:  # who paused what is everybody's, and why, is not for one of them
        pauses = [pause if pause.tenant else replace(pause, by="", reason="") for pause in pauses]
    return "".join(f" {_said(pause)}" for pause in pauses)


def _said(pause: PauseInfo) -> str:
    what, act = "Everything", "resume()"
    if pause.queue is not None:
        what, act = f"Queue {pause.queue}", f"resume(queue={pause.queue!r})"
    if pause.tenant is not None:
        what, act = f"Tenant {pause.tenant}", f"resume(tenant={pause.tenant!r})"
    by = f" by {pause.by}" if pause.by else ""
    until = f" until {pause.until}" if pause.until else ""
    reason = f" ({pause.reason})" if pause.reason else ""
    return f"{what} is paused{by}{until}{reason}: {act}."


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
