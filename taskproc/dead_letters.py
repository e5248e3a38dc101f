"""Goes through the dead tasks of a queue, a page at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from taskproc.context import from_ms
from taskproc.errors import InvalidName
from taskproc.filters import Filter
from taskproc.models import TaskInfo

if TYPE_CHECKING:
    from taskproc.looking import Looking

__all__ = ["Meant", "count_dead_tasks", "for_dead_tasks"]

PAGE = 200

Act = Callable[[Sequence[str]], Awaitable[list[str]]]
"""Retries or discards tasks by id; the ids of those that it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """Which dead tasks of a queue: those of a tenant, those named, those that a filter matches; all of that holds."""

    queue: str
    tenant: str | None = None
    task_ids: Sequence[str] | None = None
    filter: Filter | None = None

    def __post_init__(self) -> None:
        if isinstance(self.task_ids, str):
            raise InvalidName(f"task_ids={self.task_ids[:100]!r} is one str: pass a list of ids")

    def holds(self, task: TaskInfo, until: datetime) -> bool:
        """Whether a task is one of them, and died no later than `until`, from when ages are counted."""
        if task.queue != self.queue or task.died_at is None or task.died_at > until:
            return False
        return self.tenant in (None, task.tenant) and (self.filter is None or self.filter.matches(task, until))


async def for_dead_tasks(looking: Looking, meant: Meant, count: int | None, act: Act) -> int:
    """Acts on those that are meant, up to `count`: in the order in which they are named, or died; on how many.

    What was done is read from what is left: when a reply is lost, the repeat of a request reports too little.
    """
    until = await looking.now()  # what dies meanwhile is not meant
    done = 0
    async with aclosing(_pages(looking, meant, until)) as pages:
        async for ids in pages:
            while ids and (count is None or done < count):
                some = ids if count is None else ids[: count - done]
                ids = ids[len(some) :]  # noqa: PLW2901 - where some cannot run again, others of the page can
                await act(some)
                done += len(some) - len(await _those_of(looking, some, meant, until))
            if count is not None and done >= count:
                break
    return done


async def count_dead_tasks(looking: Looking, meant: Meant) -> int:
    """How many are meant now."""
    until = await looking.now()
    return sum([len(ids) async for ids in _pages(looking, meant, until)])


async def _pages(looking: Looking, meant: Meant, until: int) -> AsyncGenerator[list[str]]:
    """Ids of those that are meant, each once."""
    walk = _all_dead(looking, meant.queue, until) if meant.task_ids is None else _named(meant.task_ids)
    async for ids in walk:
        yield await _those_of(looking, ids, meant, until)


async def _named(task_ids: Sequence[str]) -> AsyncGenerator[list[str]]:
    named = list(dict.fromkeys(task_ids))
    for at in range(0, len(named), PAGE):
        yield named[at : at + PAGE]


async def _all_dead(looking: Looking, queue: str, until: int) -> AsyncGenerator[list[str]]:
    """Of the queue, the longest dead first. It goes on from the time of death, not from a place in the list, so that
    none is left out when others die, are retried or discarded meanwhile.
    """
    since = b"-inf"
    told: set[str] = set()  # of those that died at that time, the ones that have come
    while found := await looking.dead_since(queue, since, until, PAGE + len(told)):
        fresh = [id_ for id_, _ in found if id_ not in told]
        if not fresh:
            return
        last = found[-1][1]
        if last != since:
            since, told = last, set[str]()
        told |= {id_ for id_, died in found if died == last}
        yield fresh


async def _those_of(looking: Looking, ids: Sequence[str], meant: Meant, until: int) -> list[str]:
    return [task.task_id for task in await looking.tasks(ids) if meant.holds(task, from_ms(until))]
