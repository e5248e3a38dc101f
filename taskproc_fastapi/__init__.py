"""taskproc in a FastAPI app.

Importing this package gives every FastAPI app `add_task_processor()`, `add_task_processor_executor()`,
`add_task_processor_dashboard()` and `add_schedule()`; the class `FastAPI` of this package is the stock one with these
declared, for type checkers.
"""

import taskproc_fastapi.installed  # noqa: F401  # pyright: ignore[reportUnusedImport] - first, for its message
from taskproc_fastapi.container import container_scopes
from taskproc_fastapi.dashboard import DashboardRights, add_task_processor_dashboard
from taskproc_fastapi.depends import OpenScope, Tasks, TaskScope, get_task_processor, task_scope
from taskproc_fastapi.events import BatchProgress, batch_events
from taskproc_fastapi.health import health
from taskproc_fastapi.metrics import metrics
from taskproc_fastapi.plugin import (
    FastAPI,
    add_schedule,
    add_task_processor,
    add_task_processor_executor,
    extend_fastapi,
)

__all__ = [
    "BatchProgress",
    "DashboardRights",
    "FastAPI",
    "OpenScope",
    "TaskScope",
    "Tasks",
    "add_schedule",
    "add_task_processor",
    "add_task_processor_dashboard",
    "add_task_processor_executor",
    "batch_events",
    "container_scopes",
    "get_task_processor",
    "health",
    "metrics",
    "task_scope",
]

extend_fastapi()
