"""Workers that are lost, and calls that fail, on purpose."""

import asyncio
from datetime import timedelta
from typing import Literal

import pytest

from taskproc import ConfigurationError, TaskProcessorSettings, WorkerLost, ref
from taskproc.testing import TasksFailed, crash, fail, lose_worker, run_until_idle
from tests.kit import wait_until
from tests.testing_kit.shop import Opened, Shop


@pytest.mark.parametrize("point, runs", [("before", 1), ("after", 2)])
async def test_a_lost_attempt_runs_again(
    taskproc_settings: TaskProcessorSettings, point: Literal["before", "after"], runs: int
) -> None:
    """At once, without counting as failed: before the call nothing has run, after it everything."""
    taskproc_settings.worker_timeout = timedelta(seconds=30)  # nobody waits for it
    async with Opened(taskproc_settings) as shop:
        await shop.tasks.on(retries=1).enqueue(ref(Shop).mail, "bob")
        await shop.tasks.on(retries=1).enqueue(ref(Shop).count, 1)
        with crash(shop.tasks, ref(Shop).mail, point=point) as trap:
            report = await run_until_idle(shop.tasks, seconds=5)
        assert trap.caught == 1
        assert [entry[0] for entry in shop.log].count("mail") == runs
        mails = report.calls_of(ref(Shop).mail, shop.tasks)
        assert [(one.outcome, one.attempt) for one in mails] == [("released", 1), ("done", 1)]


async def test_of_many_only_one_is_caught(taskproc_settings: TaskProcessorSettings) -> None:
    """Others that run beside it go back too and run again, but lose no worker of their own; failures do not count."""
    async with Opened(taskproc_settings) as shop:
        for number in range(8):
            await shop.tasks.enqueue(ref(Shop).nap, number)
        await shop.tasks.on(retries=1).enqueue(ref(Shop).break_down)
        with crash(shop.tasks, ref(Shop).nap, times=2) as trap:
            report = await run_until_idle(shop.tasks, raise_failures=False)
        assert trap.caught == 2
        assert set(shop.log) == {("nap", number) for number in range(8)}
        assert len(report.calls_of(ref(Shop).nap, shop.tasks)) > 8
        shop.log.clear()
        await shop.tasks.enqueue(ref(Shop).stumble)
        with crash(shop.tasks, ref(Shop).stumble) as trap:
            report = await run_until_idle(shop.tasks)
        assert [one.outcome for one in report.attempts] == ["failed", "released", "done"]


async def test_a_task_that_always_kills_its_worker_is_dead(taskproc_settings: TaskProcessorSettings) -> None:
    """After `max_recoveries` take-backs."""
    taskproc_settings.max_recoveries = 2
    async with Opened(taskproc_settings) as shop:
        await shop.tasks.enqueue(ref(Shop).mail, "bob")
        with (
            crash(shop.tasks, ref(Shop).mail, point="before", times=2),
            pytest.raises(TasksFailed, match="died 2 times") as raised,
        ):
            await run_until_idle(shop.tasks)
        assert isinstance(raised.value.__cause__, WorkerLost)
        assert shop.log == []


async def test_a_service_may_lose_the_worker_in_the_middle(taskproc_settings: TaskProcessorSettings) -> None:
    """In a coroutine, and in a thread: the call does not go on."""
    async with Opened(taskproc_settings) as shop:
        await shop.tasks.enqueue(ref(Shop).fall_over, "slowly")
        await run_until_idle(shop.tasks, seconds=5)
        assert shop.log == [("fall over", "slowly")] * 2
        shop.log.clear()
        await shop.tasks.enqueue(ref(Shop).fall_over_in_thread)
        await run_until_idle(shop.tasks, seconds=5)
        assert shop.log == [("fall over",)] * 2


async def test_a_worker_may_be_lost_from_outside(taskproc_settings: TaskProcessorSettings) -> None:
    """What it ran is begun again; without a worker there is none to lose."""
    async with Opened(taskproc_settings) as shop, asyncio.TaskGroup() as group:
        with pytest.raises(ConfigurationError, match="no worker runs"):
            await lose_worker(shop.tasks)
        group.create_task(shop.tasks.run())
        task_id = await shop.tasks.enqueue(ref(Shop).wait, "rain")
        await wait_until(lambda: shop.log)
        await lose_worker(shop.tasks)
        await wait_until(lambda: len(shop.log) > 1)
        await shop.tasks.cancel_task(task_id)
        await run_until_idle(shop.tasks)
        await shop.tasks.stop()


async def test_a_call_fails_as_often_as_it_should(taskproc_settings: TaskProcessorSettings) -> None:
    """Then it does its work; the others fail never."""
    async with Opened(taskproc_settings) as shop:
        await shop.tasks.enqueue(ref(Shop).mail, "bob")
        await shop.tasks.enqueue(ref(Shop).count, 1)
        with fail(shop.tasks, ref(Shop).mail, ConnectionError("gone"), times=2):
            report = await run_until_idle(shop.tasks)
        assert [str(one.error) for one in report.retried] == ["gone", "gone"]
        assert sorted(entry[0] for entry in shop.log) == ["count", "mail"]


async def test_what_did_not_happen_is_an_error(taskproc_settings: TaskProcessorSettings) -> None:
    """A test in which the crash never came would show nothing; and afterwards calls are as they were."""
    async with Opened(taskproc_settings) as shop:
        before = shop.tasks.execute
        with (
            pytest.raises(AssertionError, match=r"Shop\.mail was to be caught 1 times, and was 0"),
            crash(shop.tasks, ref(Shop).mail),
        ):
            await run_until_idle(shop.tasks)
        assert shop.tasks.execute == before
        with pytest.raises(ConfigurationError, match="once at least"), crash(shop.tasks, ref(Shop).mail, times=0):
            pass
