"""Replies that are cut in half, come in pieces, or late: nothing is lost, and none goes to another's request."""

import asyncio
from collections.abc import Generator, Sequence
from datetime import timedelta

import pytest

from taskproc import TaskContext, TaskProcessor, TaskProcessorSettings
from taskproc.scripts import scripts
from tests.conftest import MakeSettings
from tests.faults.kit import sha
from tests.kit import Proxy, Server, wait_until
from tests.worker.kit import Jobs, ended, processor_of, running, working


@pytest.fixture
def proxy(server: Server, parser: str) -> Generator[Proxy]:
    """Stands between processors and server, which knows all scripts: what it answers, it has carried out."""
    assert parser
    with server.client() as client:
        for script in scripts().values():
            client.script_load(script.source)
    with Proxy(server.port) as started:
        yield started


class Attempts:
    """Which attempts there were."""

    def __init__(self) -> None:
        self.all: list[int] = []

    def start(self, ctx: TaskContext) -> None:
        self.all.append(ctx.attempt)


def through(proxy: Proxy, settings: MakeSettings, **overrides: object) -> TaskProcessorSettings:
    """Settings on the server behind the proxy, with few connections."""
    made = settings(**overrides)
    made.redis = f"{proxy.url}?max_connections=2"
    return made


async def test_replies_cut_in_half(settings: MakeSettings, proxy: Proxy) -> None:
    """Of fetches, settles, enqueues, chunks and looks: each task is there and runs once, at its first attempt."""
    jobs, attempts = Jobs(), Attempts()
    made = through(proxy, settings, max_workers=3, on_task_start=attempts.start)
    async with processor_of(made, jobs) as tasks:
        for name, times in {"add_to_batch": 2, "exchange": 25, "resync": 5, "read_batches": 2}.items():
            proxy.cut_reply(sha(name), times)
        async with tasks.batch() as batch:
            for number in range(100):
                batch.enqueue(jobs.note if number % 2 else jobs.note_in_thread, f"batch {number}")
        for number in range(30):
            proxy.cut_reply(sha("enqueue"))
            await tasks.enqueue(jobs.note, f"single {number}")
        assert (await tasks.get_queue("default")).length == 130
        async with running(tasks):
            outcome = await ended(tasks, batch.id, 20)
            await wait_until(lambda: len(jobs.notes) == 130)
        assert proxy.cut == 64
    assert (outcome.total, outcome.done) == (100, 100)
    assert len(set(jobs.notes)) == 130
    assert attempts.all == [1] * 130


@pytest.mark.parametrize("most, delay", [(1, 0), (7, 5)], ids=["bytes", "pieces, late"])
async def test_replies_in_pieces(settings: MakeSettings, proxy: Proxy, most: int, delay: float) -> None:
    """A load of everything goes through, and each look gets its own answer."""
    jobs, attempts = Jobs(), Attempts()
    made = through(proxy, settings, max_workers=3, on_task_start=attempts.start)
    async with processor_of(made, jobs) as tasks:
        proxy.split(most)
        proxy.delay(delay)
        async with tasks.batch() as batch:
            for number in range(50):
                batch.enqueue(jobs.note, f"batch {number}")
        singles = await asyncio.gather(*(tasks.enqueue(jobs.note, f"single {number}") for number in range(20)))
        await _look_for(tasks, singles)
        canceled = await tasks.on(delay=timedelta(hours=1)).enqueue(jobs.note, "never")
        assert await tasks.cancel_task(canceled)
        async with running(tasks):
            outcome = await ended(tasks, batch.id, 20)
            await wait_until(lambda: len(jobs.notes) == 70)
    assert outcome.done == 50
    assert len(set(jobs.notes)) == 70
    assert attempts.all == [1] * 70


async def _look_for(tasks: TaskProcessor, ids: Sequence[str]) -> None:
    found = await asyncio.gather(*(tasks.get_task(id_) for id_ in ids))
    assert [task and task.task_id for task in found] == list(ids)


async def test_events_in_pieces(settings: MakeSettings, proxy: Proxy) -> None:
    """A cancel is heard by the channel, byte by byte."""
    jobs = Jobs()
    async with working(through(proxy, settings, worker_timeout=timedelta(minutes=1)), jobs) as tasks:
        proxy.split(1)
        task_id = await tasks.enqueue(jobs.wait, "task")
        await jobs.noted("task begins")
        assert await tasks.cancel_task(task_id)
        await jobs.noted("task cancelled", seconds=1)
