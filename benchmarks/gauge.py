"""What every measured program does: it reads clocks and the server's counters, and prints one line of JSON.

A program is called with the server's URL and a JSON object: `{"part": …}`, and that part's options.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis
import uvloop

__all__ = ["Figures", "Gauge", "Part", "at_once", "main", "rate", "until"]

Figures = dict[str, float | str]
Part = Callable[..., Awaitable[Figures]]
"""Measures something: `await part(url, gauge, **options)`."""

SLOW = 1_000  # µs: shorter commands are not looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All counters at one instant, in seconds."""

    own_cpu: float
    server_cpu: float
    round_trips: int
    at: float


class Gauge:
    """Looks at the server from beside the measured program, over a connection of its own."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, protocol=2)
        self._client.config_set("slowlog-log-slower-than", SLOW)
        self._client.config_set("slowlog-max-len", 1000)
        self._client.slowlog_reset()

    def read(self) -> Reading:
        """The counters now."""
        server = self._info()
        own = resource.getrusage(resource.RUSAGE_SELF)
        return Reading(
            own_cpu=own.ru_utime + own.ru_stime,
            server_cpu=server["used_cpu_user"] + server["used_cpu_sys"],
            # Commands, where a server does not count what it read: as many, but for pipelines.
            round_trips=server.get("total_reads_processed", server["total_commands_processed"]),
            at=time.perf_counter(),
        )

    def since(self, before: Reading, count: int) -> Figures:
        """What `count` tasks have cost since then."""
        seconds = time.perf_counter() - before.at
        now = self.read()
        return {
            "per_second": count / seconds,
            "python_us": (now.own_cpu - before.own_cpu) / count * 1e6,
            "server_us": (now.server_cpu - before.server_cpu) / count * 1e6,
            "round_trips": (now.round_trips - before.round_trips - 1) / count,  # the second reading is one
        }

    def memory(self) -> int:
        """Bytes that the server uses, without what it keeps for its clients."""
        said = self._info()
        used: int = said["used_memory"] - said.get("mem_clients_normal", 0)
        return used

    def slowest(self, names: Mapping[str, str]) -> Figures:
        """The longest script so far in milliseconds, and its name; `names` by SHA."""
        entries: Any = self._client.slowlog_get(1000)
        scripts = [each for each in entries if each["command"].upper().startswith(b"EVAL")]
        if not scripts:
            return {"slowest_ms": SLOW / 1000, "slowest": "none took 1 ms"}
        longest = max(scripts, key=lambda each: each["duration"])
        sha = longest["command"].split(b" ")[1].decode()
        return {"slowest_ms": longest["duration"] / 1000, "slowest": names.get(sha, "a script that is being loaded")}

    def _info(self) -> dict[str, Any]:
        said: Any = self._client.info()
        return dict(said)


def main(parts: Mapping[str, Part], names: Mapping[str, str]) -> None:
    """Runs the part that the command line says, and prints its figures."""
    url, options = sys.argv[1], json.loads(sys.argv[2])
    part = parts[options.pop("part")]

    async def measured() -> Figures:
        gauge = Gauge(url)
        return await part(url, gauge, **options) | gauge.slowest(names)

    print(json.dumps(uvloop.run(measured())))


async def rate(count: int, work: Awaitable[object]) -> float:
    """How many a second, when all `count` are done by `work`."""
    start = time.perf_counter()
    await work
    return count / (time.perf_counter() - start)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Returns when the condition holds; not for what is timed."""
    while not await condition():  # noqa: ASYNC110  it is in Redis, where nobody sets an event
        await asyncio.sleep(0.01)


async def at_once(coroutines: int, count: int, call: Callable[[int], Awaitable[object]]) -> None:
    """Awaits `call(0)` … `call(count - 1)`, each coroutine a share of them, one after another."""

    async def share(first: int) -> None:
        for number in range(first, count, coroutines):
            await call(number)

    async with asyncio.TaskGroup() as group:
        for first in range(coroutines):
            group.create_task(share(first))
