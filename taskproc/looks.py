"""What an application can look at, as methods of its processor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from taskproc.details import arguments, attempts, dead_groups, statistics, tasks_of_worker
from taskproc.explaining import explain
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
)
from taskproc.names import id_text, queue_name, tenant_name, tenant_or_any
from taskproc.statistics import StatisticsPoint

if TYPE_CHECKING:
    from taskproc.executor import Executor
    from taskproc.looking import Looking
    from taskproc.sealing import Seal
    from taskproc.settings import TaskProcessorSettings
    from taskproc.storage import Storage
    from taskproc.worker import Worker

__all__ = ["Looks"]

MOST_QUEUES = 200  # that one script looks at


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
            return await self._looking().queue_of(name, tenant_name(tenant))
        return (await self._looking().queues([name]))[0]

    async def get_tasks_in_queue(
        self, queue: str, skip: int = 0, take: int = 50, *, tenant: str | None = None
    ) -> list[TaskInfo]:
        """Ready tasks, in serving order."""
        return await self._looking().ready(queue_name(queue), *_page(skip, take), tenant_or_any(tenant))

    async def get_running_tasks(
        self, queue: str, skip: int = 0, take: int = 50, *, tenant: str | None = None
    ) -> list[TaskInfo]:
        """Tasks that run, the one whose lease ends first, first."""
        return await self._looking().running(queue_name(queue), *_page(skip, take), tenant_or_any(tenant))

    async def get_delayed_tasks(
        self, queue: str, skip: int = 0, take: int = 50, *, tenant: str | None = None
    ) -> list[TaskInfo]:
        """Delayed tasks, the one due first, first."""
        return await self._looking().delayed(queue_name(queue), *_page(skip, take), tenant_or_any(tenant))

    async def get_dead_tasks(
        self, queue: str, skip: int = 0, take: int = 50, *, tenant: str | None = None, batch_id: str | None = None
    ) -> list[TaskInfo]:
        """Dead tasks with their last error, the one that died last, first."""
        batch = None if batch_id is None else id_text(batch_id)
        return await self._looking().dead(queue_name(queue), *_page(skip, take), tenant_or_any(tenant), batch)

    async def get_dead_groups(self, queue: str, *, tenant: str | None = None, most: int = 1000) -> list[DeadGroup]:
        """Dead tasks that failed alike, of those `most` of the queue that died last; the largest group first."""
        return await dead_groups(self._looking(), queue_name(queue), tenant_or_any(tenant), most)

    async def get_tasks_of_worker(self, worker_id: str) -> list[TaskInfo]:
        """What a worker runs, the task that it has run longest first."""
        return await tasks_of_worker(self._looking(), id_text(worker_id))

    async def get_statistics(self, span: timedelta, *, queue: str | None = None) -> list[StatisticsPoint]:
        """What the last `span` saw, of one queue or of all, the oldest first: by minutes up to three hours, by quarters
        of an hour up to three days. The last point is not over yet; workers report every two seconds.
        """
        return await statistics(self._looking(), span, None if queue is None else queue_name(queue))

    async def get_workers(self) -> list[WorkerInfo]:
        """Workers that show signs of life, or did until a moment ago."""
        return await self._looking().workers()

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


def _page(skip: int, take: int) -> tuple[int, int]:
    if skip < 0 or take < 0:
        raise ValueError(f"skip={skip}, take={take}: both count from 0")
    return skip, min(take, 1000)
