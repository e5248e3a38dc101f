"""What a task knows of itself, in the loop and in a thread."""

import asyncio
import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from taskproc import CURRENT, TaskContext, background, current_task
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import Jobs, ended, gone, working


class Curious:
    """Keeps the contexts that it sees."""

    def __init__(self) -> None:
        self.seen: list[TaskContext] = []

    async def in_loop(self) -> None:
        await asyncio.sleep(0)
        self.seen.append(current_task())

    def in_thread(self) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self.seen.append(current_task())

    async def in_child(self) -> None:
        await asyncio.create_task(self.in_loop())

    async def filled_in(self, word: str, ctx: TaskContext, *, again: TaskContext = CURRENT) -> None:
        assert (word, ctx) == ("hello", again)
        self.seen.append(ctx)

    def returning_awaitable(self) -> object:
        return self.in_loop()

    async def until_second_attempt(self) -> None:
        self.seen.append(current_task())
        if len(self.seen) == 1:
            raise ValueError


@background
async def outside_of_services(seen: str) -> None:
    """A function of its own, marked."""
    assert current_task().call.endswith(":outside_of_services")
    assert seen == "as sent"


@pytest.mark.parametrize("method", ["in_loop", "in_thread", "in_child", "returning_awaitable"])
async def test_current_task_is_there_below_the_call(settings: MakeSettings, method: str) -> None:
    """In the event loop, in a child of the task, in the thread of a `def` task, and in what that returns."""
    curious = Curious()
    async with working(settings(), curious) as tasks:
        task_id = await tasks.enqueue(getattr(curious, method))
        await gone(tasks, task_id)
    assert [ctx.task_id for ctx in curious.seen] == [task_id]


async def test_outside_of_a_task_there_is_no_current_one() -> None:
    """A LookupError says where there is one."""
    with pytest.raises(LookupError, match=r"below a task's call"):
        current_task()


async def test_a_parameter_annotated_as_context_is_filled_in(settings: MakeSettings) -> None:
    """Callers pass CURRENT, or nothing where that is the default."""
    curious = Curious()
    async with working(settings(), curious) as tasks:
        task_id = await tasks.enqueue(curious.filled_in, "hello", CURRENT)
        await gone(tasks, task_id)
    assert [ctx.task_id for ctx in curious.seen] == [task_id]


async def test_a_marked_function_runs_too(settings: MakeSettings) -> None:
    """Without any service: a module's function marked with `@background`."""
    async with working(settings(retries=1)) as tasks:
        await gone(tasks, await tasks.enqueue(outside_of_services, "as sent"))


async def test_what_a_single_task_knows(settings: MakeSettings) -> None:
    """All attributes of a task that belongs to nothing."""
    curious = Curious()
    before = datetime.now(UTC)
    async with working(settings(queues=["mine"]), curious) as tasks:
        one = tasks.on("mine", tenant="acme", retries=5, invisibility=timedelta(minutes=2))
        task_id = await one.enqueue(curious.in_loop)
        await gone(tasks, task_id)
        [ctx] = curious.seen
        assert (ctx.task_id, ctx.tenant, ctx.queue) == (task_id, "acme", "mine")
        assert (ctx.attempt, ctx.retries_left) == (1, 4)
        assert ctx.call == f"{__name__}:Curious.in_loop"
        assert ctx.topic == "call.v1"
        assert json.loads(ctx.data) is not None
        assert (ctx.batch_id, ctx.schedule_id, ctx.scheduled_for, ctx.scope) == (None, None, None, "")
        assert (ctx.is_continuation, ctx.cancel_requested) == (False, False)
        assert before - timedelta(seconds=1) < ctx.enqueued_at < datetime.now(UTC) + timedelta(seconds=1)
        assert abs(ctx.deadline - before - timedelta(minutes=2)) < timedelta(seconds=10)
        assert ctx.processor is tasks
        assert await ctx.get_batch() is None
        assert task_id in repr(ctx)


async def test_what_a_task_of_a_batch_knows(settings: MakeSettings) -> None:
    """Its batch, and the description of that; a continuation knows that it is one."""
    curious = Curious()
    async with working(settings(), curious) as tasks:
        async with tasks.batch(tenant="acme", scope="Import 42") as batch:
            batch.enqueue(curious.in_loop)
            batch.continue_with(curious.in_thread)
        await ended(tasks, batch.id)
        await wait_until(lambda: len(curious.seen) == 2)
    task, continuation = curious.seen
    for ctx in (task, continuation):
        assert (ctx.batch_id, ctx.scope, ctx.tenant) == (batch.id, "Import 42", "acme")
    assert (task.is_continuation, continuation.is_continuation) == (False, True)


async def test_the_next_attempt_knows_its_number(settings: MakeSettings) -> None:
    """`attempt` counts from 1, `retries_left` down to 0."""
    curious = Curious()
    async with working(settings(retries=2, on_task_failed_delay=None), curious) as tasks:
        await gone(tasks, await tasks.enqueue(curious.until_second_attempt))
    assert [(ctx.attempt, ctx.retries_left) for ctx in curious.seen] == [(1, 1), (2, 0)]


async def test_a_context_is_of_its_task_alone(settings: MakeSettings) -> None:
    """Two tasks at the same time each see their own."""
    jobs, curious = Jobs(), Curious()
    async with working(settings(), jobs, curious) as tasks:
        ids = [await tasks.enqueue(curious.in_loop) for _ in range(50)]
        for task_id in ids:
            await gone(tasks, task_id)
    assert sorted(ctx.task_id for ctx in curious.seen) == sorted(ids)
