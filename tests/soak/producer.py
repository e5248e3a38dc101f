"""A producer of a soak: a process that enqueues single tasks and batches, and cancels some of them."""

import asyncio
import os
import random
import signal
import sys
from datetime import timedelta
from itertools import count

from taskproc import Batch, BatchCanceled, StorageUnavailable, TaskProcessor, TaskProcessorSettings
from taskproc.options import When
from tests.soak import jobs

SEED = "SOAK_SEED"
PARTS = "SOAK_PARTS"
"""Whether batches are also sent in parts: one whose producer is killed meanwhile stays open for a minute."""
WHENS: tuple[When, ...] = ("success", "failed", "canceled", "complete")
AT_ONCE = 3  # coroutines, so that their calls share round trips


class Producer:
    """Writes down what it is about to send, and what it was told of it."""

    def __init__(self, tasks: TaskProcessor, seed: str) -> None:
        self._tasks = tasks
        self._random = random.Random(seed)
        self._writer = jobs.writer()
        self._numbers = count(1)
        self._parts = bool(os.environ.get(PARTS))
        self.leaving = asyncio.Event()

    async def produce(self) -> None:
        """Goes on until it is told to leave."""
        while not self.leaving.is_set():
            await (self._batch() if self._random.random() < 0.08 else self._single())
            await asyncio.sleep(self._random.uniform(0, 0.15))

    def _name(self) -> str:
        number, chance = next(self._numbers), self._random.random()
        return f"{os.getpid()}.{number}{'?' if chance < 0.1 else '!' if chance < 0.12 else ''}"

    async def _single(self) -> None:
        name, delay = self._name(), timedelta(seconds=self._random.choice([0, 0, 0, 1.5]))
        method = self._random.choice(jobs.STEPS)
        self._writer.note("sending", name)
        try:
            send = self._tasks.on(self._queue(), tenant=self._tenant(), delay=delay, retries=jobs.RETRIES)
            task_id = await send.enqueue(method, name, self._seconds())
        except StorageUnavailable as error:
            self._writer.note("maybe" if error.maybe_accepted else "refused", name, id=error.task_id)
            return
        self._writer.note("accepted", name, id=task_id)
        if self._random.random() < 0.1:
            await self._cancel(name, task_id)

    def _queue(self) -> str:
        return self._random.choice(jobs.QUEUES)

    def _tenant(self) -> str:
        return self._random.choice(jobs.TENANTS)

    def _seconds(self) -> float:
        return self._random.choice([0, 0, 0, 0, 0, 0.05, 0.05, 0.3, self._random.uniform(0, 3)])

    async def _batch(self) -> None:
        size = self._random.choice([1, 5, 20, 60])
        names = [self._name() for _ in range(size)]
        in_parts = self._parts and self._random.random() < 0.3
        batch_id = ""
        try:
            async with self._tasks.batch(self._queue(), tenant=self._tenant()) as batch:
                batch_id = batch.id
                self._writer.note("sending", *names, batch=batch_id, how="parts" if in_parts else "")
                await self._fill(batch, names, in_parts=in_parts)
        except (StorageUnavailable, BatchCanceled) as error:
            refused = isinstance(error, StorageUnavailable) and not error.maybe_accepted and not in_parts
            self._writer.note("refused" if refused else "maybe", batch=batch_id)
            return
        self._writer.note("accepted", batch=batch_id)
        if self._random.random() < 0.2:
            await self._cancel("", batch_id)

    async def _fill(self, batch: Batch, names: list[str], *, in_parts: bool) -> None:
        for when in WHENS:
            batch.on(when=when).continue_with(jobs.step, f"{batch.id}.{when}", 0)
        for number, name in enumerate(names):
            delay = timedelta(seconds=self._random.choice([0, 0, 0, 0, 1]))
            method = self._random.choice(jobs.STEPS)
            batch.on(delay=delay, retries=jobs.RETRIES).enqueue(method, name, self._random.choice([0, 0, 0.2]))
            if in_parts and number % 8 == 7:
                await batch.flush()
                await asyncio.sleep(0.05)

    async def _cancel(self, name: str, id_: str) -> None:
        """A task that has a name, or a batch that has none."""
        await asyncio.sleep(self._random.choice([0, 0, 0.2, 1]))
        batch = "" if name else id_
        names = [name] if name else []
        self._writer.note("canceling", *names, batch=batch)
        try:
            told = await (self._tasks.cancel_task(id_) if name else self._tasks.cancel_batch(id_))
        except StorageUnavailable:
            return
        self._writer.note("canceled" if told else "not canceled", *names, batch=batch)


async def main() -> None:
    """Until SIGTERM."""
    ended = asyncio.Event()
    jobs.writer().note("began", "producer", how=jobs.REVISION)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    while not ended.is_set():
        try:
            async with TaskProcessor(TaskProcessorSettings()) as tasks:
                producer = Producer(tasks, os.environ[SEED])
                producer.leaving = ended
                await asyncio.gather(*(producer.produce() for _ in range(AT_ONCE)))
        except StorageUnavailable:  # the server is away just now
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
