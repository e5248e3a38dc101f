"""Collects the calls of a batch, and sends them whole: up to 500 in one step, more in chunks.

A batch of several chunks cannot end before its last one is there; if that never comes, the batch is canceled.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Unpack, cast, overload

from taskproc.errors import EnqueueError
from taskproc.models import TaskData
from taskproc.options import WHENS, Options, TaskOptions, When
from taskproc.upload import Upload, finish

if TYPE_CHECKING:
    from taskproc.sending import Sender

__all__ = ["Batch", "BatchContext", "BatchOn", "Build", "ContinueOn", "build_now", "fill"]

P = ParamSpec("P")
LONGEST_TURN = 0.01  # seconds that a generator may fill a batch before the event loop has a turn

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
        self._origin = f"{self.id}."

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
        if "tenant" in options:
            raise EnqueueError("on(tenant=…): all tasks of a batch have one tenant, name it where the batch begins")
        queue = self._defaults.queue if queue is None else queue
        said = Options.said(queue, {**options, "tenant": self._defaults.tenant})
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
        self._upload.add(self._sender.call(method, args, kwargs, options, origin=self._origin))

    def collect_data(self, task: TaskData, options: Options) -> None:
        """Adds a task that is not a method call, with all options said."""
        self._upload.add(self._sender.data(task, options, origin=self._origin))

    def collect_continuation(
        self, when: When, method: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
    ) -> None:
        """Adds a continuation, with all options said."""
        self._upload.add_continuation(
            self._sender.continuation(when, method, args, kwargs, options, origin=self._origin)
        )


class BatchContext:
    """`async with tasks.batch(…) as batch`: sends the batch at its end; after an exception nothing of it runs."""

    def __init__(self, batch: Batch, upload: Upload) -> None:
        self._batch = batch
        self._upload = upload
        self._traced = upload.traced()

    async def __aenter__(self) -> Batch:
        self._traced.__enter__()
        return self._batch

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """For those who forget to enter it."""
            raise AttributeError(f"{name!r} is of the batch inside: write `async with tasks.batch(…) as batch:`")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await finish(self._upload)
            else:
                await asyncio.shield(self._upload.abandon())
        except BaseException as failure:
            self._traced.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._traced.__exit__(kind, error, trace)


async def fill(batch: Batch, upload: Upload, build: Build) -> bool:
    """Lets `build` fill the batch and sends it. False as for `Upload.finish`."""
    with upload.traced():
        return await _fill(batch, upload, build)


async def _fill(batch: Batch, upload: Upload, build: Build) -> bool:
    try:
        filled = build_now(batch, build)
        if inspect.isawaitable(filled):
            await filled
        elif isinstance(filled, AsyncIterator):
            pause = _Pause()
            async for _ in cast("AsyncIterator[object]", filled):
                await upload.send_full()
                await pause.if_due()
        elif isinstance(filled, Iterator):
            pause = _Pause()
            for _ in cast("Iterator[object]", filled):
                await upload.send_full()
                await pause.if_due()
    except BaseException:
        await asyncio.shield(upload.abandon())
        raise
    return await finish(upload)


class _Pause:
    """Lets the event loop do other things now and then: among them, to tell Redis that the batch is still sent."""

    def __init__(self) -> None:
        self._next = time.monotonic() + LONGEST_TURN

    async def if_due(self) -> None:
        if time.monotonic() >= self._next:
            await asyncio.sleep(0)
            self._next = time.monotonic() + LONGEST_TURN


def build_now(batch: Batch, build: Build) -> object:
    """What `build` returns; it may be something that still fills the batch."""
    if callable(build):
        return build(batch)
    for task in build:
        batch.enqueue_task(task)
    return None
