"""Pauses, drains and acts, as an application says them and sees them, with workers that run."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from taskproc import InvalidName, PauseInfo, ScheduleData, TaskProcessor
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import Jobs, processor_of, running, working

MS = timedelta(milliseconds=1)
FAIR = "work[fair]"
SELDOM = "0 0 1 1 *"
LATER = timedelta(hours=1)


@asynccontextmanager
async def paused(tasks: TaskProcessor, *, queue: str | None = None, tenant: str | None = None) -> AsyncGenerator[None]:
    """A pause for the block."""
    await tasks.pause(queue=queue, tenant=tenant)
    yield
    await tasks.resume(queue=queue, tenant=tenant)


@pytest.mark.parametrize("queue", ["default", FAIR])
async def test_paused_tenant_waits_and_others_do_not(settings: MakeSettings, queue: str) -> None:
    """Whatever stands in front; resume wakes idle workers at once, though they look only every half minute."""
    jobs = Jobs()
    async with working(settings(queues=[queue], base_frequency=timedelta(seconds=30)), jobs) as tasks:
        async with paused(tasks, tenant="acme"):
            await tasks.on(queue, tenant="acme").enqueue(jobs.note, "theirs")
            await tasks.on(queue, tenant="bolt").enqueue(jobs.note, "ours")
            await jobs.noted("ours")
            await asyncio.sleep(0.1)
            assert jobs.notes == ["ours"]
            assert [task.tenant for task in await tasks.get_tasks_in_queue(queue)] == ["acme"]
            assert (await tasks.get_queue(queue)).length == 1
        await jobs.noted("theirs", seconds=2)


async def test_paused_queue_waits_and_its_schedules_fill_it(settings: MakeSettings) -> None:
    """Cycles are enqueued, other queues go on, and the queue says that it is paused."""
    jobs = Jobs()
    async with working(settings(queues=["low", "default"]), jobs) as tasks:
        await tasks.pause(queue="low")
        await tasks.upsert_schedule(ScheduleData(id="s", cron=SELDOM, queue="low"), jobs.note, "cycle")
        assert await tasks.trigger_schedule("s")
        await tasks.enqueue(jobs.note, "other")
        await jobs.noted("other")
        shown = {queue.name: queue.paused for queue in await tasks.get_queues()}
        assert shown == {"low": True, "default": False}
        assert jobs.notes == ["other"]
        await tasks.resume(queue="low")
        await jobs.noted("cycle")
        assert not (await tasks.get_queue("low")).paused
        await tasks.cancel_schedule("s")


@pytest.mark.parametrize("of", [{}, {"queue": "default"}, {"tenant": "acme"}])
async def test_pause_ends_by_itself(settings: MakeSettings, of: dict[str, str]) -> None:
    """Soon after its end idle workers go on, without any call."""
    jobs = Jobs()
    async with working(settings(base_frequency=timedelta(seconds=30)), jobs) as tasks:
        began = time.monotonic()
        await tasks.pause(**of, until=300 * MS)
        await tasks.on(tenant="acme").enqueue(jobs.note, "task")
        await jobs.noted("task", seconds=3)
        assert time.monotonic() - began >= 0.3
        assert await tasks.get_pauses() == []
        assert not await tasks.is_paused()


async def test_pauses_are_told(settings: MakeSettings) -> None:
    """What, since when, until when, why and by whom; explain names those that hold a task up, and no other."""
    jobs = Jobs()
    until = datetime.now(UTC).replace(microsecond=0) + LATER
    async with processor_of(settings(), jobs) as tasks:
        task = await tasks.on("low", tenant="acme").enqueue(jobs.note, "task")
        await tasks.pause(tenant="acme", reason="unpaid bill", by="ann", until=until)
        await tasks.pause(tenant="bolt")
        await tasks.pause(queue="low")
        [acme, *others] = await tasks.get_pauses()
        assert abs(acme.since - datetime.now(UTC)) < timedelta(seconds=30)
        assert replace(acme, since=until) == PauseInfo(
            queue=None, tenant="acme", since=until, until=until, reason="unpaid bill", by="ann"
        )
        assert {(one.queue, one.tenant, one.until) for one in others} == {(None, "bolt", None), ("low", None, None)}
        said = await tasks.explain(task)
        when = f"{until:%Y-%m-%d %H:%M:%S} UTC"
        assert f"Tenant acme is paused by ann until {when} (unpaid bill): resume the tenant." in said
        assert "Queue low is paused: resume the queue." in said
        assert "bolt" not in said
        assert "Everything" not in said
        for of in ({"tenant": "acme"}, {"tenant": "bolt"}, {"queue": "low"}):
            await tasks.resume(**of)
        assert await tasks.get_pauses() == []
        assert "paused" not in await tasks.explain(task)
        await tasks.cancel_task(task)


async def test_lists_show_what_is_set_aside_in_serving_order(settings: MakeSettings) -> None:
    """In a plain queue: what waits, then what is set aside; after the pause that comes first, as it is older."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        async with paused(tasks, tenant="acme"):
            theirs = [await tasks.on(tenant="acme").enqueue(jobs.note, "theirs") for _ in range(3)]
            await tasks.on(tenant="bolt").enqueue(jobs.note, "ours")
            await jobs.noted("ours")
            await tasks.pause()
            ours = await tasks.on(tenant="bolt").enqueue(jobs.note, "ours")
            assert [task.task_id for task in await tasks.get_tasks_in_queue("default")] == [ours, *theirs]
            assert [task.task_id for task in await tasks.get_tasks_in_queue("default", 1, 2)] == theirs[:2]
            assert [task.task_id for task in await tasks.get_tasks_in_queue("default", tenant="acme")] == theirs
            assert "behind 2 others in queue default" in await tasks.explain(theirs[2])
            assert await tasks.cancel_task(theirs[1])
            assert [task.task_id for task in await tasks.get_tasks_in_queue("default", 1)] == [theirs[0], theirs[2]]
        assert [task.task_id for task in await tasks.get_tasks_in_queue("default")] == [theirs[0], theirs[2], ours]
        await tasks.resume()
        await jobs.noted("theirs", "ours")


