"""taskproc on the work that the floor does, and what only a product has: waking, idling, batches of any size."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.gauge import Figures, Gauge, Part, at_once, main, rate, until
from benchmarks.jobs import JOBS, Container, Job, mark, noop, when_marked
from taskproc import Batch, TaskProcessor, TaskProcessorSettings
from taskproc.scripts import scripts
from taskproc.storage import Storage
from taskproc_fastapi.container import container_scopes

__all__ = ["SCRIPTS", "connected", "fill", "timed_drain", "working"]

SCRIPTS = {script.sha: f"{script.name}.lua" for script in scripts().values()}
SERVICES = {"factory", "resource", "async_resource"}


@asynccontextmanager
async def connected(url: str, *, services: bool = False, **settings: Any) -> AsyncGenerator[TaskProcessor]:
    """A processor with 100 slots, unless `settings` say otherwise."""
    chosen: dict[str, Any] = {"redis": url, "max_workers": 100, **settings}
    scopes = container_scopes(Container()) if services else None
    async with TaskProcessor(TaskProcessorSettings(**chosen), scopes=scopes) as processor:
        yield processor


@asynccontextmanager
async def working(processor: TaskProcessor) -> AsyncGenerator[None]:
    """Lets it run tasks, from when its worker is known."""
    before = len(await processor.get_workers())

    async def is_there() -> bool:
        return len(await processor.get_workers()) > before

    running = asyncio.create_task(processor.run())
    await until(is_there)
    try:
        yield
    finally:
        await processor.stop()
        await running


async def fill(processor: TaskProcessor, job: Job, count: int) -> None:
    """A batch of so many tasks, and a continuation that says that they have ended."""
    async with processor.batch() as batch:
        for number in range(count):
            batch.enqueue(job, number, "x")
        batch.continue_with(mark)


async def timed_drain(processor: TaskProcessor, gauge: Gauge, job: Job, count: int) -> Figures:
    """What a task of a batch costs one worker, from the word go to the batch's continuation."""
    await processor.pause()
    await fill(processor, job, count)
    async with working(processor):
        marked = when_marked()
        before = gauge.read()
        await processor.resume()
        await marked
        return gauge.since(before, count)


async def enqueue(url: str, gauge: Gauge, *, one: int, concurrent: int, bulk: int) -> Figures:
    """Enqueues per second, and the server's memory for a task."""
    async with connected(url) as processor:
        await fill(processor, noop, 1)  # what is done once is done
        await processor.enqueue(noop, 0, "x")
        figures: Figures = {
            "one": await rate(one, at_once(1, one, lambda number: processor.enqueue(noop, number, "x")))
        }
        before = gauge.memory()
        many = at_once(100, concurrent, lambda number: processor.enqueue(noop, number, "x"))
        figures["concurrent"] = await rate(concurrent, many)
        figures["bytes_single"] = (gauge.memory() - before) / concurrent
        before = gauge.memory()
        figures["bulk"] = await rate(bulk, fill(processor, noop, bulk))
        figures["bytes"] = (gauge.memory() - before) / bulk
        return figures


async def drain(url: str, gauge: Gauge, *, job: str, count: int) -> Figures:
    """What a task of a batch costs one worker with 100 slots."""
    async with connected(url, services=job in SERVICES) as processor:
        return await timed_drain(processor, gauge, JOBS[job], count)


async def latency(url: str, _gauge: Gauge, *, count: int) -> Figures:
    """Milliseconds from the call of `enqueue` to the first line of the task, on an idle worker."""
    samples: list[float] = []
    async with connected(url) as processor, working(processor):
        for number in range(count + 20):
            await asyncio.sleep(0.005 + number % 7 / 1000)  # the task before is settled by then
            marked = when_marked()
            start = time.perf_counter()  # the loop's own clock has milliseconds only
            await processor.enqueue(mark)
            samples.append((await marked - start) * 1000)
    cuts = statistics.quantiles(samples[20:], n=100)  # the first ones warm up
    return {"p50": cuts[49], "p99": cuts[98]}


async def producer(url: str, gauge: Gauge, *, count: int) -> Figures:
    """What a large batch from a generator costs its producer, in MiB at the peak, beyond what a small one needs."""

    def build(size: int) -> Any:
        def generate(batch: Batch) -> Generator[None]:
            for number in range(size):
                batch.enqueue(noop, number, "x")
                yield

        return generate

    async with connected(url) as processor:
        await processor.enqueue_batch(None, None, build(2_000))
        before = _kib("VmRSS")
        reading = gauge.read()
        await processor.enqueue_batch(None, None, build(count))
        figures = gauge.since(reading, count)
        return {"mib": (_kib("VmHWM") - before) / 1024, **figures}


def _kib(name: str) -> int:
    """This process's memory as Linux tells it: now (VmRSS), or at its peak (VmHWM)."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit(f"/proc/self/status does not say {name}")
    return int(found[1])


async def idle(url: str, gauge: Gauge, *, seconds: float) -> Figures:
    """What a worker without work does each second."""
    async with connected(url) as processor, working(processor):
        await asyncio.sleep(1)
        before = gauge.read()
        await asyncio.sleep(seconds)
        now = gauge.read()
    passed = now.at - before.at
    return {
        "round_trips": (now.round_trips - before.round_trips - 1) / passed,  # the second reading is one
        "core": (now.own_cpu - before.own_cpu) / passed,
        "server_core": (now.server_cpu - before.server_cpu) / passed,
    }


async def herd(url: str, _gauge: Gauge, *, workers: int, count: int) -> Figures:
    """How many of many idle workers ask for work when there is one task."""
    asking: list[Storage] = []
    exchange = Storage.exchange

    async def noted(self: Storage, *args: Any, **kwargs: Any) -> Any:
        asking.append(self)
        return await exchange(self, *args, **kwargs)

    woken = exchanges = 0
    async with connected(url) as producer, AsyncExitStack() as stack:
        stack.enter_context(patch.object(Storage, "exchange", noted))
        for _ in range(workers):
            # An hour: none looks unasked while this is measured.
            worker = await stack.enter_async_context(connected(url, base_frequency=timedelta(hours=1)))
            await stack.enter_async_context(working(worker))
        await asyncio.sleep(1)
        for _ in range(count):
            marked = when_marked()
            asking.clear()
            await producer.enqueue(mark)
            await marked
            await asyncio.sleep(0.05)
            woken += len({id(each) for each in asking})
            exchanges += len(asking)
    return {"woken": woken / count, "exchanges": exchanges / count}


PARTS: dict[str, Part] = {
    "enqueue": enqueue,
    "drain": drain,
    "latency": latency,
    "producer": producer,
    "idle": idle,
    "herd": herd,
}

if __name__ == "__main__":
    main(PARTS, SCRIPTS)
