"""Calls that both type checkers refuse, each on its own line; nothing here is run.

The comment on each line is for both: where one of them finds the line right, the comment is an error, so that
`make check` alone holds this.
"""

from taskproc import (
    Batch,
    ScheduleData,
    TaskContext,
    TaskProcessor,
    TaskProcessorSettings,
    background,
    backoff,
    ref,
)
from tests.typing.services import Imports, Jobs, Mailer, SendsMail, audit, clean, crop, resize, rotate

hourly = ScheduleData(id="hourly", cron="0 * * * *")


def build(batch: Batch) -> None:
    """Fills a batch."""
    batch.enqueue(resize, 1)


def on_start(ctx: TaskContext) -> None:
    """A hook for the start."""


def on_error(ctx: TaskContext, error: BaseException) -> None:
    """A hook for errors."""


async def enqueue(tasks: TaskProcessor, mailer: Mailer, sends: SendsMail) -> None:
    """Wrong arguments, wrong names, and what cannot be called."""
    await tasks.enqueue(mailer.send)  # type: ignore[call-arg]
    await tasks.enqueue(mailer.send, 1)  # type: ignore[arg-type]
    await tasks.enqueue(mailer.send, "a", 2)  # type: ignore[call-arg]
    await tasks.enqueue(mailer.send, "a", copys=2)  # type: ignore[call-arg]
    await tasks.enqueue(mailer.send, "a", copies="2")  # type: ignore[arg-type]
    await tasks.enqueue(mailer.send, "a", queue="high")  # type: ignore[call-arg]
    await tasks.enqueue(mailer.nope, 1)  # type: ignore[attr-defined]
    await tasks.enqueue(mailer.send("a"))  # type: ignore[arg-type]
    await tasks.enqueue(mailer.send_in_thread, "a")  # type: ignore[arg-type]
    await tasks.enqueue(sends.send, "a", copies=2)  # type: ignore[call-arg]
    await tasks.enqueue(Mailer.check, 1)  # type: ignore[arg-type]
    await tasks.enqueue(Mailer.load, "a")  # type: ignore[arg-type]
    await tasks.enqueue(Mailer.load, 1, 2)  # type: ignore[arg-type]
    await tasks.enqueue(Mailer.send, "a")  # type: ignore[arg-type, call-arg]
    await tasks.enqueue(ref(Mailer).send, 1)  # type: ignore[arg-type]
    await tasks.enqueue(ref(SendsMail).send, 1)  # type: ignore[arg-type]
    await tasks.enqueue(ref(SendsMail).send, "a", copies=2)  # type: ignore[call-arg]
    await tasks.enqueue(ref(SendsMail).nope, 1)  # type: ignore[attr-defined]
    await tasks.enqueue(ref(Imports).load, path="a.csv")  # type: ignore[call-arg]
    await tasks.enqueue(mailer.report, "a")  # type: ignore[call-arg]
    await tasks.enqueue(mailer.report, "a", "b")  # type: ignore[arg-type]
    await tasks.enqueue(resize, "a")  # type: ignore[arg-type]
    await tasks.enqueue(resize, 1, 2)  # type: ignore[arg-type]
    await tasks.enqueue(resize, 1, keep="yes")  # type: ignore[arg-type]
    await tasks.enqueue(rotate, degrees=1.5)  # type: ignore[call-arg]
    await tasks.enqueue(crop, 1)  # type: ignore[call-arg]
    await tasks.enqueue(crop, 1, 2, color=3)  # type: ignore[arg-type]
    await tasks.enqueue(clean, level="x")  # type: ignore[arg-type]
    await tasks.enqueue(clean, depth=1)  # type: ignore[call-arg]
    await tasks.enqueue(Jobs.above_static, "a")  # type: ignore[arg-type]
    await tasks.enqueue(Jobs.below_static, "a")  # type: ignore[arg-type]
    await tasks.enqueue(Jobs.above_class, "a")  # type: ignore[arg-type]
    await tasks.enqueue(Jobs.below_class, "a")  # type: ignore[arg-type]
    await tasks.enqueue(7)  # type: ignore[arg-type]
    await tasks.enqueue()  # type: ignore[call-arg]
    tasks.enqueue(mailer.send, "a")  # type: ignore[unused-coroutine]
    _number: int = await tasks.enqueue(mailer.send, "a")  # type: ignore[assignment]


def refs() -> None:
    """ref() takes a class, and gives an instance of it."""
    ref("Mailer")  # type: ignore[arg-type]
    _mailer: Imports = ref(Mailer)  # type: ignore[assignment]
    ref(Mailer, 1)  # type: ignore[call-arg]


