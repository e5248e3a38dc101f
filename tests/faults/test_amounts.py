"""Large amounts: nothing that is done in Redis takes long, whatever there is, and others go on meanwhile."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from taskproc import Batch, TaskProcessor, TaskProcessorSettings
from taskproc.records import Attempt, NewTask, Request, Settlement
from taskproc.scripts import scripts
from taskproc.storage import Storage
from tests.conftest import MakeSettings
from tests.faults.jobs import nothing
from tests.faults.kit import Journal, worker, workers
from tests.kit import Server, wait_until
from tests.soak.test_long_stay import resident
from tests.worker.kit import ended, gone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

MILLION = int(os.environ.get("AMOUNT", "1000000"))
STORM = 200_000
QUEUE = "work[fair]"
GROWTH = 16 * 1024 * 1024  # bytes
LONGEST = 50.0  # ms of a script, on a machine that does other things too
LONGEST_WAIT = 2.0  # seconds that a task of somebody else may take, from its enqueue to its end
SLOW = 1_000  # µs: shorter commands are not looked at


@dataclass(kw_only=True)
class Watch:
    """What is seen while much is done."""

    waits: list[float] = field(default_factory=list[float])
    """Seconds that each task of another tenant took."""
    memory: list[int] = field(default_factory=list[int])
    """Bytes that this process had then."""
    held_up: Counter[int] = field(default_factory=Counter[int])
    """Milliseconds, in each second, for which the server could have gone on, but had no processor."""
    slowest: Script | None = None


@dataclass(frozen=True, kw_only=True)
class Script:
    """One of the longest."""

    name: str
    wall: float
    """Milliseconds from its begin to its end."""
    own: float
    """Those of them in which the server was certainly not kept from going on by others on this machine."""


@asynccontextmanager
async def watched(server: Server, tasks: TaskProcessor, count: int) -> AsyncGenerator[Watch]:
    """Once so many workers are there, enqueues tasks of another tenant, one after the other; looks how long they take,
    and how long the scripts.
    """
    watch = Watch()

    async def others() -> None:
        calm = tasks.on(QUEUE, tenant="calm")
        await workers(tasks, count)
        while True:
            begun = time.monotonic()
            await gone(tasks, await calm.enqueue(nothing, len(watch.waits)), 60)
            watch.waits.append(time.monotonic() - begun)
            watch.memory.append(resident())
            await asyncio.sleep(0.1)

    async def look() -> None:
        before = run_delay(server)
        while True:
            await asyncio.sleep(0.05)
            now = run_delay(server)
            watch.held_up[int(time.time())] += now - before
            before = now

    with server.client(30) as client:
        client.config_set("slowlog-log-slower-than", SLOW)
        client.config_set("slowlog-max-len", 10_000)
        client.slowlog_reset()
        doing = [asyncio.create_task(others()), asyncio.create_task(look())]
        try:
            yield watch
            assert not any(task.done() for task in doing), doing
        finally:
            for task in doing:
                task.cancel()
            await asyncio.gather(*doing, return_exceptions=True)
        found = slow_scripts(client, watch.held_up)
        watch.slowest = max(found, key=lambda script: (script.own, script.wall), default=None)
    worst = sorted(watch.waits) or [float("inf")]
    tell(f"longest script: {watch.slowest or 'less than 1 ms'}")
    tell(f"{len(watch.waits)} tasks of others: at most {worst[-1]:.2f} s, 99 % {worst[len(worst) * 99 // 100]:.2f} s")


def run_delay(server: Server) -> int:
    """Milliseconds that the server's main thread has waited for a processor."""
    pid = server.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) // 1_000_000


def slow_scripts(client: redis.Redis, held_up: Counter[int]) -> Generator[Script]:
    """What took more than a millisecond."""
    names = {one.sha.encode(): name for name, one in scripts().items()}
    entries: list[dict[str, Any]] = client.slowlog_get(10_000)
    for entry in entries:
        words, wall = entry["command"].split(b" "), entry["duration"] / 1000
        end = entry["start_time"]  # so it is called
        waited = sum(held_up[second] for second in range(end - int(wall / 1000) - 1, end + 2))
        name = next((names[word] for word in words if word in names), words[0].decode())
        yield Script(name=name, wall=wall, own=max(wall - waited, 0))


def assert_calm(watch: Watch) -> None:
    """Nothing was held up."""
    assert watch.slowest is None or watch.slowest.own < LONGEST
    assert len(watch.waits) > 10
    assert max(watch.waits) < LONGEST_WAIT


def tell(said: str) -> None:
    """The true figures, which `pytest -s` shows."""
    print(f"\n{said}", end="")  # noqa: T201


def on(server: Server, settings: MakeSettings, **more: Any) -> TaskProcessorSettings:
    """Settings on a server of the test's own."""
    made = settings(queues=[QUEUE], **more)
    return made.model_copy(update={"redis": server.url})


