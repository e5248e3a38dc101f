"""The processor's own threads for `def` tasks: daemons, so that one which does not end cannot keep the process alive."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Threads"]

_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]
IDLE_SECONDS = 30


class Threads:
    """Runs functions in up to `most` threads, started when needed and ended when idle."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    def submit(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """A future of what the function returns; it sees the caller's context variables."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()
        self._jobs.put((loop, future, lambda: context.run(function)))
        with self._lock:
            if self._idle < self._jobs.qsize() and self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._serve, name=f"taskproc-{self._threads}", daemon=True).start()
        return future

    def _serve(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            try:
                job = self._jobs.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                job = None
            with self._lock:
                self._idle -= 1
                if job is None and self._jobs.empty():
                    self._threads -= 1
                    return
            if job is not None:
                _run(*job)


def _run(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], function: Callable[[], Any]) -> None:
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - it is the future's, not this thread's
        _deliver(loop, future, None, error)
    else:
        _deliver(loop, future, result, None)


def _deliver(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: Any, error: BaseException | None
) -> None:
    def settle() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(_portable(error))

    if not loop.is_closed():  # else nobody waits any more: the process is ending
        loop.call_soon_threadsafe(settle)


def _portable(error: BaseException) -> BaseException:
    if isinstance(error, StopIteration):  # a future cannot carry it
        return RuntimeError("the task raised StopIteration").with_traceback(error.__traceback__)
    return error
