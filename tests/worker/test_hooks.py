"""The hooks of the settings: when they are called, in which context, and that they can change nothing."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from typing import Any

import pytest

from taskproc import BatchInfo, TaskContext, TaskProcessor, current_task, factories
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import MS, Jobs, died, ended, gone, running, working

user: ContextVar[str] = ContextVar("user", default="nobody")


class Hooks:
    """Hooks that note their calls, sync or async."""

    def __init__(self, notes: list[str], *, is_async: bool = False) -> None:
        self.notes = notes
        self.all: dict[str, Any] = {
            "on_task_start": self.start,
            "on_task_end": self.end,
            "on_task_error": self.error,
            "on_task_failed_delay": self.delay,
        }
        if is_async:
            self.all = {name: self._async(hook) for name, hook in self.all.items()}

    def _async(self, hook: Any) -> Any:
        async def call(*arguments: Any) -> None:
            await asyncio.sleep(0.001)
            hook(*arguments)

        return call

    def start(self, ctx: TaskContext) -> None:
        assert current_task() is ctx
        assert ctx.outcome is None
        self.notes.append("start")

    def end(self, ctx: TaskContext) -> None:
        assert current_task() is ctx
        self.notes.append(f"end {ctx.outcome}")

    def error(self, ctx: TaskContext, error: BaseException) -> None:
        assert current_task() is ctx
        self.notes.append(f"error {error!r}")

    def delay(self, ctx: TaskContext, retries_left: int) -> None:
        assert current_task() is ctx
        assert retries_left == ctx.retries_left
        self.notes.append(f"delay {retries_left}")


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_hooks_are_called_around_the_scope(settings: MakeSettings, kind: str) -> None:
    """Start, scope, call, close of the scope; when failed error and delay; then the settle, and the end."""
    jobs = Jobs()
    hooks = Hooks(jobs.notes, is_async=kind == "async")

    async def make() -> AsyncGenerator[Jobs]:
        jobs.notes.append("open")
        try:
            yield jobs
        finally:
            jobs.notes.append("close")

    processor = TaskProcessor(settings(retries=2, **hooks.all), scopes=factories({Jobs: make}))
    async with processor, running(processor):
        await processor.enqueue(jobs.note, "call")
        await jobs.noted("end done")
        assert jobs.notes == ["start", "open", "call", "close", "end done"]
        jobs.notes.clear()
        await died(processor, await processor.enqueue(jobs.fail, "twice"))
        await wait_until(lambda: jobs.notes.count("end failed") == 2)
    first = ["start", "open", "fails twice", "close", "error ValueError('twice')", "delay 1", "end failed"]
    second = ["start", "open", "fails twice", "close", "error ValueError('twice')", "end failed"]
    assert jobs.notes == first + second


async def test_the_end_is_told_with_what_came_of_the_attempt(settings: MakeSettings) -> None:
    """`canceled` for a canceled task, whatever it did; `released` for one that was handed back."""
    jobs = Jobs()
    hooks = Hooks(jobs.notes)
    async with working(settings(on_task_end=hooks.end), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.wait, "task")
        await jobs.noted("task begins")
        await tasks.cancel_task(task_id)
        await jobs.noted("end canceled")
    async with working(settings(on_task_end=hooks.end, shutdown_grace=1 * MS), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.wait, "another")
        await jobs.noted("another begins")
        await tasks.stop()
        assert jobs.notes[-1] == "end released"
        await tasks.cancel_task(task_id)


async def test_at_its_end_a_task_is_counted_in_its_batch(settings: MakeSettings) -> None:
    """`ctx.get_batch()` in `on_task_end` includes this task."""
    jobs = Jobs()
    seen: list[BatchInfo | None] = []

    async def end(ctx: TaskContext) -> None:
        seen.append(await ctx.get_batch())

    async with working(settings(max_workers=1, on_task_end=end), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.note, "first")
            batch.enqueue(jobs.note, "second")
        await ended(tasks, batch.id)
        await wait_until(lambda: len(seen) == 2)
    assert [(info.done, info.state) for info in seen if info] == [(1, "running"), (2, "done")]


class Asking:
    """Says who the user is."""

    def __init__(self) -> None:
        self.users: list[str] = []

    async def in_loop(self) -> None:
        self.users.append(user.get())

    def in_thread(self) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self.users.append(user.get())


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_contextvars_of_the_start_hook_reach_the_call(settings: MakeSettings, kind: str) -> None:
    """In the loop, in a thread and in the other hooks of that attempt; not in those of other tasks."""
    asking = Asking()
    ended_as: list[str] = []

    def start(ctx: TaskContext) -> None:
        user.set(f"user of {ctx.tenant}")

    async def start_async(ctx: TaskContext) -> None:
        await asyncio.sleep(0)
        start(ctx)

    def end(_ctx: TaskContext) -> None:
        ended_as.append(user.get())

    made = settings(on_task_start=start_async if kind == "async" else start, on_task_end=end)
    async with working(made, asking) as tasks:
        await tasks.on(tenant="acme").enqueue(asking.in_loop)
        await tasks.on(tenant="other").enqueue(asking.in_thread)
        await wait_until(lambda: len(ended_as) == 2)
    assert sorted(asking.users) == sorted(ended_as) == ["user of acme", "user of other"]
    assert user.get() == "nobody"


async def test_tasks_do_not_inherit_the_context_of_their_worker(settings: MakeSettings) -> None:
    """What was set where `run()` was called is not seen by tasks."""
    asking = Asking()
    user.set("the operator")
    async with working(settings(), asking) as tasks:
        await gone(tasks, await tasks.enqueue(asking.in_loop))
    assert asking.users == ["nobody"]


@pytest.mark.parametrize("hook", ["on_task_start", "on_task_end", "on_task_error", "on_task_failed_delay"])
async def test_a_hook_that_hangs_is_given_up(
    settings: MakeSettings, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After `hook_timeout` the attempt goes on as if the hook were not there; the log names it."""
    jobs = Jobs()

    async def hanging(*_: object) -> None:
        await asyncio.Event().wait()

    made = settings(retries=2, hook_timeout=50 * MS, **{"on_task_failed_delay": None, hook: hanging})
    async with working(made, jobs) as tasks:
        await gone(tasks, await tasks.enqueue(jobs.note, "fine"))
        await died(tasks, await tasks.enqueue(jobs.fail, "twice"))
        await wait_until(lambda: "hanging took longer than" in caplog.text)
    assert jobs.notes == ["fine", "fails twice", "fails twice"]


