"""Each kind of error that a server may answer, once, in place of its reply: taken for what it means, and outlived."""

import asyncio
import logging
import time
from collections.abc import Generator
from datetime import timedelta

import pytest
import redis

from taskproc import (
    ConfigurationError,
    StorageUnavailable,
    TaskContext,
    TaskProcessor,
    TaskProcessorSettings,
    factories,
)
from tests.conftest import MakeSettings
from tests.connections.errors import ALL, BUGS, PASSING, REFUSALS
from tests.connections.jobs import note
from tests.connections.kit import settings_for
from tests.faults.kit import sha
from tests.kit import Proxy, Server, wait_until
from tests.worker.kit import MS, Jobs, gone, processor_of, running, working

PATIENCE = timedelta(seconds=3)
AT_ONCE = 1.0  # seconds


@pytest.fixture
def proxy(server: Server) -> Generator[Proxy]:
    """Stands between processors and server."""
    with Proxy(server.port) as started:
        yield started


# Enqueue


@pytest.mark.parametrize("name", PASSING)
async def test_an_enqueue_is_repeated(settings: MakeSettings, proxy: Proxy, name: str) -> None:
    """It is accepted once, a moment later; a script that the server has forgotten is sent whole."""
    jobs = Jobs()
    async with processor_of(_through(proxy, settings), jobs) as tasks:
        proxy.answer(sha("enqueue"), PASSING[name])
        task_id = await tasks.enqueue(jobs.note, "task")
        assert proxy.answered == 1
        assert (await tasks.get_queue("default")).length == 1
        assert await tasks.cancel_task(task_id)


@pytest.mark.parametrize("name", sorted(PASSING.keys() - {"NOSCRIPT", "max clients"}))
async def test_an_enqueue_is_repeated_until_command_timeout(settings: MakeSettings, proxy: Proxy, name: str) -> None:
    """Then the error says what the server said, and that nothing was accepted."""
    jobs = Jobs()
    async with processor_of(_through(proxy, settings, command_timeout=200 * MS), jobs) as tasks:
        proxy.answer(sha("enqueue"), PASSING[name], 1_000)
        began = time.monotonic()
        with pytest.raises(StorageUnavailable) as refused:
            await tasks.enqueue(jobs.note, "task")
        assert 0.1 < time.monotonic() - began < AT_ONCE
        assert PASSING[name].partition(" ")[2] in str(refused.value)
        assert not refused.value.maybe_accepted
        assert proxy.answered > 2
        assert (await tasks.get_queue("default")).length == 0


@pytest.mark.parametrize("name", REFUSALS)
async def test_an_enqueue_is_refused_at_once(settings: MakeSettings, proxy: Proxy, name: str) -> None:
    """With the address, and a word on what to do; the next one is accepted."""
    jobs = Jobs()
    async with processor_of(_through(proxy, settings), jobs) as tasks:
        reply, said = REFUSALS[name]
        proxy.answer(sha("enqueue"), reply)
        began = time.monotonic()
        with pytest.raises(ConfigurationError, match=rf"the server at redis://127\.0\.0\.1:{proxy.port}/0 {said}"):
            await tasks.enqueue(jobs.note, "no")
        assert time.monotonic() - began < AT_ONCE
        assert proxy.answered == 1
        await tasks.cancel_task(await tasks.enqueue(jobs.note, "yes"))


@pytest.mark.parametrize("name", BUGS)
async def test_what_cannot_be_is_not_repeated(settings: MakeSettings, proxy: Proxy, name: str) -> None:
    """The driver's error shows the server's words."""
    jobs = Jobs()
    async with processor_of(_through(proxy, settings), jobs) as tasks:
        proxy.answer(sha("enqueue"), BUGS[name])
        with pytest.raises(redis.ResponseError, match=BUGS[name].partition(" ")[2][:20]):
            await tasks.enqueue(jobs.note, "no")
        assert proxy.answered == 1
        await tasks.cancel_task(await tasks.enqueue(jobs.note, "yes"))


# Connecting


@pytest.mark.parametrize("name", ["LOADING", "max clients", "BUSY", "OOM", "NOPERM", "unknown command"])
async def test_a_greeting_that_is_answered_by_an_error(settings: MakeSettings, proxy: Proxy, name: str) -> None:
    """The connection is made again, or used as it is: a greeting needs no permission, and no version."""
    jobs = Jobs()
    async with processor_of(_through(proxy, settings), jobs) as tasks:
        proxy.close_all()
        proxy.answer("HELLO", ALL[name])
        await tasks.cancel_task(await tasks.enqueue(jobs.note, "task"))
        assert proxy.answered == 1


@pytest.mark.parametrize("name", ["NOAUTH", "WRONGPASS"])
async def test_a_login_that_is_refused(settings: MakeSettings, proxy: Proxy, name: str) -> None:
    """No try to connect is repeated with a login that the server has refused."""
    jobs = Jobs()
    async with processor_of(_through(proxy, settings), jobs) as tasks:
        proxy.close_all()
        reply, said = REFUSALS[name]
        proxy.answer("HELLO", reply)
        with pytest.raises(ConfigurationError, match=said):
            await _used(tasks)


async def _used(tasks: TaskProcessor) -> None:
    """Sends requests until the connections that were reset are gone."""
    for _ in range(3):
        await tasks.get_queues()


