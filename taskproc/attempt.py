"""One attempt: start hook → scope → call → an Outcome. User code may raise what it likes; none of it leaves here."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from taskproc.context import TaskContext, enter
from taskproc.errors import ArgumentsMismatch, MalformedTask, UnknownTask
from taskproc.failure import describe, message_of, one_line, type_of
from taskproc.hooks import call_hook
from taskproc.options import LONGEST, milliseconds
from taskproc.outcome import DONE, Failed, Interrupted, Malformed, NotKnown, Outcome, Unfinished
from taskproc.records import Attempt, Settlement

if TYPE_CHECKING:
    from taskproc.settings import TaskProcessorSettings

__all__ = ["Execute", "run_attempt", "settlement_of"]

logger = logging.getLogger(__name__)

Execute = Callable[[TaskContext], Awaitable[object]]

LONGEST_UNKNOWN_DELAY = 60_000  # ms between two tries to find a worker that knows a task


async def run_attempt(ctx: TaskContext, execute: Execute, settings: TaskProcessorSettings) -> Outcome:
    """Runs the task in the current contextvars context, which must be its own."""
    enter(ctx)
    try:
        if settings.on_task_start is not None:
            await call_hook(settings.on_task_start, settings.hook_timeout, ctx)
        await execute(ctx)
    except (UnknownTask, ArgumentsMismatch) as error:
        return NotKnown(error)
    except MalformedTask as error:
        return Malformed(error)
    except BaseException as error:  # noqa: BLE001 - SystemExit of a task must not end its worker
        return Failed(error)
    return DONE


async def settlement_of(
    ctx: TaskContext, attempt: Attempt, outcome: Unfinished, settings: TaskProcessorSettings, *, us: int, now: int
) -> Settlement:
    """What is handed in for an attempt that was not done; for a failure the hooks are asked first."""

    def settled(kind: str, **fields: object) -> Settlement:
        return Settlement(id=attempt.id, token=attempt.token, outcome=kind, us=us, **fields)  # type: ignore[arg-type]

    match outcome:
        case Interrupted():
            return settled("release")
        case NotKnown(error) if (waited := now - (attempt.unknown_since or now)) < settings.unknown_task_grace / _MS:
            why = _loggable(error)
            logger.warning("task %s goes back for other workers: %s", one_line(attempt.id), why, extra=ctx.log_fields)
            return settled("release", unknown=True, delay=int(min(max(waited, 1000), LONGEST_UNKNOWN_DELAY)))
        case NotKnown(error) | Malformed(error):
            why = _loggable(error)
            logger.error("task %s is dead: %s", one_line(attempt.id), why, extra=ctx.log_fields)
            await _report(ctx, error, settings)
            return settled("dead", **_told(error))
        case Failed(error):
            _log_failure(ctx, error)
            await _report(ctx, error, settings)
            if ctx.retries_left > 0:
                told = {"type": type_of(error), "message": message_of(error)}
                return settled("retry", delay=await _delay(ctx, settings), **told)
            kept = settings.deadletter and (settings.deadletter_unique_schedules or not attempt.unique)
            return settled("dead", **_told(error)) if kept else settled("discard")


_MS = timedelta(milliseconds=1)


def _told(error: BaseException) -> dict[str, str]:
    failure = describe(error)
    return {"type": failure.type, "message": failure.message, "traceback": failure.traceback}


def _loggable(error: BaseException) -> str:
    """What the log may hold: why an argument does not fit may be said by its own type, and quote it."""
    return type_of(error) if isinstance(error, ArgumentsMismatch) else one_line(message_of(error))


def _log_failure(ctx: TaskContext, error: BaseException) -> None:
    """Without the error's message, which may hold what the task was given: the dead letter, and the hooks, have it."""
    level, what = (logging.INFO, "failed") if ctx.retries_left else (logging.WARNING, "failed for the last time")
    logger.log(
        level,
        "task %s (%s) %s, attempt %d: %s",
        one_line(ctx.task_id),
        one_line(ctx.call),
        what,
        ctx.attempt,
        one_line(type_of(error)),
        extra=ctx.log_fields,
    )


async def _report(ctx: TaskContext, error: BaseException, settings: TaskProcessorSettings) -> None:
    if settings.on_task_error is not None:
        await call_hook(settings.on_task_error, settings.hook_timeout, ctx, error)


async def _delay(ctx: TaskContext, settings: TaskProcessorSettings) -> int:
    if settings.on_task_failed_delay is None:
        return 0
    delay = await call_hook(settings.on_task_failed_delay, settings.hook_timeout, ctx, ctx.retries_left)
    return max(milliseconds(min(delay, LONGEST)), 0) if isinstance(delay, timedelta) else 0
