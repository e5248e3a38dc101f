"""Cancelling a batch, or one task: what runs is told at once, what is queued never runs, and all of it is counted."""

import asyncio
import threading
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta

import pytest

from taskproc import InvalidName, TaskContext, TaskProcessor, current_task
from taskproc.attempts import Attempts
from taskproc.processor import PLAIN
from taskproc.records import Request, Settlement
from taskproc.storage import Exchange, Storage
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import MS, Jobs, died, ended, gone, processor_of, running, working


class Stubborn:
    """Does not end when it is cancelled."""

    def __init__(self) -> None:
        self.begun = 0
        self.refused = 0
        self.go_on = asyncio.Event()
        self.thread_go_on = threading.Event()

    async def refuse(self) -> None:
        self.begun += 1
        while not self.go_on.is_set():
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self.refused += 1

    def refuse_in_thread(self) -> None:
        self.begun += 1
        self.thread_go_on.wait(20)

    async def clean_up(self) -> None:
        self.begun += 1
        try:
            await self.go_on.wait()
        finally:
            await asyncio.sleep(0.1)
            self.refused += 1


async def test_running_tasks_of_a_canceled_batch_are_told_at_once(settings: MakeSettings) -> None:
    """An async task gets CancelledError, a `def` task sees `cancel_requested`, long before the next heartbeat."""
    jobs = Jobs()
    async with working(settings(worker_timeout=timedelta(minutes=1)), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.wait, "async")
            batch.enqueue(jobs.wait_in_thread, "thread")
        await jobs.noted("async begins", "thread begins")
        begun = time.monotonic()
        assert await tasks.cancel_batch(batch.id)
        outcome = await ended(tasks, batch.id)
        assert time.monotonic() - begun < 1
    assert (outcome.state, outcome.canceled, outcome.total) == ("canceled", 2, 2)
    assert {"async cancelled", "thread asked to stop"} <= set(jobs.notes)


