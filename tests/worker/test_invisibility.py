"""How long an attempt may run, and how it gets more time."""

import asyncio
import threading
import time
from datetime import timedelta

from taskproc import TaskContext, background, current_task
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import MS, Jobs, died, ended, gone, processor_of, running, working


class Slow:
    """Takes its time."""

    def __init__(self) -> None:
        self.attempts = 0
        self.at_a_time = 0
        self.most = 0
        self.answers: list[bool] = []
        self.contexts: list[TaskContext] = []
        self.go_on = threading.Event()

    async def sleep(self, seconds: float) -> None:
        self.attempts += 1
        await asyncio.sleep(seconds)

    async def swallow(self) -> None:
        """Answers its cancel by returning."""
        self.attempts += 1
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    async def extend(self, *, by: float, until: float) -> None:
        self.attempts += 1
        ctx = current_task()
        self.contexts.append(ctx)
        self.answers.append(await ctx.extend_lock(timedelta(seconds=by)))
        await asyncio.sleep(until)

    def extend_in_thread(self) -> None:
        self.attempts += 1
        self.answers.append(current_task().blocking.extend_lock(timedelta(minutes=1)))
        time.sleep(0.6)

    def stuck(self) -> None:
        """A thread that nobody can end, until `go_on`; the second one ends at once."""
        self.attempts += 1
        self.at_a_time += 1
        self.most = max(self.most, self.at_a_time)
        if self.attempts == 1:
            self.go_on.wait(20)
        self.at_a_time -= 1

    @background(invisibility=timedelta(milliseconds=300), retries=1)
    async def short(self) -> None:
        await asyncio.sleep(60)


async def test_an_attempt_that_runs_too_long_is_cancelled_and_counted(settings: MakeSettings) -> None:
    """After `invisibility` it gets CancelledError; as often as it may fail, then it is dead with TaskTimeoutError."""
    slow = Slow()
    errors: list[BaseException] = []

    def failed(_ctx: TaskContext, error: BaseException) -> None:
        errors.append(error)

    async with working(settings(retries=2, on_task_failed_delay=None, on_task_error=failed), slow) as tasks:
        task = await died(tasks, await tasks.on(invisibility=300 * MS).enqueue(slow.sleep, 60))
    assert slow.attempts == 2
    assert task.error_type == "taskproc.errors.TaskTimeoutError"
    assert "longer than its invisibility of 0.3 s" in (task.error_message or "")
    assert [type(error).__name__ for error in errors] == ["TaskTimeoutError"] * 2


async def test_one_that_answers_the_timeout_by_returning_has_failed_too(settings: MakeSettings) -> None:
    """It ran too long, whatever it makes of its cancel."""
    slow = Slow()
    async with working(settings(retries=1), slow) as tasks:
        task = await died(tasks, await tasks.on(invisibility=300 * MS).enqueue(slow.swallow))
    assert (slow.attempts, task.error_type) == (1, "taskproc.errors.TaskTimeoutError")


async def test_a_method_may_say_its_invisibility(settings: MakeSettings) -> None:
    """`@background(invisibility=…)` on it is used when nothing is said by `on()`."""
    slow = Slow()
    async with working(settings(), slow) as tasks:
        task = await died(tasks, await tasks.enqueue(slow.short))
    assert (task.retries, task.error_type) == (1, "taskproc.errors.TaskTimeoutError")


async def test_an_extended_lock_lets_the_attempt_run_on(settings: MakeSettings) -> None:
    """`extend_lock` counts from its call; the deadline moves with it."""
    slow = Slow()
    async with working(settings(retries=1), slow) as tasks:
        task_id = await tasks.on(invisibility=500 * MS).enqueue(slow.extend, by=60, until=0.8)
        await gone(tasks, task_id)
        assert slow.answers == [True]
        assert slow.contexts[0].deadline - slow.contexts[0].enqueued_at > timedelta(seconds=50)


