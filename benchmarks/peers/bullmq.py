"""Measures BullMQ's Python package."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import _measure
import _tasks
from bullmq import Job, Queue, Worker

QUEUE = "bench"
REMOVED = {"removeOnComplete": True}


async def _process(job: Job, _token: str) -> None:
    await _tasks.TASKS[job.name](*job.data)


class Bullmq(_measure.AsyncPeer):
    """Jobs are removed when they have run. Many are sent with `addBulk`, 1,000 in a call."""

    package = "bullmq"
    has_bulk = True
    queue: Queue

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[None]:
        self.queue = Queue(QUEUE, {"connection": url})
        yield
        await self.queue.close()

    async def enqueue(self, task: str, number: int) -> object:
        return await self.queue.add(task, [number, "x"], REMOVED)

    async def bulk(self, task: str, numbers: Iterable[int]) -> None:
        left = iter(numbers)
        jobs: list[dict[str, Any]]
        while jobs := [{"name": task, "data": [number, "x"], "opts": REMOVED} for number in islice(left, 1000)]:
            await self.queue.addBulk(jobs)

    async def serve(self, url: str) -> None:
        self.worker = Worker(QUEUE, _process, {"connection": url, "concurrency": 100})
        await asyncio.Event().wait()


if __name__ == "__main__":
    _measure.main(Bullmq())
