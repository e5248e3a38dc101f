"""`taskproc audit`: who did what by hand."""

from __future__ import annotations

from taskproc.cli.commands import Desk, Skip, Take
from taskproc.cli.output import Column
from taskproc.cli.words import ago, cell, instant
from taskproc.models import AuditEntry

__all__ = ["list_acts"]

ACTS: list[Column[AuditEntry]] = [
    Column(head="UTC", value=lambda entry: instant(entry.at), extra=True),
    Column(head="when", value=lambda entry: ago(entry.at), number=True),
    Column(head="by", value=lambda entry: cell(entry.by), flexible=True),
    Column(head="act", value=lambda entry: cell(entry.act)),
    Column(head="target", value=lambda entry: cell(entry.target), flexible=True),
    Column(head="tenant", value=lambda entry: cell(entry.tenant or ""), extra=True),
    Column(head="detail", value=lambda entry: cell(entry.detail), flexible=True),
]


async def list_acts(desk: Desk, *, skip: Skip = 0, take: Take = 20) -> None:
    """Lists what was done by hand, here and in the dashboard: the last act first, of the last thousand."""
    desk.out.many(await desk.processor.get_audit(skip, take), ACTS, empty="Nothing was done by hand.")
