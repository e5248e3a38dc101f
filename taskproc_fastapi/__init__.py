"""taskproc in a FastAPI app.

Importing this package gives every FastAPI app `add_task_processor()` and `add_task_processor_executor()`; the class
`FastAPI` of this package is the stock one with both declared, for type checkers.
"""

from taskproc_fastapi.container import container_scopes
from taskproc_fastapi.depends import Tasks, get_task_processor
from taskproc_fastapi.plugin import FastAPI, add_task_processor, add_task_processor_executor, extend_fastapi

__all__ = [
    "FastAPI",
    "Tasks",
    "add_task_processor",
    "add_task_processor_executor",
    "container_scopes",
    "get_task_processor",
]

extend_fastapi()