async def test_a_server_that_has_too_many_clients() -> None:
    """Nothing was accepted, and the first enqueue with room again is."""
    with Server() as server, server.client() as client:
        made = settings_for(f"{server.url}?max_connections=1", command_timeout=0.3)
        async with TaskProcessor(made) as tasks:
            client.config_set("maxclients", 1)
            client.client_kill_filter(_type="normal", skipme=True)
            with pytest.raises(StorageUnavailable) as refused:
                await _enqueued(tasks)
            assert not refused.value.maybe_accepted
            client.config_set("maxclients", 100)
            assert await tasks.enqueue(note, 1)


async def _enqueued(tasks: TaskProcessor) -> None:
    """The first one may still see the end of the killed connection, and not know."""
    for number in range(2):
        try:
            await tasks.enqueue(note, number)
        except StorageUnavailable as error:
            if not error.maybe_accepted:
                raise


# A running worker


@pytest.mark.parametrize("name", ALL)
async def test_a_fetch_and_what_is_handed_in(settings: MakeSettings, proxy: Proxy, name: str) -> None:
    """Errors in place of both harm no task: each runs once, at its first attempt, on the same worker."""
    jobs, attempts = Jobs(), list[int]()

    def start(ctx: TaskContext) -> None:
        attempts.append(ctx.attempt)

    async with working(_through(proxy, settings, max_workers=2, on_task_start=start), jobs) as tasks:
        [before] = await tasks.get_workers()
        async with tasks.batch() as batch:
            for number in range(6):
                batch.enqueue(jobs.note, str(number))
            proxy.answer(sha("exchange"), ALL[name], 2)
        await wait_until(lambda: proxy.answered == 2)
        proxy.answer(sha("exchange"), ALL[name], 1)
        await wait_until(lambda: proxy.answered == 3)
        await _done(tasks, batch.id)
        [after] = await tasks.get_workers()
    assert sorted(jobs.notes) == [str(number) for number in range(6)]
    assert attempts == [1] * 6
    assert before.id == after.id


async def _done(tasks: TaskProcessor, batch_id: str) -> None:
    async def look() -> bool:
        found = await tasks.get_batch(batch_id)
        assert found is not None
        return found.done == found.total

    await wait_until(look, 10)


async def _has_answered(proxy: Proxy, count: int) -> None:
    await wait_until(lambda: proxy.answered == count, what=f"{count} answers")


async def test_heartbeats(settings: MakeSettings, proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    """An error in place of one is a line in the log without a traceback: the next one is heard, nobody dies of it."""
    jobs = Jobs()
    made = _through(proxy, settings, worker_timeout=600 * MS, base_frequency=timedelta(minutes=1), retries=1)
    async with working(made, jobs) as tasks:
        [before] = await tasks.get_workers()
        task_id = await tasks.enqueue(jobs.wait, "task")
        for number, reply in enumerate(ALL.values(), 1):
            proxy.answer(sha("beat"), reply)
            await _has_answered(proxy, number)
        assert [worker.id for worker in await tasks.get_workers()] == [before.id]
        jobs.go_on.set()
        await gone(tasks, task_id)
    failed = [record for record in caplog.records if "heartbeat" in record.message]
    assert len(failed) == len(ALL) - 1  # not for a script that was forgotten
    assert all(record.levelno == logging.WARNING and not record.exc_info for record in failed)
    assert jobs.notes == ["task begins", "task ends"]


ASKED = (
    *map(sha, ("reap", "tend", "canceled", "cancel_abandoned", "clean_up", "forget_queue", "read_schedules", "resync")),
    *(sha("beat"), sha("exchange"), "BLPOP", "SUBSCRIBE"),
)
"""What a worker sends again and again."""
ROUNDS = 4


async def test_every_duty(
    settings: MakeSettings, proxy: Proxy, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Errors in place of all that a worker asks: tasks run, are due and are cancelled; only bugs get a traceback."""
    jobs, replies = Jobs(), list(ALL.values())
    often = dict.fromkeys(("pushback_frequency", "clean_up_frequency", "base_frequency"), 100 * MS)
    made = _through(proxy, settings, **often)
    async with TaskProcessor(made, scopes=factories({Jobs: lambda: jobs})) as tasks, running(tasks):
        before = await tasks.get_workers()
        for round_ in range(ROUNDS):
            for number, command in enumerate(ASKED):  # each error in a few places
                proxy.answer(command, replies[(number + round_ * len(replies) // ROUNDS) % len(replies)])
            client.client_kill_filter(_type="pubsub", skipme=True)
            await asyncio.sleep(0.15)
            await tasks.on(delay=50 * MS).enqueue(jobs.note, f"due {round_}")
            canceled = await tasks.enqueue(jobs.wait, str(round_))
            await jobs.noted(f"{round_} begins", f"due {round_}")
            await tasks.cancel_task(canceled)
            await jobs.noted(f"{round_} cancelled")
        await gone(tasks, await tasks.enqueue(jobs.note, "after"))
        assert [worker.id for worker in await tasks.get_workers()] == [worker.id for worker in before]
    assert proxy.answered > 8 * ROUNDS
    assert len(jobs.notes) == 3 * ROUNDS + 1
    with_traceback = [record.exc_text for record in caplog.records if record.exc_text]
    assert all(any(reply.partition(" ")[2] in text for reply in BUGS.values()) for text in with_traceback)


def _through(proxy: Proxy, settings: MakeSettings, **overrides: object) -> TaskProcessorSettings:
    """Settings on the server behind the proxy, with few connections."""
    made = settings(**({"command_timeout": PATIENCE} | overrides))
    made.redis = f"{proxy.url}?max_connections=3"
    return made
