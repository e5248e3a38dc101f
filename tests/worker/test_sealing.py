"""Signed and encrypted payloads, from the call to the dead letter."""

from datetime import timedelta
from typing import Any

import pytest
import redis

from taskproc import ScheduleData, TaskData, TaskProcessor, TaskProcessorSettings
from taskproc.context import TaskContext
from taskproc.sealing import is_sealed
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import Jobs, died, gone, processor_of, running, working

OLD, NEW = "old-" + "k" * 32, "new-" + "k" * 32
KEYS: dict[str, dict[str, Any]] = {
    "signed": {"signing_keys": [OLD]},
    "encrypted": {"encryption_keys": [OLD]},
    "both": {"signing_keys": [OLD], "encryption_keys": [OLD]},
}


def record(client: redis.Redis, settings: TaskProcessorSettings, task_id: str) -> str:
    """The key of a task."""
    return f"{settings.prefix}:task:{task_id}"


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
async def test_everything_that_is_sealed_runs(settings: MakeSettings, keys: dict[str, Any]) -> None:
    """Single tasks, those of a batch, continuations, cycles of a schedule, triggered ones, and retries."""
    jobs = Jobs()
    made = settings(**keys, use_cron_seconds=True)
    async with working(made, jobs) as tasks:
        await tasks.enqueue(jobs.note, "single")
        async with tasks.batch() as batch:
            batch.enqueue(jobs.note, "batch")
            batch.continue_with(jobs.note, "continuation")
        await tasks.upsert_schedule(ScheduleData(id="never", cron="0 0 0 1 1 *"), jobs.note, "triggered")
        assert await tasks.trigger_schedule("never")
        await tasks.upsert_schedule(ScheduleData(id="often", cron="* * * * * *"), jobs.note, "cycle")
        wanted = {"single", "batch", "continuation", "triggered", "cycle"}
        await wait_until(lambda: set(jobs.notes) == wanted, 8)
        await tasks.cancel_schedule("often")
        await tasks.cancel_schedule("never")


async def test_encrypted_arguments_are_not_readable(settings: MakeSettings, client: redis.Redis) -> None:
    """Not in Redis; in `ctx.data` they are."""
    made = settings(encryption_keys=[OLD])
    seen: list[bytes] = []

    async def execute(ctx: TaskContext) -> None:
        seen.append(ctx.data)

    async with TaskProcessor(made) as tasks:
        tasks.execute = execute
        task_id = await tasks.enqueue_task(None, None, TaskData(topic="raw", data=b"the secret of bob"))
        stored: Any = client.hgetall(record(client, made, task_id))
        assert b"the secret" not in b"".join(stored.values())
        async with running(tasks):
            await gone(tasks, task_id)
    assert seen == [b"the secret of bob"]


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("field", ["c", "t", "d", "p"])
async def test_a_task_that_was_changed_is_never_run(
    settings: MakeSettings, client: redis.Redis, keys: dict[str, Any], field: str
) -> None:
    """Whoever can write to Redis cannot make it another call, another tenant's, or one with other arguments."""
    jobs = Jobs()
    made = settings(**keys)
    async with processor_of(made, jobs) as tasks:
        task_id = await tasks.enqueue(jobs.note, "as it was")
        other = await tasks.enqueue(jobs.note, "something else")
        stolen: Any = client.hget(record(client, made, other), "d")
        changed = {"c": f"{Jobs.__module__}:Jobs.fail", "t": "evil", "d": stolen, "p": "raw"}[field]
        client.hset(record(client, made, task_id), field, changed)
        async with running(tasks):
            task = await died(tasks, task_id)
            await gone(tasks, other)
    assert (task.error_type, task.attempt) == ("taskproc.errors.MalformedTask", 1)
    assert "belongs to another task" in (task.error_message or "")
    assert jobs.notes == ["something else"]


@pytest.mark.parametrize("id_", ["copy", "{}.0.7", "{}:1750000000000"])
async def test_a_task_cannot_be_repeated_under_another_id(
    settings: MakeSettings, client: redis.Redis, id_: str
) -> None:
    """Neither as another single task, nor as one of a batch or a schedule that nobody made."""
    jobs = Jobs()
    made = settings(signing_keys=[OLD])
    async with processor_of(made, jobs) as tasks:
        task_id = await tasks.enqueue(jobs.note, "once")
        copied = id_.format(task_id)
        client.rename(record(client, made, task_id), record(client, made, copied))
        client.lset(f"{made.prefix}:queue:default:ready", 0, copied)
        async with running(tasks):
            task = await died(tasks, copied)
    assert "belongs to another task" in (task.error_message or "")
    assert jobs.notes == []


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
async def test_a_task_of_one_batch_is_not_one_of_another(
    settings: MakeSettings, client: redis.Redis, keys: dict[str, Any]
) -> None:
    """Nor can a continuation say what a task of another batch says."""
    jobs = Jobs()
    made = settings(**keys)
    async with processor_of(made, jobs) as tasks:
        async with tasks.batch() as one:
            one.enqueue(jobs.note, "one")
        async with tasks.batch() as two:
            two.enqueue(jobs.note, "two")
            two.continue_with(jobs.note, "after two")
        stolen: Any = client.hget(record(client, made, f"{one.id}.0.0"), "d")
        waiting: Any = client.lrange(f"{made.prefix}:batch:{two.id}:then", 0, -1)
        continuation = waiting[0].decode()
        client.hset(record(client, made, continuation), "d", stolen)
        async with running(tasks):
            await died(tasks, continuation)
            await jobs.noted("one", "two")
    assert sorted(jobs.notes) == ["one", "two"]


