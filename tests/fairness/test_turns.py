"""Fair queues serve their tenants in turn, whatever their backlogs, and whichever way tasks come into the queue."""

from datetime import UTC, datetime, timedelta

import pytest
import redis

from taskproc import TaskProcessor
from tests.conftest import MakeSettings
from tests.fairness.kit import FAIR, Served, fill, in_turn, tenants
from tests.kit import wait_until
from tests.worker.kit import ended, processor_of, running

COUNTS = {"big": 300, "middle": 20, "small": 5}
MS = timedelta(milliseconds=1)


async def served(tasks: TaskProcessor, jobs: Served, count: int) -> None:
    """Runs a worker until so many tasks have been served."""
    async with running(tasks):
        await wait_until(lambda: len(jobs.order) >= count, 20, f"{count} tasks")
        await wait_until(lambda: _is_empty(tasks))
    assert len(jobs.order) == count


async def test_three_tenants_in_turn(settings: MakeSettings, client: redis.Redis, prefix: str) -> None:
    """325 tasks of three tenants, in exact round robin; shown so before; nothing of the queue is left behind."""
    jobs = Served()
    async with processor_of(settings(queues=[FAIR], max_workers=1), jobs) as tasks:
        await fill(tasks, jobs, COUNTS)
        queue = await tasks.get_queue(FAIR)
        assert (queue.length, queue.tenants) == (325, COUNTS)
        expected = list(in_turn(COUNTS))
        assert tenants(await tasks.get_tasks_in_queue(FAIR, 0, 325)) == [tenant for tenant, _ in expected]
        await served(tasks, jobs, 325)
        assert (await tasks.get_queue(FAIR)).tenants == {}
    assert jobs.order == expected
    assert [*client.scan_iter(f"{prefix}:queue:*")] == []


@pytest.mark.parametrize("slots", [2, 7, 40])
async def test_many_at_a_time_in_turn(settings: MakeSettings, slots: int) -> None:
    """What one fetch takes is in turn too, and the next fetch goes on where it ended."""
    jobs = Served()
    async with processor_of(settings(queues=[FAIR], max_workers=slots), jobs) as tasks:
        await fill(tasks, jobs, COUNTS)
        await served(tasks, jobs, 325)
    assert jobs.order == list(in_turn(COUNTS))


async def test_who_comes_later_is_served_next_round(settings: MakeSettings) -> None:
    """A tenant that comes while others have hundreds of tasks waits for one of each."""
    jobs = Served()
    async with processor_of(settings(queues=[FAIR], max_workers=1), jobs) as tasks:
        await fill(tasks, jobs, {"a": 50, "b": 50})
        await fill(tasks, jobs, {"late": 1})
        await served(tasks, jobs, 101)
    assert jobs.order[:4] == [("a", "0"), ("b", "0"), ("late", "0"), ("a", "1")]


async def test_retries_keep_to_the_turns(settings: MakeSettings) -> None:
    """A tenant whose tasks fail and come back at once takes no turn of another's."""
    jobs = Served()
    jobs.failing = {str(number) for number in range(10)}
    made = settings(queues=[FAIR], max_workers=1, on_task_failed_delay=None)
    async with processor_of(made, jobs) as tasks:
        await fill(tasks, jobs, {"a": 10})
        async with tasks.batch(FAIR, tenant="b") as batch:
            for number in range(20):
                batch.enqueue(jobs.serve, f"b{number}")
        await served(tasks, jobs, 40)
    assert [tenant for tenant, _ in jobs.order] == ["a", "b"] * 20
    assert [word for tenant, word in jobs.order if tenant == "a"] == [*map(str, range(10))] * 2


async def test_delayed_tasks_come_back_to_their_tenants_turn(settings: MakeSettings) -> None:
    """Tasks that fall due together are served one of each tenant, not one tenant's after the other's."""
    jobs = Served()
    async with processor_of(settings(queues=[FAIR], max_workers=1), jobs) as tasks:
        due = datetime.now(UTC) + 100 * MS
        for after, tenant in enumerate("abc"):
            async with tasks.batch(FAIR, tenant=tenant) as batch:
                for number in range(10):
                    batch.on(delay_until=due + (3 * number + after) * MS).enqueue(jobs.serve, str(number))
        assert (await tasks.get_queue(FAIR)).delayed == 30
        await wait_until(lambda: _all_due(tasks))
        await served(tasks, jobs, 30)
    assert jobs.order == list(in_turn({"a": 10, "b": 10, "c": 10}))


