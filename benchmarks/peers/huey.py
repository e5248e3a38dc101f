"""Measures Huey on Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import _measure
import _tasks
from huey import RedisHuey


class Huey(_measure.ThreadedPeer):
    """Threads, since 100 processes would measure the machine; no results; a blocking read, as it has by default.

    It has no call for many.
    """

    package = "huey"

    def _create(self, url: str) -> RedisHuey:
        # redis-py gives out 100 connections, which is too few for 100 threads and the scheduler.
        self.huey = RedisHuey("bench", url=f"{url}?max_connections=200", results=False)
        self.tasks = {name: self.huey.task(name=name)(task) for name, task in _tasks.SYNC_TASKS.items()}
        return self.huey

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[None]:
        self._create(url)
        yield
        self.huey.storage.pool.disconnect()

    def enqueue(self, task: str, number: int) -> object:
        return self.tasks[task](number, "x")

    def serve(self, url: str) -> None:
        self._create(url).create_consumer(workers=100, worker_type="thread", periodic=False).run()


if __name__ == "__main__":
    _measure.main(Huey())