async def test_batch_of_a_paused_tenant_is_canceled(settings: MakeSettings) -> None:
    """It ends though nothing of it was handed out."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks, paused(tasks, tenant="acme"):
        async with tasks.batch(tenant="acme") as batch:
            for _ in range(700):
                batch.enqueue(jobs.note, "theirs")
        await tasks.on(tenant="bolt").enqueue(jobs.note, "ours")
        await jobs.noted("ours")
        assert await tasks.cancel_batch(batch.id)
        found = await tasks.get_batch(batch.id)
        assert found is not None
        assert (found.state, found.canceled) == ("canceled", 700)
    assert jobs.notes == ["ours"]


async def test_pause_races_with_fetches(settings: MakeSettings) -> None:
    """Pauses come and go while workers fetch: each task runs once, and in the end all have run."""
    jobs = Jobs()
    async with working(settings(queues=["default", FAIR], max_workers=5), jobs) as tasks:
        for number in range(150):
            for queue in ("default", FAIR):
                await tasks.on(queue, tenant=f"t{number % 3}").enqueue(jobs.note, f"{queue} {number}")
            if number % 5 == 0:
                await tasks.pause(tenant="t1", until=LATER)
            if number % 7 == 0:
                await tasks.resume(tenant="t1")
        await tasks.resume(tenant="t1")
        await wait_until(lambda: len(jobs.notes) == 300)
        assert len(set(jobs.notes)) == 300
        for queue in ("default", FAIR):
            assert (await tasks.get_queue(queue)).length == 0


async def test_what_cannot_be_paused(settings: MakeSettings) -> None:
    """Both at once, wrong names, ends that are over, have no zone or are no time."""
    async with processor_of(settings(), Jobs()) as tasks:
        with pytest.raises(ValueError, match="name one of them"):
            await tasks.pause(queue="low", tenant="acme")
        with pytest.raises(InvalidName):
            await tasks.resume(tenant="a:b")
        for until in (datetime(2001, 1, 1, tzinfo=UTC), datetime(2101, 1, 1), timedelta(0)):  # noqa: DTZ001
            with pytest.raises(ValueError, match="until="):
                await tasks.pause(until=until)
        with pytest.raises(ValueError, match="reason="):
            await tasks.pause(reason="x" * 1_001)
        assert await tasks.get_pauses() == []


async def test_drained_worker_ends_what_it_runs(settings: MakeSettings) -> None:
    """It fetches no more, which it shows, and takes no wake tokens for others, until it is resumed."""
    jobs = Jobs()
    async with working(settings(base_frequency=timedelta(seconds=30)), jobs) as tasks:
        [worker] = await tasks.get_workers()
        assert not worker.draining
        await tasks.enqueue(jobs.wait, "running")
        await jobs.noted("running begins")
        assert await tasks.drain_worker(worker.id)
        assert (await tasks.get_workers())[0].draining
        await tasks.enqueue(jobs.note, "new")
        jobs.go_on.set()
        await jobs.noted("running ends")
        async with processor_of(tasks.settings, jobs) as other, running(other):
            await jobs.noted("new", seconds=2)
            await tasks.enqueue(jobs.note, "newer")
            await jobs.noted("newer", seconds=2)
        await tasks.enqueue(jobs.note, "last")
        await asyncio.sleep(0.1)
        assert "last" not in jobs.notes
        assert await tasks.resume_worker(worker.id)
        await jobs.noted("last", seconds=2)
        assert not await tasks.drain_worker("nobody")
        assert not await tasks.resume_worker("nobody")


async def test_workers_show_when_they_were_seen_and_how_late_they_are(settings: MakeSettings) -> None:
    """A task that blocks the event loop shows as lag."""
    jobs = Jobs()
    async with working(settings(worker_timeout=timedelta(milliseconds=600)), jobs) as tasks:

        async def lag() -> float:
            [worker] = await tasks.get_workers()
            assert worker.seen is not None
            assert datetime.now(UTC) - worker.seen < timedelta(seconds=30)
            return -1.0 if worker.lag is None else worker.lag

        async def is_known() -> bool:
            return 0 <= await lag() < 0.25

        await wait_until(is_known)
        time.sleep(0.4)  # as such a task would

        async def is_late() -> bool:
            return 0.3 < await lag() < 5

        await wait_until(is_late)


async def test_paused_schedule_moves_on_without_cycles(settings: MakeSettings) -> None:
    """It starts none but those that are triggered, also when it is changed, and goes on when it is resumed."""
    jobs = Jobs()
    every_second = ScheduleData(id="s", cron="* * * * * *")
    async with working(settings(use_cron_seconds=True), jobs) as tasks:

        async def moved_on() -> bool:
            [after] = await tasks.get_schedules("default")
            return after.next > before.next

        await tasks.upsert_schedule(replace(every_second, cron="0 0 0 1 1 *"), jobs.note, "cycle")
        assert await tasks.pause_schedule("s")
        await tasks.upsert_schedule(every_second, jobs.note, "cycle")
        [before] = await tasks.get_schedules("default")
        assert before.paused
        await wait_until(moved_on)
        assert jobs.notes == []
        assert await tasks.trigger_schedule("s")
        await jobs.noted("cycle")
        assert await tasks.resume_schedule("s")
        await wait_until(lambda: len(jobs.notes) >= 2)
        [after] = await tasks.get_schedules("default")
        assert not after.paused
        assert after.last is not None
        assert after.drift is not None
        assert 0 <= after.drift < 5
        assert not await tasks.pause_schedule("s", "other")
        assert not await tasks.pause_schedule("unknown")
        assert await tasks.cancel_schedule("s")


async def test_acts_are_listed(settings: MakeSettings) -> None:
    """The last first, by pages; long texts are cut."""
    async with processor_of(settings(), Jobs()) as tasks:
        assert await tasks.get_audit() == []
        await tasks.record_act("pause", "queue:low", by="ann", detail="upkeep")
        await tasks.record_act("discard", "x" * 999, tenant="acme")
        [second, first] = await tasks.get_audit()
        assert (first.by, first.act, first.target, first.tenant, first.detail) == (
            "ann", "pause", "queue:low", None, "upkeep",
        )  # fmt: skip
        assert (second.by, second.tenant, second.target) == ("", "acme", "x" * 300)
        assert first.at <= second.at
        assert await tasks.get_audit(1, 1) == [first]
        assert await tasks.get_audit(2) == await tasks.get_audit(0, 0) == []


async def test_paused_queue_is_listed_though_empty(settings: MakeSettings) -> None:
    """Before a deployment, say: whoever looks must see that nothing will run there."""
    async with TaskProcessor(settings()) as tasks:
        await tasks.pause(queue="later", reason="upkeep")
        shown = [(queue.name, queue.paused) for queue in await tasks.get_queues()]
        assert shown == [("default", False), ("later", True)]
        await tasks.resume(queue="later")
        assert [queue.name for queue in await tasks.get_queues()] == ["default"]
