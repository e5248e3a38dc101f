"""Measures streaQ."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import _measure
import _tasks
from streaq import Worker


class Streaq(_measure.AsyncPeer):
    """No results are kept. Many are sent with `enqueue_many`, 1,000 in a call."""

    package = "streaq"
    has_bulk = True
    worker: Worker[None]
    tasks: dict[str, Any]

    def _create(self, url: str) -> Worker[None]:
        self.worker = Worker(redis_url=url, concurrency=100)
        options = {"ttl": 0, "silent": True}
        self.tasks = {name: self.worker.task(name=name, **options)(task) for name, task in _tasks.TASKS.items()}
        return self.worker

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[None]:
        async with self._create(url):
            yield

    async def enqueue(self, task: str, number: int) -> object:
        return await self.tasks[task].enqueue(number, "x")

    async def bulk(self, task: str, numbers: Iterable[int]) -> None:
        left = iter(numbers)
        while some := [self.tasks[task].enqueue(number, "x") for number in islice(left, 1000)]:
            await self.worker.enqueue_many(some)

    async def serve(self, url: str) -> None:
        await self._create(url).run_async()


if __name__ == "__main__":
    _measure.main(Streaq())
