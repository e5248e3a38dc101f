"""The calls for `def` code: from a thread they wait for the loop, in the loop they are refused."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from typing import Any

import pytest

from taskproc import Batch, ConfigurationError, NotConnected, TaskProcessor, TaskProcessorError, current_task
from tests.conftest import MakeSettings
from tests.worker.kit import Jobs, ended, gone, processor_of, working


class Threaded:
    """A `def` task that enqueues more."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.batch: object = None

    def enqueue_more(self) -> None:
        tasks = current_task().processor.blocking
        current_task().blocking.enqueue(self.jobs.note, "one")
        tasks.on("default", tenant="acme").enqueue(self.jobs.note, "two")

    def look(self) -> None:
        self.batch = current_task().blocking.get_batch()


async def test_a_def_task_may_enqueue_more(settings: MakeSettings) -> None:
    """From its thread, by `processor.blocking`."""
    jobs = Jobs()
    threaded = Threaded(jobs)
    async with working(settings(), jobs, threaded) as tasks:
        await gone(tasks, await tasks.enqueue(threaded.enqueue_more))
        await jobs.noted("one", "two")


async def test_a_def_task_may_look_at_its_batch(settings: MakeSettings) -> None:
    """`ctx.blocking.get_batch()`; None without a batch."""
    threaded = Threaded(Jobs())
    async with working(settings(), threaded) as tasks:
        async with tasks.batch(scope="Import 42") as batch:
            batch.enqueue(threaded.look)
        await ended(tasks, batch.id)
        assert getattr(threaded.batch, "scope", None) == "Import 42"
        await gone(tasks, await tasks.enqueue(threaded.look))
        assert threaded.batch is None


async def test_all_blocking_calls_work_from_a_thread(settings: MakeSettings) -> None:
    """Enqueue, batches from a function and a generator, append, cancel."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        await asyncio.to_thread(_call_all, tasks, jobs)


def _call_all(tasks: TaskProcessor, jobs: Jobs) -> None:
    blocking = tasks.blocking

    def build(batch: Batch) -> None:
        batch.enqueue(jobs.note, "one")

    def generate(batch: Batch) -> Iterator[None]:
        for number in range(1200):
            batch.enqueue(jobs.note, str(number))
            yield

    loop = tasks.loop
    assert loop is not None

    def total(batch_id: str) -> int:
        info = asyncio.run_coroutine_threadsafe(tasks.get_batch(batch_id), loop).result(5)
        return info.total if info else -1

    one, many = blocking.enqueue_batch(None, None, build), blocking.enqueue_batch(None, "acme", generate)
    assert (total(one), total(many)) == (1, 1200)
    assert blocking.append_batch(None, None, one, build)
    assert total(one) == 2
    assert not blocking.append_batch(None, "other", many, build)
    task_id = blocking.on(delay=timedelta(hours=1)).enqueue(jobs.note, "later")
    assert asyncio.run_coroutine_threadsafe(tasks.cancel_task(task_id), loop).result(5)
    for batch_id in (one, many):
        assert blocking.cancel_batch(batch_id)


async def test_blocking_in_the_loop_is_refused(settings: MakeSettings) -> None:
    """It would wait for itself for ever: the error says to await instead; nothing is sent."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        for call in (
            lambda: tasks.blocking.enqueue(jobs.note, "never"),
            lambda: tasks.blocking.cancel_batch("feed"),
            lambda: tasks.blocking.enqueue_batch(None, None, lambda _: None),
        ):
            with pytest.raises(TaskProcessorError, match="await the call itself"):
                call()
        assert (await tasks.get_queue("default")).length == 0


async def test_another_event_loop_is_refused(settings: MakeSettings) -> None:
    """A `def` route that calls `asyncio.run` would break the connections of all: nothing is sent, all goes on."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        for call in (
            lambda: tasks.enqueue(jobs.note, "elsewhere"),
            lambda: tasks.enqueue_batch(None, None, lambda batch: batch.enqueue(jobs.note, "elsewhere")),
            lambda: tasks.get_queue("default"),
        ):
            with pytest.raises(ConfigurationError, match=r"another event loop than this one: .*blocking"):
                await asyncio.to_thread(_run_elsewhere, call)
        await gone(tasks, await tasks.enqueue(jobs.note, "here"))
    assert jobs.notes == ["here"]


def _run_elsewhere(call: Callable[[], Coroutine[Any, Any, object]]) -> None:
    asyncio.run(call())


async def test_blocking_before_the_start_is_refused(settings: MakeSettings) -> None:
    """A processor that is not connected has no loop to wait for."""
    tasks = TaskProcessor(settings())
    with pytest.raises(NotConnected, match="between its start and its end"):
        await asyncio.to_thread(tasks.blocking.enqueue, Jobs().note, "never")


async def test_errors_come_back_to_the_thread(settings: MakeSettings) -> None:
    """What the call raises in the loop is raised in the thread."""
    async with processor_of(settings(), Jobs()) as tasks:
        with pytest.raises(TaskProcessorError, match="lambda"):
            await asyncio.to_thread(tasks.blocking.enqueue, lambda: None)
