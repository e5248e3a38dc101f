"""What an application can look at, as methods of its processor."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from taskproc.context import from_ms
from taskproc.dead_letters import Meant, count_dead_tasks
from taskproc.details import (
    arguments,
    attempts,
    dead_groups,
    queue_of,
    statistics,
    statistics_of_queues,
    tasks_of_worker,
)
from taskproc.errors import WorkerSilent
from taskproc.explaining import explain
from taskproc.filters import filter_or_none
from taskproc.health import ProcessorStatus, status_of
from taskproc.keyspace import Keyspace, look_at_keys
from taskproc.models import (
    AttemptInfo,
    AuditEntry,
    BatchInfo,
    DeadGroup,
    PauseInfo,
    QueueInfo,
    ScheduleInfo,
    TaskInfo,
    WorkerInfo,
    WorkerStacks,
)
from taskproc.names import id_text, queue_name, tenant_name, tenant_or_any
from taskproc.statistics import StatisticsPoint

if TYPE_CHECKING:
    from taskproc.executor import Executor
    from taskproc.looking import Looking, Wanted
    from taskproc.sealing import Seal
    from taskproc.settings import TaskProcessorSettings
    from taskproc.storage import Storage
    from taskproc.worker import Worker

__all__ = ["Looks"]

MOST_QUEUES = 10  # that one script looks at: each may have a thousand tenants
ANSWERED_WITHIN = timedelta(seconds=10)
GLANCE = 0.1  # seconds between two looks for an answer


class Looks(ABC):
    """Everything here is read from Redis when it is asked for. With `tenant`, what is another tenant's is not there."""

    settings: TaskProcessorSettings
    executor: Executor
    _seal: Seal | None

    executes = False
    """Whether this process is to run tasks, for `status()`: who keeps `run()` going says so."""
    _worker: Worker | None

    @property
    @abstractmethod
    def connected(self) -> bool: ...

    @abstractmethod
    def _looking(self) -> Looking: ...

    @abstractmethod
    def _storage(self) -> Storage: ...

    async def status(self, *, ask_redis: bool = True) -> ProcessorStatus:
        """How this process is, within two seconds whatever Redis does, and without an error. With
        `ask_redis=False` it is only what the process knows itself.
        """
        looking, executes = self._looking() if self.connected else None, self.executes or self._worker is not None
        return await status_of(self.settings, self._worker, looking, executes=executes, ask_redis=ask_redis)

    async def get_task(self, task_id: str, *, tenant: str | None = None) -> TaskInfo | None:
        """A task that has not ended; None otherwise."""
        found = await self._looking().tasks([id_text(task_id)])
        return found[0] if found and tenant in (None, found[0].tenant) else None

    async def explain(self, task_id: str, *, tenant: str | None = None) -> str:
        """Why a task does not run: paused, delayed, behind others, not served, running, dead with what error."""
        return await explain(self._looking(), id_text(task_id), tenant_or_any(tenant))

    async def get_attempts(self, task_id: str, *, tenant: str | None = None) -> list[AttemptInfo]:
        """The last attempts to run a task that has not ended, and the one under way; none of a task that has."""
        task = await self.get_task(task_id, tenant=tenant)
        return [] if task is None else await attempts(self._looking(), task)

    async def get_arguments(self, task_id: str, *, tenant: str | None = None) -> dict[str, Any] | None:
        """The arguments of a task by parameter name, as plain JSON values; by position, from 1, where this process does
        not know the method. None if there is no such task, it is no method call, or its payload cannot be opened here.
        """
        task = await self.get_task(task_id, tenant=tenant)
        return None if task is None else await arguments(self._looking(), task, self.executor, self._seal)

    async def get_batch(self, batch_id: str, *, tenant: str | None = None) -> BatchInfo | None:
        """A batch as it is now; None once its retention is over."""
        found = await self._looking().batch(id_text(batch_id))
        return found if found is not None and tenant in (None, found.tenant) else None

    async def get_batches_by_id(self, batch_ids: Sequence[str], *, tenant: str | None = None) -> list[BatchInfo]:
        """Those of these batches that are known, at most 1,000, in one request."""
        found = await self._looking().batches_by_id([id_text(one) for one in batch_ids[:1000]])
        return [batch for batch in found if tenant in (None, batch.tenant)]

    async def get_batches(self, tenant: str, skip: int = 0, take: int = 50) -> list[BatchInfo]:
        """A tenant's batches, the newest first; at most 1,000 at a time."""
        return await self._looking().batches(tenant_name(tenant), *_page(skip, take))

    async def get_batches_count(self, tenant: str) -> int:
        return await self._looking().count_batches(tenant_name(tenant))

    async def get_queues(self) -> list[QueueInfo]:
        """All queues that hold something, or are paused, and those served here."""
        looking = self._looking()
        found = {name async for page in looking.queue_names() for name in page}
        paused = {pause.queue for pause in await looking.pauses() if pause.queue is not None}
        names = sorted(found | paused | set(self.settings.queues))
        pages = [names[first : first + MOST_QUEUES] for first in range(0, len(names), MOST_QUEUES)]
        return [queue for page in pages for queue in await looking.queues(page)]

    async def get_queue(self, name: str, *, tenant: str | None = None) -> QueueInfo:
        """A queue, or what a tenant has in it (which is counted task by task); zeros if it is unknown."""
        name = queue_name(name)
        if tenant is not None:
            return await queue_of(self._looking(), name, tenant_name(tenant))
        return (await self._looking().queues([name]))[0]

    async def get_tasks_in_queue(
        self,
        queue: str,
        skip: int = 0,
        take: int = 50,
        *,
        tenant: str | None = None,
        filter: str | None = None,  # noqa: A002
    ) -> list[TaskInfo]:
        """Ready tasks, in serving order. With a `filter` `skip` and `take` count those that match it, here and below;
        InvalidFilter when it means nothing.
        """
        queue, tenant, wanted = queue_name(queue), tenant_or_any(tenant), await self._wanted(filter)
        return await self._looking().ready(queue, *_page(skip, take), tenant, wanted)

    async def get_running_tasks(
        self,
        queue: str,
        skip: int = 0,
        take: int = 50,
        *,
        tenant: str | None = None,
        filter: str | None = None,  # noqa: A002
    ) -> list[TaskInfo]:
        """Tasks that run, the one whose lease ends first, first."""
        queue, tenant, wanted = queue_name(queue), tenant_or_any(tenant), await self._wanted(filter)
        return await self._looking().running(queue, *_page(skip, take), tenant, wanted)

    async def get_delayed_tasks(
        self,
        queue: str,
        skip: int = 0,
        take: int = 50,
        *,
        tenant: str | None = None,
        filter: str | None = None,  # noqa: A002
    ) -> list[TaskInfo]:
        """Delayed tasks, the one due first, first."""
        queue, tenant, wanted = queue_name(queue), tenant_or_any(tenant), await self._wanted(filter)
        return await self._looking().delayed(queue, *_page(skip, take), tenant, wanted)

    async def get_dead_tasks(
        self,
        queue: str,
        skip: int = 0,
        take: int = 50,
        *,
        tenant: str | None = None,
        batch_id: str | None = None,
        filter: str | None = None,  # noqa: A002
    ) -> list[TaskInfo]:
        """Dead tasks with their last error, the one that died last, first. With a `filter` those that match it are
        looked for, 500 dead ones a request, until `skip` and `take` of them are found.
        """
        batch = None if batch_id is None else id_text(batch_id)
        queue, tenant, wanted = queue_name(queue), tenant_or_any(tenant), await self._wanted(filter, batch)
        return await self._looking().dead(queue, *_page(skip, take), tenant, wanted)

    async def get_dead_tasks_count(
        self,
        queue: str,
        *,
        tenant: str | None = None,
        filter: str | None = None,  # noqa: A002
    ) -> int:
        """How many tasks of the queue are dead; those of a tenant, or that match a `filter`, are counted one by one."""
        if tenant is None and filter is None:
            return (await self.get_queue(queue)).deadletter
        meant = Meant(queue=queue_name(queue), tenant=tenant_or_any(tenant), filter=filter_or_none(filter))
        return await count_dead_tasks(self._looking(), meant)

    async def get_dead_groups(
        self,
        queue: str,
        *,
        tenant: str | None = None,
        filter: str | None = None,  # noqa: A002
        most: int = 1000,
    ) -> list[DeadGroup]:
        """Dead tasks that failed alike, the largest group first: of those `most` of the queue that died last, those of
        the tenant that match the `filter`.
        """
        queue, tenant, wanted = queue_name(queue), tenant_or_any(tenant), await self._wanted(filter)
        return await dead_groups(self._looking(), queue, tenant, most, wanted)

    async def get_tasks_of_worker(self, worker_id: str) -> list[TaskInfo]:
        """What a worker runs, the task that it has run longest first."""
        return await tasks_of_worker(self._looking(), id_text(worker_id))

    async def get_statistics(self, span: timedelta, *, queue: str | None = None) -> list[StatisticsPoint]:
        """What the last `span` saw, of one queue or of all, the oldest first: by minutes up to three hours, by quarters
        of an hour up to three days. The last point is not over yet; workers report every two seconds.
        """
        return await statistics(self._looking(), span, None if queue is None else queue_name(queue))

    async def get_statistics_of_queues(self, span: timedelta) -> dict[str, list[StatisticsPoint]]:
        """The same by queue, of those in which something ended or waited; read once for all."""
        return await statistics_of_queues(self._looking(), span)

    async def get_workers(self) -> list[WorkerInfo]:
        """Workers that show signs of life, or did until a moment ago."""
        return await self._looking().workers()

    async def get_stacks(
        self,
        worker_id: str,
        *,
        timeout: timedelta = ANSWERED_WITHIN,  # noqa: ASYNC109 - the worker's
        anew: bool = True,
    ) -> WorkerStacks | None:
        """What a worker is doing right now, down to the line, in each task that it runs; None if it is unknown. A
        thread of the worker looks every second whether it is asked, also while a task blocks its event loop;
        WorkerSilent if there is no answer within `timeout`. It is kept for a minute: with `anew=False` this is what
        was answered last, None if nothing was.
        """
        looking, worker = self._looking(), id_text(worker_id)
        asked = await self._storage().ask_stacks(worker) if anew else 0
        if asked is None:
            return None
        end = time.monotonic() + timeout.total_seconds()
        while (found := await looking.stacks(worker, asked)) is None and anew:
            if time.monotonic() > end:
                raise _silent(worker, timeout)
            await asyncio.sleep(GLANCE)
        return found

    async def get_tenants(self) -> list[str]:
        """Tenants that enqueued something lately, or have batches; the one seen last, first; at most 1,000."""
        return await self._looking().tenants()

    async def get_schedules(self, tenant: str, skip: int = 0, take: int = 50) -> list[ScheduleInfo]:
        """A tenant's schedules, by id; at most 1,000 at a time."""
        return await self._looking().schedules(tenant_name(tenant), *_page(skip, take))

    async def get_schedules_count(self, tenant: str) -> int:
        return await self._looking().count_schedules(tenant_name(tenant))

    async def get_continuations(self, batch_id: str, *, tenant: str | None = None) -> list[TaskInfo]:
        """The tasks that wait for the end of a batch, the first 100."""
        if await self.get_batch(batch_id, tenant=tenant) is None:
            return []
        return await self._looking().continuations(batch_id)

    async def get_keyspace(self) -> Keyspace:
        """How much memory what is stored takes, by kind of key: estimated, however much there is, in a moment."""
        return await look_at_keys(self._storage())

    async def is_paused(self) -> bool:
        """Whether everything is; see `get_pauses()` for those of queues and tenants."""
        return await self._looking().is_paused()

    async def get_pauses(self) -> list[PauseInfo]:
        """What is paused, by whom, why and until when; at most 1,000, what ends first, first."""
        return await self._looking().pauses()

    async def get_audit(self, skip: int = 0, take: int = 50) -> list[AuditEntry]:
        """What `record_act` was told, the last first; the last 1,000 are kept."""
        return await self._looking().acts(*_page(skip, take))

    async def _wanted(self, filter_: str | None, batch: str | None = None) -> Wanted | None:
        """What a filter, and a batch, leave of a list; None: all."""
        found = filter_or_none(filter_)
        if found is None:
            return None if batch is None else lambda task: task.batch_id == batch
        now = from_ms(await self._looking().now())
        return lambda task: batch in (None, task.batch_id) and found.matches(task, now)


def _silent(worker: str, timeout: timedelta) -> WorkerSilent:
    return WorkerSilent(
        f"worker {worker} did not say within {timeout.total_seconds():g} s what it is doing: it does not reach Redis, "
        "its process stands still, or code in C holds up all its threads"
    )


def _page(skip: int, take: int) -> tuple[int, int]:
    if skip < 0 or take < 0:
        raise ValueError(f"skip={skip}, take={take}: both count from 0")
    return skip, min(take, 1000)
