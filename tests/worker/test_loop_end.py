"""A worker whose event loop is ended beneath it, by one of its tasks or by who started it, against one that is told."""

import asyncio
from datetime import timedelta

import pytest
import redis

from taskproc import TaskProcessor
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import Jobs, gone, processor_of, running

SECOND = timedelta(seconds=1)


def end_loop() -> None:
    """What `asyncio.run` does when something has ended the loop: it cancels everything."""
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def begun(tasks: TaskProcessor, jobs: Jobs) -> tuple[asyncio.Task[None], str]:
    """Its worker, and a task that runs there."""
    worker = asyncio.create_task(tasks.run())
    task_id = await tasks.enqueue(jobs.wait, "task")
    await jobs.noted("task begins")
    return worker, task_id


async def test_what_ran_when_the_loop_ended_counts_as_lost(
    settings: MakeSettings, client: redis.Redis, prefix: str
) -> None:
    """It is taken back once the heartbeat is missed, as from a process that was killed: the attempt is not used up."""
    jobs, again = Jobs(), Jobs()
    made = settings(worker_timeout=SECOND, retries=1)
    async with processor_of(made, again) as second:
        async with processor_of(made, jobs) as first:
            worker, task_id = await begun(first, jobs)
            end_loop()
            with pytest.raises(asyncio.CancelledError):
                await worker
        task = await second.get_task(task_id)
        assert task is not None
        assert task.state == "leased"
        async with running(second):
            await again.noted("task begins")
            assert client.hget(f"{prefix}:task:{task_id}", "o") == b"1"
            again.go_on.set()
            await gone(second, task_id)
    assert (jobs.notes, again.notes) == (["task begins", "task cancelled"], ["task begins", "task ends"])


async def test_such_a_task_is_dead_in_the_end(settings: MakeSettings) -> None:
    """After `max_recoveries` ends of a loop it is a dead letter with WorkerLost."""
    jobs = Jobs()
    made = settings(worker_timeout=SECOND, retries=1, max_recoveries=1)
    async with processor_of(made, jobs) as second:
        async with processor_of(made, jobs) as first:
            worker, task_id = await begun(first, jobs)
            end_loop()
            await asyncio.wait([worker])
        async with running(second):

            async def is_dead() -> bool:
                task = await second.get_task(task_id)
                return task is not None and task.state == "dead" and task.error_type == "WorkerLost"

            await wait_until(is_dead)
    assert jobs.notes == ["task begins", "task cancelled"]


@pytest.mark.parametrize("how", ["stopped", "cancelled", "hurried"])
async def test_a_loop_that_ends_after_a_stop_hands_back(settings: MakeSettings, how: str) -> None:
    """A worker that was told to end and whose loop then ends earlier than its tasks gives them back, at once."""
    jobs = Jobs()
    async with processor_of(settings(retries=1, max_recoveries=1), jobs) as tasks:
        worker, task_id = await begun(tasks, jobs)
        if how == "stopped":
            tasks.request_stop()
        else:
            worker.cancel()
        await asyncio.sleep(0.02)
        if how == "hurried":
            worker.cancel()
        await asyncio.sleep(0)
        end_loop()
        await asyncio.wait([worker])
        await tasks.ended()
        task = await tasks.get_task(task_id)
        assert task is not None
        assert (task.state, task.attempt) == ("ready", 1)
        assert await tasks.get_workers() == []
        await tasks.cancel_task(task_id)
    assert jobs.notes == ["task begins", "task cancelled"]
