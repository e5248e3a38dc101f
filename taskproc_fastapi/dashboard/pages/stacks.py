"""What a worker was doing when somebody asked, down to the line."""

from __future__ import annotations

from dataclasses import dataclass

from taskproc.models import TaskStack, WorkerStacks
from taskproc_fastapi.dashboard.access import Refused
from taskproc_fastapi.dashboard.pages.workers import LATE
from taskproc_fastapi.dashboard.view import Page, View

__all__ = ["show"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    worker: str
    stacks: WorkerStacks | None
    """None: nothing was asked within the last minute."""
    late: bool
    """What the event loop ran had held it for a while."""
    open: list[TaskStack]
    """Those that are not folded."""


async def show(view: View) -> Page:
    """What the act has asked for; by itself this page asks no worker."""
    view.need_all_tenants()
    if not view.operates:
        raise Refused(403, "Not for you", "You may look at this dashboard, but not ask workers for their stacks.")
    worker = view.text("id")
    found = await view.processor.get_stacks(worker, anew=False)
    tasks = [] if found is None else found.tasks
    data = Shown(
        worker=worker,
        stacks=found,
        late=found is not None and found.late >= LATE,
        open=[task for task in tasks if task.holds_loop] or tasks[:1],
    )
    return Page(template="stacks.html", title="Stacks", data=data, lives=False)
