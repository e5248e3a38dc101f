"""Schedules, as an application says them: at run time, or declared in its code and brought up to date at start."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskproc.cron import Cron
from taskproc.errors import TaskProcessorError
from taskproc.models import ScheduleData
from taskproc.names import schedule_name, tenant_name
from taskproc.options import Options, milliseconds
from taskproc.records import DueSchedule, ScheduleRecord

if TYPE_CHECKING:
    from taskproc.looking import Looking
    from taskproc.sending import Sender
    from taskproc.settings import TaskProcessorSettings
    from taskproc.storage import Storage

__all__ = ["Declared", "Schedules"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Declared:
    """A schedule that the code names."""

    schedule: ScheduleData
    method: Callable[..., object]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Schedules:
    """Adds, changes, fires by hand and removes schedules."""

    def __init__(self, settings: TaskProcessorSettings, storage: Storage, looking: Looking, sender: Sender) -> None:
        self._settings = settings
        self._storage = storage
        self._looking = looking
        self._sender = sender

    async def upsert(
        self, schedule: ScheduleData, method: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Adds the schedule, or changes what it is. With the same cron and time zone its next instant stays."""
        await self._upsert(Declared(schedule, method, args, kwargs), None)

    async def _upsert(self, said: Declared, owner: str | None) -> None:
        schedule, settings = said.schedule, self._settings
        tenant = tenant_name(schedule.tenant if schedule.tenant is not None else settings.tenant)
        cron = Cron.parse(schedule.cron, schedule.timezone, seconds=settings.use_cron_seconds)
        options = Options(
            queue=schedule.queue, tenant=tenant, retries=schedule.retries, invisibility=schedule.invisibility
        )
        task, data = self._sender.call(said.method, said.args, said.kwargs, options)
        record = ScheduleRecord(
            tenant=tenant,
            queue=task.queue,
            scope=schedule.scope,
            cron=schedule.cron,
            timezone=schedule.timezone,
            seconds=int(settings.use_cron_seconds),
            unique=1 if schedule.unique else None,
            expire=None if schedule.expire is None else milliseconds(schedule.expire),
            retries=task.retries,
            invisibility=task.invisibility,
            auto_extend=task.auto_extend,
            call=task.call,
            topic=task.topic,
        )
        following = cron.next(await self._looking.now())
        id_ = schedule_name(schedule.id)
        if await self._storage.upsert_schedule(id_, record, data, following, owner) is None:
            raise TaskProcessorError(f"schedule {id_!r} belongs to another tenant than {tenant!r}: use another id")

    async def trigger(self, id_: str, tenant: str | None) -> bool:
        """Starts a cycle now."""
        busy = self._settings.deadletter_unique_schedules
        return await self._storage.trigger_schedule(id_, tenant, f"t{uuid.uuid4().hex[:12]}", dead_is_busy=busy)

    async def cancel(self, id_: str, tenant: str | None) -> bool:
        """Removes a schedule."""
        return await self._storage.cancel_schedule(id_, tenant)

    async def reconcile(self, owner: str, declared: list[Declared]) -> None:
        """Makes Redis hold what the code declares: new ones added, changed ones changed, those that left it removed."""
        for said in declared:
            await self._upsert(said, owner)
        kept = {said.schedule.id for said in declared}
        for id_ in await self._looking.declared(owner):
            if id_ not in kept and await self._storage.cancel_schedule(id_, None, owner):
                logger.info("schedule %s is no longer declared and was removed", id_)

    async def correct(self) -> None:
        """Moves instants that no longer hold, as when the rules of a time zone have changed."""
        skip = 0
        while page := await self._storage.all_schedules(skip):
            now = await self._looking.now()
            for schedule in page:
                await self._correct(schedule, now)
            skip += len(page)

    async def _correct(self, schedule: DueSchedule, now: int) -> None:
        if schedule.next <= now:
            return  # due: fired as it stands
        cron = cron_of(schedule)
        following = None if cron is None else cron.next(now)
        if following is not None and following != schedule.next:
            await self._storage.fire_schedule(schedule, None, following, dead_is_busy=False)


def cron_of(schedule: DueSchedule) -> Cron | None:
    """The expression of a stored schedule; None, and logged, if this process cannot read it."""
    try:
        return Cron.parse(schedule.cron, schedule.timezone, seconds=schedule.seconds)
    except TaskProcessorError as error:
        logger.error("schedule %s cannot be fired here: %s", schedule.id, error)  # noqa: TRY400 - it says it all
        return None
