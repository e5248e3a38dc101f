"""The end of a worker: what runs may end, the rest goes back uncounted, and nothing of the worker is left."""

import asyncio
import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest
import redis

from taskproc import ConfigurationError, NotConnected, TaskProcessor, TaskProcessorSettings, current_task, threads
from tests.conftest import MakeSettings
from tests.kit import process, wait_until
from tests.worker.kit import MS, Jobs, gone, processor_of, running, working


class Stubborn:
    """Ends neither when it is cancelled nor when it is asked to."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = threading.Event()

    async def in_loop(self) -> None:
        self.begun += 1
        while not self.go_on.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    def in_thread(self) -> None:
        self.begun += 1
        self.go_on.wait(30)


async def test_running_tasks_may_end_within_the_grace(settings: MakeSettings) -> None:
    """`stop()` waits for them, and hands out nothing new meanwhile."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        await tasks.enqueue(jobs.wait, "loop")
        await tasks.enqueue(jobs.wait_in_thread, "thread")
        await jobs.noted("loop begins", "thread begins")
        stopping = asyncio.create_task(tasks.stop())
        await asyncio.sleep(0.05)
        late = await tasks.enqueue(jobs.note, "late")
        await asyncio.sleep(0.05)
        assert not stopping.done()
        jobs.go_on.set()
        await stopping
        assert (await tasks.get_queue("default")).running == 0
        assert await tasks.cancel_task(late)
    assert sorted(jobs.notes) == ["loop begins", "loop ends", "thread begins", "thread ends"]


async def test_what_does_not_end_in_time_is_handed_back_uncounted(settings: MakeSettings) -> None:
    """After the grace coroutines are cancelled and threads asked to stop; both make their first attempt elsewhere."""
    jobs, again = Jobs(), Jobs()
    again.go_on.set()
    made = settings(retries=1, shutdown_grace=100 * MS)
    async with processor_of(made, jobs) as first, processor_of(made, again) as second:
        async with running(first):
            async with first.batch() as batch:
                batch.enqueue(jobs.wait, "loop")
                batch.enqueue(jobs.wait_in_thread, "thread")
            await jobs.noted("loop begins", "thread begins")
            await first.stop()
        returned = await second.get_tasks_in_queue("default")
        assert [(task.state, task.attempt) for task in returned] == [("ready", 1)] * 2
        assert await second.get_workers() == []
        async with running(second):
            await again.noted("loop ends", "thread ends")
    assert {"loop cancelled", "thread asked to stop"} <= set(jobs.notes)


@pytest.mark.parametrize("method", ["in_loop", "in_thread"])
async def test_a_task_that_never_ends_does_not_hold_up_the_shutdown(settings: MakeSettings, method: str) -> None:
    """It is handed back while it runs on; `stop()` returns soon after the grace."""
    stubborn = Stubborn()
    async with working(settings(shutdown_grace=100 * MS), stubborn) as tasks:
        task_id = await tasks.enqueue(getattr(stubborn, method))
        await wait_until(lambda: stubborn.begun)
        begun = time.monotonic()
        await tasks.stop()
        assert time.monotonic() - begun < 4
        [task] = await tasks.get_tasks_in_queue("default")
        assert (task.task_id, task.attempt) == (task_id, 1)
        stubborn.go_on.set()
        await tasks.cancel_task(task_id)


async def test_a_cancelled_run_ends_like_a_stopped_one(settings: MakeSettings) -> None:
    """`run()` hands back what runs, leaves, and only then raises CancelledError."""
    jobs = Jobs()
    async with processor_of(settings(shutdown_grace=100 * MS), jobs) as tasks:
        worker = asyncio.create_task(tasks.run())
        task_id = await tasks.enqueue(jobs.wait, "task")
        await jobs.noted("task begins")
        worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker
        assert await tasks.get_workers() == []
        assert [task.task_id for task in await tasks.get_tasks_in_queue("default")] == [task_id]
        assert await tasks.cancel_task(task_id)
    assert jobs.notes == ["task begins", "task cancelled"]


async def test_leaving_the_block_stops_the_worker(settings: MakeSettings) -> None:
    """`async with processor` ends with its worker stopped, and with the connection closed."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        worker = asyncio.create_task(tasks.run())
        await gone(tasks, await tasks.enqueue(jobs.note, "task"))
    assert worker.done()
    assert not tasks.connected
    with pytest.raises(NotConnected, match="async with processor"):
        await tasks.enqueue(jobs.note, "too late")
    with pytest.raises(NotConnected):
        await tasks.run()


async def test_one_worker_for_each_processor(settings: MakeSettings) -> None:
    """A second `run()` at the same time is refused, one after the other is fine; so is it with `async with`."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        async with running(tasks):
            with pytest.raises(ConfigurationError, match=r"run\(\) is running already"):
                await tasks.run()
        async with running(tasks):
            await gone(tasks, await tasks.enqueue(jobs.note, "again"))
        with pytest.raises(ConfigurationError, match="connected already"):
            await tasks.__aenter__()
    assert jobs.notes == ["again"]


