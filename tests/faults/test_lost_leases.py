"""An attempt whose lease is lost, or whose time is over unseen: it is cancelled, or counts, and the task runs again."""

import asyncio
import time
from collections.abc import Generator
from datetime import timedelta

import pytest
import redis

from taskproc import TaskProcessor, TaskProcessorSettings, current_task
from taskproc.records import Request, Settlement
from taskproc.worker import Worker
from tests.conftest import MakeSettings
from tests.faults import jobs as functions
from tests.faults.kit import SECOND, Journal, worker, workers
from tests.kit import Server, assert_no_leaks, wait_until
from tests.worker.kit import MS, Jobs, died, ended, gone, processor_of, running, working

PREFIX = "{lost}"
AGAIN = ["task begins", "task cancelled", "task begins"]


@pytest.fixture
def mortal() -> Generator[Server]:
    """A server that the test may freeze, and whose data it may put back."""
    with Server(appendonly="yes", appendfsync="always", auto_aof_rewrite_percentage=0) as started:
        yield started


def on(server: Server, **overrides: object) -> TaskProcessorSettings:
    """Settings on that server."""
    given = {"redis": server.url, "prefix": PREFIX, "base_frequency": 500 * MS, "on_task_failed_delay": None}
    return TaskProcessorSettings.model_validate(given | overrides)


def worker_of(tasks: TaskProcessor) -> Worker:
    """The one that runs."""
    assert tasks._worker is not None
    return tasks._worker


async def test_an_attempt_whose_fetch_redis_has_forgotten_is_cancelled(mortal: Server) -> None:
    """Redis goes back to before the fetch, and still knows the worker: that compares, cancels, and fetches anew."""
    jobs = Jobs()
    async with working(on(mortal), jobs) as tasks:
        [known] = await tasks.get_workers()
        task_id = await tasks.on(delay=800 * MS).enqueue(jobs.wait, "task")
        copy = mortal.copy_data()
        assert jobs.notes == []
        await jobs.noted("task begins")
        await asyncio.to_thread(mortal.rewind, copy)
        await wait_until(lambda: sorted(jobs.notes) == sorted(AGAIN), 10, f"a second attempt instead: {jobs.notes}")
        jobs.go_on.set()
        await gone(tasks, task_id)
        assert [each.id for each in await tasks.get_workers()] == [known.id]
    with mortal.client() as client:
        assert_no_leaks(client, PREFIX)


class Extending(Jobs):
    """Asks for more time."""

    async def extend(self) -> None:
        self.notes.append("extend begins")
        await self.go_on.wait()
        self.notes.append(f"extended: {await current_task().extend_lock(timedelta(minutes=1))}")


async def take_away(tasks: TaskProcessor, task_id: str) -> None:
    """Gives the task's lease back in the name of its worker, who learns nothing of it."""
    tokens = {id_: token for id_, token, _ in worker_of(tasks)._attempts.held()}
    release = Settlement(id=task_id, token=tokens[task_id], outcome="release")
    assert await tasks._opened().storage.settle(worker_of(tasks).id, [release]) == ["released"]


async def test_a_renewal_that_finds_the_lease_lost_cancels_the_attempt(settings: MakeSettings) -> None:
    """The next one, a third of the invisibility later at most: the task is running anew then, and that one goes on."""
    jobs = Jobs()
    async with working(settings(auto_extend=True, invisibility=900 * MS), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.wait, "task")
        await jobs.noted("task begins")
        begun = time.monotonic()
        await take_away(tasks, task_id)
        await jobs.noted("task cancelled", seconds=2)
        assert time.monotonic() - begun < 0.9
        await wait_until(lambda: sorted(jobs.notes) == sorted(AGAIN))
        await asyncio.sleep(1)
        jobs.go_on.set()
        await gone(tasks, task_id)
    assert sorted(jobs.notes) == sorted([*AGAIN, "task ends"])


async def test_a_lock_that_others_have_cannot_be_extended(settings: MakeSettings) -> None:
    """`extend_lock` is False where the lease was lost, and True for the attempt that has it now."""
    jobs = Extending()
    async with working(settings(), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.extend)
        await jobs.noted("extend begins")
        await take_away(tasks, task_id)
        await wait_until(lambda: jobs.notes.count("extend begins") == 2)
        jobs.go_on.set()
        await gone(tasks, task_id)
    assert sorted(jobs.notes[2:]) == ["extended: False", "extended: True"]


async def test_a_worker_whose_requests_redis_has_forgotten_gives_back_what_it_does_not_know(
    settings: MakeSettings, client: redis.Redis, prefix: str
) -> None:
    """No connection was lost, and no answer: that the number of its last request went back is all it is told."""
    jobs = Jobs()
    async with working(settings(base_frequency=300 * MS), jobs) as tasks:
        task_id = await tasks.on("other").enqueue(jobs.note, "of nobody")
        await gone(tasks, await tasks.enqueue(jobs.note, "ready"))
        one = worker_of(tasks)
        request = Request(worker=one.id, nonce=one._nonce + 1, known=one._nonce, slots=1, queues=["other"])
        assert len((await tasks._opened().storage.exchange(request, [])).fetched) == 1
        client.hset(f"{prefix}:worker:{one.id}", "nonce", one._nonce - 1)

        async def given_back() -> bool:
            found = await tasks.get_task(task_id)
            assert found is not None
            return found.state == "ready"

        await wait_until(given_back, 1.5, "a lease that was given back")
        assert await tasks.cancel_task(task_id)
        await gone(tasks, await tasks.enqueue(jobs.note, "after"))


async def test_redis_is_away_for_longer_than_an_attempt_may_run(mortal: Server) -> None:
    """Nobody can renew its lease: it is cancelled in time, has failed, and runs again when Redis is back."""
    jobs = Jobs()
    made = on(mortal, auto_extend=True, invisibility=SECOND, command_timeout=SECOND, worker_timeout=20 * SECOND)
    async with working(made, jobs) as tasks:
        task_id = await tasks.enqueue(jobs.wait, "task")
        await jobs.noted("task begins")
        mortal.freeze()
        await jobs.noted("task cancelled", seconds=2)
        assert jobs.notes == AGAIN[:2]
        mortal.thaw()
        await wait_until(lambda: jobs.notes == AGAIN, 10)
        found = await tasks.get_task(task_id)
        assert found is not None
        assert found.attempt == 2
        jobs.go_on.set()
        await gone(tasks, task_id)


async def test_a_loop_that_is_blocked_for_longer_than_its_task_may_run(
    settings: MakeSettings, journal: Journal
) -> None:
    """Its worker is not taken for dead, but the attempt has failed, also with `auto_extend`: its end counts no more."""
    made = settings(worker_timeout=SECOND, retries=1, invisibility=SECOND, auto_extend=True)
    async with processor_of(made, Jobs()) as tasks:
        with worker(made, journal) as blocked:
            await workers(tasks, 1)
            [known] = await tasks.get_workers()
            async with tasks.batch() as batch:
                batch.enqueue(functions.block, "block", 6)
            await journal.noted("begins", 1)
            async with running(tasks):
                assert (await ended(tasks, batch.id, 5.5)).failed == 1
                assert journal.count("ends") == {}
                await journal.noted("ends", 1)
                assert known.id in [each.id for each in await tasks.get_workers()]
                [dead] = await tasks.get_dead_tasks("default")
                assert (await died(tasks, dead.task_id)).error_type == "TaskTimeoutError"
                blocked.terminate()
                await workers(tasks, 1)
            assert (await ended(tasks, batch.id)).failed == 1
    assert journal.count("begins") == {"block": 1}
