"""Producers, workers, and everything that can happen to them, in an order that a seed decides."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from taskproc import CURRENT, BatchInfo, ScheduleData, StorageUnavailable, TaskProcessor, TaskProcessorSettings
from tests.faults.kit import Journal, sha, worker
from tests.kit import Process, Proxy, Server, wait_until
from tests.soak import jobs
from tests.soak.checker import Fault, History, Work

WORKERS = 3


@dataclass(slots=True)
class Place:
    """Where one worker runs: behind a proxy of its own, one process after the other."""

    proxy: Proxy
    process: Process


class Chaos:
    """A soak on a server that keeps what it has acknowledged."""

    def __init__(self, server: Server, journal: Journal, seed: int) -> None:
        self.server = server
        self.journal = journal
        self.random = random.Random(seed)
        self.history = History()
        self.settings = TaskProcessorSettings(
            redis=server.url, prefix="{soak}", max_workers=10, worker_timeout=timedelta(seconds=2), max_recoveries=1000,
            base_frequency=timedelta(seconds=1), pushback_frequency=timedelta(seconds=1), use_cron_seconds=True,
            command_timeout=timedelta(seconds=10), on_task_failed_delay=None,
        )  # fmt: skip
        self._places: list[Place] = []
        self._batches: list[tuple[str, Work]] = []
        self._number = 0

    async def run(self, seconds: float) -> Counter[str]:
        """Makes trouble for so long, then lets everything end; the kinds of faults that there were."""
        with ExitStack() as stack:
            for _ in range(WORKERS):
                proxy = stack.enter_context(Proxy(self.server.port))
                self._places.append(Place(proxy, self._start(stack, proxy)))
            async with TaskProcessor(self.settings) as tasks:
                await self._schedule(tasks)
                async with self._going_on(self._trouble(stack)), self._going_on(self._produce(tasks)):
                    await asyncio.sleep(seconds)
                await self._end(tasks)
        self.history.events = self.journal.events()
        return Counter(fault.kind for fault in self.history.faults)

    def _start(self, stack: ExitStack, proxy: Proxy) -> Process:
        made = self.settings.model_copy(update={"redis": proxy.url})
        made.__pydantic_fields_set__.discard("on_task_failed_delay")
        return stack.enter_context(worker(made, self.journal, "tests.soak.jobs"))

    @asynccontextmanager
    async def _going_on(self, what: AsyncGenerator[float]) -> AsyncGenerator[None]:
        """Lets a generator go on, with the pauses that it asks for, until the block is left."""
        leaving = asyncio.Event()

        async def go_on() -> None:
            async for pause in what:
                with suppress(TimeoutError):
                    await asyncio.wait_for(leaving.wait(), pause)
                if leaving.is_set():
                    return

        going = asyncio.create_task(go_on())
        try:
            yield
            assert not going.done(), going
        finally:
            leaving.set()
            await going

    # What is produced

    async def _schedule(self, tasks: TaskProcessor) -> None:
        await tasks.upsert_schedule(ScheduleData(id="every-second", cron="* * * * * *"), jobs.cycle, CURRENT)
        self.history.scheduled = (time.time(), time.time())

    async def _produce(self, tasks: TaskProcessor) -> AsyncGenerator[float]:
        while True:
            await self._single(tasks)
            if self.random.random() < 0.15:
                await self._batch(tasks)
            yield self.random.uniform(0, 0.1)

    def _name(self) -> str:
        self._number += 1
        return f"t{self._number}" + ("?" if self.random.random() < 0.1 else "")

    async def _single(self, tasks: TaskProcessor) -> None:
        work = Work(names=[self._name()], accepted=False)
        self.history.work.append(work)
        delay = timedelta(seconds=self.random.choice([0, 0, 0, 1.5]))
        with suppress(StorageUnavailable):
            await tasks.on(delay=delay).enqueue(jobs.step, work.names[0], self.random.choice([0, 0, 0.05, 0.5]))
            work.accepted = True

    async def _batch(self, tasks: TaskProcessor) -> None:
        names = [self._name() for _ in range(self.random.choice([1, 10, 60]))]
        work = Work(names=names, accepted=False, continuation=f"{names[0]}.then")
        self.history.work.append(work)
        with suppress(StorageUnavailable):
            async with tasks.batch() as batch:
                for name in names:
                    batch.enqueue(jobs.step, name, self.random.choice([0, 0, 0.2]))
                batch.continue_with(jobs.step, work.continuation, 0)
            work.accepted = True
            self._batches.append((batch.id, work))
            if self.random.random() < 0.2:
                await self._cancel(tasks, batch.id, work)

    async def _cancel(self, tasks: TaskProcessor, batch_id: str, work: Work) -> None:
        await asyncio.sleep(self.random.uniform(0, 0.3))
        work.canceled_at = float("inf")  # not known
        if await tasks.cancel_batch(batch_id):
            work.canceled_at = time.time()
        else:
            work.canceled_at = None  # it had ended

    # What happens to them

    async def _trouble(self, stack: ExitStack) -> AsyncGenerator[float]:
        while True:
            yield self.random.uniform(0.5, 2)
            kind = self.random.choice(["killed", "frozen", "cut off", "lost replies", "restart", "flush", "closed"])
            place = self.random.choice(self._places)
            since, pid = time.time(), place.process.pid
            await self._do(kind, place, stack)
            everybody = kind in ("restart", "flush")
            self.history.faults.append(Fault(kind=kind, pid=0 if everybody else pid, since=since, until=time.time()))

    async def _do(self, kind: str, place: Place, stack: ExitStack) -> None:
        match kind:
            case "killed":
                place.process.kill()
                place.process = await asyncio.to_thread(self._start, stack, place.proxy)
            case "frozen":
                place.process.freeze()
                await asyncio.sleep(self.random.uniform(0.5, 4))
                place.process.thaw()
            case "cut off":
                place.proxy.blackhole()
                await asyncio.sleep(self.random.uniform(0.5, 4))
                place.proxy.heal()
            case "lost replies":
                place.proxy.drop_reply(sha("exchange"), self.random.randint(1, 3))
                await asyncio.sleep(1)
            case "restart":
                await asyncio.to_thread(self.server.kill)
                await asyncio.sleep(self.random.uniform(0, 1))
                await asyncio.to_thread(self.server.start)
            case "flush":
                with self.server.client() as client:
                    client.script_flush()
            case _:
                place.proxy.close_all()

    # And at last

    async def _end(self, tasks: TaskProcessor) -> None:
        """Lets everything end, and counts."""
        if self.history.scheduled is not None:
            self.history.scheduled = (self.history.scheduled[0], time.time())
        await tasks.cancel_schedule("every-second")

        async def is_idle() -> bool:
            queue = await tasks.get_queue("default")
            return queue.length + queue.running + queue.delayed == 0

        await wait_until(is_idle, 60, "an empty queue")
        for batch_id, work in self._batches:
            work.counts = _counts(await tasks.get_batch(batch_id))
        for place in self._places:
            place.process.terminate()


def _counts(info: BatchInfo | None) -> tuple[int, int, int, int] | None:
    return None if info is None else (info.total, info.done, info.failed, info.canceled)
