"""A worker that stays for long: many tasks later it holds no more than at first. LONG_STAY=1000000 is a million."""

import asyncio
import gc
import os
import threading
from collections.abc import Generator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import redis

from taskproc import Batch, TaskProcessor, background
from taskproc.threads import IDLE_SECONDS
from tests.conftest import MakeSettings
from tests.kit import Server, wait_until
from tests.kit.leaks import assert_no_leaks

TASKS = int(os.environ.get("LONG_STAY", "200000"))
ROUND = 10_000
SOME = 3  # connections come and go
NAMES = 5  # keys that stay: the schema, names that were used
GROWTH = 8 * 1024 * 1024  # bytes, for the allocator's sake


@background
async def nothing(number: int) -> None:
    """Is done at once."""


@background
def nothing_in_thread(number: int) -> None:
    """Likewise, elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What worker and server hold at a time; memory in bytes."""

    memory: int
    used: int
    server: int
    held: dict[str, int]


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def held() -> dict[str, int]:
    """What a leak would show in."""
    return {
        "asyncio tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "files": sum(1 for _ in Path("/proc/self/fd").iterdir()),
    }


def fill(batch: Batch, first: int) -> Generator[None]:
    """One round, some of it in threads."""
    for number in range(first, first + ROUND):
        batch.enqueue(nothing_in_thread if number % 20 == 0 else nothing, number)
        yield


async def is_done(tasks: TaskProcessor, batch_id: str) -> bool:
    """Whether a batch has ended, and perhaps been cleaned up."""
    found = await tasks.get_batch(batch_id)
    return found is None or found.remaining == 0


def seen_by(client: redis.Redis) -> Look:
    """A look at both."""
    gc.collect()
    memory, clients = client.info("memory"), client.info("clients")
    assert isinstance(memory, dict)
    assert isinstance(clients, dict)
    return Look(
        memory=resident(),
        used=int(memory["used_memory"]),
        server=int(memory["used_memory_rss"]),
        held=held() | {"connections": int(clients["connected_clients"])},
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_nothing_grows(settings: MakeSettings) -> None:
    """Neither memory, here or of the server, nor tasks, threads, files and connections; at the end nothing is left."""
    before = held()
    with Server() as server, server.client() as client:
        made = settings(max_workers=50, retention=0, clean_up_frequency=timedelta(seconds=1))
        made.redis = server.url
        looks: list[Look] = []
        async with TaskProcessor(made) as tasks:
            running = asyncio.create_task(tasks.run())
            for first in range(0, TASKS, ROUND):
                batch_id = await tasks.enqueue_batch(None, None, partial(fill, first=first))
                await wait_until(partial(is_done, tasks, batch_id), 120)
                looks.append(seen_by(client))
            await wait_until(lambda: not client.zcard(f"{made.prefix}:ended"), 30, "the end of all batches' retention")
            await tasks.stop()
            await running
        assert_no_leaks(client, made.prefix)
        assert client.dbsize() <= NAMES
    gc.collect()
    await wait_until(lambda: held() == before, IDLE_SECONDS + 10, f"{before}, as before")
    early, late = looks[len(looks) // 4], looks[-1]
    print(f"\n{TASKS} tasks\nfirst quarter: {early}\nlast: {late}")  # noqa: T201
    assert late.memory < early.memory + GROWTH
    assert late.used < early.used + GROWTH
    assert late.server < early.server + GROWTH
    assert all(late.held[what] <= early.held[what] + SOME for what in early.held), (early, late)
