"""Tenants."""

from __future__ import annotations

from dataclasses import dataclass, replace

from taskproc import BatchInfo
from taskproc.models import PauseInfo
from taskproc.names import is_fair, tenant_name
from taskproc_fastapi.dashboard.access import Refused
from taskproc_fastapi.dashboard.bounded import Amount, Counts, queues_of, total
from taskproc_fastapi.dashboard.pages.batches import Pace, pace_of
from taskproc_fastapi.dashboard.view import PAGE, Page, View

__all__ = ["show", "show_one"]

MOST_QUEUES = 20
LATEST = 10  # batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    batches: int
    schedules: int
    ready: list[tuple[str, int]]
    """By fair queue."""
    pauses: list[PauseInfo]

    @property
    def paused(self) -> PauseInfo | None:
        """The pause of all that is the tenant's."""
        return next((pause for pause in self.pauses if pause.queue is None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    rows: list[Row]
    fair: list[str]
    skip: int
    take: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """What is one tenant's, counted as for a viewer of its own."""

    name: str
    pause: PauseInfo | None
    ready: Amount
    running: Amount
    delayed: Amount
    dead: Amount
    batches: int
    schedules: int
    queues: list[Counts]
    latest: list[tuple[BatchInfo, Pace]]


async def show_one(view: View) -> Page:
    name = tenant_name(view.text("name"))
    if not view.may_see(name):
        raise Refused(404, "No such tenant", f"There is no tenant {name} here.")
    queues = await queues_of(replace(view, rights=replace(view.rights, tenant=name)))
    held = [each for each in await view.processor.get_pauses() if each.queue is None and each.tenant in (None, name)]
    data = Tenant(
        name=name,
        pause=next((each for each in held if each.tenant is not None and view.tenant is None), None),
        ready=total([each.ready for each in queues]),
        running=total([each.running for each in queues]),
        delayed=total([each.delayed for each in queues]),
        dead=total([each.dead for each in queues]),
        batches=await view.processor.get_batches_count(name),
        schedules=await view.processor.get_schedules_count(name),
        queues=queues,
        latest=[
            (batch, pace_of(batch, paused=bool(held))) for batch in await view.processor.get_batches(name, 0, LATEST)
        ],
    )
    return Page(template="tenant.html", title=f"Tenant {name}", data=data)


async def show(view: View) -> Page:
    skip = view.skip()
    pauses = [pause for pause in await view.processor.get_pauses() if pause.tenant is not None]
    names = [view.tenant] if view.tenant is not None else await view.processor.get_tenants()
    if view.tenant is None:
        names += sorted({pause.tenant for pause in pauses if pause.tenant} - set(names))
    queues = [queue for queue in await view.processor.get_queues() if is_fair(queue.name)][:MOST_QUEUES]
    rows = [
        Row(
            name=name,
            batches=await view.processor.get_batches_count(name),
            schedules=await view.processor.get_schedules_count(name),
            ready=[(queue.name, queue.tenants[name]) for queue in queues if queue.tenants.get(name)],
            pauses=[pause for pause in pauses if pause.tenant == name],
        )
        for name in names[skip : skip + PAGE]
    ]
    data = Tenants(rows=rows, fair=[queue.name for queue in queues], skip=skip, take=PAGE, total=len(names))
    return Page(template="tenants.html", title="Tenants", data=data)
