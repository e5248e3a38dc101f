"""How an application steers what is there, as methods of its processor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from taskproc.dead_letters import for_dead_tasks
from taskproc.looks import Looks
from taskproc.names import id_text, queue_name, tenant_or_any
from taskproc.options import Options

if TYPE_CHECKING:
    from taskproc.storage import Storage

__all__ = ["Steering"]


class Steering(Looks):
    """With `tenant`, what is another tenant's is not there."""

    @abstractmethod
    def _storage(self) -> Storage: ...

    async def pause(self) -> None:
        """From now on no task is handed out, on any process; running ones go on."""
        await self._storage().pause(paused=True)

    async def resume(self) -> None:
        """Goes on."""
        await self._storage().pause(paused=False)

    async def retry_dead_tasks(
        self,
        queue: str,
        retries: int | None = None,
        count: int | None = None,
        *,
        task_ids: Sequence[str] | None = None,
        tenant: str | None = None,
    ) -> int:
        """Lets dead tasks run again: all of the queue, the `count` that died first, or those named; how many. They have
        as many retries as before, or `retries`. Those of canceled batches stay dead.
        """
        checked, owner = Options(retries=retries).retries, tenant_or_any(tenant)
        storage = self._storage()
        return await for_dead_tasks(
            self._looking(),
            queue_name(queue),
            count,
            _checked(task_ids),
            lambda ids: storage.retry_dead(queue, ids, checked, owner),
        )

    async def discard_dead_tasks(
        self, queue: str, count: int | None = None, *, task_ids: Sequence[str] | None = None, tenant: str | None = None
    ) -> int:
        """Removes dead tasks: all of the queue, the `count` that died first, or those named; how many."""
        storage, owner = self._storage(), tenant_or_any(tenant)
        return await for_dead_tasks(
            self._looking(),
            queue_name(queue),
            count,
            _checked(task_ids),
            lambda ids: storage.discard_dead(queue, ids, owner),
        )

    async def cancel_task(self, task_id: str, *, tenant: str | None = None) -> bool:
        """True: the task is, or will be, canceled. False: unknown, ended, dead (discard it), or another tenant's."""
        return await self._storage().cancel_task(id_text(task_id), tenant_or_any(tenant))


def _checked(task_ids: Sequence[str] | None) -> Sequence[str] | None:
    if task_ids is None or isinstance(task_ids, str):
        return task_ids  # which is refused where it is used
    return [id_text(one) for one in task_ids]
