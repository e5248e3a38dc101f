"""Runs what there is to run, and returns when nothing is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from taskproc.options import milliseconds
from taskproc.testing.inside import check_loop, keys_of, run_script
from taskproc.testing.report import Recorder, Report, recording
from taskproc.testing.sent import enqueued

if TYPE_CHECKING:
    from taskproc.processor import TaskProcessor

__all__ = ["NOTHING", "NotIdle", "run_until_idle"]

LOOK_EVERY = 0.01  # seconds
MOST_EXPLAINED = 5
NOTHING = timedelta(0)


class NotIdle(AssertionError):
    """There was still something to do when the time was over; the message says what, and why it did not run."""


async def run_until_idle(
    processor: TaskProcessor,
    *,
    seconds: float = 10,
    queues: Sequence[str] | None = None,
    due_within: timedelta = NOTHING,
    raise_failures: bool = True,
) -> Report:
    """Runs a worker until no task is ready or runs, no delay and no schedule is due: what ran, in the order of ending.

    A worker that runs in this processor already, as that of an app's executor, is waited for instead, and reported are
    the attempts that end meanwhile. What falls due later is left alone, unless it does `due_within` a time, which is
    waited for; or `travel` before. `queues` are served instead of those of the settings, and only these have to be
    empty; without it a task in a queue that nobody serves is something left to do.

    NotIdle when something is left after `seconds`: what runs then is cancelled and goes back. TasksFailed when a task
    failed for the last time, unless `raise_failures=False`.
    """
    __tracebackhide__ = True
    check_loop(processor, "run_until_idle")
    wanted = _Wanted(time.monotonic() + seconds, seconds, queues, due_within)
    with recording(processor) as recorder:
        if processor.running:
            await _until_idle(processor, recorder, wanted, None)
        else:
            async with _serving(processor, queues) as worker:
                await _until_idle(processor, recorder, wanted, worker)
    if raise_failures:
        recorder.report.raise_failures()
    return recorder.report


@dataclass(frozen=True, slots=True)
class _Wanted:
    end: float
    seconds: float
    queues: Sequence[str] | None
    due_within: timedelta


@dataclass(frozen=True, slots=True)
class _Left:
    """What there is to do."""

    queues: list[tuple[str, int, int, int]]
    schedules: list[str]
    expired: int

    def __bool__(self) -> bool:
        return any(ready or running or due for _, ready, running, due in self.queues) or bool(
            self.schedules or self.expired
        )

    def __str__(self) -> str:
        lines = [
            f"queue {name}: {ready} ready, {running} running, {due} due" for name, ready, running, due in self.queues
            if ready or running or due
        ]  # fmt: skip
        lines += [f"schedule {id_}: due" for id_ in self.schedules]
        lines += [f"ended batches past their retention: {self.expired}"] if self.expired else []
        return "".join(f"\n  {line}" for line in lines)


async def _until_idle(
    processor: TaskProcessor, recorder: Recorder, wanted: _Wanted, worker: asyncio.Task[None] | None
) -> None:
    __tracebackhide__ = True
    while True:
        left = await _look(processor, wanted)
        if not left and not recorder.open:
            return
        if worker is not None and worker.done():
            await worker  # raises what ended it
            raise NotIdle(f"the worker was stopped while there was something to do:{left}")
        if time.monotonic() > wanted.end:
            raise NotIdle(await _message(processor, recorder, wanted, left))
        await asyncio.sleep(LOOK_EVERY)


async def _look(processor: TaskProcessor, wanted: _Wanted) -> _Left:
    keys = keys_of(processor)
    rows, schedules, expired = await run_script(
        processor,
        "survey",
        [keys.queues, keys.schedules, keys.ended],
        queues=wanted.queues,
        within=milliseconds(wanted.due_within),
        retention=milliseconds(processor.settings.retention),
    )
    queues = sorted((name.decode(), ready, running, due) for name, ready, running, due in rows)
    return _Left(queues, [id_.decode() for id_ in schedules], expired)


async def _message(processor: TaskProcessor, recorder: Recorder, wanted: _Wanted, left: _Left) -> str:
    """What is left, and why."""
    tasks = [task for name, *counts in left.queues if any(counts) for task in await enqueued(processor, queue=name)]
    within = wanted.due_within
    waiting = [task for task in tasks if task.state in ("ready", "leased") or (task.state == "delayed" and within)]
    lines = [f"\n  {task}: {await processor.explain(task.task_id)}" for task in waiting[:MOST_EXPLAINED]]
    ran = f"\nWhat ran:\n  {str(recorder.report).replace(chr(10), chr(10) + '  ')}"
    return f"not idle after {wanted.seconds:g} s:{left or ' hooks of tasks have not ended'}{''.join(lines)}{ran}"


@asynccontextmanager
async def _serving(processor: TaskProcessor, queues: Sequence[str] | None) -> AsyncGenerator[asyncio.Task[None]]:
    """A worker while the block runs; after an error in the block it is not let finish what it runs."""
    with _queues(processor, queues):
        worker = asyncio.create_task(processor.run(), name="taskproc run_until_idle")
        try:
            yield worker
            await processor.stop()
            await worker
        finally:
            await _end(processor, worker)


@contextmanager
def _queues(processor: TaskProcessor, queues: Sequence[str] | None) -> Generator[None]:
    before = processor.settings.queues
    if queues is not None:
        processor.settings.queues = list(queues)
    try:
        yield
    finally:
        processor.settings.queues = before


async def _end(processor: TaskProcessor, worker: asyncio.Task[None]) -> None:
    for _ in range(2):  # asked once it lets running tasks finish; asked again, it hands them back
        worker.cancel()
        await asyncio.sleep(0.01)
    await asyncio.wait([worker])
    await processor.ended()
