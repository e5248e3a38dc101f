"""A hook is told what its worker meant to hand in, where the answer is lost: counters say what Redis made of it."""

from collections.abc import Generator
from datetime import timedelta

import pytest

from taskproc import TaskContext
from tests.conftest import MakeSettings
from tests.faults.kit import sha
from tests.kit import Proxy, Server, wait_until
from tests.worker.kit import Jobs, ended, processor_of, working


@pytest.fixture
def proxy(server: Server) -> Generator[Proxy]:
    """Between worker and server."""
    with Proxy(server.port) as started:
        yield started


@pytest.mark.parametrize("what", ["task", "batch"])
async def test_done_for_the_hook_and_canceled_for_the_batch(settings: MakeSettings, proxy: Proxy, what: str) -> None:
    """Canceled in the moment of its end: the worker has not heard of it, nor gets the answer that would say so."""
    jobs, told = Jobs(), list[str | None]()

    def end(ctx: TaskContext) -> None:
        told.append(ctx.outcome)

    made = settings(worker_timeout=timedelta(minutes=1), on_task_end=end)
    made.redis = proxy.url
    async with processor_of(settings(), jobs) as direct, working(made, jobs):
        proxy.drop_messages()
        async with direct.batch() as batch:
            batch.enqueue(jobs.wait, "task")
        await jobs.noted("task begins")
        [task] = await direct.get_running_tasks("default")
        if what == "task":
            assert await direct.cancel_task(task.task_id)
        else:
            assert await direct.cancel_batch(batch.id)
        proxy.drop_reply(sha("exchange"))
        jobs.go_on.set()
        outcome = await ended(direct, batch.id, 10)
        await wait_until(lambda: told)
        assert proxy.dropped == 1
    assert (outcome.done, outcome.canceled) == (0, 1)
    assert told == ["done"]
    assert jobs.notes == ["task begins", "task ends"]
