"""Calls that both type checkers accept; nothing here is run."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import assert_type

from fastapi import FastAPI as StockFastAPI
from fastapi import WebSocket

import taskproc_fastapi
from taskproc import (
    CURRENT,
    Batch,
    BatchInfo,
    ScheduleData,
    ScheduleInfo,
    TaskContext,
    TaskData,
    TaskInfo,
    TaskProcessor,
    TaskProcessorSettings,
    backoff,
    current_task,
    factories,
    ref,
)
from taskproc.batch import BatchOn, ContinueOn
from taskproc_fastapi import Tasks, add_task_processor, add_task_processor_executor
from tests.typing.services import Imports, Jobs, Mailer, SendsMail, audit, clean, crop, resize, rotate

SECOND = timedelta(seconds=1)


async def enqueue(tasks: TaskProcessor, mailer: Mailer, sends: SendsMail, jobs: Jobs) -> None:
    """Methods of instances, by ref, static and class methods, functions; sync and async."""
    assert_type(await tasks.enqueue(mailer.send, "bob", copies=2), str)
    await tasks.enqueue(mailer.send, to="bob")
    await tasks.enqueue(mailer.send_in_thread, 1)
    await tasks.enqueue(mailer.check, "bob")
    await tasks.enqueue(sends.send, "bob")
    await tasks.enqueue(Mailer.check, "bob")
    await tasks.enqueue(Mailer.load, 1, "a", "b")
    await tasks.enqueue(ref(Mailer).send, "bob")
    await tasks.enqueue(ref(Mailer).load, 1)
    await tasks.enqueue(ref(SendsMail).send, "bob")
    await tasks.enqueue(ref(Imports).load, "a.csv", limit=None)
    await tasks.enqueue(mailer.report, "hi", CURRENT)
    await tasks.enqueue(audit, "x")
    await tasks.enqueue(audit, "x", ctx=CURRENT)
    await tasks.enqueue(resize, 7, "a", "b", keep=True)
    await tasks.enqueue(rotate, 1)
    await tasks.enqueue(crop, 1, height=2, color="red")
    await tasks.enqueue(clean, level=3)
    await tasks.enqueue(Jobs.above_static, 1)
    await tasks.enqueue(Jobs.below_static, number=1)
    await tasks.enqueue(Jobs.above_class, 1)
    await tasks.enqueue(Jobs.below_class, number=1)
    await tasks.enqueue(jobs.method, 1)


def what_ref_gives() -> None:
    """It looks like the instance."""
    assert_type(ref(Mailer), Mailer)
    assert_type(ref(SendsMail), SendsMail)
    assert_type(ref(Imports), Imports)


async def marked_functions_are_what_they_were() -> None:
    """@background changes no signature, in any of its forms."""
    assert_type(await resize(1, "a", keep=True), None)
    assert_type(rotate(1.5), float)
    assert_type(crop(1, 2, color="red"), None)
    assert_type(Jobs.above_static(1), None)
    assert_type(Jobs.below_static(1), None)
    assert_type(Jobs.above_class(1), None)
    assert_type(await Jobs.below_class(1), None)
    assert_type(await Jobs().method(1), None)


async def options(tasks: TaskProcessor, mailer: Mailer) -> None:
    """`on(…)` in front of the call, and kept for several."""
    assert_type(await tasks.on("high").enqueue(mailer.send, "bob"), str)
    urgent = tasks.on("high", tenant="acme", delay=SECOND, retries=5, invisibility=SECOND, auto_extend=True)
    await urgent.enqueue(mailer.send, "bob", copies=2)
    await urgent.enqueue(ref(SendsMail).send, "eve")
    await tasks.on(delay_until=datetime.now(UTC)).enqueue(resize, 1)
    await tasks.on(None, delay=None).enqueue(resize, 1)


async def batches(tasks: TaskProcessor, mailer: Mailer) -> None:
    """Tasks and continuations of a batch."""
    async with tasks.batch("default", tenant="acme", scope="Import 42") as batch:
        assert_type(batch, Batch)
        assert_type(batch.enqueue(mailer.send, "bob"), None)
        batch.continue_with(mailer.send, "bob")
        assert_type(batch.on("low", delay=SECOND), BatchOn)
        batch.on("low", delay_until=datetime.now(UTC)).enqueue(ref(Imports).load, "a.csv")
        batch.on("high").continue_with(mailer.report, "done", CURRENT)
        assert_type(batch.on(when="failed"), ContinueOn)
        batch.on(when="failed").continue_with(resize, 1, keep=True)
        batch.on("low", when="complete", delay=SECOND, retries=1).continue_with(rotate, 1)
        await batch.flush()
    assert_type(batch.id, str)
    assert_type(await tasks.cancel_batch(batch.id), bool)
    assert_type(await tasks.get_batch(batch.id), BatchInfo | None)


async def builders(tasks: TaskProcessor, mailer: Mailer) -> None:
    """A batch is filled by a function, sync or async, or by a generator function, sync or async."""

    def build(batch: Batch) -> None:
        batch.enqueue(mailer.send, "bob")

    async def build_async(batch: Batch) -> None:
        batch.enqueue(mailer.send, "bob")

    def generate(batch: Batch) -> Iterator[None]:
        batch.enqueue(mailer.send, "bob")
        yield

    async def generate_async(batch: Batch) -> AsyncIterator[None]:
        batch.enqueue(mailer.send, "bob")
        yield

    assert_type(await tasks.enqueue_batch("default", "acme", build, scope="Import 42"), str)
    await tasks.enqueue_batch(None, None, build_async)
    await tasks.enqueue_batch("default", None, generate)
    assert_type(await tasks.append_batch("default", "acme", "id", generate_async), bool)
    await tasks.enqueue_batch("default", "acme", lambda batch: batch.enqueue(resize, 1))
    await tasks.enqueue_batch("default", "acme", [TaskData(topic="x", data=b"")])


def blocking(tasks: TaskProcessor, mailer: Mailer) -> None:
    """The same calls from `def` functions."""
    assert_type(tasks.blocking.enqueue(mailer.send, "bob", copies=2), str)
    tasks.blocking.enqueue(ref(SendsMail).send, "bob")
    tasks.blocking.enqueue(Jobs.above_class, 1)
    assert_type(tasks.blocking.on("high", delay=SECOND).enqueue(resize, 1, "a"), str)
    assert_type(tasks.blocking.enqueue_batch("default", "acme", lambda batch: batch.enqueue(resize, 1)), str)
    assert_type(tasks.blocking.append_batch("default", "acme", "id", lambda batch: batch.enqueue(resize, 1)), bool)
    assert_type(tasks.blocking.cancel_batch("id"), bool)


async def contexts() -> None:
    """What a task knows of itself."""
    ctx = current_task()
    assert_type(ctx, TaskContext)
    assert_type(await ctx.extend_lock(SECOND), bool)
    assert_type(ctx.blocking.extend_lock(SECOND), bool)
    assert_type(await ctx.get_batch(), BatchInfo | None)
    assert_type(ctx.blocking.get_batch(), BatchInfo | None)
    await ctx.processor.enqueue(resize, 1)


async def schedules(tasks: TaskProcessor, mailer: Mailer) -> None:
    """Methods and functions again, called again and again."""
    hourly = ScheduleData(id="hourly", cron="0 * * * *")
    await tasks.upsert_schedule(hourly, mailer.send, "bob", copies=2)
    await tasks.upsert_schedule(hourly, ref(SendsMail).send, to="bob")
    tasks.add_schedule(hourly, resize, 1)
    assert_type(await tasks.trigger_schedule("hourly"), bool)
    assert_type(await tasks.cancel_schedule("hourly", "acme"), bool)
    assert_type(await tasks.get_schedules("acme"), list[ScheduleInfo])


async def looking(tasks: TaskProcessor) -> None:
    """Reports have types."""
    assert_type(await tasks.get_task("id"), TaskInfo | None)
    assert_type(await tasks.get_dead_tasks("default", skip=0, take=5, tenant="acme"), list[TaskInfo])
    assert_type(await tasks.retry_dead_tasks("default", retries=1, task_ids=["id"]), int)


def hooks() -> TaskProcessorSettings:
    """Hooks may be sync or async, methods or functions."""

    async def on_start(ctx: TaskContext) -> None: ...

    def on_error(ctx: TaskContext, error: BaseException) -> None: ...

    async def delay(ctx: TaskContext, retries_left: int) -> timedelta | None:
        return SECOND if retries_left else None

    TaskProcessorSettings(on_task_start=on_start, on_task_error=on_error, on_task_failed_delay=delay)
    TaskProcessorSettings(on_task_end=lambda ctx: None, on_task_failed_delay=lambda ctx, left: SECOND * left)
    return TaskProcessorSettings(redis="embedded", queues=["a"], on_task_failed_delay=backoff(factor=2))


async def scopes(make: Callable[[], Awaitable[Mailer]]) -> None:
    """Factories for classes and interfaces."""
    async with TaskProcessor(scopes=factories({Mailer: make, SendsMail: lambda: Mailer("x")})) as tasks:
        assert_type(tasks, TaskProcessor)


def apps(stock: StockFastAPI) -> None:
    """With the app class of the plugin, and with the stock one."""
    app = taskproc_fastapi.FastAPI()
    assert_type(app.add_task_processor(TaskProcessorSettings()), TaskProcessor)
    app.add_task_processor_executor()
    assert_type(add_task_processor(stock, TaskProcessorSettings()), TaskProcessor)
    add_task_processor_executor(stock)

    @app.post("/signup")
    async def signup(email: str, tasks: Tasks) -> str:
        return assert_type(await tasks.enqueue(ref(Mailer).send, email), str)

    @app.post("/sync")
    def sync(email: str, tasks: Tasks) -> str:
        return tasks.blocking.enqueue(ref(Mailer).send, email)

    @app.websocket("/socket")
    async def socket(websocket: WebSocket, tasks: Tasks) -> None:
        await tasks.enqueue(resize, int(await websocket.receive_text()))

    _ = signup, sync, socket
