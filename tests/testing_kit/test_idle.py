"""`run_until_idle`: what it runs, what it waits for, and what it says when there is no end."""

import asyncio
import time
from datetime import timedelta

import pytest

from taskproc import ConfigurationError, NotConnected, TaskProcessor, TaskProcessorSettings, ref
from taskproc.testing import NotIdle, TasksFailed, enqueued, override_settings, run_until_idle
from tests.testing_kit.shop import HOUR, Opened, Order, Shop


async def test_all_runs_that_is_ready_and_what_follows(taskproc_settings: TaskProcessorSettings) -> None:
    """A batch, its continuation and a short delay within the time that is named; what is due later stays."""
    async with Opened(taskproc_settings) as shop:
        async with shop.tasks.batch() as batch:
            for number in range(30):
                batch.enqueue(ref(Shop).count, number)
            batch.continue_with(ref(Shop).mail, "bob")
        await shop.tasks.on(delay=timedelta(seconds=0.3)).enqueue(ref(Shop).mail, "eve")
        await shop.tasks.on(delay=HOUR).enqueue(ref(Shop).mail, "joe")
        report = await run_until_idle(shop.tasks, due_within=timedelta(seconds=5))
        assert sorted(number for _, number in shop.log[:30]) == list(range(30))
        assert [entry[1] for entry in shop.log[30:]] == ["bob", "eve"]
        assert [one.outcome for one in report.attempts] == ["done"] * 32
        assert report.calls_of(ref(Shop).mail, shop.tasks)[0].args == ("bob",)
        assert [task.args for task in await enqueued(shop.tasks)] == [("joe",)]
        assert not shop.tasks.running


async def test_a_failure_is_told_with_its_error(taskproc_settings: TaskProcessorSettings) -> None:
    """Each attempt is reported; that the last one failed is an error with the task's own as its cause."""
    async with Opened(taskproc_settings) as shop:
        await shop.tasks.on(retries=2).enqueue(ref(Shop).break_down)
        with pytest.raises(
            TasksFailed, match=r"Shop\.break_down\(\) .*attempt 2 failed: ValueError\('no more"
        ) as raised:
            await run_until_idle(shop.tasks)
        assert isinstance(raised.value.__cause__, ValueError)
        assert [one.will_retry for one in raised.value.report.attempts] == [True, False]
        assert [str(one.error) for one in raised.value.report.retried] == ["no more paper"]
        await shop.tasks.on(retries=1).enqueue(ref(Shop).break_down)
        report = await run_until_idle(shop.tasks, raise_failures=False)
        assert len(report.failed) == 1


async def test_what_nobody_knows_fails_at_once(taskproc_settings: TaskProcessorSettings) -> None:
    """A processor without the service says so, instead of putting the task back for others."""
    async with Opened(taskproc_settings) as shop:
        await shop.tasks.enqueue(ref(Shop).mail, "bob")
        async with TaskProcessor(taskproc_settings) as other:
            with pytest.raises(TasksFailed, match="no service of that type"):
                await run_until_idle(other)


async def test_hooks_of_the_settings_are_called_as_ever(taskproc_settings: TaskProcessorSettings) -> None:
    """Those that were set, be they functions or coroutines, and they are back afterwards."""
    seen: list[str] = []

    async def on_end(ctx: object) -> None:
        await asyncio.sleep(0.2)
        seen.append("end")

    taskproc_settings.on_task_start = lambda ctx: seen.append("start")
    taskproc_settings.on_task_end = on_end
    async with Opened(taskproc_settings) as shop:
        await shop.tasks.enqueue(ref(Shop).mail, "bob")
        await run_until_idle(shop.tasks)
        assert seen == ["start", "end"]
        async with asyncio.TaskGroup() as group:
            group.create_task(shop.tasks.run())
            await asyncio.sleep(0.1)
            await shop.tasks.on(delay=timedelta(seconds=0.2)).enqueue(ref(Shop).mail, "eve")
            await run_until_idle(shop.tasks, due_within=timedelta(seconds=1))
            assert seen == ["start", "end"] * 2
            await shop.tasks.stop()
    assert taskproc_settings.on_task_end is on_end


