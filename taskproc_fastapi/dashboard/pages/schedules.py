"""Schedules, by tenant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from taskproc import InvalidSchedule, ScheduleInfo
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
        rows=[_row(each) for each in found],
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


def _row(schedule: ScheduleInfo) -> Row:
    following = next_of(schedule)
    apart = [(after.at - before.at).total_seconds() for before, after in pairwise(following)]
    return Row(schedule=schedule, words=in_words(schedule.cron), following=following, every=min(apart, default=None))


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
