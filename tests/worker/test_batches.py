"""Batches as a whole: counters, continuations, what is appended, what is sent in parts."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import timedelta

import pytest

from taskproc import Batch, BatchInfo, TaskProcessor, current_task
from taskproc.batch import Build
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import MS, Jobs, ended, processor_of, running, working


class Reports:
    """Continuations that look at their batch."""

    def __init__(self) -> None:
        self.seen: dict[str, BatchInfo | None] = {}

    async def report(self, when: str) -> None:
        ctx = current_task()
        assert ctx.is_continuation
        self.seen[when] = await ctx.get_batch()


def continue_with_all(batch: Batch, reports: Reports) -> None:
    """A continuation for each outcome."""
    batch.continue_with(reports.report, "success")
    batch.on(when="failed").continue_with(reports.report, "failed")
    batch.on(when="canceled").continue_with(reports.report, "canceled")
    batch.on(when="complete").continue_with(reports.report, "complete")


async def quiet(tasks: TaskProcessor) -> None:
    """Waits until nothing is ready, delayed or running."""

    async def look() -> bool:
        queue = await tasks.get_queue("default")
        return queue.length == queue.running == queue.delayed == 0

    await wait_until(look)


async def test_after_success_its_continuation_runs_and_sees_the_batch(settings: MakeSettings) -> None:
    """`success` and `complete` run once, with the final counters; continuations are not in `total`."""
    jobs, reports = Jobs(), Reports()
    async with working(settings(), jobs, reports) as tasks:
        async with tasks.batch(tenant="acme", scope="Import 42") as batch:
            for number in range(10):
                batch.enqueue(jobs.note, str(number))
            continue_with_all(batch, reports)
        outcome = await ended(tasks, batch.id)
        await quiet(tasks)
    assert (outcome.state, outcome.total, outcome.done, outcome.remaining) == ("done", 10, 10, 0)
    assert (outcome.tenant, outcome.scope) == ("acme", "Import 42")
    assert outcome.duration > 0
    assert reports.seen == {"success": outcome, "complete": outcome}


async def test_after_a_failure_its_continuation_runs(settings: MakeSettings) -> None:
    """`failed` and `complete` run when a task was dead-lettered, `success` does not."""
    jobs, reports = Jobs(), Reports()
    async with working(settings(retries=1), jobs, reports) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.note, "fine")
            batch.enqueue(jobs.fail, "not fine")
            continue_with_all(batch, reports)
        outcome = await ended(tasks, batch.id)
        await quiet(tasks)
    assert (outcome.state, outcome.done, outcome.failed) == ("failed", 1, 1)
    assert reports.seen == {"failed": outcome, "complete": outcome}


async def test_after_a_cancel_its_continuation_runs(settings: MakeSettings) -> None:
    """`canceled` and `complete` run once the running task has ended."""
    jobs, reports = Jobs(), Reports()
    async with working(settings(max_workers=1), jobs, reports) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.wait, "first")
            batch.enqueue(jobs.note, "never")
            continue_with_all(batch, reports)
        await jobs.noted("first begins")
        assert await tasks.cancel_batch(batch.id)
        outcome = await ended(tasks, batch.id)
        await quiet(tasks)
    assert (outcome.state, outcome.canceled, outcome.total) == ("canceled", 2, 2)
    assert reports.seen == {"canceled": outcome, "complete": outcome}
    assert jobs.notes == ["first begins", "first cancelled"]


async def test_a_continuation_that_fails_does_not_touch_its_batch(settings: MakeSettings) -> None:
    """It ends in the dead letters like any task, and the batch stays done."""
    jobs = Jobs()
    async with working(settings(retries=1), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.note, "fine")
            batch.continue_with(jobs.fail, "afterwards")
        [dead] = await wait_until(lambda: tasks.get_dead_tasks("default"))
        outcome = await ended(tasks, batch.id)
    assert dead.batch_id == batch.id
    assert (outcome.state, outcome.total, outcome.done, outcome.failed) == ("done", 1, 1, 0)


async def test_a_continuations_delay_counts_from_its_firing(settings: MakeSettings) -> None:
    """With an hour's delay it is delayed once the batch has ended, and held before."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.wait, "task")
            batch.on(delay=timedelta(hours=1)).continue_with(jobs.note, "continuation")
        await jobs.noted("task begins")
        assert await tasks.get_delayed_tasks("default") == []
        jobs.go_on.set()
        outcome = await ended(tasks, batch.id)
        [continuation] = await tasks.get_delayed_tasks("default")
        assert continuation.due_at is not None
        assert outcome.end is not None
        assert abs(continuation.due_at - outcome.end - timedelta(hours=1)) < timedelta(seconds=1)
        await tasks.cancel_task(continuation.task_id)


