"""What these tests share: workers in processes of their own, producers that account for what they sent."""

import asyncio
import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

import redis

from taskproc import StorageUnavailable, TaskProcessor, TaskProcessorSettings
from taskproc.connection import send
from tests.connections.jobs import LEDGER, Ledger, note
from tests.kit import Process, Server, assert_no_leaks, block_until, process, wait_until
from tests.storage.laws import broken_laws
from tests.storage.store import Store

PREFIX = "{connections}"

_WORKER = """
import asyncio, json, logging, os, signal
from taskproc import TaskProcessor, TaskProcessorSettings
from tests.connections import jobs

async def main():
    async with TaskProcessor(TaskProcessorSettings(**json.loads(os.environ["SETTINGS"]))) as processor:
        stop = lambda: asyncio.ensure_future(processor.stop())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        await processor.run()

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
asyncio.run(main())
"""


def settings_for(url: str, **overrides: Any) -> TaskProcessorSettings:
    """Settings on a server that the test has started."""
    return TaskProcessorSettings(redis=url, prefix=PREFIX, **overrides)


@contextmanager
def worker(url: str, ledger: Ledger, **settings: Any) -> Generator[Process]:
    """A worker in a process of its own, once it serves; it must end in an orderly way when it is told to."""
    given = {"redis": url, "prefix": PREFIX, "max_workers": 10, **settings}
    with process(_WORKER, {"SETTINGS": json.dumps(given), LEDGER: str(ledger.file)}) as started:
        block_until(lambda: "serves" in started.log, 15, "a worker that serves")
        yield started
        if started.running:
            assert started.terminate(20) == 0, started.log
        assert "Traceback" not in started.log, started.log


@dataclass
class Sent:
    """What became of the numbers that a producer sent."""

    accepted: set[int] = field(default_factory=set[int])
    confirmed: set[int] = field(default_factory=set[int])
    """Accepted, and on all replicas as well."""
    maybe: set[int] = field(default_factory=set[int])
    refused: set[int] = field(default_factory=set[int])

    @property
    def all(self) -> set[int]:
        return self.accepted | self.maybe | self.refused


class Producer:
    """Enqueues one number after the other until the block is left."""

    def __init__(self, processor: TaskProcessor, first: int = 0, *, replicas: int = 0, pause: float = 0.005) -> None:
        self.sent = Sent()
        self.replicas = replicas
        """How many replicas are to confirm each task, if any."""
        self._processor = processor
        self._numbers: Iterator[int] = count(first)
        self._pause = pause
        self._stopped = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._produce())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._stopped = True
        await self._task

    async def _produce(self) -> None:
        while not self._stopped:
            await self._send(next(self._numbers))
            await asyncio.sleep(self._pause)

    async def _send(self, number: int) -> None:
        try:
            await self._processor.enqueue(note, number)
        except StorageUnavailable as error:
            (self.sent.maybe if error.maybe_accepted else self.sent.refused).add(number)
            return
        self.sent.accepted.add(number)
        if self.replicas and await self._is_everywhere():
            self.sent.confirmed.add(number)

    async def _is_everywhere(self) -> bool:
        """Whether the replicas have all that was sent on this connection; there must be no other one."""
        opened = self._processor._open
        assert opened is not None
        try:
            return int(await send(opened.connection.commands, 1, "WAIT", self.replicas, 200)) >= self.replicas
        except (redis.RedisError, OSError):
            return False


def check_drained(server: Server) -> None:
    """All is done: no law is broken on this server, and nothing is left behind."""
    with server.client() as client:
        assert broken_laws(Store(client, PREFIX).dump()) == []
        assert_no_leaks(client, PREFIX)


async def batch_of(processor: TaskProcessor, numbers: range, seconds: float = 0.01) -> str:
    """The id of a batch that notes these numbers, each after so long."""
    async with processor.batch() as batch:
        for number in numbers:
            batch.enqueue(note, number, seconds)
    return batch.id


async def assert_whole(processor: TaskProcessor, batch_id: str, size: int, seconds: float = 20) -> None:
    """Waits for the end of a batch, in which each task must count once."""

    async def ended() -> bool:
        batch = await processor.get_batch(batch_id)
        assert batch is not None
        return batch.end is not None

    await wait_until(ended, seconds, "the end of the batch")
    batch = await processor.get_batch(batch_id)
    assert batch is not None
    assert (batch.state, batch.total, batch.done, batch.failed, batch.canceled) == ("done", size, size, 0, 0)
