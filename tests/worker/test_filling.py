"""A batch that is filled slowly by a generator that never gives way: it is kept open all the same."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from taskproc import Batch
from tests.conftest import MakeSettings
from tests.faults import jobs
from tests.faults.jobs import JOURNAL
from tests.faults.kit import SECOND, Journal, environment, workers
from tests.kit import process
from tests.unit.batch_kit import job
from tests.worker.kit import MS, ended, processor_of

ROWS = 700
WORKER = """
import asyncio
import taskproc.storage
from tests.faults import jobs

taskproc.storage.OPEN_FOR_MS = 800
asyncio.run(jobs.work())
"""


def slow_rows(batch: Batch) -> Iterator[None]:
    """Its source blocks the event loop, for 2.5 s after the first chunk is sent."""
    for number in range(ROWS):
        batch.enqueue(jobs.run, str(number))
        if number >= 500:
            time.sleep(2.5 / (ROWS - 500))
        yield


async def slow_rows_async(batch: Batch) -> AsyncIterator[None]:
    """Likewise: it never awaits anything."""
    for _ in slow_rows(batch):
        yield


@pytest.fixture
def journal(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    """What the worker process notes."""
    return Journal(tmp_path_factory.mktemp("journal"))


@pytest.mark.parametrize("rows", [slow_rows, slow_rows_async])
async def test_a_batch_of_a_slow_generator_is_kept_open(
    settings: MakeSettings, journal: Journal, monkeypatch: pytest.MonkeyPatch, rows: object
) -> None:
    """Longer than one whose producer has died: all of its tasks run, none is canceled."""
    for module in ("storage", "processor"):
        monkeypatch.setattr(f"taskproc.{module}.OPEN_FOR_MS", 800)
    made = settings(worker_timeout=SECOND, pushback_frequency=100 * MS)
    async with processor_of(made) as tasks:
        with process(WORKER, environment(made) | {JOURNAL: str(journal.path)}) as working:
            await workers(tasks, 1)
            await asyncio.sleep(1)  # for so long nobody is blamed
            batch_id = await tasks.enqueue_batch(None, None, rows)  # type: ignore[arg-type]
            outcome = await ended(tasks, batch_id, 15)
            working.terminate()
    assert (outcome.state, outcome.done, outcome.total) == ("done", ROWS, ROWS)


def few(batch: Batch) -> Iterator[None]:
    """Too few for a chunk: nothing is sent before the end, which comes after 0.8 s."""
    for number in range(400):
        batch.enqueue(job, number)
        time.sleep(0.002)
        yield


async def test_the_loop_has_its_turns_while_a_batch_is_filled(settings: MakeSettings) -> None:
    """What else runs in it waits for some hundredths of a second, not for all the rows."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - before)

    async with processor_of(settings()) as tasks:
        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)
        batch_id = await tasks.enqueue_batch(None, None, few)
        watching.cancel()
        await tasks.cancel_batch(batch_id)
        assert (await ended(tasks, batch_id)).total == 400
    assert 0 < longest < 0.3
