"""What the workers of a soak run: tasks that write down when they begin and end, for which attempt."""

import asyncio
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import taskproc
from taskproc import StorageUnavailable, TaskContext, TaskProcessor, TaskProcessorSettings, background, current_task
from tests.faults.jobs import stop_on_sigterm
from tests.kit.processes import ROOT
from tests.soak import history

FOLDER = Path(taskproc.__file__).parents[1]
REVISION = "of this revision" if FOLDER == ROOT else f"of {FOLDER.name}"
"""Of the package that this process runs."""
QUEUES = ("default", "shared[fair]")
TENANTS = ("default", "acme", "umbrella")
RETRIES = 2


@cache
def writer() -> history.Writer:
    """Of this process."""
    return history.here()


def of(context: TaskContext) -> dict[str, object]:
    """By what an attempt is known."""
    return {"id": context.task_id, "token": context._attempt.token, "attempt": context.attempt}


def fail(name: str, attempt: int) -> None:
    """If the task shall fail."""
    broken = name.endswith("~") and not history.is_mended(name)
    if broken or name.endswith("!") or (name.endswith("?") and attempt == 1):
        raise ValueError(name)


@contextmanager
def attempt(context: TaskContext, name: str) -> Generator[None]:
    """Writes down how it goes, and lets fail what shall fail."""
    what = of(context)
    where = {"batch": context.batch_id or "", "queue": context.queue, "tenant": context.tenant}
    writer().note("started", name, **where, **what)
    try:
        yield
        fail(name, context.attempt)
    except BaseException as error:
        writer().note("ended", name, how="failed" if isinstance(error, ValueError) else "cancelled", **what)
        raise
    writer().note("ended", name, how="done", **what)


@background
async def step(name: str, seconds: float) -> None:
    """Takes its time."""
    with attempt(current_task(), name):
        await asyncio.sleep(seconds)


@background
async def stubborn_step(name: str, seconds: float) -> None:
    """Ends at once when it is cancelled, as if nothing were."""
    with attempt(current_task(), name), suppress(asyncio.CancelledError):
        await asyncio.sleep(seconds)


@background
def step_in_thread(name: str, seconds: float) -> None:
    """Likewise; it returns when it is asked to."""
    context, end = current_task(), time.monotonic() + seconds
    with attempt(context, name):
        while time.monotonic() < end:
            if context.cancel_requested:
                raise InterruptedError
            time.sleep(0.01)


STEPS = (step, step, step, stubborn_step, step_in_thread, step_in_thread)


@background
async def cycle(context: TaskContext, seconds: float) -> None:
    """Of a schedule; its name is that of the schedule and the instant."""
    instant = context.scheduled_for
    with attempt(context, f"{context.schedule_id}@{0 if instant is None else instant.timestamp():.0f}"):
        await asyncio.sleep(seconds)


async def on_task_end(context: TaskContext) -> None:
    """Writes down what Redis has made of an attempt."""
    writer().note("outcome", how=context.outcome, **of(context))


async def work() -> None:
    """A worker with the settings of the environment, until SIGTERM."""
    writer().note("began", "worker", how=REVISION)
    made = TaskProcessorSettings(on_task_failed_delay=None, on_task_end=on_task_end)
    while True:
        try:
            async with TaskProcessor(made) as processor:
                return await stop_on_sigterm(processor)
        except StorageUnavailable:  # the server is away just now
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    from tests.soak import jobs  # under the name by which tasks call it

    sys.exit(asyncio.run(jobs.work()))
