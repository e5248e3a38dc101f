"""Looks: paged, within a tenant, in words, and cheap however much there is."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import redis

from taskproc import TaskData, TaskInfo, TaskProcessor, explaining, looking
from taskproc.records import NewTask
from tests.conftest import MakeSettings
from tests.fairness.test_cost import commands
from tests.kit import wait_until
from tests.worker.kit import Jobs, died, ended, processor_of, running, working

HOUR = timedelta(hours=1)
SIZE = 2_000


async def test_batches_newest_first_and_paged(settings: MakeSettings) -> None:
    """In the order of their making, also of those made within one millisecond; each tenant's apart."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        made: list[str] = []
        for number in range(30):
            async with tasks.batch(tenant="acme", scope=str(number)) as batch:
                batch.enqueue(jobs.note, str(number))
            made.append(batch.id)
        async with tasks.batch(tenant="other") as batch:
            batch.enqueue(jobs.note, "other")
        newest = made[::-1]
        assert [each.id for each in await tasks.get_batches("acme")] == newest
        pages = [await tasks.get_batches("acme", skip, 7) for skip in range(0, 35, 7)]
        assert [each.id for page in pages for each in page] == newest
        assert [each.scope for each in await tasks.get_batches("acme", 28)] == ["1", "0"]
        assert await tasks.get_batches("acme", 30) == []
        assert await tasks.get_batches("acme", 0, 0) == []
        assert await tasks.get_batches_count("acme") == 30
        assert (await tasks.get_batches_count("other"), await tasks.get_batches_count("nobody")) == (1, 0)
        for id_ in (*made, batch.id):
            await ended(tasks, id_)


async def test_another_tenant_sees_nothing_and_changes_nothing(settings: MakeSettings) -> None:
    """Every call that names an id or a queue takes `tenant=`; what is not that tenant's is unknown to it."""
    jobs = Jobs()
    made = settings(queues=["default", "work[fair]"], retries=1, max_workers=1)
    async with working(made, jobs) as tasks:
        acme = tasks.on(tenant="acme")
        dead = await acme.enqueue(jobs.fail, "no")
        await died(tasks, dead)
        await acme.enqueue(jobs.wait, "running")
        await jobs.noted("running begins")
        delayed = await tasks.on(tenant="acme", delay=HOUR).enqueue(jobs.note, "later")
        ready = await acme.enqueue(jobs.note, "ready")
        fair = await tasks.on("work[fair]", tenant="acme").enqueue(jobs.note, "fair")
        async with tasks.batch(tenant="acme") as batch:
            batch.on(delay=HOUR).enqueue(jobs.note, "batched")
        ids = [dead, delayed, ready, fair]

        assert not any([await tasks.get_task(id_, tenant="other") for id_ in ids])
        assert {await tasks.explain(id_, tenant="other") for id_ in ids} == {await tasks.explain("nothing")}
        assert not any([await tasks.cancel_task(id_, tenant="other") for id_ in ids])
        assert await tasks.get_batch(batch.id, tenant="other") is None
        assert not await tasks.cancel_batch(batch.id, tenant="other")
        assert not await tasks.append_batch(None, "other", batch.id, [TaskData("x")])
        looks: list[Callable[..., Awaitable[list[TaskInfo]]]] = [
            tasks.get_tasks_in_queue, tasks.get_delayed_tasks, tasks.get_dead_tasks,
        ]  # fmt: skip
        for queue in ("default", "work[fair]"):
            assert not any([await look(queue, tenant="other") for look in looks])
            info = await tasks.get_queue(queue, tenant="other")
            assert (info.length, info.running, info.delayed, info.deadletter) == (0, 0, 0, 0)
            assert await tasks.retry_dead_tasks(queue, tenant="other") == 0
            assert await tasks.retry_dead_tasks(queue, task_ids=[dead], tenant="other") == 0
            assert await tasks.discard_dead_tasks(queue, tenant="other") == 0
            assert await tasks.discard_dead_tasks(queue, task_ids=[dead], tenant="other") == 0

        info = await tasks.get_queue("default", tenant="acme")
        assert (info.length, info.running, info.delayed, info.deadletter) == (1, 1, 2, 1)
        assert [len(await look("default", tenant="acme")) for look in looks] == [1, 2, 1]
        assert (await tasks.get_queue("work[fair]", tenant="acme")).length == 1
        assert await tasks.discard_dead_tasks("default", tenant="acme") == 1
        assert await tasks.cancel_batch(batch.id, tenant="acme")
        assert await tasks.cancel_task(delayed, tenant="acme")
        jobs.go_on.set()
        await jobs.noted("fair", "ready")