@pytest.mark.parametrize("way", ["dead", "leaves"])
async def test_what_is_taken_back_keeps_to_the_turns(
    settings: MakeSettings, client: redis.Redis, prefix: str, way: str
) -> None:
    """The tasks of a worker that dies, or ends, come back into the lists of their tenants, and into their turns."""
    jobs = Served()
    async with processor_of(settings(queues=[FAIR], max_workers=1), jobs) as tasks:
        storage = tasks._opened().storage
        await fill(tasks, jobs, {"a": 6, "b": 3})
        about = {"host": "h", "pid": 1, "queues": FAIR, "slots": 9, "version": "0"}
        await storage.register("other", 60_000, about)
        await storage.beat("other", 60_000)
        assert await _fetch(tasks, "other", 5) == ["a", "b", "a", "b", "a"]
        assert (await tasks.get_queue(FAIR)).tenants == {"a": 3, "b": 1}
        if way == "dead":
            client.hdel(f"{prefix}:meta", "hold")
            client.zadd(f"{prefix}:workers", {"other": 1})
            await storage.reap(60_000, 3)
        else:
            await storage.leave("other")
        queue = await tasks.get_queue(FAIR)
        assert (queue.length, queue.running, queue.tenants) == (9, 0, {"a": 6, "b": 3})
        shown = tenants(await tasks.get_tasks_in_queue(FAIR))
        await served(tasks, jobs, 9)
    assert [tenant for tenant, _ in jobs.order] == shown
    assert [{*shown[0:2]}, {*shown[2:4]}, {*shown[4:6]}, {*shown[6:9]}] == [{"a", "b"}] * 3 + [{"a"}]


async def test_continuations_keep_to_the_turns(settings: MakeSettings) -> None:
    """The continuation of a tenant's batch waits for the others' turns."""
    jobs = Served()
    async with processor_of(settings(queues=[FAIR], max_workers=1), jobs) as tasks:
        async with tasks.batch(FAIR, tenant="a") as batch:
            batch.enqueue(jobs.serve, "task")
            for number in range(3):
                batch.continue_with(jobs.serve, f"then {number}")
        await fill(tasks, jobs, {"b": 5, "c": 5})
        await served(tasks, jobs, 14)
    first = [tenant for tenant, _ in jobs.order]
    assert first[:3] == ["a", "b", "c"]
    for number in range(3):  # in each later round each tenant is served once
        assert sorted(first[3 + 3 * number : 6 + 3 * number]) == ["a", "b", "c"]


async def test_a_canceled_batch_leaves_its_tenants_turn(settings: MakeSettings) -> None:
    """What else the tenant has is served in its turn, the others lose none, and the counts are right."""
    jobs = Served()
    async with processor_of(settings(queues=[FAIR], max_workers=1), jobs) as tasks:
        [canceled] = await fill(tasks, jobs, {"a": 100})
        await fill(tasks, jobs, {"a": 3, "b": 4})
        assert await tasks.cancel_batch(canceled)
        queue = await tasks.get_queue(FAIR)
        assert (queue.length, queue.tenants) == (7, {"a": 3, "b": 4})
        shown = tenants(await tasks.get_tasks_in_queue(FAIR))
        await served(tasks, jobs, 7)
        assert (await ended(tasks, canceled)).canceled == 100
    assert [tenant for tenant, _ in jobs.order] == shown == ["a", "b", "a", "b", "a", "b", "b"]


async def test_a_canceled_tenant_is_out_of_the_ring(settings: MakeSettings) -> None:
    """It has nothing else: the others are served as if it had never been there."""
    jobs = Served()
    async with processor_of(settings(queues=[FAIR], max_workers=1), jobs) as tasks:
        [canceled] = await fill(tasks, jobs, {"a": 100})
        await fill(tasks, jobs, {"b": 2, "c": 2})
        await tasks.cancel_batch(canceled)
        assert (await tasks.get_queue(FAIR)).tenants == {"b": 2, "c": 2}
        await served(tasks, jobs, 4)
    assert [tenant for tenant, _ in jobs.order] == ["b", "c", "b", "c"]


async def _fetch(tasks: TaskProcessor, worker: str, slots: int) -> list[str]:
    from taskproc.records import Request

    reply = await tasks._opened().storage.exchange(
        Request(worker=worker, nonce=1, slots=slots, queues=[FAIR], max_recoveries=3), []
    )
    return [attempt.tenant for attempt in reply.fetched]


async def _is_empty(tasks: TaskProcessor) -> bool:
    queue = await tasks.get_queue(FAIR)
    return queue.length + queue.running + queue.delayed == 0


async def _all_due(tasks: TaskProcessor) -> bool:
    now = await tasks._looking().now()
    return all(
        task.due_at is not None and task.due_at.timestamp() * 1000 < now for task in await tasks.get_delayed_tasks(FAIR)
    )
