"""`enqueued`, `assert_enqueued` and `expect`."""

from datetime import UTC, datetime, timedelta
from unittest.mock import ANY

import pytest
from pydantic import SecretStr

from taskproc import CURRENT, TaskContext, TaskData, TaskProcessor, TaskProcessorSettings, ref
from taskproc.testing import assert_enqueued, enqueued, expect, run_until_idle
from tests.testing_kit.shop import HOUR, Opened, Order, Shop, at


async def test_calls_are_found_by_method_and_arguments(taskproc_settings: TaskProcessorSettings) -> None:
    """As values of the types that the method takes; by position or name, with defaults said or not."""
    async with Opened(taskproc_settings) as shop:
        await shop.tasks.enqueue(ref(Shop).ship, Order(number=3))
        await shop.tasks.enqueue(ref(Shop).mail, "bob", text="Hi")
        await shop.tasks.enqueue(at, datetime(2030, 1, 1, tzinfo=UTC))
        task = await assert_enqueued(shop.tasks, ref(Shop).ship, Order(number=3), to="home")
        assert (task.args, task.kwargs, task.state) == ((Order(number=3),), {}, "ready")
        await assert_enqueued(shop.tasks, ref(Shop).mail, to="bob", text=ANY)
        await assert_enqueued(shop.tasks, ref(Shop).mail, "bob", "Hi", CURRENT)
        await assert_enqueued(shop.tasks, at, datetime(2030, 1, 1, tzinfo=UTC))
        assert len(await expect(shop.tasks).enqueued_with_any(ref(Shop).ship)) == 1
        await expect(shop.tasks, count=0).enqueued(ref(Shop).mail, "eve")
        await shop.tasks.enqueue(ref(Shop).remind, "bob")
        await assert_enqueued(shop.tasks, ref(Shop).remind, "bob")


async def test_the_message_shows_what_is_there(taskproc_settings: TaskProcessorSettings) -> None:
    """What was expected, and what is enqueued instead, with arguments and place."""
    async with Opened(taskproc_settings) as shop:
        with pytest.raises(AssertionError, match=r"Shop\.count\(1\): not found\. What is enqueued:\n  nothing$"):
            await assert_enqueued(shop.tasks, ref(Shop).count, 1)
        await shop.tasks.on("slow", tenant="acme").enqueue(ref(Shop).mail, "eve")
        await shop.tasks.on(delay=HOUR).enqueue(ref(Shop).ship, Order(number=3), to="x" * 500)
        with pytest.raises(AssertionError) as raised:
            await expect(shop.tasks, "mail", tenant="acme", delay=HOUR).enqueued(ref(Shop).mail, "bob")
        module = "tests.testing_kit.shop"
        first, *listed = str(raised.value).splitlines()
        assert first == (
            f"{module}:Shop.mail('bob'), queue mail, tenant acme, delayed by 1:00:00: not found. What is enqueued:"
        )
        assert listed[0] == f"  {module}:Shop.mail('eve') in queue slow, tenant acme, ready"
        assert listed[1].startswith(f"  {module}:Shop.ship(Order(number=3, paid=False), 'xxx")
        assert listed[1].endswith("xx…) in queue default, tenant default, delayed by 1:00:00")
        assert len(listed[1]) < 320
        with pytest.raises(AssertionError, match=r"1 times, not 2\. What"):
            await expect(shop.tasks, count=2).enqueued(ref(Shop).mail, "eve")


async def test_options_count(taskproc_settings: TaskProcessorSettings) -> None:
    """Queue, tenant, delay and batch must be as expected, and so must the number of tasks."""
    async with Opened(taskproc_settings) as shop:
        await shop.tasks.on("slow", tenant="acme", delay=HOUR).enqueue(ref(Shop).count, 1)
        async with shop.tasks.batch() as batch:
            batch.enqueue(ref(Shop).count, 1)
            batch.on(delay=HOUR).continue_with(ref(Shop).mail, "bob")
        found = await expect(shop.tasks, count=2).enqueued(ref(Shop).count, 1)
        assert [task.queue for task in found] == ["default", "slow"]
        await expect(shop.tasks, "slow", tenant="acme", delay=HOUR, count=1).enqueued(ref(Shop).count, 1)
        await expect(shop.tasks, delay=timedelta(0), count=1).enqueued(ref(Shop).count, 1)
        await expect(shop.tasks, batch_id=batch.id, count=1).enqueued(ref(Shop).count, 1)
        [held] = await expect(shop.tasks, delay=HOUR, batch_id=batch.id).enqueued(ref(Shop).mail, "bob")
        assert held.state == "held"
        for wrong in (
            expect(shop.tasks, "default", tenant="acme"),
            expect(shop.tasks, delay=2 * HOUR),
            expect(shop.tasks, "slow", batch_id=batch.id),
        ):
            with pytest.raises(AssertionError, match="not found"):
                await wrong.enqueued(ref(Shop).count, 1)
        assert [task.state for task in await enqueued(shop.tasks)] == ["ready", "delayed", "held"]
        assert [task.queue for task in await enqueued(shop.tasks, queue="slow")] == ["slow"]
        assert [task.tenant for task in await enqueued(shop.tasks, tenant="acme")] == ["acme"]


async def test_what_has_ended_or_is_dead_is_not_there(taskproc_settings: TaskProcessorSettings) -> None:
    """Neither what was done, nor what failed for the last time."""
    async with Opened(taskproc_settings) as shop:
        await shop.tasks.enqueue(ref(Shop).count, 1)
        await shop.tasks.on(retries=1).enqueue(ref(Shop).break_down)
        await run_until_idle(shop.tasks, raise_failures=False)
        assert await enqueued(shop.tasks) == []


async def test_sealed_payloads_are_read(taskproc_settings: TaskProcessorSettings) -> None:
    """Of single tasks, batches and schedules' cycles: with the keys of the settings."""
    sealed = taskproc_settings.model_copy(update={"encryption_keys": [SecretStr("k" * 32)]})
    async with Opened(sealed) as shop:
        await shop.tasks.enqueue(ref(Shop).mail, "bob")
        async with shop.tasks.batch() as batch:
            batch.enqueue(ref(Shop).mail, "eve")
        assert [task.args for task in await enqueued(shop.tasks)] == [("bob",), ("eve",)]
    async with Opened(taskproc_settings) as blind:
        assert all(isinstance(task.args[0], bytes) for task in await enqueued(blind.tasks))


class Plain:
    """An executor of the user's own."""

    topic = "plain"

    def serialize(self, method: object, args: object, kwargs: object) -> bytes:
        return repr((args, kwargs)).encode()

    async def invoke(self, ctx: TaskContext, resolve: object) -> None:
        """Does nothing."""


async def test_other_payloads_are_compared_as_they_are(taskproc_settings: TaskProcessorSettings) -> None:
    """With an executor of the user's own by what it writes; data without a method are shown."""
    async with TaskProcessor(taskproc_settings, executor=Plain()) as tasks:
        await tasks.enqueue(at, datetime(2030, 1, 1, tzinfo=UTC))
        await tasks.enqueue_task(None, None, TaskData("bytes", b"12"))
        await assert_enqueued(tasks, at, datetime(2030, 1, 1, tzinfo=UTC))
        with pytest.raises(AssertionError, match=r"  bytes\(b'12'\) in queue default"):
            await assert_enqueued(tasks, at, datetime(2031, 1, 1, tzinfo=UTC))
