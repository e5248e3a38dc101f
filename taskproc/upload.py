"""Sends a batch, chunk by chunk, and keeps it open while it is sent."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from taskproc.errors import BatchCanceled, EnqueueError, StorageUnavailable, TaskProcessorError
from taskproc.failure import message_of, one_line
from taskproc.records import Chunk
from taskproc.supervised import Duties

if TYPE_CHECKING:
    from taskproc.storage import AddedToBatch, Sending, Storage
    from taskproc.tracing import Tracing

__all__ = ["OpenBatches", "Upload", "finish"]

logger = logging.getLogger(__name__)

MOST_TASKS = 500
MOST_BYTES = 1_000_000
MOST_KEPT_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class _Part:
    """What goes into one chunk. It is sent as it is until it has arrived, under the same name."""

    tasks: list[Sending]
    continuations: list[Sending]
    last: bool


class Upload:
    """Sends one producer's part of a batch."""

    def __init__(
        self,
        storage: Storage,
        open_batches: OpenBatches,
        batch: str,
        tenant: str,
        create: dict[str, str] | None,
        *,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._storage = storage
        self._open = open_batches
        self.batch = batch
        self._tenant = tenant
        self._create = create
        self._producer = "" if create is not None else f"a{uuid.uuid4().hex[:8]}"
        self._one_at_a_time = asyncio.Lock()
        self._sent = 0
        self._part: _Part | None = None  # not known to have arrived
        self._unsure = False  # it may have
        self._closed = False
        self._tasks: deque[Sending] = deque()
        self._bytes = 0  # of the data of these tasks
        self._continuations: deque[Sending] = deque()

    def traced(self) -> AbstractContextManager[None]:
        """While it is filled and sent."""
        queue = "" if self._create is None else self._create["queue"]
        return nullcontext() if self._tracing is None else self._tracing.sending(queue, batch=self.batch)

    @property
    def is_full(self) -> bool:
        """Whether a whole chunk is collected, by number or by size."""
        return len(self._tasks) >= MOST_TASKS or self._bytes >= MOST_BYTES

    def add(self, task: Sending) -> None:
        """Collects a task."""
        self._check_open()
        self._tasks.append(task)
        self._bytes += len(task[1])

    def add_continuation(self, task: Sending) -> None:
        """Collects a continuation."""
        self._check_open()
        self._continuations.append(task)

    async def send_full(self, *, everything: bool = False) -> None:
        """Sends chunks that are full, or everything collected; the batch stays open."""
        self._check_open()
        while self.is_full or (everything and (self._tasks or self._continuations or self._part)):
            if await self._send_next(ending=False) == "refused":
                return

    async def finish(self) -> bool:
        """Sends the rest and seals the batch. False: there is no such batch to append to, or it was canceled before."""
        self._closed = True
        sent = "sent"
        while sent == "sent":
            sent = await self._send_next(ending=True)
        self._open.discard(self._entry)
        return sent == "sealed"

    async def abandon(self) -> None:
        """Cancels a batch of which a part is sent, or may be, and the rest will not be. What goes in one step is there
        as a whole or not at all, and is left alone.
        """
        self._closed = True
        self._open.discard(self._entry)
        if not self._sent and (self._part is None or self._part.last or not self._unsure):
            return
        try:
            await self._storage.cancel_batch(self.batch, self._tenant)
            while await self._storage.cancel_queued(self.batch):
                pass
        except TaskProcessorError as error:
            said = "batch %s is not whole, and could not be canceled now: a worker will do it (%s)"
            logger.warning(said, one_line(self.batch), one_line(message_of(error)))

    def _check_open(self) -> None:
        if self._closed:
            raise EnqueueError(f"batch {self.batch} is sent already: add more to it by append_batch()")

    @property
    def _entry(self) -> str:
        return f"{self.batch}/{self._producer}"

    async def _send_next(self, *, ending: bool) -> Literal["sent", "sealed", "refused"]:
        """Sends one chunk: the one before, if it is not known to have arrived."""
        async with self._one_at_a_time:
            part = self._part = self._part or self._next_part(ending=ending)
            answer = await self._deliver(part)
            if answer != "ok":
                self._refuse(answer)
                return "refused"
            self._part, self._unsure = None, False
            self._sent += 1
            if part.last:
                return "sealed"
            self._open.add(self._entry)
            return "sent"

    async def _deliver(self, part: _Part) -> AddedToBatch:
        before, self._unsure = self._unsure, True
        try:
            return await self._storage.add_to_batch(self._chunk(part), part.tasks, part.continuations)
        except TaskProcessorError as error:
            self._unsure = before or (isinstance(error, StorageUnavailable) and error.maybe_accepted)
            raise

    def _next_part(self, *, ending: bool) -> _Part:
        """Continuations first: they must be there when the batch is canceled before it is whole."""
        continuations = _take(self._continuations, MOST_TASKS, MOST_BYTES)
        room = MOST_BYTES - sum(len(data) for _, data in continuations)
        tasks = _take(self._tasks, MOST_TASKS - len(continuations), room)
        self._bytes -= sum(len(data) for _, data in tasks)
        return _Part(tasks, continuations, ending and not self._tasks and not self._continuations)

    def _chunk(self, part: _Part) -> Chunk:
        return Chunk(
            batch=self.batch,
            tenant=self._tenant,
            name=f"{self._producer}{self._sent}",
            previous=f"{self._producer}{self._sent - 1}" if self._sent else None,
            producer=self._producer,
            create=self._create,
            last=part.last,
        )

    def _refuse(self, answer: Literal["missing", "canceled", "full", "broken"]) -> None:
        """Raises, unless it is an append to a batch that is not there, or canceled."""
        self._part = None  # it is not there: that is certain
        if answer == "full":
            raise EnqueueError(
                f"batch {self.batch} would have more than 100 continuations: let one of them enqueue the others"
            )
        if answer == "broken" or (answer == "missing" and self._sent):
            raise StorageUnavailable(
                f"Redis lost a part of batch {self.batch} that it had accepted (a failover?): the batch is canceled",
                maybe_accepted=True,
                task_id=self.batch,
            )
        if self._sent or self._create is not None:
            raise BatchCanceled(f"batch {self.batch} was canceled while it was sent: not all of its tasks were")


class OpenBatches:
    """Keeps batches that are still being sent from counting as abandoned, for as long as this process lives."""

    def __init__(self, storage: Storage, every: float) -> None:
        self._storage = storage
        self._every = every
        self._entries: set[str] = set()
        self._keeping: Duties | None = None

    def add(self, entry: str) -> None:
        self._entries.add(entry)
        if self._keeping is None:
            self._keeping = Duties({"open batches": self._keep})

    def discard(self, entry: str) -> None:
        self._entries.discard(entry)

    async def _keep(self) -> None:
        await asyncio.sleep(self._every)
        entries = sorted(self._entries)
        for first in range(0, len(entries), MOST_KEPT_AT_ONCE):
            await self._storage.keep_open(entries[first : first + MOST_KEPT_AT_ONCE])

    async def close(self) -> None:
        if self._keeping is not None:
            await self._keeping.end()


async def finish(upload: Upload) -> bool:
    """Sends the rest of a batch; if that fails between two parts, it is canceled."""
    try:
        return await upload.finish()
    except BaseException:
        await asyncio.shield(upload.abandon())
        raise


def _take(sendings: deque[Sending], most: int, most_bytes: int) -> list[Sending]:
    """Removes the first ones, as many as go into one chunk; at least one, if any may."""
    taken: list[Sending] = []
    size = 0
    while sendings and len(taken) < most:
        size += len(sendings[0][1])
        if taken and size > most_bytes:
            break
        taken.append(sendings.popleft())
    return taken
