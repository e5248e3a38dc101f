"""What becomes of a task: done, tried again, dead or discarded; and of a dead one, retried or discarded."""

from datetime import UTC, datetime, timedelta

import pytest

from taskproc import TaskContext
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import Jobs, died, ended, gone, working


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Failing:
    """Fails in awkward ways."""

    def __init__(self) -> None:
        self.attempts = 0

    async def unprintable(self) -> None:
        raise UnprintableError

    async def endless(self) -> None:
        raise ValueError("ü" * 1_000_000)

    async def deep(self, depth: int = 900) -> None:
        if depth == 0:
            raise ValueError("at the bottom")
        await self.deep(depth - 1)

    async def until_third(self) -> None:
        self.attempts += 1
        if self.attempts < 3:
            raise ValueError(f"attempt {self.attempts}")


@pytest.mark.parametrize("method", ["note", "note_in_thread"])
async def test_a_done_task_leaves_nothing(settings: MakeSettings, method: str) -> None:
    """An async and a `def` method are called once with their arguments, and the task is gone."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        await gone(tasks, await tasks.enqueue(getattr(jobs, method), "hello"))
        assert jobs.notes == ["hello"]


async def test_retries_count_the_failures_allowed(settings: MakeSettings) -> None:
    """With 3 retries a task that always fails runs three times; the delay is asked with 2, then 1, failures left."""
    jobs = Jobs()
    asked: list[int] = []

    def delay(_ctx: TaskContext, left: int) -> None:
        asked.append(left)

    async with working(settings(on_task_failed_delay=delay), jobs) as tasks:
        await died(tasks, await tasks.enqueue(jobs.fail, "again"))
    assert jobs.notes == ["fails again"] * 3
    assert asked == [2, 1]


async def test_retries_said_with_the_task_win(settings: MakeSettings) -> None:
    """`on(retries=1)` is a single attempt, and nobody asks for a delay."""
    jobs = Jobs()
    asked: list[int] = []

    def delay(_ctx: TaskContext, left: int) -> None:
        asked.append(left)

    async with working(settings(on_task_failed_delay=delay), jobs) as tasks:
        await died(tasks, await tasks.on(retries=1).enqueue(jobs.fail, "once"))
    assert (jobs.notes, asked) == (["fails once"], [])


async def test_a_task_may_succeed_at_its_last_attempt(settings: MakeSettings) -> None:
    """Two failures of three are forgotten: the task is done, as is its batch."""
    failing = Failing()
    async with working(settings(on_task_failed_delay=None), failing) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(failing.until_third)
        outcome = await ended(tasks, batch.id)
    assert (failing.attempts, outcome.state, outcome.done, outcome.failed) == (3, "done", 1, 0)


async def test_a_failed_attempt_waits_for_its_delay(settings: MakeSettings) -> None:
    """Until the delay is over the task is delayed, and a look at it tells when its next attempt comes."""
    jobs = Jobs()
    asked: list[TaskContext] = []

    def delay(ctx: TaskContext, _left: int) -> timedelta:
        asked.append(ctx)
        return timedelta(hours=1)

    async with working(settings(on_task_failed_delay=delay), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.fail, "later")
        [task] = await wait_until(lambda: tasks.get_delayed_tasks("default"))
        assert (task.task_id, task.state, task.attempt, task.retries_left) == (task_id, "delayed", 2, 1)
        assert task.due_at is not None
        assert abs(task.due_at - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)
        assert (asked[0].task_id, asked[0].attempt) == (task_id, 1)
        await tasks.cancel_task(task_id)


async def test_by_default_a_failed_attempt_waits_about_a_second(settings: MakeSettings) -> None:
    """Without a hook of one's own the first failure waits for 1 s, give or take a fifth."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.fail, "soon")
        [task] = await wait_until(lambda: tasks.get_delayed_tasks("default"))
        assert task.due_at is not None
        assert 0.8 <= (task.due_at - task.enqueued_at).total_seconds() < 3
        await tasks.cancel_task(task_id)


async def test_a_dead_task_carries_its_last_error(settings: MakeSettings) -> None:
    """Type, message and traceback of the last failure, and when it died."""
    jobs = Jobs()
    async with working(settings(retries=1), jobs) as tasks:
        task = await died(tasks, await tasks.enqueue(jobs.fail, "the parcel is lost"))
        assert (task.error_type, task.error_message) == ("ValueError", "the parcel is lost")
        assert "in fail\n    raise ValueError(message)" in (task.traceback or "")
        assert task.died_at is not None
        assert abs(datetime.now(UTC) - task.died_at) < timedelta(minutes=1)
        assert (task.attempt, task.retries, task.retries_left) == (1, 1, 0)
        assert await tasks.get_dead_tasks("default") == [task]


