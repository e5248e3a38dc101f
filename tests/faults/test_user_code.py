"""Tasks that do what no task should: they end their process, or never end, or fail in ways that cannot be shown."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any, NoReturn

import pytest
import redis

from taskproc import (
    EnqueueError,
    TaskContext,
    TaskProcessor,
    UnknownTask,
    background,
    current_task,
    factories,
)
from tests.conftest import MakeSettings
from tests.faults.jobs import note
from tests.faults.kit import SECOND, Journal, worker
from tests.kit import wait_until
from tests.worker.kit import MS, Jobs, died, ended, gone, running, working

# Tasks that end their process


async def _raise(error: BaseException) -> NoReturn:
    raise error


@background
async def exit_beside() -> None:
    """In a child task: asyncio lets it end the loop."""
    note("begins", "poison")
    await asyncio.gather(asyncio.create_task(_raise(SystemExit(3))))


@background
async def interrupt_beside() -> None:
    """Likewise."""
    note("begins", "poison")
    child = asyncio.create_task(_raise(KeyboardInterrupt()))
    await asyncio.sleep(10)
    await child


@background
async def exit_in_callback() -> None:
    """In the loop itself."""
    note("begins", "poison")
    asyncio.get_running_loop().call_soon(sys.exit, 3)
    await asyncio.sleep(10)


@background
async def behind() -> None:
    """Waits for its slot behind one of these."""
    note("begins", "behind")


@pytest.mark.parametrize(
    "poison",
    [
        exit_beside,
        pytest.param(interrupt_beside, marks=pytest.mark.slow),
        pytest.param(exit_in_callback, marks=pytest.mark.slow),
    ],
    ids=lambda task: task.__name__,
)
async def test_a_task_that_ends_its_process_is_dead_in_the_end(
    settings: MakeSettings, journal: Journal, poison: Any
) -> None:
    """However its workers end, they end `max_recoveries` times at most; then what stands behind it runs."""
    made = settings(worker_timeout=SECOND, retries=1, max_workers=1, max_recoveries=2, allowed_modules=["tests.faults"])
    async with TaskProcessor(made) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(poison)
        await tasks.enqueue(behind)
        for _ in range(2):
            begun = len(journal.events("begins"))
            with worker(made, journal) as started:
                await journal.noted("begins", begun + 1)
                await wait_until(lambda: not started.running, 10, "the end of the process")
                assert "was ended from outside" in started.log
        with worker(made, journal) as last:
            outcome = await ended(tasks, batch.id, 15)
            await wait_until(lambda: journal.count("begins")["behind"])
            last.terminate()
        [task] = await tasks.get_dead_tasks("default")
    assert (outcome.state, outcome.failed, task.error_type) == ("failed", 1, "WorkerLost")
    assert journal.count("begins") == {"poison": 2, "behind": 1}
    assert journal.count("error")["WorkerLost"] == 1


# Errors that cannot be shown


class Explosive(type):
    """Classes that cannot be named."""

    def __getattribute__(cls, name: str) -> Any:
        if name in ("__name__", "__qualname__", "__module__"):
            raise RuntimeError("no name")
        return super().__getattribute__(name)


class NamelessError(Exception, metaclass=Explosive):
    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


class UnsayableError(UnknownTask):
    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


class HugeError(Exception):
    def __str__(self) -> str:
        return "x\n\x1b[31m" * 40_000_000

    __repr__ = __str__


class Failing(Jobs):
    """Raises what makes trouble when it is looked at."""

    async def raise_nameless(self) -> None:
        raise NamelessError

    async def raise_unsayable(self) -> None:
        raise UnsayableError

    async def raise_huge(self) -> None:
        raise HugeError from NamelessError()

    def raise_huge_in_thread(self) -> None:
        raise HugeError


@pytest.mark.parametrize("method", ["raise_nameless", "raise_unsayable", "raise_huge", "raise_huge_in_thread"])
async def test_errors_that_explode_are_failures_like_others(
    settings: MakeSettings, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The task is a dead letter with a bounded text, the hook is told, the log shows one short line for each."""
    jobs = Failing()
    told: list[type] = []

    def error(_ctx: TaskContext, error: BaseException) -> None:
        told.append(type(error))

    made = settings(retries=1, unknown_task_grace=timedelta(0), on_task_error=error)
    async with working(made, jobs) as tasks:
        task = await died(tasks, await tasks.enqueue(getattr(jobs, method)), 20)
        await gone(tasks, await tasks.enqueue(jobs.note, "after"))
    assert len(told) == 1
    assert task.error_type
    assert len(task.error_message or "") + len(task.traceback or "") < 20_000
    assert all(len(line) < 1_000 and line.isprintable() for record in caplog.records for line in [record.message])


# What does not end


