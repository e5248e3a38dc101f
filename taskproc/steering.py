"""How an application steers what is there, as methods of its processor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from taskproc.controls import EVERYTHING
from taskproc.dead_letters import Meant, for_dead_tasks
from taskproc.details import dead_of_batch
from taskproc.filters import filter_or_none
from taskproc.looks import Looks
from taskproc.names import id_text, queue_name, schedule_name, tenant_name, tenant_or_any
from taskproc.options import LONGEST, SHORTEST, Options, milliseconds

if TYPE_CHECKING:
    from taskproc.sending import Sender
    from taskproc.storage import Storage

__all__ = ["Steering"]

LONGEST_NAME, LONGEST_REASON = 300, 1_000  # characters


class Steering(Looks):
    """With `tenant`, what is another tenant's is not there."""

    _sender: Sender

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
        filter: str | None = None,  # noqa: A002
    ) -> int:
        """Lets dead tasks run again: all of the queue, those named, those that match `filter`, or the `count` of them
        that died first (of those named, that come first); how many. They have as many retries as before, or `retries`.
        Those of canceled batches stay dead, and are not counted. What dies after the call began is not meant, and ages
        in the filter count back from then.
        """
        checked, storage = Options(retries=retries).retries, self._storage()
        meant = _meant(queue, task_ids, tenant, filter)
        return await for_dead_tasks(
            self._looking(), meant, count, lambda ids: storage.retry_dead(queue, ids, checked, meant.tenant)
        )

    async def retry_dead_task(
        self, task_id: str, arguments: Mapping[str, Any], *, retries: int | None = None, tenant: str | None = None
    ) -> bool:
        """Lets a dead task run again with other arguments: plain JSON values by parameter name, as `get_arguments`
        tells them. False: it is not dead, or its batch was canceled. InvalidArguments or PayloadTooLarge when they do
        not fit, UnknownTask when this process does not know its method.
        """
        checked, storage, looking = Options(retries=retries).retries, self._storage(), self._looking()
        task = await self.get_task(task_id, tenant=tenant)
        attempt = None if task is None or task.state != "dead" else await looking.attempt_of(task)
        if task is None or attempt is None:
            return False
        data, meant = self._sender.payload(attempt, arguments), _meant(task.queue, [task_id], task.tenant, None)
        retried = await for_dead_tasks(
            looking, meant, 1, lambda ids: storage.retry_dead(task.queue, ids, checked, task.tenant, data=data)
        )
        return bool(retried)

    async def discard_dead_tasks(
        self,
        queue: str,
        count: int | None = None,
        *,
        task_ids: Sequence[str] | None = None,
        tenant: str | None = None,
        filter: str | None = None,  # noqa: A002
    ) -> int:
        """Removes dead tasks, those that `retry_dead_tasks` would mean; how many."""
        storage, meant = self._storage(), _meant(queue, task_ids, tenant, filter)
        return await for_dead_tasks(
            self._looking(), meant, count, lambda ids: storage.discard_dead(queue, ids, meant.tenant)
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


def _meant(queue: str, task_ids: Sequence[str] | None, tenant: str | None, filter_: str | None) -> Meant:
    """Which dead tasks; InvalidName or InvalidFilter for what names none."""
    named = task_ids if task_ids is None or isinstance(task_ids, str) else [id_text(one) for one in task_ids]
    return Meant(queue=queue_name(queue), tenant=tenant_or_any(tenant), task_ids=named, filter=filter_or_none(filter_))
