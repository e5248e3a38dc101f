"""taskproc in a FastAPI app.

Importing this package gives every FastAPI app `add_task_processor()`, `add_task_processor_executor()` and
`add_schedule()`; the class `FastAPI` of this package is the stock one with these declared, for type checkers.
"""

from taskproc_fastapi.container import container_scopes
from taskproc_fastapi.depends import OpenScope, Tasks, TaskScope, get_task_processor, task_scope
from taskproc_fastapi.plugin import (
    FastAPI,
    add_schedule,
    add_task_processor,
    add_task_processor_executor,
    extend_fastapi,
)

__all__ = [
    "FastAPI",
    "OpenScope",
    "TaskScope",
    "Tasks",
    "add_schedule",
    "add_task_processor",
    "add_task_processor_executor",
    "container_scopes",
    "get_task_processor",
    "task_scope",
]

extend_fastapi()