async def test_dead_tasks_of_one_tenant(settings: MakeSettings) -> None:
    """Retried, counted and discarded apart from those of others that died before and after."""
    jobs = Jobs()
    async with working(settings(retries=1), jobs) as tasks:
        ids: dict[str, list[str]] = {"a": [], "b": []}
        for number in range(6):
            tenant = "ab"[number % 2]
            ids[tenant].append(await tasks.on(tenant=tenant).enqueue(jobs.fail, str(number)))
            await died(tasks, ids[tenant][-1])
        assert [task.task_id for task in await tasks.get_dead_tasks("default", tenant="b")] == ids["b"][::-1]
        assert [task.task_id for task in await tasks.get_dead_tasks("default", 1, 1, tenant="b")] == [ids["b"][1]]
        assert await tasks.retry_dead_tasks("default", count=2, tenant="b") == 2
        await wait_until(lambda: len(jobs.notes) == 8)
        assert jobs.notes[6:] in (["fails 1", "fails 3"], ["fails 3", "fails 1"])
        await died(tasks, ids["b"][0])
        await died(tasks, ids["b"][1])
        assert await tasks.discard_dead_tasks("default", tenant="a") == 3
        assert await tasks.discard_dead_tasks("default", 2) == 2
        assert len(await tasks.get_dead_tasks("default")) == 1
        assert await tasks.discard_dead_tasks("default") == 1


async def test_canceled_tasks_are_not_shown(settings: MakeSettings) -> None:
    """Nor counted as skipped, wherever they stood in the queue."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        ready = [await tasks.enqueue(jobs.note, str(number)) for number in range(6)]
        for number in (0, 3):
            assert await tasks.cancel_task(ready.pop(number))
        pages = [await tasks.get_tasks_in_queue("default", skip, 2) for skip in (0, 2, 4)]
        assert [[task.task_id for task in page] for page in pages] == [ready[:2], ready[2:], []]
        async with running(tasks):
            await jobs.noted("5")


async def test_explain_of_a_fair_queue(settings: MakeSettings) -> None:
    """A task waits for those of its own tenant; others' count for a turn each."""
    jobs = Jobs()
    async with processor_of(settings(queues=["work[fair]"]), jobs) as tasks:
        for number in range(3):
            await tasks.on("work[fair]", tenant="big").enqueue(jobs.note, str(number))
        mine = [await tasks.on("work[fair]", tenant="small").enqueue(jobs.note, "x") for _ in range(2)]
        said = [await tasks.explain(id_) for id_ in mine]
        async with running(tasks):
            await jobs.noted("2", "x")
    assert said[0].startswith("It is ready, next of tenant small in fair queue work[fair].")
    assert said[1].startswith("It is ready, behind 1 other of tenant small in fair queue work[fair].")


async def test_explain_says_that_all_slots_are_taken(settings: MakeSettings) -> None:
    """Of the workers that serve its queue; with a free one it says nothing of it."""
    jobs = Jobs()
    async with working(settings(max_workers=2), jobs) as tasks:
        await tasks.enqueue(jobs.wait, "a")
        await jobs.noted("a begins")
        await tasks.pause()
        waiting = await tasks.enqueue(jobs.note, "b")
        paused = await tasks.explain(waiting)
        await tasks.resume()
        await jobs.noted("b")
        await tasks.enqueue(jobs.wait, "c")
        await jobs.noted("c begins")
        waiting = await tasks.enqueue(jobs.note, "d")
        full = await tasks.explain(waiting)
        jobs.go_on.set()
        await jobs.noted("d")
    assert paused == "It is ready, next in queue default. Everything is paused: resume it."
    assert full == "It is ready, next in queue default. Its workers have no free slot: they run 2 tasks."


