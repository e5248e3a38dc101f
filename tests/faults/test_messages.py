"""Messages are hints: without any all goes on, a little later, and those of a forger change nothing."""

import asyncio
from collections.abc import Generator, Iterator
from typing import cast

import pytest
import redis

from taskproc import ScheduleData, TaskProcessor
from tests.conftest import MakeSettings
from tests.faults.kit import SECOND
from tests.kit import Proxy, Server, wait_until
from tests.worker.kit import MS, Jobs, gone, working

BEAT = 500 * MS
SOON = 1.0  # seconds: a beat, or a poll, and the time that the rest takes


@pytest.fixture
def proxy(server: Server) -> Generator[Proxy]:
    """Keeps all that is published from workers behind it."""
    with Proxy(server.port) as started:
        yield started


async def test_without_messages_all_goes_on(settings: MakeSettings, proxy: Proxy) -> None:
    """Cancels, the end of a pause, due tasks and new schedules are noticed at the next beat or poll."""
    jobs = Jobs()
    made = settings(worker_timeout=6 * BEAT, base_frequency=BEAT, use_cron_seconds=True)
    made.redis = proxy.url
    async with working(made, jobs) as tasks:
        proxy.drop_messages()
        canceled = [await tasks.enqueue(jobs.wait, "single")]
        async with tasks.batch() as batch:
            batch.enqueue(jobs.wait, "batch")
        await jobs.noted("single begins", "batch begins")
        assert await tasks.cancel_task(canceled[0])
        assert await tasks.cancel_batch(batch.id)
        await jobs.noted("single cancelled", "batch cancelled", seconds=SOON)
        await tasks.on(delay=200 * MS).enqueue(jobs.note, "due")
        await jobs.noted("due", seconds=SOON)
        await _pause_and_resume(tasks, jobs)
        await tasks.upsert_schedule(ScheduleData(id="s", cron="* * * * * *"), jobs.note, "cycle")
        await jobs.noted("cycle", seconds=1 + SOON)
        await tasks.cancel_schedule("s")
        await wait_until(lambda: proxy.messages_dropped >= 5, what="messages that did not come")


async def _pause_and_resume(tasks: TaskProcessor, jobs: Jobs) -> None:
    await tasks.pause()
    await tasks.enqueue(jobs.note, "paused")
    await asyncio.sleep(0.7)
    assert "paused" not in jobs.notes
    await tasks.resume()
    await jobs.noted("paused", seconds=SOON)


FORGED = (
    "cancel", "resume", "schedule", "due 0 default", "due 1 default", "due 999999999999999 default", "due 0 other",
    "due 1 default extra", "pause", "CANCEL", "cancel *", "leave", "1",
)  # fmt: skip


async def test_forged_messages_change_nothing(settings: MakeSettings, client: redis.Redis, prefix: str) -> None:
    """Nothing is cancelled, resumed, fired or started before its time, and nothing stored is another than before."""
    jobs = Jobs()
    often = {"worker_timeout": 6 * SECOND, "base_frequency": BEAT, "clean_up_frequency": 60 * SECOND}
    async with working(settings(**often, use_cron_seconds=True), jobs) as tasks:
        running_ = await tasks.enqueue(jobs.wait, "running")
        later = await tasks.on(delay=60 * SECOND).enqueue(jobs.note, "later")
        await tasks.upsert_schedule(ScheduleData(id="s", cron="0 0 0 1 1 *"), jobs.note, "cycle")
        await jobs.noted("running begins")
        await tasks.pause()
        paused = await tasks.enqueue(jobs.note, "paused")
        before = _stored(client, prefix)
        for _ in range(50):
            for message in FORGED:
                client.publish(f"{prefix}:events", message)
            await asyncio.sleep(0.01)
        assert _stored(client, prefix) == before
        assert jobs.notes == ["running begins"]
        await tasks.resume()
        await gone(tasks, paused, SOON)
        await tasks.on(delay=300 * MS).enqueue(jobs.note, "due")
        client.publish(f"{prefix}:events", "due 999999999999999 default")
        await jobs.noted("due", seconds=300 / 1000 + SOON)
        jobs.go_on.set()
        await gone(tasks, running_)
        assert await tasks.cancel_task(later)
        assert await tasks.cancel_schedule("s")
    assert jobs.notes == ["running begins", "paused", "due", "running ends"]


def _stored(client: redis.Redis, prefix: str) -> dict[bytes, bytes]:
    """All keys and what they hold, but for signs of life."""
    moving = {f"{prefix}:{name}".encode() for name in ("meta", "workers", "queue:default:wake")}
    found = cast("Iterator[bytes]", client.scan_iter(f"{prefix}:*"))
    keys = [key for key in found if key not in moving and b":worker:" not in key]
    return {key: client.dump(key) or b"" for key in keys}
