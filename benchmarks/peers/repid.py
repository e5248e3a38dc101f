"""Measures Repid on its Redis server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import _measure
import _tasks
from repid import RedisServer, Repid, Router

CHANNEL = "bench"


class OnRepid(_measure.AsyncPeer):
    """It has no results, and no call for many."""

    package = "repid"
    app: Repid

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[None]:
        self.app = Repid(title="bench")
        server = RedisServer(url, batch_size=100)  # of 10: as many as there are slots
        self.app.servers.register_server("default", server, is_default=True)
        async with server.connection():
            yield

    async def enqueue(self, task: str, number: int) -> object:
        payload = {"number": number, "text": "x"}
        return await self.app.send_message_json(channel=CHANNEL, payload=payload, headers={"topic": task})

    async def serve(self, url: str) -> None:
        async with self.connected(url):
            router = Router()
            for name, task in _tasks.TASKS.items():
                router.actor(name=name, channel=CHANNEL)(task)
            self.app.include_router(router)
            await self.app.run_worker(tasks_limit=100)


if __name__ == "__main__":
    _measure.main(OnRepid())
