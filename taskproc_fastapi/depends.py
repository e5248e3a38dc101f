"""The processor of the app in its routes, and the scope that a task would get."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, TypeVar, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from taskproc import TaskProcessor
from taskproc.errors import ConfigurationError, NotConnected, TaskProcessorError
from taskproc.scopes import Scope

__all__ = ["OpenScope", "TaskScope", "Tasks", "get_task_processor", "task_scope"]

T = TypeVar("T")


async def get_task_processor(connection: HTTPConnection) -> TaskProcessor:
    """The processor of the app that serves the request; the name for `dependency_overrides`.

    ConfigurationError when that app has none, NotConnected when it was not started. A mounted app is an app of its own,
    which nobody starts.
    """
    processor = _processor_of(connection)
    if processor.connected:
        return processor
    raise NotConnected(
        "the processor of this app is not connected, since the lifespan of the app is not running. In a test: `with "
        "TestClient(app) as client:` starts the app, `TestClient(app)` alone does not. If it is mounted: nobody starts "
        "a mounted app, so share the processor of its parent: mounted.add_task_processor(app.state.task_processor)"
    )


def _processor_of(connection: HTTPConnection) -> TaskProcessor:
    processor: TaskProcessor | None = getattr(connection.app.state, "task_processor", None)
    if processor is not None:
        return processor
    raise ConfigurationError(
        "this app has no task processor: call app.add_task_processor(…) before it starts. A mounted app needs one too; "
        "to share that of its parent call mounted.add_task_processor(app.state.task_processor)"
    )


Tasks = Annotated[TaskProcessor, Depends(get_task_processor)]
"""The processor of the app, in HTTP and WebSocket routes: `async def signup(email: str, tasks: Tasks)`."""


class OpenScope:
    """The services of one request, in a route: `await scope.get(Mailer)`."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope: Scope | None = scope

    async def get(self, service: Callable[..., T], /) -> T:
        """The instance that a task of this scope would get; `service` is a class, abstract class or Protocol.

        ConfigurationError when nothing gives it, TaskProcessorError when the request has ended.
        """
        if not isinstance(service, type):
            raise ConfigurationError(f"scope.get({service!r}): pass a class, abstract class or Protocol")
        if self._scope is None:
            raise TaskProcessorError(
                f"scope.get({service.__qualname__}): the request that the scope belongs to has ended; "
                "get services before, in the asyncio task of the route"
            )
        made = self._scope.get(cast("type[T]", service))
        return cast("T", await made if inspect.isawaitable(made) else made)

    def close(self) -> None:
        """Lets it give nothing more."""
        self._scope = None


async def task_scope(connection: HTTPConnection) -> AsyncGenerator[OpenScope]:
    """A scope like that of a task, open while the request is served; the name for `dependency_overrides`.

    All dependencies of a request share it. It is closed after the response has been sent (before, with a FastAPI older
    than 0.118), or the WebSocket route has ended, however that ended: with the exception of the route, if there is one,
    as with that of a task. The scope is that of the app's own processor, also where `get_task_processor` is overridden.
    ConfigurationError when the app has no processor, or that has no scopes.
    """
    processor = _processor_of(connection)
    if processor.scopes is None:
        raise ConfigurationError(
            "the task processor of this app has no scopes, so there are no services to get: "
            "pass container=… or scopes=… to app.add_task_processor()"
        )
    async with processor.scopes() as scope:
        opened = OpenScope(scope)
        try:
            yield opened
        finally:
            opened.close()


TaskScope = Annotated[OpenScope, Depends(task_scope)]
"""The services that tasks get, in HTTP and WebSocket routes: `async def send(to: str, scope: TaskScope)`."""
