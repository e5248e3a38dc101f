"""Whatever user code raises is the failure of that task alone: its worker, and the tasks beside it, go on."""

import asyncio
from collections.abc import AsyncGenerator, Generator

import pytest

from taskproc import TaskContext, TaskProcessor, factories
from tests.conftest import MakeSettings
from tests.worker.kit import Jobs, died, gone, running, working


class OwnError(BaseException): ...


KINDS = [
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    asyncio.CancelledError,
    StopIteration,
    StopAsyncIteration,
    OwnError,
]


class Raising:
    """Raises what it is told to, in all the places where user code runs."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    async def in_loop(self) -> None:
        raise self.kind

    async def later_in_loop(self) -> None:
        await asyncio.sleep(0.001)
        raise self.kind

    def in_thread(self) -> None:
        raise self.kind

    async def in_finally(self) -> None:
        try:
            raise ValueError("first")
        finally:
            raise self.kind

    def in_awaitable(self) -> object:
        return self.later_in_loop()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["in_loop", "later_in_loop", "in_thread", "in_finally", "in_awaitable"])
async def test_what_a_task_raises_is_its_own_failure(
    settings: MakeSettings, kind: type[BaseException], place: str
) -> None:
    """It counts as a failed attempt, its type is in the dead letter, and a task beside it is not disturbed."""
    jobs, raising = Jobs(), Raising(kind)
    async with working(settings(retries=1), jobs, raising) as tasks:
        beside = await tasks.enqueue(jobs.wait, "beside")
        await jobs.noted("beside begins")
        task = await died(tasks, await tasks.enqueue(getattr(raising, place)))
        assert (task.error_type or "").rpartition(".")[2] in (kind.__name__, "RuntimeError")
        jobs.go_on.set()
        await gone(tasks, beside)
        await gone(tasks, await tasks.enqueue(jobs.note, "after"))
    assert jobs.notes == ["beside begins", "beside ends", "after"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["open", "close"])
async def test_what_a_scope_raises_is_its_tasks_failure(
    settings: MakeSettings, kind: type[BaseException], when: str
) -> None:
    """A service that cannot be made, and one that cannot be closed, fail the attempt like the call itself."""
    jobs = Jobs()

    async def make() -> AsyncGenerator[Jobs]:
        if when == "open":
            raise kind
        yield jobs
        raise kind

    processor = TaskProcessor(settings(retries=1), scopes=factories({Jobs: make}))
    async with processor, running(processor):
        await died(processor, await processor.enqueue(jobs.note, "called"))
    assert jobs.notes == (["called"] if when == "close" else [])


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_sync_scope_raises_is_its_tasks_failure(settings: MakeSettings, kind: type[BaseException]) -> None:
    """Likewise for a service made by a plain generator."""
    jobs = Jobs()

    def make() -> Generator[Jobs]:
        yield jobs
        raise kind

    processor = TaskProcessor(settings(retries=1), scopes=factories({Jobs: make}))
    async with processor, running(processor):
        await died(processor, await processor.enqueue(jobs.note, "called"))
    assert jobs.notes == ["called"]


@pytest.mark.parametrize("kind", [*KINDS, ValueError])
@pytest.mark.parametrize("hook", ["on_task_start", "on_task_end", "on_task_error", "on_task_failed_delay"])
async def test_a_hook_that_raises_changes_nothing(settings: MakeSettings, kind: type[BaseException], hook: str) -> None:
    """One task is done at its first attempt, another dead after its second, whatever the hook raises."""
    jobs = Jobs()

    def broken(*_: object) -> None:
        raise kind

    async with working(settings(retries=2, **{"on_task_failed_delay": None, hook: broken}), jobs) as tasks:
        await gone(tasks, await tasks.enqueue(jobs.note, "fine"))
        await died(tasks, await tasks.enqueue(jobs.fail, "twice"))
    assert jobs.notes == ["fine", "fails twice", "fails twice"]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_execute_function_may_raise_anything(settings: MakeSettings, kind: type[BaseException]) -> None:
    """What a replaced `execute` raises counts as the task's failure."""
    jobs = Jobs()

    async def execute(ctx: TaskContext) -> None:
        raise kind

    async with working(settings(retries=1), jobs) as tasks:
        tasks.execute = execute
        await died(tasks, await tasks.enqueue(jobs.note, "never"))
    assert jobs.notes == []


class Seen:
    """Hooks that take a moment, and what they have seen."""

    def __init__(self) -> None:
        self.outcomes: list[str | None] = []
        self.hooks: dict[str, object] = {"on_task_error": self.error, "on_task_end": self.end}

    async def error(self, _ctx: TaskContext, _error: BaseException) -> None:
        await asyncio.sleep(0)

    async def end(self, ctx: TaskContext) -> None:
        await asyncio.sleep(0)
        self.outcomes.append(ctx.outcome)


class Cancelling:
    """Cancels the asyncio task it runs in."""

    def __init__(self) -> None:
        self.attempts = 0

    async def returning(self) -> None:
        self.attempts += 1
        me = asyncio.current_task()
        assert me is not None
        me.cancel()

    async def awaiting(self) -> None:
        await self.returning()
        await asyncio.sleep(10)


@pytest.mark.parametrize("watched", ["with hooks", "without hooks"])
async def test_a_task_that_cancels_itself_fails(settings: MakeSettings, watched: str) -> None:
    """A cancel that user code asked for is a failure like a raised CancelledError, not a shutdown of the worker."""
    cancelling, seen = Cancelling(), Seen()
    hooks = seen.hooks if watched == "with hooks" else {}
    async with working(settings(retries=2, on_task_failed_delay=None, **hooks), cancelling) as tasks:
        await died(tasks, await tasks.enqueue(cancelling.awaiting))
    assert cancelling.attempts == 2
    assert seen.outcomes == (["failed", "failed"] if hooks else [])


@pytest.mark.parametrize("watched", ["with hooks", "without hooks"])
async def test_a_task_that_returns_before_its_own_cancel_is_done(settings: MakeSettings, watched: str) -> None:
    """The cancel that user code asked for ends with the call; it does not hit the hooks and the settle."""
    cancelling, seen = Cancelling(), Seen()
    hooks = seen.hooks if watched == "with hooks" else {}
    async with working(settings(**hooks), cancelling) as tasks:
        await gone(tasks, await tasks.enqueue(cancelling.returning))
    assert cancelling.attempts == 1
    assert seen.outcomes == (["done"] if hooks else [])