async def test_stop_may_be_called_at_any_time(settings: MakeSettings) -> None:
    """Before `run()`, twice at once, and as soon as it has begun."""
    async with processor_of(settings()) as tasks:
        await tasks.stop()
        worker = asyncio.create_task(tasks.run())
        await asyncio.sleep(0)
        await asyncio.gather(tasks.stop(), tasks.stop())
        assert worker.done()
        await tasks.stop()
        assert await tasks.get_workers() == []


class Ending:
    """Ends its worker."""

    def __init__(self) -> None:
        self.stopping: asyncio.Task[None] | None = None

    async def stop_worker(self) -> None:
        self.stopping = asyncio.create_task(current_task().processor.stop())


async def test_a_task_may_stop_its_own_worker(settings: MakeSettings) -> None:
    """A task that calls `stop()` without waiting for it is done, and the worker ends."""
    ending = Ending()
    async with processor_of(settings(), ending) as tasks:
        worker = asyncio.create_task(tasks.run())
        task_id = await tasks.enqueue(ending.stop_worker)
        await asyncio.wait_for(worker, 5)
        assert await tasks.get_task(task_id) is None


async def leave_the_block(_tasks: TaskProcessor, _worker: asyncio.Task[None]) -> None:
    """Does nothing: the block is left."""


async def stop(tasks: TaskProcessor, _worker: asyncio.Task[None]) -> None:
    """Stops it."""
    await tasks.stop()


async def cancel(_tasks: TaskProcessor, worker: asyncio.Task[None]) -> None:
    """Cancels `run()`."""
    worker.cancel()
    await asyncio.wait([worker])


async def cancel_twice(_tasks: TaskProcessor, worker: asyncio.Task[None]) -> None:
    """Cancels `run()`, which has not ended yet."""
    worker.cancel()
    await asyncio.sleep(0)
    worker.cancel()
    await asyncio.wait([worker])


ENDED = rb":(batch:|statistics:|queues$)"  # of batches that have ended, of when, and of what is not there for ever
WAYS = (leave_the_block, stop, cancel, cancel_twice)


async def round_of(made: TaskProcessorSettings, number: int, witness: TaskProcessor) -> None:
    """A start, and a stop in one of the ways; in four of twenty rounds while tasks run."""
    jobs, batch_id = Jobs(), ""
    async with processor_of(made, jobs) as tasks:
        worker = asyncio.create_task(tasks.run())
        if number // len(WAYS) % 5 == 0:
            async with tasks.batch() as batch:
                batch.enqueue(jobs.wait, "loop")
                batch.enqueue(jobs.wait_in_thread, "thread")
            await jobs.noted("loop begins", "thread begins")
            batch_id = batch.id
        await WAYS[number % len(WAYS)](tasks, worker)
    await asyncio.wait([worker])
    assert await witness.get_workers() == []
    assert await witness.cancel_batch(batch_id) == bool(batch_id)


async def test_many_starts_and_stops_leave_nothing(
    settings: MakeSettings, client: redis.Redis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 100 rounds there are as many asyncio tasks, threads, connections, files and keys as after the first."""
    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.05)
    made = settings(shutdown_grace=0)
    before, connections = set(threading.enumerate()), len(client.client_list())

    def left() -> dict[str, object]:
        return {
            "asyncio tasks": len(asyncio.all_tasks()),
            "threads": len(set(threading.enumerate()) - before),
            "connections": len(client.client_list()) - connections,
            "files": sum(1 for _ in Path("/proc/self/fd").iterdir()),
            "keys": {key for key in cast("list[bytes]", client.keys(f"{prefix}:*")) if not re.search(ENDED, key)},
        }

    async with TaskProcessor(made) as witness:
        for number in range(len(WAYS)):
            await round_of(made, number, witness)
        await wait_until(lambda: left()["threads"] == 0, what="the end of the first")
        first = left()
        for number in range(100):
            await round_of(made, number, witness)
        with suppress(AssertionError):
            await wait_until(lambda: left() == first)
        assert left() == first
    await wait_until(lambda: left()["connections"] == 0)


ENDING = """
    import asyncio
    from taskproc import TaskProcessor, TaskProcessorSettings, factories
    from tests.worker.test_shutdown import Stubborn

    async def main():
        stubborn = Stubborn()
        settings = TaskProcessorSettings(shutdown_grace=0.1)
        async with TaskProcessor(settings, scopes=factories({Stubborn: lambda: stubborn})) as tasks:
            worker = asyncio.create_task(tasks.run())
            await tasks.enqueue(stubborn.in_thread)
            while not stubborn.begun:
                await asyncio.sleep(0.01)
            await tasks.stop()
            print("next attempt", [task.attempt for task in await tasks.get_tasks_in_queue("default")])

    asyncio.run(main())
"""


async def test_the_process_exits_though_a_thread_never_ends(settings: MakeSettings) -> None:
    """A `def` task that ignores everything is handed back, and does not keep its process alive."""
    made = settings()
    with process(ENDING, {"TASKPROC_REDIS": made.redis, "TASKPROC_PREFIX": made.prefix}) as program:
        assert await asyncio.to_thread(program.wait, 10) == 0
        assert "next attempt [1]" in program.log
    async with processor_of(made) as tasks:
        [task] = await tasks.get_tasks_in_queue("default")
        await tasks.cancel_task(task.task_id)
