"""Filters of lists of tasks, and of acts on dead ones, on a real server."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import redis

from taskproc import InvalidFilter, TaskInfo, TaskProcessor, dead_letters, looking
from tests.conftest import MakeSettings
from tests.fairness.test_cost import commands
from tests.worker.kit import died, processor_of, working

HOUR = timedelta(hours=1)


class Rows:
    async def load_row(self, number: int) -> None:
        raise ValueError(f"row {number}: not a number")

    async def reload_row(self, table: str) -> None:
        raise LookupError(f"no table '{table}'")


def ids_of(tasks: Sequence[TaskInfo]) -> list[str]:
    """Their ids."""
    return [task.task_id for task in tasks]


@asynccontextmanager
async def dead_rows(tasks: TaskProcessor, count: int, tenant: str = "acme") -> AsyncGenerator[list[str]]:
    """Ids of dead tasks `load_row` and, each fourth, `reload_row`, the one that died first, first."""
    ids: list[str] = []
    for number in range(count):
        on = tasks.on(tenant=tenant, retries=1)
        method = on.enqueue(Rows().reload_row, f"t{number}") if number % 4 == 3 else on.enqueue(Rows().load_row, number)
        ids.append(await method)
        await died(tasks, ids[-1])
    yield ids
    await tasks.discard_dead_tasks("default")


async def test_dead_tasks_that_match(settings: MakeSettings) -> None:
    """`skip` and `take` count those that match; groups and counts are of these; a tenant finds its own only."""
    async with working(settings(), Rows()) as tasks, dead_rows(tasks, 8) as ids, dead_rows(tasks, 2, "other") as others:
        loads = [id_ for number, id_ in enumerate(ids) if number % 4 != 3]
        look, newest = tasks.get_dead_tasks, [*reversed(others), *reversed(loads)]
        assert ids_of(await look("default", filter="call:load_row")) == newest
        assert ids_of(await look("default", 3, 2, filter="call:load_row")) == newest[3:5]
        assert ids_of(await look("default", 7, filter="call:load_row")) == newest[7:]
        assert ids_of(await look("default", tenant="acme", filter="call:load_row -id:" + loads[0])) == newest[2:-1]
        assert ids_of(await look("default", filter="tenant:other", tenant="acme")) == []
        assert ids_of(await look("default", filter="died:>1h")) == []
        assert len(await look("default", filter="died:<1h")) == 10
        found = await tasks.get_dead_groups("default", filter="error:lookuperror")
        assert [(group.count, group.task_ids) for group in found] == [(2, [ids[7], ids[3]])]
        assert [group.count for group in await tasks.get_dead_groups("default", most=2, filter="tenant:acme")] == []
        counts = [
            await tasks.get_dead_tasks_count("default"),
            await tasks.get_dead_tasks_count("default", tenant="acme"),
            await tasks.get_dead_tasks_count("default", filter="call:load_row"),
            await tasks.get_dead_tasks_count("default", tenant="other", filter="row"),
            await tasks.get_dead_tasks_count("nothing", filter="row"),
        ]
        assert counts == [10, 8, 8, 2, 0]


async def test_acts_on_what_matches(settings: MakeSettings) -> None:
    """First the filter, then the tenant, the ids and the count: those that died first; nothing else is touched."""
    async with working(settings(), Rows()) as tasks, dead_rows(tasks, 8) as ids, dead_rows(tasks, 2, "other") as others:
        discard = tasks.discard_dead_tasks
        assert await discard("default", filter="message:table", tenant="other") == 0
        assert await discard("default", 1, filter="error:LookupError") == 1
        assert await discard("default", 5, filter="error:LookupError") == 1
        left = [id_ for number, id_ in enumerate(ids) if number % 4 != 3]
        assert ids_of(await tasks.get_dead_tasks("default"))[::-1] == [*left, *others]
        named = [others[0], left[1], left[2], left[2], "gone"]
        assert await discard("default", task_ids=named, filter="tenant:acme") == 2
        assert await discard("default", 1, task_ids=["gone", left[3], left[4]], filter="tenant:acme") == 1
        assert await discard("default", 2, filter="-tenant:other") == 2
        assert ids_of(await tasks.get_dead_tasks("default"))[::-1] == [left[5], *others]
        assert await tasks.retry_dead_tasks("default", 1, filter="tenant:other", count=1) == 1
        assert (await died(tasks, others[0])).retries == 1
        assert await tasks.retry_dead_tasks("default", filter="died:>1h") == 0


async def test_what_is_no_filter(settings: MakeSettings) -> None:
    """Is refused by every call that takes one, also the empty one, and nothing is done."""
    async with working(settings(), Rows()) as tasks, dead_rows(tasks, 1):
        calls = (
            tasks.get_tasks_in_queue, tasks.get_running_tasks, tasks.get_delayed_tasks, tasks.get_dead_tasks,
            tasks.get_dead_groups, tasks.get_dead_tasks_count, tasks.retry_dead_tasks, tasks.discard_dead_tasks,
        )  # fmt: skip
        for call in calls:
            for wrong in ("", "  ", "colour:red", 'message:"open'):
                with pytest.raises(InvalidFilter, match="filter"):
                    await call("default", filter=wrong)
        assert await tasks.get_dead_tasks_count("default") == 1


@pytest.mark.leaves_keys("what was looked at is not run")
@pytest.mark.parametrize("queue", ["work", "work[fair]"])
async def test_lists_of_a_queue(settings: MakeSettings, queue: str) -> None:
    """Ready and delayed tasks too, in their order, of all tenants in turn or of one."""
    rows = Rows()
    async with processor_of(settings(), rows) as tasks:
        on = {tenant: tasks.on(queue, tenant=tenant) for tenant in ("a", "b", "c")}
        ids = [
            await (on[tenant].enqueue(rows.load_row, 1) if tenant != "b" else on[tenant].enqueue(rows.reload_row, "x"))
            for tenant in ("a", "b", "c", "a", "b", "c")
        ]
        loads = [ids[0], ids[2], ids[3], ids[5]]
        assert ids_of(await tasks.get_tasks_in_queue(queue, filter="call:load_row")) == loads
        assert ids_of(await tasks.get_tasks_in_queue(queue, 1, 1, filter="call:load_row")) == loads[1:2]
        assert ids_of(await tasks.get_tasks_in_queue(queue, 0, 1, filter="tenant:c")) == [ids[2]]
        assert ids_of(await tasks.get_tasks_in_queue(queue, tenant="a", filter=f"-id:{ids[0]}")) == [ids[3]]
        late = [await tasks.on(queue, delay=HOUR, tenant=who).enqueue(rows.load_row, 1) for who in ("a", "b")]
        assert ids_of(await tasks.get_delayed_tasks(queue, filter="tenant:b")) == late[1:]
        assert await tasks.get_running_tasks(queue, filter="row") == []


async def test_those_that_die_meanwhile_are_not_meant(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An act goes on where it was, though of those before it some are gone and behind it others have died."""
    monkeypatch.setattr(dead_letters, "PAGE", 3)
    async with working(settings(), Rows()) as tasks, dead_rows(tasks, 12) as ids:
        discard, late = tasks._storage().discard_dead, list[str]()

        async def disturbed(queue: str, some: Sequence[str], tenant: str | None) -> list[str]:
            done = await discard(queue, some, tenant)
            if not late:  # others discard what was passed over, and a task dies that matches
                await discard(queue, ids[:2], None)
                await asyncio.sleep(0.005)  # times of death are in milliseconds
                late.append(await tasks.on(retries=1).enqueue(Rows().reload_row, "late"))
                await died(tasks, late[0])
            return done

        monkeypatch.setattr(tasks._storage(), "discard_dead", disturbed)
        assert await tasks.discard_dead_tasks("default", filter="error:LookupError") == 3
        expected = [*[id_ for number, id_ in enumerate(ids) if number % 4 != 3 and number > 1], *late]
        assert ids_of(await tasks.get_dead_tasks("default"))[::-1] == expected


