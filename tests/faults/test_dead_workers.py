"""Workers that are killed, frozen or blocked: their tasks run again where they must, and only there."""

import asyncio
import time
from datetime import timedelta

import pytest

from taskproc import TaskProcessor
from tests.conftest import MakeSettings
from tests.faults import jobs
from tests.faults.kit import SECOND, Journal, sha, worker, workers
from tests.kit import Proxy, Server, wait_until
from tests.worker.kit import ended

HOUR = timedelta(hours=1)


async def test_tasks_of_a_killed_worker_run_again_soon(settings: MakeSettings, journal: Journal) -> None:
    """Within `worker_timeout` + 2 s though they may run for an hour, and no attempt is used."""
    made = settings(worker_timeout=2 * SECOND, invisibility=HOUR, retries=1)
    async with TaskProcessor(made) as tasks:
        with worker(made, journal) as first:
            async with tasks.batch() as batch:
                for number in range(10):
                    batch.enqueue(jobs.wait, f"loop{number}")
                    batch.enqueue(jobs.wait_in_thread, f"thread{number}")
            await journal.noted("begins", 20)
            with worker(made, journal) as second:
                await workers(tasks, 2)
                first.kill()
                killed = time.time()
                await journal.noted("begins", 40)
                again = [event for event in journal.events("begins") if event.pid == second.pid]
                assert max(event.at for event in again) - killed < 2 + 2
                assert set(journal.count("begins").values()) == {2}
                journal.let_go()
                outcome = await ended(tasks, batch.id)
                second.terminate()
    assert (outcome.state, outcome.done, outcome.failed) == ("done", 20, 0)
    assert set(journal.count("ends").values()) == {1}


async def test_a_frozen_worker_that_comes_back_disturbs_nobody(settings: MakeSettings, journal: Journal) -> None:
    """Its tasks were taken over; when it goes on its attempts are cancelled, and what it hands in is refused."""
    made = settings(worker_timeout=SECOND, invisibility=HOUR, retries=1)
    async with TaskProcessor(made) as tasks:
        with worker(made, journal) as frozen:
            async with tasks.batch() as batch:
                for number in range(10):
                    batch.enqueue(jobs.wait, f"loop{number}")
                    batch.enqueue(jobs.wait_in_thread, f"thread{number}")
            await journal.noted("begins", 20)
            frozen.freeze()
            with worker(made, journal) as other:
                await journal.noted("begins", 40)
                frozen.thaw()
                await journal.noted("cancelled", 20)
                await workers(tasks, 2)
                before = await tasks.get_batch(batch.id)
                journal.let_go()
                outcome = await ended(tasks, batch.id)
                other.terminate()
            await tasks.enqueue(jobs.run, "after")
            await journal.noted("run:1", 1)
            frozen.terminate()
    assert before is not None
    assert (before.remaining, before.done) == (20, 0)
    assert (outcome.state, outcome.done, outcome.failed, outcome.total) == ("done", 20, 0, 20)
    assert {event.pid for event in journal.events("cancelled")} == {frozen.pid}
    assert {event.pid for event in journal.events("ends")} == {other.pid}


async def test_a_frozen_worker_whose_tasks_were_finished_counts_nothing(
    settings: MakeSettings, journal: Journal
) -> None:
    """What it hands in after the end of the batch changes nothing: neither counters nor continuations."""
    made = settings(worker_timeout=SECOND, invisibility=HOUR)
    async with TaskProcessor(made) as tasks:
        with worker(made, journal) as frozen:
            async with tasks.batch() as batch:
                for number in range(20):
                    batch.enqueue(jobs.wait, str(number))
                batch.continue_with(jobs.run, "continuation")
            await journal.noted("begins", 20)
            frozen.freeze()
            journal.let_go()
            with worker(made, journal) as other:
                first = await ended(tasks, batch.id, 15)
                frozen.thaw()
                await journal.noted("ends", 20)
                await workers(tasks, 2)
                await wait_until(lambda: len(journal.events("ends")) + len(journal.events("cancelled")) >= 40)
                assert await tasks.get_batch(batch.id) == first
                for each in (other, frozen):
                    each.terminate()
    assert (first.done, first.total) == (20, 20)
    assert len(journal.events("run:1")) == 1


