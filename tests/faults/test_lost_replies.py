"""A request is carried out and its reply lost: whatever is repeated then, everything happens once."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from taskproc import Batch, ScheduleData, StorageUnavailable, TaskContext, TaskProcessor, TaskProcessorSettings
from taskproc.scripts import scripts
from tests.conftest import MakeSettings
from tests.faults.kit import lose, sha
from tests.kit import Proxy, Server, wait_until
from tests.worker.kit import MS, Jobs, died, ended, gone, processor_of, running, working


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


async def test_an_append_that_gets_no_answer_cancels_nothing(settings: MakeSettings, proxy: Proxy) -> None:
    """Its one part is there or not; what the batch had before goes on, whoever gives up waiting."""
    jobs = Jobs()

    async def append(tasks: TaskProcessor, batch_id: str) -> None:
        await tasks.append_batch(None, None, batch_id, lambda batch: batch.enqueue(jobs.note, "appended"))

    async with working(through(proxy, settings(command_timeout=500 * MS)), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.on(delay=timedelta(seconds=1)).enqueue(jobs.note, "first")
        proxy.silence(sha("add_to_batch"), 9)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await append(tasks, batch.id)
        with pytest.raises(StorageUnavailable) as raised:
            await append(tasks, batch.id)
        assert raised.value.maybe_accepted
        outcome = await ended(tasks, batch.id)
    assert (outcome.state, outcome.total, outcome.done) == ("done", 3, 3)
    assert sorted(jobs.notes) == ["appended", "appended", "first"]


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


async def test_a_lost_answer_about_lost_tasks(settings: MakeSettings, proxy: Proxy) -> None:
    """Whoever takes them back learns of them though it had to ask twice: the hook is told once of each."""
    jobs, told = Jobs(), list[str]()

    def error(ctx: TaskContext, error: BaseException) -> None:
        told.append(f"{type(error).__name__} {ctx.call.rpartition('.')[2]} {ctx.task_id}")

    made = settings(worker_timeout=timedelta(seconds=1), max_recoveries=1, on_task_error=error)
    async with processor_of(through(proxy, made), jobs) as tasks:
        ids = [await tasks.on("elsewhere").enqueue(jobs.note, "never") for _ in range(3)]
        async with running(tasks):
            await lose(made, "dead", "elsewhere", 3)
            async with losing(proxy, reap=1):
                for id_ in ids:
                    assert (await died(tasks, id_)).error_type == "WorkerLost"
            await wait_until(lambda: len(told) >= 3)
            await asyncio.sleep(0.5)
        assert await tasks.discard_dead_tasks("elsewhere") == 3
    assert sorted(told) == sorted(f"WorkerLost note {id_}" for id_ in ids)


async def test_lost_answers_to_maintenance(settings: MakeSettings, proxy: Proxy) -> None:
    """Due tasks start, ended batches and unused queues are cleaned up, and a canceled batch ends, once all the same."""
    jobs = Jobs()
    often = dict.fromkeys(("pushback_frequency", "clean_up_frequency", "base_frequency"), 100 * MS)
    made = through(proxy, settings(**often, retention=500 * MS))
    scripts_ = dict.fromkeys(("tend", "canceled", "cancel_abandoned", "clean_up", "forget_queue"), 3)
    async with processor_of(made, jobs) as tasks:
        async with tasks.batch("elsewhere") as batch:
            for number in range(5):
                batch.enqueue(jobs.note, str(number))
        late = await tasks.on("elsewhere", delay=300 * MS).enqueue(jobs.note, "late")
        async with losing(proxy, **scripts_), running(tasks):
            await tasks.cancel_batch(batch.id)
            outcome = await ended(tasks, batch.id)
            await wait_until(lambda: _is(tasks, late, "ready"), what="a due task")
            await wait_until(lambda: _is_cleaned_up(tasks, batch.id), what="the end of the retention")
            assert await tasks.cancel_task(late)
            await wait_until(lambda: _knows(tasks, {"default"}), what="a queue that is forgotten")
    assert (outcome.state, outcome.canceled) == ("canceled", 5)
    assert jobs.notes == []


async def _is(tasks: TaskProcessor, task_id: str, state: str) -> bool:
    task = await tasks.get_task(task_id)
    return task is not None and task.state == state


async def _is_cleaned_up(tasks: TaskProcessor, batch_id: str) -> bool:
    return await tasks.get_batch(batch_id) is None


async def _knows(tasks: TaskProcessor, names: set[str]) -> bool:
    return {queue.name for queue in await tasks.get_queues()} <= names


async def test_lost_words_about_schedules(settings: MakeSettings, proxy: Proxy) -> None:
    """Added, fired, triggered and removed once each, though every request is sent twice."""
    jobs, instants = Jobs(), list[object]()

    def start(ctx: TaskContext) -> None:
        instants.append(ctx.scheduled_for)

    made = through(proxy, settings(use_cron_seconds=True, on_task_start=start))
    async with working(made, jobs) as tasks:
        async with losing(proxy, upsert_schedule=1):
            await tasks.upsert_schedule(ScheduleData(id="s", cron="* * * * * *"), jobs.note, "cycle")
        async with losing(proxy, fire_schedule=2):
            await wait_until(lambda: len(jobs.notes) >= 2)
        async with losing(proxy, cancel_schedule=1):
            assert await tasks.cancel_schedule("s")
        await asyncio.sleep(0.1)
        assert len(instants) == len(set(instants)) == len(jobs.notes)
        await tasks.upsert_schedule(ScheduleData(id="t", cron="0 0 0 1 1 *"), jobs.note, "triggered")
        async with losing(proxy, trigger_schedule=1):
            assert await tasks.trigger_schedule("t")
        await jobs.noted("triggered")
        await tasks.cancel_schedule("t")
    assert jobs.notes.count("triggered") == 1


async def test_a_lost_cancel_of_one_task(settings: MakeSettings, proxy: Proxy) -> None:
    """True, whether it waits or runs."""
    jobs = Jobs()
    async with working(through(proxy, settings(max_workers=1)), jobs) as tasks:
        runs = await tasks.enqueue(jobs.wait, "runs")
        await jobs.noted("runs begins")
        waits = await tasks.enqueue(jobs.note, "waits")
        for id_ in (waits, runs):
            async with losing(proxy, cancel_task=1):
                assert await tasks.cancel_task(id_)
        await gone(tasks, runs)
    assert jobs.notes == ["runs begins", "runs cancelled"]


async def test_a_lost_pass_on_of_a_token(settings: MakeSettings, proxy: Proxy) -> None:
    """A worker that is full gives its token to another: sent twice, it wakes one for nothing, and that is all."""
    jobs = Jobs()
    made = settings(max_workers=1, base_frequency=timedelta(minutes=1))
    async with working(made, jobs) as tasks:
        async with losing(proxy, wake=1), processor_of(through(proxy, settings()), jobs) as other:
            assert other._open is not None
            await other._open.storage.wake("default")
        task_id = await tasks.enqueue(jobs.note, "task")
        await gone(tasks, task_id)
    assert jobs.notes == ["task"]
