"""How an application steers what is there, as methods of its processor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from taskproc.controls import EVERYTHING
from taskproc.dead_letters import for_dead_tasks
from taskproc.details import dead_of_batch
from taskproc.looks import Looks
from taskproc.names import id_text, queue_name, schedule_name, tenant_name, tenant_or_any
from taskproc.options import LONGEST, SHORTEST, Options, milliseconds

if TYPE_CHECKING:
    from taskproc.storage import Storage

__all__ = ["Steering"]

LONGEST_NAME, LONGEST_REASON = 300, 1_000  # characters


class Steering(Looks):
    """With `tenant`, what is another tenant's is not there."""

    @abstractmethod
    def _storage(self) -> Storage: ...

    async def pause(
        self,
        *,
        queue: str | None = None,
        tenant: str | None = None,
        reason: str = "",
        by: str = "",
        until: datetime | timedelta | None = None,
    ) -> None:
        """From now on no task is handed out, on any process, or none of a queue or of a tenant; running ones go on. It
        ends by `resume()`, or at `until` by itself. What is paused already gets this reason and end.
        """
        what = _paused(queue, tenant)
        at, length = _until(until)
        said = {"reason": _short("reason", reason, LONGEST_REASON), "by": _short("by", by, LONGEST_NAME)}
        await self._storage().pause(what, paused=True, until=at, length=length, **said)

    async def resume(self, *, queue: str | None = None, tenant: str | None = None) -> None:
        """Ends the pause of a queue, of a tenant, or that of everything: each ends by itself only."""
        await self._storage().pause(_paused(queue, tenant), paused=False)

    async def pause_schedule(self, id_: str, tenant: str | None = None) -> bool:
        """The schedule starts no more cycles, but those that are triggered; what would have been in between is skipped.
        False: unknown, or another tenant's.
        """
        return await self._storage().pause_schedule(schedule_name(id_), tenant_or_any(tenant), paused=True)

    async def resume_schedule(self, id_: str, tenant: str | None = None) -> bool:
        """It goes on with its next instant. False: unknown, or another tenant's."""
        return await self._storage().pause_schedule(schedule_name(id_), tenant_or_any(tenant), paused=False)

    async def drain_worker(self, worker_id: str) -> bool:
        """The worker fetches no more, what it runs goes on. False: it is unknown."""
        return await self._storage().drain(id_text(worker_id), drain=True)

    async def resume_worker(self, worker_id: str) -> bool:
        """It fetches again. False: it is unknown."""
        return await self._storage().drain(id_text(worker_id), drain=False)

    async def record_act(
        self, act: str, target: str, *, by: str = "", tenant: str | None = None, detail: str = ""
    ) -> None:
        """Notes what somebody did by hand, for `get_audit()`; nothing else is done. Texts are cut to 300 characters,
        `detail` to 1,000.
        """
        owner = tenant_or_any(tenant)
        act, target, by = act[:LONGEST_NAME], target[:LONGEST_NAME], by[:LONGEST_NAME]
        await self._storage().record_act(act, target, by, owner, detail[:LONGEST_REASON])

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

    async def retry_batch(self, batch_id: str, *, tenant: str | None = None) -> int:
        """Lets the dead tasks of a batch run again; how many. Those of a canceled batch stay dead."""
        owner, retried = tenant_or_any(tenant), 0
        for queue, ids in (await dead_of_batch(self._looking(), id_text(batch_id))).items():
            retried += await self.retry_dead_tasks(queue, task_ids=ids, tenant=owner)
        return retried

    async def cancel_batch(self, batch_id: str, *, tenant: str | None = None) -> bool:
        """True: the batch is canceling or canceled now. False: unknown, ended otherwise, or another tenant's."""
        storage = self._storage()
        if not await storage.cancel_batch(id_text(batch_id), tenant_or_any(tenant)):
            return False
        while await storage.cancel_queued(batch_id):
            pass
        return True

    async def cancel_task(self, task_id: str, *, tenant: str | None = None) -> bool:
        """True: the task is, or will be, canceled. False: unknown, ended, dead (discard it), or another tenant's."""
        return await self._storage().cancel_task(id_text(task_id), tenant_or_any(tenant))


def _paused(queue: str | None, tenant: str | None) -> str:
    """The name under which a pause is kept."""
    if queue is not None and tenant is not None:
        raise ValueError(f"queue={queue!r}, tenant={tenant!r}: name one of them, there is no pause of both together")
    if queue is not None:
        return f"queue:{queue_name(queue)}"
    return EVERYTHING if tenant is None else f"tenant:{tenant_name(tenant)}"


def _until(until: datetime | timedelta | None) -> tuple[int | None, int | None]:
    """As an instant, or as a length of time which Redis counts, in ms; ValueError for what is no time to come."""
    if until is None:
        return None, None
    if isinstance(until, timedelta):
        if not SHORTEST <= until <= LONGEST:
            raise ValueError(f"until={until!r} must be from a millisecond to a hundred years")
        return None, milliseconds(until)
    if not isinstance(until, datetime) or until.tzinfo is None:
        raise ValueError(f"until={until!r} must be an aware datetime or a timedelta")
    if until <= datetime.now(UTC):
        raise ValueError(f"until={until!r} is over already")
    return int(until.timestamp() * 1000), None


def _short(name: str, text: str, longest: int) -> str:
    if not isinstance(text, str) or len(text) > longest:
        raise ValueError(f"{name}={repr(text)[:100]} must be a str of at most {longest:,} characters")
    return text


def _checked(task_ids: Sequence[str] | None) -> Sequence[str] | None:
    if task_ids is None or isinstance(task_ids, str):
        return task_ids  # which is refused where it is used
    return [id_text(one) for one in task_ids]
