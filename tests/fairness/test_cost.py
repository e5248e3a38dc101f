"""What a task of a fair queue costs does not grow with the number of tenants that wait."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import redis

from taskproc import TaskProcessor
from taskproc.records import NewTask, Request, Settlement
from tests.conftest import MakeSettings
from tests.fairness.kit import FAIR

MOST = 10_000


def commands(client: redis.Redis) -> Callable[[], dict[str, int]]:
    """Counts the commands that the server runs, those inside of scripts included, from now on."""
    before = _calls(client)
    return lambda: {
        name: calls - before.get(name, 0) for name, calls in _calls(client).items() if calls > before.get(name, 0)
    }


def _calls(client: redis.Redis) -> dict[str, int]:
    stats: Mapping[str, Mapping[str, Any]] = client.info("commandstats")
    ours = {"info", "client|setinfo"}
    return {
        name.removeprefix("cmdstat_"): int(stat["calls"])
        for name, stat in stats.items()
        if name.removeprefix("cmdstat_") not in ours
    }


@pytest.mark.leaves_keys("thousands of tasks are left, and deleted with the prefix")
async def test_cost_is_flat_from_one_to_ten_thousand_tenants(settings: MakeSettings, client: redis.Redis) -> None:
    """The server runs the same few commands to enqueue, to serve and to settle a task, however many tenants wait."""
    async with TaskProcessor(settings(queues=[FAIR])) as tasks:
        await _cost(tasks, client, 1)  # loads the scripts
        costs = [await _cost(tasks, client, tenants) for tenants in (2, 100, MOST)]
    assert costs[0] == costs[1] == costs[2]
    assert sum(costs[0].values()) < 60


async def _cost(tasks: TaskProcessor, client: redis.Redis, tenants: int) -> dict[str, int]:
    """Commands for one task of a tenant in the middle, with so many tenants waiting, each with three tasks."""
    storage = tasks._opened().storage
    known = await _waiting(tasks)
    fresh = [_task(f"t{number}", number) for number in range(known, tenants) for _ in range(3)]
    for first in range(0, len(fresh), 1000):
        await storage.enqueue(fresh[first : first + 1000])
    worker = f"w{tenants}"
    await storage.register(worker, 600_000, {"host": "h", "pid": 1, "queues": FAIR, "slots": 1, "version": "0"})
    await storage.beat(worker, 600_000)
    client.delete(f"{tasks.settings.prefix}:queue:{FAIR}:wake")
    count = commands(client)
    await storage.enqueue([_task(f"t{tenants - 1}", tenants)])
    request = Request(worker=worker, nonce=1, slots=1, queues=[FAIR], max_recoveries=3)
    fetched = (await storage.exchange(request, [])).fetched
    await storage.settle(worker, [Settlement(id=task.id, token=task.token, outcome="done") for task in fetched])
    assert len(fetched) == 1
    return count()


async def _waiting(tasks: TaskProcessor) -> int:
    return int(await tasks._looking()._command("ZCARD", tasks._looking()._keys.turns(FAIR)))


def _task(tenant: str, number: int) -> tuple[NewTask, bytes]:
    from uuid import uuid4

    return NewTask(id=uuid4().hex, queue=FAIR, tenant=tenant, call=f"x:f{number}", retries=1, invisibility=1000), b"1"


@pytest.mark.leaves_keys("the tasks are left, and deleted with the prefix")
async def test_looks_cost_what_they_show(settings: MakeSettings, client: redis.Redis) -> None:
    """Ten tasks of a thousand tenants are shown with a few dozen commands, in order, also from the middle."""
    async with TaskProcessor(settings(queues=[FAIR])) as tasks:
        storage = tasks._opened().storage
        await storage.enqueue([_task(f"t{number}", number) for number in range(1000)])
        await storage.enqueue([_task(f"t{number}", number) for number in range(1000)])
        count = commands(client)
        shown = await tasks.get_tasks_in_queue(FAIR, 5, 10)
        assert sum(count().values()) < 100
        assert [task.tenant for task in shown] == [f"t{number}" for number in range(5, 15)]
        second_round = await tasks.get_tasks_in_queue(FAIR, 995, 10)
        expected = [*range(995, 1000), *range(5)]
        assert [task.tenant for task in second_round] == [f"t{number}" for number in expected]
        assert len(await tasks.get_tasks_in_queue(FAIR, 1990, 50)) == 10
        assert await tasks.get_tasks_in_queue(FAIR, 0, 0) == []


@pytest.mark.leaves_keys("the tasks are left, and deleted with the prefix")
async def test_a_look_at_one_tenant_of_a_fair_queue(settings: MakeSettings, client: redis.Redis) -> None:
    """Its tasks, in its own order, and how many they are; without looking at the others."""
    async with TaskProcessor(settings(queues=[FAIR])) as tasks:
        storage = tasks._opened().storage
        await storage.enqueue([_task(f"t{number % 100}", number) for number in range(1000)])
        count = commands(client)
        shown = await tasks.get_tasks_in_queue(FAIR, 2, 3, tenant="t7")
        assert count() == {"evalsha": 1, "lrange": 1, "hmget": 10, "time": 1}
        assert [task.call for task in shown] == ["x:f207", "x:f307", "x:f407"]
        mine, nobodys = [await tasks.get_queue(FAIR, tenant=tenant) for tenant in ("t7", "nobody")]
    assert (mine.length, nobodys.length) == (10, 0)
