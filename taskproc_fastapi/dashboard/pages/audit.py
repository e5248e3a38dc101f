"""Who did what."""

from __future__ import annotations

from dataclasses import dataclass, replace

from taskproc.models import AuditEntry
from taskproc_fastapi.dashboard.view import Page, View

__all__ = ["WORDS", "show"]

TAKE = 50
MOST = 1_000
"""As many are kept."""
WORDS = {
    "pause": "paused",
    "resume": "resumed",
    "retry-task": "retried a task",
    "retry-task-with": "retried a task with other arguments",
    "cancel-task": "canceled a task",
    "discard-task": "discarded a task",
    "retry-dead": "retried dead tasks",
    "retry-all-dead": "retried dead tasks",
    "discard-dead": "discarded dead tasks",
    "retry-batch": "retried what failed of a batch",
    "cancel-batch": "canceled a batch",
    "trigger-schedule": "triggered a schedule",
    "pause-schedule": "paused a schedule",
    "resume-schedule": "resumed a schedule",
    "cancel-schedule": "removed a schedule",
    "drain-worker": "drained a worker",
    "resume-worker": "let a worker fetch again",
    "stacks": "looked at a worker’s stacks",
}
"""What each act is called; an app may note others, which are shown as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    entry: AuditEntry
    act: str
    page: str | None
    """That of what was acted on, if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    rows: list[Row]
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
    data = Audit(rows=[_row(view, entry) for entry in found[:TAKE]], skip=skip, take=TAKE, more=len(found) > TAKE)
    return Page(template="audit.html", title="Audit", data=data)


def _row(view: View, entry: AuditEntry) -> Row:
    return Row(entry=entry, act=WORDS.get(entry.act, entry.act), page=_page_of(view, entry))


def _page_of(view: View, entry: AuditEntry) -> str | None:
    """What was acted on may be gone since."""
    kind, _, name = entry.target.partition(" ")
    if entry.act in ("retry-dead", "retry-all-dead", "discard-dead"):
        return view.url("dead", queue=name) if kind == "queue" else None
    if kind == "queue" and name:
        return view.url("queue", name=name)
    if kind == "tenant" and name:
        return view.url("tenant", name=name)
    page = entry.act.split("-")[1] if "-" in entry.act else ""
    if page in ("task", "batch"):
        return view.url(page, id=entry.target)
    return view.url("schedules", tenant=entry.tenant) if page == "schedule" and entry.tenant else None


def _told(view: View, entry: AuditEntry) -> AuditEntry:
    """A viewer of one tenant is not told who else acts, or why."""
    return entry if entry.by == view.rights.user else replace(entry, by="an operator", detail="")
