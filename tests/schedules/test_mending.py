"""What may happen to schedules from outside: damaged indexes, unknown zones, other zone data, a server that is away."""

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import redis

from taskproc import ScheduleData, TaskProcessor, TaskProcessorSettings
from tests.conftest import MakeSettings
from tests.fairness.test_cost import commands
from tests.faults.kit import environment
from tests.kit import Server, process, wait_until
from tests.schedules import jobs
from tests.schedules.kit import SELDOM, Clock, Cycles, look, scheduled
from tests.worker.kit import processor_of, running, working

SOON = timedelta(milliseconds=100)


@pytest.mark.parametrize("index", ["schedules", "schedules:all"])
async def test_a_schedule_that_an_index_lost_comes_back(
    settings: MakeSettings, clock: Clock, client: redis.Redis, prefix: str, index: str
) -> None:
    """A worker notices it at its next look; the schedule fires and is listed again."""
    cycles = Cycles()
    async with (
        working(settings(base_frequency=SOON), cycles) as tasks,
        scheduled(tasks, ScheduleData(id="a", tenant="acme", cron=SELDOM), cycles.note),
        scheduled(tasks, ScheduleData(id="b", tenant="acme", cron=SELDOM), cycles.note),
    ):
        await clock.pass_by("a")
        client.hset(f"{prefix}:schedule:a", "next", clock.now + 300)
        client.delete(f"{prefix}:{index}")
        if index == "schedules:all":
            client.zadd(f"{prefix}:schedules", {"a": clock.now + 300})
        await cycles.noted(2)
        await wait_until(lambda: _count(tasks, "acme", 2))
    assert [cycle.schedule_id for cycle in cycles.notes] == ["a", "a"]


async def test_an_entry_without_its_schedule_is_dropped(
    settings: MakeSettings, clock: Clock, client: redis.Redis, prefix: str
) -> None:
    """The record was deleted by hand: nothing of it is left, and the others fire."""
    cycles = Cycles()
    async with processor_of(settings(base_frequency=SOON), cycles) as tasks:
        await tasks.upsert_schedule(ScheduleData(id="a", cron=SELDOM), cycles.note)
        async with scheduled(tasks, ScheduleData(id="b", cron=SELDOM), cycles.note):
            client.delete(f"{prefix}:schedule:a")
            client.zadd(f"{prefix}:schedules", {"a": clock.now})
            async with running(tasks):
                clock.fall_due("b")
                await cycles.noted(1)
                await wait_until(lambda: _count(tasks, "default", 1))
            assert client.zrange(f"{prefix}:schedules", 0, -1) == [b"b"]
            assert client.zrange(f"{prefix}:schedules:all", 0, -1) == [b"default:b"]


async def test_a_schedule_that_cannot_be_read_delays_no_other(
    settings: MakeSettings, clock: Clock, client: redis.Redis, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its zone is unknown here, and it stays due; others fire at their time, and the log tells of it once."""
    cycles = Cycles()
    async with (
        working(settings(base_frequency=timedelta(minutes=1)), cycles) as tasks,
        scheduled(tasks, ScheduleData(id="bad", cron=SELDOM), cycles.note),
        scheduled(tasks, ScheduleData(id="good", cron=SELDOM), cycles.note),
    ):
        await clock.pass_by("good")
        client.hset(f"{prefix}:schedule:bad", "timezone", "Mars/Olympus")
        clock.fall_due("bad")
        for number in range(3):
            clock.fall_due("good", at=clock.now + 300)
            await cycles.noted(number + 2, 2)
        count = commands(client)
        await asyncio.sleep(0.5)
        assert count().get("zrangebyscore", 0) < 30  # nobody looks for what is due again and again
    told = [record.getMessage() for record in caplog.records if "cannot be fired here" in record.getMessage()]
    assert len(told) == 1
    assert "schedule bad cannot be fired here: time zone 'Mars/Olympus' is not known" in told[0]


async def test_an_instant_is_corrected_when_the_rules_of_its_zone_changed(
    settings: MakeSettings, tmp_path: Path
) -> None:
    """A worker that starts with other zone data moves it, without starting a cycle."""
    made = settings()
    other = files("tzdata.zoneinfo") / "America" / "New_York"
    (tmp_path / "Europe").mkdir()
    shutil.copy(str(other), tmp_path / "Europe" / "Berlin")
    async with TaskProcessor(made) as tasks:
        schedule = ScheduleData(id="noon", cron="0 12 * * *", timezone="Europe/Berlin")
        async with scheduled(tasks, schedule, jobs.cycle):
            before = (await look(tasks, "noon")).next
            env = environment(made) | {"PYTHONTZPATH": str(tmp_path), jobs.JOURNAL: str(tmp_path / "journal")}
            with process(["-m", "tests.schedules.jobs"], env) as worker:
                after = await wait_until(lambda: _next_unlike(tasks, before), 15, "another instant")
                assert worker.terminate() == 0
    assert after is not None
    assert after.astimezone(ZoneInfo("America/New_York")).hour == 12
    assert after > datetime.now(UTC)
    assert not (tmp_path / "journal").exists()


async def test_instants_are_corrected_while_paused(settings: MakeSettings, clock: Clock) -> None:
    """A pause holds back cycles, not this."""
    cycles = Cycles()
    async with (
        processor_of(settings(), cycles) as tasks,
        scheduled(tasks, ScheduleData(id="a", cron=SELDOM), cycles.note),
    ):
        right = (await look(tasks, "a")).next
        clock.fall_due("a", at=clock.now + 86_400_000)
        await tasks.pause()
        async with running(tasks):
            await wait_until(lambda: _is_next(tasks, right))
        await tasks.resume()
    assert cycles.notes == []


async def test_after_an_outage_only_the_latest_missed_cycle_runs() -> None:
    """The server is frozen for three seconds; of what fell due meanwhile one task runs, then each second one again."""
    cycles = Cycles()
    late: list[float] = []
    with Server() as server, server.client() as client:
        made = TaskProcessorSettings(redis=server.url, use_cron_seconds=True)
        async with (
            working(made, cycles) as tasks,
            scheduled(tasks, ScheduleData(id="tick", cron="* * * * * *"), cycles.note),
        ):
            clock = Clock(client, made.prefix)
            await cycles.noted(1)
            server.freeze()
            before = len(cycles.notes)
            await asyncio.sleep(3.2)
            server.thaw()
            for number in range(before + 1, before + 4):
                await cycles.noted(number)
                late.append(clock.now / 1000 - _instants(cycles)[number - 1])
    instants = _instants(cycles)
    assert len(set(instants)) == len(instants)
    steps = [later - earlier for earlier, later in zip(instants[before - 1 :], instants[before:], strict=False)]
    assert steps[0] >= 3
    assert steps[1:3] == [1, 1]
    assert max(late) < 1.5


def _instants(cycles: Cycles) -> list[float]:
    return [cycle.scheduled_for.timestamp() for cycle in cycles.notes if cycle.scheduled_for is not None]


async def _count(tasks: TaskProcessor, tenant: str, count: int) -> bool:
    return await tasks.get_schedules_count(tenant) == count == len(await tasks.get_schedules(tenant))


async def _is_next(tasks: TaskProcessor, instant: datetime) -> bool:
    return (await look(tasks, "a")).next == instant


async def _next_unlike(tasks: TaskProcessor, before: datetime) -> datetime | None:
    found = (await look(tasks, "noon")).next
    return found if found != before else None