@pytest.mark.parametrize(
    "method, kept",
    [
        ("unprintable", "<its text cannot be shown: RuntimeError>"),
        ("endless", "998000 characters"),
        ("deep", "at the bottom"),
    ],
)
async def test_an_error_that_cannot_be_shown_is_kept_bounded(settings: MakeSettings, method: str, kept: str) -> None:
    """An error whose text raises, is huge, or comes from a deep recursion ends in the dead letters like any other."""
    failing = Failing()
    async with working(settings(retries=1), failing) as tasks:
        task = await died(tasks, await tasks.enqueue(getattr(failing, method)))
    assert kept in (task.error_message or "")
    assert len(task.error_message or "") + len(task.traceback or "") < 20_000


async def test_without_dead_letters_a_failed_task_is_discarded(settings: MakeSettings) -> None:
    """With `deadletter=False` nothing of it is kept, and its batch has failed."""
    jobs = Jobs()
    async with working(settings(retries=1, deadletter=False), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.fail, "no matter")
            batch.enqueue(jobs.note, "fine")
        outcome = await ended(tasks, batch.id)
        assert (outcome.state, outcome.total, outcome.done, outcome.failed) == ("failed", 2, 1, 1)
        assert await tasks.get_dead_tasks("default") == []


async def test_a_dead_task_that_is_retried_has_all_its_attempts_again(settings: MakeSettings) -> None:
    """`retry_dead_tasks` lets it fail as often as before; its batch runs meanwhile, and fails again."""
    jobs = Jobs()
    async with working(settings(retries=2, on_task_failed_delay=None), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.fail, "again")
        assert (await ended(tasks, batch.id)).state == "failed"
        await tasks.pause()
        assert await tasks.retry_dead_tasks("default") == 1
        reopened = await tasks.get_batch(batch.id)
        assert reopened is not None
        assert (reopened.state, reopened.failed, reopened.remaining) == ("running", 0, 1)
        await tasks.resume()
        outcome = await ended(tasks, batch.id)
        assert (outcome.state, outcome.failed, outcome.total) == ("failed", 1, 1)
        assert jobs.notes == ["fails again"] * 4


async def test_a_dead_task_may_be_retried_with_more_attempts(settings: MakeSettings) -> None:
    """`retry_dead_tasks(retries=3)` replaces the number of failures allowed."""
    failing = Failing()
    async with working(settings(retries=1, on_task_failed_delay=None), failing) as tasks:
        task_id = await tasks.enqueue(failing.until_third)
        await died(tasks, task_id)
        assert await tasks.retry_dead_tasks("default", retries=2, task_ids=[task_id]) == 1
        await gone(tasks, task_id)
    assert failing.attempts == 3


async def test_discarded_dead_tasks_are_gone(settings: MakeSettings) -> None:
    """`discard_dead_tasks` removes the named one, then as many as are asked for; their batch stays failed."""
    jobs = Jobs()
    async with working(settings(retries=1), jobs) as tasks:
        async with tasks.batch() as batch:
            for number in range(4):
                batch.enqueue(jobs.fail, str(number))
        await ended(tasks, batch.id)
        dead = await tasks.get_dead_tasks("default")
        assert await tasks.discard_dead_tasks("default", task_ids=[dead[0].task_id]) == 1
        assert await tasks.get_task(dead[0].task_id) is None
        assert await tasks.discard_dead_tasks("default", count=2) == 2
        assert (await tasks.get_queue("default")).deadletter == 1
        assert await tasks.discard_dead_tasks("default") == 1
        outcome = await ended(tasks, batch.id)
    assert (outcome.state, outcome.failed, outcome.total) == ("failed", 4, 4)


async def test_dead_tasks_of_another_tenant_are_left_alone(settings: MakeSettings) -> None:
    """With `tenant=` only that tenant's dead tasks are retried or discarded."""
    jobs = Jobs()
    async with working(settings(retries=1), jobs) as tasks:
        task_id = await tasks.on(tenant="acme").enqueue(jobs.fail, "acme's")
        await died(tasks, task_id)
        assert await tasks.retry_dead_tasks("default", tenant="other") == 0
        assert await tasks.discard_dead_tasks("default", task_ids=[task_id], tenant="other") == 0
        assert await tasks.discard_dead_tasks("default", tenant="acme") == 1
