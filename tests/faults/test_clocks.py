"""Clocks that are wrong or are set: Redis's alone says when something is due, workers measure how long it runs."""

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from statistics import median

import pytest

from taskproc import ScheduleData, TaskProcessor, TaskProcessorSettings
from tests.conftest import MakeSettings
from tests.faults import jobs
from tests.faults.jobs import JOURNAL
from tests.faults.kit import SECOND, Journal, environment, workers
from tests.kit import Process, Proxy, Server, process, wait_until
from tests.worker.kit import MS, Jobs, died, ended, gone, processor_of, running, working

HOUR = 3_600

WORKER = """
import sys
from tests.kit.clocks import set_wall_clock
set_wall_clock(float(sys.argv[1]))

import asyncio
from tests.faults import jobs
asyncio.run(jobs.work())
"""

PRODUCER = """
import sys
from tests.kit.clocks import set_wall_clock
set_wall_clock(float(sys.argv[1]))

import asyncio
from datetime import timedelta
from statistics import median
from taskproc import TaskProcessor, TaskProcessorSettings
from tests.faults import jobs

async def main():
    async with TaskProcessor(TaskProcessorSettings()) as tasks:
        await tasks.enqueue(jobs.run, "now")
        await tasks.on(delay=timedelta(seconds=1)).enqueue(jobs.run, "later")
        await tasks.on(delay=timedelta(hours=2)).enqueue(jobs.run, "much-later")

asyncio.run(main())
"""


@contextmanager
def worker_ahead(made: TaskProcessorSettings, journal: Journal, seconds: float) -> Generator[Process]:
    """A worker process whose wall clock is ahead, or behind."""
    with process(["-c", WORKER, str(seconds)], environment(made) | {JOURNAL: str(journal.path)}) as started:
        yield started


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
async def test_a_worker_whose_clock_is_wrong(settings: MakeSettings, journal: Journal, ahead: int) -> None:
    """It starts tasks and cycles at their time, by Redis's clock, and ends what runs too long after its time."""
    made = settings(worker_timeout=60 * SECOND, base_frequency=60 * SECOND, retries=1, use_cron_seconds=True)
    async with TaskProcessor(made) as tasks:
        with worker_ahead(made, journal, ahead) as started:
            await tasks.enqueue(jobs.run, "first")
            await journal.noted("run:1", 1)
            [first] = journal.events("run:1")
            assert abs(first.at - ahead - time.time()) < 5, "the clock is right"
            await _start_in_time(tasks, journal)
            began = time.monotonic()
            overdue = await tasks.on(invisibility=SECOND).enqueue(jobs.wait, "overdue")
            await journal.noted("cancelled", 1)
            assert 0.9 < time.monotonic() - began < 2
            assert (await died(tasks, overdue)).error_type == "taskproc.errors.TaskTimeoutError"
            await _runs_every_second(tasks, journal)
            started.terminate()
        assert await tasks.discard_dead_tasks("default") == 1


async def _start_in_time(tasks: TaskProcessor, journal: Journal) -> None:
    """Most of them earlier than maintenance, once a second, would bring to pass."""
    began, delays, late = time.monotonic(), [0.5, 0.8, 1.1, 1.4, 1.7], list[float]()
    for delay in delays:
        await tasks.on(delay=delay * SECOND).enqueue(jobs.run, "later")
    for number, delay in enumerate(delays, 2):
        await journal.noted("run:1", number)
        late.append(time.monotonic() - began - delay)
    assert min(late) > -0.05
    assert median(late) < 0.25, late


