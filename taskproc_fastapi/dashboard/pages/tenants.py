"""Tenants."""

from __future__ import annotations

from dataclasses import dataclass

from taskproc.models import PauseInfo
from taskproc.names import is_fair
from taskproc_fastapi.dashboard.view import PAGE, Page, View

__all__ = ["show"]

MOST_QUEUES = 20


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