async def options(tasks: TaskProcessor, mailer: Mailer) -> None:
    """Options that do not exist, or of another type."""
    tasks.on(delay="soon")  # type: ignore[arg-type]
    tasks.on(delay=5)  # type: ignore[arg-type]
    tasks.on(delay_until="2026-01-01")  # type: ignore[arg-type]
    tasks.on(retries="3")  # type: ignore[arg-type]
    tasks.on(5)  # type: ignore[arg-type]
    tasks.on("high", "acme")  # type: ignore[arg-type, call-arg]
    tasks.on("high", when="failed")  # type: ignore[call-arg]
    tasks.on("high", auto_extend="yes")  # type: ignore[arg-type]
    tasks.on(tenant=5)  # type: ignore[arg-type]
    tasks.on("high").continue_with(mailer.send, "a")  # type: ignore[attr-defined]
    await tasks.on("high").enqueue(mailer.send, 1)  # type: ignore[arg-type]
    await tasks.on("high").enqueue(mailer.send)  # type: ignore[call-arg]


async def batches(tasks: TaskProcessor, mailer: Mailer) -> None:
    """A batch has one tenant; what waits for an outcome is a continuation."""
    tasks.batch("default", "acme")  # type: ignore[call-arg]
    tasks.batch(scope=1)  # type: ignore[arg-type]
    async with tasks.batch() as batch:
        batch.enqueue(mailer.send, 1)  # type: ignore[arg-type]
        batch.enqueue(mailer.send)  # type: ignore[call-arg]
        await batch.enqueue(mailer.send, "a")  # type: ignore[func-returns-value, misc]
        batch.continue_with(mailer.send, 1)  # type: ignore[arg-type]
        batch.on("low", tenant="acme")  # type: ignore[call-overload]
        batch.on(when="done")  # type: ignore[call-overload]
        batch.on(when=True)  # type: ignore[call-overload]
        batch.on(when="failed").enqueue(mailer.send, "a")  # type: ignore[attr-defined]
        batch.on("low", when="success").enqueue(mailer.send, "a")  # type: ignore[attr-defined]
        batch.on(when="failed").continue_with(mailer.send, 1)  # type: ignore[arg-type]
        batch.on("low").enqueue(mailer.send, 1)  # type: ignore[arg-type]
        batch.on("low").continue_with(mailer.send)  # type: ignore[call-arg]
        batch.on("low", delay="soon")  # type: ignore[call-overload]
        batch.flush()  # type: ignore[unused-coroutine]
        batch.id = 5  # type: ignore[assignment]
    await tasks.enqueue_batch("default", "acme", mailer.send, scope="x")  # type: ignore[arg-type]
    await tasks.enqueue_batch("default", "acme", resize(1))  # type: ignore[arg-type]
    await tasks.enqueue_batch("default", build)  # type: ignore[arg-type, call-arg]
    await tasks.append_batch("default", "acme", build)  # type: ignore[call-arg]
    _text: str = await tasks.cancel_batch("id")  # type: ignore[assignment]


def blocking(tasks: TaskProcessor, mailer: Mailer) -> None:
    """The twin for `def` functions has the same types."""
    tasks.blocking.enqueue(mailer.send, 1)  # type: ignore[arg-type]
    tasks.blocking.enqueue(mailer.send)  # type: ignore[call-arg]
    tasks.blocking.enqueue(ref(SendsMail).send, "a", copies=2)  # type: ignore[call-arg]
    tasks.blocking.on("high").enqueue(mailer.send, 1)  # type: ignore[arg-type]
    tasks.blocking.on(delay="soon")  # type: ignore[arg-type]
    tasks.blocking.enqueue_batch("default", "acme", mailer.send)  # type: ignore[arg-type]
    _number: int = tasks.blocking.cancel_batch(5)  # type: ignore[arg-type]
    _flag: int = tasks.blocking.enqueue(mailer.send, "a")  # type: ignore[assignment]


async def schedules(tasks: TaskProcessor, mailer: Mailer) -> None:
    """Schedules call methods with the right arguments."""
    await tasks.upsert_schedule(hourly, mailer.send, 1)  # type: ignore[arg-type]
    await tasks.upsert_schedule(hourly, mailer.send)  # type: ignore[call-arg]
    await tasks.upsert_schedule("hourly", mailer.send, "a")  # type: ignore[arg-type]
    tasks.add_schedule(hourly, resize, "a")  # type: ignore[arg-type]
    ScheduleData(id="x")  # type: ignore[call-arg]
    ScheduleData(id="x", cron=5)  # type: ignore[arg-type]


def marks() -> None:
    """@background takes known options and callables, and is no option itself."""
    background(queue=5)(audit)  # type: ignore[call-overload]
    background("low")(audit)  # type: ignore[call-overload]
    background(retries="3")  # type: ignore[call-overload]
    background(delay=5)  # type: ignore[call-overload]
    background(7)  # type: ignore[call-overload]


def settings() -> None:
    """Settings have types, and hooks their parameters."""
    TaskProcessorSettings(retrys=3)  # type: ignore[call-arg]
    TaskProcessorSettings(queues="a,b")  # type: ignore[arg-type]
    TaskProcessorSettings(invisibility=5)  # type: ignore[arg-type]
    TaskProcessorSettings(on_task_start=on_error)  # type: ignore[arg-type]
    TaskProcessorSettings(on_task_error=on_start)  # type: ignore[arg-type]
    TaskProcessorSettings(on_task_failed_delay=on_start)  # type: ignore[arg-type]
    backoff(5)  # type: ignore[arg-type, call-arg]
