"""Collects the calls of a batch, and sends them whole: up to 500 in one step, more in chunks.

A batch of several chunks cannot end before its last one is there; if that never comes, the batch is canceled.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Unpack, cast, overload

from taskproc.errors import BatchCanceled, EnqueueError, StorageUnavailable, TaskProcessorError
from taskproc.models import TaskData
from taskproc.options import WHENS, Options, TaskOptions, When
from taskproc.records import Chunk

if TYPE_CHECKING:
    from taskproc.sending import Sender
    from taskproc.storage import Sending, Storage

__all__ = ["Batch", "BatchContext", "BatchOn", "Build", "ContinueOn", "OpenBatches", "Upload", "build_now", "fill"]

P = ParamSpec("P")
logger = logging.getLogger(__name__)

MOST_TASKS = 500
MOST_BYTES = 1_000_000
Build = Callable[["Batch"], object] | Sequence[TaskData]
"""Fills a batch: a function, sync or async, or a generator function, sync or async, whose batch is sent as it goes; or
simply tasks that are not method calls."""


@dataclass(frozen=True, slots=True)
class ContinueOn:
    """Options for a continuation."""

    _batch: Batch
    _options: Options
    _when: When = "success"

    def continue_with(self, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Calls `method` once the batch ends with the awaited outcome; a delay counts from there."""
        self._batch.collect_continuation(self._when, method, args, kwargs, self._options)


