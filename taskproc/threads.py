"""The processor's own threads for `def` tasks: daemons, so that one which does not end keeps no process alive."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Threads", "jobs_in_threads"]

IDLE_SECONDS = 30

_contexts: dict[int, contextvars.Context] = {}


def jobs_in_threads() -> Mapping[int, contextvars.Context]:
    """Of each thread that runs a job now, by its identifier: the context variables that the job sees."""
    return _contexts.copy()


class Threads:
    """Runs functions in up to `most` threads, started when needed and ended when idle."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._unfinished = 0
        """Jobs that wait or run: no more than there are threads, unless those are all that there may be."""

    def submit(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """A future of what the function returns; it sees the caller's context variables."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()
        job = _Job(loop=loop, future=future, context=context, function=function)
        with self._lock:
            if self._unfinished >= self._threads and self._threads < self._most:
                threading.Thread(target=self._serve, name=f"taskproc-{self._threads + 1}", daemon=True).start()
                self._threads += 1
            self._unfinished += 1
            self._jobs.put(job)
        return future

    def _serve(self) -> None:
        while self._serve_one():
            pass

    def _serve_one(self) -> bool:
        """Runs a job, and keeps nothing of it. False: there was none for long, and the thread may end."""
        try:
            job = self._jobs.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            return self._is_needed()
        job.run()
        with self._lock:
            self._unfinished -= 1
        return True

    def _is_needed(self) -> bool:
        with self._lock:
            if self._unfinished >= self._threads:  # a job has come just now
                return True
            self._threads -= 1
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    context: contextvars.Context
    function: Callable[[], Any]

    def run(self) -> None:
        try:
            result = self._call()
        except BaseException as error:  # noqa: BLE001 - it is the future's, not this thread's
            self._deliver(None, error)
        else:
            self._deliver(result, None)

    def _call(self) -> Any:
        thread = threading.get_ident()
        _contexts[thread] = self.context
        try:
            return self.context.run(self.function)
        finally:
            del _contexts[thread]

    def _deliver(self, result: Any, error: BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more, the process is ending
            self.loop.call_soon_threadsafe(_settle, self.future, result, error)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(_portable(error))


def _portable(error: BaseException) -> BaseException:
    if not isinstance(error, StopIteration):
        return error
    portable = RuntimeError("the task raised StopIteration")  # a future cannot carry that one
    portable.__cause__ = error
    return portable
