"""Adding, changing, triggering, removing and listing schedules, each within its tenant."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from taskproc import InvalidName, InvalidSchedule, NotAllowed, ScheduleData, TaskProcessor, TaskProcessorError
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.schedules.kit import SELDOM, Clock, Cycles, look, scheduled
from tests.worker.kit import gone, processor_of, running, working


async def test_the_same_cron_and_zone_keep_the_next_instant(settings: MakeSettings, clock: Clock) -> None:
    """Everything else may change, and does; another expression or zone sets it anew."""
    cycles = Cycles()
    async with (
        processor_of(settings(), cycles) as tasks,
        scheduled(tasks, ScheduleData(id="a", cron=SELDOM), cycles.note),
    ):
        instant = clock.fall_due("a", at=clock.now + 3_600_000)
        kept = datetime.fromtimestamp(instant / 1000, UTC)
        changed = ScheduleData(id="a", cron=SELDOM, queue="b", scope="c", unique=True, expire=timedelta(seconds=1))
        await tasks.upsert_schedule(changed, cycles.note)
        found = await look(tasks, "a")
        assert found.next == kept
        assert (found.queue, found.scope, found.unique, found.expire) == ("b", "c", True, timedelta(seconds=1))
        await tasks.upsert_schedule(ScheduleData(id="a", cron=SELDOM, timezone="Asia/Tokyo"), cycles.note)
        found = await look(tasks, "a")
        assert (found.next.month, found.next.day, found.next.hour) == (12, 31, 15)
        assert (found.queue, found.scope, found.unique, found.expire) == ("default", "", False, None)
        await tasks.upsert_schedule(ScheduleData(id="a", cron="0 0 2 1 *"), cycles.note)
        assert (await look(tasks, "a")).next.day == 2


async def test_a_schedule_that_comes_sooner_is_heard_of(settings: MakeSettings) -> None:
    """A worker that waits for next year hears of a schedule that is due in a second."""
    cycles = Cycles()
    made = settings(use_cron_seconds=True, base_frequency=timedelta(minutes=1))
    async with (
        working(made, cycles) as tasks,
        scheduled(tasks, ScheduleData(id="late", cron=SELDOM), cycles.note),
        scheduled(tasks, ScheduleData(id="soon", cron="* * * * * *"), cycles.note),
    ):
        await cycles.noted(1, 2.5)


async def test_an_id_of_another_tenant_is_refused(settings: MakeSettings) -> None:
    """The error names the schedule; the other tenant's stays as it was."""
    cycles = Cycles()
    async with (
        processor_of(settings(), cycles) as tasks,
        scheduled(tasks, ScheduleData(id="a", tenant="acme", cron=SELDOM), cycles.note),
    ):
        before = await look(tasks, "a", "acme")
        with pytest.raises(TaskProcessorError, match="schedule 'a' belongs to another tenant than 'other'"):
            await tasks.upsert_schedule(ScheduleData(id="a", tenant="other", cron="0 0 * * *"), cycles.fail)
        assert await look(tasks, "a", "acme") == before
        assert await tasks.get_schedules("other") == []


async def test_only_its_own_tenant_removes_a_schedule(settings: MakeSettings, clock: Clock) -> None:
    """False for an unknown one and another tenant's, and nothing changed; a task it started goes on."""
    cycles = Cycles()
    async with processor_of(settings(), cycles) as tasks:
        await tasks.upsert_schedule(ScheduleData(id="a", tenant="acme", cron=SELDOM), cycles.note)
        before = await look(tasks, "a", "acme")
        assert not await tasks.cancel_schedule("a", "other")
        assert not await tasks.cancel_schedule("b", "acme")
        assert await look(tasks, "a", "acme") == before
        assert await tasks.trigger_schedule("a")
        assert await tasks.cancel_schedule("a", "acme")
        assert await tasks.get_schedules("acme") == []
        assert await tasks.get_schedules_count("acme") == 0
        assert not await tasks.cancel_schedule("a", "acme")
        async with running(tasks):
            await cycles.noted(1)


