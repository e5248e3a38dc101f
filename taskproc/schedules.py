"""Schedules, as an application says them: at run time, or declared in its code and brought up to date at start."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from taskproc.cron import Cron
from taskproc.errors import InvalidSchedule, TaskProcessorError
from taskproc.failure import message_of, one_line
from taskproc.models import ScheduleData
from taskproc.names import schedule_name, scope_text, tenant_name, tenant_or_any
from taskproc.options import LONGEST, SHORTEST, Options, milliseconds
from taskproc.records import DueSchedule, ScheduleRecord

if TYPE_CHECKING:
    from taskproc.looking import Looking
    from taskproc.sending import Sender
    from taskproc.settings import TaskProcessorSettings
    from taskproc.storage import Storage

__all__ = ["Declared", "Schedules", "cron_of_valid"]

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

    def __init__(
        self, settings: TaskProcessorSettings, storage: Storage, looking: Looking, sender: Callable[[], Sender]
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._looking = looking
        self._sender = sender
        self._unreadable: set[str] = set()

    async def upsert(
        self, schedule: ScheduleData, method: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Adds the schedule, or changes what it is. With the same cron and time zone its next instant stays."""
        await self._upsert(Declared(schedule, method, args, kwargs), None)

    async def _upsert(self, said: Declared, owner: str | None) -> None:
        schedule, settings = said.schedule, self._settings
        cron = cron_of_valid(schedule, settings)
        tenant = tenant_name(schedule.tenant if schedule.tenant is not None else settings.tenant)
        options = Options(
            queue=schedule.queue, tenant=tenant, retries=schedule.retries, invisibility=schedule.invisibility
        )
        task, data = self._sender().call(said.method, said.args, said.kwargs, options, origin=f"{schedule.id}:")
        record = ScheduleRecord(
            tenant=tenant,
            queue=task.queue,
            scope=scope_text(schedule.scope),
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
        if await self._storage.upsert_schedule(schedule.id, record, data, following, owner) is None:
            raise TaskProcessorError(
                f"schedule {schedule.id!r} belongs to another tenant than {tenant!r}: use another id"
            )

    async def trigger(self, id_: str, tenant: str | None) -> bool:
        """Starts a cycle now."""
        busy, tenant = self._settings.deadletter_unique_schedules, tenant_or_any(tenant)
        trigger = f"t{uuid.uuid4().hex[:12]}"
        return await self._storage.trigger_schedule(schedule_name(id_), tenant, trigger, dead_is_busy=busy)

    async def cancel(self, id_: str, tenant: str | None) -> bool:
        """Removes a schedule."""
        return await self._storage.cancel_schedule(schedule_name(id_), tenant_or_any(tenant))

    async def reconcile(self, declared: list[Declared]) -> None:
        """Makes Redis hold what the code declares: new ones added, changed ones changed, those that left it removed.
        Who declares none removes only those of an `app_name` that was set: it may be a worker beside the app.
        """
        owner = self._settings.app_name
        for said in declared:
            await self._upsert(said, owner)
        kept = {said.schedule.id for said in declared}
        gone = [id_ for id_ in await self._looking.declared(owner) if id_ not in kept]
        if gone and not declared and "app_name" not in self._settings.model_fields_set:
            stay = "this process declares no schedules; %d that others declared stay: set app_name here to remove them"
            logger.info(stay, len(gone))
            return
        for id_ in gone:
            if await self._storage.cancel_schedule(id_, None, owner):
                logger.info("schedule %s is no longer declared and was removed", one_line(id_))

    async def correct(self) -> None:
        """Moves instants that no longer hold, as when the rules of a time zone have changed."""
        skip = 0
        while page := await self._storage.all_schedules(skip):
            now = await self._looking.now()
            for schedule in page:
                await self._correct(schedule, now)
                await asyncio.sleep(0)  # reading expressions takes time, and there may be thousands
            skip += len(page)

    async def _correct(self, schedule: DueSchedule, now: int) -> None:
        if schedule.next <= now:
            return  # due: fired as it stands
        cron = self.cron_of(schedule)
        following = None if cron is None else cron.next(now)
        if following is not None and following != schedule.next:
            await self._storage.fire_schedule(schedule, None, following, dead_is_busy=False)

    def cron_of(self, schedule: DueSchedule) -> Cron | None:
        """The expression of a stored schedule; None, and logged once, if this process cannot read it."""
        try:
            return _parsed(schedule.cron, schedule.timezone, seconds=schedule.seconds)
        except TaskProcessorError as error:
            if schedule.id not in self._unreadable:
                id_, said = one_line(schedule.id), one_line(message_of(error))
                logger.error("schedule %s cannot be fired here: %s", id_, said)  # noqa: TRY400 - it says it all
            self._unreadable.add(schedule.id)
            return None


def cron_of_valid(schedule: ScheduleData, settings: TaskProcessorSettings) -> Cron:
    """The expression of a schedule that is said; InvalidName or InvalidSchedule when something of it cannot be."""
    schedule_name(schedule.id)
    expire = schedule.expire
    if expire is not None and not (isinstance(expire, timedelta) and SHORTEST <= expire <= LONGEST):
        raise InvalidSchedule(
            f"schedule {schedule.id!r}: expire={expire!r} must be a timedelta, from a millisecond to a hundred years"
        )
    return Cron.parse(schedule.cron, schedule.timezone, seconds=settings.use_cron_seconds)


@lru_cache(maxsize=10_000)
def _parsed(cron: str, timezone: str, *, seconds: bool) -> Cron:
    return Cron.parse(cron, timezone, seconds=seconds)
