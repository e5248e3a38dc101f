"""Unique schedules: one task at a time, and nothing that happens to it stops the schedule for good."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import redis

from taskproc import ScheduleData, TaskContext, TaskProcessor
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.schedules.kit import SELDOM, Clock, Cycles, scheduled
from tests.worker.kit import died, gone, processor_of, running, working

UNIQUE = ScheduleData(id="a", cron=SELDOM, unique=True)


async def test_cycles_are_skipped_while_one_runs(settings: MakeSettings, clock: Clock) -> None:
    """Several instants pass by; the first after its end starts a task again."""
    cycles = Cycles()
    async with working(settings(), cycles) as tasks, scheduled(tasks, UNIQUE, cycles.wait):
        first = await clock.pass_by("a")
        await cycles.noted(1)
        for _ in range(3):
            assert await tasks.get_task(await clock.pass_by("a")) is None
        cycles.go_on.set()
        await gone(tasks, first)
        last = await clock.pass_by("a")
        await gone(tasks, last)
    assert [cycle.task_id for cycle in cycles.notes] == [first, last]


async def test_cycles_are_skipped_while_one_waits(settings: MakeSettings, clock: Clock) -> None:
    """Also while its task is ready in a queue that nobody serves, or delayed between two attempts."""
    cycles = Cycles()
    made = settings(on_task_failed_delay=_an_hour, retries=2)
    async with working(made, cycles) as tasks, scheduled(tasks, UNIQUE, cycles.fail):
        task_id = await clock.pass_by("a")
        await wait_until(lambda: tasks.get_delayed_tasks("default"))
        assert await tasks.get_task(await clock.pass_by("a")) is None
        await tasks.cancel_task(task_id)
        again = await clock.pass_by("a")
        await cycles.noted(2)
        await wait_until(lambda: tasks.get_delayed_tasks("default"))
        await tasks.cancel_task(again)


async def test_a_finally_failed_task_is_discarded_and_the_schedule_goes_on(
    settings: MakeSettings, clock: Clock
) -> None:
    """By default nothing of it is left in the dead letters."""
    cycles = Cycles()
    async with working(settings(retries=1), cycles) as tasks, scheduled(tasks, UNIQUE, cycles.fail):
        for number in range(2):
            await clock.pass_by("a")
            await cycles.noted(number + 1)
            await wait_until(lambda: _is_idle(tasks))
        assert await tasks.get_dead_tasks("default") == []


@pytest.mark.parametrize("mend", ["retry", "discard"])
async def test_with_dead_letters_the_schedule_waits_for_somebody(
    settings: MakeSettings, clock: Clock, mend: str
) -> None:
    """With `deadletter_unique_schedules` cycles are skipped until the dead task is retried, and done, or discarded."""
    cycles = Cycles()
    made = settings(retries=1, deadletter_unique_schedules=True)
    async with working(made, cycles) as tasks, scheduled(tasks, UNIQUE, cycles.fail):
        dead = await clock.pass_by("a")
        await died(tasks, dead)
        assert await tasks.get_task(await clock.pass_by("a")) is None
        assert not await tasks.trigger_schedule("a")
        await tasks.upsert_schedule(UNIQUE, cycles.wait)
        assert await tasks.get_task(await clock.pass_by("a")) is None
        if mend == "retry":
            assert await tasks.retry_dead_tasks("default") == 1
            await cycles.noted(2)
            await died(tasks, dead)
            assert await tasks.get_task(await clock.pass_by("a")) is None
        assert await tasks.discard_dead_tasks("default") == 1
        cycles.go_on.set()
        last = await clock.pass_by("a")
        await gone(tasks, last)
    assert cycles.notes[-1].task_id == last


async def test_a_lost_task_does_not_block_by_default(
    settings: MakeSettings, clock: Clock, client: redis.Redis, prefix: str
) -> None:
    """It is dead, for it is never discarded unasked, but the next cycle starts beside it."""
    cycles = Cycles()
    async with (
        working(settings(retries=1), cycles) as tasks,
        scheduled(tasks, UNIQUE, cycles.note),
        _dead(tasks, clock, client, prefix),
    ):
        await gone(tasks, await clock.pass_by("a"))
    assert len(cycles.notes) == 1


async def test_a_dead_task_is_not_retried_beside_a_later_cycle(
    settings: MakeSettings, clock: Clock, client: redis.Redis, prefix: str
) -> None:
    """Refused while the later one runs, not once it has ended; then the retried one counts as the running one."""
    cycles = Cycles()
    async with (
        working(settings(retries=1), cycles) as tasks,
        scheduled(tasks, UNIQUE, cycles.wait),
        _dead(tasks, clock, client, prefix) as dead,
    ):
        later = await clock.pass_by("a")
        await cycles.noted(1)
        assert await tasks.retry_dead_tasks("default") == 0
        assert await tasks.retry_dead_tasks("default", task_ids=[dead]) == 0
        cycles.go_on.set()
        await gone(tasks, later)
        cycles.go_on.clear()
        assert await tasks.retry_dead_tasks("default") == 1
        await cycles.noted(2)
        assert await tasks.get_task(await clock.pass_by("a")) is None
        cycles.go_on.set()
        await gone(tasks, dead)
    assert [cycle.task_id for cycle in cycles.notes] == [later, dead]


async def test_of_two_dead_tasks_one_is_retried(
    settings: MakeSettings, clock: Clock, client: redis.Redis, prefix: str
) -> None:
    """They would run beside each other; the other one stays dead."""
    cycles = Cycles()
    async with (
        processor_of(settings(), cycles) as tasks,
        scheduled(tasks, UNIQUE, cycles.note),
        _dead(tasks, clock, client, prefix),
        _dead(tasks, clock, client, prefix),
    ):
        assert await tasks.retry_dead_tasks("default") == 1
        assert len(await tasks.get_dead_tasks("default")) == 1
        async with running(tasks):
            await cycles.noted(1)
            await wait_until(lambda: _is_idle(tasks))
        await tasks.discard_dead_tasks("default")


@pytest.mark.parametrize("end", ["canceled", "canceled while running", "expired", "lost record"])
async def test_whatever_ends_the_task_the_schedule_goes_on(
    settings: MakeSettings, clock: Clock, client: redis.Redis, prefix: str, end: str
) -> None:
    """Canceled, expired or deleted by hand: the next cycle starts."""
    cycles = Cycles()
    schedule = ScheduleData(id="a", cron=SELDOM, unique=True, expire=timedelta(milliseconds=300), queue="later")
    queues = ["later"] if end == "canceled while running" else ["other"]
    async with working(settings(queues=queues), cycles) as tasks, scheduled(tasks, schedule, cycles.wait):
        first = await clock.pass_by("a")
        if end == "canceled while running":
            await cycles.noted(1)
        assert await tasks.get_task(await clock.pass_by("a")) is None
        match end:
            case "lost record":
                client.delete(f"{prefix}:task:{first}")
            case "expired":
                await asyncio.sleep(0.35)
            case _:
                assert await tasks.cancel_task(first)
        if end == "expired":
            async with working(settings(queues=["later"]), cycles):
                await gone(tasks, first)
        await gone(tasks, first)
        again = await clock.pass_by("a")
        assert await tasks.get_task(again) is not None
        cycles.go_on.set()
        async with working(settings(queues=["later"]), cycles):
            await gone(tasks, again)
    assert cycles.notes[-1].task_id == again


@asynccontextmanager
async def _dead(tasks: TaskProcessor, clock: Clock, client: redis.Redis, prefix: str) -> AsyncGenerator[str]:
    """A task of the schedule that is dead as lost; it was never handed out."""
    await tasks.pause()
    assert await tasks.trigger_schedule("a")
    [task] = await tasks.get_tasks_in_queue("default")
    keys = f"{prefix}:queue:default"
    client.hset(
        f"{prefix}:task:{task.task_id}",
        mapping={"s": "x", "died": clock.now, "error_type": "WorkerLost", "error_message": "", "traceback": ""},
    )
    client.zadd(f"{keys}:dead", {task.task_id: clock.now})
    client.delete(keys, f"{keys}:ready", f"{keys}:wake")
    await tasks.resume()
    yield task.task_id


async def _is_idle(tasks: TaskProcessor) -> bool:
    queue = await tasks.get_queue("default")
    return queue.length + queue.running + queue.delayed == 0


def _an_hour(_ctx: TaskContext, _retries_left: int) -> timedelta:
    return timedelta(hours=1)
