"""What the tests of schedules share: a clock that makes them fall due, and a service that notes its cycles."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis

from taskproc import ScheduleData, ScheduleInfo, TaskProcessor, current_task
from tests.kit import wait_until

SELDOM = "0 0 1 1 *"
"""Falls due when a test makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """What a task knows of the schedule that started it."""

    word: str
    task_id: str
    schedule_id: str | None
    scheduled_for: datetime | None
    scope: str
    batch_id: str | None
    tenant: str
    queue: str


class Cycles:
    """The service whose methods schedules call."""

    def __init__(self) -> None:
        self.notes: list[Cycle] = []
        self.go_on = asyncio.Event()

    async def note(self, word: str = "") -> None:
        ctx = current_task()
        cycle = Cycle(
            word=word,
            task_id=ctx.task_id,
            schedule_id=ctx.schedule_id,
            scheduled_for=ctx.scheduled_for,
            scope=ctx.scope,
            batch_id=ctx.batch_id,
            tenant=ctx.tenant,
            queue=ctx.queue,
        )
        self.notes.append(cycle)

    async def wait(self) -> None:
        """Notes its begin, and ends when it may."""
        await self.note()
        await self.go_on.wait()

    async def fail(self) -> None:
        await self.note()
        raise ValueError("no")

    async def noted(self, count: int, seconds: float = 5) -> None:
        """Waits for so many cycles."""
        await wait_until(lambda: len(self.notes) >= count, seconds, f"{count} cycles")


class Clock:
    """Makes schedules fall due, in the store and on the clock of a server."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    @property
    def now(self) -> int:
        """Epoch milliseconds."""
        seconds, micros = self._client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def fall_due(self, id_: str, *, at: int | None = None) -> int:
        """Sets the next instant of a schedule, by default now; the instant, epoch milliseconds."""
        instant = self.now if at is None else at
        self._client.hset(f"{self._prefix}:schedule:{id_}", "next", instant)
        self._client.zadd(f"{self._prefix}:schedules", {id_: instant})
        self._client.publish(f"{self._prefix}:events", "schedule")
        return instant

    async def moved_on(self, id_: str, instant: int) -> None:
        """Waits until the schedule has left the instant behind, whether its cycle was started or skipped."""
        key = f"{self._prefix}:schedule:{id_}"
        await wait_until(lambda: int(self._client.hget(key, "next") or 0) != instant, what=f"cycle of {id_}")

    async def pass_by(self, id_: str) -> str:
        """Lets the schedule fall due, and waits for it to move on; the id that the task of this cycle has, if any."""
        instant = self.fall_due(id_)
        await self.moved_on(id_, instant)
        return f"{id_}:{instant}"


@asynccontextmanager
async def scheduled(
    tasks: TaskProcessor, schedule: ScheduleData, method: Callable[..., object], *args: Any
) -> AsyncGenerator[None]:
    """A schedule, until the block is left."""
    await tasks.upsert_schedule(schedule, method, *args)
    try:
        yield
    finally:
        await tasks.cancel_schedule(schedule.id)


async def look(tasks: TaskProcessor, id_: str, tenant: str = "default") -> ScheduleInfo:
    """The schedule as it is."""
    [found] = [schedule for schedule in await tasks.get_schedules(tenant) if schedule.id == id_]
    return found
