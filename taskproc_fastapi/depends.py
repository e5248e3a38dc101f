"""The processor of the app in its routes."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from taskproc import TaskProcessor
from taskproc.errors import ConfigurationError

__all__ = ["Tasks", "get_task_processor"]


async def get_task_processor(connection: HTTPConnection) -> TaskProcessor:
    """The processor of the app that serves the request; the name for `dependency_overrides`.

    ConfigurationError when that app has none. A mounted app is an app of its own.
    """
    processor: TaskProcessor | None = getattr(connection.app.state, "task_processor", None)
    if processor is not None:
        return processor
    raise ConfigurationError(
        "this app has no task processor: call app.add_task_processor(…) before it starts. A mounted app needs one too; "
        "to share that of its parent call mounted.add_task_processor(app.state.task_processor)"
    )


Tasks = Annotated[TaskProcessor, Depends(get_task_processor)]
"""The processor of the app, in HTTP and WebSocket routes: `async def signup(email: str, tasks: Tasks)`."""
