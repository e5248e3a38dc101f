"""How far a batch is, live, for those who wait for it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from fastapi import HTTPException
from pydantic import TypeAdapter
from redis.exceptions import RedisError

from taskproc import BatchInfo, InvalidName, TaskProcessor, TaskProcessorError
from taskproc_fastapi.sse import KEEP_ALIVE, STILL_HERE, EventStream, event, server_is_stopping

__all__ = ["BatchProgress", "batch_events"]

TICK, CALM_TICK = 0.25, 1.0  # seconds between two looks, while something changes, and else
CALM_AFTER = 2.0
LOOK_WITHIN = 1.5  # seconds: Redis may be away, and the server may stop meanwhile
MOST_AT_ONCE = 1_000
SPAN = 10.0  # seconds over which the rate is measured
SHORTEST_SPAN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProgress(BatchInfo):
    """The data of each event: a batch as it is, and how fast it goes."""

    rate: float | None
    """Tasks that ended in a second, over the last ten seconds; None at first."""
    seconds_left: float | None
    """Until it has ended at this rate, None while nobody can say."""


async def batch_events(processor: TaskProcessor, batch_id: str, *, tenant: str | None = None) -> EventStream:
    """A response that tells an `EventSource` how a batch goes: what a route returns.

    At once, and after each change, though no more than four times a second, there is an event `progress`, whose data
    are a `BatchProgress` as JSON; when the batch has ended there is an event `end` with the last of them, and nothing
    more. The client should close its `EventSource` then; one that comes again is answered 204, which ends it too.
    Who comes again while the batch runs, is told how it is then.

    HTTPException 404 if there is no such batch, or it is another tenant's (with `tenant`). StorageUnavailable if Redis
    is away at the start; later the stream waits for it. However many watch, each process asks Redis once for all of
    them. Streams end when the client has gone, the processor closes, or uvicorn is told to stop.
    """
    try:
        batch = await processor.get_batch(batch_id, tenant=tenant)
    except InvalidName:
        batch = None
    if batch is None:
        raise HTTPException(404, "no such batch")
    return EventStream(_events(processor, batch), last=None if batch.end is None else _id_of(batch))


def _id_of(batch: BatchInfo) -> str:
    return f"{batch.state}-{batch.total}-{batch.done}-{batch.failed}-{batch.canceled}"


_as_json = TypeAdapter(BatchProgress).dump_json


async def _events(processor: TaskProcessor, batch: BatchInfo) -> AsyncGenerator[bytes]:
    watcher = _watchers.setdefault(processor, _Watcher(processor))
    with watcher.watching(batch) as watched:
        changed, progress = watched.changed, watched.seen_as(batch)
        while not watched.closed:
            is_last = watched.is_gone or progress.end is not None
            yield event("end" if is_last else "progress", _id_of(progress), _as_json(progress))
            if is_last:
                return
            while not await _is_set(changed):
                yield STILL_HERE
            changed, progress = watched.changed, watched.progress


async def _is_set(changed: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(KEEP_ALIVE):
            return await changed.wait()
    except TimeoutError:
        return False


class _Watched:
    """A batch that somebody watches."""

    def __init__(self, batch: BatchInfo) -> None:
        self.viewers = 0
        self.changed = asyncio.Event()
        """Another one after each change."""
        self.is_gone = False
        self.closed = False
        self._ended: deque[tuple[float, int]] = deque()
        self.progress = self._measure(batch)

    def seen_as(self, batch: BatchInfo) -> BatchProgress:
        """For one who has just looked: the others are told at the next look of all."""
        return BatchProgress(**asdict(batch), rate=self.progress.rate, seconds_left=self.progress.seconds_left)

    def tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def update(self, batch: BatchInfo | None) -> bool:
        """Tells those who watch, if there is something new; whether there is."""
        if batch is None:
            self.is_gone = True
            self.tell()
            return True
        progress = self._measure(batch)
        is_new = _id_of(batch) != _id_of(self.progress) or batch.duration != self.progress.duration
        if is_new:
            self.progress = progress
            self.tell()
        return is_new

    def _measure(self, batch: BatchInfo) -> BatchProgress:
        now, ended = time.monotonic(), batch.total - batch.remaining
        self._ended.append((now, ended))
        while now - self._ended[0][0] > SPAN:
            self._ended.popleft()
        since, before = self._ended[0]
        rate = max(ended - before, 0) / (now - since) if now - since >= SHORTEST_SPAN else None
        left = batch.remaining / rate if rate and batch.state == "running" else None
        shown = None if rate is None else round(rate, 2)
        return BatchProgress(**asdict(batch), rate=shown, seconds_left=None if left is None else round(left, 1))


class _Watcher:
    """Looks at all batches of a processor that somebody watches, while there are any."""

    def __init__(self, processor: TaskProcessor) -> None:
        self._processor = processor
        self._watched: dict[str, _Watched] = {}
        self._changed_at = 0.0
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, batch: BatchInfo) -> Generator[_Watched]:
        watched = self._watched.setdefault(batch.id, _Watched(batch))
        watched.viewers += 1
        self._changed_at = time.monotonic()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on(), name="taskproc batch events")
        try:
            yield watched
        finally:
            watched.viewers -= 1
            if not watched.viewers and self._watched.get(batch.id) is watched:
                del self._watched[batch.id]
            if not self._watched:
                self._end()

    async def _look_on(self) -> None:
        try:
            while self._processor.connected and not server_is_stopping():
                if await self._look():
                    self._changed_at = time.monotonic()
                is_calm = time.monotonic() - self._changed_at > CALM_AFTER
                await asyncio.sleep(CALM_TICK if is_calm else TICK)
        finally:
            self._end()
            for watched in self._watched.values():
                watched.closed = True
                watched.tell()

    def _end(self) -> None:
        if _watchers.get(self._processor) is self:  # the next one who comes begins anew
            del _watchers[self._processor]
        if self._looking is not None:
            self._looking.cancel()

    async def _look(self) -> bool:
        ids, found = list(self._watched), dict[str, BatchInfo]()
        try:
            async with asyncio.timeout(LOOK_WITHIN):
                for start in range(0, len(ids), MOST_AT_ONCE):
                    page = await self._processor.get_batches_by_id(ids[start : start + MOST_AT_ONCE])
                    found |= {batch.id: batch for batch in page}
        except (TaskProcessorError, RedisError, OSError):
            return False  # Redis will be back
        changes = [self._watched[id_].update(found.get(id_)) for id_ in ids if id_ in self._watched]
        return any(changes)


_watchers: dict[TaskProcessor, _Watcher] = {}
