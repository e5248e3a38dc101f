"""Measures taskiq with taskiq-redis's stream broker, the one of its brokers that acknowledges."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import _measure
import _tasks
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker


class Taskiq(_measure.AsyncPeer):
    """No results are kept (no result backend). It has no call for many."""

    package = "taskiq"
    broker: RedisStreamBroker
    tasks: dict[str, Any]

    def _create(self, url: str) -> RedisStreamBroker:
        self.broker = RedisStreamBroker(url)
        self.tasks = {name: self.broker.register_task(task, name) for name, task in _tasks.TASKS.items()}
        return self.broker

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[None]:
        await self._create(url).startup()
        yield
        await self.broker.shutdown()

    async def enqueue(self, task: str, number: int) -> object:
        return await self.tasks[task].kiq(number, "x")

    async def serve(self, url: str) -> None:
        # Like `taskiq worker --workers 1 --max-async-tasks 100 --max-prefetch 100 --no-parse`.
        await run_receiver_task(
            self._create(url), max_async_tasks=100, max_prefetch=100, validate_params=False, run_startup=True
        )


if __name__ == "__main__":
    _measure.main(Taskiq())