async def test_a_blocked_event_loop_is_not_taken_for_dead(settings: MakeSettings, journal: Journal) -> None:
    """A task that blocks its loop for longer than `worker_timeout` runs once: the heartbeat has its own thread."""
    made = settings(worker_timeout=SECOND)
    async with TaskProcessor(made) as tasks:
        with worker(made, journal) as first, worker(made, journal) as second:
            await workers(tasks, 2)
            async with tasks.batch() as batch:
                batch.enqueue(jobs.block, "a", 3)
            assert (await ended(tasks, batch.id, 10)).done == 1
            await asyncio.sleep(0.5)
            assert await tasks.get_batch(batch.id) == await ended(tasks, batch.id)
            for each in (first, second):
                each.terminate()
    assert (len(journal.events("begins")), len(journal.events("ends"))) == (1, 1)


async def test_code_that_lets_no_thread_run_is_taken_for_dead(settings: MakeSettings, journal: Journal) -> None:
    """Not even the heartbeat's: its task runs elsewhere too, and counts once, whoever hands it in."""
    made = settings(worker_timeout=SECOND, max_workers=4)
    async with TaskProcessor(made) as tasks:
        with worker(made, journal) as first, worker(made, journal) as second:
            await workers(tasks, 2)
            async with tasks.batch() as batch:
                batch.enqueue(jobs.hold_gil, "holds", 4)
                for number in range(4):
                    batch.enqueue(jobs.sleep, str(number), 0.2)
                batch.continue_with(jobs.run, "continuation")
            outcome = await ended(tasks, batch.id, 20)
            await journal.noted("run:1", 1)
            await wait_until(lambda: journal.count("ends")["holds"] == 2)
            await workers(tasks, 2)
            assert await tasks.get_batch(batch.id) == outcome
            for each in (first, second):
                assert each.terminate() == 0
    assert (outcome.done, outcome.failed, outcome.total) == (5, 0, 5)
    assert journal.count("begins")["holds"] == 2
    assert len(journal.events("run:1")) == 1


async def test_a_worker_that_dies_before_it_learns_what_it_fetched(
    settings: MakeSettings, server: Server, journal: Journal
) -> None:
    """The answer to its fetch never came: the tasks are leased to it, and another worker runs them soon."""
    made = settings(worker_timeout=SECOND, invisibility=HOUR, retries=1)
    async with TaskProcessor(made) as tasks:
        with Proxy(server.port) as proxy:
            with worker(made.model_copy(update={"redis": proxy.url}), journal) as first:
                await workers(tasks, 1)
                proxy.silence(sha("exchange"), 10)
                async with tasks.batch() as batch:
                    for number in range(5):
                        batch.enqueue(jobs.run, str(number))
                await wait_until(lambda: _are_leased(tasks, 5), what="leases of a worker that knows of none")
                first.kill()
            with worker(made, journal) as second:
                outcome = await ended(tasks, batch.id)
                second.terminate()
    assert (outcome.done, outcome.total) == (5, 5)
    assert journal.count("run:1") == {str(number): 1 for number in range(5)}


async def _are_leased(tasks: TaskProcessor, count: int) -> bool:
    return (await tasks.get_queue("default")).running == count


@pytest.mark.slow
async def test_a_task_that_kills_its_workers_ends_in_the_dead_letters(settings: MakeSettings, journal: Journal) -> None:
    """At its third take-back, with WorkerLost, which the hook is told; what ran beside it is done."""
    made = settings(worker_timeout=SECOND, invisibility=HOUR, retries=1, deadletter=False, max_workers=4)
    async with TaskProcessor(made) as tasks:
        async with tasks.batch() as batch:
            for number in range(3):
                batch.enqueue(jobs.sleep, str(number), 0.2)
            batch.enqueue(jobs.kill, "poison")

        async def dead() -> bool:
            return bool(await tasks.get_dead_tasks("default"))

        while not await dead():
            with worker(made, journal) as started:
                while started.running and not await dead():
                    await asyncio.sleep(0.02)
                started.terminate()
        with worker(made, journal) as last:
            outcome = await ended(tasks, batch.id, 15)
            last.terminate()
        [task] = await tasks.get_dead_tasks("default")
    assert (outcome.state, outcome.done, outcome.failed) == ("failed", 3, 1)
    assert journal.count("begins")["poison"] == 3
    assert task.error_type == "WorkerLost"
    assert journal.count("error") == {"WorkerLost": 1}
