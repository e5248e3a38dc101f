"""What an operator does in a soak: pauses everything, a queue or a tenant, and retries all that is dead in a queue."""

import asyncio
from datetime import timedelta

from taskproc import TaskProcessor
from tests.soak import jobs
from tests.soak.books import PAUSES
from tests.soak.history import Writer, now
from tests.soak.mender import retry
from tests.soak.plan import Step

ENDS_WITHIN = 30.0  # seconds after its time, in which a server that is away is back


class Operator:
    """Does what a plan says, and writes it down."""

    def __init__(self, tasks: TaskProcessor, writer: Writer) -> None:
        self._tasks = tasks
        self._writer = writer
        self.acts = {"retry of a queue": self._retry} | dict.fromkeys(PAUSES, self._pause)

    async def _retry(self, step: Step) -> None:
        queue = _queue(step)
        await retry(self._tasks.retry_dead_tasks(queue), self._writer, queue=queue)

    async def _pause(self, step: Step) -> None:
        """Nothing of it may start from the moment it is paused until it is asked to go on, or the pause is to end."""
        queue = _queue(step) if step.kind == "pause of a queue" else None
        tenant = jobs.TENANTS[step.choice % len(jobs.TENANTS)] if step.kind == "pause of a tenant" else None
        lasts = timedelta(seconds=step.lasts) if step.choice // 8 % 2 else None
        began = now()
        await self._tasks.pause(queue=queue, tenant=tenant, until=lasts)
        since = now()
        if lasts is None:
            await asyncio.sleep(step.lasts)
        self._note("paused", since, now() if lasts is None else began + step.lasts, queue, tenant)
        if lasts is None:
            await self._tasks.resume(queue=queue, tenant=tenant)
        else:
            await self._end(queue, tenant, step.lasts)
        self._note(step.kind, began, now(), queue, tenant)

    async def _end(self, queue: str | None, tenant: str | None, seconds: float) -> None:
        """Returns when it has ended by itself."""
        async with asyncio.timeout(seconds + ENDS_WITHIN):
            while any((one.queue, one.tenant) == (queue, tenant) for one in await self._tasks.get_pauses()):
                await asyncio.sleep(0.1)

    def _note(self, how: str, since: float, until: float, queue: str | None, tenant: str | None) -> None:
        where = {"queue": queue or "", "tenant": tenant or ""}
        self._writer.note("fault", at=since, until=until, pid=0, how=how, **where)


def _queue(step: Step) -> str:
    return jobs.QUEUES[step.choice % len(jobs.QUEUES)]
