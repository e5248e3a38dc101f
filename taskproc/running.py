"""An attempt that runs here: its asyncio task, its lease, and how it is made to end."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from taskproc.attempt import Execute, run_attempt
from taskproc.context import TaskContext
from taskproc.errors import MalformedTask, TaskTimeoutError
from taskproc.outcome import Done, Failed, Interrupted, Outcome
from taskproc.records import Attempt

if TYPE_CHECKING:
    from taskproc.processor import TaskProcessor
    from taskproc.settings import TaskProcessorSettings
    from taskproc.storage import Storage

__all__ = ["Reason", "Running"]

Reason = Literal["canceled", "timeout", "shutdown", "lost"]
"""Why a running attempt is made to end."""

GIVE_UP_AFTER = 1.0
"""Seconds that a cancelled attempt has to end before it is settled without it."""


class Running:
    """The worker's side of one attempt."""

    __slots__ = (
        "asked",
        "attempt",
        "began",
        "ctx",
        "ends_at",
        "given_up_at",
        "handing_in",
        "in_thread",
        "left_behind",
        "reason",
        "settled",
        "storage",
        "task",
        "waited",
    )

    def __init__(self, processor: TaskProcessor, storage: Storage, attempt: Attempt, leased_at: float) -> None:
        self.attempt = attempt
        self.ctx = TaskContext(processor, attempt, self)
        self.storage = storage
        self.ends_at = leased_at + attempt.invisibility / 1000
        self.given_up_at: float | None = None
        self.began: float | None = None
        self.reason: Reason | None = None
        self.settled = False
        """What comes of it is decided, or no longer this worker's to decide."""
        self.handing_in = False
        """It is decided, and about to be handed in."""
        self.left_behind = False
        """It was given up, or lost: whether it ends does not matter any more."""
        self.in_thread = False
        self.asked = False
        """It was asked to end while in a thread: if it returns then, it may not have done all its work."""
        self.task: asyncio.Task[None] | None = None
        self.waited = 0.0
        """Seconds that the task had been ready when this attempt was fetched."""

    @property
    def deadline(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ends_at - time.monotonic())

    @property
    def run_time(self) -> int:
        """Microseconds since the attempt began."""
        return 0 if self.began is None else max(int((time.monotonic() - self.began) * 1_000_000), 1)

    def let_go(self) -> None:
        """It has ended: what holds on to each other does so no more, and is freed without the garbage collector."""
        del self.ctx
        self.task = None

    def is_ending(self) -> bool:
        """It was told to end."""
        return self.reason is not None

    async def extend(self, by: timedelta) -> bool:
        """Extends the lease in Redis and here; False when it is lost."""
        asked = time.monotonic()
        if self.settled or self.reason == "timeout":
            return False
        (held,) = await self.storage.extend([(self.attempt.id, self.attempt.token, int(by.total_seconds() * 1000))])
        if held:
            self.extended_to(asked + by.total_seconds())
        return held

    async def until_end(self, execute: Execute, settings: TaskProcessorSettings) -> Outcome:
        """Runs the attempt in the current asyncio task."""
        self.began = time.monotonic()
        if self.is_ending():
            return Interrupted()
        outcome = await run_attempt(self.ctx, _refuse if self.attempt.damaged else execute, settings)
        if self.task is not None and self.task.cancelling():
            await self._absorb_cancels(self.task)
        return outcome

    async def _absorb_cancels(self, task: asyncio.Task[None]) -> None:
        """Cancels of the call, ours or its own, end with it: they must not hit the hooks and the settle."""
        while task.cancelling():
            task.uncancel()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)  # one that is not delivered yet

    def wants_renewal(self, now: float) -> bool:
        """Whether `auto_extend` is due: when a third of the time has passed."""
        left = self.ends_at - now
        return self.attempt.auto_extend and not self.is_ending() and left < self.attempt.invisibility / 1500

    def extended_to(self, ends_at: float) -> None:
        self.ends_at = max(self.ends_at, ends_at)

    def interrupt(self, reason: Reason, now: float) -> None:
        """Makes the attempt end, once: cancels a coroutine, tells a thread."""
        if self.reason is not None or self.settled:
            return
        self.reason = reason
        self.ctx.cancel_requested = True
        self.asked = self.in_thread
        self.settled = self.left_behind = reason == "lost"
        if reason != "canceled":  # a canceled one keeps its lease until it ends
            self.given_up_at = now if self.in_thread else now + GIVE_UP_AFTER
        if self.task is not None and self.began is not None and not self.in_thread:
            self.task.cancel()

    def expire(self, now: float) -> None:
        """Its time is over."""
        if self.reason is None:
            self.interrupt("timeout", now)
        elif self.given_up_at is None:
            self.given_up_at = now

    def judge(self, outcome: Outcome) -> Outcome:
        """The outcome in the light of why the attempt ended."""
        match self.reason:
            case "timeout":
                return Failed(self._timeout())
            case "canceled" if not isinstance(outcome, Done):
                return Interrupted()
            case "shutdown" if self.asked or not isinstance(outcome, Done):
                return Interrupted()
            case _:
                return outcome

    def verdict(self) -> Outcome:
        """The outcome of an attempt that does not end though it should."""
        return Failed(self._timeout()) if self.reason == "timeout" else Interrupted()

    def _timeout(self) -> TaskTimeoutError:
        return TaskTimeoutError(
            f"it ran longer than its invisibility of {self.attempt.invisibility / 1000:g} s: give it more by "
            "on(invisibility=…), extend_lock() or auto_extend"
        )


async def _refuse(_ctx: TaskContext) -> None:
    raise MalformedTask("its record in Redis is damaged")
