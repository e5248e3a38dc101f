"""Who did what."""

from __future__ import annotations

from dataclasses import dataclass, replace

from taskproc.models import AuditEntry
from taskproc_fastapi.dashboard.view import Page, View

__all__ = ["show"]

TAKE = 50
MOST = 1_000
"""As many are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    entries: list[AuditEntry]
    skip: int
    take: int
    more: bool


async def show(view: View) -> Page:
    skip = view.skip()
    if view.tenant is None:
        found = await view.processor.get_audit(skip, TAKE + 1)
    else:
        every = await view.processor.get_audit(0, MOST)
        own = [_told(view, entry) for entry in every if entry.tenant == view.tenant]
        found = own[skip : skip + TAKE + 1]
    data = Audit(entries=found[:TAKE], skip=skip, take=TAKE, more=len(found) > TAKE)
    return Page(template="audit.html", title="Audit", data=data)


def _told(view: View, entry: AuditEntry) -> AuditEntry:
    """A viewer of one tenant is not told who else acts, or why."""
    return entry if entry.by == view.rights.user else replace(entry, by="an operator", detail="")
