"""What a peer is to the measuring: how it sends from one, from 100 and in bulk, and how it works."""

import asyncio
import signal
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

SLOTS = 100


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs it to its end, on uvloop where the peer is installed with it."""
    try:
        import uvloop  # noqa: PLC0415 - it is looked for when the peer's own packages are on the path
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


class Peer(ABC):
    """A library that is measured; each program makes one and gives it to `measure`."""

    package: ClassVar[str]  # the distribution whose version is told
    has_bulk: ClassVar[bool] = False

    @abstractmethod
    def connected(self, url: str) -> AbstractAsyncContextManager[None]:
        """Within it, tasks can be sent."""

    @abstractmethod
    async def singly(self, task: str, numbers: Iterable[int]) -> None:
        """Sends one after the other."""

    @abstractmethod
    async def from_100(self, task: str, numbers: Iterable[int]) -> None:
        """Sends from 100 coroutines or threads."""

    @abstractmethod
    async def bulk(self, task: str, numbers: Iterable[int]) -> None:
        """Sends all at once; where the peer has no such call, from 100."""

    @abstractmethod
    def work(self, url: str) -> None:
        """Is the worker, until its process is killed."""


class AsyncPeer(Peer):
    """A peer whose client and worker are asyncio's."""

    @abstractmethod
    async def enqueue(self, task: str, number: int) -> object:
        """Sends one task."""

    @abstractmethod
    async def serve(self, url: str) -> None:
        """Is the worker."""

    async def singly(self, task: str, numbers: Iterable[int]) -> None:
        for number in numbers:
            await self.enqueue(task, number)

    async def from_100(self, task: str, numbers: Iterable[int]) -> None:
        left = iter(numbers)
        await asyncio.gather(*(self.singly(task, left) for _ in range(SLOTS)))

    async def bulk(self, task: str, numbers: Iterable[int]) -> None:
        await self.from_100(task, numbers)

    def work(self, url: str) -> None:
        run(self.serve(url))


class ThreadedPeer(Peer):
    """A peer whose client blocks and whose worker runs tasks in threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(SLOTS)

    @abstractmethod
    def enqueue(self, task: str, number: int) -> object:
        """Sends one task."""

    @abstractmethod
    def serve(self, url: str) -> None:
        """Starts the worker; it may return when it runs."""

    def _all(self, task: str, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.enqueue(task, number)

    async def singly(self, task: str, numbers: Iterable[int]) -> None:
        self._all(task, numbers)

    async def from_100(self, task: str, numbers: Iterable[int]) -> None:
        left = iter(numbers)
        for sent in [self._threads.submit(self._all, task, left) for _ in range(SLOTS)]:
            sent.result()

    async def bulk(self, task: str, numbers: Iterable[int]) -> None:
        await self.from_100(task, numbers)

    def work(self, url: str) -> None:
        self.serve(url)
        signal.pause()
