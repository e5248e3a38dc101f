"""Measures docket, which is the distribution pydocket."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta

import _measure
import _tasks
from docket import Docket, Worker


class Pydocket(_measure.AsyncPeer):
    """Nothing is kept of tasks that have run (execution_ttl=0). Many are sent with `add_many`."""

    package = "pydocket"
    has_bulk = True
    docket: Docket

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[None]:
        async with Docket(name="bench", url=url, execution_ttl=timedelta(0)) as self.docket:
            for name, task in _tasks.TASKS.items():
                self.docket.register(task, names=[name])
            yield

    async def enqueue(self, task: str, number: int) -> object:
        return await self.docket.add(_tasks.TASKS[task])(number, "x")

    async def bulk(self, task: str, numbers: Iterable[int]) -> None:
        function = _tasks.TASKS[task]
        await self.docket.add_many(self.docket.call(function)(number, "x") for number in numbers)

    async def serve(self, url: str) -> None:
        # A worker whose slots are full looks for free ones every `minimum_check_interval`: 250 ms unless told so.
        often = timedelta(milliseconds=1)
        # redis-py gives out 100 connections, which is one too few for 100 slots.
        async with (
            self.connected(f"{url}?max_connections=200"),
            Worker(self.docket, concurrency=100, minimum_check_interval=often) as worker,
        ):
            await worker.run_forever()


if __name__ == "__main__":
    _measure.main(Pydocket())
