"""The same calls for `def` routes and `def` tasks: they wait in their thread for the event loop to carry them out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, cast

from taskproc.batch import Build, build_now, fill
from taskproc.errors import NotConnected, TaskProcessorError
from taskproc.options import OnOptions, Options

if TYPE_CHECKING:
    from taskproc.batch import Batch
    from taskproc.context import TaskContext
    from taskproc.models import BatchInfo
    from taskproc.processor import TaskProcessor
    from taskproc.upload import Upload

__all__ = ["Blocking", "BlockingContext", "BlockingOn"]

P = ParamSpec("P")
T = TypeVar("T")


class Blocking:
    """Calls a processor from any thread but its event loop's."""

    def __init__(self, processor: TaskProcessor) -> None:
        self.processor = processor

    def enqueue(self, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> str:
        """As `TaskProcessor.enqueue`."""
        return self.wait(self.processor.enqueue(method, *args, **kwargs))

    def on(self, queue: str | None = None, **options: Unpack[OnOptions]) -> BlockingOn:
        """As `TaskProcessor.on`."""
        return BlockingOn(self, Options.said(queue, options))

    def enqueue_batch(self, queue: str | None, tenant: str | None, build: Build, *, scope: str = "") -> str:
        """As `TaskProcessor.enqueue_batch`; a plain `build` runs in this thread."""
        batch, upload = self.processor.new_batch(queue, tenant, scope)
        self._fill(batch, upload, build)
        return batch.id

    def append_batch(self, queue: str | None, tenant: str | None, batch_id: str, build: Build) -> bool:
        """As `TaskProcessor.append_batch`; a plain `build` runs in this thread."""
        batch, upload = self.processor.more_of_batch(queue, tenant, batch_id)
        return self._fill(batch, upload, build)

    def cancel_batch(self, batch_id: str, *, tenant: str | None = None) -> bool:
        """As `TaskProcessor.cancel_batch`."""
        return self.wait(self.processor.cancel_batch(batch_id, tenant=tenant))

    def _fill(self, batch: Batch, upload: Upload, build: Build) -> bool:
        self._loop()
        filled = build_now(batch, build)  # here, in the caller's thread: what it reads may belong to it
        if isinstance(filled, Iterator):
            return self._fill_as_it_goes(batch, upload, cast("Iterator[object]", filled))
        return self.wait(fill(batch, upload, lambda _: filled))

    def _fill_as_it_goes(self, batch: Batch, upload: Upload, filled: Iterator[object]) -> bool:
        try:
            for _ in filled:
                if upload.is_full:
                    self.wait(upload.send_full())
        except BaseException:
            self.wait(upload.abandon())
            raise
        return self.wait(fill(batch, upload, lambda _: None))

    def wait(self, call: Coroutine[Any, Any, T]) -> T:
        """What the coroutine gives, once the processor's event loop has run it."""
        try:
            loop = self._loop()
        except TaskProcessorError:
            call.close()
            raise
        return asyncio.run_coroutine_threadsafe(call, loop).result()

    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = self.processor.loop
        if loop is None:
            raise NotConnected("the processor is not connected: use `blocking` between its start and its end")
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is loop:
            raise TaskProcessorError(
                "`blocking` was called in the event loop, which would wait for itself: await the call itself"
            )
        return loop


@dataclass(frozen=True, slots=True)
class BlockingOn:
    """Options for one task."""

    _blocking: Blocking
    _options: Options

    def enqueue(self, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> str:
        """As `TaskProcessor.enqueue`, with these options."""
        return self._blocking.wait(self._blocking.processor.enqueue_with(self._options, method, args, kwargs))


class BlockingContext(Blocking):
    """What a `def` task asks of its context, and of its processor."""

    def __init__(self, context: TaskContext) -> None:
        super().__init__(context.processor)
        self._context = context

    def extend_lock(self, by: timedelta) -> bool:
        """As `TaskContext.extend_lock`."""
        return self.wait(self._context.extend_lock(by))

    def get_batch(self) -> BatchInfo | None:
        """As `TaskContext.get_batch`."""
        return self.wait(self._context.get_batch())
