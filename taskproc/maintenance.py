"""What every worker does for all: takes back dead workers' tasks, ends overdue attempts, starts due tasks, cleans up.

Each duty is a script that any number of workers may run at any time; there is no leader and no lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from taskproc.context import TaskContext
from taskproc.errors import WorkerLost
from taskproc.hooks import call_hook
from taskproc.records import Attempt

if TYPE_CHECKING:
    from taskproc.looking import Looking
    from taskproc.processor import TaskProcessor
    from taskproc.storage import Storage

__all__ = ["Maintenance"]

logger = logging.getLogger(__name__)


class Maintenance:
    """The duties of one worker."""

    def __init__(self, processor: TaskProcessor, storage: Storage, looking: Looking) -> None:
        self._looking = looking
        self._processor = processor
        self._storage = storage
        self._settings = processor.settings
        self._timeout = int(self._settings.worker_timeout.total_seconds() * 1000)
        self._sweep = timedelta(milliseconds=min(self._timeout / 6, 1000))

    def duties(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Each duty by name, to be run again and again."""
        settings = self._settings
        return {
            "take-back": self._every(self._sweep, self._take_back),
            "push-back": self._every(settings.pushback_frequency, self._push_back),
            "clean-up": self._every(settings.clean_up_frequency, self._clean_up),
        }

    def _every(self, period: timedelta, duty: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def turn() -> None:
            await duty()
            await asyncio.sleep(period.total_seconds())

        return turn

    async def _take_back(self) -> None:
        """Of workers without heartbeat, and of attempts past their lease in the queues served here."""
        settings, more = self._settings, True
        while more:
            more, lost = await self._storage.reap(self._timeout, settings.max_recoveries)
            for attempt in lost:
                await self._report_lost(attempt)
        while await self._tend(settings.queues):
            pass

    async def _tend(self, queues: Sequence[str]) -> bool:
        settings = self._settings
        return await self._storage.tend(
            queues,
            self._timeout,
            deadletter=settings.deadletter,
            deadletter_unique=settings.deadletter_unique_schedules,
        )

    async def _report_lost(self, attempt: Attempt) -> None:
        logger.error("task %s (%s) was dead-lettered: its workers died while they ran it", attempt.id, attempt.call)
        if self._settings.on_task_error is not None:
            ctx = TaskContext(self._processor, attempt, None)
            error = WorkerLost(
                f"the workers of task {attempt.id} died {self._settings.max_recoveries} times while they ran it"
            )
            await call_hook(self._settings.on_task_error, self._settings.hook_timeout, ctx, error)

    async def _push_back(self) -> None:
        """Of all queues, also those that nobody serves; and what producers left behind that died."""
        async for queues in self._all_queues():
            while await self._tend(queues):
                pass
        while await self._storage.cancel_abandoned(self._timeout):
            pass
        for batch in await self._storage.canceled():
            while await self._storage.cancel_queued(batch):
                pass

    async def _clean_up(self) -> None:
        while await self._storage.clean_up(int(self._settings.retention.total_seconds() * 1000)):
            pass
        async for queues in self._all_queues():
            for queue in queues:
                await self._storage.forget_queue(queue)

    async def _all_queues(self) -> AsyncGenerator[list[str]]:
        async for page in self._looking.queue_names():
            yield page
