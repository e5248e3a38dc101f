"""Redis stands still, dies, forgets or is cut off: nothing is done twice for it, and work goes on when it is back."""

import asyncio
import time
from collections.abc import Generator

import pytest

from taskproc import Batch, StorageUnavailable, TaskProcessor, TaskProcessorSettings
from tests.faults.kit import SECOND, sha
from tests.kit import Proxy, Server, wait_until
from tests.worker.kit import MS, Jobs, ended, gone, processor_of, running, working

PASSWORD = "open-sesame"


@pytest.fixture
def mortal() -> Generator[Server]:
    """A server that the test may stop, freeze and kill; what it has confirmed outlives it."""
    with Server(appendonly="yes", appendfsync="always", requirepass=PASSWORD) as started:
        yield started


def on(server: Server, **overrides: object) -> TaskProcessorSettings:
    """Settings on that server: a worker counts as dead after a second, a call is given up after half of one."""
    short: dict[str, object] = {"worker_timeout": SECOND, "command_timeout": 500 * MS, "retries": 1}
    return TaskProcessorSettings.model_validate({"redis": server.url, **short, **overrides})


async def test_after_a_standstill_nobody_was_dead(mortal: Server) -> None:
    """Redis is frozen for three times `worker_timeout` while tasks run: none of them is run a second time."""
    jobs = Jobs()
    made = on(mortal)
    async with working(made, jobs) as tasks, working(made, jobs):
        async with tasks.batch() as batch:
            for number in range(20):
                batch.enqueue(jobs.wait if number % 2 else jobs.wait_in_thread, str(number))
        await wait_until(lambda: len(jobs.notes) == 20)
        mortal.freeze()
        await asyncio.sleep(3)
        mortal.thaw()
        await asyncio.sleep(2)  # in which the dead would be taken back
        assert len(jobs.notes) == 20
        assert len(await tasks.get_workers()) == 2
        jobs.go_on.set()
        outcome = await ended(tasks, batch.id)
    assert (outcome.done, outcome.total) == (20, 20)
    assert len(jobs.notes) == 40


async def test_tasks_that_end_while_redis_stands_still_are_settled_after_it(mortal: Server) -> None:
    """What they have done is not lost, nor done again."""
    jobs = Jobs()
    async with working(on(mortal), jobs) as tasks:
        async with tasks.batch() as batch:
            for number in range(10):
                batch.enqueue(jobs.wait, str(number))
        await wait_until(lambda: len(jobs.notes) == 10)
        mortal.freeze()
        jobs.go_on.set()
        await wait_until(lambda: len(jobs.notes) == 20)
        await asyncio.sleep(1.5)
        mortal.thaw()
        assert (await ended(tasks, batch.id, 10)).done == 10
    assert len(jobs.notes) == 20


async def test_after_a_crash_work_goes_on(mortal: Server) -> None:
    """Redis is killed and started again: what ended is settled, what waited runs, what comes is heard of, in 10 s."""
    jobs = Jobs()
    async with working(on(mortal, max_workers=5), jobs) as tasks:
        async with tasks.batch() as batch:
            for number in range(10):
                batch.enqueue(jobs.wait, str(number))
            batch.continue_with(jobs.note, "continuation")
        await wait_until(lambda: len(jobs.notes) == 5)
        mortal.kill()
        jobs.go_on.set()
        await asyncio.sleep(1)
        mortal.start()
        back = time.monotonic()
        outcome = await ended(tasks, batch.id, 10)
        await gone(tasks, await tasks.enqueue(jobs.note, "new"))
        await tasks.on(delay=100 * MS).enqueue(jobs.note, "delayed")
        await jobs.noted("continuation", "delayed", seconds=3)
        assert time.monotonic() - back < 10
    assert (outcome.done, outcome.total) == (10, 10)
    assert len(jobs.notes) == 20 + 3


