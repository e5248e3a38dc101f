"""Few connections for many callers: they wait for their turn, and nobody's failure changes how many there are."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
import uvloop

from taskproc import StorageUnavailable, TaskProcessor
from tests.conftest import MakeSettings
from tests.connections.jobs import note
from tests.connections.kit import settings_for
from tests.kit import Proxy, Server, wait_until
from tests.worker.kit import Jobs, gone, processor_of, working


async def test_more_callers_than_connections(settings: MakeSettings) -> None:
    """Five hundred enqueues and looks at once, through two connections: all are answered."""
    jobs = Jobs()
    made = settings()
    made.redis += "?max_connections=2"
    async with processor_of(made, jobs) as tasks:
        ids = await asyncio.gather(*(_enqueued(tasks, jobs, number) for number in range(500)))
        assert (await tasks.get_queue("default")).length == 500
        found = await asyncio.gather(*(tasks.get_task(id_) for id_ in ids))
        assert [task and task.task_id for task in found] == ids
        await asyncio.gather(*(tasks.cancel_task(id_) for id_ in ids))


async def _enqueued(tasks: TaskProcessor, jobs: Jobs, number: int) -> str:
    for _ in range(number % 5):
        await asyncio.sleep(0)  # not all in one round trip
    return await tasks.enqueue(jobs.note, str(number))


async def test_connections_that_do_not_come_about() -> None:
    """While the server is away, callers fail one after the other; when it is back, there are as many as before."""
    with Server(appendonly="yes", appendfsync="always") as server:
        made = settings_for(f"{server.url}?max_connections=2", command_timeout=0.3)
        async with TaskProcessor(made) as tasks:
            server.kill()
            lost = await asyncio.gather(*(tasks.enqueue(note, number) for number in range(20)), return_exceptions=True)
            assert {type(error) for error in lost} == {StorageUnavailable}
            with pytest.raises(StorageUnavailable, match="Connect") as refused:
                await tasks.get_queues()
            assert not refused.value.maybe_accepted
            assert _turns(tasks) == 2
            server.start()
            with server.client() as client:
                await asyncio.gather(*(tasks.get_queues() for _ in range(50)))
                ours = [one for one in client.client_list() if one["name"] == "taskproc"]
            assert 1 <= len(ours) <= 2


def _turns(tasks: TaskProcessor) -> int:
    """How many more callers may have a connection."""
    assert tasks._open is not None
    pool: Any = tasks._open.connection.commands.connection_pool
    return int(pool._turns._value)


async def test_heartbeats_wait_for_nobody(settings: MakeSettings, server: Server) -> None:
    """All connections are taken, and the event loop stands still: the worker beats on, and no task is run again."""
    jobs = Jobs()
    with Proxy(server.port) as slow:
        second = timedelta(seconds=1)
        made = settings(worker_timeout=second, retries=1, base_frequency=60 * second, command_timeout=20 * second)
        made.redis = f"{slow.url}?max_connections=1"
        async with working(made, jobs) as tasks:
            task_id = await tasks.enqueue(jobs.wait, "task")
            await jobs.noted("task begins")
            [before] = await tasks.get_workers()
            slow.delay(100)
            looks = [asyncio.create_task(tasks.get_queues()) for _ in range(5)]
            await asyncio.sleep(0.5)
            time.sleep(1.5)
            await asyncio.gather(*looks)
            slow.delay(0)
            [after] = await tasks.get_workers()
            assert (after.id, jobs.notes) == (before.id, ["task begins"])
            assert after.alive_until - before.alive_until > timedelta(seconds=2)
            jobs.go_on.set()
            await gone(tasks, task_id)


async def test_a_wake_up_call_that_is_lost_in_the_dark(settings: MakeSettings, server: Server) -> None:
    """A connection on which a worker waits for its call falls silent without an end: work is found all the same."""
    jobs = Jobs()
    with Proxy(server.port) as proxy:
        made = settings(base_frequency=timedelta(milliseconds=500), command_timeout=timedelta(seconds=1))
        made.redis = proxy.url
        async with working(made, jobs) as tasks:
            await gone(tasks, await tasks.enqueue(jobs.note, "before"))
            proxy.silence("BLPOP", 2)
            for number in range(8):
                await tasks.enqueue(jobs.note, str(number))
                await jobs.noted(str(number), seconds=1)
                await asyncio.sleep(0.2)
            await wait_until(lambda: proxy.silenced == 2, 5, "silence on two connections")


@pytest.mark.leaves_keys("what is enqueued is not run")
def test_reset_connections_under_uvloop(settings: MakeSettings, server: Server) -> None:
    """A write to what the other side has reset is a RuntimeError there; calls are repeated all the same."""
    made, jobs = settings(), Jobs()

    async def enqueue(tasks: TaskProcessor, end: float) -> None:
        while time.monotonic() < end:
            await tasks.enqueue(jobs.note, "task")

    async def reset(proxy: Proxy, end: float) -> None:
        while time.monotonic() < end:
            await asyncio.to_thread(proxy.close_all)
            await asyncio.sleep(0.02)

    async def main(proxy: Proxy) -> None:
        made.redis = proxy.url
        async with processor_of(made, jobs) as tasks:
            end = time.monotonic() + 3
            await asyncio.gather(reset(proxy, end), *(enqueue(tasks, end) for _ in range(30)))

    with Proxy(server.port) as proxy:
        uvloop.run(main(proxy))