async def test_trigger_starts_a_task_now(settings: MakeSettings, clock: Clock) -> None:
    """The next instant stays; False for an unknown one and another tenant's."""
    cycles = Cycles()
    schedule = ScheduleData(id="a", tenant="acme", scope="Report", cron=SELDOM, expire=timedelta(milliseconds=1))
    async with working(settings(), cycles) as tasks, scheduled(tasks, schedule, cycles.note, "now"):
        before = await look(tasks, "a", "acme")
        assert not await tasks.trigger_schedule("b")
        assert not await tasks.trigger_schedule("a", "other")
        assert await tasks.trigger_schedule("a", "acme")
        assert await tasks.trigger_schedule("a")
        await cycles.noted(2)
        after = await look(tasks, "a", "acme")
        assert replace(after, last=None, drift=None, outcome=None, ended=None) == before
        assert after.last is not None
        assert after.drift == 0
    cycle = cycles.notes[0]
    assert (cycle.word, cycle.schedule_id, cycle.scope, cycle.tenant) == ("now", "a", "Report", "acme")
    assert cycle.scheduled_for is not None
    assert abs(cycle.scheduled_for.timestamp() * 1000 - clock.now) < 5_000


async def test_a_unique_schedule_is_not_triggered_while_it_runs(settings: MakeSettings, clock: Clock) -> None:
    """False then; and a triggered task is one that cycles wait for."""
    cycles = Cycles()
    async with (
        working(settings(), cycles) as tasks,
        scheduled(tasks, ScheduleData(id="a", cron=SELDOM, unique=True), cycles.wait),
    ):
        assert await tasks.trigger_schedule("a")
        await cycles.noted(1)
        assert not await tasks.trigger_schedule("a")
        assert await tasks.get_task(await clock.pass_by("a")) is None
        cycles.go_on.set()
        await gone(tasks, cycles.notes[0].task_id)
        assert await tasks.trigger_schedule("a")
        await cycles.noted(2)


async def test_a_repeated_trigger_starts_one_task(settings: MakeSettings) -> None:
    """The same request, sent again because its reply was lost, also after another one: nothing more happens."""
    cycles = Cycles()
    async with (
        processor_of(settings(), cycles) as tasks,
        scheduled(tasks, ScheduleData(id="a", cron=SELDOM), cycles.note),
    ):
        storage = tasks._opened().storage
        for trigger in ("t1", "t1", "t2", "t1", "t2"):
            assert await storage.trigger_schedule("a", None, trigger, dead_is_busy=False)
        assert (await tasks.get_queue("default")).length == 2
        async with running(tasks):
            await cycles.noted(2)
            await wait_until(lambda: _is_empty(tasks))
    assert len(cycles.notes) == 2


REFUSED: dict[str, dict[str, Any]] = {
    "fields: use five": {"cron": "* * *"},
    "a second in front needs use_cron_seconds": {"cron": "* * * * * *"},
    "a year is not supported": {"cron": "0 0 1 1 * * 2030"},
    "R and H": {"cron": "H * * * *"},
    "is not known: use one of @hourly": {"cron": "@reboot"},
    "never fires": {"cron": "0 0 30 2 *"},
    "is not a valid minute": {"cron": "61 * * * *"},
    "has 0 fields": {"cron": "0 * * * * |"},
    "time zone 'Mars/Olympus' is not known": {"cron": SELDOM, "timezone": "Mars/Olympus"},
    "schedule name 'a:b' is not allowed": {"id": "a:b", "cron": SELDOM},
    "tenant name 'a b' is not allowed": {"tenant": "a b", "cron": SELDOM},
    "queue name 'a b' is not allowed": {"queue": "a b", "cron": SELDOM},
    "expire=": {"cron": SELDOM, "expire": timedelta(0)},
    "retries=0": {"cron": SELDOM, "retries": 0},
    "invisibility=": {"cron": SELDOM, "invisibility": timedelta(0)},
}