async def test_explain_tells_a_tenant_nothing_of_others(settings: MakeSettings) -> None:
    """Neither how many tasks they have, nor who stopped everybody, and why, nor which workers there are."""
    jobs = Jobs()
    async with working(settings(max_workers=2), jobs) as tasks:
        for word in ("a", "b"):
            busy = await tasks.on(tenant="other").enqueue(jobs.wait, word)
        await jobs.noted("a begins", "b begins")
        [worker] = await tasks.get_workers()
        assert worker.id in await tasks.explain(busy)
        assert worker.id not in await tasks.explain(busy, tenant="other")
        await tasks.on(tenant="other").enqueue(jobs.note, "c")
        waiting = await tasks.on(tenant="acme").enqueue(jobs.note, "d")
        await tasks.pause(queue="default", reason="other owes us money", by="ann")
        said = await tasks.explain(waiting, tenant="acme")
        await tasks.resume(queue="default")
        jobs.go_on.set()
        await jobs.noted("c", "d")
    assert said == (
        "It is ready in queue default. Queue default is paused: resume the queue. Its workers have no free slot."
    )


@pytest.mark.leaves_keys("thousands of tasks are left, and deleted with the prefix")
async def test_looks_do_not_grow_with_what_there_is(
    settings: MakeSettings, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same look costs the same few commands, whether ten or thousands of tasks, schedules and batches are there."""
    for reader in (looking, explaining):
        monkeypatch.setattr(reader, "FURTHEST", 1000)
    async with TaskProcessor(settings(queues=["plain"])) as tasks:
        costs: list[dict[str, int]] = []
        for size in (10, SIZE):
            await _grow(tasks, client, size)
            await _look_at_everything(tasks)  # loads the scripts
            count = commands(client)
            await _look_at_everything(tasks)
            costs.append(count())
        furthest = await tasks.explain(f"plain-{SIZE - 1:05}")
    small, large = costs
    assert {name: large.get(name, 0) - calls for name, calls in small.items()} == dict.fromkeys(small, 0)
    assert not {"keys", "scan", "smembers", "hgetall", "sort"} & set(large)
    assert "behind more than 1000 others" in furthest


async def _look_at_everything(tasks: TaskProcessor) -> None:
    await tasks.get_task("plain-00005")
    await tasks.explain("plain-00005")
    await tasks.get_tasks_in_queue("plain", 2, 5)
    await tasks.get_delayed_tasks("later", 2, 5)
    await tasks.get_dead_tasks("dead", 2, 5)
    await tasks.get_queue("plain")
    await tasks.get_batches("acme", 2, 5)
    await tasks.get_batches_count("acme")
    await tasks.get_schedules("acme", 2, 5)
    await tasks.get_schedules_count("acme")
    await tasks.get_workers()
    await tasks.is_paused()
    await tasks.get_tenants()


async def _grow(tasks: TaskProcessor, client: redis.Redis, size: int) -> None:
    """So many tasks in each state, batches and schedules."""
    storage, prefix = tasks._opened().storage, tasks.settings.prefix
    for first in range(0, size, 500):
        numbers = range(first, min(first + 500, size))
        await storage.enqueue([_task("plain", number) for number in numbers])
        await storage.enqueue([_task("later", number, after=3_600_000 + number) for number in numbers])
        with client.pipeline(transaction=False) as pipe:
            for number in numbers:
                pipe.hset(f"{prefix}:task:dead-{number}", mapping=_DEAD)
                pipe.zadd(f"{prefix}:queue:dead:dead", {f"dead-{number}": number})
                pipe.hset(f"{prefix}:batch:{number:x}", mapping=_BATCH)
                pipe.zadd(f"{prefix}:batches:acme", {f"{number:x}": number})
                pipe.hset(f"{prefix}:schedule:s{number}", mapping=_SCHEDULE)
                pipe.zadd(f"{prefix}:schedules", {f"s{number}": 2**42})
                pipe.zadd(f"{prefix}:schedules:all", {f"acme:s{number}": 0})
            await asyncio.to_thread(pipe.execute)


_DEAD: Any = {"s": "x", "q": "dead", "t": "acme", "c": "a:b", "d": "", "e": 1, "n": 1, "i": 1, "f": 1, "died": 1}
_BATCH: Any = {
    "tenant": "acme", "queue": "q", "scope": "", "start": 1, "end": 2, "total": 0, "done": 0, "failed": 0,
    "canceled": 0, "duration": 0,
}  # fmt: skip
_SCHEDULE: Any = {
    "tenant": "acme", "queue": "q", "scope": "", "cron": "@yearly", "timezone": "UTC", "seconds": 0, "next": 2**42,
}  # fmt: skip


def _task(queue: str, number: int, **fields: Any) -> tuple[NewTask, bytes]:
    id_ = f"{queue}-{number:05}"
    task = NewTask(id=id_, queue=queue, tenant="acme", call="a:b", retries=1, invisibility=1000, **fields)
    return task, b""
