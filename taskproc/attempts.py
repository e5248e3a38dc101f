"""The attempts that run in this process: started when fetched, ended when they must, kept until they are handed in."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextvars import Context
from datetime import timedelta
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from taskproc.attempt import settlement_of
from taskproc.context import TaskContext, enter
from taskproc.errors import TaskProcessorError
from taskproc.failure import log_error, message_of, one_line
from taskproc.hooks import call_hook
from taskproc.lag import Lag
from taskproc.options import milliseconds
from taskproc.outcome import Done, Failed, Interrupted, Outcome, Unfinished
from taskproc.records import Attempt, Settled, Settlement
from taskproc.running import Reason, Running

if TYPE_CHECKING:
    from taskproc.observing import Observer
    from taskproc.processor import TaskProcessor
    from taskproc.storage import Storage

__all__ = ["Attempts", "Pending", "deliver"]

logger = logging.getLogger(__name__)

WATCH_EVERY = 0.05  # seconds between two looks at the deadlines of what runs
CANCELS_KEPT = 10_000
HANDED_IN_WITHIN = timedelta(seconds=5)

_MEANT: dict[str, Settled] = {"done": "done", "release": "released"}


class Pending:
    """An attempt that has ended and is to be handed in."""

    __slots__ = ("_observers", "attempt", "ends_at", "meant", "repeated", "settled", "settlement", "waited")

    def __init__(
        self,
        settlement: Settlement,
        settled: asyncio.Future[Settled] | None,
        run: Running,
        *,
        meant: Settled,
        observers: Sequence[Observer],
    ) -> None:
        self._observers = observers
        self.attempt = run.attempt
        self.waited = run.waited
        self.settlement = settlement
        self.settled = settled
        self.meant: Settled = meant
        """As what it is settled if it still has its lease."""
        self.ends_at = run.ends_at
        self.repeated = False
        """It was handed in before, and the answer was lost."""

    def deliver(self, settled: Settled, known: str | None) -> None:
        """Tells who waits for it as what the attempt was settled; `known` is a worker that Redis knew after that."""
        if settled == "stale" and self.repeated and self._is_of(known) and self._had_lease():
            settled = self.meant  # the first time
        if self.settled is not None and not self.settled.done():
            self.settled.set_result(settled)
        self._tell_observers(settled)

    def _tell_observers(self, settled: Settled) -> None:
        retried = settled == "failed" and self.settlement.outcome == "retry"
        seconds = self.settlement.us / 1_000_000
        for observer in self._observers:
            try:
                observer.ended(self.attempt, settled, retried=retried, seconds=seconds, waited=self.waited)
            except Exception as error:  # noqa: BLE001 - who looks on changes nothing
                log_error(logger, error, "observer %s raised", type(observer).__name__)

    def _is_of(self, worker: str | None) -> bool:
        return worker is not None and self.settlement.token.startswith(f"{worker}:")

    def _had_lease(self) -> bool:
        """Nobody has taken it from a worker that is not dead; if its time is over, that counts as a failure too."""
        return self.meant == "failed" or time.monotonic() < self.ends_at


def deliver(pending: Sequence[Pending], settled: Sequence[Settled], known: str | None) -> None:
    """Tells each as what it was settled; `known` is the worker that handed it in, if Redis knew it after that."""
    for one, as_ in zip(pending, settled, strict=True):
        one.deliver(as_, known)


class Attempts:
    """What one worker runs; calls `changed()` when a slot is free or something is to be handed in."""

    def __init__(
        self, processor: TaskProcessor, storage: Storage, changed: Callable[[], None], observers: Sequence[Observer]
    ) -> None:
        self._observers = observers
        self._processor = processor
        self._storage = storage
        self._settings = processor.settings
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._running: set[Running] = set()
        self._coming: list[tuple[Attempt, float]] = []
        """Fetched, and when that was asked for; not started yet."""
        self._giving_up: set[asyncio.Task[None]] = set()
        self._canceled: dict[str, float] = {}
        """When a cancel was heard of: of a fetch that was asked for later, Redis has left out what is canceled."""
        self.lag = Lag()
        self.pending: list[Pending] = []
        self.ahead = 0.0
        """Redis's clock less this process's monotonic one, seconds."""

    def __len__(self) -> int:
        """How many slots are taken."""
        return len(self._running) + len(self._coming)

    @property
    def all_ended(self) -> bool:
        """Whether everything is handed in and its hooks have been called, but for what does not end."""
        return (
            not self.pending
            and not self._giving_up
            and not self._coming
            and all(run.left_behind for run in self._running)
        )

    def take_pending(self, most: int) -> list[Pending]:
        """Up to `most` attempts to be handed in, those that ended first."""
        taken, self.pending = self.pending[:most], self.pending[most:]
        return taken

    def held(self) -> list[tuple[str, str, Running | None]]:
        """Id and token of all leases that this worker has, as far as it knows."""
        self._start_coming()
        unsettled = [run for run in self._running if not run.settled or run.handing_in]
        running = [(run.attempt.id, run.attempt.token, run) for run in unsettled]
        return [*running, *((one.settlement.id, one.settlement.token, None) for one in self.pending)]

    def running(self) -> list[Running]:
        """What runs, for any thread: it may have ended a moment later."""
        return list(self._running)

    # From start to end

    def start_soon(self, attempts: Sequence[Attempt], leased_at: float) -> None:
        """Runs these tasks; they take slots at once, and start when the caller has sent what it has to send."""
        self._coming += [(attempt, leased_at) for attempt in attempts]
        self._loop.call_soon(self._start_coming)

    def _start_coming(self) -> None:
        coming, self._coming = self._coming, []
        for attempt, leased_at in coming:
            self._start(attempt, leased_at)

    def _start(self, attempt: Attempt, leased_at: float) -> None:
        """Runs a task in an asyncio task and a contextvars context of its own."""
        ready_since = attempt.ready_since or attempt.enqueued_at
        run = Running(self._processor, self._storage, attempt, leased_at)
        if not attempt.damaged:
            run.waited = max(leased_at + self.ahead - ready_since / 1000, 0)
        self._running.add(run)
        if self._heard_of(attempt.id, leased_at) or self._heard_of(attempt.counted_in, leased_at):
            run.interrupt("canceled", leased_at)
        run.task = self._loop.create_task(self._attend(run), context=Context())

    def _heard_of(self, canceled: str | None, since: float) -> bool:
        return canceled is not None and self._canceled.get(canceled, -math.inf) >= since

    async def _attend(self, run: Running) -> None:
        outcome: Outcome
        try:
            try:
                outcome = await run.until_end(self._processor.attend, self._settings)
            except GeneratorExit as error:  # of a future in user code: it closes all coroutines below this one
                outcome = Failed(error)
            if not run.settled:
                await self._settle(run, run.judge(outcome))
            elif run.reason == "lost":
                await self._after(run.ctx, "released")
        except asyncio.CancelledError:
            if run.handing_in:  # a cancel meant for the call came late: the attempt goes back
                self._hand_in(run, Settlement(id=run.attempt.id, token=run.attempt.token, outcome="release"))
        finally:
            self._running.discard(run)
            self._changed()
            if not run.left_behind:
                run.let_go()

    async def _settle(self, run: Running, outcome: Outcome) -> None:
        run.settled = run.handing_in = True
        if isinstance(outcome, Done):
            attempt = run.attempt
            settlement = Settlement(id=attempt.id, token=attempt.token, outcome="done", us=run.run_time)
        else:
            settlement = await self._ask_hooks(run, outcome)
        settled = self._hand_in(run, settlement)
        if settled is not None:
            await self._after(run.ctx, await settled)

    async def _ask_hooks(self, run: Running, outcome: Unfinished) -> Settlement:
        now = int((time.monotonic() + self.ahead) * 1000)
        if not isinstance(outcome, Interrupted):
            await self._outlast_hooks(run)
        return await settlement_of(run.ctx, run.attempt, outcome, self._settings, us=run.run_time, now=now)

    async def _outlast_hooks(self, run: Running) -> None:
        """A failed attempt keeps its lease while its hooks are asked."""
        needed = 2 * self._settings.hook_timeout + HANDED_IN_WITHIN
        if run.ends_at - time.monotonic() > needed.total_seconds():
            return
        try:
            await self._storage.extend([(run.attempt.id, run.attempt.token, milliseconds(needed))])
        except Exception as error:  # noqa: BLE001 - the attempt is handed in, whatever comes of this
            logger.warning(
                "task %s: its lease could not be extended for its hooks (%s)",
                one_line(run.attempt.id),
                one_line(message_of(error)),
                extra=run.attempt.log_fields,
            )

    def _hand_in(self, run: Running, settlement: Settlement) -> asyncio.Future[Settled] | None:
        settled = None if self._settings.on_task_end is None else self._loop.create_future()
        meant: Settled = "canceled" if run.reason == "canceled" else _MEANT.get(settlement.outcome, "failed")
        self.pending.append(Pending(settlement, settled, run, meant=meant, observers=self._observers))
        run.handing_in = False
        self._changed()
        return settled

    async def _after(self, ctx: TaskContext, settled: Settled) -> None:
        ctx.outcome = "released" if settled == "stale" else settled
        if self._settings.on_task_end is not None:
            await call_hook(self._settings.on_task_end, self._settings.hook_timeout, ctx)

    # When no answer came

    async def settle_again(self, worker: str, pending: list[Pending], patience: int) -> None:
        """Hands in again what may be settled or not; one by one if Redis cannot take one of them."""
        for one in pending:
            one.repeated = True
        try:
            settled = await self._storage.settle(worker, [one.settlement for one in pending]) if pending else []
            known = bool(pending) and await self._storage.beat(worker, patience)
        except TaskProcessorError as error:
            logger.warning("worker %s: %s", worker, one_line(message_of(error)))
            self.pending[:0] = pending
        except RedisError:
            for one in pending:
                await self._settle_alone(worker, one, patience)
        else:
            deliver(pending, settled, worker if known else None)

    async def _settle_alone(self, worker: str, one: Pending, patience: int) -> None:
        try:
            settled = await self._storage.settle(worker, [one.settlement])
            known = await self._storage.beat(worker, patience)
        except TaskProcessorError as error:
            logger.warning("worker %s: %s", worker, one_line(message_of(error)))
            self.pending.append(one)
        except RedisError as error:
            id_ = one_line(one.settlement.id)
            log_error(logger, error, "task %s could not be settled: its data in Redis are damaged", id_)
            one.deliver("stale", None)
        else:
            one.deliver(settled[0], worker if known else None)

    # Ended from outside

    def interrupt_all(self, reason: Reason) -> None:
        """Makes everything end that runs."""
        self._start_coming()
        now = time.monotonic()
        for run in list(self._running):
            run.interrupt(reason, now)

    def cancel(self, ids: list[str]) -> None:
        """Cancels what belongs to these batches, or is one of these tasks, now or when what is being fetched starts."""
        now = time.monotonic()
        self._canceled.update(dict.fromkeys(ids, now))
        while len(self._canceled) > CANCELS_KEPT:
            del self._canceled[next(iter(self._canceled))]
        canceled = set(ids)
        for run in list(self._running) if canceled else ():
            if run.attempt.id in canceled or run.attempt.counted_in in canceled:
                run.interrupt("canceled", now)

    async def watch(self) -> None:
        """Ends attempts whose time is over, gives up those that do not end, renews leases that are to be renewed."""
        self.lag.expect(WATCH_EVERY)
        try:
            await asyncio.sleep(WATCH_EVERY)
        finally:  # who is cancelled is expected no more
            self.lag.arrive()
        now = time.monotonic()
        unsettled = [run for run in self._running if not run.settled]
        for run in unsettled:
            if now >= run.ends_at:
                run.expire(now)
            if run.given_up_at is not None and now >= run.given_up_at:
                self._give_up(run)
        renewed = [run for run in unsettled if run.wants_renewal(now)]
        if renewed:
            await self._renew(renewed, now)

    def _give_up(self, run: Running) -> None:
        """Settles an attempt that does not end; its slot stays taken until it does."""
        id_, call = one_line(run.attempt.id), one_line(run.attempt.call)
        said = "task %s (%s) does not end though it was cancelled"
        logger.warning(said, id_, call, extra=run.attempt.log_fields)

        async def settle() -> None:
            enter(run.ctx)
            await self._settle(run, run.verdict())

        run.settled = run.handing_in = run.left_behind = True
        task = self._loop.create_task(settle(), context=Context())
        self._giving_up.add(task)
        task.add_done_callback(self._giving_up.discard)

    async def _renew(self, runs: list[Running], now: float) -> None:
        leases = [(run.attempt.id, run.attempt.token, run.attempt.invisibility) for run in runs]
        for run, held in zip(runs, await self._storage.extend(leases), strict=True):
            if held:
                run.extended_to(now + run.attempt.invisibility / 1000)
            else:
                run.interrupt("lost", now)

    async def abandon(self) -> None:
        """Leaves behind what does not end: threads go on until the process ends."""
        tasks = [run.task for run in self._running if run.task is not None] + list(self._giving_up)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)