@pytest.mark.parametrize("garbage", [5, "soon", -1 * MS, object()])
async def test_a_delay_that_is_none_means_at_once(settings: MakeSettings, garbage: object) -> None:
    """What is no timedelta, or a negative one, does not keep the next attempt away."""
    jobs = Jobs()

    def delay(_ctx: TaskContext, _left: int) -> object:
        return garbage

    async with working(settings(retries=2, on_task_failed_delay=delay), jobs) as tasks:
        await died(tasks, await tasks.enqueue(jobs.fail, "twice"), 2)
    assert jobs.notes == ["fails twice"] * 2


async def test_a_running_hook_may_end_before_the_worker_does(settings: MakeSettings) -> None:
    """`stop()` returns after the end hooks of tasks that had ended, not in the middle of them."""
    jobs = Jobs()

    async def end(_ctx: TaskContext) -> None:
        jobs.notes.append("hook begins")
        await asyncio.sleep(0.3)
        jobs.notes.append("hook ends")

    async with working(settings(on_task_end=end), jobs) as tasks:
        await tasks.enqueue(jobs.note, "task")
        await jobs.noted("hook begins")
        await tasks.stop()
        assert jobs.notes[-1] == "hook ends"


async def test_a_hanging_start_hook_does_not_outlive_a_cancel(settings: MakeSettings) -> None:
    """A task canceled during its start hook ends as canceled, and is not called."""
    jobs = Jobs()

    async def start(_ctx: TaskContext) -> None:
        jobs.notes.append("hook begins")
        await asyncio.Event().wait()

    async with working(settings(on_task_start=start), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.note, "never")
        await jobs.noted("hook begins")
        await tasks.cancel_task(task_id)
        await gone(tasks, task_id)
    assert jobs.notes == ["hook begins"]
