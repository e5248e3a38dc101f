"""`taskproc schedules`: what runs when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import RenderableType

from taskproc.cli.commands import Desk, Skip, Take, Tenant, Yes, command, group
from taskproc.cli.output import Column, fields, heading, tell
from taskproc.cli.rows import state_of
from taskproc.cli.words import ago, cell, instant, length
from taskproc.cron import Cron
from taskproc.models import ScheduleInfo

__all__ = ["schedules"]

schedules = group("Schedules, and what they start.")

Id = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Its id")]
PAGE = 500

SCHEDULES: list[Column[ScheduleInfo]] = [
    Column(head="schedule", value=lambda each: cell(each.id), flexible=True),
    Column(head="cron", value=lambda each: cell(each.cron), flexible=True),
    Column(head="zone", value=lambda each: cell(each.timezone), extra=True),
    Column(head="next", value=lambda each: state_of("paused") if each.paused else ago(each.next)),
    Column(head="last", value=lambda each: ago(each.last), number=True),
    Column(head="drift", value=lambda each: length(each.drift), number=True, extra=True),
    Column(head="outcome", value=lambda each: state_of(each.outcome)),
    Column(head="scope", value=lambda each: cell(each.scope), flexible=True),
]
UPCOMING: list[Column[datetime]] = [
    Column(head="UTC", value=instant),
    Column(head="there", value=lambda at: f"{at:%Y-%m-%d %H:%M:%S}"),
    Column(head="", value=ago, number=True),
]


@command(schedules, "list")
async def list_schedules(desk: Desk, *, tenant: Tenant = None, skip: Skip = 0, take: Take = 50) -> None:
    """Lists a tenant's schedules, by id."""
    owner = desk.processor.settings.tenant if tenant is None else tenant
    found = await desk.processor.get_schedules(owner, skip, take)
    desk.out.many(found, SCHEDULES, empty=f"Tenant {owner} has no schedules{' here' if skip else ''}.")


@command(schedules, "show")
async def show_schedule(
    desk: Desk,
    schedule: Id,
    *,
    tenant: Tenant = None,
    next_: Annotated[int, typer.Option("--next", min=1, max=100, help="How many of its next instants")] = 5,
) -> None:
    """Shows a schedule and its next instants."""
    found = await _find(desk, schedule, tenant)
    if found is None:
        raise typer.Exit(tell(_missing(schedule)))
    upcoming = _upcoming(found, next_)
    desk.out.one(found, _facts(found), heading("Next", desk.out.table(upcoming, UPCOMING)), upcoming=upcoming)


@command(schedules, "trigger")
async def trigger_schedule(desk: Desk, schedule: Id, *, tenant: Tenant = None) -> None:
    """Starts a cycle now; the next instant stays."""
    done = await desk.processor.trigger_schedule(schedule, tenant)
    busy = f"{_missing(schedule)}, or it is unique and its last task has not ended"
    await _did(desk, "trigger", "triggered", schedule, tenant, done=done, failed=busy)


@command(schedules, "pause")
async def pause_schedule(desk: Desk, schedule: Id, *, tenant: Tenant = None) -> None:
    """Starts no more cycles until it is resumed; a task that runs goes on."""
    done = await desk.processor.pause_schedule(schedule, tenant)
    await _did(desk, "pause", "paused", schedule, tenant, done=done, failed=_missing(schedule))


@command(schedules, "resume")
async def resume_schedule(desk: Desk, schedule: Id, *, tenant: Tenant = None) -> None:
    """Starts cycles again."""
    done = await desk.processor.resume_schedule(schedule, tenant)
    await _did(desk, "resume", "resumed", schedule, tenant, done=done, failed=_missing(schedule))


@command(schedules, "cancel")
async def cancel_schedule(desk: Desk, schedule: Id, *, tenant: Tenant = None, yes: Yes = False) -> None:
    """Removes a schedule; a task that it started goes on."""
    desk.ask(f"Remove schedule {schedule}?", yes=yes)
    done = await desk.processor.cancel_schedule(schedule, tenant)
    await _did(desk, "cancel", "canceled", schedule, tenant, done=done, failed=_missing(schedule))


async def _did(
    desk: Desk, act: str, participle: str, schedule: str, tenant: str | None, *, done: bool, failed: str
) -> None:
    if done:
        await desk.note(f"{act}-schedule", schedule, tenant=tenant)
    desk.out.did(participle, int(done), f"{participle.capitalize()} schedule {schedule}.", otherwise=failed)


def _missing(schedule: str) -> str:
    return f"there is no schedule {schedule}"


async def _find(desk: Desk, schedule: str, tenant: str | None) -> ScheduleInfo | None:
    owners = [tenant] if tenant is not None else [desk.processor.settings.tenant, *await desk.processor.get_tenants()]
    for owner in dict.fromkeys(owners):
        skip = 0
        while page := await desk.processor.get_schedules(owner, skip, PAGE):
            for each in page:
                if each.id == schedule:
                    return each
            skip += len(page)
    return None


def _upcoming(schedule: ScheduleInfo, number: int) -> list[datetime]:
    """The next instants, in the schedule's own time zone."""
    cron, zone = Cron.parse(schedule.cron, schedule.timezone, seconds=True), ZoneInfo(schedule.timezone)
    instants = [int(schedule.next.timestamp() * 1000)]
    while len(instants) < number:
        instants.append(cron.next(instants[-1]))
    return [datetime.fromtimestamp(each / 1000, UTC).astimezone(zone) for each in instants]


def _facts(schedule: ScheduleInfo) -> RenderableType:
    return fields(
        ("schedule", schedule.id),
        ("state", state_of("paused") if schedule.paused else None),
        ("scope", schedule.scope or None),
        ("cron", f"{schedule.cron}  {schedule.timezone}"),
        ("tenant", schedule.tenant),
        ("queue", schedule.queue),
        ("unique", "yes" if schedule.unique else None),
        ("expires", None if schedule.expire is None else f"{length(schedule.expire)} after its instant"),
        ("declared by", schedule.declared_by),
        ("last", None if schedule.last is None else f"{instant(schedule.last)} UTC, {ago(schedule.last)}"),
        ("started", None if schedule.drift is None else f"{length(schedule.drift)} after its instant"),
        ("outcome", None if schedule.outcome is None else state_of(schedule.outcome)),
    )
