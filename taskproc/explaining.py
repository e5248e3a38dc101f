"""Says in words why a task does not run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskproc.models import TaskInfo
from taskproc.names import is_fair

if TYPE_CHECKING:
    from taskproc.looking import Looking

__all__ = ["explain"]


async def explain(looking: Looking, task_id: str, tenant: str | None = None) -> str:
    """Where the task is, and what it waits for."""
    found = [task for task in await looking.tasks([task_id]) if tenant in (None, task.tenant)]
    if not found:
        return "There is no such task: it has ended, was canceled or discarded, or never was."
    task = found[0]
    match task.state:
        case "ready":
            return await _ready(looking, task)
        case "leased":
            return await _leased(looking, task)
        case "delayed":
            why = "after a failed attempt" if task.attempt > 1 else "as it was enqueued"
            return f"It is delayed until {task.due_at}, {why}.{await _paused(looking)}{await _unserved(looking, task)}"
        case "dead":
            return f"It is dead since {task.died_at}: {task.error_type}: {task.error_message}. Retry or discard it."
        case "held":
            return f"It is a continuation, and waits for the end of batch {task.batch_id}."


async def _ready(looking: Looking, task: TaskInfo) -> str:
    before = await looking.position(task)
    where = f"of tenant {task.tenant} in fair queue" if is_fair(task.queue) else "in queue"
    place = f"behind {before} others" if before else "next"
    return f"It is ready, {place} {where} {task.queue}.{await _paused(looking)}{await _unserved(looking, task)}"


async def _leased(looking: Looking, task: TaskInfo) -> str:
    holder, until = await looking.lease(task)
    return f"Its attempt {task.attempt} runs on worker {holder}, whose lease ends at {until}."


async def _paused(looking: Looking) -> str:
    return " Everything is paused: resume()." if await looking.is_paused() else ""


async def _unserved(looking: Looking, task: TaskInfo) -> str:
    if any(task.queue in worker.queues for worker in await looking.workers()):
        return ""
    return f" No worker serves queue {task.queue}: add it to the `queues` of one."
