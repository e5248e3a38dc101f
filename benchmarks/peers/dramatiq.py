"""Measures Dramatiq on Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import _measure
import _tasks
import dramatiq
from dramatiq.brokers.redis import RedisBroker


class Dramatiq(_measure.ThreadedPeer):
    """Plain functions in threads, as it runs them best: its asyncio actors hold a thread each all the same.

    It has no results unless asked, and no call for many that does more than send them one by one.
    """

    package = "dramatiq"

    def _create(self, url: str) -> RedisBroker:
        self.broker = RedisBroker(url=url)
        self.actors = {
            name: dramatiq.actor(task, actor_name=name, broker=self.broker) for name, task in _tasks.SYNC_TASKS.items()
        }
        return self.broker

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[None]:
        self._create(url)
        yield
        self.broker.close()
        self.broker.client.connection_pool.disconnect()

    def enqueue(self, task: str, number: int) -> object:
        return self.actors[task].send(number, "x")

    def serve(self, url: str) -> None:
        # Like `dramatiq --processes 1 --threads 100`.
        self.worker = dramatiq.Worker(self._create(url), worker_threads=100)
        self.worker.start()


if __name__ == "__main__":
    _measure.main(Dramatiq())
