"""Looks at the system: tasks, queues, workers, and in words why a task does not run."""

import os
import re
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import redis

from taskproc import QueueInfo, TaskContext, TaskProcessor
from taskproc.looking import Looking
from taskproc.options import When
from taskproc.testing import run_until_idle
from tests.conftest import MakeSettings
from tests.faults.kit import lease, lose
from tests.kit import wait_until
from tests.worker.kit import Jobs, died, ended, processor_of, running, working

HOUR = timedelta(hours=1)
AWAITED: dict[When, str] = {"success": "success", "failed": "failure", "canceled": "cancellation", "complete": "end"}
INSTANT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"


async def test_a_look_at_a_task(settings: MakeSettings) -> None:
    """All of it, while it is ready; None for another tenant, and once it has ended."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        task_id = await tasks.on(tenant="acme", retries=7).enqueue(jobs.note, "hello")
        task = await tasks.get_task(task_id, tenant="acme")
        assert task is not None
        assert (task.task_id, task.tenant, task.queue, task.batch_id) == (task_id, "acme", "default", None)
        assert (task.call, task.state) == (f"{Jobs.__module__}:Jobs.note", "ready")
        assert (task.retries, task.attempt, task.retries_left) == (7, 1, 6)
        assert abs(task.enqueued_at - datetime.now(UTC)) < timedelta(minutes=1)
        assert (task.due_at, task.died_at, task.error_type, task.error_message, task.traceback) == (None,) * 5
        assert await tasks.get_task(task_id, tenant="other") is None
        await tasks.cancel_task(task_id)
        assert await tasks.get_task(task_id) is None


async def test_queues_are_counted(settings: MakeSettings) -> None:
    """Ready, running, delayed and dead; zeros for an unknown queue; those served here are listed though empty."""
    jobs = Jobs()
    async with working(settings(max_workers=1, queues=["default", "empty"]), jobs) as tasks:
        await died(tasks, await tasks.on(retries=1).enqueue(jobs.fail, "dead"))
        await tasks.enqueue(jobs.wait, "running")
        await jobs.noted("running begins")
        waiting = [await tasks.enqueue(jobs.note, str(number)) for number in range(3)]
        delayed = await tasks.on(delay=HOUR).enqueue(jobs.note, "later")
        other = await tasks.on("other", tenant="acme").enqueue(jobs.note, "other")
        queue = await tasks.get_queue("default")
        assert (queue.length, queue.running, queue.delayed, queue.deadletter) == (3, 1, 1, 1)
        assert [(each.name, each.length) for each in await tasks.get_queues()] == [
            ("default", 3), ("empty", 0), ("other", 1),
        ]  # fmt: skip
        nothing = await tasks.get_queue("nobody-knows")
        assert (nothing.length, nothing.running, nothing.delayed, nothing.deadletter) == (0, 0, 0, 0)
        assert (await tasks.get_queue("other", tenant="acme")).length == 1
        assert (await tasks.get_queue("default", tenant="acme")).length == 0
        assert sorted(await tasks.get_tenants()) == ["acme", "default"]
        for task_id in (*waiting, delayed, other):
            await tasks.cancel_task(task_id)
        jobs.go_on.set()
        await jobs.noted("running ends")


async def test_lists_are_paged_and_in_order(settings: MakeSettings) -> None:
    """Ready tasks in serving order, delayed ones by their time, dead ones the last first; of one tenant if asked."""
    jobs = Jobs()
    async with processor_of(settings(retries=1, max_workers=1), jobs) as tasks:
        ready = [await tasks.enqueue(jobs.fail, str(number)) for number in range(5)]
        late, soon = [await tasks.on(delay=hours * HOUR).enqueue(jobs.note, "later") for hours in (2, 1)]
        assert [task.task_id for task in await tasks.get_tasks_in_queue("default")] == ready
        assert [task.task_id for task in await tasks.get_tasks_in_queue("default", 1, 2)] == ready[1:3]
        assert [task.task_id for task in await tasks.get_delayed_tasks("default")] == [soon, late]
        assert await tasks.get_tasks_in_queue("default", tenant="other") == []
        await tasks.cancel_task(ready[2])
        assert [task.task_id for task in await tasks.get_tasks_in_queue("default", 2, 5)] == ready[3:]
        async with running(tasks):
            await died(tasks, ready[4])
        dead = [task.task_id for task in await tasks.get_dead_tasks("default")]
        assert set(dead) == set(ready) - {ready[2]}
        assert [task.task_id for task in await tasks.get_dead_tasks("default", 1, 1)] == dead[1:2]
        for task_id in (soon, late):
            await tasks.cancel_task(task_id)
        with pytest.raises(ValueError, match="skip=-1"):
            await tasks.get_tasks_in_queue("default", -1)


async def test_workers_show_what_they_are(settings: MakeSettings) -> None:
    """Host, process, queues, slots, and how many tasks it runs; gone when it has ended."""
    jobs = Jobs()
    async with processor_of(settings(queues=["high", "default"], max_workers=7), jobs) as tasks:
        async with running(tasks):
            await tasks.enqueue(jobs.wait, "task")
            await jobs.noted("task begins")
            [worker] = await tasks.get_workers()
            assert (worker.host, worker.pid) == (socket.gethostname(), os.getpid())
            assert (worker.queues, worker.max_workers, worker.running) == (["high", "default"], 7, 1)
            assert abs(worker.since - datetime.now(UTC)) < timedelta(minutes=1)
            assert worker.alive_until > worker.since
            jobs.go_on.set()
        assert await tasks.get_workers() == []


async def test_explain_says_why_a_task_does_not_run(settings: MakeSettings) -> None:
    """Ready behind others, paused, not served, delayed, running, failed before, dead, held, gone."""
    jobs = Jobs()
    async with processor_of(settings(max_workers=1), jobs) as tasks:
        first, second = [await tasks.enqueue(jobs.wait, name) for name in ("first", "second")]
        assert "It is ready, next in queue default. No worker serves queue default" in await tasks.explain(first)
        assert "behind 1 other" in await tasks.explain(second)
        await tasks.pause()
        assert "Everything is paused" in await tasks.explain(first)
        await tasks.resume()
        delayed = await tasks.on(delay=HOUR).enqueue(jobs.note, "later")
        assert re.match(rf"It is delayed until {INSTANT}\. ", await tasks.explain(delayed))
        async with running(tasks):
            await jobs.noted("first begins")
            [worker] = await tasks.get_workers()
            said = await tasks.explain(first)
            assert re.fullmatch(rf"Its attempt 1 runs on worker {worker.id}, whose lease ends at {INSTANT}\.", said)
            assert await tasks.explain(second) == (
                "It is ready, next in queue default. Its workers have no free slot: they run 1 task."
            )
            jobs.go_on.set()
            await jobs.noted("second ends")
        assert "has ended" in await tasks.explain(first)
        assert "There is no such task" in await tasks.explain(delayed, tenant="other")
        await tasks.cancel_task(delayed)


async def test_explain_tells_of_failures(settings: MakeSettings) -> None:
    """After a failed attempt, and dead with its error."""
    jobs = Jobs()

    def delay(_ctx: TaskContext, _left: int) -> timedelta:
        return HOUR

    async with working(settings(retries=2, on_task_failed_delay=delay), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.fail, "the parcel is lost")
        await wait_until(lambda: tasks.get_delayed_tasks("default"))
        assert "After a failed attempt it waits" in await tasks.explain(task_id)
        await tasks.cancel_task(task_id)
        task_id = await tasks.on(retries=1).enqueue(jobs.fail, "the parcel is lost")
        await died(tasks, task_id)
        said = await tasks.explain(task_id)
        assert re.fullmatch(rf"It is dead since {INSTANT}: ValueError: the parcel is lost. Retry or discard it.", said)


async def test_explain_says_that_workers_drain(settings: MakeSettings) -> None:
    """All that serve the queue, or some beside those that are busy."""
    jobs = Jobs()
    made = settings(max_workers=1)
    async with working(made, jobs) as tasks:
        [drained] = await tasks.get_workers()
        assert await tasks.drain_worker(drained.id)
        first = await tasks.enqueue(jobs.wait, "first")
        assert await tasks.explain(first) == (
            "It is ready, next in queue default. "
            "All workers that serve it are draining: let one go on, or start another."
        )
        async with processor_of(made, jobs) as other, running(other):
            await jobs.noted("first begins")
            second = await tasks.enqueue(jobs.note, "second")
            assert await tasks.explain(second) == (
                "It is ready, next in queue default. "
                "Its workers have no free slot: they run 1 task; 1 more that serves it is draining."
            )
            jobs.go_on.set()
            await jobs.noted("second")


async def test_explain_says_that_workers_have_died(settings: MakeSettings) -> None:
    """The one that ran the task, with what comes of it, and those that served its queue."""
    jobs, made = Jobs(), settings()
    async with processor_of(made, jobs) as tasks:
        lost = await tasks.enqueue(jobs.note, "lost")
        await lose(made, "lost", "default")
        began = rf"Its attempt 1 began on worker lost, which has shown no sign of life since {INSTANT}"
        await wait_until(
            lambda: _says(tasks, lost, rf"{began}, and no worker runs that could take it back: start one.")
        )
        ready = await tasks.enqueue(jobs.note, "ready")
        seen = rf"No worker that serves queue default has shown a sign of life since {INSTANT}: start one."
        assert await _says(tasks, ready, rf"It is ready, next in queue default. {seen}")
        await lease(made, "busy", "default", 1, lives_for=HOUR)
        assert await _says(tasks, lost, rf"{began}: it goes back to its queue within seconds.")
        assert "Its attempt 1 runs on worker busy" in await tasks.explain(ready)
        await tasks._opened().storage.beat("busy", 1)
        await run_until_idle(tasks)
        assert sorted(jobs.notes) == ["lost", "ready"]


async def _says(tasks: TaskProcessor, task_id: str, pattern: str) -> bool:
    return re.fullmatch(pattern, await tasks.explain(task_id)) is not None


async def test_explain_says_what_a_continuation_waits_for(settings: MakeSettings) -> None:
    """The awaited end, how the batch is or has ended, and what helps then."""
    jobs = Jobs()
    async with working(settings(retries=1), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.wait, "task")
            batch.enqueue(jobs.fail, "no")
            for when in AWAITED:
                batch.on(when=when).continue_with(jobs.note, when)
        held = {task.awaits: task.task_id for task in await tasks.get_continuations(batch.id)}
        assert list(held) == list(AWAITED)
        await wait_until(lambda: tasks.get_dead_tasks("default"))
        for when, awaited in AWAITED.items():
            assert await tasks.explain(held[when]) == (
                f"It waits for the {awaited} of batch {batch.id}, which is running: 0 of 2 done, 1 failed."
            )
        jobs.go_on.set()
        await ended(tasks, batch.id)
        which = f"of batch {batch.id}, which has failed"
        assert await tasks.explain(held["success"]) == (
            f"It waits for the success {which}: retry its dead tasks, or cancel this task."
        )
        assert await tasks.explain(held["canceled"]) == (
            f"It waits for the cancellation {which}: cancel this task, unless more is to be appended to the batch."
        )
        await jobs.noted("failed", "complete")
        for when in ("success", "canceled"):
            assert await tasks.cancel_task(held[when])
        await tasks.discard_dead_tasks("default")


async def test_explain_of_a_batch_that_is_being_canceled(settings: MakeSettings) -> None:
    """What waits for another end of it will not run."""
    jobs = Jobs()
    made = settings()
    async with processor_of(made, jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.note, "task")
            batch.continue_with(jobs.note, "success")
        await lease(made, "busy", "default", 1, lives_for=HOUR)
        assert await tasks.cancel_batch(batch.id)
        [held] = await tasks.get_continuations(batch.id)
        assert await tasks.explain(held.task_id) == (
            f"It waits for the success of batch {batch.id}, which is being canceled: it will not run."
        )
        await tasks._opened().storage.beat("busy", 1)
        await run_until_idle(tasks)


async def test_explain_of_a_batch(settings: MakeSettings) -> None:
    """That the id is a batch's, and how far that is; to another tenant it is unknown."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        async with tasks.batch(tenant="acme") as batch:
            batch.enqueue(jobs.wait, "long")
            batch.enqueue(jobs.note, "short")

        async def is_half_done() -> bool:
            found = await tasks.get_batch(batch.id)
            return found is not None and found.done == 1

        await wait_until(is_half_done)
        assert await tasks.explain(batch.id) == "The batch is running, 1 of 2 done."
        assert "There is no such task" in await tasks.explain(batch.id, tenant="other")
        jobs.go_on.set()
        await ended(tasks, batch.id)
        assert await tasks.explain(batch.id) == "The batch has succeeded, 2 of 2 done."


