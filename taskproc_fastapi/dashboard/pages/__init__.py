"""The pages of a dashboard, each by its path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from taskproc_fastapi.dashboard.pages import (
    audit,
    batches,
    dead,
    overview,
    queues,
    schedules,
    server,
    stacks,
    tasks,
    tenants,
    workers,
)
from taskproc_fastapi.dashboard.view import Page, View

__all__ = ["PAGES"]

PAGES: Mapping[str, Callable[[View], Awaitable[Page]]] = {
    "": overview.show,
    "queues": queues.show_all,
    "queue": queues.show_one,
    "batches": batches.show_all,
    "batch": batches.show_one,
    "task": tasks.show_one,
    "dead": dead.show,
    "schedules": schedules.show,
    "workers": workers.show,
    "stacks": stacks.show,
    "tenants": tenants.show,
    "tenant": tenants.show_one,
    "redis": server.show,
    "audit": audit.show,
}
