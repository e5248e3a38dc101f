"""Topics and bytes instead of calls: `TaskData`, alone and in batches, for an `execute` of one's own."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from taskproc import (
    Batch,
    EnqueueError,
    NotConnected,
    PayloadTooLarge,
    TaskContext,
    TaskData,
    TaskProcessor,
    TaskProcessorSettings,
)
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import Jobs, died, ended, gone, processor_of, running


class Handler:
    """Handles topics by itself, and calls by the processor's executor in a scope of its own."""

    def __init__(self, tasks: TaskProcessor, jobs: Jobs) -> None:
        self.tasks, self.jobs = tasks, jobs
        self.handled: list[tuple[str, bytes, str]] = []
        self.scopes = 0

    async def __call__(self, ctx: TaskContext) -> None:
        if ctx.topic == "resize":
            self.handled.append((ctx.topic, ctx.data, ctx.tenant))
            return
        async with self._scope():
            await self.tasks.executor.invoke(ctx, self._resolve)

    @asynccontextmanager
    async def _scope(self) -> AsyncGenerator[None]:
        self.scopes += 1
        yield
        self.jobs.notes.append("scope closed")

    async def _resolve(self, service: type) -> object:
        assert service is Jobs
        return self.jobs


@asynccontextmanager
async def handling(made: TaskProcessorSettings) -> AsyncGenerator[tuple[TaskProcessor, Handler]]:
    """A custom worker."""
    jobs = Jobs()
    async with processor_of(made, jobs) as tasks:
        tasks.execute = handler = Handler(tasks, jobs)
        async with running(tasks):
            yield tasks, handler


async def test_alone(settings: MakeSettings) -> None:
    """With queue and tenant, or those of the settings; any bytes, also none."""
    async with handling(settings(queues=["default", "images"])) as (tasks, handler):
        await gone(tasks, await tasks.enqueue_task("images", "acme", TaskData("resize", bytes(range(256)))))
        await gone(tasks, await tasks.enqueue_task(None, None, TaskData("resize")))
    assert handler.handled == [("resize", bytes(range(256)), "acme"), ("resize", b"", "default")]


@pytest.mark.parametrize("way", ["list", "function", "async function", "block"])
async def test_in_batches(settings: MakeSettings, way: str) -> None:
    """As a list, in a function that fills the batch, or in a block; beside calls, counted like them."""
    data = [TaskData("resize", str(number).encode()) for number in range(5)]

    def fill(batch: Batch) -> None:
        for task in data:
            batch.enqueue_task(task)

    async def fill_later(batch: Batch) -> None:
        await asyncio.sleep(0)
        fill(batch)

    async with handling(settings()) as (tasks, handler):
        match way:
            case "list":
                batch_id = await tasks.enqueue_batch("default", "acme", data)
            case "function":
                batch_id = await tasks.enqueue_batch("default", "acme", fill)
            case "async function":
                batch_id = await tasks.enqueue_batch("default", "acme", fill_later)
            case _:
                async with tasks.batch("default", tenant="acme") as batch:
                    fill(batch)
                batch_id = batch.id
        outcome = await ended(tasks, batch_id)
        assert (outcome.total, outcome.done, outcome.tenant) == (5, 5, "acme")
        assert await tasks.append_batch(None, "acme", batch_id, data)
        await wait_until(lambda: len(handler.handled) == 10)
        assert (await ended(tasks, batch_id)).done == 10
    assert {task for _, task, _ in handler.handled} == {task.data for task in data}


async def test_options_of_one_in_a_batch(settings: MakeSettings) -> None:
    """`batch.on(…)` gives it a queue, delay and retries of its own."""
    async with handling(settings()) as (tasks, handler):
        async with tasks.batch() as batch:
            batch.on("default", delay=timedelta(milliseconds=50), retries=7).enqueue_task(TaskData("resize", b"1"))
        [task] = await tasks.get_delayed_tasks("default")
        assert (task.topic, task.call, task.retries, task.batch_id) == ("resize", "", 7, batch.id)
        await ended(tasks, batch.id)
    assert handler.handled == [("resize", b"1", "default")]


async def test_calls_go_through_the_executor(settings: MakeSettings) -> None:
    """In a scope of the handler's making, from which services are resolved, async and `def` methods alike."""
    async with handling(settings()) as (tasks, handler):
        await gone(tasks, await tasks.enqueue(handler.jobs.note, "async"))
        await gone(tasks, await tasks.enqueue(handler.jobs.note_in_thread, "def"))
    assert handler.jobs.notes == ["async", "scope closed", "def", "scope closed"]
    assert handler.scopes == 2


async def test_without_a_handler_it_waits_for_one(settings: MakeSettings) -> None:
    """A worker that has none puts the task back, uncounted; the handler gets it at its first attempt."""
    made = settings(retries=1)
    async with TaskProcessor(made) as plain:
        task_id = await plain.enqueue_task(None, None, TaskData("resize", b"x"))
        async with running(plain):
            [task] = await wait_until(lambda: plain.get_delayed_tasks("default"))
            assert (task.task_id, task.attempt) == (task_id, 1)
            assert "No worker that fetched it since" in await plain.explain(task_id)
        async with handling(made) as (tasks, handler):
            await gone(tasks, task_id)
    assert handler.handled == [("resize", b"x", "default")]


async def test_without_a_handler_it_dies_after_the_grace(settings: MakeSettings) -> None:
    """With its topic and bytes, so that a retry once the handler is deployed runs it."""
    made = settings(unknown_task_grace=timedelta(0), deadletter=False)
    async with TaskProcessor(made) as plain:
        task_id = await plain.enqueue_task(None, None, TaskData("resize", b"x"))
        async with running(plain):
            dead = await died(plain, task_id)
        assert (dead.topic, dead.error_type) == ("resize", "taskproc.errors.UnknownTask")
        async with handling(made) as (tasks, handler):
            assert await tasks.retry_dead_tasks("default") == 1
            await gone(tasks, task_id)
    assert handler.handled == [("resize", b"x", "default")]


@pytest.mark.parametrize("wrong", [TaskData(""), TaskData("a", "text"), "text", None])  # type: ignore[arg-type]
async def test_what_is_no_task_data_is_refused(settings: MakeSettings, wrong: TaskData) -> None:
    """At enqueue, alone and in a batch; nothing of the batch is sent."""
    async with TaskProcessor(settings()) as tasks:
        with pytest.raises(EnqueueError, match="is not a TaskData"):
            await tasks.enqueue_task(None, None, wrong)
        with pytest.raises(EnqueueError, match="is not a TaskData"):
            await tasks.enqueue_batch(None, None, [TaskData("resize"), wrong])
        assert await tasks.get_batches_count("default") == 0


async def test_limits_and_connection(settings: MakeSettings) -> None:
    """Large ones are refused by `max_payload`, and nothing is sent before the processor is connected."""
    tasks = TaskProcessor(settings(max_payload=10))
    with pytest.raises(NotConnected):
        await tasks.enqueue_task(None, None, TaskData("resize"))
    async with tasks:
        with pytest.raises(PayloadTooLarge, match="topic 'resize' takes 11 bytes"):
            await tasks.enqueue_task(None, None, TaskData("resize", b"x" * 11))