async def test_one_that_dies_again_at_once(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Was retried, and is retried once, though it matches again before it is looked at."""
    async with working(settings(), Rows()) as tasks, dead_rows(tasks, 3) as ids:
        retry, sent = tasks._storage().retry_dead, list[str]()

        async def dies_again(queue: str, some: Sequence[str], retries: int | None, tenant: str | None) -> list[str]:
            done = await retry(queue, some, retries, tenant)
            sent.extend(done)
            for id_ in done:
                await died(tasks, id_)
            return done

        monkeypatch.setattr(tasks._storage(), "retry_dead", dies_again)
        assert await tasks.retry_dead_tasks("default", 1, 2, filter="call:load_row") == 2
        assert sent == ids[:2]


async def test_many_that_died_at_once(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within one millisecond, more than fit on a page: each comes once."""
    monkeypatch.setattr(dead_letters, "PAGE", 2)
    async with working(settings(), Rows()) as tasks, dead_rows(tasks, 9) as ids:
        key, command = tasks._looking()._keys.dead("default"), tasks._storage().driver.command
        first, *_ = await tasks.get_dead_tasks("default", 8)
        assert first.died_at is not None
        at = round(first.died_at.timestamp() * 1000)
        for id_ in ids[:7]:
            await command("ZADD", key, at, id_)
            await command("HSET", tasks._looking()._keys.task(id_), "died", at)
        assert await tasks.get_dead_tasks_count("default", filter="tenant:acme") == 9
        assert await tasks.discard_dead_tasks("default", filter="error:ValueError") == 7
        assert ids_of(await tasks.get_dead_tasks("default")) == [ids[7], ids[3]]


async def test_a_filter_reads_in_pages(
    settings: MakeSettings, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request is about so many at most, and no more are asked for than are needed."""
    monkeypatch.setattr(looking, "PAGE", 4)
    async with working(settings(), Rows()) as tasks, dead_rows(tasks, 9):
        for take, requests in ((2, 1), (4, 2), (50, 3)):
            count = commands(client)
            await tasks.get_dead_tasks("default", 0, take, filter="call:load_row")
            assert count()["zrevrange"] == requests
