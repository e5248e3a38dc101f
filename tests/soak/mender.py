"""What a producer does about its tasks that have died: it mends some of them, and retries them."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from uuid import uuid4

from taskproc import StorageUnavailable, TaskProcessor
from tests.soak import jobs
from tests.soak.history import Writer, mend

DEAD_AFTER = 1.5  # seconds in which most have died that will
OFTEN = 0.6
"""How many of those that have died are retried; the others stay dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dying:
    """A task that will die, or a batch with such tasks."""

    names: Sequence[str]
    id: str
    queue: str
    since: float


class Mender:
    """Retries single tasks by their ids, and those of batches together."""

    def __init__(self, tasks: TaskProcessor, chance: random.Random) -> None:
        self._tasks = tasks
        self._random = chance
        self._dying: deque[_Dying] = deque()

    def heed(self, names: Sequence[str], id_: str, queue: str = "") -> None:
        """Of these some may die: a task, which has a queue, or tasks of a batch."""
        dying = [name for name in names if name[-1] in "!~"]
        if dying and self._random.random() < OFTEN:
            self._dying.append(_Dying(names=dying, id=id_, queue=queue, since=time.monotonic()))

    async def mend(self, leaving: asyncio.Event) -> None:
        """Goes on until its producer leaves."""
        while not leaving.is_set():
            await asyncio.sleep(self._random.uniform(0, 0.2))
            if self._dying and time.monotonic() - self._dying[0].since > DEAD_AFTER:
                await self._retry(self._dying.popleft())

    async def _retry(self, dying: _Dying) -> None:
        for name in dying.names:
            if name.endswith("~"):
                mend(name)
        if dying.queue:
            asked = self._tasks.retry_dead_tasks(dying.queue, task_ids=[dying.id])
            await retry(asked, jobs.writer(), *dying.names)
        else:
            await retry(self._tasks.retry_batch(dying.id), jobs.writer(), batch=dying.id)


async def retry(asked: Awaitable[int], writer: Writer, *names: str, batch: str = "", queue: str = "") -> None:
    """Asks, and writes down what was asked and what was told."""
    token = uuid4().hex
    writer.note("retrying", *names, batch=batch, queue=queue, token=token)
    try:
        count = await asked
    except StorageUnavailable:
        return
    writer.note("retried", *names, batch=batch, queue=queue, token=token, counts=[count])
