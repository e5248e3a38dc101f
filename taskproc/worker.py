"""Runs tasks in this process: hands in what has ended and fetches as much as slots are free, in one round trip."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
import uuid
from importlib.metadata import version
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from taskproc.attempts import Attempts, Pending, deliver
from taskproc.errors import StorageUnavailable, TaskProcessorError
from taskproc.failure import log_error, message_of, one_line
from taskproc.health import VitalSigns
from taskproc.heartbeat import MOST_CANCELS, Heartbeat
from taskproc.listener import Events, WakeTokens
from taskproc.maintenance import Maintenance
from taskproc.recorder import Recorder
from taskproc.records import Request
from taskproc.scheduler import Scheduler
from taskproc.stacks import Stacks
from taskproc.supervised import Duties

if TYPE_CHECKING:
    from taskproc.connection import Connection
    from taskproc.looking import Looking
    from taskproc.processor import TaskProcessor
    from taskproc.schedules import Schedules
    from taskproc.storage import Exchange, Storage

__all__ = ["Worker"]

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 250  # tasks fetched, and attempts settled, by one script
SPREAD = 0.02  # seconds: idle workers do not all look at the very instant when a task falls due
EVENTS_WITHIN = 2.0  # seconds to wait for the event channel before the first fetch


class Worker:
    """One worker: `run()` until `stop()`."""

    def __init__(
        self,
        processor: TaskProcessor,
        connection: Connection,
        storage: Storage,
        looking: Looking,
        schedules: Schedules,
    ) -> None:
        self._storage = storage
        self._settings = processor.settings
        self._loop = asyncio.get_running_loop()
        self.id = uuid.uuid4().hex[:16]
        self._nonce = self._known = 0
        self._most = min((self._settings.max_workers + 1) // 2, MOST_AT_ONCE)
        """Tasks fetched at once: no more than half, so that the others run while Redis looks for these."""
        self._timeout = int(self._settings.worker_timeout.total_seconds() * 1000)
        self._base = self._settings.base_frequency.total_seconds()
        self._dues: dict[str, int] = {}
        self._asked_at = 0.0
        self.signs = VitalSigns()
        self._signal = asyncio.Event()  # ends the main loop's wait: to look, or to wait anew with another time
        self._look = False
        self._hungry = asyncio.Event()  # set: there are free slots and nothing is ready
        self._canceling = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._stopping = False
        self._told = asyncio.Event()  # set: it ends because it was told to, not because its event loop ends
        self._give_up_at: float | None = None
        self._again = self._unsure = self._unknown = False
        self._tokens = WakeTokens(connection, storage.keys, self._settings.queues, self._base)
        self._events = Events(connection, storage.keys, self)
        self._recorder = Recorder(storage)
        self._attempts = Attempts(processor, storage, self._wake_up, [self._recorder, *processor.observers])
        beating = (self._timeout / 1000, self._beat_answered, self.signs)
        self._heartbeat = Heartbeat(connection, storage.keys, *beating, stacks=Stacks(self._attempts))
        self._maintenance = Maintenance(processor, storage, looking, self.signs)
        self._scheduler = Scheduler(self._settings, storage, schedules)

    # Life

    async def run(self) -> None:
        """Serves the queues until `stop()`, and returns when nothing of it is left in Redis."""
        hearing = Duties({"events": self._events.follow, "cancels": self._follow_cancels})
        try:
            await self._subscribe_and_register()
            await self._serve()
        finally:
            self._heartbeat.stop()
            await hearing.end()
            await self._events.close()

    async def _serve(self) -> None:
        listening = Duties({"wake tokens": self._listen})
        others = {"deadlines": self._attempts.watch, "schedules": self._scheduler.run, "statistics": self._recorder.run}
        duties = Duties(others | self._maintenance.duties())
        orderly = False
        try:
            await self._work()
            orderly = True
        finally:
            orderly = orderly or self._told.is_set()
            await listening.end()  # first: what is given back below is for others
            await self._tokens.close()
            if orderly:
                await self._leave()
            else:  # perhaps by one of its tasks, which must count as what ends its workers
                logger.error(
                    "worker %s was ended from outside: what runs goes back when its heartbeat is missed", self.id
                )
            await duties.end()
            await self._maintenance.close()
            await self._attempts.abandon()

    async def _subscribe_and_register(self) -> None:
        try:
            async with asyncio.timeout(EVENTS_WITHIN):
                await self._subscribed.wait()
        except TimeoutError:
            logger.warning("no event channel yet: until there is one, cancels are heard by the heartbeat only")
        while not self._stopping:
            try:
                await self._register()
                break
            except StorageUnavailable as error:  # it was there a moment ago, and will be again
                await self._pause(error)
        self._heartbeat.start(self.id)

    async def _register(self) -> None:
        settings = self._settings
        about = {
            "host": socket.gethostname(), "pid": os.getpid(), "queues": " ".join(settings.queues),
            "slots": settings.max_workers, "version": version("taskproc"),
        }  # fmt: skip
        await self._storage.register(self.id, self._timeout, about)
        if settings.default_queue not in settings.queues:
            logger.warning(
                "default_queue %r is not among the queues that this process serves (%s): tasks that name no queue wait "
                "for another worker",
                settings.default_queue,
                ", ".join(settings.queues),
            )
        logger.info("worker %s serves %s with %d slots", self.id, ", ".join(settings.queues), settings.max_workers)

    def stop(self) -> None:
        """Fetches no more; what runs may end within `shutdown_grace`, the rest is handed back."""
        if not self._stopping:
            self._stopping = True
            self._loop.call_soon(self._told.set)  # not yet: an end of the loop cancels `run()` too, which calls this
            self._give_up_at = time.monotonic() + self._settings.shutdown_grace.total_seconds()
            self._hungry.clear()  # no more tokens
            self._wake_up()

    @property
    def is_stopping(self) -> bool:
        return self._stopping

    def hurry(self) -> None:
        """Hands back at once what still runs."""
        self.stop()
        self._give_up_at = time.monotonic()
        self._wake_up()

    async def _leave(self) -> None:
        try:
            await self._storage.leave(self.id)
        except (RedisError, OSError, TaskProcessorError) as error:
            logger.warning(
                "worker %s could not say goodbye (%s): its tasks go back when its heartbeat is missed",
                self.id,
                one_line(message_of(error)),
            )
        else:
            logger.info("worker %s ended", self.id)
            await self._recorder.close()  # last: it may fail

    # The main loop

    async def _work(self) -> None:
        while not self._is_done():
            try:
                await self._turn()
            except Exception as error:  # noqa: BLE001 - the next turn may succeed
                log_error(logger, error, "worker %s failed and goes on", self.id)
                await asyncio.sleep(0.5)

    def _is_done(self) -> bool:
        if not self._stopping or self._give_up_at is None:
            return False
        now = time.monotonic()
        if now >= self._give_up_at:
            self._attempts.interrupt_all("shutdown")
        return self._attempts.all_ended or now >= self._give_up_at + self._settings.command_timeout.total_seconds()

    async def _turn(self) -> None:
        self.signs.turned_at = time.monotonic()
        self._look = False
        if self._unsure and not await self._resync():
            return
        if self._unknown and not await self._renew():
            return
        pending = self._attempts.take_pending(MOST_AT_ONCE)
        slots = self._free_slots()
        self._again = bool(self._attempts.pending)
        if pending or slots:
            await self._exchange(pending, slots)
        await self._wait()

    def _free_slots(self) -> int:
        if self._stopping:
            return 0
        return max(min(self._settings.max_workers - len(self._attempts), self._most), 0)

    async def _exchange(self, pending: list[Pending], slots: int) -> None:
        self._nonce += 1
        settlements = [one.settlement for one in pending]
        asked_at = self._asked_at = time.monotonic()
        settings = self._settings
        request = Request(
            worker=self.id, nonce=self._nonce, known=self._known, slots=slots,
            queues=settings.queues, max_recoveries=settings.max_recoveries,
        )  # fmt: skip
        try:
            reply = await self._storage.exchange(request, settlements)
        except Exception as error:  # noqa: BLE001 - or an answer that cannot be read: what it leased goes back
            said = one_line(message_of(error))
            logger.warning("worker %s: no answer to a fetch (%s: %s)", self.id, type(error).__name__, said)
            self._unsure = self._again = True
            await self._attempts.settle_again(self.id, pending, self._timeout)
            await asyncio.sleep(0.1)  # an answer that cannot be read comes again
            return
        deliver(pending, reply.settled, None if reply.status in ("gone", "rewound") else request.worker)
        self._attempts.ahead = reply.now / 1000 - time.monotonic()
        self._attempts.start_soon(reply.fetched, asked_at)
        await self._heed(reply, slots)

    async def _heed(self, reply: Exchange, slots: int) -> None:
        """Draws from a reply when to ask again, and what is wrong."""
        self._hungry.clear()
        match reply.status:
            case "ok" | "paused":
                self._known = self._nonce
                if slots:
                    self._plan(reply, slots)
            case "gone":
                self._unknown = self._again = True
            case "silent":
                self._unknown = not await self._storage.beat(self.id, self._timeout)
                self._again = True
            case "late" | "rewound":
                self._unsure = self._again = True

    def _plan(self, reply: Exchange, slots: int) -> None:
        dues = zip(self._settings.queues, reply.dues, strict=False)  # none while paused
        self._dues = {queue: due for queue, due in dues if due is not None}
        if reply.more or len(reply.fetched) == slots:
            self._again = True
        elif reply.status == "ok" and not self._stopping:
            self._hungry.set()

    async def _wait(self) -> None:
        """Until there is something to hand in, a token, an event, or a time has come."""
        while not self._again and not self._look:
            self._signal.clear()
            try:
                async with asyncio.timeout(self._patience()):
                    await self._signal.wait()
            except TimeoutError:
                return
        if not self._again:
            await asyncio.sleep(0)  # lets others end that end now, to be handed in together

    def _wake_up(self) -> None:
        if not self._look:
            self._look = True
            self._signal.set()

    def _patience(self) -> float:
        if self._stopping:
            return 0.1
        if self._free_slots() == 0:
            return self._base  # for nothing, but to show that the loop turns
        now = time.monotonic()
        poll_in = max(self._asked_at + self._base - now, 0.001)
        if not self._dues:
            return poll_in
        due_in = min(self._dues.values()) / 1000 - self._attempts.ahead - now
        return min(max(due_in, 0.001) + random.uniform(0, SPREAD), poll_in)

    # When Redis did not answer, or forgot this worker

    async def _resync(self) -> bool:
        """Compares what this worker holds with what Redis thinks that it holds; False when Redis is away."""
        held = self._attempts.held()
        try:
            alive, lost = await self._storage.resync(self.id, self._nonce, [(id_, token) for id_, token, _ in held])
        except TaskProcessorError as error:
            return await self._pause(error)
        for _, _, run in [held[position] for position in lost]:
            if run is not None:
                run.interrupt("lost", time.monotonic())
        self._unsure = False
        self._known = self._nonce
        self._unknown = self._unknown or not alive
        return True

    async def _pause(self, error: TaskProcessorError) -> bool:
        logger.warning("worker %s: %s", self.id, one_line(message_of(error)))
        await asyncio.sleep(0.2)
        return False

    async def _renew(self) -> bool:
        """Redis does not know this worker any more: its tasks are others' now, and it starts anew under another id."""
        logger.warning("worker %s was taken for dead: it gives up %d running tasks", self.id, len(self._attempts))
        self._attempts.interrupt_all("lost")
        self.id, self._nonce, self._known = uuid.uuid4().hex[:16], 0, 0
        try:
            await self._register()
        except TaskProcessorError as error:
            return await self._pause(error)
        self._heartbeat.continue_as(self.id)
        self._unknown = False
        return True

    def _beat_answered(self, worker: str, canceled: list[str], *, known: bool) -> None:
        """In the heartbeat's thread."""

        def heed() -> None:
            if not known and worker == self.id:
                self._unknown = True
                self._wake_up()
            self._attempts.cancel(canceled)
            if len(canceled) >= MOST_CANCELS:
                self._canceling.set()  # there are more

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(heed)

    # Duties beside the main loop

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
        self._attempts.cancel(await self._storage.canceled())

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
        self._scheduler.on_changed()

    def on_schedule(self) -> None:
        self._scheduler.on_changed()

    def on_due(self, queue: str, due: int) -> None:
        if queue not in self._settings.queues:
            return
        self._dues.pop(queue, None)
        if due:
            self._dues[queue] = due
        self._signal.set()  # the main loop waits anew, without asking Redis
