"""Two things at the same moment: whichever is first, the other one makes nothing of it wrong."""

import asyncio
import random
import time

import redis

from taskproc import TaskProcessor
from taskproc.connection import connect
from taskproc.storage import Storage
from tests.conftest import MakeSettings
from tests.faults.kit import SECOND, meanwhile
from tests.kit import wait_until
from tests.worker.kit import MS, Jobs, ended, gone, processor_of, running, working

SEED = 7


async def test_cancels_race_with_the_last_task(settings: MakeSettings) -> None:
    """Of 200 batches each ends as done or as canceled, as its cancel was told, and fires what waits for that."""
    jobs, chance = Jobs(), random.Random(SEED)
    fired: dict[str, str] = {}

    async with working(settings(max_workers=50), jobs) as tasks:

        async def race(number: int) -> bool:
            async with tasks.batch() as batch:
                batch.enqueue(jobs.note, f"{number}")
                batch.on(when="success").continue_with(jobs.note, f"{number} success")
                batch.on(when="canceled").continue_with(jobs.note, f"{number} canceled")
            if number % 2:
                await wait_until(lambda: f"{number}" in jobs.notes)  # it is about to be handed in
            await asyncio.sleep(chance.uniform(0, 0.006))
            canceled = await tasks.cancel_batch(batch.id)
            outcome = await ended(tasks, batch.id, 20)
            assert (outcome.state, outcome.done, outcome.canceled) in [
                ("done", 1, 0),
                ("canceled", 0, 1),
                ("canceled", 1, 0),
            ]
            assert canceled == (outcome.state == "canceled")
            fired[f"{number}"] = "canceled" if canceled else "success"
            return canceled

        canceled = [
            was for first in range(0, 200, 20) for was in await asyncio.gather(*map(race, range(first, first + 20)))
        ]
        await jobs.noted(*(f"{number} {outcome}" for number, outcome in fired.items()), seconds=10)
        await asyncio.sleep(0.1)
    assert 0 < sum(canceled) < 200, "no race"
    continuations = [word for word in jobs.notes if " " in word]
    assert sorted(continuations) == sorted(f"{number} {outcome}" for number, outcome in fired.items())


async def test_nothing_is_taken_back_from_workers_that_live(settings: MakeSettings) -> None:
    """Maintenance in a tight loop beside four fetching workers: each of 2,000 tasks runs once."""
    jobs = Jobs()
    made = settings(max_workers=5, worker_timeout=SECOND)
    connection = await connect(made)
    storage = Storage(connection, made.prefix, 5)
    rounds = 0
    async with working(made, jobs) as tasks, working(made, jobs), working(made, jobs), working(made, jobs):
        await asyncio.sleep(1.5)  # until somebody could be blamed: at first everybody has time to beat
        async with tasks.batch() as batch:
            for number in range(2_000):
                batch.enqueue(jobs.note, f"{number}")

        async def sweep() -> None:
            nonlocal rounds
            while True:
                assert await storage.reap(1_000, 3) == (False, [])
                await storage.tend(["default"], 1_000, deadletter=True, deadletter_unique=True)
                rounds += 1

        sweeping = asyncio.create_task(sweep())
        outcome = await ended(tasks, batch.id, 30)
        assert not sweeping.done()
        sweeping.cancel()
        await asyncio.wait([sweeping])
    await connection.close()
    assert rounds > 50
    assert outcome.done == 2_000
    assert len(jobs.notes) == len(set(jobs.notes)) == 2_000


async def test_ten_thousand_queued_tasks_are_canceled(settings: MakeSettings) -> None:
    """None starts after the cancel has returned, all are counted soon, and new work is not held up."""
    jobs = Jobs()
    async with processor_of(settings(max_workers=2), jobs) as tasks:
        async with tasks.batch() as batch:
            for number in range(10_000):
                batch.enqueue(jobs.wait, f"{number}")
        async with running(tasks):
            await wait_until(lambda: len(jobs.notes) == 2)
            assert await tasks.cancel_batch(batch.id)
            begun = {word for word in jobs.notes if "begins" in word}
            outcome = await ended(tasks, batch.id, 20)
            await gone(tasks, await tasks.enqueue(jobs.note, "new"))
    assert (outcome.state, outcome.canceled) == ("canceled", 10_000)
    assert {word for word in jobs.notes if "begins" in word} == begun


async def test_no_worker_keeps_what_another_could_run(settings: MakeSettings) -> None:
    """Of ten tasks a worker that is busy with one gets no second one: the idle one takes the other nine."""
    busy, idle = Jobs(), Jobs()
    made = settings(max_workers=1)
    async with working(made, busy) as tasks:
        await tasks.enqueue(busy.wait, "long")
        await busy.noted("long begins")
        async with working(made, idle):
            for number in range(9):
                await tasks.enqueue(busy.note, f"{number}")
            await idle.noted(*(f"{number}" for number in range(9)))
        busy.go_on.set()
        await busy.noted("long ends")
    assert busy.notes == ["long begins", "long ends"]


async def test_due_tasks_while_connections_are_cut(settings: MakeSettings, client: redis.Redis) -> None:
    """Every half second all connections are killed: no delayed task is later than a poll and a second."""
    jobs, late = Jobs(), list[float]()

    def cut() -> None:
        for kind in ("normal", "pubsub"):
            client.client_kill_filter(_type=kind, skipme=True)

    async with working(settings(base_frequency=SECOND), jobs) as tasks, meanwhile(cut, every=0.5):
        for number in range(12):
            due = time.monotonic() + 0.3
            await tasks.on(delay=300 * MS).enqueue(jobs.note, f"{number}")
            await jobs.noted(f"{number}")
            late.append(time.monotonic() - due)
    assert max(late) < 2
    assert sum(late) < 6


async def test_two_processes_resume_and_pause(settings: MakeSettings) -> None:
    """Whoever was last has it as he said."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as one, processor_of(settings(), jobs) as other:
        for number in range(30):
            wanted = number % 2 == 0
            await asyncio.gather(_turn(one, paused=not wanted), _turn(other, paused=wanted))
            await _turn(one, paused=wanted)
            assert await other.is_paused() == wanted
        await one.resume()


async def _turn(tasks: TaskProcessor, *, paused: bool) -> None:
    await (tasks.pause() if paused else tasks.resume())