async def test_an_empty_batch_ends_at_once(settings: MakeSettings) -> None:
    """A batch without tasks is done, and its continuation runs."""
    reports = Reports()
    async with working(settings(), reports) as tasks:
        batch_id = await tasks.enqueue_batch(None, None, lambda batch: continue_with_all(batch, reports))
        outcome = await ended(tasks, batch_id)
        await quiet(tasks)
    assert (outcome.state, outcome.total) == ("done", 0)
    assert set(reports.seen) == {"success", "complete"}


async def test_appending_reopens_a_batch_and_fires_nothing_twice(settings: MakeSettings) -> None:
    """An appended task runs in the ended batch; its continuation has run, and does not run again."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.note, "first")
            batch.continue_with(jobs.note, "continuation")
        await ended(tasks, batch.id)
        await jobs.noted("continuation")
        await tasks.pause()
        assert await tasks.append_batch(None, None, batch.id, lambda more: more.enqueue(jobs.note, "second"))
        reopened = await tasks.get_batch(batch.id)
        assert reopened is not None
        assert (reopened.state, reopened.end, reopened.total, reopened.remaining) == ("running", None, 2, 1)
        await tasks.resume()
        assert (await ended(tasks, batch.id)).done == 2
        await quiet(tasks)
    assert jobs.notes == ["first", "continuation", "second"]


async def test_a_task_may_append_to_its_own_batch(settings: MakeSettings) -> None:
    """The batch cannot end meanwhile: the continuation comes after what was appended."""
    jobs = Jobs()
    spreading = Spreading(jobs)
    async with working(settings(), jobs, spreading) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(spreading.spread, 3)
            batch.continue_with(jobs.note, "continuation")
        await jobs.noted("continuation")
        assert (await ended(tasks, batch.id)).done == 4
    assert sorted(jobs.notes[:-1]) == ["0", "1", "2", "3"]
    assert jobs.notes[-1] == "continuation"


class Spreading:
    """Grows its batch while it runs."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs

    async def spread(self, generations: int) -> None:
        ctx = current_task()
        assert ctx.batch_id is not None
        if generations:
            await ctx.processor.append_batch(
                None, None, ctx.batch_id, lambda more: more.enqueue(self.spread, generations - 1)
            )
        self.jobs.notes.append(str(generations))


async def test_nothing_is_appended_to_what_is_not_there(settings: MakeSettings) -> None:
    """False for an unknown batch, a canceled one, and one of another tenant; nothing is stored."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        canceled = await tasks.enqueue_batch(None, "acme", lambda batch: batch.enqueue(jobs.note, "never"))
        await tasks.cancel_batch(canceled)
        done = await tasks.enqueue_batch(None, "acme", lambda _: None)
        for batch_id, tenant in (("feed", "acme"), (canceled, "acme"), (done, "other")):
            assert not await tasks.append_batch(None, tenant, batch_id, lambda more: more.enqueue(jobs.note, "never"))
        assert (await tasks.get_queue("default")).length == 0


def at_once(jobs: Jobs) -> Build:
    """1,200 tasks in one go."""

    async def build(batch: Batch) -> None:
        for number in range(1200):
            batch.enqueue(jobs.note, str(number))

    return build


def as_it_goes(jobs: Jobs) -> Build:
    """1,200 tasks of a generator."""

    def build(batch: Batch) -> Generator[None]:
        for number in range(1200):
            batch.enqueue(jobs.note, str(number))
            yield

    return build


def as_it_goes_async(jobs: Jobs) -> Build:
    """1,200 tasks of an async generator."""

    async def build(batch: Batch) -> AsyncGenerator[None]:
        for number in range(1200):
            batch.enqueue(jobs.note, str(number))
            await asyncio.sleep(0)
            yield

    return build


@pytest.mark.parametrize("building", [at_once, as_it_goes, as_it_goes_async])
async def test_a_batch_larger_than_a_chunk_is_one_batch(
    settings: MakeSettings, building: Callable[[Jobs], Build]
) -> None:
    """1,200 tasks from a function or a generator run once each, and the continuation once, after all of them."""
    jobs = Jobs()
    build = building(jobs)

    async with working(settings(), jobs) as tasks:
        batch_id = await tasks.enqueue_batch(None, None, build)
        assert (await ended(tasks, batch_id, 20)).done == 1200
        assert await tasks.append_batch(None, None, batch_id, lambda more: more.continue_with(jobs.note, "end"))
        await jobs.noted("end")
    assert sorted(jobs.notes[:-1], key=int) == [str(number) for number in range(1200)]
    assert jobs.notes[-1] == "end"


async def test_what_is_flushed_runs_before_the_batch_is_whole(settings: MakeSettings) -> None:
    """Tasks start while the rest is sent; the batch ends when it is whole, not when the first part is done."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.continue_with(jobs.note, "continuation")
            batch.enqueue(jobs.note, "first")
            await batch.flush()
            await jobs.noted("first")
            await asyncio.sleep(0.05)
            part = await tasks.get_batch(batch.id)
            assert part is not None
            assert (part.state, part.total, part.done) == ("running", 1, 1)
            batch.enqueue(jobs.note, "second")
        assert (await ended(tasks, batch.id)).done == 2
        await jobs.noted("continuation")
    assert jobs.notes == ["first", "second", "continuation"]