@pytest.mark.parametrize("field", ["tenant", "call", "data"])
async def test_a_schedule_that_was_changed_is_never_run(
    settings: MakeSettings, client: redis.Redis, field: str
) -> None:
    """Neither with the arguments of another schedule, nor another method, nor for another tenant."""
    jobs = Jobs()
    made = settings(signing_keys=[OLD], encryption_keys=[OLD])
    never = "0 0 1 1 *"
    async with processor_of(made, jobs) as tasks:
        for id_ in ("mine", "other"):
            await tasks.upsert_schedule(ScheduleData(id=id_, cron=never), jobs.note, id_)
        stolen: Any = client.hget(f"{made.prefix}:schedule:other", "data")
        changed = {"tenant": "evil", "call": f"{Jobs.__module__}:Jobs.fail", "data": stolen}[field]
        assert client.hset(f"{made.prefix}:schedule:mine", field, changed) == 0, "there is such a field"
        assert await tasks.trigger_schedule("mine")
        assert await tasks.trigger_schedule("other")
        async with running(tasks):
            [task] = await wait_until(lambda: tasks.get_dead_tasks("default"))
            await jobs.noted("other")
        client.hset(f"{made.prefix}:schedule:mine", "tenant", made.tenant)
        assert await tasks.cancel_schedule("mine")
        assert await tasks.cancel_schedule("other")
    assert task.task_id.startswith("mine:")
    assert task.error_type == "taskproc.errors.MalformedTask"
    assert jobs.notes == ["other"]


async def test_a_dead_task_is_retried_with_what_was_sealed(settings: MakeSettings, client: redis.Redis) -> None:
    """Each attempt opens it anew, after a failure as after a retry by hand; in Redis it stays as it was sent."""
    jobs = Jobs()
    made = settings(signing_keys=[OLD], encryption_keys=[OLD], on_task_failed_delay=None)
    async with working(made, jobs) as tasks:
        task_id = await tasks.on(retries=2).enqueue(jobs.fail, "the secret")
        await died(tasks, task_id)
        assert jobs.notes == ["fails the secret"] * 2
        stored: Any = client.hget(record(client, made, task_id), "d")
        assert is_sealed(stored)
        assert b"the secret" not in stored
        assert await tasks.retry_dead_tasks("default", retries=1, task_ids=[task_id]) == 1
        await wait_until(lambda: len(jobs.notes) == 3)
        await died(tasks, task_id)
    assert jobs.notes == ["fails the secret"] * 3


async def test_keys_are_changed_while_tasks_wait(settings: MakeSettings) -> None:
    """What the old key sealed runs as long as that is there; without it it is dead, and runs once it is back."""
    jobs = Jobs()
    old, both, new = ({"signing_keys": keys, "encryption_keys": keys} for keys in ([OLD], [NEW, OLD], [NEW]))
    async with processor_of(settings(**old), jobs) as before:
        async with working(settings(**both), jobs) as tasks:
            await before.enqueue(jobs.note, "early")
            await jobs.noted("early")
        async with working(settings(**new), jobs) as tasks:
            task_id = await before.enqueue(jobs.note, "late")
            task = await died(tasks, task_id)
            assert "not among signing_keys" in (task.error_message or "")
        async with working(settings(**both), jobs) as tasks:
            assert await tasks.retry_dead_tasks("default") == 1
            await gone(tasks, task_id)
    assert jobs.notes == ["early", "late"]


async def test_unsigned_tasks_are_refused_until_they_are_allowed(settings: MakeSettings) -> None:
    """A dead letter says what to do; once it is done, `retry_dead_tasks` runs it."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as without, working(settings(signing_keys=[OLD]), jobs) as tasks:
        task_id = await without.enqueue(jobs.note, "from before")
        task = await died(tasks, task_id)
        assert "accept_unsealed=True" in (task.error_message or "")
        await tasks.stop()
        async with working(settings(signing_keys=[OLD], accept_unsealed=True), jobs) as lax:
            assert await lax.retry_dead_tasks("default", task_ids=[task_id]) == 1
            await gone(lax, task_id)
    assert jobs.notes == ["from before"]


async def test_a_worker_without_keys_leaves_sealed_tasks_to_others(settings: MakeSettings) -> None:
    """As it does with methods that it does not know: keys may be introduced one process after the other."""
    jobs = Jobs()
    made = settings(signing_keys=[NEW, OLD])
    async with processor_of(made, jobs) as knowing, working(settings(), jobs) as without:
        task_id = await knowing.enqueue(jobs.note, "sealed")
        [task] = await wait_until(lambda: without.get_delayed_tasks("default"))
        assert (task.task_id, task.attempt) == (task_id, 1)
        await without.stop()
        async with running(knowing):
            await gone(knowing, task_id, timedelta(seconds=8).total_seconds())
    assert jobs.notes == ["sealed"]