class Hanging(Jobs):
    """A service that is hard to get rid of."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = 0


async def _swallowing(hanging: Jobs) -> None:
    while not hanging.go_on.is_set():
        try:
            await hanging.go_on.wait()
        except asyncio.CancelledError:
            continue


@pytest.mark.parametrize("how", ["hangs", "swallows its cancel"])
async def test_a_scope_that_does_not_close(settings: MakeSettings, how: str) -> None:
    """Its attempt fails when its time is over; the other slots go on meanwhile."""
    hanging, jobs = Hanging(), Jobs()

    async def make() -> AsyncGenerator[Hanging]:
        yield hanging
        hanging.closing += 1
        await (hanging.go_on.wait() if how == "hangs" else _swallowing(hanging))

    processor = TaskProcessor(settings(retries=1, max_workers=2), scopes=factories({Hanging: make, Jobs: lambda: jobs}))
    async with processor, running(processor):
        task_id = await processor.on(invisibility=300 * MS).enqueue(hanging.note, "called")
        await wait_until(lambda: hanging.closing)
        await gone(processor, await processor.enqueue(jobs.note, "beside"))
        task = await died(processor, task_id)
        await gone(processor, await processor.enqueue(jobs.note, "after"))
        hanging.go_on.set()
    assert task.error_type == "taskproc.errors.TaskTimeoutError"
    assert (hanging.notes, hanging.closing, jobs.notes) == (["called"], 1, ["beside", "after"])


@pytest.mark.parametrize("hook", ["on_task_start", "on_task_end", "on_task_error", "on_task_failed_delay"])
async def test_a_hook_that_swallows_its_cancel_keeps_one_slot(settings: MakeSettings, hook: str) -> None:
    """The other slots go on, and the worker ends all the same; a task that was not settled yet is handed back."""
    jobs = Failing()
    held: list[str] = []

    async def swallowing(ctx: TaskContext, *_: object) -> None:
        if ctx.call.endswith("fail"):
            held.append(ctx.task_id)
            await _swallowing(jobs)

    def later(*_: object) -> timedelta:
        return timedelta(hours=1)

    hooks: dict[str, Any] = {"on_task_failed_delay": later, hook: swallowing}
    made = settings(
        max_workers=2, retries=2, hook_timeout=50 * MS, shutdown_grace=100 * MS, command_timeout=SECOND, **hooks
    )
    async with working(made, jobs) as tasks:
        try:
            task_id = await tasks.enqueue(jobs.fail, "held")
            await wait_until(lambda: held)
            for number in range(5):
                await gone(tasks, await tasks.enqueue(jobs.note, str(number)))
            async with asyncio.timeout(6):
                await tasks.stop()
        finally:
            jobs.go_on.set()
        assert await tasks.get_workers() == []
        task = await tasks.get_task(task_id)
        assert task is not None
        assert task.state == ("delayed" if hook == "on_task_end" else "ready")
        assert await tasks.cancel_task(task_id)
        await asyncio.sleep(0.01)
    assert [word for word in jobs.notes if word.isdigit()] == list("01234")
    assert held == [task_id]


# Large payloads


class Weighing(Jobs):
    """Notes how much it was given."""

    async def weigh(self, text: str) -> None:
        self.notes.append(str(len(text)))


async def test_payloads_of_ten_megabytes(settings: MakeSettings, client: redis.Redis, prefix: str) -> None:
    """They run where they are allowed, alone and in batches; what is longer is refused before it is sent."""
    jobs = Weighing()
    size = 10_000_000
    async with working(settings(max_payload=size + 100), jobs) as tasks:
        await gone(tasks, await tasks.enqueue(jobs.weigh, "x" * size), 20)
        async with tasks.batch() as batch:
            for _ in range(5):
                batch.enqueue(jobs.weigh, "y" * size)
        assert (await ended(tasks, batch.id, 30)).done == 5
        with pytest.raises(EnqueueError, match="max_payload"):
            await tasks.enqueue(jobs.weigh, "z" * (size + 100))
        assert (await tasks.get_queue("default")).length == 0
    assert jobs.notes == [str(size)] * 6
    assert client.exists(f"{prefix}:queue:default:ready") == 0


# Text that would pass for lines of the log

FORGED = "m:f\n2030-01-01 00:00:00 CRITICAL root: all is lost\r\x1b[2J"


async def test_the_name_in_a_record_forges_no_line(
    settings: MakeSettings, client: redis.Redis, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever stands for the call in Redis: of a task that fails, and of one that is given up."""
    jobs = Jobs()

    async def execute(ctx: TaskContext) -> None:
        assert current_task() is ctx
        jobs.notes.append("called")
        if ctx.deadline < ctx.enqueued_at + SECOND:
            await _swallowing(jobs)
        raise ValueError(FORGED)

    async with TaskProcessor(settings(retries=1), scopes=factories({Jobs: lambda: jobs})) as tasks:
        tasks.execute = execute
        ids = [await tasks.enqueue(jobs.note, "never"), await tasks.on(invisibility=200 * MS).enqueue(jobs.note, "")]
        for task_id in ids:
            client.hset(f"{prefix}:task:{task_id}", "c", FORGED)
        async with running(tasks):
            for task_id in ids:
                await died(tasks, task_id)
            jobs.go_on.set()
    said = [record.message for record in caplog.records if "CRITICAL" in record.message]
    assert [message.partition(") ")[2].partition(" ")[0] for message in said] == ["failed", "does", "failed"]
    assert all(message.isprintable() for message in said)