@dataclass(frozen=True, slots=True)
class BatchOn(ContinueOn):
    """Options for a task, or for a continuation on success."""

    def enqueue(self, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Adds a task to the batch."""
        self._batch.collect(method, args, kwargs, self._options)

    def enqueue_task(self, task: TaskData) -> None:
        """Adds a task that is not a method call."""
        self._batch.collect_data(task, self._options)


class Batch:
    """What is collected for one batch; nothing is sent before its end, `flush()`, or a `yield` of a generator."""

    def __init__(self, upload: Upload, sender: Sender, queue: str | None, tenant: str) -> None:
        self._upload = upload
        self._sender = sender
        self._defaults = Options(queue=queue, tenant=tenant)
        self.id = upload.batch
        """The batch's id, known from the start."""

    @overload
    def on(self, queue: str | None = None, *, when: None = None, **options: Unpack[TaskOptions]) -> BatchOn: ...
    @overload
    def on(self, queue: str | None = None, *, when: When, **options: Unpack[TaskOptions]) -> ContinueOn: ...
    def on(
        self, queue: str | None = None, *, when: When | None = None, **options: Unpack[TaskOptions]
    ) -> BatchOn | ContinueOn:
        """Options for one task, or with `when` for a continuation: after `success` (of all tasks), `failed` (some are
        dead or discarded), `canceled`, or `complete` (any of these).
        """
        said = Options.said(queue or self._defaults.queue, {**options, "tenant": self._defaults.tenant})
        if when is None:
            return BatchOn(self, said)
        if when not in WHENS:
            raise EnqueueError(f"when={when!r}: a batch ends with one of {', '.join(WHENS)}")
        return ContinueOn(self, said, when)

    def enqueue(self, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Adds a task to the batch; refused calls raise here."""
        self.collect(method, args, kwargs, self._defaults)

    def enqueue_task(self, task: TaskData) -> None:
        """Adds a task that is not a method call."""
        self.collect_data(task, self._defaults)

    def continue_with(self, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Calls `method` once every task of the batch has succeeded."""
        self.collect_continuation("success", method, args, kwargs, self._defaults)

    async def flush(self) -> None:
        """Sends what is collected. Tasks may start; the batch cannot end before its last part is sent."""
        await self._upload.send_full(everything=True)

    def collect(
        self, method: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
    ) -> None:
        """Adds a task, with all options said."""
        self._upload.add(self._sender.call(method, args, kwargs, options))

    def collect_data(self, task: TaskData, options: Options) -> None:
        """Adds a task that is not a method call, with all options said."""
        self._upload.add(self._sender.data(task, options))

    def collect_continuation(
        self, when: When, method: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
    ) -> None:
        """Adds a continuation, with all options said."""
        self._upload.continuations.append(self._sender.continuation(when, method, args, kwargs, options))


class Upload:
    """Sends one producer's part of a batch, chunk by chunk."""

    def __init__(
        self, storage: Storage, open_batches: OpenBatches, batch: str, tenant: str, create: dict[str, str] | None
    ) -> None:
        self._storage = storage
        self._open = open_batches
        self.batch = batch
        self._tenant = tenant
        self._create = create
        self._producer = "" if create is not None else f"a{uuid.uuid4().hex[:8]}"
        self._sent = 0
        self.tasks: deque[Sending] = deque()
        self._bytes = 0  # of the data of these tasks
        self.continuations: deque[Sending] = deque()

    @property
    def has_sent(self) -> bool:
        return self._sent > 0

    @property
    def is_full(self) -> bool:
        """Whether a whole chunk is collected, by number or by size."""
        return len(self.tasks) >= MOST_TASKS or self._bytes >= MOST_BYTES

    def add(self, task: Sending) -> None:
        """Collects a task."""
        self.tasks.append(task)
        self._bytes += len(task[1])

    async def send_full(self, *, everything: bool = False) -> None:
        """Sends chunks that are full, or everything collected; the batch stays open."""
        while self.is_full or (everything and (self.tasks or self.continuations)):
            await self._send(*self._next_chunk(), last=False)

    async def finish(self) -> bool:
        """Sends the rest and seals the batch. False: there is no such batch to append to, or it was canceled before."""
        last = False
        while not last:
            chunk = self._next_chunk()
            last = not self.tasks and not self.continuations
            if not await self._send(*chunk, last=last):
                return False
        self._open.discard(self._entry)
        return True

    async def abandon(self) -> None:
        """Cancels a batch of which a part is sent and the rest will not be."""
        self._open.discard(self._entry)
        if not self.has_sent:
            return
        try:
            await self._storage.cancel_batch(self.batch)
            while await self._storage.cancel_queued(self.batch):
                pass
        except TaskProcessorError as error:
            logger.warning(
                "batch %s is not whole, and could not be canceled now: a worker will do it (%s)", self.batch, error
            )

    @property
    def _entry(self) -> str:
        return f"{self.batch}/{self._producer}"

    def _next_chunk(self) -> tuple[list[Sending], list[Sending]]:
        """Continuations first: they must be there when the batch is canceled before it is whole."""
        continuations = _take(self.continuations, MOST_TASKS, MOST_BYTES)
        room = MOST_BYTES - sum(len(data) for _, data in continuations)
        tasks = _take(self.tasks, MOST_TASKS - len(continuations), room)
        self._bytes -= sum(len(data) for _, data in tasks)
        return tasks, continuations

    async def _send(self, tasks: list[Sending], continuations: list[Sending], *, last: bool) -> bool:
        chunk = Chunk(
            batch=self.batch,
            tenant=self._tenant,
            name=f"{self._producer}{self._sent}",
            previous=f"{self._producer}{self._sent - 1}" if self._sent else None,
            producer=self._producer,
            create=self._create,
            last=last,
        )
        answer = await self._storage.add_to_batch(chunk, tasks, continuations)
        if answer != "ok":
            return self._refused(answer)
        self._sent += 1
        if not last:
            self._open.add(self._entry)
        return True

    def _refused(self, answer: Literal["missing", "canceled", "full", "broken"]) -> bool:
        if answer == "full":
            raise EnqueueError(
                f"batch {self.batch} would have more than 100 continuations: let one of them enqueue the others"
            )
        if answer == "broken" or (answer == "missing" and self.has_sent):
            raise StorageUnavailable(
                f"Redis lost a part of batch {self.batch} that it had accepted (a failover?): the batch is canceled",
                maybe_accepted=True,
                task_id=self.batch,
            )
        if self.has_sent or self._create is not None:
            raise BatchCanceled(f"batch {self.batch} was canceled while it was sent: not all of its tasks were")
        return False


class BatchContext:
    """`async with tasks.batch(…) as batch`: sends the batch at its end; after an exception nothing of it runs."""

    def __init__(self, batch: Batch, upload: Upload) -> None:
        self._batch = batch
        self._upload = upload

    async def __aenter__(self) -> Batch:
        return self._batch

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            await self._upload.abandon()
            return
        await finish(self._upload)


class OpenBatches:
    """Keeps batches that are still being sent from counting as abandoned, for as long as this process lives."""

    def __init__(self, storage: Storage, every: float) -> None:
        self._storage = storage
        self._every = every
        self._entries: set[str] = set()
        self._keeping: asyncio.Task[None] | None = None

    def add(self, entry: str) -> None:
        self._entries.add(entry)
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep())

    def discard(self, entry: str) -> None:
        self._entries.discard(entry)

    async def _keep(self) -> None:
        while self._entries:
            await asyncio.sleep(self._every)
            try:
                await self._storage.keep_open(sorted(self._entries)[:1000])
            except TaskProcessorError as error:
                logger.warning("open batches could not be kept open: %s", error)

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])


async def finish(upload: Upload) -> bool:
    """Sends the rest of a batch; if that fails half-way, it is canceled."""
    try:
        return await upload.finish()
    except BaseException:
        await asyncio.shield(upload.abandon())
        raise


async def fill(batch: Batch, upload: Upload, build: Build) -> bool:
    """Lets `build` fill the batch and sends it. False as for `Upload.finish`."""
    try:
        filled = build_now(batch, build)
        if inspect.isawaitable(filled):
            await filled
        elif isinstance(filled, AsyncIterator):
            async for _ in cast("AsyncIterator[object]", filled):
                await upload.send_full()
        elif isinstance(filled, Iterator):
            for _ in cast("Iterator[object]", filled):
                await upload.send_full()
    except BaseException:
        await asyncio.shield(upload.abandon())
        raise
    return await finish(upload)


def build_now(batch: Batch, build: Build) -> object:
    """What `build` returns; it may be something that still fills the batch."""
    if callable(build):
        return build(batch)
    for task in build:
        batch.enqueue_task(task)
    return None


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
