"""What the attempts of a worker are doing, down to the line: asked by a thread, since the event loop may be blocked."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from types import CoroutineType, FrameType
from typing import TYPE_CHECKING, Any, cast

import msgspec

from taskproc.context import TaskContext, task_in
from taskproc.failure import one_line
from taskproc.frames import (
    MOST_FRAMES,
    MOST_WALKED,
    READ_WITHIN,
    Spot,
    frames_of,
    spot_of,
    waiting_in,
    walk,
    without_lead,
)
from taskproc.models import TaskStack
from taskproc.threads import jobs_in_threads

if TYPE_CHECKING:
    from taskproc.attempts import Attempts
    from taskproc.lag import Lag
    from taskproc.running import Running

__all__ = ["Holder", "Stacks"]

MOST_TASKS = 100
MOST_BYTES = 256_000

_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """What the event loop runs at a moment."""

    spots: list[Spot]
    """Outermost first."""
    ctx: TaskContext | None
    """The attempt that it belongs to, if it belongs to one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    run: Running
    seconds: float
    spots: list[Spot]
    in_thread: bool
    holds_loop: bool


def _all_frames() -> dict[int, FrameType]:
    """The innermost one of each thread."""
    return sys._current_frames()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


class Stacks:
    """Those of one worker; made in its event loop, asked by another thread."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    @property
    def lag(self) -> Lag:
        return self._attempts.lag

    def take(self) -> bytes:
        """Where all that runs is now, packed as `worker_stacks` of `rows.py` reads it."""
        now, late, frames = time.monotonic(), self.lag.late(), _all_frames()
        holder, jobs = self._holder(frames), _jobs(frames)
        runs = sorted(self._attempts.running(), key=lambda run: (not _holds(run, holder), run.began or now))
        taken = [_take(run, holder, jobs, now) for run in runs[:MOST_TASKS]]
        del frames, jobs
        loop = [] if holder is None or any(one.holds_loop for one in taken) else without_lead(holder.spots)
        return _packed(late, loop, taken, len(runs))

    def holder(self) -> Holder | None:
        """What the event loop runs now; None while it waits."""
        return self._holder(_all_frames())

    def _holder(self, frames: dict[int, FrameType]) -> Holder | None:
        if not self._loop.is_running():
            return None
        current, stack = asyncio.current_task(self._loop), walk(frames.get(self._thread))
        own = [place for place, frame in enumerate(stack) if frame is _frame_of(current)]
        callbacks = [place for place, frame in enumerate(stack) if frame.f_code is _CALLS_BACK]
        if not own and not callbacks and len(stack) < MOST_WALKED:  # else both are further out than was walked
            return None
        first = own[0] if own else callbacks[-1] + 1 if callbacks else 0
        ctx = self._task(current, stack[callbacks[-1]] if callbacks else None)
        return Holder(spots=[spot_of(frame) for frame in stack[first:]], ctx=ctx)

    def _task(self, current: asyncio.Task[Any] | None, callback: FrameType | None) -> TaskContext | None:
        """The attempt that a turn of the event loop belongs to: also what it has started beside itself does."""
        if current is not None:
            for run in self._attempts.running():
                if run.task is current:
                    return _context_of_run(run)
        context = _context_of(current, callback)
        return None if context is None else task_in(context)


_CALLS_BACK = asyncio.Handle._run.__code__  # noqa: SLF001
"""The only Python code between asyncio's event loop and what it calls."""


def _frame_of(current: asyncio.Task[Any] | None) -> FrameType | None:
    if current is None or not issubclass(type(current), asyncio.Task):
        return None
    coroutine = cast("Any", asyncio.Task.get_coro(current))
    return coroutine.cr_frame if type(coroutine) is CoroutineType else None


def _context_of(current: asyncio.Task[Any] | None, callback: FrameType | None) -> Context | None:
    """The context variables of a turn. Python 3.11 has no `Task.get_context()`, and no version that of a handle."""
    if current is not None:
        within = gc.get_referents(current)
    else:
        within = [] if callback is None else [getattr(callback.f_locals.get("self"), "_context", None)]
    return next((each for each in within if type(each) is Context), None)


def _jobs(frames: dict[int, FrameType]) -> dict[TaskContext, FrameType]:
    """Of each attempt that runs in a thread, the frame of that."""
    jobs = ((task_in(context), frames.get(thread)) for thread, context in jobs_in_threads().items())
    return {ctx: frame for ctx, frame in jobs if ctx is not None and frame is not None}


def _context_of_run(run: Running) -> TaskContext | None:
    return getattr(run, "ctx", None)  # it may have ended just now


def _holds(run: Running, holder: Holder | None) -> bool:
    return holder is not None and holder.ctx is not None and holder.ctx is _context_of_run(run)


def _take(run: Running, holder: Holder | None, jobs: dict[TaskContext, FrameType], now: float) -> _Taken:
    ctx = _context_of_run(run)
    frame = jobs.get(ctx) if ctx is not None and run.in_thread else None
    if holder is not None and _holds(run, holder):
        spots = holder.spots
    elif frame is not None:
        spots = [spot_of(each) for each in walk(frame)]
    else:
        spots = waiting_in(run.task)
    holds = _holds(run, holder)
    return _Taken(
        run=run,
        seconds=max(round(now - (run.began or now), 3), 0.0),
        spots=without_lead(spots),
        in_thread=frame is not None and not holds,
        holds_loop=holds,
    )


def _packed(late: float, loop: Sequence[Spot], taken: Sequence[_Taken], total: int) -> bytes:
    """Written out, as much as there is room for."""
    read_until, room = time.monotonic() + READ_WITHIN, MOST_BYTES
    shown: list[msgspec.Raw] = []
    for one in taken:
        packed = _encode(_stack_of(one, read_until))
        room -= len(packed)
        if room < 0:
            break
        shown.append(msgspec.Raw(packed))
    return _encode((round(late, 3), frames_of(loop, read_until), shown, total - len(shown)))


def _stack_of(one: _Taken, read_until: float) -> TaskStack:
    attempt = one.run.attempt
    return TaskStack(
        task_id=one_line(attempt.id),
        call=one_line(attempt.call or attempt.topic),
        tenant=one_line(attempt.tenant),
        seconds=one.seconds,
        in_thread=one.in_thread,
        holds_loop=one.holds_loop,
        frames=frames_of(one.spots, read_until),
        left_out=max(len(one.spots) - MOST_FRAMES, 0),
    )
