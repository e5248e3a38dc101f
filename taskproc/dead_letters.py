"""Goes through the dead tasks of a queue, a page at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from taskproc.context import from_ms
from taskproc.errors import InvalidName

if TYPE_CHECKING:
    from taskproc.looking import Looking

__all__ = ["for_dead_tasks"]

PAGE = 200

Act = Callable[[Sequence[str]], Awaitable[list[str]]]
"""Retries or discards tasks by id; the ids of those that it did."""


async def for_dead_tasks(
    looking: Looking, queue: str, count: int | None, task_ids: Sequence[str] | None, act: Act
) -> int:
    """Acts on the dead tasks named, or on those that died first, up to `count`; on how many.

    What was done is read from what is left: when a reply is lost, the repeat of a request reports too little.
    """
    until = await looking.now()  # what dies meanwhile is not meant
    if isinstance(task_ids, str):
        raise InvalidName(f"task_ids={task_ids[:100]!r} is one str: pass a list of ids")
    if task_ids is not None:
        wanted = list(dict.fromkeys(task_ids))[:count]
        return sum(
            [await _act_on(looking, queue, wanted[at : at + PAGE], until, act) for at in range(0, len(wanted), PAGE)]
        )
    done = passed_over = 0
    while count is None or done < count:
        page = PAGE if count is None else min(PAGE, count - done)
        ids = await looking.dead_ids(queue, passed_over, page, until)
        if not ids:
            break
        acted = await _act_on(looking, queue, ids, until, act)
        done += acted
        passed_over += len(ids) - acted
    return done


async def _act_on(looking: Looking, queue: str, ids: Sequence[str], until: int, act: Act) -> int:
    before = await _dead(looking, queue, ids, until)
    await act(ids)
    return len(before) - len(before & await _dead(looking, queue, ids, until))


async def _dead(looking: Looking, queue: str, ids: Sequence[str], until: int) -> set[str]:
    found = await looking.tasks(ids)
    return {task.task_id for task in found if task.queue == queue and task.died_at and task.died_at <= from_ms(until)}
