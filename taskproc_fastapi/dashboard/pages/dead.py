"""Dead letters, those that failed alike together."""

from __future__ import annotations

from dataclasses import dataclass

from taskproc.models import DeadGroup
from taskproc.names import queue_name
from taskproc_fastapi.dashboard.bounded import Counts, queues_of
from taskproc_fastapi.dashboard.view import Page, View

__all__ = ["MOST_GROUPED", "TRIAL", "groups_of", "show"]

MOST_GROUPED = 1_000
"""Tasks of a queue that are grouped: those that died last."""
MOST_GROUPS = 50
TRIAL = 3
"""How many are retried on trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    queues: list[Counts]
    """Those with dead tasks."""
    queue: str | None
    groups: list[DeadGroup]
    more_groups: int
    counted: int
    trial: int


async def show(view: View) -> Page:
    queues = sorted((each for each in await queues_of(view) if each.dead), key=lambda each: -each.dead.number)
    given = view.text("queue", "")
    queue = queue_name(given) if given else queues[0].name if queues else None
    groups = await groups_of(view, queue) if queue else []
    data = Dead(
        queues=queues,
        queue=queue,
        groups=groups[:MOST_GROUPS],
        more_groups=max(len(groups) - MOST_GROUPS, 0),
        counted=sum(group.count for group in groups),
        trial=TRIAL,
    )
    return Page(template="dead.html", title="Dead letters", data=data)


async def groups_of(view: View, queue: str) -> list[DeadGroup]:
    return await view.processor.get_dead_groups(queue, tenant=view.tenant, most=MOST_GROUPED)
