"""Under load, while connections are cut and scripts forgotten: everything runs, and counts once."""

import asyncio
from collections import Counter
from datetime import timedelta

import redis

from taskproc import TaskProcessor
from tests.conftest import MakeSettings
from tests.faults.kit import meanwhile
from tests.worker.kit import Jobs, ended, working


async def load(tasks: TaskProcessor, jobs: Jobs, count: int) -> list[str]:
    """A batch in parts, one in one piece and single tasks; the ids of the batches."""
    async with tasks.batch() as parts:
        for number in range(count):
            parts.enqueue(jobs.note, f"part {number}")
            if number % 20 == 0:
                await parts.flush()
    async with tasks.batch() as whole:
        for number in range(count):
            whole.enqueue(jobs.note_in_thread, f"whole {number}")
    for number in range(count):
        await tasks.enqueue(jobs.note, f"single {number}")
    return [parts.id, whole.id]


async def run_under_load(settings: MakeSettings, jobs: Jobs, count: int) -> None:
    """Two workers and a producer: all that was sent has run, and the batches have counted it. Only a single task whose
    enqueue was repeated after it had ended may run again.
    """
    made = settings(max_workers=5, base_frequency=timedelta(seconds=1), retries=1)
    async with working(made, jobs) as first, working(made, jobs) as second:
        batches = await load(first, jobs, count)
        for batch_id in batches:
            outcome = await ended(second, batch_id, 30)
            assert (outcome.total, outcome.done) == (count, count)
        await jobs.noted(*(f"single {number}" for number in range(count)), seconds=30)
        await asyncio.sleep(0.1)
    assert len(set(jobs.notes)) == 3 * count
    twice = [word for word, times in Counter(jobs.notes).items() if times > 1]
    assert all(word.startswith("single") for word in twice)


async def test_scripts_are_forgotten_again_and_again(settings: MakeSettings, client: redis.Redis) -> None:
    """SCRIPT FLUSH every 10 ms: they are sent again, and each batch counts right."""
    jobs = Jobs()
    async with meanwhile(client.script_flush, every=0.01):
        await run_under_load(settings, jobs, 1_500)


async def test_connections_are_cut_again_and_again(settings: MakeSettings, client: redis.Redis) -> None:
    """All connections, those of subscribers too, are killed every 50 ms; each batch counts right."""
    jobs = Jobs()

    def cut() -> None:
        for kind in ("normal", "pubsub"):
            client.client_kill_filter(_type=kind, skipme=True)

    async with meanwhile(cut, every=0.05):
        await run_under_load(settings, jobs, 1_500)
