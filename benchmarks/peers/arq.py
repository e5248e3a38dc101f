"""Measures arq."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import _measure
import _tasks
from arq import create_pool, func
from arq.connections import ArqRedis, RedisSettings
from arq.worker import Worker


def _with_context(task: Callable[[int, str], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def run(_context: dict[str, Any], number: int, text: str) -> None:
        await task(number, text)

    return run


class Arq(_measure.AsyncPeer):
    """No results are kept. It has no call for many."""

    package = "arq"
    pool: ArqRedis

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[None]:
        self.pool = await create_pool(RedisSettings.from_dsn(url))
        yield
        await self.pool.aclose()

    async def enqueue(self, task: str, number: int) -> object:
        return await self.pool.enqueue_job(task, number, "x")

    async def serve(self, url: str) -> None:
        functions = [func(_with_context(task), name=name, keep_result=0) for name, task in _tasks.TASKS.items()]
        # It looks for tasks every `poll_delay`: 0.5 s unless told otherwise, which would be all that is measured.
        # Less than 5 ms gains nothing.
        worker = Worker(functions, redis_settings=RedisSettings.from_dsn(url), max_jobs=100, poll_delay=0.005)
        await worker.async_run()


if __name__ == "__main__":
    _measure.main(Arq())
