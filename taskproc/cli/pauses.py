"""`taskproc pause`, `resume` and `pauses`: stops the handing out of tasks, and lets it go on."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Annotated

import typer

from taskproc.cli.commands import Desk
from taskproc.cli.queues import is_known
from taskproc.cli.rows import PAUSES
from taskproc.cli.target import user
from taskproc.cli.words import instant, length, read_span

__all__ = ["list_pauses", "pause", "resume"]

Queue = Annotated[str | None, typer.Option(help="Of this queue")]
Tenant = Annotated[str | None, typer.Option(help="Of this tenant")]
For = Annotated[str | None, typer.Option("--for", metavar="SPAN", help="It ends by itself then: 30s, 15m, 2h, 1d")]
Until = Annotated[
    str | None, typer.Option(metavar="TIME", help="It ends by itself then: 18:30, 2026-01-31T18:30, …+02:00")
]


NOBODYS = " No such queue has anything now, and no worker serves it: `taskproc queues` lists those that there are."


async def pause(
    desk: Desk,
    *,
    queue: Queue = None,
    tenant: Tenant = None,
    reason: Annotated[str, typer.Option(help="Why, for those who wonder")] = "",
    span: For = None,
    until: Until = None,
) -> None:
    """Hands out no more tasks: of a queue, of a tenant, or none at all. What runs goes on."""
    _one_of(queue, tenant)
    end = _end(span, until)
    hint = "" if queue is None or await is_known(desk.processor, queue) else NOBODYS
    await desk.processor.pause(queue=queue, tenant=tenant, reason=reason, by=user(), until=end)
    ends = _ends(end)
    await desk.note("pause", _named(queue, tenant), tenant=tenant, detail=f"{ends}{f': {reason}' if reason else ''}")
    desk.out.did("paused", 1, f"Paused {_named(queue, tenant)} {ends}.{hint}")


async def resume(desk: Desk, *, queue: Queue = None, tenant: Tenant = None) -> None:
    """Ends a pause: that of a queue, of a tenant, or that of everything."""
    _one_of(queue, tenant)
    paused = any((each.queue, each.tenant) == (queue, tenant) for each in await desk.processor.get_pauses())
    await desk.processor.resume(queue=queue, tenant=tenant)
    if paused:
        await desk.note("resume", _named(queue, tenant), tenant=tenant)
    none = f"there is no pause of {_named(queue, tenant)}: `taskproc pauses` lists those that there are"
    desk.out.did("resumed", int(paused), f"Resumed {_named(queue, tenant)}.", otherwise=none)


async def list_pauses(desk: Desk) -> None:
    """Lists what is paused, since when, by whom and why."""
    desk.out.many(await desk.processor.get_pauses(), PAUSES, empty="Nothing is paused.")


def _one_of(queue: str | None, tenant: str | None) -> None:
    if queue is not None and tenant is not None:
        raise ValueError("name a --queue or a --tenant: there is no pause of both together")


def _named(queue: str | None, tenant: str | None) -> str:
    return f"queue {queue}" if queue is not None else f"tenant {tenant}" if tenant is not None else "everything"


def _end(span: str | None, until: str | None) -> datetime | timedelta | None:
    """When the pause ends by itself."""
    if span is not None and until is not None:
        raise ValueError("say --for or --until, not both")
    if span is not None:
        return read_span(span)
    return None if until is None else _instant(until)


def _ends(end: datetime | timedelta | None) -> str:
    if end is None:
        return "until it is resumed"
    return f"for {length(end)}" if isinstance(end, timedelta) else f"until {instant(end)} UTC"


def _instant(text: str) -> datetime:
    """What was written, in this machine's time zone unless it says another one; a time alone is the next such one."""
    now = datetime.now().astimezone()
    try:
        if ":" in text[:3]:
            at = datetime.combine(now.date(), time.fromisoformat(text)).astimezone()
            return at if at > now else at + timedelta(days=1)
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--until {text!r} is no time: write 18:30, or 2026-01-31T18:30") from None
    at = at if at.tzinfo else at.astimezone()
    if at <= now:
        raise ValueError(f"--until {text!r} is over already")
    return at