class BuildError(Exception): ...


async def interrupted(tasks: TaskProcessor, jobs: Jobs, ids: list[str], *, flushed: bool) -> None:
    """Fills a batch, but for an exception."""
    async with tasks.batch() as batch:
        ids.append(batch.id)
        batch.enqueue(jobs.note, "never")
        batch.on(when="canceled").continue_with(jobs.note, "canceled")
        if flushed:
            await batch.flush()
        raise BuildError


async def test_an_exception_before_any_flush_sends_nothing(settings: MakeSettings) -> None:
    """The batch is not there, nor any of its tasks."""
    jobs = Jobs()
    ids: list[str] = []
    async with processor_of(settings(), jobs) as tasks:
        with pytest.raises(BuildError):
            await interrupted(tasks, jobs, ids, flushed=False)
        assert await tasks.get_batch(ids[0]) is None
        assert await tasks.get_queues() == [await tasks.get_queue("default")]


@pytest.mark.leaves_keys("the note of a batch that was not sent whole goes a minute later")
async def test_an_exception_after_a_flush_cancels_the_batch(settings: MakeSettings) -> None:
    """What was sent does not run, unless it did already; continuations for a cancel do."""
    jobs = Jobs()
    ids: list[str] = []
    async with processor_of(settings(), jobs) as tasks:
        with pytest.raises(BuildError):
            await interrupted(tasks, jobs, ids, flushed=True)
        async with running(tasks):
            await jobs.noted("canceled")
            outcome = await ended(tasks, ids[0])
    assert (outcome.state, outcome.canceled, jobs.notes) == ("canceled", 1, ["canceled"])


async def test_a_delayed_task_keeps_its_batch_running(settings: MakeSettings) -> None:
    """The batch ends after the delay, not before."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.note, "now")
            batch.on(delay=200 * MS).enqueue(jobs.note, "later")
        await jobs.noted("now")
        halfway = await tasks.get_batch(batch.id)
        assert halfway is not None
        assert (halfway.state, halfway.remaining) == ("running", 1)
        assert (await ended(tasks, batch.id)).done == 2


async def test_batches_are_listed_by_tenant_the_newest_first(settings: MakeSettings) -> None:
    """Pages of a tenant's batches, and how many there are; another tenant sees none of them."""
    async with processor_of(settings()) as tasks:
        ids: list[str] = []
        for _ in range(3):
            ids.insert(0, await tasks.enqueue_batch(None, "acme", lambda _: None))
            await asyncio.sleep(0.002)
        assert [batch.id for batch in await tasks.get_batches("acme")] == ids
        assert [batch.id for batch in await tasks.get_batches("acme", skip=1, take=1)] == ids[1:2]
        assert await tasks.get_batches_count("acme") == 3
        assert await tasks.get_batches("other") == []
        assert await tasks.get_batch(ids[0], tenant="other") is None
        assert await tasks.get_tenants() == ["acme"]


async def test_ended_batches_go_after_their_retention(settings: MakeSettings) -> None:
    """Clean-up removes what has ended long enough ago, and leaves what runs."""
    jobs = Jobs()
    often = settings(retention=100 * MS, clean_up_frequency=50 * MS)
    async with working(often, jobs) as tasks:
        async with tasks.batch() as kept:
            kept.enqueue(jobs.wait, "still running")
        short = await tasks.enqueue_batch(None, None, lambda batch: batch.enqueue(jobs.note, "short"))

        async def forgotten() -> bool:
            return await tasks.get_batch(short) is None

        await wait_until(forgotten)
        assert await tasks.get_batch(kept.id) is not None
        jobs.go_on.set()
        await jobs.noted("still running ends")
