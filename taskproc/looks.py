"""What an application can look at, as methods of its processor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from taskproc.explaining import explain
from taskproc.models import BatchInfo, QueueInfo, ScheduleInfo, TaskInfo, WorkerInfo
from taskproc.names import id_text, queue_name, tenant_name, tenant_or_any

if TYPE_CHECKING:
    from taskproc.looking import Looking
    from taskproc.settings import TaskProcessorSettings

__all__ = ["Looks"]


class Looks(ABC):
    """Everything here is read from Redis when it is asked for. With `tenant`, what is another tenant's is not there."""

    settings: TaskProcessorSettings

    @abstractmethod
    def _looking(self) -> Looking: ...

    async def get_task(self, task_id: str, *, tenant: str | None = None) -> TaskInfo | None:
        """A task that has not ended; None otherwise."""
        found = await self._looking().tasks([id_text(task_id)])
        return found[0] if found and tenant in (None, found[0].tenant) else None

    async def explain(self, task_id: str, *, tenant: str | None = None) -> str:
        """Why a task does not run: paused, delayed, behind others, not served, running, dead with what error."""
        return await explain(self._looking(), id_text(task_id), tenant_or_any(tenant))

    async def get_batch(self, batch_id: str, *, tenant: str | None = None) -> BatchInfo | None:
        """A batch as it is now; None once its retention is over."""
        found = await self._looking().batch(id_text(batch_id))
        return found if found is not None and tenant in (None, found.tenant) else None

    async def get_batches(self, tenant: str, skip: int = 0, take: int = 50) -> list[BatchInfo]:
        """A tenant's batches, the newest first; at most 1,000 at a time."""
        return await self._looking().batches(tenant_name(tenant), *_page(skip, take))

    async def get_batches_count(self, tenant: str) -> int:
        return await self._looking().count_batches(tenant_name(tenant))

    async def get_queues(self) -> list[QueueInfo]:
        """All queues that hold something, and those served here."""
        names = {name async for page in self._looking().queue_names() for name in page}
        return await self._looking().queues(sorted(names | set(self.settings.queues)))

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

    async def is_paused(self) -> bool:
        return await self._looking().is_paused()


def _page(skip: int, take: int) -> tuple[int, int]:
    if skip < 0 or take < 0:
        raise ValueError(f"skip={skip}, take={take}: both count from 0")
    return skip, min(take, 1000)
