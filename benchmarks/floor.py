"""The floor: what the bare protocol costs in Python, with nothing that makes it a product.

Task ids in a list, a hash for each task, leases in a sorted set; one script settles what has ended and leases what is
next. There are no retries, batches, services, cancels, hooks, heartbeats or dead workers. What a full engine has less
than this, measured in the same minute, is the price of its features.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import redis.asyncio

from benchmarks.gauge import Figures, Gauge, at_once, main, rate

LEASE = 300_000  # ms
CHUNK = 500  # tasks stored by one script
LIST, LEASES, TASK = "{floor}:ready", "{floor}:leases", "{floor}:task:"

STORE = """
local names = {}
for position = 2, #ARGV, 2 do
  local id = ARGV[position]
  redis.call('HSET', ARGV[1] .. id, 'd', ARGV[position + 1], 't', 'default', 'q', 'default', 'r', 3, 'a', 0)
  names[#names + 1] = id
end
return redis.call('LPUSH', KEYS[1], unpack(names))
"""

TURN = """
local prefix, slots, ended = ARGV[1], tonumber(ARGV[2]), 4
while ARGV[ended] do
  local id = ARGV[ended]
  if redis.call('HGET', prefix .. id, 'a') == ARGV[ended + 1] then
    redis.call('ZREM', KEYS[2], id)
    redis.call('UNLINK', prefix .. id)
  end
  ended = ended + 2
end
local ids = slots > 0 and redis.call('RPOP', KEYS[1], slots) or {}
local time = redis.call('TIME')
local until_ms = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3]
for position, id in ipairs(ids) do
  redis.call('ZADD', KEYS[2], until_ms, id)
  local attempt = redis.call('HINCRBY', prefix .. id, 'a', 1)
  ids[position] = { id, attempt, redis.call('HGET', prefix .. id, 'd') }
end
return ids
"""

Method = Callable[[int, str], Awaitable[None]]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[str, tuple[int, str]]).decode


async def noop(number: int, text: str) -> None:
    """Does nothing."""


async def nap(number: int, text: str) -> None:  # noqa: ARG001  what the payload has
    """Waits as for a database."""
    await asyncio.sleep(0.01)


METHODS: dict[str, Method] = {"noop": noop, "nap": nap}
KINDS = {"factory", "resource", "async_resource", "noop_def"}
"""Ways in which taskproc runs what is a no-op here."""


class Floor:
    """Producer and worker in one."""

    def __init__(self, url: str) -> None:
        client = redis.asyncio.Redis.from_url(url, protocol=2)
        self._store: Any = client.register_script(STORE)
        self._turn: Any = client.register_script(TURN)
        self.close = client.aclose
        self._running: dict[bytes, asyncio.Task[None]] = {}
        self._ended: list[bytes | int] = []
        self._wake = asyncio.Event()

    async def enqueue(self, method: str, first: int, count: int = 1) -> None:
        """Stores `count` tasks in one round trip."""
        words: list[bytes | str] = [TASK]
        for number in range(first, first + count):
            words += (uuid.uuid4().hex, _encode((method, (number, "x"))))
        await self._store(keys=[LIST], args=words)

    async def fill(self, method: str, count: int) -> None:
        """Stores many, chunk by chunk."""
        for first in range(0, count, CHUNK):
            await self.enqueue(method, first, min(CHUNK, count - first))

    async def drain(self, count: int, slots: int) -> None:
        """Runs `count` tasks, as many at a time as there are slots, and returns when the last one is settled."""
        settled = 0
        while settled < count:
            ended, self._ended = self._ended, []
            words = [TASK, slots - len(self._running), LEASE, *ended]
            fetched = await self._turn(keys=[LIST, LEASES], args=words)
            settled += len(ended) // 2
            for id_, attempt, data in fetched:
                self._running[id_] = asyncio.create_task(self._run(id_, attempt, data))
            if fetched:
                await asyncio.sleep(0)  # lets them end that end at once
            elif not self._ended and self._running:
                self._wake.clear()
                await self._wake.wait()

    async def _run(self, id_: bytes, attempt: int, data: bytes) -> None:
        method, arguments = _decode(data)
        await METHODS[method](*arguments)
        self._ended += (id_, attempt)
        del self._running[id_]
        self._wake.set()


async def enqueue(url: str, gauge: Gauge, *, one: int, concurrent: int, bulk: int) -> Figures:
    """Enqueues per second, and the server's memory for a task."""
    floor = Floor(url)
    await floor.fill("noop", 1)  # connects, and loads the script
    figures: Figures = {
        "one": await rate(one, at_once(1, one, lambda number: floor.enqueue("noop", number))),
        "concurrent": await rate(concurrent, at_once(100, concurrent, lambda number: floor.enqueue("noop", number))),
    }
    before = gauge.memory()
    figures["bulk"] = await rate(bulk, floor.fill("noop", bulk))
    figures["bytes"] = (gauge.memory() - before) / bulk
    await floor.close()
    return figures


async def drain(url: str, gauge: Gauge, *, job: str, count: int) -> Figures:
    """What a task costs from the queue to its end, with 100 slots."""
    floor = Floor(url)
    await floor.fill("noop", 1)
    await floor.drain(1, 100)  # loads the script
    await floor.fill("noop" if job in KINDS else job, count)
    before = gauge.read()
    await floor.drain(count, 100)
    figures = gauge.since(before, count)
    await floor.close()
    return figures


if __name__ == "__main__":
    main({"enqueue": enqueue, "drain": drain}, {})