async def test_a_million_tasks_from_a_generator(settings: MakeSettings, journal: Journal) -> None:
    """Their producer holds a chunk of them at a time, each script is short, and a cancel ends what is left."""
    sent: list[int] = []

    def build(batch: Batch) -> Generator[None]:
        for number in range(MILLION):
            batch.enqueue(nothing, number)
            if number % 50_000 == 0:
                gc.collect()
                sent.append(resident())
            yield

    with Server() as server:
        made = on(server, settings)
        async with TaskProcessor(made) as tasks:
            with worker(made, journal) as working:
                await workers(tasks, 1)
                async with watched(server, tasks, 1) as watch:
                    batch_id = await tasks.enqueue_batch(QUEUE, "busy", build)
                async with watched(server, tasks, 1):  # tasks of others wait meanwhile
                    assert await tasks.cancel_batch(batch_id)
                    outcome = await ended(tasks, batch_id, 60)
                assert working.terminate() == 0
    grown = (max(sent[1:]) - sent[1], max(watch.memory) - watch.memory[0])
    tell(f"memory of the producer grew by {grown[0] >> 10:,} KiB, between other tasks by {grown[1] >> 10:,} KiB")
    assert_calm(watch)
    assert outcome.total == MILLION == outcome.done + outcome.canceled
    assert max(grown) < GROWTH


async def test_many_tasks_that_fall_due_at_once(settings: MakeSettings, journal: Journal) -> None:
    """They are started in steps, and all run."""
    with Server() as server:
        made = on(server, settings, max_workers=50)
        async with TaskProcessor(made) as tasks:
            batch_id = await tasks.enqueue_batch(QUEUE, "busy", delayed)
            await asyncio.sleep(1)
            queue = await tasks.get_queue(QUEUE)
            assert (queue.delayed, queue.length) == (STORM, 0)
            with worker(made, journal) as first, worker(made, journal) as second:
                async with watched(server, tasks, 2) as watch:
                    await wait_until(lambda: has_none_delayed(tasks), 300, "the start of all that is due")
                    outcome = await ended(tasks, batch_id, 900)
                assert [first.terminate(), second.terminate()] == [0, 0]
    assert_calm(watch)
    assert (outcome.done, outcome.total) == (STORM, STORM)


def delayed(batch: Batch) -> Generator[None]:
    """All due in a second, when no worker is there yet that would start them."""
    for number in range(STORM):
        batch.on(delay=timedelta(seconds=1)).enqueue(nothing, number)
        yield


async def has_none_delayed(tasks: TaskProcessor) -> bool:
    """Whether everything that was delayed is ready, runs or has ended."""
    return (await tasks.get_queue(QUEUE)).delayed == 0


ROUNDS, CALLS = 7, 200
FEW, MANY = 10, 20_000


async def test_settling_costs_the_same_with_many_leases(settings: MakeSettings) -> None:
    """What the server takes to settle one task, and to lease another: by its own account, in the best of rounds."""
    with Server() as server, server.client() as client:
        async with TaskProcessor(on(server, settings)) as tasks:
            holder = Holder(tasks._opened().storage)
            await holder.start(MANY + 2 * (ROUNDS + 1) * CALLS)
            await holder.hold(FEW)
            few = await cost(client, holder)
            await holder.hold(MANY)
            many = await cost(client, holder)
    tell(f"settling one and leasing another takes {few:.0f} µs with {FEW} leases, {many:.0f} µs with {MANY:,}")
    assert many < 1.5 * few


async def cost(client: redis.Redis, holder: Holder) -> float:
    """Microseconds for each call."""
    await holder.turn(CALLS)
    best = float("inf")
    for _ in range(ROUNDS):
        client.config_resetstat()
        await holder.turn(CALLS)
        said: dict[str, dict[str, float]] = client.info("commandstats")
        assert said["cmdstat_evalsha"]["calls"] == CALLS
        best = min(best, said["cmdstat_evalsha"]["usec_per_call"])
    return best


class Holder:
    """A worker that holds leases, and hands in the one that it has had longest."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._nonce = 0
        self._held: list[Attempt] = []

    async def start(self, count: int) -> None:
        """Enqueues so many tasks."""
        about = {"host": "h", "pid": 1, "queues": "plain", "slots": MANY, "version": "0"}
        await self._storage.register("holder", 3_600_000, about)
        for first in range(0, count, 500):
            made = [new_task(number) for number in range(first, min(first + 500, count))]
            await self._storage.enqueue([(task, b"[[],{}]") for task in made])

    async def hold(self, count: int) -> None:
        """Leases tasks until it has so many."""
        while len(self._held) < count:
            await self._exchange([], min(count - len(self._held), 250))

    async def turn(self, times: int) -> None:
        """Hands in one, and leases one, so many times."""
        for _ in range(times):
            oldest = self._held.pop(0)
            await self._exchange([Settlement(id=oldest.id, token=oldest.token, outcome="done")], 1)

    async def _exchange(self, settlements: list[Settlement], slots: int) -> None:
        self._nonce += 1
        request = Request(
            worker="holder", nonce=self._nonce, known=self._nonce - 1, slots=slots, queues=["plain"], max_recoveries=3
        )
        reply = await self._storage.exchange(request, settlements)
        assert (reply.settled, len(reply.fetched)) == (["done"] * len(settlements), slots)
        self._held += reply.fetched


def new_task(number: int) -> NewTask:
    """One that nobody will run."""
    return NewTask(id=f"t{number}", queue="plain", tenant="acme", call="x:f", retries=1, invisibility=3_600_000)
