"""Damaged records of schedules: they are taken off and named in the log, and nothing else is held up by them."""

from datetime import timedelta

import pytest
import redis

from taskproc import ScheduleData, TaskProcessor
from taskproc.storage import PAGE_OF_SCHEDULES
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.schedules.kit import SELDOM, Clock, Cycles, look, scheduled
from tests.worker.kit import processor_of, running

SOON = timedelta(milliseconds=100)
MISSING = ("tenant", "queue", "scope", "cron", "timezone", "call", "data", "retries", "invisibility")
DAMAGES: dict[str, tuple[str, str | None]] = {
    **{f"without {name}": (name, None) for name in MISSING},
    **{f"with a bad {name}": (name, "?") for name in ("retries", "invisibility", "expire")},
    **{f"with an endless {name}": (name, "9" * 400) for name in ("retries", "invisibility", "expire")},
}


def _damage(client: redis.Redis, key: str, name: str) -> None:
    field, value = DAMAGES[name]
    if value is None:
        client.hdel(key, field)
    else:
        client.hset(key, field, value)


async def _has(tasks: TaskProcessor, count: int) -> bool:
    return await tasks.get_schedules_count("default") == count


@pytest.mark.parametrize("name", DAMAGES)
async def test_a_damaged_schedule_is_taken_off(
    settings: MakeSettings, clock: Clock, client: redis.Redis, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """The log names it; another one that falls due at once fires; when it is added again it fires too."""
    made = settings(base_frequency=SOON)
    key = f"{made.prefix}:schedule:bad"
    cycles = Cycles()
    async with processor_of(made, cycles) as tasks:
        await tasks.upsert_schedule(ScheduleData(id="bad", cron=SELDOM), cycles.note)
        async with scheduled(tasks, ScheduleData(id="good", cron=SELDOM), cycles.note):
            now = clock.now
            clock.fall_due("bad", at=now - 1)
            clock.fall_due("good", at=now)
            _damage(client, key, name)
            async with running(tasks):
                await cycles.noted(1)
                await wait_until(lambda: _has(tasks, 1))
                assert [one.schedule_id for one in cycles.notes] == ["good"]
                assert await tasks.get_schedules("default") == [await look(tasks, "good")]
                assert not await tasks.trigger_schedule("bad")
                assert int(client.hget(key, "next") or 0) == now - 1
                async with scheduled(tasks, ScheduleData(id="bad", cron=SELDOM), cycles.note):
                    clock.fall_due("bad")
                    await cycles.noted(2)
    told = [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()]
    assert told[0] == "schedule 'bad' is damaged in Redis and was taken off: add it again"


@pytest.mark.parametrize("value", ["gone", "a string", "not in its index"])
async def test_what_only_an_index_knows(
    settings: MakeSettings, clock: Clock, client: redis.Redis, prefix: str, value: str
) -> None:
    """An entry whose record is none is dropped; one whose record falls due later fires later."""
    cycles = Cycles()
    async with processor_of(settings(base_frequency=SOON), cycles) as tasks:
        await tasks.upsert_schedule(ScheduleData(id="odd", cron=SELDOM), cycles.note)
        async with scheduled(tasks, ScheduleData(id="good", cron=SELDOM), cycles.note):
            client.zadd(f"{prefix}:schedules", {"odd": clock.now})
            if value != "not in its index":
                client.delete(f"{prefix}:schedule:odd")
            if value == "a string":
                client.set(f"{prefix}:schedule:odd", "?")
            clock.fall_due("good")
            async with running(tasks):
                await cycles.noted(1)
                await wait_until(lambda: _has(tasks, 2 if value == "not in its index" else 1))
            assert [one.schedule_id for one in cycles.notes] == ["good"]
            await tasks.upsert_schedule(ScheduleData(id="odd", cron=SELDOM), cycles.note)
            assert await tasks.cancel_schedule("odd")


async def test_a_schedule_under_a_name_that_is_none(
    settings: MakeSettings, clock: Clock, client: redis.Redis, prefix: str
) -> None:
    """Somebody has put it in by hand: it is dropped, and the others fire."""
    cycles = Cycles()
    async with (
        processor_of(settings(base_frequency=SOON), cycles) as tasks,
        scheduled(tasks, ScheduleData(id="good", cron=SELDOM), cycles.note),
    ):
        key = f"{prefix}:schedule:".encode() + b"\xff"
        client.copy(f"{prefix}:schedule:good", key.decode("latin-1"))
        client.rename(key.decode("latin-1"), key)
        client.hset(key, "next", clock.now)
        client.zadd(f"{prefix}:schedules", {b"\xff": clock.now})
        clock.fall_due("good")
        async with running(tasks):
            await cycles.noted(1)
            await wait_until(lambda: client.zcard(f"{prefix}:schedules") == 1)
        client.delete(key)
    assert [one.schedule_id for one in cycles.notes] == ["good"]


async def test_a_text_of_a_schedule_that_is_none(
    settings: MakeSettings, clock: Clock, client: redis.Redis, prefix: str
) -> None:
    """Its cron cannot be read, so it does not fire; it can be looked at, and others fire."""
    cycles = Cycles()
    async with (
        processor_of(settings(base_frequency=SOON), cycles) as tasks,
        scheduled(tasks, ScheduleData(id="bad", cron=SELDOM), cycles.note),
        scheduled(tasks, ScheduleData(id="good", cron=SELDOM), cycles.note),
    ):
        client.hset(f"{prefix}:schedule:bad", mapping={"cron": b"\xff", "scope": b"\xff"})
        clock.fall_due("bad")
        clock.fall_due("good")
        async with running(tasks):
            await cycles.noted(1)
        assert (await look(tasks, "bad")).scope == "\ufffd"
    assert [one.schedule_id for one in cycles.notes] == ["good"]


async def test_an_instant_that_is_written_otherwise(
    settings: MakeSettings, clock: Clock, client: redis.Redis, prefix: str
) -> None:
    """It is the number that counts: the schedule fires once and moves on."""
    cycles = Cycles()
    async with (
        processor_of(settings(base_frequency=SOON), cycles) as tasks,
        scheduled(tasks, ScheduleData(id="odd", cron=SELDOM), cycles.note),
    ):
        clock.fall_due("odd")
        client.hset(f"{prefix}:schedule:odd", "next", f"0{clock.now}")
        async with running(tasks):
            await cycles.noted(1)
            assert client.zcount(f"{prefix}:schedules", "-inf", clock.now) == 0


async def test_many_that_cannot_be_read_hide_nothing(
    settings: MakeSettings, clock: Clock, client: redis.Redis, prefix: str
) -> None:
    """As many as one look brings, all due before one that can be read."""
    cycles = Cycles()
    async with processor_of(settings(base_frequency=SOON), cycles) as tasks:
        for number in range(PAGE_OF_SCHEDULES + 1):
            await tasks.upsert_schedule(ScheduleData(id=f"bad-{number}", cron=SELDOM), cycles.note)
            client.hset(f"{prefix}:schedule:bad-{number}", "timezone", "Mars/Olympus")
            clock.fall_due(f"bad-{number}")
        async with scheduled(tasks, ScheduleData(id="good", cron=SELDOM), cycles.note):
            clock.fall_due("good")
            async with running(tasks):
                await cycles.noted(1)
        for number in range(PAGE_OF_SCHEDULES + 1):
            await tasks.cancel_schedule(f"bad-{number}")
    assert [one.schedule_id for one in cycles.notes] == ["good"]
