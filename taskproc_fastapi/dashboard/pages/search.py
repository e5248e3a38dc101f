"""From an id or a name to its page."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import RedirectResponse, Response

from taskproc import InvalidName
from taskproc_fastapi.dashboard.bounded import queues_of
from taskproc_fastapi.dashboard.view import Page, View

__all__ = ["find"]


@dataclass(frozen=True, slots=True)
class Nothing:
    query: str


async def find(view: View) -> Response | Page:
    """The page of the task, batch, queue or tenant; or one that says that there is none."""
    query = view.text("q", "").strip()
    url = await _url(view, query) if query else None
    if url is not None:
        return RedirectResponse(url, 303)
    return Page(template="search.html", title="Search", data=Nothing(query), lives=False)


async def _url(view: View, query: str) -> str | None:
    try:
        if await view.processor.get_task(query, tenant=view.tenant):
            return view.url("task", id=query)
        if await view.processor.get_batch(query, tenant=view.tenant):
            return view.url("batch", id=query)
    except InvalidName:
        return None  # no id has such characters, and no name
    if query in {queue.name for queue in await queues_of(view)}:
        return view.url("queue", name=query)
    if query in ([view.tenant] if view.tenant is not None else await view.processor.get_tenants()):
        return view.url("tenant", name=query)
    return None
