"""What a worker does with a task may be replaced, as may the way in which calls are written."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from taskproc import TaskContext, TaskData, TaskProcessor
from tests.conftest import MakeSettings
from tests.worker.kit import Jobs, died, ended, gone, processor_of, running, working


async def test_execute_may_be_replaced(settings: MakeSettings) -> None:
    """`processor.execute` gets each task's context, and may call the executor itself."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:

        async def execute(ctx: TaskContext) -> None:
            jobs.notes.append(f"before {ctx.call.rpartition('.')[2]}")
            await tasks.executor.invoke(ctx, lambda _service: jobs)
            jobs.notes.append("after")

        tasks.execute = execute
        async with running(tasks):
            await gone(tasks, await tasks.enqueue(jobs.note, "call"))
            await gone(tasks, await tasks.enqueue(jobs.note_in_thread, "call"))
    assert jobs.notes == ["before note", "call", "after", "before note_in_thread", "call", "after"]


async def test_execute_may_resolve_services_asynchronously(settings: MakeSettings) -> None:
    """`resolve` may return an awaitable of the instance."""
    jobs = Jobs()

    async def make(_service: type) -> Jobs:
        return jobs

    async with working(settings(), jobs) as tasks:

        async def execute(ctx: TaskContext) -> None:
            await tasks.executor.invoke(ctx, make)

        tasks.execute = execute
        await gone(tasks, await tasks.enqueue(jobs.note, "call"))
    assert jobs.notes == ["call"]


async def test_topics_and_bytes_are_for_ones_own_execute(settings: MakeSettings) -> None:
    """`enqueue_task` and batches of TaskData carry whatever they are given."""
    seen: list[tuple[str, bytes]] = []

    async def execute(ctx: TaskContext) -> None:
        seen.append((ctx.topic, ctx.data))

    async with working(settings()) as tasks:
        tasks.execute = execute
        await gone(tasks, await tasks.enqueue_task("default", "acme", TaskData("resize", b"\x00\xff")))
        batch_id = await tasks.enqueue_batch("default", "acme", [TaskData("crop", b"1"), TaskData("crop", b"2")])
        assert (await ended(tasks, batch_id)).done == 2
    assert seen[0] == ("resize", b"\x00\xff")
    assert sorted(seen[1:]) == [("crop", b"1"), ("crop", b"2")]


async def test_a_topic_that_nobody_handles_is_not_lost(settings: MakeSettings) -> None:
    """The default `execute` knows method calls only: such a task is put back, and its dead letter names the remedy."""
    async with working(settings(unknown_task_grace=0)) as tasks:
        task = await died(tasks, await tasks.enqueue_task(None, None, TaskData("resize", b"")))
    assert "set processor.execute to a function that handles it" in (task.error_message or "")


class Spelled:
    """An executor that writes calls in its own way: the name of a function, and its arguments."""

    def __init__(self, functions: dict[str, Callable[..., object]]) -> None:
        self.functions = functions

    def serialize(self, method: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        return json.dumps([method.__name__, args, kwargs]).encode()

    async def invoke(self, ctx: TaskContext, resolve: object) -> None:
        name, args, kwargs = json.loads(ctx.data)
        self.functions[name](*args, **kwargs)


async def test_another_executor_may_write_and_run_calls(settings: MakeSettings) -> None:
    """`TaskProcessor(executor=…)` uses it for both; even a local function may be enqueued then."""
    notes: list[str] = []

    def local(word: str, *, times: int) -> None:
        notes.append(word * times)

    processor = TaskProcessor(settings(), executor=Spelled({"local": local}))
    async with processor, running(processor):
        await gone(processor, await processor.enqueue(local, "ab", times=2))
    assert notes == ["abab"]


async def test_without_services_a_services_method_is_unknown(settings: MakeSettings) -> None:
    """A producer without scopes may name any class; a worker without them knows none."""
    jobs = Jobs()
    processor = TaskProcessor(settings(unknown_task_grace=0))
    async with processor, running(processor):
        task = await died(processor, await processor.enqueue(jobs.note, "never"))
    assert "does not know" in (task.error_message or "")


@pytest.mark.parametrize("method", ["note", "note_in_thread"])
async def test_the_executor_may_be_called_twice(settings: MakeSettings, method: str) -> None:
    """Whoever replaces `execute` decides how often the call is made."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:

        async def twice(ctx: TaskContext) -> None:
            for _ in range(2):
                await tasks.executor.invoke(ctx, lambda _service: jobs)

        tasks.execute = twice
        await gone(tasks, await tasks.enqueue(getattr(jobs, method), "call"))
    assert jobs.notes == ["call", "call"]
