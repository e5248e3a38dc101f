"""Measures SAQ."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import _measure
import _tasks
from saq import Queue, Worker


def _with_context(task: Callable[[int, str], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def run(_context: Any, *, number: int, text: str) -> None:
        await task(number, text)

    return run


class Saq(_measure.AsyncPeer):
    """No results are kept (ttl=-1). It has no call for many that does more than enqueue them at the same time."""

    package = "saq"
    queue: Queue

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[None]:
        self.queue = Queue.from_url(url, max_concurrent_ops=100)  # of 20, so that 100 senders are 100
        await self.queue.connect()
        yield
        await self.queue.disconnect()

    async def enqueue(self, task: str, number: int) -> object:
        return await self.queue.enqueue(task, number=number, text="x", ttl=-1)

    async def serve(self, url: str) -> None:
        queue = Queue.from_url(url, max_concurrent_ops=100)
        await queue.connect()
        functions = [(name, _with_context(task)) for name, task in _tasks.TASKS.items()]
        await Worker(queue, functions, concurrency=100).start()


if __name__ == "__main__":
    _measure.main(Saq())
