"""In which order tasks are handed out, and when none is: strict queues, fair queues, delays, pause."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import MS, Jobs, processor_of, running, working


async def test_the_first_queue_that_holds_something_is_served_first(settings: MakeSettings) -> None:
    """High before default before low, whatever came first; within a queue in the order of their coming."""
    jobs = Jobs()
    queues = ["high", "default", "low"]
    async with processor_of(settings(queues=queues, max_workers=1), jobs) as tasks:
        for queue in reversed(queues):
            for number in range(3):
                await tasks.on(queue).enqueue(jobs.note, f"{queue} {number}")
        async with running(tasks):
            await jobs.noted("low 2")
    assert jobs.notes == [f"{queue} {number}" for queue in queues for number in range(3)]


async def test_a_queue_that_is_not_named_is_not_served(settings: MakeSettings) -> None:
    """A task in a queue of others stays there."""
    jobs = Jobs()
    async with working(settings(queues=["mine"]), jobs) as tasks:
        task_id = await tasks.on("theirs").enqueue(jobs.note, "theirs")
        await tasks.on("mine").enqueue(jobs.note, "mine")
        await jobs.noted("mine")
        assert [task.task_id for task in await tasks.get_tasks_in_queue("theirs")] == [task_id]
        await tasks.cancel_task(task_id)
    assert jobs.notes == ["mine"]


async def test_a_fair_queue_serves_its_tenants_in_turn(settings: MakeSettings) -> None:
    """A tenant with one task waits for one task of the tenant with many, not for all of them."""
    jobs = Jobs()
    async with processor_of(settings(queues=["shared[fair]"], max_workers=1), jobs) as tasks:
        for number in range(4):
            await tasks.on("shared[fair]", tenant="big").enqueue(jobs.note, f"big {number}")
        for number in range(2):
            await tasks.on("shared[fair]", tenant="small").enqueue(jobs.note, f"small {number}")
        async with running(tasks):
            await jobs.noted("big 3")
    assert jobs.notes == ["big 0", "small 0", "big 1", "small 1", "big 2", "big 3"]


async def test_no_more_tasks_run_than_there_are_slots(settings: MakeSettings) -> None:
    """With two slots two tasks run, async and `def` ones together; the third waits in its queue."""
    jobs = Jobs()
    async with working(settings(max_workers=2), jobs) as tasks:
        await tasks.enqueue(jobs.wait, "a")
        await tasks.enqueue(jobs.wait_in_thread, "b")
        await jobs.noted("a begins", "b begins")
        await tasks.enqueue(jobs.note, "c")
        await asyncio.sleep(0.05)
        queue = await tasks.get_queue("default")
        assert (queue.length, queue.running) == (1, 2)
        assert "c" not in jobs.notes
        jobs.go_on.set()
        await jobs.noted("c")


async def test_a_delayed_task_starts_soon_after_its_time(settings: MakeSettings) -> None:
    """An idle worker starts it long before its next look at the queues, and not before its time."""
    jobs = Jobs()
    async with working(settings(base_frequency=timedelta(seconds=30)), jobs) as tasks:
        begun = time.monotonic()
        await tasks.on(delay=300 * MS).enqueue(jobs.note, "delayed")
        await tasks.on(delay_until=datetime.now(UTC) + 600 * MS).enqueue(jobs.note, "until")
        await jobs.noted("delayed")
        assert 0.3 <= time.monotonic() - begun < 0.58
        await jobs.noted("until")
        assert 0.59 <= time.monotonic() - begun < 1.5


async def test_a_delay_that_comes_later_may_be_due_first(settings: MakeSettings) -> None:
    """A worker that waits for a task due in an hour hears of those that are due before it."""
    jobs = Jobs()
    async with working(settings(base_frequency=timedelta(seconds=30)), jobs) as tasks:
        task_id = await tasks.on(delay=timedelta(hours=1)).enqueue(jobs.note, "in an hour")
        begun = time.monotonic()
        for number in range(5):
            await tasks.on(delay=100 * MS).enqueue(jobs.note, f"soon {number}")
            await jobs.noted(f"soon {number}")
        assert time.monotonic() - begun < 2  # the sweep, which comes every second, would have taken longer
        assert [task.task_id for task in await tasks.get_delayed_tasks("default")] == [task_id]
        await tasks.cancel_task(task_id)


async def test_delays_that_began_before_the_worker_are_kept(settings: MakeSettings) -> None:
    """It learns of them with its first fetch, and of the next one with each that it runs."""
    jobs = Jobs()
    async with processor_of(settings(base_frequency=timedelta(seconds=30)), jobs) as tasks:
        for number in range(5):
            await tasks.on(delay=(number + 2) * 100 * MS).enqueue(jobs.note, str(number))
        begun = time.monotonic()
        async with running(tasks):
            await jobs.noted("1")
            assert time.monotonic() - begun < 0.6
            await jobs.noted("4")
            assert time.monotonic() - begun < 1.2
    assert jobs.notes == ["0", "1", "2", "3", "4"]


async def test_what_is_past_means_now(settings: MakeSettings) -> None:
    """A negative delay, and an instant that is over, start at once."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        await tasks.on(delay=timedelta(days=-1)).enqueue(jobs.note, "delay")
        await tasks.on(delay_until=datetime(2001, 1, 1, tzinfo=UTC)).enqueue(jobs.note, "until")
        await jobs.noted("delay", "until")


async def test_due_tasks_of_a_queue_that_nobody_serves_become_ready(settings: MakeSettings) -> None:
    """Any worker moves them on, for whoever will serve that queue."""
    jobs = Jobs()
    async with working(settings(pushback_frequency=100 * MS), jobs) as tasks:
        task_id = await tasks.on("theirs", delay=100 * MS).enqueue(jobs.note, "theirs")
        await wait_until(lambda: tasks.get_tasks_in_queue("theirs"))
        await tasks.cancel_task(task_id)


async def test_while_paused_nothing_is_handed_out(settings: MakeSettings) -> None:
    """After `pause()` a running task goes on, a new and a due one wait; `resume()` lets them start at once."""
    jobs = Jobs()
    async with working(settings(base_frequency=timedelta(seconds=30)), jobs) as tasks:
        await tasks.enqueue(jobs.wait, "running")
        await jobs.noted("running begins")
        await tasks.pause()
        assert await tasks.is_paused()
        await tasks.enqueue(jobs.note, "new")
        await tasks.on(delay=50 * MS).enqueue(jobs.note, "due")
        jobs.go_on.set()
        await jobs.noted("running ends")
        await asyncio.sleep(0.2)
        assert jobs.notes == ["running begins", "running ends"]
        await tasks.resume()
        await jobs.noted("new", "due", seconds=2)
        assert not await tasks.is_paused()


async def test_a_pause_holds_for_workers_that_start_later(settings: MakeSettings) -> None:
    """It is stored: a worker that begins while paused hands out nothing, until somebody resumes."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        await tasks.pause()
        await tasks.enqueue(jobs.note, "waiting")
        async with running(tasks):
            await asyncio.sleep(0.1)
            assert jobs.notes == []
            await tasks.resume()
            await jobs.noted("waiting", seconds=2)