async def test_a_cancel_that_comes_during_a_fetch_is_heeded(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Redis has leased before the cancel, and the worker starts after it has heard of that, is not begun."""
    jobs, exchange = Jobs(), Storage.exchange

    async def exchange_and_cancel(self: Storage, request: Request, settlements: Sequence[Settlement]) -> Exchange:
        reply = await exchange(self, request, settlements)
        if reply.fetched:
            assert await tasks.cancel_batch(batch.id)
            attempts_of(tasks).cancel([batch.id])
        return reply

    monkeypatch.setattr(Storage, "exchange", exchange_and_cancel)
    async with working(settings(), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.note, "too late")
        outcome = await ended(tasks, batch.id)
    assert (outcome.state, outcome.canceled) == ("canceled", 1)
    assert jobs.notes == []


async def test_a_cancel_that_redis_has_lost_does_not_hold_up_its_tasks(settings: MakeSettings) -> None:
    """What is fetched after the worker has heard of a cancel may run, or Redis would not have handed it out: a restart
    that goes back in time forgets cancels too.
    """
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.note, "runs")
            attempts_of(tasks).cancel([batch.id])
        outcome = await ended(tasks, batch.id)
        attempts_of(tasks).cancel([task_id := uuid.uuid4().hex])
        await tasks._opened().storage.enqueue([tasks._sender.call(jobs.note, ("alone",), {}, PLAIN, task_id)])
        await gone(tasks, task_id)
    assert (outcome.state, outcome.done) == ("done", 1)
    assert jobs.notes == ["runs", "alone"]


def attempts_of(tasks: TaskProcessor) -> Attempts:
    """What its worker runs."""
    assert tasks._worker is not None
    return tasks._worker._attempts


async def test_queued_and_delayed_tasks_of_a_canceled_batch_never_run(settings: MakeSettings) -> None:
    """They are counted when the cancel returns; until the running task ends the state is `canceling`."""
    stubborn, jobs = Stubborn(), Jobs()
    async with working(settings(max_workers=1), stubborn, jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(stubborn.refuse)
            for _ in range(1500):
                batch.enqueue(jobs.note, "never")
            batch.on(delay=100 * MS).enqueue(jobs.note, "never")
        await wait_until(lambda: stubborn.begun)
        assert await tasks.cancel_batch(batch.id)
        now = await tasks.get_batch(batch.id)
        assert now is not None
        assert (now.state, now.canceled, now.remaining, now.end) == ("canceling", 1501, 1, None)
        assert (await tasks.get_queue("default")).length == 0
        await wait_until(lambda: stubborn.refused)
        stubborn.go_on.set()
        outcome = await ended(tasks, batch.id)
        assert (outcome.state, outcome.canceled, outcome.done, outcome.total) == ("canceled", 1502, 0, 1502)
        await tasks.enqueue(jobs.note, "after")
        await jobs.noted("after")
    assert jobs.notes == ["after"]


async def test_whatever_a_canceled_task_does_counts_as_canceled(settings: MakeSettings) -> None:
    """One that takes its time to clean up, one that fails then, and one that returns as if nothing were."""
    stubborn, jobs = Stubborn(), Jobs()
    async with working(settings(on_task_failed_delay=None), stubborn, jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(stubborn.clean_up)
            batch.enqueue(stubborn.refuse)
            batch.enqueue(jobs.wait, "third")
        await jobs.noted("third begins")
        await wait_until(lambda: stubborn.begun == 2)
        await tasks.cancel_batch(batch.id)
        await wait_until(lambda: stubborn.refused == 2)
        stubborn.go_on.set()
        outcome = await ended(tasks, batch.id)
    assert (outcome.canceled, outcome.done, outcome.failed) == (3, 0, 0)
    assert (stubborn.begun, jobs.notes) == (2, ["third begins", "third cancelled"])


async def test_a_task_that_swallows_its_cancel_keeps_only_its_own_slot(settings: MakeSettings) -> None:
    """Others run beside it, and it ends when it likes; the worker does not hang."""
    stubborn, jobs = Stubborn(), Jobs()
    async with working(settings(max_workers=2), stubborn, jobs) as tasks:
        task_id = await tasks.enqueue(stubborn.refuse)
        await wait_until(lambda: stubborn.begun)
        assert await tasks.cancel_task(task_id)
        await wait_until(lambda: stubborn.refused)
        await tasks.enqueue(jobs.note, "beside")
        await jobs.noted("beside")
        assert await tasks.get_task(task_id) is not None
        stubborn.go_on.set()
        await gone(tasks, task_id)
    assert (stubborn.begun, stubborn.refused) == (1, 1)


async def test_a_canceled_thread_keeps_its_slot_and_its_batch(settings: MakeSettings) -> None:
    """A `def` task that does not ask runs on: until it ends, its slot is taken and its batch is canceling."""
    stubborn, jobs = Stubborn(), Jobs()
    async with working(settings(max_workers=1), stubborn, jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(stubborn.refuse_in_thread)
        await wait_until(lambda: stubborn.begun)
        await tasks.cancel_batch(batch.id)
        await tasks.enqueue(jobs.note, "next")
        await asyncio.sleep(0.2)
        now = await tasks.get_batch(batch.id)
        assert now is not None
        assert (now.state, now.remaining, jobs.notes) == ("canceling", 1, [])
        stubborn.thread_go_on.set()
        assert (await ended(tasks, batch.id)).canceled == 1
        await jobs.noted("next")


async def test_a_canceled_task_that_outlives_its_invisibility_is_given_up(settings: MakeSettings) -> None:
    """Its batch ends then, though the task does not."""
    stubborn = Stubborn()
    async with working(settings(), stubborn) as tasks:
        async with tasks.batch() as batch:
            batch.on(invisibility=500 * MS).enqueue(stubborn.refuse)
        await wait_until(lambda: stubborn.begun)
        await tasks.cancel_batch(batch.id)
        assert (await ended(tasks, batch.id)).canceled == 1
        assert not stubborn.go_on.is_set()
        stubborn.go_on.set()
    assert stubborn.begun == 1


async def test_cancel_may_be_repeated_but_not_come_late(settings: MakeSettings) -> None:
    """True for what is canceled already; False for what is done, unknown or another tenant's, which changes nothing."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        canceled = await tasks.enqueue_batch(None, "acme", lambda batch: batch.enqueue(jobs.note, "never"))
        assert not await tasks.cancel_batch(canceled, tenant="other")
        assert await tasks.cancel_batch(canceled, tenant="acme")
        assert await tasks.cancel_batch(canceled)
        done = await tasks.enqueue_batch(None, "acme", lambda _: None)
        assert not await tasks.cancel_batch(done)
        assert not await tasks.cancel_batch("feed")
        for name in ("", "two words", "a:b", "x" * 129):
            with pytest.raises(InvalidName, match="tenant name"):
                await tasks.cancel_batch(canceled, tenant=name)
        assert (await ended(tasks, done)).state == "done"


async def test_one_task_can_be_canceled_wherever_it_is(settings: MakeSettings) -> None:
    """Ready, delayed, or running in the loop or a thread: it never ends as done, and nothing else is touched."""
    jobs = Jobs()
    async with working(settings(max_workers=2), jobs) as tasks:
        in_loop = await tasks.enqueue(jobs.wait, "loop")
        in_thread = await tasks.enqueue(jobs.wait_in_thread, "thread")
        await jobs.noted("loop begins", "thread begins")
        ready = await tasks.enqueue(jobs.note, "never")
        delayed = await tasks.on(delay=timedelta(hours=1)).enqueue(jobs.note, "never")
        other = await tasks.enqueue(jobs.note, "other")
        for task_id in (ready, delayed, in_loop, in_thread):
            assert not await tasks.cancel_task(task_id, tenant="other")
            assert await tasks.cancel_task(task_id)
            await gone(tasks, task_id, 1)
            assert not await tasks.cancel_task(task_id)
        await gone(tasks, other)
    assert {"loop cancelled", "thread asked to stop", "other"} <= set(jobs.notes)
    assert "never" not in jobs.notes


async def test_a_task_canceled_in_its_batch_is_counted_there(settings: MakeSettings) -> None:
    """The batch ends as done with one canceled: the batch as such was not canceled."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.on(delay=timedelta(hours=1)).enqueue(jobs.note, "never")
            batch.enqueue(jobs.note, "done")
        [delayed] = await tasks.get_delayed_tasks("default")
        assert await tasks.cancel_task(delayed.task_id)
        outcome = await ended(tasks, batch.id)
    assert (outcome.state, outcome.done, outcome.canceled) == ("done", 1, 1)


async def test_a_canceled_task_is_not_retried(settings: MakeSettings) -> None:
    """A task that was canceled and fails meanwhile has no further attempt, and asks for no delay."""
    stubborn = Stubborn()
    asked: list[TaskContext] = []

    def ask(ctx: TaskContext, _: object) -> None:
        asked.append(ctx)

    made = settings(on_task_failed_delay=ask, on_task_error=ask)
    async with working(made, stubborn) as tasks:
        task_id = await tasks.enqueue(stubborn.clean_up)
        await wait_until(lambda: stubborn.begun)
        await tasks.cancel_task(task_id)
        await gone(tasks, task_id)
    assert (stubborn.begun, asked) == (1, [])


async def test_dead_tasks_cannot_be_canceled(settings: MakeSettings) -> None:
    """They have ended: retry or discard is what there is for them."""
    jobs = Jobs()
    async with working(settings(retries=1), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.fail, "dead")
        await died(tasks, task_id)
        assert not await tasks.cancel_task(task_id)
        assert (await died(tasks, task_id)).error_message == "dead"


class Family:
    """A task that works with asyncio tasks of its own."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs

    async def parent(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.jobs.wait("first child"))
            group.create_task(self.jobs.wait("second child"))

    async def ask(self) -> None:
        ctx = current_task()
        try:
            await self.jobs.wait("asking")
        finally:
            self.jobs.notes.append(f"cancel_requested {ctx.cancel_requested}")


async def test_a_cancel_reaches_what_the_task_has_started(settings: MakeSettings) -> None:
    """Children in a TaskGroup are cancelled with it."""
    jobs = Jobs()
    family = Family(jobs)
    async with working(settings(), family) as tasks:
        task_id = await tasks.enqueue(family.parent)
        await jobs.noted("first child begins", "second child begins")
        await tasks.cancel_task(task_id)
        await gone(tasks, task_id)
    assert {"first child cancelled", "second child cancelled"} <= set(jobs.notes)


async def test_a_cancelled_coroutine_can_see_why(settings: MakeSettings) -> None:
    """`cancel_requested` is set before CancelledError is raised."""
    jobs = Jobs()
    family = Family(jobs)
    async with working(settings(), family) as tasks:
        task_id = await tasks.enqueue(family.ask)
        await jobs.noted("asking begins")
        await tasks.cancel_task(task_id)
        await gone(tasks, task_id)
    assert jobs.notes[-1] == "cancel_requested True"


async def test_another_workers_tasks_are_canceled_too(settings: MakeSettings) -> None:
    """Who cancels need not run the task: a processor without worker does it here."""
    jobs = Jobs()
    made = settings()
    async with processor_of(made, jobs) as producer, processor_of(made, jobs) as worker, running(worker):
        task_id = await producer.enqueue(jobs.wait, "elsewhere")
        await jobs.noted("elsewhere begins")
        assert await producer.cancel_task(task_id)
        await gone(producer, task_id, 1)