async def test_an_extension_never_shortens(settings: MakeSettings) -> None:
    """Asking for less time than is left changes nothing."""
    slow = Slow()
    async with working(settings(retries=1), slow) as tasks:
        await gone(tasks, await tasks.enqueue(slow.extend, by=0.05, until=0.2))
        assert slow.answers == [True]
        assert slow.contexts[0].deadline - slow.contexts[0].enqueued_at > timedelta(minutes=4)


async def test_a_thread_may_extend_its_lock(settings: MakeSettings) -> None:
    """`ctx.blocking.extend_lock` does the same for a `def` task."""
    slow = Slow()
    async with working(settings(retries=1), slow) as tasks:
        await gone(tasks, await tasks.on(invisibility=400 * MS).enqueue(slow.extend_in_thread))
    assert (slow.answers, slow.attempts) == ([True], 1)


async def test_auto_extend_renews_for_as_long_as_the_task_runs(settings: MakeSettings) -> None:
    """A task runs for many times its invisibility, once; no sweep takes it for overdue."""
    slow = Slow()
    async with working(settings(retries=1), slow) as tasks:
        task_id = await tasks.on(invisibility=300 * MS, auto_extend=True).enqueue(slow.sleep, 3)
        await gone(tasks, task_id, 6)
    assert slow.attempts == 1


async def test_a_lock_that_is_lost_cannot_be_extended(
    settings: MakeSettings,
) -> None:
    """False once the attempt has ended: what it was is others' now."""
    slow = Slow()
    async with working(settings(), slow) as tasks:
        await gone(tasks, await tasks.enqueue(slow.extend, by=60, until=0))
        assert await slow.contexts[0].extend_lock(timedelta(minutes=1)) is False


async def test_a_thread_over_its_time_keeps_its_slot(settings: MakeSettings) -> None:
    """A `def` task cannot be ended: its next attempt overlaps with it, but its slot is taken until the thread ends."""
    slow, jobs = Slow(), Jobs()
    async with working(settings(max_workers=2, on_task_failed_delay=None), slow, jobs) as tasks:
        async with tasks.batch() as batch:
            batch.on(invisibility=300 * MS).enqueue(slow.stuck)
        outcome = await ended(tasks, batch.id)
        assert (slow.attempts, slow.most, slow.at_a_time) == (2, 2, 1)
        assert (outcome.state, outcome.done, outcome.total) == ("done", 1, 1)
        await tasks.enqueue(jobs.wait, "beside")
        await jobs.noted("beside begins")
        await tasks.enqueue(jobs.note, "third")
        await asyncio.sleep(0.1)
        assert "third" not in jobs.notes
        slow.go_on.set()
        await jobs.noted("third")
        jobs.go_on.set()
        assert (await ended(tasks, batch.id)).done == 1


async def test_a_late_thread_settles_nothing(settings: MakeSettings) -> None:
    """When it ends at last, its task, dead by then, stays what it is."""
    slow = Slow()
    async with working(settings(retries=1), slow) as tasks:
        task_id = await tasks.on(invisibility=300 * MS).enqueue(slow.stuck)
        dead = await died(tasks, task_id)
        slow.go_on.set()
        await wait_until(lambda: slow.at_a_time == 0)
        await asyncio.sleep(0.05)
        assert await tasks.get_task(task_id) == dead


async def test_what_found_no_thread_in_its_time_never_begins(settings: MakeSettings) -> None:
    """The one thread is kept by a call of the worker before: a call that died waiting for it does not run later."""
    slow, jobs = Slow(), Jobs()
    made = settings(max_workers=1, retries=1, shutdown_grace=timedelta(0))
    async with processor_of(made, slow, jobs) as tasks:
        async with running(tasks):
            stuck = await tasks.enqueue(slow.stuck)
            await wait_until(lambda: slow.attempts == 1)
        assert await tasks.cancel_task(stuck)
        async with running(tasks):
            await died(tasks, await tasks.on(invisibility=300 * MS).enqueue(jobs.note_in_thread, "late"))
            slow.go_on.set()
            await gone(tasks, await tasks.enqueue(jobs.note_in_thread, "in time"))
    assert jobs.notes == ["in time"]
