"""One enqueue wakes one idle worker, and only one; whoever cannot take it passes it on."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import pytest
import redis

from taskproc import TaskProcessor, TaskProcessorSettings
from taskproc.storage import Storage
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import MS, Jobs, gone, processor_of, running

SELDOM = timedelta(minutes=1)
"""How often idle workers look unasked: never, in a test."""


@asynccontextmanager
async def idle_workers(
    count: int, made: TaskProcessorSettings, jobs: Jobs, client: redis.Redis
) -> AsyncGenerator[list[TaskProcessor]]:
    """Workers that all wait for a wake token, the first of them for the longest."""
    async with AsyncExitStack() as stack:
        workers: list[TaskProcessor] = []
        for number in range(count):
            workers.append(await stack.enter_async_context(processor_of(made, jobs)))
            _ = await stack.enter_async_context(running(workers[-1]))
            await waiting(client, number + 1)
        yield workers


async def waiting(client: redis.Redis, count: int) -> None:
    """Returns when so many clients wait for a wake token."""

    def look() -> bool:
        return sum(each["cmd"] == "blpop" and "b" in each["flags"] for each in client.client_list()) == count

    await wait_until(look, what=f"{count} waiting workers")


@pytest.fixture
def fetchers(monkeypatch: pytest.MonkeyPatch) -> list[Storage]:
    """The storages through which workers have fetched or settled, each time."""
    seen: list[Storage] = []
    exchange = cast("Any", Storage.exchange)

    async def counted(self: Storage, *arguments: Any) -> Any:
        seen.append(self)
        return await exchange(self, *arguments)

    monkeypatch.setattr(Storage, "exchange", counted)
    return seen


async def test_one_enqueue_wakes_one_worker(
    settings: MakeSettings, client: redis.Redis, fetchers: list[Storage]
) -> None:
    """Of ten idle workers one fetches the task and hands it in; the others sleep on."""
    jobs = Jobs()
    async with idle_workers(10, settings(base_frequency=SELDOM), jobs, client) as workers:
        fetchers.clear()
        await gone(workers[0], await workers[0].enqueue(jobs.note, "task"))
        await waiting(client, 10)
        assert len(set(fetchers)) == 1
        assert len(fetchers) <= 3


async def test_a_batch_wakes_as_many_workers_as_it_has_tasks(settings: MakeSettings, client: redis.Redis) -> None:
    """Three workers with one slot each run three tasks at the same time."""
    jobs = Jobs()
    async with idle_workers(3, settings(base_frequency=SELDOM, max_workers=1), jobs, client) as workers:
        async with workers[0].batch() as batch:
            for number in range(3):
                batch.enqueue(jobs.wait, str(number))
        await jobs.noted("0 begins", "1 begins", "2 begins")
        jobs.go_on.set()
        await jobs.noted("0 ends", "1 ends", "2 ends")


async def test_a_full_worker_passes_its_token_on(settings: MakeSettings, client: redis.Redis) -> None:
    """A worker that got its task otherwise, and is full, gives the token that comes to it to the next."""
    jobs = Jobs()
    made = settings(base_frequency=SELDOM, max_workers=1)
    async with idle_workers(1, made, jobs, client) as [full]:
        await full.on(delay=100 * MS).enqueue(jobs.wait, "long")
        await jobs.noted("long begins")
        async with processor_of(made, jobs) as other, running(other):
            await waiting(client, 2)
            await other.enqueue(jobs.note, "passed on")
            await jobs.noted("passed on", seconds=3)
            assert "long ends" not in jobs.notes
            jobs.go_on.set()
            await jobs.noted("long ends")


async def test_what_is_handed_back_wakes_another_worker(settings: MakeSettings, client: redis.Redis) -> None:
    """A worker that ends gives its running task back, and an idle one starts it at once."""
    jobs = Jobs()
    made = settings(base_frequency=SELDOM, shutdown_grace=1 * MS)
    async with processor_of(made, jobs) as ending, running(ending):
        await ending.enqueue(jobs.wait, "task")
        await jobs.noted("task begins")
        async with processor_of(made, jobs) as other, running(other):
            await waiting(client, 2)
            await ending.stop()
            await wait_until(lambda: jobs.notes.count("task begins") == 2, 3)
            jobs.go_on.set()
            await jobs.noted("task ends")


async def test_a_worker_that_was_full_goes_on_with_what_has_waited(settings: MakeSettings) -> None:
    """A backlog larger than its slots is worked off without any look by the clock."""
    jobs = Jobs()
    async with processor_of(settings(base_frequency=SELDOM, max_workers=2), jobs) as tasks:
        for number in range(100):
            await tasks.enqueue(jobs.note if number % 2 else jobs.note_in_thread, str(number))
        async with running(tasks):
            await wait_until(lambda: len(jobs.notes) == 100)


async def test_without_events_and_tokens_work_is_found_all_the_same(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are hints: a worker that hears nothing looks every `base_frequency`."""
    jobs = Jobs()

    async def deaf(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("taskproc.listener.Events.follow", deaf)
    monkeypatch.setattr("taskproc.listener.WakeTokens.take", deaf)
    monkeypatch.setattr("taskproc.worker.EVENTS_WITHIN", 0.01)
    made = settings(base_frequency=200 * MS, worker_timeout=timedelta(seconds=1))
    async with processor_of(made, jobs) as tasks, running(tasks):
        await tasks.enqueue(jobs.note, "new")
        await tasks.on(delay=100 * MS).enqueue(jobs.note, "due")
        await jobs.noted("new", "due", seconds=3)
        task_id = await tasks.enqueue(jobs.wait, "task")
        await jobs.noted("task begins")
        await tasks.cancel_task(task_id)
        await jobs.noted("task cancelled", seconds=3)
