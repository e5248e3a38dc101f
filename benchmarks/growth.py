"""How the time for a task grows with what else there is: queued, tenants, queues, in flight, slots, processes."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from benchmarks.gauge import Figures, Gauge, Part, at_once, main, until
from benchmarks.jobs import JOBS, hold, let_go, mark, noop, tick, when_done, when_held, when_marked
from benchmarks.ours import SCRIPTS, connected, fill, timed_drain, working
from taskproc import TaskProcessor

FAIR = "jobs[fair]"


async def _timed_ticks(processor: TaskProcessor, gauge: Gauge, count: int) -> Figures:
    """Lets a worker run the ticks that are enqueued while everything is paused."""
    async with working(processor):
        done = when_done(count)
        before = gauge.read()
        await processor.resume()
        await done
        figures = gauge.since(before, count)
        await processor.pause()
        return figures


async def queued(url: str, gauge: Gauge, *, size: int, count: int) -> Figures:
    """Runs the first `count` tasks of a queue with `size` behind them, and adds as many at its end."""
    async with connected(url) as processor:
        await processor.pause()
        async with processor.batch() as batch:
            for number in range(count):
                batch.enqueue(tick, number, "x")
        await fill(processor, noop, size)
        before = gauge.read()
        await fill(processor, noop, count)
        bulk = gauge.since(before, count)["per_second"]
        before = gauge.read()
        await at_once(100, count, lambda number: processor.enqueue(noop, number, "x"))
        concurrent = gauge.since(before, count)["per_second"]
        return await _timed_ticks(processor, gauge, count) | {"bulk": bulk, "concurrent": concurrent}


async def tenants(url: str, gauge: Gauge, *, size: int, count: int) -> Figures:
    """Runs half of the tasks of so many tenants in a fair queue, so that none of them ends."""
    async with connected(url, queues=[FAIR], default_queue=FAIR) as processor:
        await processor.pause()
        calls = [processor.on(FAIR, tenant=f"t{number}") for number in range(size)]
        await at_once(100, 2 * count, lambda number: calls[number % size].enqueue(tick, number, "x"))
        return await _timed_ticks(processor, gauge, count)


async def _know(processor: TaskProcessor, queues: list[str]) -> None:
    await at_once(50, len(queues), lambda n: processor.on(queues[n], delay=timedelta(hours=1)).enqueue(noop, n, "x"))


async def queues(url: str, gauge: Gauge, *, size: int, count: int) -> Figures:
    """Serves one queue while others are known, each with a delayed task."""
    async with connected(url) as processor:
        await _know(processor, [f"q{number}" for number in range(size - 1)])
        return await timed_drain(processor, gauge, noop, count)


async def served(url: str, gauge: Gauge, *, size: int, count: int) -> Figures:
    """Serves so many queues, of which the last one has work and each a delayed task."""
    names = [f"q{number}" for number in range(size - 1)]
    async with connected(url, queues=[*names, "default"]) as processor:
        await _know(processor, names)
        return await timed_drain(processor, gauge, noop, count)


async def in_flight(url: str, gauge: Gauge, *, size: int, count: int) -> Figures:
    """Runs tasks in 100 slots while `size` others are held."""
    async with connected(url, max_workers=size + 100, queues=["default", "held"]) as processor, working(processor):
        all_held = when_held(size)
        async with processor.batch("held") as held:
            for number in range(size):
                held.enqueue(hold, number, "x")
        await all_held
        await processor.pause()
        await fill(processor, noop, count)
        marked = when_marked()
        before = gauge.read()
        await processor.resume()
        await marked
        figures = gauge.since(before, count)
        let_go()
        return figures


async def slots(url: str, gauge: Gauge, *, size: int, count: int) -> Figures:
    """Runs tasks in so many slots."""
    async with connected(url, max_workers=size) as processor:
        return await timed_drain(processor, gauge, noop, count)


async def processes(url: str, gauge: Gauge, *, size: int, count: int, job: str) -> Figures:
    """Lets so many processes of 100 slots each run a batch, and this one its continuation."""
    async with connected(url, queues=["end"], default_queue="end") as processor, working(processor):
        await processor.pause()
        async with processor.batch("default") as batch:
            for number in range(count):
                batch.enqueue(JOBS[job], number, "x")
            batch.on("end").continue_with(mark)
        async with _worker_processes(processor, url, size):
            marked = when_marked()
            before = gauge.read()
            await processor.resume()
            await marked
            return {"per_second": gauge.since(before, count)["per_second"]}  # the rest is not of this process


@asynccontextmanager
async def _worker_processes(processor: TaskProcessor, url: str, size: int) -> AsyncGenerator[None]:
    before = len(await processor.get_workers())

    async def all_there() -> bool:
        return len(await processor.get_workers()) == before + size

    arguments = [sys.executable, "-m", "benchmarks.growth", url, json.dumps({"part": "serve"})]
    started = [await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.DEVNULL) for _ in range(size)]
    try:
        await until(all_there)
        yield
    finally:
        for each in started:
            each.terminate()
        for each in started:
            await each.wait()


async def serve(url: str, _gauge: Gauge) -> Figures:
    """One of several worker processes, until SIGTERM."""
    async with connected(url) as processor:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, processor.request_stop)
        await processor.run()
    return {}


PARTS: dict[str, Part] = {
    "queued": queued,
    "tenants": tenants,
    "queues": queues,
    "served": served,
    "in_flight": in_flight,
    "slots": slots,
    "processes": processes,
    "serve": serve,
}

if __name__ == "__main__":
    main(PARTS, SCRIPTS)
