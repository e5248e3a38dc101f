"""A worker that stays for long: many tasks later it holds no more than at first. LONG_STAY=1000000 is a million."""

import asyncio
import gc
import os
import threading
from collections.abc import Generator
from functools import partial
from pathlib import Path

import pytest

from taskproc import Batch, TaskProcessor, background
from tests.conftest import MakeSettings
from tests.kit import Server, wait_until

TASKS = int(os.environ.get("LONG_STAY", "200000"))
ROUND = 10_000
SOME = 3  # connections come and go
GROWTH = 8 * 1024 * 1024  # bytes, for the allocator's sake


@background
async def nothing(number: int) -> None:
    """Is done at once."""


@background
def nothing_in_thread(number: int) -> None:
    """Likewise, elsewhere."""


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


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_nothing_grows(settings: MakeSettings) -> None:
    """Neither memory here or in the server, nor tasks, threads, files and keys."""
    with Server() as server, server.client() as client:
        made = settings(max_workers=50, retention=0)
        made.redis = server.url
        async with TaskProcessor(made) as tasks:
            running = asyncio.create_task(tasks.run())
            seen: list[tuple[int, int, int, dict[str, int]]] = []
            for first in range(0, TASKS, ROUND):
                batch_id = await tasks.enqueue_batch(None, None, partial(fill, first=first))
                await wait_until(partial(is_done, tasks, batch_id), 120)
                gc.collect()
                memory = client.info("memory")
                seen.append((resident(), int(memory["used_memory"]), client.dbsize(), held()))
            await tasks.stop()
            await running
    early, late = seen[len(seen) // 4], seen[-1]
    batches = 4 * (len(seen) - len(seen) // 4)  # an ended batch has up to four keys until it is cleaned up
    assert late[0] < early[0] + GROWTH
    assert late[1] < early[1] + GROWTH
    assert late[2] <= early[2] + batches
    assert all(late[3][what] <= early[3][what] + SOME for what in early[3]), (early[3], late[3])
