"""`taskproc tasks`: one task, and why it does not run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from taskproc.cli.commands import Desk, Retries, Tenant, Yes, command, group
from taskproc.cli.output import FAILED, Column, fields, heading, tell
from taskproc.cli.rows import call_of, error_of, state_of
from taskproc.cli.words import ago, cell, instant, length, since
from taskproc.failure import visible
from taskproc.models import AttemptInfo, TaskInfo
from taskproc.redaction import redacted

__all__ = ["tasks"]

tasks = group("Single tasks, by their ids.", listing=False)

NONE_TO_CANCEL = "there is no task {} to cancel: it has ended, is dead (`taskproc tasks discard`), or never was"
GONE = "task {} is dead no more"

Id = Annotated[str, typer.Argument(metavar="TASK", help="Its id")]


def _ran(attempt: AttemptInfo) -> str:
    return since(attempt.started) if attempt.ended is None else length(attempt.ended - attempt.started)


ATTEMPTS: list[Column[AttemptInfo]] = [
    Column(head="#", value=lambda attempt: f"{attempt.number}", number=True),
    Column(head="outcome", value=lambda attempt: state_of(attempt.outcome)),
    Column(head="started", value=lambda attempt: instant(attempt.started), extra=True),
    Column(head="ran", value=_ran, number=True),
    Column(head="worker", value=lambda attempt: cell(attempt.worker), extra=True),
    Column(head="error", value=lambda attempt: error_of(attempt.error_type, attempt.error_message), flexible=True),
]


@command(tasks, "show")
async def show_task(
    desk: Desk,
    task: Id,
    *,
    tenant: Tenant = None,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show arguments whose names look secret, too")] = False,
) -> None:
    """Shows a task that has not ended: its attempts, its arguments, its last error."""
    found = await desk.processor.get_task(task, tenant=tenant)
    if found is None:
        raise typer.Exit(await _unknown(desk, task, tenant))
    attempts = await desk.processor.get_attempts(task, tenant=tenant)
    arguments = await desk.processor.get_arguments(task, tenant=tenant)
    if arguments is not None and not reveal:
        arguments = redacted(arguments)
    desk.out.one(
        found,
        _facts(found),
        None if not arguments else heading("Arguments", _arguments(arguments)),
        heading("Attempts", desk.out.table(attempts, ATTEMPTS)) if attempts else None,
        heading("Last error", _error(found)) if found.error_type else None,
        attempts=attempts,
        arguments=arguments,
    )


@command(tasks, "explain")
async def explain_task(desk: Desk, task: Id, *, tenant: Tenant = None) -> None:
    """Says in words why a task does not run."""
    said = await desk.processor.explain(task, tenant=tenant)
    if desk.out.as_json:
        desk.out.json({"task_id": task, "explanation": said})
    else:
        desk.out.print(Text(visible(said)))
    if await desk.processor.get_task(task, tenant=tenant) is None:
        batch = await _batch(desk, task, tenant)
        raise typer.Exit(tell(batch) if batch else FAILED)


@command(tasks, "cancel")
async def cancel_task(desk: Desk, task: Id, *, tenant: Tenant = None, yes: Yes = False) -> None:
    """Cancels a task, also one that runs. Dead ones are discarded instead."""
    desk.ask(f"Cancel task {task}?", yes=yes)
    canceled = await desk.processor.cancel_task(task, tenant=tenant)
    if canceled:
        await desk.note("cancel-task", task, tenant=tenant)
    failed = "" if canceled else await _batch(desk, task, tenant) or NONE_TO_CANCEL.format(task)
    desk.out.did("canceled", int(canceled), f"Canceled task {task}.", otherwise=failed)


@command(tasks, "retry")
async def retry_task(desk: Desk, task: Id, *, retries: Retries = None, tenant: Tenant = None) -> None:
    """Lets a dead task run again."""
    queue = await _queue_of_dead(desk, task, tenant)
    retried = await desk.processor.retry_dead_tasks(queue, retries, task_ids=[task], tenant=tenant)
    if retried:
        await desk.note("retry-dead", f"queue {queue}", tenant=tenant, detail=f"1 task: {task}")
    desk.out.did("retried", retried, f"Task {task} of queue {queue} will run again.", otherwise=GONE.format(task))


@command(tasks, "discard")
async def discard_task(desk: Desk, task: Id, *, tenant: Tenant = None, yes: Yes = False) -> None:
    """Removes a dead task. One that is not dead is canceled instead."""
    queue = await _queue_of_dead(desk, task, tenant)
    desk.ask(f"Discard dead task {task} of queue {queue}?", yes=yes)
    discarded = await desk.processor.discard_dead_tasks(queue, task_ids=[task], tenant=tenant)
    if discarded:
        await desk.note("discard-dead", f"queue {queue}", tenant=tenant, detail=f"1 task: {task}")
    desk.out.did("discarded", discarded, f"Discarded task {task} of queue {queue}.", otherwise=GONE.format(task))


async def _queue_of_dead(desk: Desk, task: str, tenant: str | None) -> str:
    """Where it is dead; ends the command if it is not."""
    found = await desk.processor.get_task(task, tenant=tenant)
    if found is None:
        raise typer.Exit(await _unknown(desk, task, tenant))
    if found.state != "dead":
        raise typer.Exit(tell(f"task {task} is not dead but {state_of(found.state)}: `taskproc tasks cancel {task}`"))
    return found.queue


async def _unknown(desk: Desk, task: str, tenant: str | None) -> int:
    none = f"there is no task {task}: it has ended, was canceled or discarded, or never was"
    return tell(await _batch(desk, task, tenant) or none)


async def _batch(desk: Desk, task: str, tenant: str | None) -> str | None:
    """What to say if that is the id of a batch."""
    found = await desk.processor.get_batch(task, tenant=tenant)
    return None if found is None else f"{task} is a batch, not a task: `taskproc batches show {task}`"


def _facts(task: TaskInfo) -> Table:
    return fields(
        ("task", task.task_id),
        ("call", call_of(task)),
        ("state", state_of(task.state)),
        ("queue", task.queue),
        ("tenant", task.tenant),
        ("batch", task.batch_id),
        ("attempt", f"{task.attempt} of {task.retries}"),
        ("enqueued", _when(task.enqueued_at)),
        ("due", _when(task.due_at)),
        ("started", _when(task.started_at)),
        ("lease ends", _when(task.lease_ends)),
        ("worker", task.worker),
        ("died", _when(task.died_at)),
    )


def _when(at: Any) -> str | None:
    return None if at is None else f"{instant(at)} UTC, {ago(at)}"


def _arguments(arguments: Mapping[str, Any]) -> Table:
    return fields(*((visible(name), json.dumps(value, ensure_ascii=False)) for name, value in arguments.items()))


def _error(task: TaskInfo) -> Text:
    """The traceback, or what there is."""
    whole = task.traceback or f"{task.error_type}: {task.error_message}"
    return Text("\n").join(Text(visible(line)) for line in whole.rstrip().splitlines())
