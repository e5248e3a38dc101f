"""`taskproc batches`: how far they are."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import RenderableType

from taskproc.cli.commands import Desk, Skip, Take, Tenant, Yes, command, group
from taskproc.cli.following import follow
from taskproc.cli.output import fields, tell
from taskproc.cli.rows import BATCHES, some, state_of, took
from taskproc.cli.words import ago, count, instant, length, noun
from taskproc.models import BatchInfo
from taskproc.processor import TaskProcessor

__all__ = ["batches"]

batches = group("Batches of tasks.")

MOST_TENANTS = 20
"""That are asked whether they have batches."""

Id = Annotated[str, typer.Argument(metavar="BATCH", help="Its id")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until it has ended")]


@command(batches, "list")
async def list_batches(desk: Desk, *, tenant: Tenant = None, skip: Skip = 0, take: Take = 20) -> None:
    """Lists a tenant's batches, the newest first."""
    owner = desk.processor.settings.tenant if tenant is None else tenant
    found = await desk.processor.get_batches(owner, skip, take)
    empty = f"Tenant {owner} has no batches{' here' if skip else ''}."
    if not found and not skip and tenant is None:
        empty += await _those_of_others(desk.processor, owner)
    desk.out.many(found, BATCHES, empty=empty)


@command(batches, "show")
async def show_batch(desk: Desk, batch: Id, *, tenant: Tenant = None, following: Follow = False) -> None:
    """Shows a batch. With --follow until it has ended; the exit code is 1 when it failed or was canceled."""
    found = await desk.processor.get_batch(batch, tenant=tenant)
    if found is None:
        raise typer.Exit(await _unknown(desk, batch, tenant))
    if following:
        await follow(desk, batch, tenant)
    else:
        desk.out.one(found, _facts(found))


@command(batches, "cancel")
async def cancel_batch(desk: Desk, batch: Id, *, tenant: Tenant = None, yes: Yes = False) -> None:
    """Cancels a batch: what waits never starts, what runs is cancelled."""
    desk.ask(f"Cancel batch {batch}{await _rest(desk, batch, tenant)}?", yes=yes)
    canceled = await desk.processor.cancel_batch(batch, tenant=tenant)
    if canceled:
        await desk.note("cancel-batch", batch, tenant=tenant)
    none = f"there is no batch {batch} to cancel: it has ended, or never was"
    failed = "" if canceled else await _task(desk, batch, tenant) or none
    desk.out.did("canceled", int(canceled), f"Canceled batch {batch}.", otherwise=failed)


@command(batches, "retry")
async def retry_batch(desk: Desk, batch: Id, *, tenant: Tenant = None, following: Follow = False) -> None:
    """Lets what failed of a batch run again."""
    if await desk.processor.get_batch(batch, tenant=tenant) is None:
        raise typer.Exit(await _unknown(desk, batch, tenant))
    retried = await desk.processor.retry_batch(batch, tenant=tenant)
    if retried:
        await desk.note("retry-batch", batch, tenant=tenant, detail=noun(retried, "task"))
    if following and retried:
        await follow(desk, batch, tenant)
    else:
        desk.out.did("retried", retried, f"{noun(retried, 'task')} of batch {batch} will run again.")


async def _those_of_others(tasks: TaskProcessor, owner: str) -> str:
    """Which tenants have batches, if that one has none."""
    lately = [name for name in await tasks.get_tenants() if name != owner][:MOST_TENANTS]
    some_have = [name for name in lately if await tasks.get_batches_count(name)]
    return f" Name one that has some, with --tenant: {', '.join(some_have)}." if some_have else ""


async def _unknown(desk: Desk, batch: str, tenant: str | None) -> int:
    none = f"there is no batch {batch}: its retention is over, or it never was"
    return tell(await _task(desk, batch, tenant) or none)


async def _task(desk: Desk, batch: str, tenant: str | None) -> str | None:
    """What to say if that is the id of a task."""
    found = await desk.processor.get_task(batch, tenant=tenant)
    if found is None:
        return None
    its = f", which is of batch {found.batch_id}" if found.batch_id else ""
    return f"{batch} is a task, not a batch{its}: `taskproc tasks show {batch}`"


async def _rest(desk: Desk, batch: str, tenant: str | None) -> str:
    """How much a cancel would hit."""
    found = await desk.processor.get_batch(batch, tenant=tenant)
    return "" if found is None else f" with {noun(found.remaining, 'task')} to go"


def _facts(batch: BatchInfo) -> RenderableType:
    return fields(
        ("batch", batch.id),
        ("state", state_of(batch.state)),
        ("tenant", batch.tenant),
        ("scope", batch.scope or None),
        ("started", f"{instant(batch.start)} UTC, {ago(batch.start)}"),
        ("ended", None if batch.end is None else f"{instant(batch.end)} UTC, {ago(batch.end)}"),
        ("took", took(batch)),
        ("tasks ran", f"{length(batch.duration)} in all"),
        ("done", f"{count(batch.done)} of {count(batch.total)}"),
        ("failed", some(batch.failed, "red")),
        ("canceled", some(batch.canceled, "yellow")),
        ("remaining", some(batch.remaining)),
    )
