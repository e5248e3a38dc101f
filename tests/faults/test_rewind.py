"""Redis comes back with the data of a moment ago: what it has lost runs again, all that is counted is right."""

import asyncio
from collections import Counter
from collections.abc import Generator

import pytest

from taskproc import TaskContext, TaskProcessor, TaskProcessorSettings
from tests.faults.kit import SECOND
from tests.kit import Server, assert_no_leaks, wait_until
from tests.storage.laws import broken_laws
from tests.storage.store import Store
from tests.worker.kit import MS, Jobs, ended, gone, processor_of, working

PREFIX = "{rewound}"


@pytest.fixture
def forgetful() -> Generator[Server]:
    """A server whose data the test may put back to an earlier state."""
    with Server(appendonly="yes", appendfsync="always", auto_aof_rewrite_percentage=0) as started:
        yield started


def on(server: Server, **overrides: object) -> TaskProcessorSettings:
    """Settings on that server, with little patience."""
    given: dict[str, object] = {"worker_timeout": SECOND, "base_frequency": 500 * MS, "retries": 1, "max_workers": 4}
    return TaskProcessorSettings.model_validate({"redis": server.url, "prefix": PREFIX, **given, **overrides})


class Slow(Jobs):
    """Takes a moment for each task."""

    async def step(self, word: str) -> None:
        await asyncio.sleep(0.05)
        self.notes.append(word)


async def test_work_that_was_lost_is_done_again(forgetful: Server) -> None:
    """The batch ends once, with each task counted once; only what ended after the copy was made may run twice."""
    jobs, attempts = Slow(), list[int]()

    def start(ctx: TaskContext) -> None:
        attempts.append(ctx.attempt)

    made = on(forgetful, on_task_start=start)
    async with working(made, jobs) as tasks, working(made, jobs) as other:
        async with tasks.batch() as batch:
            for number in range(60):
                batch.enqueue(jobs.step, str(number))
            batch.continue_with(jobs.note, "continuation")
        await wait_until(lambda: len(jobs.notes) > 25)
        copy, kept = forgetful.copy_data(), set(jobs.notes[:8])
        await wait_until(lambda: len(jobs.notes) > 40)
        await asyncio.to_thread(forgetful.rewind, copy)
        outcome = await ended(other, batch.id, 20)
        await jobs.noted("continuation")
        await _idle(tasks)
        assert len(await tasks.get_workers()) == 2
    assert (outcome.state, outcome.total, outcome.done) == ("done", 60, 60)
    ran = Counter(jobs.notes)
    assert len(ran) == 61
    twice = {word for word, times in ran.items() if times > 1}
    assert twice, "nothing was lost"
    assert not twice & kept, "what had been counted before the copy was run again"
    assert max(ran.values()) == 2
    assert set(attempts) == {1}
    _check(forgetful)


async def test_a_batch_that_had_ended_ends_again(forgetful: Server) -> None:
    """Its end was lost: it ends a second time, with the same numbers, and its continuation runs again."""
    jobs = Slow()
    async with working(on(forgetful, max_workers=1), jobs) as tasks:
        async with tasks.batch() as batch:
            for number in range(6):
                batch.enqueue(jobs.step, str(number))
            batch.continue_with(jobs.note, "continuation")
        await wait_until(lambda: len(jobs.notes) > 1)
        copy = forgetful.copy_data()
        first = await ended(tasks, batch.id)
        await jobs.noted("continuation")
        await asyncio.to_thread(forgetful.rewind, copy)
        await wait_until(lambda: jobs.notes.count("continuation") == 2, 10)
        again = await ended(tasks, batch.id)
        await _idle(tasks)
    assert (first.done, again.done, again.total) == (6, 6, 6)
    _check(forgetful)


async def test_what_was_enqueued_after_the_copy_is_lost(forgetful: Server) -> None:
    """As the documentation says; what was there before runs, and nothing of what is lost blocks its queue."""
    jobs = Jobs()
    async with processor_of(on(forgetful), jobs) as tasks:
        before = await tasks.enqueue(jobs.note, "before")
        copy = forgetful.copy_data()
        after = await tasks.enqueue(jobs.note, "after")
        await asyncio.to_thread(forgetful.rewind, copy)
        assert await tasks.get_task(after) is None
        assert await tasks.get_task(before) is not None
    async with working(on(forgetful), jobs) as tasks:
        await gone(tasks, before)
        await gone(tasks, await tasks.enqueue(jobs.note, "new"))
    assert jobs.notes == ["before", "new"]
    _check(forgetful)


async def test_a_worker_that_redis_has_forgotten_gives_up_what_it_runs(forgetful: Server) -> None:
    """It joined after the copy was made: it is told, cancels its attempt, and serves on under another id."""
    jobs = Jobs()
    async with processor_of(on(forgetful), jobs) as producer:
        kept = await producer.enqueue(jobs.wait, "task")
        copy = forgetful.copy_data()
        async with working(on(forgetful), jobs) as tasks:
            await jobs.noted("task begins")
            await asyncio.to_thread(forgetful.rewind, copy)
            await jobs.noted("task cancelled", seconds=10)
            await wait_until(lambda: jobs.notes.count("task begins") == 2, 10)
            jobs.go_on.set()
            await gone(tasks, kept)
    assert jobs.notes == ["task begins", "task cancelled", "task begins", "task ends"]
    _check(forgetful)


async def _idle(tasks: TaskProcessor) -> None:
    async def look() -> bool:
        queue = await tasks.get_queue("default")
        return queue.length + queue.running + queue.delayed == 0

    await wait_until(look, 10, "an empty queue")


def _check(server: Server) -> None:
    """No law is broken, and nothing is left behind."""
    with server.client() as client:
        assert broken_laws(Store(client, PREFIX).dump()) == []
        assert_no_leaks(client, PREFIX)
