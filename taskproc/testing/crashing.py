"""Workers that die, and calls that fail, when a test wants them to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from taskproc.context import current_task, is_below_task_of
from taskproc.errors import ConfigurationError, WorkerLost
from taskproc.testing.inside import check_loop, keys_of, run_script, worker_id
from taskproc.testing.saying import Reader

if TYPE_CHECKING:
    from taskproc.context import TaskContext
    from taskproc.processor import TaskProcessor

__all__ = ["Trap", "crash", "fail", "lose_worker"]


class Trap:
    """Counts how often a call was caught."""

    def __init__(self, call: str, times: int) -> None:
        self.call = call
        self.times = times
        self.caught = 0
        self.taken = 0
        """Attempts that run now and are to be caught count already."""


@contextmanager
def crash(
    processor: TaskProcessor,
    method: Callable[..., object],
    /,
    *,
    point: Literal["before", "after"] = "after",
    times: int = 1,
) -> Generator[Trap]:
    """While the block runs, the worker is lost (`lose_worker`) at the first `times` attempts to call `method`.

    `before`: the task is leased, nothing of it has run, its scope is not open. `after`: the call has returned and its
    scope is closed, but Redis is not told; so the task runs again, and a second run must do no harm. For a point in the
    middle let a service of the test call `lose_worker`. AssertionError at the end of the block if it was not as often.
    """
    if point not in ("before", "after"):
        raise ConfigurationError(f"crash(point={point!r}): it is 'before' or 'after' the call")

    with _trap(processor, method, times, lambda: lose_worker(processor), after_call=point == "after") as trap:
        yield trap


@contextmanager
def fail(
    processor: TaskProcessor, method: Callable[..., object], error: Exception, /, *, times: int = 1
) -> Generator[Trap]:
    """While the block runs, the first `times` attempts to call `method` raise `error` instead.

    AssertionError at the end of the block if it was not as often.
    """

    async def raise_it() -> None:
        raise error

    with _trap(processor, method, times, raise_it) as trap:
        yield trap


async def lose_worker(processor: TaskProcessor) -> None:
    """Takes the worker of this processor for dead, now: what it runs is not settled, and goes back at once.

    In Redis all is as after a kill: the tasks are taken back, which counts towards `max_recoveries` and not as a
    failure; what they ran to is lost. In this process it is as after a freeze: running coroutines are cancelled, so
    their `finally` blocks do run; threads go on; and the same process is a new worker in a moment, which may run the
    task. Called by a task of the processor, it does not return: the attempt ends here.
    """
    check_loop(processor, "lose_worker")
    await run_script(processor, "lose_worker", [keys_of(processor).workers], worker=worker_id(processor))
    if is_below_task_of(processor):
        ctx = current_task()
        while not ctx.cancel_requested:  # noqa: ASYNC110 - a flag of the worker
            await asyncio.sleep(0.01)
        raise WorkerLost(f"task {ctx.task_id}: its worker was lost, as the test wants")


@contextmanager
def _trap(
    processor: TaskProcessor,
    method: Callable[..., object],
    times: int,
    then: Callable[[], Awaitable[None]],
    *,
    after_call: bool = False,
) -> Generator[Trap]:
    __tracebackhide__ = True
    if times < 1:
        raise ConfigurationError(f"times={times}: once at least")
    trap, inner = Trap(Reader(processor).name(method), times), processor.execute

    async def execute(ctx: TaskContext) -> None:
        if ctx.call != trap.call or trap.taken >= trap.times:
            await inner(ctx)
            return
        trap.taken += 1
        try:
            if after_call:
                await inner(ctx)
        except BaseException:  # by itself, or since its worker was lost for another one
            trap.taken -= 1
            raise
        trap.caught += 1
        await then()

    processor.execute = execute
    try:
        yield trap
    finally:
        processor.execute = inner
    if trap.caught != times:
        raise AssertionError(f"{trap.call} was to be caught {times} times, and was {trap.caught} times: did it run?")
