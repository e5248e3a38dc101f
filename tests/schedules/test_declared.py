"""Schedules that the code declares: what Redis holds follows the code, and nothing else is touched."""

import asyncio

import pytest

from taskproc import ConfigurationError, ScheduleData, TaskProcessor, factories
from tests.conftest import MakeSettings
from tests.faults.kit import workers as known_workers
from tests.schedules.kit import SELDOM, Clock, Cycles, look
from tests.worker.kit import running

OTHER = "0 0 2 1 *"


def app(settings: MakeSettings, cycles: Cycles, *declared: ScheduleData, **overrides: str) -> TaskProcessor:
    """What a deploy of an application starts."""
    tasks = TaskProcessor(settings(**overrides), scopes=factories({Cycles: lambda: cycles}))
    for schedule in declared:
        tasks.add_schedule(schedule, cycles.note, schedule.id)
    return tasks


async def deploy(settings: MakeSettings, *declared: ScheduleData, **overrides: str) -> None:
    """Starts and ends an application."""
    async with app(settings, Cycles(), *declared, **overrides) as tasks, running(tasks):
        pass


async def names(settings: MakeSettings, tenant: str = "default") -> list[str]:
    """The schedules that there are."""
    async with TaskProcessor(settings()) as tasks:
        return [schedule.id for schedule in await tasks.get_schedules(tenant)]


async def test_declared_schedules_run(settings: MakeSettings, clock: Clock) -> None:
    """With the arguments of the declaration."""
    cycles = Cycles()
    async with app(settings, cycles, ScheduleData(id="a", cron=SELDOM)) as tasks, running(tasks):
        clock.fall_due("a")
        await cycles.noted(1)
        await tasks.cancel_schedule("a")
    assert (cycles.notes[0].word, cycles.notes[0].schedule_id) == ("a", "a")


async def test_redis_follows_the_code(settings: MakeSettings) -> None:
    """A deploy adds what is new, changes what is changed, removes what is gone, and leaves those added at run time."""
    await deploy(settings, ScheduleData(id="a", cron=SELDOM), ScheduleData(id="b", cron=SELDOM))
    async with app(settings, Cycles()) as tasks:
        await tasks.upsert_schedule(ScheduleData(id="run-time", cron=SELDOM), Cycles().note)
        assert await names(settings) == ["a", "b", "run-time"]
        await deploy(settings, ScheduleData(id="b", cron=OTHER, scope="changed"), ScheduleData(id="c", cron=SELDOM))
        assert await names(settings) == ["b", "c", "run-time"]
        changed = await look(tasks, "b")
        assert (changed.cron, changed.scope, changed.next.day) == (OTHER, "changed", 2)
        await deploy(settings, app_name="app")
        assert await names(settings) == ["run-time"]
        await tasks.cancel_schedule("run-time")


async def test_a_restart_keeps_the_next_instant(settings: MakeSettings, clock: Clock) -> None:
    """A deploy that changes nothing moves nothing."""
    schedule = ScheduleData(id="a", cron="0 * * * *")
    await deploy(settings, schedule)
    async with app(settings, Cycles()) as tasks:
        before = await look(tasks, "a")
        await deploy(settings, schedule)
        assert await look(tasks, "a") == before
        await tasks.cancel_schedule("a")


async def test_what_is_upserted_at_run_time_is_the_run_times(settings: MakeSettings) -> None:
    """A declared schedule that was upserted since is not removed when it leaves the code."""
    await deploy(settings, ScheduleData(id="a", cron=SELDOM))
    async with app(settings, Cycles()) as tasks:
        await tasks.upsert_schedule(ScheduleData(id="a", cron=OTHER), Cycles().note)
        await deploy(settings, app_name="app")
        assert (await look(tasks, "a")).cron == OTHER
        await tasks.cancel_schedule("a")


async def test_a_worker_beside_the_app_removes_nothing(settings: MakeSettings) -> None:
    """It declares nothing, and says no `app_name`: what the app declares is not its to remove."""
    await deploy(settings, ScheduleData(id="a", cron=SELDOM))
    await deploy(settings)
    assert await names(settings) == ["a"]
    await deploy(settings, app_name="app")
    assert await names(settings) == []


async def test_two_apps_share_a_prefix(settings: MakeSettings) -> None:
    """Each follows its own code, by `app_name`."""
    await deploy(settings, ScheduleData(id="a", cron=SELDOM), app_name="shop")
    await deploy(settings, ScheduleData(id="b", cron=SELDOM), app_name="admin")
    assert await names(settings) == ["a", "b"]
    await deploy(settings, app_name="shop")
    assert await names(settings) == ["b"]
    await deploy(settings, app_name="admin")
    assert await names(settings) == []


async def test_a_schedule_that_moved_to_another_app_is_not_removed_by_the_first(settings: MakeSettings) -> None:
    """Whoever declared it last owns it."""
    await deploy(settings, ScheduleData(id="a", cron=SELDOM), app_name="shop")
    await deploy(settings, ScheduleData(id="a", cron=SELDOM), app_name="admin")
    await deploy(settings, app_name="shop")
    assert await names(settings) == ["a"]
    await deploy(settings, app_name="admin")


async def test_the_code_may_give_its_schedule_to_another_tenant(settings: MakeSettings) -> None:
    """The schedule moves; the worker starts."""
    await deploy(settings, ScheduleData(id="a", tenant="acme", cron=SELDOM))
    await deploy(settings, ScheduleData(id="a", tenant="other", cron=SELDOM))
    assert (await names(settings, "acme"), await names(settings, "other")) == ([], ["a"])
    await deploy(settings, app_name="app")
    assert await names(settings, "other") == []


async def test_two_processes_that_start_at_once(settings: MakeSettings, clock: Clock) -> None:
    """Both declare the same; the schedule is there once, and each cycle starts one task."""
    cycles = Cycles()
    declared = [ScheduleData(id="a", cron=SELDOM), ScheduleData(id="b", cron=SELDOM)]
    async with app(settings, cycles, *declared) as one, app(settings, cycles, *declared) as two:
        workers = [asyncio.create_task(each.run()) for each in (one, two)]
        await known_workers(one, 2)
        clock.fall_due("a")
        clock.fall_due("b")
        await cycles.noted(2)
        await asyncio.sleep(0.1)
        for each in (one, two):
            await each.stop()
        await asyncio.gather(*workers)
    assert sorted(cycle.word for cycle in cycles.notes) == ["a", "b"]
    await deploy(settings, app_name="app")


async def test_an_id_is_declared_once(settings: MakeSettings) -> None:
    """The second declaration is an error, as is one that comes when the worker runs."""
    cycles = Cycles()
    tasks = app(settings, cycles, ScheduleData(id="a", cron=SELDOM))
    with pytest.raises(ConfigurationError, match="'a' is declared twice"):
        tasks.add_schedule(ScheduleData(id="a", cron=SELDOM), cycles.note)
    async with app(settings, cycles) as late, running(late):
        with pytest.raises(ConfigurationError, match="declared while the worker runs"):
            late.add_schedule(ScheduleData(id="b", cron=SELDOM), cycles.note)
