"""A batch that is sent in parts: its producer dies between them, or takes its time."""

import asyncio
from contextlib import AbstractContextManager

import pytest

from taskproc import TaskProcessor, TaskProcessorSettings
from tests.conftest import MakeSettings
from tests.faults.jobs import JOURNAL
from tests.faults.kit import SECOND, Journal, environment
from tests.kit import Process, process, wait_until
from tests.worker.kit import MS, ended

PRODUCER = """
import asyncio, os, signal, sys
import taskproc, taskproc.processor, taskproc.storage
from tests.faults import jobs

taskproc.storage.OPEN_FOR_MS = taskproc.processor.OPEN_FOR_MS = 1_500

async def main():
    async with taskproc.TaskProcessor(taskproc.TaskProcessorSettings()) as tasks:
        async with tasks.batch() as batch:
            batch.continue_with(jobs.run, "success")
            batch.on(when="canceled").continue_with(jobs.run, "canceled")
            for number in range(3):
                for each in range(100):
                    batch.enqueue(jobs.run, f"{number}.{each}")
                await batch.flush()
            print(batch.id, flush=True)
            if sys.argv[1] == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.sleep(3.5)

asyncio.run(main())
"""

WORKER = """
import asyncio
import taskproc.storage
from tests.faults import jobs

taskproc.storage.OPEN_FOR_MS = 1_500
asyncio.run(jobs.work())
"""


def patient_worker(made: TaskProcessorSettings, journal: Journal) -> AbstractContextManager[Process]:
    """A worker for which a batch stays open as long as for its producer."""
    return process(["-c", WORKER], environment(made) | {JOURNAL: str(journal.path)})


async def test_a_batch_whose_producer_dies_is_canceled(settings: MakeSettings, journal: Journal) -> None:
    """Some of it may have run; it ends as canceled, never as done, and its counters say how much was what."""
    made = settings(worker_timeout=SECOND, pushback_frequency=200 * MS, max_workers=2)
    with patient_worker(made, journal) as working, process(["-c", PRODUCER, "dies"], environment(made)) as producer:
        async with TaskProcessor(made) as tasks:
            batch_id = await _batch_of(producer)
            outcome = await ended(tasks, batch_id, 15)
            await wait_until(lambda: "canceled" in journal.count("run:1"))
            working.terminate()
    assert (outcome.state, outcome.total, outcome.failed) == ("canceled", 300, 0)
    assert outcome.done + outcome.canceled == 300
    assert sum("." in name for name in journal.count("run:1")) == outcome.done
    assert "success" not in journal.count("run:1")


@pytest.mark.slow
async def test_a_slow_producer_keeps_its_batch_open(settings: MakeSettings, journal: Journal) -> None:
    """For as long as it lives, longer than a dead one's is kept; then the batch ends as done."""
    made = settings(worker_timeout=SECOND, pushback_frequency=200 * MS)
    with patient_worker(made, journal) as working, process(["-c", PRODUCER, "lives"], environment(made)) as producer:
        async with TaskProcessor(made) as tasks:
            batch_id = await _batch_of(producer)
            await journal.noted("run:1", 300)
            assert producer.running
            halfway = await tasks.get_batch(batch_id)
            outcome = await ended(tasks, batch_id, 15)
            await wait_until(lambda: "success" in journal.count("run:1"))
            assert await asyncio.to_thread(producer.wait) == 0
            working.terminate()
    assert halfway is not None
    assert (halfway.state, halfway.done) == ("running", 300)
    assert (outcome.state, outcome.done, outcome.total) == ("done", 300, 300)


async def _batch_of(producer: Process) -> str:
    """The id that the producer has printed, once its parts are sent."""
    return (await wait_until(lambda: producer.log.partition("\n")[0], 10)).strip()
