"""`taskproc tenants`: whose tasks there are."""

from __future__ import annotations

from dataclasses import dataclass

from taskproc.cli.commands import Desk, Take
from taskproc.cli.output import Column
from taskproc.cli.rows import some, state_of
from taskproc.cli.words import cell

__all__ = ["list_tenants"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRow:
    """What one tenant has."""

    tenant: str
    batches: int
    schedules: int
    ready: int
    """In fair queues."""
    paused: bool


TENANTS: list[Column[TenantRow]] = [
    Column(head="tenant", value=lambda row: cell(row.tenant), flexible=True),
    Column(head="batches", value=lambda row: some(row.batches), number=True),
    Column(head="schedules", value=lambda row: some(row.schedules), number=True),
    Column(head="ready in fair queues", value=lambda row: some(row.ready), number=True),
    Column(head="", value=lambda row: state_of("paused") if row.paused else ""),
]


async def list_tenants(desk: Desk, *, take: Take = 50) -> None:
    """Lists tenants that enqueued something lately, or have batches; the one seen last, first."""
    tasks = desk.processor
    queues, pauses = await tasks.get_queues(), await tasks.get_pauses()
    paused = {pause.tenant for pause in pauses if pause.tenant is not None}
    rows = [
        TenantRow(
            tenant=name,
            batches=await tasks.get_batches_count(name),
            schedules=await tasks.get_schedules_count(name),
            ready=sum(queue.tenants.get(name, 0) for queue in queues),
            paused=name in paused,
        )
        for name in (await tasks.get_tenants())[:take]
    ]
    desk.out.many(rows, TENANTS, empty="There are no tenants.")
