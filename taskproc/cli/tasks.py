"""`taskproc tasks`: one task, and why it does not run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from taskproc.cli.commands import Desk, Tenant, Yes, command, group
from taskproc.cli.output import Column, fields, heading, tell
from taskproc.cli.rows import call_of, error_of, state_of
from taskproc.cli.words import ago, cell, instant, length, since
from taskproc.failure import visible
from taskproc.models import AttemptInfo, TaskInfo
from taskproc.redaction import redacted

__all__ = ["tasks"]

tasks = group("Single tasks, by their ids.", listing=False)

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
        raise typer.Exit(_unknown(task))
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
        raise typer.Exit(1)


@command(tasks, "cancel")
async def cancel_task(desk: Desk, task: Id, *, tenant: Tenant = None, yes: Yes = False) -> None:
    """Cancels a task, also one that runs. Dead ones are discarded instead."""
    desk.ask(f"Cancel task {task}?", yes=yes)
    canceled = await desk.processor.cancel_task(task, tenant=tenant)
    if canceled:
        await desk.note("cancel-task", task, tenant=tenant)
    failed = f"there is no task {task} to cancel: it has ended, is dead (discard it), or never was"
    desk.out.did("canceled", int(canceled), f"Canceled task {task}.", otherwise=failed)


def _unknown(task: str) -> int:
    return tell(f"there is no task {task}: it has ended, was canceled or discarded, or never was")


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