async def test_explain_why_a_batch_stands_still(settings: MakeSettings) -> None:
    """What its next task waits for: a worker, its time, the end of a pause, which is said of one that runs, too."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        async with tasks.batch("nobody", tenant="acme") as lonely:
            lonely.enqueue(jobs.note, "a")
        begin = "The batch is running, 0 of 1 done."
        unserved = (
            "Its next task is ready in queue nobody. No worker serves queue nobody: add it to the `queues` of one."
        )
        assert await tasks.explain(lonely.id) == f"{begin} {unserved}"
        async with tasks.batch(tenant="acme") as later:
            later.on(delay=HOUR).enqueue(jobs.note, "a")
        async with running(tasks):
            assert re.fullmatch(rf"{begin} Its next task is due at {INSTANT}\.", await tasks.explain(later.id))
            async with tasks.batch(tenant="acme") as busy:
                busy.enqueue(jobs.wait, "a")
            await jobs.noted("a begins")
            assert await tasks.explain(busy.id) == begin
            await tasks.pause(tenant="acme", reason="audit", by="ann")
            held = "Tenant acme is paused by ann (audit): resume the tenant."
            assert await tasks.explain(busy.id) == f"{begin} {held}"
            assert await tasks.explain(lonely.id, tenant="other") == await tasks.explain("nothing")
            await tasks.resume(tenant="acme")
            jobs.go_on.set()
            await ended(tasks, busy.id)
        for batch in (lonely, later):
            assert await tasks.cancel_batch(batch.id)


async def test_many_queues_are_looked_at_in_steps(
    settings: MakeSettings, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no script holds Redis up; all of them are told, by name."""
    made, sizes = settings(), list[int]()
    look = Looking.queues

    async def noting(looking: Looking, names: Sequence[str]) -> list[QueueInfo]:
        sizes.append(len(names))
        return await look(looking, names)

    monkeypatch.setattr(Looking, "queues", noting)
    names = [f"q{number:03}" for number in range(450)]
    async with processor_of(made) as tasks:
        client.sadd(f"{made.prefix}:queues", *names)
        assert [queue.name for queue in await tasks.get_queues()] == ["default", *names]
        client.delete(f"{made.prefix}:queues")
    assert (sum(sizes), max(sizes)) == (451, 10)
