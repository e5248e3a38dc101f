"""What workers report of their work, and what an observer is told."""

import time
from datetime import timedelta

import pytest
import redis

from taskproc import ScheduleData
from taskproc.keys import Keys
from taskproc.observing import Observer
from taskproc.records import Attempt, Settled
from taskproc.statistics import BOUNDS, Durations
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import Jobs, processor_of, running, working

SPAN = timedelta(minutes=5)


class Notes(Observer):
    def __init__(self) -> None:
        self.sent_to: list[tuple[str, int]] = []
        self.told: list[tuple[str, str, bool]] = []
        self.waits: list[float] = []

    def sent(self, queue: str, count: int) -> None:
        self.sent_to.append((queue, count))

    def ended(self, attempt: Attempt, settled: Settled, *, retried: bool, seconds: float, waited: float) -> None:
        self.told.append((attempt.id, settled, retried))
        self.waits.append(waited)
        assert seconds >= 0


async def test_work_is_counted(settings: MakeSettings) -> None:
    """Done, retried, failed and canceled, each once, of each queue; a worker that ends reports the rest."""
    jobs = Jobs()
    async with processor_of(settings(queues=["default", "low"]), jobs) as tasks:
        async with running(tasks):
            for number in range(5):
                await tasks.enqueue(jobs.note, str(number))
            await tasks.on("low", retries=2).enqueue(jobs.fail, "no")
            await tasks.on("low", retries=1).enqueue(jobs.note_in_thread, "thread")
            canceled = await tasks.on("low").enqueue(jobs.wait, "long")
            await jobs.noted("long begins", "thread", "4")
            await wait_until(lambda: jobs.notes.count("fails no") == 2, 10, "both attempts")
            await tasks.cancel_task(canceled)
            await jobs.noted("long cancelled")
        points = await tasks.get_statistics(SPAN)
        low = await tasks.get_statistics(SPAN, queue="low")
    assert len(points) == 5
    assert sum(point.done for point in points) == 6
    assert [sum(getattr(point, what) for point in low) for what in ("done", "failed", "retried", "canceled")] == [1] * 4
    run = sum((point.run for point in points), Durations())
    assert run.count == 9
    assert 0 < (run.quantile(0.5) or 0) < 10


async def test_worker_whose_last_report_is_refused_leaves(settings: MakeSettings, client: redis.Redis) -> None:
    """What it holds must not count as lost because of that."""
    jobs, made = Jobs(), settings()
    now = int(time.time())
    keys = [Keys(made.prefix).statistics(60, now // 60 + later) for later in range(3)]
    async with processor_of(made, jobs) as tasks:
        async with running(tasks):
            for key in keys:
                client.set(key, "no hash")
            await tasks.enqueue(jobs.note, "a")
            await jobs.noted("a")
        assert await tasks.get_workers() == []
        client.delete(*keys)


async def test_waiting_is_measured_from_when_a_task_is_ready(settings: MakeSettings) -> None:
    """A delay does not count as waiting; time spent behind others does."""
    jobs = Jobs()
    notes = Notes()
    async with processor_of(settings(), jobs) as tasks:
        tasks.observers.append(notes)
        await tasks.on(delay=timedelta(seconds=1)).enqueue(jobs.note, "late")
        async with running(tasks):
            await jobs.noted("late")
        await tasks.enqueue(jobs.note, "early")
        await wait_until(lambda: True, 1, "")
        async with running(tasks):
            await jobs.noted("early")
    assert len(notes.waits) == 2
    assert notes.waits[0] < 0.5


async def test_damaged_task_has_not_waited(settings: MakeSettings, client: redis.Redis) -> None:
    """Nobody knows since when it is ready: not since 1970."""
    jobs, notes, made = Jobs(), Notes(), settings()
    async with processor_of(made, jobs) as tasks:
        tasks.observers.append(notes)
        damaged = await tasks.enqueue(jobs.note, "a")
        client.hset(Keys(made.prefix).task(damaged), "r", "?")
        async with running(tasks):
            await wait_until(lambda: notes.waits, 10, "its end")
        await tasks.discard_dead_tasks("default")
    assert notes.waits == [0]


async def test_observers_are_told(settings: MakeSettings) -> None:
    """Of what Redis accepted, and of each attempt that it counted; one that raises changes nothing."""

    class Broken(Observer):
        def sent(self, queue: str, count: int) -> None:
            raise RuntimeError("broken")

        def ended(self, attempt: Attempt, settled: Settled, *, retried: bool, seconds: float, waited: float) -> None:
            raise RuntimeError("broken")

    jobs, notes = Jobs(), Notes()
    async with processor_of(settings(), jobs) as tasks:
        tasks.observers += [Broken(), notes]
        async with running(tasks):
            failing = await tasks.on(retries=2).enqueue(jobs.fail, "no")
            async with tasks.batch("default") as batch:
                for number in range(3):
                    batch.enqueue(jobs.note, str(number))
            await wait_until(lambda: len(notes.told) == 5, 10, "five attempts")
    assert sorted(notes.sent_to) == [("default", 1), ("default", 3)]
    assert len(notes.told) == 5
    assert [one for one in notes.told if one[0] == failing] == [(failing, "failed", True), (failing, "failed", False)]
    assert [settled for _, settled, _ in notes.told].count("done") == 3


async def test_outcome_of_a_schedule_is_shown(settings: MakeSettings) -> None:
    """Of the cycle that ended last, when its worker has reported."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        await tasks.upsert_schedule(ScheduleData(id="yearly", cron="0 0 1 1 *", retries=1), jobs.fail, "no")
        (schedule,) = await tasks.get_schedules("default")
        assert (schedule.outcome, schedule.ended) == (None, None)
        await tasks.trigger_schedule("yearly")

        async def is_told() -> bool:
            (schedule,) = await tasks.get_schedules("default")
            return schedule.outcome == "failed" and schedule.ended is not None

        await wait_until(is_told, 10, "the outcome")
        await tasks.cancel_schedule("yearly")


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_quantiles_are_near(share: float) -> None:
    """Within a fifth of the true one, whatever the durations; None of nothing."""
    values = sorted(0.002 * 1.01**step for step in range(1_000))
    buckets = [0] * (len(BOUNDS) + 1)
    for value in values:
        buckets[next(place for place, bound in enumerate(BOUNDS) if value <= bound)] += 1
    found = Durations(count=1_000, total=sum(values), buckets=tuple(buckets)).quantile(share)
    assert found is not None
    assert abs(found / values[int(share * 1_000)] - 1) < 0.2
    assert Durations().quantile(share) is None
