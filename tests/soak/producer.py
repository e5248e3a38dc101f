"""A producer of a soak: a process that enqueues tasks and batches, appends to these, and cancels some of them."""

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
from tests.soak.mender import Mender

SEED = "SOAK_SEED"
PARTS = "SOAK_PARTS"
"""Whether batches are also sent in parts: one whose producer is killed meanwhile stays open for a minute."""
WHENS: tuple[When, ...] = ("success", "failed", "canceled", "complete")
AT_ONCE = 3  # coroutines, so that their calls share round trips
SUFFIXES = ("?", "!", "~", "")
"""Of names, for how often the task fails: once, always, until it is mended, or never."""


class Producer:
    """Writes down what it is about to send, and what it was told of it."""

    def __init__(self, tasks: TaskProcessor, seed: str) -> None:
        self._tasks = tasks
        self._random = random.Random(seed)
        self._writer = jobs.writer()
        self._numbers = count(1)
        self._parts = bool(os.environ.get(PARTS))
        self._mender = Mender(tasks, self._random)
        self.leaving = asyncio.Event()

    async def run(self) -> None:
        """Goes on until it is told to leave."""
        await asyncio.gather(self._mender.mend(self.leaving), *(self._produce() for _ in range(AT_ONCE)))

    async def _produce(self) -> None:
        while not self.leaving.is_set():
            await (self._batch() if self._random.random() < 0.08 else self._single())
            await asyncio.sleep(self._random.uniform(0, 0.15))

    def _name(self) -> str:
        return f"{os.getpid()}.{next(self._numbers)}{self._random.choices(SUFFIXES, (10, 2, 3, 85))[0]}"

    async def _single(self) -> None:
        name, delay = self._name(), timedelta(seconds=self._random.choice([0, 0, 0, 1.5]))
        method, queue = self._random.choice(jobs.STEPS), self._queue()
        self._writer.note("sending", name)
        try:
            send = self._tasks.on(queue, tenant=self._tenant(), delay=delay, retries=jobs.RETRIES)
            task_id = await send.enqueue(method, name, self._seconds())
        except StorageUnavailable as error:
            self._writer.note("maybe" if error.maybe_accepted else "refused", name, id=error.task_id)
            return
        self._writer.note("accepted", name, id=task_id)
        self._mender.heed([name], task_id, queue)
        if self._random.random() < 0.1:
            await self._cancel(name, task_id)

    def _queue(self) -> str:
        return self._random.choice(jobs.QUEUES)

    def _tenant(self) -> str:
        return self._random.choice(jobs.TENANTS)

    def _seconds(self) -> float:
        return self._random.choice([0, 0, 0, 0, 0, 0.05, 0.05, 0.3, self._random.uniform(0, 3)])

    async def _batch(self) -> None:
        names = [self._name() for _ in range(self._random.choice([1, 5, 20, 60]))]
        tenant = self._tenant()
        in_parts = self._parts and self._random.random() < 0.3
        batch_id = ""
        try:
            async with self._tasks.batch(self._queue(), tenant=tenant) as batch:
                batch_id = batch.id
                self._writer.note("sending", *names, batch=batch_id, how="parts" if in_parts else "")
                self._continue(batch)
                await self._fill(batch, names, in_parts=in_parts)
        except (StorageUnavailable, BatchCanceled) as error:
            refused = isinstance(error, StorageUnavailable) and not error.maybe_accepted and not in_parts
            self._writer.note("refused" if refused else "maybe", batch=batch_id)
            return
        self._writer.note("accepted", batch=batch_id)
        self._mender.heed(names, batch_id)
        await self._follow_up(batch_id, tenant)

    async def _follow_up(self, batch_id: str, tenant: str) -> None:
        """Appends, and perhaps cancels; what is appended after that is refused."""
        for _ in range(self._random.choice([0, 0, 1, 2])):
            await self._append(batch_id, tenant)
        if self._random.random() < 0.2:
            await self._cancel("", batch_id)
            if self._random.random() < 0.3:
                await self._append(batch_id, tenant)

    async def _append(self, batch_id: str, tenant: str) -> None:
        """While the batch runs, or when it has ended."""
        await asyncio.sleep(self._random.choice([0, 0, 0.1, 0.5]))
        names = [self._name() for _ in range(self._random.choice([1, 3, 10]))]
        self._writer.note("sending", *names, batch=batch_id)
        try:
            told = await self._tasks.append_batch(
                self._queue(), tenant, batch_id, lambda batch: self._fill(batch, names, in_parts=False)
            )
        except (StorageUnavailable, BatchCanceled):
            self._writer.note("maybe", batch=batch_id)
            return
        self._writer.note("accepted" if told else "refused", batch=batch_id)
        self._mender.heed(names, batch_id)

    def _continue(self, batch: Batch) -> None:
        for when in WHENS:
            batch.on(when=when).continue_with(jobs.step, f"{batch.id}.{when}", 0)

    async def _fill(self, batch: Batch, names: list[str], *, in_parts: bool) -> None:
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
                await producer.run()
        except StorageUnavailable:  # the server is away just now
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
