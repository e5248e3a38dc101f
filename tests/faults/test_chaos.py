"""Everything at once, for a while; then peace, and the books must balance."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta

import pytest

from taskproc import Batch, TaskProcessor, TaskProcessorSettings
from tests.conftest import MakeSettings
from tests.faults import jobs
from tests.faults.kit import SECOND, Journal, worker
from tests.worker.kit import ended

SECONDS = 20
BATCHES = 12
SIZE = 60


def fill(batch: Batch, number: int) -> None:
    """Short and longer tasks, in the loop and in threads, and what comes after them."""
    for each in range(SIZE):
        name = f"{number}.{each}"
        if each % 10 == 0:
            batch.enqueue(jobs.sleep, name, 0.3)
        elif each % 10 == 1:
            batch.on(delay=timedelta(seconds=random.uniform(0, 2))).enqueue(jobs.run, name)
        else:
            batch.enqueue(jobs.run, name)
    batch.continue_with(jobs.run, f"{number}.continuation")


@asynccontextmanager
async def worker_trouble(made: TaskProcessorSettings, journal: Journal) -> AsyncGenerator[None]:
    """Three workers, of which one after the other is killed or frozen for a while, until the block is left."""
    with ExitStack() as stack:
        running = [stack.enter_context(worker(made, journal)) for _ in range(3)]

        async def trouble() -> None:
            while True:
                await asyncio.sleep(random.uniform(0.5, 1.5))
                victim = running.pop(0)
                if random.random() < 0.5:
                    victim.freeze()
                    await asyncio.sleep(2)
                    victim.thaw()
                    running.append(victim)
                else:
                    victim.kill()
                    running.append(stack.enter_context(worker(made, journal)))

        troubling = asyncio.create_task(trouble())
        try:
            yield
            assert not troubling.done()
        finally:
            troubling.cancel()
            await asyncio.wait([troubling])
            for each in running:
                each.thaw()
                each.terminate()


@pytest.mark.slow
async def test_after_all_troubles_the_books_balance(settings: MakeSettings, journal: Journal) -> None:
    """Workers are killed and frozen while batches come: each task has run, each batch is done, its continuation ran."""
    made = settings(worker_timeout=SECOND, max_workers=8, max_recoveries=50)
    async with TaskProcessor(made) as tasks:
        batches: list[str] = []
        async with worker_trouble(made, journal):
            for number in range(BATCHES):
                async with tasks.batch(scope=str(number)) as batch:
                    fill(batch, number)
                batches.append(batch.id)
                await asyncio.sleep(SECONDS / BATCHES)
        with worker(made, journal) as last:
            for number, batch_id in enumerate(batches):
                outcome = await ended(tasks, batch_id, 20)
                assert (outcome.total, outcome.done, outcome.failed, outcome.canceled) == (SIZE, SIZE, 0, 0)
                assert outcome.scope == str(number)
            await journal.noted("ends", BATCHES * SIZE // 10)
            last.terminate()
        assert await tasks.get_workers() == []
    ran = set(journal.count("run:1")) | set(journal.count("ends"))
    everything = {f"{number}.{each}" for number in range(BATCHES) for each in range(SIZE)}
    assert ran == everything | {f"{number}.continuation" for number in range(BATCHES)}