async def test_a_task_without_end_is_named(taskproc_settings: TaskProcessorSettings) -> None:
    """When time is over the message names what runs and what nobody serves, and the worker has ended."""
    async with Opened(taskproc_settings) as shop:
        await shop.tasks.enqueue(ref(Shop).wait, "rain")
        await shop.tasks.on("other").enqueue(ref(Shop).ship, Order(number=3))
        began = time.monotonic()
        with pytest.raises(NotIdle) as raised:
            await run_until_idle(shop.tasks, seconds=0.5)
        assert time.monotonic() - began < 5
        assert "not idle after 0.5 s" in str(raised.value)
        assert "Shop.wait('rain') in queue default, tenant default, leased" in str(raised.value)
        assert "Shop.ship(Order(number=3, paid=False))" in str(raised.value)
        assert "No worker serves queue other" in str(raised.value)
        assert not shop.tasks.running
        assert {task.state for task in await enqueued(shop.tasks)} == {"ready"}


async def test_queues_may_be_named(taskproc_settings: TaskProcessorSettings) -> None:
    """These are served, whatever the settings say, and nothing else has to be empty."""
    async with Opened(taskproc_settings) as shop:
        await shop.tasks.enqueue(ref(Shop).mail, "bob")
        await shop.tasks.on("other").enqueue(ref(Shop).mail, "eve")
        await run_until_idle(shop.tasks, queues=["other"])
        assert [entry[1] for entry in shop.log] == ["eve"]
        assert taskproc_settings.queues == ["default"]


async def test_a_worker_that_runs_is_waited_for(taskproc_settings: TaskProcessorSettings) -> None:
    """It goes on afterwards, and what it ends meanwhile is reported."""
    async with Opened(taskproc_settings) as shop, asyncio.TaskGroup() as group:
        group.create_task(shop.tasks.run())
        await asyncio.sleep(0.1)
        async with shop.tasks.batch() as batch:
            batch.enqueue(ref(Shop).mail, "bob")
            batch.on(delay=timedelta(seconds=0.3)).enqueue(ref(Shop).mail, "eve")
        report = await run_until_idle(shop.tasks, due_within=timedelta(seconds=1))
        assert [entry[1] for entry in shop.log] == ["bob", "eve"]
        assert "eve" in [one.args[0] for one in report.attempts]
        assert shop.tasks.running
        await shop.tasks.stop()


async def test_it_says_what_is_wrong_with_its_use(taskproc_settings: TaskProcessorSettings) -> None:
    """Not connected, connected in another loop, or settings that come too late."""
    shop = Opened(taskproc_settings)
    with pytest.raises(NotConnected, match="not connected"):
        await run_until_idle(shop.tasks)
    async with shop:
        with pytest.raises(ConfigurationError, match=r"taskproc\.testing\.blocking\.run_until_idle"):
            await asyncio.to_thread(lambda: asyncio.run(run_until_idle(shop.tasks)))
        with (
            pytest.raises(ConfigurationError, match="before its app starts"),
            override_settings(shop.tasks, taskproc_settings),
        ):
            pass


async def test_what_ends_the_worker_is_raised(
    taskproc_settings: TaskProcessorSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of `run()` is no reason to wait until time is over."""

    async def run(_processor: TaskProcessor) -> None:
        raise ConfigurationError("no way")

    async with Opened(taskproc_settings) as shop:
        await shop.tasks.enqueue(ref(Shop).mail, "bob")
        monkeypatch.setattr(TaskProcessor, "run", run)
        with pytest.raises(ConfigurationError, match="no way"):
            await run_until_idle(shop.tasks)
