"""Runs tasks in this process: hands in what has ended and fetches as much as slots are free, in one round trip."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
import uuid
from collections.abc import Callable
from contextvars import Context
from importlib.metadata import version
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from taskproc.attempt import Execute, run_attempt, settlement_of
from taskproc.context import TaskContext, enter
from taskproc.errors import TaskProcessorError
from taskproc.heartbeat import Heartbeat
from taskproc.hooks import call_hook
from taskproc.listener import Events, WakeTokens
from taskproc.maintenance import Maintenance
from taskproc.outcome import Outcome
from taskproc.records import Attempt, Settled, Settlement
from taskproc.running import Reason, Running
from taskproc.supervised import supervised

if TYPE_CHECKING:
    from taskproc.connection import Connection
    from taskproc.looking import Looking
    from taskproc.processor import TaskProcessor
    from taskproc.storage import Exchange, Storage

__all__ = ["Worker"]

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 500  # tasks fetched, and attempts settled, by one script
WATCH_EVERY = 0.05  # seconds between two looks at the deadlines of what runs
SPREAD = 0.02  # seconds: idle workers do not all look at the very instant when a task falls due
CANCELS_KEPT = 10_000
EVENTS_WITHIN = 2.0  # seconds to wait for the event channel before the first fetch


class Pending:
    """An attempt that has ended and is to be handed in."""

    __slots__ = ("settled", "settlement")

    def __init__(self, settlement: Settlement, settled: asyncio.Future[Settled] | None) -> None:
        self.settlement = settlement
        self.settled = settled


class Worker:
    """One worker: `run()` until `stop()`."""

    def __init__(
        self,
        processor: TaskProcessor,
        connection: Connection,
        storage: Storage,
        looking: Looking,
        execute: Callable[[], Execute],
    ) -> None:
        self._processor = processor
        self._storage = storage
        self._settings = processor.settings
        self._execute = execute
        self.id = uuid.uuid4().hex
        self._nonce = 0
        self._timeout = int(self._settings.worker_timeout.total_seconds() * 1000)
        self._base = self._settings.base_frequency.total_seconds()
        self._running: set[Running] = set()
        self._giving_up: set[asyncio.Task[None]] = set()
        self._pending: list[Pending] = []
        self._dues: dict[str, int] = {}
        self._ahead = 0.0  # Redis's clock less this process's monotonic one, seconds
        self._cancels: dict[str, None] = {}
        self._asked_at = 0.0
        self._signal = asyncio.Event()  # ends the main loop's wait: to look, or to wait anew with another time
        self._look = False
        self._hungry = asyncio.Event()  # set: there are free slots and nothing is ready
        self._canceling = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._stopping = False
        self._give_up_at: float | None = None
        self._again = self._unsure = self._unknown = False
        self._tokens = WakeTokens(connection, storage.keys, self._settings.queues, self._base)
        self._events = Events(connection, storage.keys, self)
        self._heartbeat = Heartbeat(connection, storage.keys, self._timeout / 1000, self._beat_answered)
        self._maintenance = Maintenance(processor, storage, looking)

    # Life

    async def run(self) -> None:
        """Serves the queues until `stop()`, and returns when nothing of it is left in Redis."""
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            events = [group.create_task(supervised("events", self._events.follow))]
            events.append(group.create_task(supervised("cancels", self._follow_cancels)))
            await self._subscribe_and_register()
            duties = [
                group.create_task(supervised("wake tokens", self._listen)),
                group.create_task(supervised("deadlines", self._watch)),
                group.create_task(self._maintenance.run()),
            ]
            try:
                await self._work()
            finally:
                await _end(duties[0])  # the listener first: what is given back now is for others
                await self._tokens.close()
                self._heartbeat.stop()
                await self._leave()
                await _end(*events, *duties, *self._left_behind())
                await self._events.close()

    def _left_behind(self) -> list[asyncio.Task[None]]:
        """Attempts given up that still run: threads go on until the process ends."""
        return [run.task for run in self._running if run.task is not None]

    async def _subscribe_and_register(self) -> None:
        try:
            async with asyncio.timeout(EVENTS_WITHIN):
                await self._subscribed.wait()
        except TimeoutError:
            logger.warning("no event channel yet: until there is one, cancels are heard by the heartbeat only")
        await self._register()
        self._heartbeat.start(self.id)

    async def _register(self) -> None:
        settings = self._settings
        about = {
            "host": socket.gethostname(), "pid": os.getpid(), "queues": " ".join(settings.queues),
            "slots": settings.max_workers, "version": version("taskproc"),
        }  # fmt: skip
        await self._storage.register(self.id, self._timeout, about)
        logger.info("worker %s serves %s with %d slots", self.id, ", ".join(settings.queues), settings.max_workers)

    def stop(self) -> None:
        """Fetches no more; what runs may end within `shutdown_grace`, the rest is handed back."""
        if not self._stopping:
            self._stopping = True
            self._give_up_at = time.monotonic() + self._settings.shutdown_grace.total_seconds()
            self._wake_up()

    async def _leave(self) -> None:
        try:
            await self._storage.leave(self.id)
        except (RedisError, OSError, TaskProcessorError) as error:
            logger.warning(
                "worker %s could not say goodbye (%s): its tasks go back when its heartbeat is missed", self.id, error
            )
        else:
            logger.info("worker %s ended", self.id)

    # The main loop

    async def _work(self) -> None:
        while not self._is_done():
            try:
                await self._turn()
            except Exception:
                logger.exception("worker %s failed and goes on", self.id)
                await asyncio.sleep(0.5)

    def _is_done(self) -> bool:
        if not self._stopping or self._give_up_at is None:
            return False
        now = time.monotonic()
        if now >= self._give_up_at:
            self._interrupt_all("shutdown")
        all_settled = not self._pending and all(run.settled for run in self._running)
        return all_settled or now >= self._give_up_at + self._settings.command_timeout.total_seconds()

    async def _turn(self) -> None:
        self._look = False
        if self._unsure:
            await self._resync()
        if self._unknown:
            await self._renew()
        pending, self._pending = self._pending[:MOST_AT_ONCE], self._pending[MOST_AT_ONCE:]
        slots = self._free_slots()
        self._again = bool(self._pending)
        if pending or slots:
            await self._exchange(pending, slots)
        await self._wait()

    def _free_slots(self) -> int:
        if self._stopping:
            return 0
        return max(min(self._settings.max_workers - len(self._running), MOST_AT_ONCE), 0)

    async def _exchange(self, pending: list[Pending], slots: int) -> None:
        self._nonce += 1
        settlements = [one.settlement for one in pending]
        asked_at = self._asked_at = time.monotonic()
        settings = self._settings
        try:
            reply = await self._storage.exchange(
                self.id, self._nonce, slots, settings.queues, settings.max_recoveries, settlements
            )
        except (RedisError, OSError) as error:
            logger.warning("worker %s: no answer to a fetch (%s: %s)", self.id, type(error).__name__, error)
            self._unsure = self._again = True
            await self._settle_again(pending)
            return
        _deliver(pending, reply.settled)
        self._ahead = reply.now / 1000 - time.monotonic()
        for attempt in reply.fetched:
            self._start(attempt, asked_at)
        if slots:
            await self._heed(reply, slots)

    async def _heed(self, reply: Exchange, slots: int) -> None:
        """Draws from a reply when to ask again."""
        fell_short = len(reply.fetched) < slots
        match reply.status:
            case "ok":
                dues = zip(self._settings.queues, reply.dues, strict=True)
                self._dues = {queue: due for queue, due in dues if due is not None}
                self._again = self._again or reply.more or not fell_short
            case "gone":
                self._unknown = self._again = True
            case "silent":
                self._unknown = not await self._storage.beat(self.id, self._timeout)
                self._again = True
            case "late":
                self._unsure = self._again = True
            case "paused":
                self._dues = {}
        if reply.status == "ok" and fell_short and not reply.more and not self._stopping:
            self._hungry.set()
        else:
            self._hungry.clear()

    async def _wait(self) -> None:
        """Until there is something to hand in, a token, an event, or a time has come."""
        while not self._again and not self._look:
            self._signal.clear()
            try:
                async with asyncio.timeout(self._patience()):
                    await self._signal.wait()
            except TimeoutError:
                return
        await asyncio.sleep(0)  # lets others end that end now, to be handed in together

    def _wake_up(self) -> None:
        self._look = True
        self._signal.set()

    def _patience(self) -> float | None:
        if self._stopping:
            return 0.1
        if self._free_slots() == 0:
            return None
        now = time.monotonic()
        poll_in = max(self._asked_at + self._base - now, 0.001)
        if not self._dues:
            return poll_in
        due_in = min(self._dues.values()) / 1000 - self._ahead - now
        return min(max(due_in, 0.001) + random.uniform(0, SPREAD), poll_in)

    # When Redis did not answer, or forgot this worker

    async def _settle_again(self, pending: list[Pending]) -> None:
        """Hands in again what may or may not have been settled; each on its own if there is one that Redis cannot take."""
        try:
            settled = await self._storage.settle(self.id, [one.settlement for one in pending]) if pending else []
        except TaskProcessorError as error:
            logger.warning("worker %s: %s", self.id, error)
            self._pending = pending + self._pending
        except RedisError:
            for one in pending:
                await self._settle_alone(one)
        else:
            _deliver(pending, settled)

    async def _settle_alone(self, one: Pending) -> None:
        try:
            settled = await self._storage.settle(self.id, [one.settlement])
        except RedisError:
            logger.exception("task %s could not be settled: its data in Redis are damaged", one.settlement.id)
            settled = ["stale"]
        _deliver([one], settled)

    async def _resync(self) -> None:
        """Compares what this worker holds with what Redis thinks that it holds."""
        known = [run for run in self._running if not run.settled or run.handing_in]
        leases = [(run.attempt.id, run.attempt.token) for run in known]
        leases += [(one.settlement.id, one.settlement.token) for one in self._pending]
        try:
            alive, lost = await self._storage.resync(self.id, self._nonce, leases)
        except TaskProcessorError as error:
            logger.warning("worker %s: %s", self.id, error)
            return
        for position in lost:
            if position < len(known):
                known[position].interrupt("lost", time.monotonic())
        self._unsure = False
        self._unknown = self._unknown or not alive

    async def _renew(self) -> None:
        """Redis does not know this worker any more: its tasks are others' now, and it starts anew under another id."""
        logger.warning("worker %s was taken for dead: it gives up %d running tasks", self.id, len(self._running))
        self._interrupt_all("lost")
        self.id, self._nonce = uuid.uuid4().hex, 0
        try:
            await self._register()
        except TaskProcessorError as error:
            logger.warning("worker %s: %s", self.id, error)
            return
        self._heartbeat.continue_as(self.id)
        self._unknown = False

    def _beat_answered(self, worker: str, known: bool, canceled: list[str]) -> None:
        """In the heartbeat's thread."""

        def heed() -> None:
            if not known and worker == self.id:
                self._unknown = True
                self._wake_up()
            self._apply_cancels(canceled)

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(heed)

    # Attempts

    def _start(self, attempt: Attempt, leased_at: float) -> None:
        run = Running(self._processor, self._storage, attempt, leased_at)
        self._running.add(run)
        if attempt.id in self._cancels or attempt.counted_in in self._cancels:
            run.interrupt("canceled", leased_at)
        run.task = self._loop.create_task(self._attend(run), context=Context())

    async def _attend(self, run: Running) -> None:
        try:
            outcome = await run.until_end(self._execute(), self._settings)
            if not run.settled:
                await self._settle(run, run.judge(outcome))
            elif run.reason == "lost":
                await self._after(run.ctx, "released")
        except asyncio.CancelledError:
            if run.handing_in:  # a cancel meant for the call came late: the attempt goes back
                self._hand_in(run, Settlement(id=run.attempt.id, token=run.attempt.token, outcome="release"))
        finally:
            self._running.discard(run)
            self._wake_up()

    async def _settle(self, run: Running, outcome: Outcome) -> None:
        run.settled = run.handing_in = True
        now = int((time.monotonic() + self._ahead) * 1000)
        settlement = await settlement_of(run.ctx, run.attempt, outcome, run.run_time, now, self._settings)
        settled = self._hand_in(run, settlement)
        if settled is not None:
            await self._after(run.ctx, await settled)

    def _hand_in(self, run: Running, settlement: Settlement) -> asyncio.Future[Settled] | None:
        settled = None if self._settings.on_task_end is None else self._loop.create_future()
        self._pending.append(Pending(settlement, settled))
        run.handing_in = False
        self._wake_up()
        return settled

    async def _after(self, ctx: TaskContext, settled: Settled) -> None:
        ctx.outcome = "released" if settled == "stale" else settled
        if self._settings.on_task_end is not None:
            await call_hook(self._settings.on_task_end, self._settings.hook_timeout.total_seconds(), ctx)

    def _interrupt_all(self, reason: Reason) -> None:
        now = time.monotonic()
        for run in list(self._running):
            run.interrupt(reason, now)

    # Duties beside the main loop

    async def _watch(self) -> None:
        """Ends attempts whose time is over, gives up those that do not end, renews leases that are to be renewed."""
        await asyncio.sleep(WATCH_EVERY)
        now = time.monotonic()
        renewed: list[Running] = []
        for run in [run for run in self._running if not run.settled]:
            if now >= run.ends_at:
                run.expire(now)
            elif run.wants_renewal(now):
                renewed.append(run)
            if run.given_up_at is not None and now >= run.given_up_at:
                task = self._loop.create_task(self._give_up(run), context=Context())
                self._giving_up.add(task)
                task.add_done_callback(self._giving_up.discard)
        if renewed:
            await self._renew_leases(renewed, now)

    async def _give_up(self, run: Running) -> None:
        """Settles an attempt that does not end; its slot stays taken until it does."""
        logger.warning("task %s (%s) does not end though it was cancelled", run.attempt.id, run.attempt.call)
        enter(run.ctx)
        if not run.settled:
            await self._settle(run, run.verdict())

    async def _renew_leases(self, runs: list[Running], now: float) -> None:
        held = await self._storage.extend(
            [(run.attempt.id, run.attempt.token, run.attempt.invisibility) for run in runs]
        )
        for run, is_held in zip(runs, held, strict=True):
            if is_held:
                run.extended_to(now + run.attempt.invisibility / 1000)
            else:
                run.interrupt("lost", now)

    async def _listen(self) -> None:
        """Waits for a wake token while this worker has nothing to do; passes it on if that has changed meanwhile."""
        await self._hungry.wait()
        queue = await self._tokens.take()
        if queue is None:
            return
        if self._free_slots():
            self._hungry.clear()
            self._wake_up()
        else:
            await self._storage.wake(queue)

    async def _follow_cancels(self) -> None:
        await self._canceling.wait()
        self._canceling.clear()
        self._apply_cancels(await self._storage.canceled())

    def _apply_cancels(self, ids: list[str]) -> None:
        for id_ in ids:
            self._cancels[id_] = None
        while len(self._cancels) > CANCELS_KEPT:
            del self._cancels[next(iter(self._cancels))]
        canceled = set(ids)
        now = time.monotonic()
        for run in list(self._running) if canceled else ():
            if run.attempt.id in canceled or run.attempt.counted_in in canceled:
                run.interrupt("canceled", now)

    # Events, from the listener

    def on_connected(self) -> None:
        if self._subscribed.is_set():  # the connection was lost before: so may be what Redis knew
            self._unsure = True
            self._wake_up()
        self._canceling.set()
        self._subscribed.set()

    def on_cancel(self) -> None:
        self._canceling.set()

    def on_resume(self) -> None:
        self._wake_up()

    def on_due(self, queue: str, due: int) -> None:
        if queue not in self._settings.queues:
            return
        self._dues.pop(queue, None)
        if due:
            self._dues[queue] = due
        self._signal.set()  # the main loop waits anew, without asking Redis


def _deliver(pending: list[Pending], settled: list[Settled]) -> None:
    for one, as_ in zip(pending, settled, strict=True):
        if one.settled is not None and not one.settled.done():
            one.settled.set_result(as_)


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=1)
