"""A worker that has nothing to do: it waits in silence, hears when that changes, and notices when it cannot hear."""

import asyncio
import logging
import time
from collections.abc import Generator
from datetime import timedelta
from typing import Any, cast

import pytest
import redis

from taskproc import listener
from taskproc.storage import Storage
from tests.conftest import MakeSettings
from tests.faults.kit import SECOND
from tests.kit import Proxy, Server, wait_until
from tests.worker.kit import Jobs, ended, gone, processor_of, working

SELDOM = timedelta(minutes=1)


@pytest.fixture
def proxy(server: Server) -> Generator[Proxy]:
    """Between worker and server."""
    with Proxy(server.port) as started:
        yield started


def waiting(client: redis.Redis) -> list[str]:
    """The connections on which somebody waits for a wake token."""
    return [each["id"] for each in client.client_list() if each["cmd"] == "blpop" and "b" in each["flags"]]


async def test_an_idle_worker_waits_in_silence(
    settings: MakeSettings, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """It asks for a wake token once, however short the time in which other commands must be answered: nothing is cut
    off, and there is nothing to warn of.
    """
    jobs = Jobs()
    async with working(settings(base_frequency=SELDOM, command_timeout=SECOND), jobs) as tasks:
        await gone(tasks, await tasks.enqueue(jobs.note, "task"))
        before = await wait_until(lambda: waiting(client))
        caplog.clear()
        await asyncio.sleep(1.5)
        assert waiting(client) == before
        assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []
        await tasks.enqueue(jobs.note, "next")
        await jobs.noted("next", seconds=1)


async def test_an_event_channel_that_falls_silent_is_opened_anew(
    settings: MakeSettings, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some silence the worker asks whether there is anybody, and subscribes again: cancels come at once then."""
    monkeypatch.setattr(listener, "PING_AFTER", 0.3)
    jobs = Jobs()
    made = settings(worker_timeout=SELDOM, command_timeout=SECOND)
    made.redis = proxy.url
    async with processor_of(settings(), jobs) as direct, working(made, jobs):
        task_id = await direct.enqueue(jobs.wait, "task")
        await jobs.noted("task begins")
        proxy.mute_subscribers()
        await asyncio.sleep(2.5)  # 0.3 s of silence, 0.5 s without an answer, and a pause
        assert await direct.cancel_task(task_id)
        await jobs.noted("task cancelled", seconds=1)


async def test_it_hears_of_cancels_before_anybody_knows_it(
    settings: MakeSettings, client: redis.Redis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker is subscribed when it registers: no cancel is missed between the two."""
    listening: list[int] = []
    register = cast("Any", Storage.register)

    async def look_and_register(self: Storage, *about: Any) -> None:
        [(_, count)] = cast("Any", client.pubsub_numsub(f"{prefix}:events"))
        listening.append(count)
        await register(self, *about)

    monkeypatch.setattr(Storage, "register", look_and_register)
    async with working(settings(), Jobs()):
        assert listening == [1]


async def test_what_is_on_its_way_when_it_is_canceled_begins_and_is_cancelled(
    settings: MakeSettings, proxy: Proxy
) -> None:
    """Redis has handed it out, the answer is late and the message of the cancel is lost: the next heartbeat tells."""
    jobs = Jobs()
    made = settings(worker_timeout=3 * SECOND)  # a beat every half second
    made.redis = proxy.url
    async with processor_of(settings(), jobs) as direct, working(made, jobs):
        proxy.delay(200)
        proxy.drop_messages()
        async with direct.batch() as batch:
            batch.enqueue(jobs.wait, "task")

        async def handed_out() -> bool:
            return (await direct.get_queue("default")).running == 1

        await wait_until(handed_out)
        assert await direct.cancel_batch(batch.id)
        canceled = time.monotonic()
        await jobs.noted("task begins", "task cancelled")
        assert time.monotonic() - canceled < 1.5
        proxy.delay(0)
        outcome = await ended(direct, batch.id)
    assert (outcome.state, outcome.canceled) == ("canceled", 1)
    assert jobs.notes == ["task begins", "task cancelled"]
