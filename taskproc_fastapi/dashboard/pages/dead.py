"""Dead letters, those that failed alike together."""

from __future__ import annotations

from dataclasses import dataclass

from taskproc import InvalidFilter
from taskproc.filters import LONGEST_FILTER
from taskproc.models import DeadGroup
from taskproc.names import queue_name
from taskproc_fastapi.dashboard.bounded import Counts, queues_of
from taskproc_fastapi.dashboard.view import Page, View

__all__ = ["TRIAL", "Grouped", "groups_of", "show"]

MOST_GROUPED = 1_000
"""Tasks of a queue that are grouped: those that died last."""
MOST_FILTERED = 3_000
"""Likewise, among which those are looked for that match a filter, or are a tenant's."""
MOST_GROUPS = 50
TRIAL = 3
"""How many are retried on trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """Dead tasks of a queue, of those that the viewer may see."""

    groups: list[DeadGroup]
    most: int
    """How many that died last were looked at."""
    whole: bool
    """Those were all."""

    @property
    def counted(self) -> int:
        return sum(group.count for group in self.groups)


NONE = Grouped(groups=[], most=0, whole=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    queues: list[Counts]
    """Those with dead tasks."""
    queue: str | None
    filter: str | None
    wrong: str
    """What is wrong with the filter."""
    longest_filter: int
    found: Grouped
    groups: list[DeadGroup]
    more_groups: int
    trial: int


async def show(view: View) -> Page:
    queues = sorted((each for each in await queues_of(view) if each.dead), key=lambda each: -each.dead.number)
    given = view.text("queue", "")
    queue = queue_name(given) if given else queues[0].name if queues else None
    which, wrong, found = view.text("filter", "").strip() or None, "", NONE
    try:
        found = await groups_of(view, queue, which) if queue else NONE
    except InvalidFilter as error:
        wrong = str(error)
    data = Dead(
        queues=queues,
        queue=queue,
        filter=which,
        wrong=wrong,
        longest_filter=LONGEST_FILTER,
        found=found,
        groups=found.groups[:MOST_GROUPS],
        more_groups=max(len(found.groups) - MOST_GROUPS, 0),
        trial=TRIAL,
    )
    return Page(template="dead.html", title="Dead letters", data=data, status=422 if wrong else 200, lives=not wrong)


async def groups_of(view: View, queue: str, which: str | None) -> Grouped:
    """Of those that match the filter; InvalidFilter when it means nothing."""
    most = MOST_GROUPED if which is None and view.tenant is None else MOST_FILTERED
    groups = await view.processor.get_dead_groups(queue, tenant=view.tenant, filter=which, most=most)
    dead = (await view.processor.get_queue(queue)).deadletter
    return Grouped(groups=groups, most=most, whole=dead <= most)
