"""Looks at what one viewer may see, reading a bounded number of tasks however many there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from taskproc import QueueInfo, TaskInfo
from taskproc.names import is_fair
from taskproc_fastapi.dashboard.view import MOST_SKIPPED, PAGE, View

__all__ = [
    "STATES",
    "Amount",
    "Counts",
    "Listed",
    "State",
    "counts_of",
    "list_tasks",
    "queue_names",
    "queues_of",
    "total",
]

State = Literal["ready", "running", "delayed", "dead"]
STATES: tuple[State, ...] = ("ready", "running", "delayed", "dead")

MOST_LOOKED_AT = 1_000
"""Tasks of an index among which a tenant's are looked for."""
MOST_QUEUES = 100
COUNTS_LAST = 5.0  # seconds
STEP = 500

Look = Callable[[str, int, int], Awaitable[list[TaskInfo]]]


@dataclass(frozen=True, slots=True)
class Amount:
    """How many there are; `and_more` when there may be more than were counted."""

    number: int
    and_more: bool = False

    def __str__(self) -> str:
        return f"{self.number:,}{'+' if self.and_more else ''}"

    def __bool__(self) -> bool:
        return bool(self.number) or self.and_more

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.number + other.number, self.and_more or other.and_more)


def total(amounts: Iterable[Amount]) -> Amount:
    """All together."""
    return sum(amounts, Amount(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """A queue, as far as it concerns the viewer."""

    name: str
    ready: Amount
    running: Amount
    delayed: Amount
    dead: Amount
    oldest: datetime | None
    paused: bool
    tenants: dict[str, int]

    @property
    def holds_something(self) -> bool:
        return bool(self.ready or self.running or self.delayed or self.dead)


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of tasks."""

    tasks: list[TaskInfo]
    more: bool
    """There are more of them."""
    whole: bool
    """All that there are were looked at."""


async def queue_names(view: View) -> list[str]:
    """Those that hold something or are served here."""
    return [queue.name for queue in await view.processor.get_queues()]


async def queues_of(view: View) -> list[Counts]:
    """All queues that concern the viewer: for one tenant, of the first hundred."""
    queues = await view.processor.get_queues()
    if view.tenant is None:
        return [_whole(queue) for queue in queues]
    counted = [await _of_tenant(view, queue, view.tenant) for queue in queues[:MOST_QUEUES]]
    return [each for each in counted if each.holds_something]


async def counts_of(view: View, name: str) -> Counts:
    """One queue."""
    queue = await view.processor.get_queue(name)
    return _whole(queue) if view.tenant is None else await _of_tenant(view, queue, view.tenant)


def _whole(queue: QueueInfo) -> Counts:
    return Counts(
        name=queue.name,
        ready=Amount(queue.length),
        running=Amount(queue.running),
        delayed=Amount(queue.delayed),
        dead=Amount(queue.deadletter),
        oldest=queue.oldest,
        paused=queue.paused,
        tenants=queue.tenants,
    )


async def _of_tenant(view: View, queue: QueueInfo, tenant: str) -> Counts:
    """Counted task by task, and so not at every look."""

    async def count() -> Counts:
        return await _counted(view, queue, tenant)

    return await view.shared.remembered.get(f"{tenant} {queue.name}", COUNTS_LAST, count)


async def _counted(view: View, queue: QueueInfo, tenant: str) -> Counts:
    totals = {"running": queue.running, "delayed": queue.delayed, "dead": queue.deadletter, "ready": queue.length}
    found = {state: await _count(view, queue.name, state) if totals[state] else Amount(0) for state in STATES}
    if is_fair(queue.name) and tenant in queue.tenants:
        found["ready"] = Amount(queue.tenants[tenant])
    return Counts(name=queue.name, oldest=None, paused=queue.paused, tenants={}, **found)


async def _count(view: View, queue: str, state: State) -> Amount:
    tasks, whole = await _tasks_of_tenant(view, queue, state, MOST_LOOKED_AT)
    return Amount(len(tasks), not whole)


async def list_tasks(view: View, queue: str, state: State, skip: int, take: int = PAGE) -> Listed:
    """A page of the tasks of a queue in a state, of those that the viewer may see."""
    if view.tenant is None:
        tasks = await _look(view, state)(queue, skip, take + 1)
        return Listed(tasks[:take], len(tasks) > take and skip + take <= MOST_SKIPPED, whole=True)
    tasks, whole = await _tasks_of_tenant(view, queue, state, skip + take + 1)
    return Listed(tasks[skip : skip + take], len(tasks) > skip + take, whole)


async def _tasks_of_tenant(view: View, queue: str, state: State, most: int) -> tuple[list[TaskInfo], bool]:
    """The first `most` tasks of the tenant, and whether all tasks were looked at."""
    if state == "ready" and is_fair(queue):
        found = await view.processor.get_tasks_in_queue(queue, 0, min(most, MOST_LOOKED_AT), tenant=view.tenant)
        return found, len(found) < min(most, MOST_LOOKED_AT)
    look, found = _look(view, state), list[TaskInfo]()
    for position in range(0, MOST_LOOKED_AT, STEP):
        page = await look(queue, position, STEP)
        found += [task for task in page if task.tenant == view.tenant]
        if len(found) >= most:
            return found[:most], False
        if not page:
            return found, True
    return found, not await look(queue, MOST_LOOKED_AT, 1)


def _look(view: View, state: State) -> Look:
    processor = view.processor
    looks: dict[State, Look] = {
        "ready": processor.get_tasks_in_queue,
        "running": processor.get_running_tasks,
        "delayed": processor.get_delayed_tasks,
        "dead": processor.get_dead_tasks,
    }
    return looks[state]