@pytest.mark.parametrize("message", REFUSED)
async def test_what_cannot_be_is_refused(settings: MakeSettings, message: str) -> None:
    """With a message that says what is wrong; nothing is stored."""
    cycles = Cycles()
    async with processor_of(settings(), cycles) as tasks:
        fields: dict[str, Any] = {"id": "a", **REFUSED[message]}
        schedule = ScheduleData(**fields)
        with pytest.raises(TaskProcessorError, match=re.escape(message)):
            await tasks.upsert_schedule(schedule, cycles.note)
        assert await tasks.get_schedules_count("default") == 0


async def test_methods_and_arguments_are_checked_when_they_are_said(settings: MakeSettings) -> None:
    """As they are at enqueue."""
    cycles = Cycles()
    async with processor_of(settings(), cycles) as tasks:
        with pytest.raises(NotAllowed):
            await tasks.upsert_schedule(ScheduleData(id="a", cron=SELDOM), lambda: None)
        with pytest.raises(TaskProcessorError):
            await tasks.upsert_schedule(ScheduleData(id="a", cron=SELDOM), cycles.note, 1)  # type: ignore[arg-type]


async def test_schedules_are_listed_by_tenant(settings: MakeSettings) -> None:
    """In the order of their ids, page by page; tenants whose names begin alike are kept apart, and are known."""
    cycles = Cycles()
    async with processor_of(settings(), cycles) as tasks:
        for tenant in ("ac", "acme", "acme.b", "acme-b"):
            for number in range(3):
                schedule = ScheduleData(id=f"{tenant}/{number}", tenant=tenant, cron=SELDOM)
                await tasks.upsert_schedule(schedule, cycles.note)
        for tenant in ("ac", "acme", "acme.b", "acme-b"):
            ids = [f"{tenant}/{number}" for number in range(3)]
            assert [each.id for each in await tasks.get_schedules(tenant)] == ids
            assert [each.id for each in await tasks.get_schedules(tenant, 1, 1)] == ids[1:2]
            assert await tasks.get_schedules_count(tenant) == 3
        assert await tasks.get_schedules("nobody") == []
        assert await tasks.get_schedules("acme", 0, 0) == []
        assert set(await tasks.get_tenants()) == {"ac", "acme", "acme.b", "acme-b"}
        for tenant in ("ac", "acme", "acme.b", "acme-b"):
            for number in range(3):
                assert await tasks.cancel_schedule(f"{tenant}/{number}", tenant)


async def test_a_tenant_with_schedules_is_remembered(settings: MakeSettings, client: redis.Redis, prefix: str) -> None:
    """Clean-up forgets tenants that have had nothing for the time of `retention`, but not one with schedules."""
    cycles = Cycles()
    made = settings(retention=timedelta(milliseconds=1), clean_up_frequency=timedelta(milliseconds=50))
    async with (
        processor_of(made, cycles) as tasks,
        scheduled(tasks, ScheduleData(id="a", tenant="acme", cron=SELDOM), cycles.note),
    ):
        client.zadd(f"{prefix}:tenants", {"acme": 1, "acme2": 1})
        async with running(tasks):
            await wait_until(lambda: client.zscore(f"{prefix}:tenants", "acme2") is None)
        assert await tasks.get_tenants() == ["acme"]


def test_a_wrong_declaration_is_refused_at_once(settings: MakeSettings) -> None:
    """Where it is said, not when the worker starts."""
    tasks = TaskProcessor(settings())
    with pytest.raises(InvalidSchedule):
        tasks.add_schedule(ScheduleData(id="a", cron="* *"), Cycles().note)
    with pytest.raises(InvalidName):
        tasks.add_schedule(ScheduleData(id="a:b", cron=SELDOM), Cycles().note)


async def _is_empty(tasks: TaskProcessor) -> bool:
    queue = await tasks.get_queue("default")
    return queue.length + queue.running == 0