async def test_a_cut_off_worker_goes_on_when_it_is_reached_again(mortal: Server) -> None:
    """Connections that fall silent, with neither reply nor end, are given up, and work goes on within 10 s."""
    jobs = Jobs()
    with Proxy(mortal.port) as proxy:
        url = proxy.url.replace("redis://", f"redis://:{PASSWORD}@")
        made = on(mortal, redis=url, worker_timeout=3 * SECOND, base_frequency=500 * MS)
        async with working(made, jobs) as tasks, processor_of(on(mortal), jobs) as producer:
            await tasks.enqueue(jobs.wait, "running")
            await jobs.noted("running begins")
            proxy.blackhole()
            await producer.enqueue(jobs.note, "meanwhile")
            with pytest.raises(StorageUnavailable):
                await tasks.enqueue(jobs.note, "perhaps")
            await asyncio.sleep(1.5)
            proxy.heal()
            jobs.go_on.set()
            await jobs.noted("running ends", "meanwhile", seconds=10)
            await gone(tasks, await tasks.enqueue(jobs.note, "after"))
    assert [word for word in jobs.notes if word.startswith("running")] == ["running begins", "running ends"]


async def test_what_a_cut_off_worker_hands_in_late_is_refused(mortal: Server) -> None:
    """Its tasks were taken over, and count once they are done there: not when it hands them in at last."""
    lost, found = Jobs(), Jobs()
    with Proxy(mortal.port) as proxy:
        url = proxy.url.replace("redis://", f"redis://:{PASSWORD}@")
        cut_off = on(mortal, redis=url, command_timeout=20 * SECOND, max_workers=10)
        async with working(cut_off, lost) as first, processor_of(on(mortal), found) as second:
            async with second.batch() as batch:
                for number in range(10):
                    batch.enqueue(lost.wait, str(number))
            await wait_until(lambda: len(lost.notes) == 10)
            [before] = await second.get_workers()
            async with running(second):
                proxy.blackhole()
                await wait_until(lambda: len(found.notes) == 10, 10)
                lost.go_on.set()  # it ends them, and says so into the void
                await wait_until(lambda: len(lost.notes) == 20)
                proxy.heal()
                await wait_until(lambda: _joined_anew(second, before.id), 10)
                halfway = await second.get_batch(batch.id)
                assert halfway is not None
                assert (halfway.done, halfway.remaining) == (0, 10)
                found.go_on.set()
                assert (await ended(first, batch.id)).done == 10


async def _joined_anew(tasks: TaskProcessor, before: str) -> bool:
    ids = [worker.id for worker in await tasks.get_workers()]
    return len(ids) == 2 and before not in ids


async def test_an_enqueue_without_redis_ends_in_time(mortal: Server) -> None:
    """StorageUnavailable after `command_timeout`, with the id that may have been accepted, and without a password."""
    jobs = Jobs()
    async with processor_of(on(mortal), jobs) as tasks:
        await tasks.enqueue(jobs.note, "first")  # Redis knows the script from now on
        mortal.freeze()
        begun = time.monotonic()
        with pytest.raises(StorageUnavailable) as raised:
            await tasks.enqueue(jobs.note, "perhaps")
        assert 0.4 < time.monotonic() - begun < 2
        assert raised.value.maybe_accepted
        assert str(mortal.port) in str(raised.value)
        assert PASSWORD not in str(raised.value)
        mortal.thaw()
        task_id = raised.value.task_id
        assert task_id is not None

        async def accepted() -> bool:
            return await tasks.get_task(task_id) is not None

        await wait_until(accepted)
        mortal.kill()
        with pytest.raises(StorageUnavailable) as raised:
            await tasks.enqueue(jobs.note, "no")
        assert raised.value.task_id


async def test_a_batch_without_redis_ends_in_time(mortal: Server) -> None:
    """The id in the error is that of the batch."""
    jobs = Jobs()
    async with processor_of(on(mortal), jobs) as tasks:
        mortal.kill()
        batches: list[str] = []

        async def build() -> None:
            async with tasks.batch() as batch:
                batches.append(batch.id)
                batch.enqueue(jobs.note, "no")

        with pytest.raises(StorageUnavailable) as raised:
            await build()
        assert raised.value.task_id == batches[0]


