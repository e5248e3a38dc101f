"""Time travel."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from taskproc import ConfigurationError, ScheduleData, TaskProcessorSettings, backoff, ref
from taskproc.scripts import scripts
from taskproc.testing import ahead, enqueued, idle, run_until_idle, travel
from tests.kit import wait_until
from tests.testing_kit.shop import HOUR, Opened, Shop

DAY = 24 * HOUR


async def test_delays_fall_due(taskproc_settings: TaskProcessorSettings) -> None:
    """Neither before their time, nor by travels of another prefix."""
    async with Opened(taskproc_settings) as shop:
        await shop.tasks.on(delay=2 * HOUR).enqueue(ref(Shop).mail, "bob")
        await travel(shop.tasks, HOUR)
        assert (await run_until_idle(shop.tasks)).attempts == []
        await shop.tasks.on(delay=HOUR + timedelta(minutes=1)).enqueue(ref(Shop).mail, "eve")
        await travel(shop.tasks, HOUR)
        assert [one.args for one in (await run_until_idle(shop.tasks)).done] == [("bob",)]
        [task] = await enqueued(shop.tasks)
        assert task.delay == HOUR + timedelta(minutes=1)
        other = taskproc_settings.model_copy(update={"prefix": taskproc_settings.prefix + ":other"})
        async with Opened(other) as present:
            await present.tasks.on(delay=timedelta(minutes=1)).enqueue(ref(Shop).mail, "ann")
            assert (await run_until_idle(present.tasks)).attempts == []


async def test_retries_fall_due(taskproc_settings: TaskProcessorSettings) -> None:
    """The delay between two attempts is travelled over."""
    taskproc_settings.on_task_failed_delay = backoff(first=HOUR, jitter=0)
    async with Opened(taskproc_settings) as shop:
        await shop.tasks.on(retries=2).enqueue(ref(Shop).break_down)
        assert len((await run_until_idle(shop.tasks)).retried) == 1
        assert (await run_until_idle(shop.tasks)).attempts == []
        await travel(shop.tasks, HOUR)
        assert len((await run_until_idle(shop.tasks, raise_failures=False)).failed) == 1


async def test_each_cycle_of_a_schedule_runs_at_its_instant(taskproc_settings: TaskProcessorSettings) -> None:
    """Declared, and never seen by a worker before: step by step each hour, by its own instant, and none twice."""
    shop = Opened(taskproc_settings)
    shop.tasks.add_schedule(ScheduleData(id="hourly", cron="0 * * * *"), ref(Shop).mail, "bob")
    first = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
    async with shop:
        await run_until_idle(shop.tasks)
        assert shop.log == []
        for _ in range(3):
            await travel(shop.tasks, HOUR)
            await run_until_idle(shop.tasks)
            await shop.tasks.enqueue(ref(Shop).nap, 1)  # time for a worker to look at schedules, as each does first
            await run_until_idle(shop.tasks)
        assert [entry[3] for entry in shop.log if entry[0] == "mail"] == [first, first + HOUR, first + 2 * HOUR]


async def test_a_leap_runs_the_latest_cycle_only(taskproc_settings: TaskProcessorSettings) -> None:
    """As after an outage; the schedule was declared, and no worker has run before."""
    shop = Opened(taskproc_settings)
    shop.tasks.add_schedule(ScheduleData(id="hourly", cron="0 * * * *"), ref(Shop).mail, "bob")
    async with shop:
        await travel(shop.tasks, DAY)
        await run_until_idle(shop.tasks)
        [(_, _, _, instant)] = shop.log
        assert abs(instant - (datetime.now(UTC) + DAY)) <= HOUR
        [schedule] = await shop.tasks.get_schedules("default")
        assert schedule.next == instant + HOUR


async def test_retention_runs_out(taskproc_settings: TaskProcessorSettings) -> None:
    """An ended batch is gone when it is idle again."""
    async with Opened(taskproc_settings) as shop:
        async with shop.tasks.batch() as batch:
            batch.enqueue(ref(Shop).mail, "bob")
        await run_until_idle(shop.tasks)
        await travel(shop.tasks, timedelta(days=6))
        await run_until_idle(shop.tasks)
        assert await shop.tasks.get_batch(batch.id) is not None
        await travel(shop.tasks, timedelta(days=2))
        left = await idle._look(shop.tasks, idle._Wanted(0, 0, None, timedelta(0)))
        assert (bool(left), left.expired) == (True, 1)
        await run_until_idle(shop.tasks)
        assert await shop.tasks.get_batch(batch.id) is None


async def test_a_worker_that_runs_travels_too(
    taskproc_settings: TaskProcessorSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """What it runs stays leased to it; what is due now it starts soon, though it would have slept for long."""
    taskproc_settings.base_frequency = timedelta(seconds=30)
    taskproc_settings.worker_timeout = timedelta(seconds=0.6)
    async with Opened(taskproc_settings) as shop, asyncio.TaskGroup() as group:
        group.create_task(shop.tasks.run())
        long = await shop.tasks.enqueue(ref(Shop).wait, "rain")
        await shop.tasks.on(delay=HOUR).enqueue(ref(Shop).mail, "bob")
        await shop.tasks.upsert_schedule(ScheduleData(id="hourly", cron="0 * * * *"), ref(Shop).count, 1)
        await wait_until(lambda: shop.log)
        await asyncio.sleep(0.1)
        await travel(shop.tasks, DAY)
        await wait_until(lambda: len(shop.log) > 2)
        await asyncio.sleep(1.2)
        assert sorted(entry[0] for entry in shop.log) == ["count", "mail", "wait"]
        assert await shop.tasks.cancel_task(long)
        await run_until_idle(shop.tasks)
        await shop.tasks.stop()
    assert "taken for dead" not in caplog.text


async def test_time_does_not_go_back(taskproc_settings: TaskProcessorSettings) -> None:
    """A negative travel is refused."""
    async with Opened(taskproc_settings) as shop:
        with pytest.raises(ConfigurationError, match="only goes forward"):
            await travel(shop.tasks, -HOUR)


def test_scripts_are_as_they_were_afterwards() -> None:
    """Travelling changes what this process sends, until it is undone, as the plugin does after each test."""
    before = dict(scripts())
    ahead.install()
    ahead.install()
    assert all(script.sha != before[name].sha for name, script in scripts().items())
    assert all("'ahead'" not in script.source for script in before.values())
    ahead.uninstall()
    assert scripts() == before
