"""Goes through the dead tasks of a queue, a page at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskproc.looking import Looking

__all__ = ["for_dead_tasks"]

PAGE = 200

Act = Callable[[Sequence[str]], Awaitable[list[str]]]
"""Retries or discards tasks by id; the ids of those that it did."""


async def for_dead_tasks(
    looking: Looking, queue: str, count: int | None, task_ids: Sequence[str] | None, act: Act
) -> int:
    """Acts on the dead tasks named, or on those that died first, up to `count`; on how many."""
    if task_ids is not None:
        wanted = list(dict.fromkeys(task_ids))[:count]
        return sum([len(await act(wanted[first : first + PAGE])) for first in range(0, len(wanted), PAGE)])
    until = await looking.now()  # what dies meanwhile is not meant
    done = passed_over = 0
    while count is None or done < count:
        page = PAGE if count is None else min(PAGE, count - done)
        ids = await looking.dead_ids(queue, passed_over, page, until)
        if not ids:
            break
        acted = len(await act(ids))
        done += acted
        passed_over += len(ids) - acted
    return done
