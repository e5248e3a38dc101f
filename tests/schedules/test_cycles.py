"""What a cycle of a schedule is: a task, its context, its time; and when none is started."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from taskproc import ScheduleData, TaskContext
from tests.conftest import MakeSettings
from tests.schedules.kit import SELDOM, Clock, Cycles, look, scheduled
from tests.worker.kit import died, gone, processor_of, running, working

HOUR = 3_600_000  # ms


async def test_a_cycle_is_a_task_that_knows_its_schedule(settings: MakeSettings, clock: Clock) -> None:
    """Id, instant and description of the schedule, its tenant and queue; it belongs to no batch."""
    cycles = Cycles()
    schedule = ScheduleData(id="nightly", tenant="acme", queue="slow", scope="Nightly report", cron=SELDOM)
    async with working(settings(queues=["slow"]), cycles) as tasks, scheduled(tasks, schedule, cycles.note, "hello"):
        instant = clock.fall_due("nightly")
        await cycles.noted(1)
    [cycle] = cycles.notes
    assert (cycle.word, cycle.task_id) == ("hello", f"nightly:{instant}")
    assert cycle.scheduled_for == datetime.fromtimestamp(instant / 1000, UTC)
    assert (cycle.schedule_id, cycle.scope, cycle.batch_id) == ("nightly", "Nightly report", None)
    assert (cycle.tenant, cycle.queue) == ("acme", "slow")


async def test_only_id_and_cron_are_required(settings: MakeSettings, clock: Clock) -> None:
    """Everything else has a default: the tenant and queue of the settings, UTC, not unique, no expiry."""
    cycles = Cycles()
    made = settings(default_queue="mine", queues=["mine"], tenant="acme")
    async with working(made, cycles) as tasks, scheduled(tasks, ScheduleData(id="a", cron=SELDOM), cycles.note):
        found = await look(tasks, "a", "acme")
        clock.fall_due("a")
        await cycles.noted(1)
    assert (found.tenant, found.queue, found.scope) == ("acme", "mine", "")
    assert (found.cron, found.timezone, found.unique, found.expire) == (SELDOM, "UTC", False, None)
    this_year = datetime.now(UTC).year
    assert found.next == datetime(this_year + 1, 1, 1, tzinfo=UTC)
    assert cycles.notes[0].word == ""


async def test_a_cycle_starts_at_its_time(settings: MakeSettings, clock: Clock) -> None:
    """Not before, and soon after, though the idle worker looks unasked once a minute only."""
    cycles = Cycles()
    late: list[int] = []
    async with (
        working(settings(base_frequency=timedelta(minutes=1)), cycles) as tasks,
        scheduled(tasks, ScheduleData(id="a", cron=SELDOM), cycles.note),
    ):
        await clock.pass_by("a")
        for number in range(5):
            instant = clock.fall_due("a", at=clock.now + 200)
            await cycles.noted(number + 2)
            late.append(clock.now - instant)
    assert min(late) >= 0
    assert sorted(late)[2] < 100


async def test_seconds_and_alternatives(settings: MakeSettings, clock: Clock) -> None:
    """With `use_cron_seconds` six fields count from seconds; of several expressions the earliest wins."""
    cycles = Cycles()
    now = clock.now // 1000
    seconds = [(now + ahead) % 60 for ahead in (2, 4)]
    cron = " | ".join(f"{second} * * * * *" for second in reversed(seconds))
    async with (
        working(settings(use_cron_seconds=True), cycles) as tasks,
        scheduled(tasks, ScheduleData(id="a", cron=cron), cycles.note),
    ):
        await cycles.noted(2)
    instants = [cycle.scheduled_for for cycle in cycles.notes]
    assert [instant.second for instant in instants if instant is not None] == seconds


async def test_after_a_pause_only_the_latest_missed_cycle_runs(settings: MakeSettings, clock: Clock) -> None:
    """While paused no cycle starts; of the five hours missed, the last one's does when work goes on."""
    cycles = Cycles()
    async with (
        working(settings(), cycles) as tasks,
        scheduled(tasks, ScheduleData(id="hourly", cron="0 * * * *"), cycles.note),
    ):
        await tasks.pause()
        this_hour = clock.now // HOUR * HOUR
        clock.fall_due("hourly", at=this_hour - 5 * HOUR)
        await asyncio.sleep(0.3)
        assert (await tasks.get_queue("default")).length == 0
        await tasks.resume()
        await cycles.noted(1)
        await asyncio.sleep(0.2)
        found = await look(tasks, "hourly")
    assert [cycle.task_id for cycle in cycles.notes] == [f"hourly:{this_hour}"]
    assert found.next.timestamp() * 1000 == this_hour + HOUR


