"""What every worker does for all: takes back dead workers' tasks, ends overdue attempts, starts due tasks, cleans up.

Each duty is a script that any number of workers may run at any time; there is no leader and no lock.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextvars import Context
from datetime import timedelta
from typing import TYPE_CHECKING

from taskproc.context import TaskContext, enter
from taskproc.errors import WorkerLost
from taskproc.failure import one_line
from taskproc.hooks import call_hook
from taskproc.records import Attempt
from taskproc.supervised import Duty, end

if TYPE_CHECKING:
    from taskproc.health import VitalSigns
    from taskproc.looking import Looking
    from taskproc.processor import TaskProcessor
    from taskproc.storage import Storage

__all__ = ["Maintenance"]

logger = logging.getLogger(__name__)

MOST_REPORTS = 200  # hooks that are told of lost tasks at a time


class Maintenance:
    """The duties of one worker."""

    def __init__(self, processor: TaskProcessor, storage: Storage, looking: Looking, signs: VitalSigns) -> None:
        self._looking = looking
        self._processor = processor
        self._storage = storage
        self._settings = processor.settings
        self._timeout = int(self._settings.worker_timeout.total_seconds() * 1000)
        self._sweep = timedelta(milliseconds=min(self._timeout / 6, 1000))
        self._reports: set[asyncio.Task[None]] = set()
        self._signs = signs

    def duties(self) -> dict[str, Duty]:
        """Each duty by name, to be run again and again."""
        settings = self._settings
        self._signs.swept_at = time.monotonic()
        return {
            "take-back": self._every(self._sweep, self._take_back),
            "push-back": self._every(settings.pushback_frequency, self._push_back),
            "cancel": self._every(settings.pushback_frequency, self._cancel),
            "clean-up": self._every(settings.clean_up_frequency, self._clean_up),
        }

    def _every(self, period: timedelta, duty: Callable[[], Awaitable[None]]) -> Duty:
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
                self._report_lost(attempt)
        while await self._tend(settings.queues):
            pass
        self._signs.swept_at = time.monotonic()

    async def _tend(self, queues: Sequence[str]) -> bool:
        settings = self._settings
        return await self._storage.tend(
            queues,
            self._timeout,
            deadletter=settings.deadletter,
            deadletter_unique=settings.deadletter_unique_schedules,
        )

    def _report_lost(self, attempt: Attempt) -> None:
        """Tells the log, and the hook: beside this duty, which has to go on whatever the hook does."""
        id_, call = one_line(attempt.id), one_line(attempt.call)
        said = "task %s (%s) was dead-lettered: its workers died while they ran it"
        logger.error(said, id_, call, extra=attempt.log_fields)
        if self._settings.on_task_error is None:
            return
        if len(self._reports) >= MOST_REPORTS:
            logger.error("on_task_error is not told of task %s: %d calls of it have not ended", id_, MOST_REPORTS)
            return
        report = asyncio.get_running_loop().create_task(self._tell_hook(attempt), context=Context())
        self._reports.add(report)
        report.add_done_callback(self._reports.discard)

    async def _tell_hook(self, attempt: Attempt) -> None:
        settings = self._settings
        if settings.on_task_error is not None:
            ctx = TaskContext(self._processor, attempt, None)
            enter(ctx)
            error = WorkerLost(
                f"the workers of task {attempt.id} died {settings.max_recoveries} times while they ran it"
            )
            await call_hook(settings.on_task_error, settings.hook_timeout, ctx, error)

    async def close(self) -> None:
        """Ends the hooks that have not ended."""
        await end(*self._reports)

    async def _push_back(self) -> None:
        """Of all queues, also those that nobody serves."""
        async for queues in self._all_queues():
            while await self._tend(queues):
                pass

    async def _cancel(self) -> None:
        """What producers left behind that died, and what is left of a cancel whose caller died."""
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
