"""A batch that is filled and sent as ever, to a storage that only takes notes."""

from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

from taskproc import Batch, TaskProcessorSettings, background
from taskproc.batch import BatchContext, fill
from taskproc.calls import Calls
from taskproc.executor import JsonExecutor
from taskproc.records import Chunk, NewTask
from taskproc.sending import Sender
from taskproc.storage import Storage
from taskproc.upload import OpenBatches, Upload

SECOND = timedelta(seconds=1)
Sending = tuple[NewTask, bytes]


@background
def job(number: int = 0, text: str = "") -> None:
    """What most batches are made of."""


@background(queue="marked", retries=7, invisibility=2 * SECOND, auto_extend=True)
def marked() -> None:
    """It has defaults of its own."""


class Notes:
    """Stands for the storage: it notes what it is given, and answers as it is told."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = deque(answers)
        self.chunks: list[Chunk] = []
        self.sent: list[list[Sending]] = []
        self.continuations: list[list[Sending]] = []
        self.canceled: list[str] = []

    async def add_to_batch(self, chunk: Chunk, tasks: Sequence[Sending], continuations: Sequence[Sending]) -> str:
        answer = self.answers.popleft() if self.answers else "ok"
        if isinstance(answer, Exception):
            raise answer
        self.chunks.append(chunk)
        self.sent.append(list(tasks))
        self.continuations.append(list(continuations))
        return answer

    async def cancel_batch(self, batch: str, tenant: str | None = None) -> bool:
        self.canceled.append(batch)
        return True

    async def cancel_queued(self, batch: str) -> bool:
        return False

    async def keep_open(self, entries: Sequence[str]) -> list[bool]:
        return [True for _ in entries]

    @property
    def sizes(self) -> list[int]:
        """How many tasks each chunk had."""
        return [len(tasks) for tasks in self.sent]

    @property
    def payloads(self) -> list[bytes]:
        """Those of all tasks, in order."""
        return [data for tasks in self.sent for _, data in tasks]


class Part:
    """A batch to be filled, with what it is sent by."""

    def __init__(self, notes: Notes, queue: str | None = None, *, append: bool = False, **settings: Any) -> None:
        storage = cast("Storage", notes)
        self.open = OpenBatches(storage, 0.01)
        create = None if append else {"queue": queue or "default", "scope": "Import 42"}
        self.upload = Upload(storage, self.open, "b1", "acme", create)
        calls = Calls([], [])
        sender = Sender(TaskProcessorSettings(**settings), calls, JsonExecutor(calls))
        self.batch = Batch(self.upload, sender, queue, "acme")

    def context(self) -> BatchContext:
        """`async with processor.batch() as batch`."""
        return BatchContext(self.batch, self.upload)

    async def fill(self, build: Any) -> bool:
        """`processor.enqueue_batch(…, build)`."""
        try:
            return await fill(self.batch, self.upload, build)
        finally:
            await self.open.close()


def all_at_once(batch: Batch) -> None:
    """A plain function."""
    for number in range(1200):
        batch.enqueue(job, number)
