"""A request is carried out and its reply lost: whatever is repeated then, everything happens once."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from taskproc import Batch, TaskContext, TaskProcessor, TaskProcessorSettings
from taskproc.scripts import scripts
from tests.conftest import MakeSettings
from tests.faults.kit import sha
from tests.kit import Proxy, Server, wait_until
from tests.worker.kit import MS, Jobs, ended, gone, processor_of, running, working


@pytest.fixture
def proxy(server: Server) -> Generator[Proxy]:
    """Stands between processors and server, which knows all scripts: what it answers, it has carried out."""
    with server.client() as client:
        for script in scripts().values():
            client.script_load(script.source)
    with Proxy(server.port) as started:
        yield started


@asynccontextmanager
async def losing(proxy: Proxy, **scripts: int) -> AsyncGenerator[None]:
    """Loses so many replies of each script, and makes sure that they were lost before the block is left."""
    before = proxy.dropped
    for name, times in scripts.items():
        proxy.drop_reply(sha(name), times)
    yield
    await wait_until(lambda: proxy.dropped - before == sum(scripts.values()), what=f"lost replies: {scripts}")


class Counting:
    """Notes which attempt each task made."""

    def __init__(self) -> None:
        self.attempts: list[tuple[str, int]] = []

    def start(self, ctx: TaskContext) -> None:
        self.attempts.append((ctx.task_id, ctx.attempt))


def through(proxy: Proxy, made: TaskProcessorSettings) -> TaskProcessorSettings:
    """The same settings, by way of the proxy."""
    made.redis = proxy.url
    return made


async def test_lost_fetches_and_settles(settings: MakeSettings, proxy: Proxy) -> None:
    """Each of 300 tasks runs and counts once, at its first attempt, though 100 replies to fetch and settle are lost."""
    jobs, counting = Jobs(), Counting()
    made = through(proxy, settings(max_workers=3, on_task_start=counting.start))
    async with processor_of(made, jobs) as tasks:
        async with tasks.batch() as batch:
            for number in range(300):
                batch.enqueue(jobs.note if number % 2 else jobs.note_in_thread, str(number))
        async with losing(proxy, exchange=100), running(tasks):
            outcome = await ended(tasks, batch.id, 30)
    assert (outcome.total, outcome.done, outcome.failed, outcome.canceled) == (300, 300, 0, 0)
    assert sorted(jobs.notes, key=int) == [str(number) for number in range(300)]
    assert {attempt for _, attempt in counting.attempts} == {1}


async def test_lost_enqueues(settings: MakeSettings, proxy: Proxy) -> None:
    """Each of 50 tasks is there once, though every enqueue is sent twice."""
    jobs = Jobs()
    async with processor_of(through(proxy, settings(max_workers=1)), jobs) as tasks:
        for number in range(50):
            async with losing(proxy, enqueue=1):
                await tasks.enqueue(jobs.note, str(number))
        assert (await tasks.get_queue("default")).length == 50
        async with running(tasks):
            await jobs.noted("49")
    assert jobs.notes == [str(number) for number in range(50)]


async def test_lost_chunks_of_a_batch(settings: MakeSettings, proxy: Proxy) -> None:
    """Every chunk of a batch, and of what is appended to it, is sent twice and counts once."""
    jobs = Jobs()

    def build(batch: Batch) -> Generator[None]:
        for number in range(1200):
            batch.enqueue(jobs.note, str(number))
            yield
        batch.continue_with(jobs.note, "continuation")

    async with working(through(proxy, settings()), jobs) as tasks:
        async with losing(proxy, add_to_batch=3):
            batch_id = await tasks.enqueue_batch(None, None, build)
        await ended(tasks, batch_id, 20)
        async with losing(proxy, add_to_batch=1):
            assert await tasks.append_batch(None, None, batch_id, lambda more: more.enqueue(jobs.note, "1200"))
        outcome = await ended(tasks, batch_id)
        await jobs.noted("continuation", "1200")
    assert (outcome.total, outcome.done) == (1201, 1201)
    assert sorted(jobs.notes) == sorted(["continuation", *map(str, range(1201))])


async def test_a_lost_cancel(settings: MakeSettings, proxy: Proxy) -> None:
    """It is repeated, and True all the same; the queued tasks are counted once."""
    jobs = Jobs()
    async with working(through(proxy, settings(max_workers=1)), jobs) as tasks:
        async with tasks.batch() as batch:
            for _ in range(100):
                batch.enqueue(jobs.wait, "task")
        await jobs.noted("task begins")
        async with losing(proxy, cancel_batch=1, cancel_queued=1):
            assert await tasks.cancel_batch(batch.id)
        outcome = await ended(tasks, batch.id)
    assert (outcome.state, outcome.canceled, outcome.total) == ("canceled", 100, 100)
    assert jobs.notes == ["task begins", "task cancelled"]


async def test_lost_pauses_and_dead_letter_calls(settings: MakeSettings, proxy: Proxy) -> None:
    """Pause, resume, retry and discard are repeated, and done once."""
    jobs = Jobs()
    async with working(through(proxy, settings(retries=1)), jobs) as tasks:
        async with losing(proxy, pause=1):
            await tasks.pause()
        assert await tasks.is_paused()
        async with losing(proxy, pause=1):
            await tasks.resume()
        assert not await tasks.is_paused()
        async with tasks.batch() as batch:
            batch.enqueue(jobs.fail, "dead")
        await ended(tasks, batch.id)
        await tasks.pause()
        async with losing(proxy, retry_dead=1):
            await tasks.retry_dead_tasks("default")
        await tasks.resume()
        await wait_until(lambda: len(jobs.notes) == 2)
        assert (await ended(tasks, batch.id)).failed == 1
        async with losing(proxy, discard_dead=1):
            await tasks.discard_dead_tasks("default")
        outcome = await ended(tasks, batch.id)
    assert (outcome.failed, outcome.total, jobs.notes) == (1, 1, ["fails dead"] * 2)


async def test_a_lost_extension(settings: MakeSettings, proxy: Proxy) -> None:
    """`extend_lock` is repeated: the attempt goes on."""
    jobs = Jobs()
    contexts: list[TaskContext] = []
    made = through(proxy, settings(on_task_start=contexts.append, retries=1))
    async with working(made, jobs) as tasks:
        async with losing(proxy, extend=1):
            task_id = await tasks.on(invisibility=500 * MS).enqueue(jobs.wait, "task")
            await jobs.noted("task begins")
            assert await contexts[0].extend_lock(timedelta(minutes=1))
        await wait_until(lambda: contexts[0].deadline - contexts[0].enqueued_at > timedelta(seconds=50))
        jobs.go_on.set()
        await gone(tasks, task_id)
    assert jobs.notes == ["task begins", "task ends"]


@pytest.mark.parametrize("script", ["register", "leave", "open_store"])
async def test_a_lost_word_of_a_workers_begin_or_end(settings: MakeSettings, proxy: Proxy, script: str) -> None:
    """A worker begins and ends all the same, and leaves nothing behind."""
    jobs = Jobs()
    async with losing(proxy, **{script: 1}), working(through(proxy, settings()), jobs) as tasks:
        await gone(tasks, await tasks.enqueue(jobs.note, "task"))
    async with TaskProcessor(settings()) as tasks:
        assert await tasks.get_workers() == []


async def test_lost_heartbeats(settings: MakeSettings, proxy: Proxy) -> None:
    """A few in a row do not make a worker dead."""
    jobs = Jobs()
    made = through(proxy, settings(worker_timeout=timedelta(seconds=1), retries=1))
    async with working(made, jobs) as tasks:
        task_id = await tasks.enqueue(jobs.wait, "task")
        async with losing(proxy, beat=10):
            await jobs.noted("task begins")
        jobs.go_on.set()
        await gone(tasks, task_id)
    assert jobs.notes == ["task begins", "task ends"]
