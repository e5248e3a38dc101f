"""Fires schedules. Every worker tries to, with no leader and no lock: a schedule moves on once, whoever is first."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskproc.records import DueSchedule, DueSchedules
    from taskproc.schedules import Schedules
    from taskproc.settings import TaskProcessorSettings
    from taskproc.storage import Storage

__all__ = ["Scheduler"]

logger = logging.getLogger(__name__)

MISSED_AFTER = 1_000  # ms: of cycles later than this only the latest runs, as after an outage or a pause
CORRECT_EVERY = 3600.0  # seconds between two looks for instants that no longer hold
SPREAD = 0.01  # seconds: workers do not all look at the very instant


class Scheduler:
    """The duty of one worker."""

    def __init__(self, settings: TaskProcessorSettings, storage: Storage, schedules: Schedules) -> None:
        self._settings = settings
        self._storage = storage
        self._schedules = schedules
        self._changed = asyncio.Event()
        self._correct_at = 0.0

    def on_changed(self) -> None:
        """A schedule may fall due earlier than the last look said."""
        self._changed.set()

    async def run(self) -> None:
        """One look: fires what is due, then sleeps until the next instant, a change, or `base_frequency`."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._correct_at:
            await self._schedules.correct()
            self._correct_at = loop.time() + CORRECT_EVERY
        self._changed.clear()
        found, moved = await self._fire_due(skip=0)
        if found.torn:
            logger.warning("an index of schedules is damaged and is mended")
            await self._storage.mend_schedules()
        elif not moved:
            await self._sleep(found)

    async def _fire_due(self, skip: int) -> tuple[DueSchedules, bool]:
        """What was due, and whether something moved on; those that cannot be read here do not hide what is behind."""
        found = await self._storage.due_schedules(skip)
        outcomes = [await self._fire(schedule, found.now) for schedule in found.due]
        moved = any(outcome not in (None, "paused") for outcome in outcomes)
        if moved or None not in outcomes or not found.more:
            return found, moved
        return await self._fire_due(skip + outcomes.count(None))

    async def _sleep(self, found: DueSchedules) -> None:
        until = self._settings.base_frequency.total_seconds()
        if found.following is not None:
            until = min((found.following - found.now) / 1000 + random.uniform(0, SPREAD), until)
        try:
            async with asyncio.timeout(until):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _fire(self, schedule: DueSchedule, now: int) -> str | None:
        """What came of it; None: this process cannot read it."""
        cron = self._schedules.cron_of(schedule)
        if cron is None:
            return None
        instant = schedule.next
        if now - instant > MISSED_AFTER:
            instant = cron.latest(instant, now) or instant
        busy = self._settings.deadletter_unique_schedules
        return await self._storage.fire_schedule(schedule, instant, cron.next(instant), dead_is_busy=busy)
