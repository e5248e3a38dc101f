"""Measures a peer: `python benchmarks/peers/NAME.py REDIS-URL '{"tasks": 2000}'` prints one line of JSON.

The server must be private to the run: it is flushed before each part, when no client and no worker is connected.

* enqueue: after 200 that open the connections, `enqueues` tasks one by one, from 100 at once, and in bulk.
* drain: the tasks are queued and the client is gone before one worker process is started. A rate is the tasks by the
  time from the first task's first line to the last one's end, both told by the worker, so its start does not count.
  Reads and CPU of the server are those from before the worker's start to half a second after the last task (what it
  acknowledges late is in it), and so are the worker's few commands at its start.
* latency: from the call that enqueues, in this process, to the task's first line in an idle worker; 5 warm it up.
* bytes_per_task: used_memory with all tasks queued less that of the empty server, each with no client connected.
"""

import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import _tasks
from _peer import AsyncPeer, Peer, ThreadedPeer, run
from _server import Server, reads

__all__ = ["AsyncPeer", "ThreadedPeer", "main"]

NAME = Path(sys.argv[0]).stem
# From here on the peer's own packages are imported, and no longer what is in this folder, where arq.py hides arq.
sys.path[0] = str(Path(sys.prefix) / "peers" / NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How many of each, and the seconds that a worker may take for its start and for all tasks of a drain."""

    tasks: int = 2000
    sleepers: int = 2000
    enqueues: int = 2000
    samples: int = 100
    worker_boot: float = 30
    drain_limit: float = 120


async def _rate(sending: Awaitable[None], count: int) -> float:
    start = time.monotonic()
    await sending
    return round(count / (time.monotonic() - start), 1)


async def _line(reports: asyncio.StreamReader, seconds: float, what: str) -> list[float]:
    """The next line that the worker writes."""
    try:
        line = await asyncio.wait_for(reports.readline(), seconds)
    except TimeoutError:
        raise SystemExit(f"{NAME}: {what} took more than {seconds:g} s") from None
    if not line:
        raise SystemExit(f"{NAME}: the worker ended by itself")
    return [float(word) for word in line.split()]


@asynccontextmanager
async def _worker(url: str, count: int) -> AsyncIterator[asyncio.StreamReader]:
    """A worker process that tells when `count` tasks have run; it is killed, since the server is flushed anyway."""
    ours, theirs = os.pipe()
    reports = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reports)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(ours, "rb"))
    words = [sys.argv[0], url, "worker", str(theirs), str(count)]
    process = await asyncio.create_subprocess_exec(sys.executable, *words, pass_fds=[theirs], stdout=sys.stderr)
    os.close(theirs)
    try:
        yield reports
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        pipe.close()


async def _enqueues(peer: Peer, url: str, server: Server, count: int) -> dict[str, float | None]:
    server.flush()
    async with peer.connected(url):
        await peer.from_100("noop", range(200))
        return {
            "enqueue_one": await _rate(peer.singly("noop", range(count)), count),
            "enqueue_100": await _rate(peer.from_100("noop", range(count)), count),
            "enqueue_bulk": await _rate(peer.bulk("noop", range(count)), count) if peer.has_bulk else None,
        }


async def _drain(peer: Peer, url: str, server: Server, task: str, options: Options) -> dict[str, float]:
    count = options.sleepers if task == "nap" else options.tasks
    server.flush()
    empty = server.memory()
    async with peer.connected(url):
        await peer.bulk(task, range(count))
    full = server.memory()
    before = server.info()
    async with _worker(url, count) as reports:
        first, last, rss = await _line(reports, options.worker_boot + options.drain_limit, f"{count} × {task}")
        await asyncio.sleep(0.5)
        after = server.info()
    cpu = sum(after[name] - before[name] for name in ("used_cpu_user", "used_cpu_sys"))
    return {
        "rate": round(count / (last - first), 1),
        "round_trips": round((reads(after) - reads(before)) / count, 3),
        "server_us": round(cpu * 1e6 / count, 2),
        "bytes_per_task": round((full - empty) / count, 1),
        "worker_rss_mb": round(rss / 2**20, 1),
    }


async def _latency(peer: Peer, url: str, server: Server, options: Options) -> dict[str, float]:
    server.flush()
    seconds: list[float] = []
    async with peer.connected(url), _worker(url, 0) as reports:
        for number in range(options.samples + 5):
            await asyncio.sleep(random.uniform(0.005, 0.03))
            start = time.monotonic()
            await peer.singly("mark", [number])
            _, began = await _line(reports, options.worker_boot, f"task {number} of an idle worker")
            seconds.append(began - start)
    cuts = statistics.quantiles(seconds[5:], n=100, method="inclusive")
    return {"latency_p50_ms": round(cuts[49] * 1e3, 3), "latency_p99_ms": round(cuts[98] * 1e3, 3)}


async def _measure(peer: Peer, url: str, options: Options) -> None:
    server = Server(url)
    enqueues = await _enqueues(peer, url, server, options.enqueues)
    noop = await _drain(peer, url, server, "noop", options)
    nap = await _drain(peer, url, server, "nap", options)
    latency = await _latency(peer, url, server, options)
    rates = {"drain_noop": noop.pop("rate"), "drain_10ms": nap["rate"]}
    print(json.dumps({"name": NAME, "version": version(peer.package)} | enqueues | rates | latency | noop))


def main(peer: Peer) -> None:
    """The peer's program: it measures, or is the worker that the measuring starts."""
    url, *words = sys.argv[1:]
    if words[:1] == ["worker"]:
        _tasks.report_to(int(words[1]), int(words[2]))
        peer.work(url)
    else:
        run(_measure(peer, url, Options(**json.loads(words[0] if words else "{}"))))