async def test_cycles_missed_while_no_worker_ran(settings: MakeSettings, clock: Clock) -> None:
    """A worker that starts runs the latest one, and the schedule keeps its rhythm."""
    cycles = Cycles()
    async with (
        processor_of(settings(), cycles) as tasks,
        scheduled(tasks, ScheduleData(id="hourly", cron="30 * * * *"), cycles.note),
    ):
        latest = (clock.now - HOUR // 2) // HOUR * HOUR + HOUR // 2
        clock.fall_due("hourly", at=latest - 100 * HOUR)
        async with running(tasks):
            await cycles.noted(1)
    assert [cycle.task_id for cycle in cycles.notes] == [f"hourly:{latest}"]


async def test_an_expired_cycle_is_not_started(settings: MakeSettings, clock: Clock) -> None:
    """When no worker was there in time, the cycle is skipped as a whole; a later one that is in time is not."""
    cycles = Cycles()
    schedule = ScheduleData(id="a", cron=SELDOM, queue="nobodys", expire=timedelta(seconds=5))
    async with working(settings(), cycles) as tasks, scheduled(tasks, schedule, cycles.note):
        instant = clock.fall_due("a", at=clock.now - 6_000)
        await clock.moved_on("a", instant)
        assert await tasks.get_task(f"a:{instant}") is None
        instant = clock.fall_due("a", at=clock.now - 3_000)
        await clock.moved_on("a", instant)
        assert await tasks.cancel_task(f"a:{instant}")


async def test_a_task_fetched_too_late_is_skipped(settings: MakeSettings, clock: Clock) -> None:
    """It waited in a queue that nobody served, longer than `expire`: it is gone, and nothing ran."""
    cycles = Cycles()
    made = settings(queues=["other"])
    schedule = ScheduleData(id="a", queue="busy", cron=SELDOM, expire=timedelta(milliseconds=300))
    async with working(made, cycles) as tasks, scheduled(tasks, schedule, cycles.note):
        task_id = await clock.pass_by("a")
        assert await tasks.get_task(task_id) is not None
        await asyncio.sleep(0.4)
        async with working(settings(queues=["busy"]), cycles):
            await gone(tasks, task_id)
    assert cycles.notes == []


async def test_a_retry_of_what_was_fetched_in_time_does_not_expire(settings: MakeSettings, clock: Clock) -> None:
    """`expire` is about the first fetch."""
    cycles = Cycles()
    made = settings(retries=3, on_task_failed_delay=_wait)
    schedule = ScheduleData(id="a", cron=SELDOM, expire=timedelta(milliseconds=200))
    async with working(made, cycles) as tasks, scheduled(tasks, schedule, cycles.fail):
        instant = clock.fall_due("a")
        await cycles.noted(3)
        await died(tasks, f"a:{instant}")
        await tasks.discard_dead_tasks("default")
    assert len(cycles.notes) == 3


async def test_retries_and_invisibility_of_a_schedule(settings: MakeSettings, clock: Clock) -> None:
    """They are those of its tasks."""
    cycles = Cycles()
    schedule = ScheduleData(id="a", cron=SELDOM, retries=1, invisibility=timedelta(milliseconds=200))
    async with working(settings(), cycles) as tasks, scheduled(tasks, schedule, cycles.wait):
        dead = await died(tasks, await clock.pass_by("a"))
        await tasks.discard_dead_tasks("default")
    assert (dead.retries, dead.error_type) == (1, "taskproc.errors.TaskTimeoutError")


@pytest.mark.parametrize("unique", [False, True])
async def test_cycles_overlap_unless_unique(settings: MakeSettings, clock: Clock, unique: bool) -> None:  # noqa: FBT001
    """A schedule that is not unique starts its next cycle while the one before it runs."""
    cycles = Cycles()
    schedule = ScheduleData(id="a", cron=SELDOM, unique=unique)
    async with working(settings(), cycles) as tasks, scheduled(tasks, schedule, cycles.wait):
        first = await clock.pass_by("a")
        await cycles.noted(1)
        second = await clock.pass_by("a")
        if not unique:
            await cycles.noted(2)
        cycles.go_on.set()
        await gone(tasks, first)
        await gone(tasks, second)
    assert [cycle.task_id for cycle in cycles.notes] == ([first] if unique else [first, second])


def _wait(_ctx: TaskContext, _retries_left: int) -> timedelta:
    return timedelta(milliseconds=300)
