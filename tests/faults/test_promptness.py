"""How soon running tasks hear of their cancel, and delayed ones begin on an idle worker: figures for the docs."""

import asyncio
import time
from datetime import timedelta

import pytest

from taskproc import ScheduleData, TaskProcessor, current_task
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import gone, working

TIMES = 300
CYCLES = 40
SOON = 0.1  # seconds, as the documentation says


class Watch:
    """Notes when it begins and when it is cancelled."""

    def __init__(self) -> None:
        self.began: float | None = None
        self.cancelled: float | None = None

    async def wait(self) -> None:
        self.began = time.monotonic()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled = time.monotonic()
            raise

    async def begin(self) -> None:
        self.began = time.monotonic()


def shown(what: str, seconds: list[float]) -> float:
    """Prints percentiles; the 99th one."""
    ordered = sorted(seconds)
    p50, p99 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
    print(f"\n{what}: p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, at most {ordered[-1] * 1000:.1f} ms")  # noqa: T201
    return p99


async def cancel_once(tasks: TaskProcessor, watch: Watch, *, of_batch: bool) -> float:
    """Seconds from the call of a cancel to CancelledError in the task."""
    watch.began = watch.cancelled = None
    if of_batch:
        async with tasks.batch() as batch:
            batch.enqueue(watch.wait)
        await wait_until(lambda: watch.began)
        called = time.monotonic()
        assert await tasks.cancel_batch(batch.id)
    else:
        task_id = await tasks.enqueue(watch.wait)
        await wait_until(lambda: watch.began)
        called = time.monotonic()
        assert await tasks.cancel_task(task_id)
    return (await wait_until(lambda: watch.cancelled) or 0.0) - called


@pytest.mark.slow
@pytest.mark.parametrize("of_batch", [False, True], ids=["task", "batch"])
async def test_running_tasks_are_cancelled_soon(settings: MakeSettings, *, of_batch: bool) -> None:
    """Nearly all within a tenth of a second from the call."""
    watch = Watch()
    async with working(settings(), watch) as tasks:
        seconds = [await cancel_once(tasks, watch, of_batch=of_batch) for _ in range(TIMES)]
    assert shown("from the call of cancel to CancelledError", seconds) < SOON


@pytest.mark.slow
async def test_delayed_tasks_begin_soon(settings: MakeSettings) -> None:
    """Nearly all within a tenth of a second after their time, and none before it."""
    watch, late = Watch(), list[float]()
    async with working(settings(), watch) as tasks:
        for number in range(TIMES):
            delay = 0.05 + number % 7 * 0.017
            watch.began = None
            called = time.monotonic()
            task_id = await tasks.on(delay=timedelta(seconds=delay)).enqueue(watch.begin)
            late.append((await wait_until(lambda: watch.began) or 0.0) - called - delay)
            await gone(tasks, task_id)
    assert min(late) > -0.002  # Redis counts milliseconds
    assert shown("from the time of a delayed task to its first line", late) < SOON


@pytest.mark.slow
async def test_cycles_begin_soon(settings: MakeSettings) -> None:
    """The same for those of a schedule."""
    late = list[float]()

    class Cycles:
        async def begin(self) -> None:
            scheduled = current_task().scheduled_for
            assert scheduled is not None
            late.append(time.time() - scheduled.timestamp())

    cycles = Cycles()
    async with working(settings(use_cron_seconds=True), cycles) as tasks:
        await tasks.upsert_schedule(ScheduleData(id="s", cron="* * * * * *"), cycles.begin)
        await wait_until(lambda: len(late) >= CYCLES, CYCLES + 5)
        await tasks.cancel_schedule("s")
    assert min(late) > -0.002
    assert shown("from a cycle's time to its first line", late) < SOON
