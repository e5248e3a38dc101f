"""What the tests with faults share: worker processes, the journal of what they did, and load."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import cast

from taskproc import TaskProcessor, TaskProcessorSettings
from taskproc.connection import connect
from taskproc.records import Request
from taskproc.scripts import scripts
from taskproc.storage import Storage
from taskproc.worker import MOST_AT_ONCE
from tests.faults.jobs import JOURNAL
from tests.kit import Process, process, wait_until

SECOND = timedelta(seconds=1)
INSTANT = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A line of the journal."""

    at: float
    pid: int
    what: str
    name: str


class Journal:
    """What tasks have noted in all processes."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "journal"

    def events(self, what: str = "") -> list[Event]:
        """All that was noted, or all of a kind, in its order."""
        text = self.path.read_text() if self.path.exists() else ""
        lines = [line.split(" ") for line in text.rpartition("\n")[0].splitlines()]
        events = [Event(at=float(at), pid=int(pid), what=kind, name=name) for at, pid, kind, name in lines]
        return [event for event in events if what in ("", event.what)]

    def count(self, what: str) -> Counter[str]:
        """How often each name was noted so."""
        return Counter(event.name for event in self.events(what))

    def let_go(self) -> None:
        """Ends what waits."""
        self.path.with_name("journal.go").touch()

    async def noted(self, what: str, count: int, seconds: float = 10) -> None:
        """Waits until that was noted so many times."""
        await wait_until(lambda: len(self.events(what)) >= count, seconds, f"{count} × {what} in {self.path}")


@contextmanager
def worker(made: TaskProcessorSettings, journal: Journal, module: str = "tests.faults.jobs") -> Generator[Process]:
    """A worker process with these settings."""
    with process(["-m", module], environment(made) | {JOURNAL: str(journal.path)}) as started:
        yield started


def environment(made: TaskProcessorSettings) -> dict[str, str]:
    """The settings that were given, as a process finds them in its environment."""
    return {f"TASKPROC_{name.upper()}": _text(getattr(made, name)) for name in made.model_fields_set}


def _text(value: object) -> str:
    if isinstance(value, timedelta):
        return str(value.total_seconds())
    return ",".join(cast("list[str]", value)) if isinstance(value, list) else str(value)


async def lose(made: TaskProcessorSettings, worker: str, queue: str, count: int = 1) -> None:
    """Lets a worker fetch so many tasks of this queue, and die."""
    await lease(made, worker, queue, count)


async def lease(
    made: TaskProcessorSettings,
    worker: str,
    queue: str,
    count: int,
    *,
    lives_for: timedelta = timedelta(milliseconds=1),
) -> None:
    """Lets a worker fetch so many tasks of this queue, and run them for as long as it lives."""
    connection = await connect(made)
    try:
        storage = Storage(connection, made.prefix, 5)
        about = {"host": "dead", "pid": 1, "queues": queue, "slots": count, "version": "0"}
        await storage.register(worker, 5_000, about)
        for nonce in range(1, -(-count // MOST_AT_ONCE) + 1):
            slots = min(MOST_AT_ONCE, count - (nonce - 1) * MOST_AT_ONCE)
            request = Request(
                worker=worker, nonce=nonce, known=nonce - 1, slots=slots, queues=[queue], max_recoveries=1
            )
            assert len((await storage.exchange(request, [])).fetched) == slots
        await storage.beat(worker, int(lives_for.total_seconds() * 1000))
    finally:
        await connection.close()


async def workers(processor: TaskProcessor, count: int, seconds: float = 15) -> None:
    """Waits until so many workers are known."""

    async def look() -> bool:
        return len(await processor.get_workers()) == count

    await wait_until(look, seconds, f"{count} workers")


@asynccontextmanager
async def meanwhile(disturb: Callable[[], object], *, every: float) -> AsyncGenerator[None]:
    """Disturbs again and again until the block is left."""

    async def keep_on() -> None:
        while True:
            await asyncio.to_thread(disturb)
            await asyncio.sleep(every)

    task = asyncio.create_task(keep_on())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def sha(script: str) -> str:
    """By which a proxy knows the script."""
    return scripts()[script].sha
