"""Signed and encrypted payloads, from the call to the dead letter."""

from datetime import timedelta
from typing import Any

import pytest
import redis

from taskproc import ScheduleData, TaskData, TaskProcessor, TaskProcessorSettings
from taskproc.context import TaskContext
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
@pytest.mark.parametrize("field", ["c", "t", "d"])
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
        changed = {"c": f"{Jobs.__module__}:Jobs.fail", "t": "evil", "d": stolen}[field]
        client.hset(record(client, made, task_id), field, changed)
        async with running(tasks):
            task = await died(tasks, task_id)
            await gone(tasks, other)
    assert (task.error_type, task.attempt) == ("taskproc.errors.MalformedTask", 1)
    assert "belongs to another task" in (task.error_message or "")
    assert jobs.notes == ["something else"]


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
