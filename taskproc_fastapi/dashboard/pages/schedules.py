"""Schedules, by tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from taskproc import InvalidSchedule, ScheduleInfo, TaskInfo
from taskproc.cron import Cron
from taskproc.names import tenant_name
from taskproc_fastapi.dashboard.cron_words import in_words
from taskproc_fastapi.dashboard.pages.batches import tenants_to_choose
from taskproc_fastapi.dashboard.view import MOST_ENTRIES_SKIPPED, PAGE, Page, View

__all__ = ["next_of", "show"]

SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """When it will start, here and there."""

    at: datetime
    local: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    schedule: ScheduleInfo
    words: str
    following: list[Instant]
    every: float | None
    """The shortest time between those, in seconds."""
    task: TaskInfo | None
    """That of its last cycle, if it has not ended: it may be dead."""
    skips: bool
    """Until that has ended no other cycle is started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedules:
    tenant: str
    tenants: list[str]
    rows: list[Row]
    skip: int
    take: int
    total: int


async def show(view: View) -> Page:
    tenants = await tenants_to_choose(view)
    default = await _first_with_schedules(view, tenants) if view.tenant is None else view.tenant
    tenant = view.tenant or tenant_name(view.text("tenant", default))
    skip = view.skip(MOST_ENTRIES_SKIPPED)
    found = await view.processor.get_schedules(tenant, skip, PAGE)
    data = Schedules(
        tenant=tenant,
        tenants=tenants,
        rows=[_row(view, each, task) for each, task in zip(found, await _tasks(view, found), strict=True)],
        skip=skip,
        take=PAGE,
        total=await view.processor.get_schedules_count(tenant),
    )
    return Page(template="schedules.html", title="Schedules", data=data)


async def _first_with_schedules(view: View, tenants: list[str]) -> str:
    own = view.processor.settings.tenant
    for tenant in [own, *tenants[:SHOWN]]:
        if await view.processor.get_schedules_count(tenant):
            return tenant
    return own


async def _tasks(view: View, schedules: Sequence[ScheduleInfo]) -> list[TaskInfo | None]:
    """What their last cycles have started; what was started by hand has other ids."""
    return await asyncio.gather(*(_task(view, each) for each in schedules))


async def _task(view: View, schedule: ScheduleInfo) -> TaskInfo | None:
    if schedule.last is None:
        return None
    id_ = f"{schedule.id}:{round(schedule.last.timestamp() * 1000)}"
    return await view.processor.get_task(id_, tenant=schedule.tenant)


def _row(view: View, schedule: ScheduleInfo, task: TaskInfo | None) -> Row:
    following = next_of(schedule)
    apart = [(after.at - before.at).total_seconds() for before, after in pairwise(following)]
    every = min(apart, default=None)
    dead_ones_end = not view.processor.settings.deadletter_unique_schedules
    return Row(
        schedule=schedule,
        words=in_words(schedule.cron),
        following=following,
        every=every,
        task=task,
        skips=schedule.unique and task is not None and not (task.state == "dead" and dead_ones_end),
    )


def next_of(schedule: ScheduleInfo, count: int = SHOWN) -> list[Instant]:
    """Its next instants, the first of which is stored; only that one if the expression cannot be read here."""
    instants = [schedule.next]
    try:
        cron = Cron.parse(schedule.cron, schedule.timezone, seconds=True)
        while len(instants) < count:
            after = int(instants[-1].timestamp() * 1000)
            instants.append(datetime.fromtimestamp(cron.next(after) / 1000, UTC))
    except InvalidSchedule:
        pass
    return [Instant(at=at, local=_local(at, schedule.timezone)) for at in instants]


def _local(at: datetime, zone: str) -> str:
    try:
        return f"{at.astimezone(ZoneInfo(zone)):%a %d %b %H:%M:%S}"
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return f"{at:%a %d %b %H:%M:%S} UTC"