async def _runs_every_second(tasks: TaskProcessor, journal: Journal) -> None:
    await tasks.upsert_schedule(ScheduleData(id="s", cron="* * * * * *"), jobs.run, "cycle")
    before = len(journal.events("run:1"))
    began = time.monotonic()
    await journal.noted("run:1", before + 2)
    assert time.monotonic() - began > 0.9
    await tasks.cancel_schedule("s")


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
async def test_a_producer_whose_clock_is_wrong(settings: MakeSettings, journal: Journal, ahead: int) -> None:
    """Delays are lengths of time: they begin when Redis gets the task."""
    made = settings(base_frequency=60 * SECOND)
    async with TaskProcessor(made) as tasks:
        with worker_ahead(made, journal, 0) as started:
            await workers(tasks, 1)
            with process(["-c", PRODUCER, str(ahead)], environment(made)) as producer:
                assert producer.wait() == 0
            await journal.noted("run:1", 2)
            started.terminate()
        now, later = journal.events("run:1")
        assert (now.name, later.name) == ("now", "later")
        assert 0.8 < later.at - now.at < 1.5
        [much_later] = await tasks.get_delayed_tasks("default")
        assert much_later.due_at == much_later.enqueued_at + timedelta(hours=2)
        assert await tasks.cancel_task(much_later.task_id)


async def test_a_clock_that_is_set_while_tasks_run(settings: MakeSettings, journal: Journal) -> None:
    """Neither forward nor back ends what runs, nor keeps what comes from running."""
    made = settings(worker_timeout=SECOND, retries=1)
    async with TaskProcessor(made) as tasks:
        with worker_ahead(made, journal, 0) as started:
            waiting = await tasks.on(invisibility=10 * SECOND).enqueue(jobs.wait, "task")
            await journal.noted("begins", 1)
            for number, ahead in enumerate((HOUR, -HOUR), 1):
                await tasks.enqueue(jobs.set_clock, f"{ahead}", ahead)
                await journal.noted("set", number)
                await tasks.on(delay=200 * MS).enqueue(jobs.run, "later")
                await journal.noted("run:1", number, seconds=2)
            assert journal.events("cancelled") == []
            journal.let_go()
            await gone(tasks, waiting)
            started.terminate()
    assert len(journal.events("ends")) == 1


# Redis's clock


@contextmanager
def clock(server: Server) -> Generator[Proxy]:
    """A way to the server on which its clock can be set."""
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_redis_clock_is_set_while_workers_run(settings: MakeSettings, server: Server, step: int) -> None:
    """Nobody dies of it, no attempt is failed or run again, and what is new runs at once."""
    work = Jobs()
    with clock(server) as proxy:
        made = settings(worker_timeout=SECOND, invisibility=10 * SECOND, retries=1, base_frequency=500 * MS)
        made.redis = proxy.url
        async with processor_of(made, work) as tasks, running(tasks), working(made, work):
            async with tasks.batch() as batch:
                for number in range(6):
                    batch.enqueue(work.wait, str(number))
            await wait_until(lambda: len(work.notes) == 6)
            before = {worker.id for worker in await tasks.get_workers()}
            proxy.set_clock(step)
            await gone(tasks, await tasks.enqueue(work.note, "new"))
            await tasks.on(delay=300 * MS).enqueue(work.note, "delayed")
            await work.noted("delayed", seconds=2)
            await asyncio.sleep(3)  # in which the dead would be taken back
            assert {worker.id for worker in await tasks.get_workers()} == before
            work.go_on.set()
            outcome = await ended(tasks, batch.id)
        assert (outcome.done, outcome.failed) == (6, 0)
    assert sorted(work.notes) == sorted(["new", "delayed", *(f"{n} {what}" for n in range(6) for what in STEPS)])


STEPS = ("begins", "ends")


async def test_a_delay_follows_redis_clock(settings: MakeSettings, server: Server) -> None:
    """What is due in half an hour is due at once when the clock is put forward by an hour."""
    work = Jobs()
    with clock(server) as proxy:
        made = settings(base_frequency=200 * MS)
        made.redis = proxy.url
        async with working(made, work) as tasks:
            await tasks.on(delay=timedelta(minutes=30)).enqueue(work.note, "due")
            proxy.set_clock(HOUR)
            await work.noted("due", seconds=2)