async def test_a_full_redis_refuses_what_is_new_and_takes_what_is_done(mortal: Server) -> None:
    """Out of memory: an enqueue says that nothing was accepted, running tasks are settled all the same."""
    jobs = Jobs()
    async with working(on(mortal), jobs) as tasks, processor_of(on(mortal)) as looking:
        async with tasks.batch() as batch:
            for number in range(5):
                batch.enqueue(jobs.wait, str(number))
        await wait_until(lambda: len(jobs.notes) == 5)
        with mortal.client() as client:
            client.config_set("maxmemory", 1)
            with pytest.raises(StorageUnavailable) as raised:
                await tasks.enqueue(jobs.note, "no room")
            assert not raised.value.maybe_accepted
            jobs.go_on.set()
            assert (await ended(looking, batch.id)).done == 5
            client.config_set("maxmemory", 0)
        await gone(tasks, await tasks.enqueue(jobs.note, "room again"), 10)
    assert "no room" not in jobs.notes


@pytest.mark.parametrize("size", [1, 600])
async def test_an_append_for_which_there_is_no_room_changes_nothing(mortal: Server, size: int) -> None:
    """However many parts it has: the first one was refused, so what the batch had before goes on."""
    jobs = Jobs()

    def build(batch: Batch) -> None:
        for _ in range(size):
            batch.enqueue(jobs.note, "no room")

    async with working(on(mortal), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.wait, "before")
        await jobs.noted("before begins")
        with mortal.client() as client:
            client.config_set("maxmemory", 1)
            with pytest.raises(StorageUnavailable) as raised:
                await tasks.append_batch(None, None, batch.id, build)
            client.config_set("maxmemory", 0)
        assert not raised.value.maybe_accepted
        jobs.go_on.set()
        outcome = await ended(tasks, batch.id)
    assert (outcome.state, outcome.total, outcome.done) == ("done", 1, 1)
    assert "no room" not in jobs.notes


async def test_a_redis_that_forgets_everything_is_joined_again(mortal: Server) -> None:
    """After FLUSHALL a worker registers anew, gives up what it ran, and serves what comes."""
    jobs = Jobs()
    async with working(on(mortal), jobs) as tasks:
        await tasks.enqueue(jobs.wait, "forgotten")
        await jobs.noted("forgotten begins")
        [before] = await tasks.get_workers()
        with mortal.client() as client:
            client.flushall()
        await jobs.noted("forgotten cancelled")
        await wait_until(tasks.get_workers)
        [after] = await tasks.get_workers()
        assert after.id != before.id
        await gone(tasks, await tasks.enqueue(jobs.note, "new"))
        assert (await tasks.get_queue("default")).running == 0


async def test_without_redis_there_is_one_clear_error_at_the_start(mortal: Server) -> None:
    """It names the address, not the password."""
    mortal.kill()
    with pytest.raises(StorageUnavailable, match=f"127.0.0.1:{mortal.port}.* cannot be reached") as raised:
        await TaskProcessor(on(mortal)).__aenter__()
    assert PASSWORD not in str(raised.value)


async def test_a_worker_that_begins_while_redis_is_away_waits_for_it(mortal: Server) -> None:
    """It does not end with an error: it joins when Redis answers again."""
    jobs = Jobs()
    with Proxy(mortal.port) as proxy:
        made = on(mortal, redis=proxy.url.replace("redis://", f"redis://:{PASSWORD}@"))
        async with processor_of(made, jobs) as tasks:
            proxy.drop_reply(sha("register"), 1_000)
            worker = asyncio.create_task(tasks.run())
            await wait_until(lambda: proxy.dropped > 5)
            await asyncio.sleep(1)
            assert not worker.done()
            proxy.drop_reply(sha("register"), 0)
            await gone(tasks, await tasks.enqueue(jobs.note, "task"), 10)
            await tasks.stop()
            await worker


async def test_a_worker_can_be_stopped_without_redis(mortal: Server) -> None:
    """`stop()` does not wait for ever for a server that does not answer."""
    jobs = Jobs()
    async with processor_of(on(mortal, shutdown_grace=100 * MS), jobs) as tasks:
        worker = asyncio.create_task(tasks.run())
        await tasks.enqueue(jobs.wait, "task")
        await jobs.noted("task begins")
        mortal.freeze()
        begun = time.monotonic()
        await tasks.stop()
        await worker
        assert time.monotonic() - begun < 5
        mortal.thaw()
    assert jobs.notes == ["task begins", "task cancelled"]
