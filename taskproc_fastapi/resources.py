"""Opens the resources of a dependency-injector container within a scope, and closes them with it.

The library closes what it opened in an order of its own, lets one failing close abandon the rest, and enters async
resources in other asyncio tasks than it leaves them in. So each resource provider is given a *guard* in place of its
function: it calls the function, and wraps what that made so that the scope notes it, enters it in the asyncio task that
waits for the service, and leaves it at its end, the last first. Where no scope is open, in a route for example, a
guarded provider works as if it had no guard.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from dependency_injector import providers

from taskproc.errors import TaskProcessorError
from taskproc.scopes import Exit, close_all

__all__ = ["OpenResources", "guard", "of_app", "of_task", "unguarded"]

T = TypeVar("T")

of_task: ContextVar[OpenResources | None] = ContextVar("taskproc_resources_of_task", default=None)
"""Where context-local resources are opened."""
of_app: ContextVar[OpenResources | None] = ContextVar("taskproc_resources_of_app", default=None)
"""Where the resources are opened that live as long as the app."""

_entering: ContextVar[bool] = ContextVar("taskproc_entering_a_resource", default=False)


def guard(provider: providers.BaseResource[Any]) -> None:
    """Makes the provider open its resource in the scope that is open; calling it again changes nothing."""
    if provider.provides is None or isinstance(provider.provides, _Guard):
        return
    current = of_task if isinstance(provider, providers.ContextLocalResource) else of_app
    provider.set_provides(_Guard(provider, current))


def unguarded(provides: object) -> object:
    """What a provider provides, without its guard."""
    return provides.provides if isinstance(provides, _Guard) else provides


class _Guard:
    """Stands for the function of a resource provider."""

    def __init__(self, provider: providers.BaseResource[Any], current: ContextVar[OpenResources | None]) -> None:
        self.provides = cast("Callable[..., object]", provider.provides)
        self._current = current

    def __call__(self, *args: object, **kwargs: object) -> object:
        made = self.provides(*args, **kwargs)
        resources = self._current.get()
        return made if resources is None else _noted(made, resources)

    def __repr__(self) -> str:
        return repr(self.provides)


def _noted(made: object, resources: OpenResources) -> object:
    """What the library shall enter in place of `made`; it tells them apart in this way."""
    if hasattr(made, "__enter__"):
        return _Entry(cast("AbstractContextManager[object]", made), resources)
    if hasattr(made, "__aenter__"):
        return _AsyncEntry(cast("AbstractAsyncContextManager[object]", made), resources)
    if asyncio.isfuture(made) or asyncio.iscoroutine(made):
        return _noted_later(cast("Awaitable[object]", made), resources)
    return made


async def _noted_later(awaitable: Awaitable[object], resources: OpenResources) -> object:
    made = await awaitable
    if hasattr(made, "__aenter__"):
        return _AsyncEntry(cast("AbstractAsyncContextManager[object]", made), resources)
    return _noted(made, resources)


class _Entry:
    __slots__ = ("_entered", "_manager", "_resources")

    def __init__(self, manager: AbstractContextManager[object], resources: OpenResources) -> None:
        self._manager = manager
        self._resources = resources
        self._entered = False

    def __enter__(self) -> object:
        self._resources.check_open()
        resource = self._manager.__enter__()
        self._entered = True
        self._resources.exits.append(self.__exit__)
        return resource

    def __exit__(self, *_error: object) -> None:
        if self._entered:
            self._entered = False
            self._manager.__exit__(None, None, None)


class _AsyncEntry:
    __slots__ = ("_entered", "_manager", "_resources")

    def __init__(self, manager: AbstractAsyncContextManager[object], resources: OpenResources) -> None:
        self._manager = manager
        self._resources = resources
        self._entered = False

    async def __aenter__(self) -> object:
        return await self._resources.enter(self)

    async def enter(self) -> object:
        self._resources.check_open()
        resource = await self._manager.__aenter__()
        self._entered = True
        if self._resources.closed:  # meanwhile
            await self.__aexit__()
        self._resources.check_open()
        self._resources.exits.append(self.__aexit__)
        return resource

    async def __aexit__(self, *_error: object) -> None:
        if self._entered:
            self._entered = False
            await self._manager.__aexit__(None, None, None)


class OpenResources:
    """The resources opened within one scope: a task, or the life of the app."""

    __slots__ = ("_entrance", "closed", "exits")

    def __init__(self) -> None:
        self.exits: list[Exit] = []
        self.closed = False
        self._entrance: _Entrance | None = None

    def check_open(self) -> None:
        """TaskProcessorError when the scope has ended."""
        if self.closed:
            raise TaskProcessorError(
                "a resource of the container was asked for after the end of the task that it belongs to: "
                "a task must await, or cancel, whatever it starts"
            )

    async def close(self, error: BaseException | None) -> None:
        """Leaves all, the last first; they are not told of `error`, so that what follows a `yield` always runs."""
        self.closed = True
        if self.exits:
            await close_all(self.exits, error)

    async def resolve(self, service: Awaitable[T]) -> T:
        """Awaits what a provider gave, and enters meanwhile, in this asyncio task, the async resources it waits for."""
        if self._entrance is None:
            self._entrance = _Entrance()
        return await self._entrance.attend(asyncio.ensure_future(service))

    async def enter(self, entry: _AsyncEntry) -> object:
        """Enters it in the asyncio task that is in `resolve`, else in the present one."""
        if self._entrance is None or not self._entrance.attended:
            return await entry.enter()
        return await self._entrance.ask(entry)


class _Entrance:
    """Where an asyncio task that waits for a service enters the resources that the library's own tasks ask for."""

    __slots__ = ("_attending", "_changed", "_requests")

    def __init__(self) -> None:
        self._attending = 0
        self._changed = asyncio.Event()
        self._requests: deque[tuple[_AsyncEntry, asyncio.Future[object]]] = deque()

    @property
    def attended(self) -> bool:
        """Whether to `ask`; not from inside a resource that is being entered, nobody would answer."""
        return self._attending > 0 and not _entering.get()

    async def ask(self, entry: _AsyncEntry) -> object:
        request = asyncio.get_running_loop().create_future()
        self._requests.append((entry, request))
        self._changed.set()
        return await request

    async def attend(self, service: asyncio.Future[T]) -> T:
        """The result of `service`. When interrupted, that goes on: others may wait for it, as for a singleton."""
        service.add_done_callback(self._wake)
        self._attending += 1
        try:
            while not service.done():
                if self._requests:
                    await _answer(*self._requests.popleft())
                else:
                    self._changed.clear()
                    await self._changed.wait()
        finally:
            self._attending -= 1
            self._refuse_unanswered()
        return service.result()

    def _wake(self, service: asyncio.Future[Any]) -> None:
        if not service.cancelled():
            service.exception()  # seen, even when nobody waits any more
        self._changed.set()

    def _refuse_unanswered(self) -> None:
        while self._requests and not self._attending:
            _entry, request = self._requests.popleft()
            if not request.done():
                request.set_exception(_interrupted())


async def _answer(entry: _AsyncEntry, request: asyncio.Future[object]) -> None:
    if request.done():
        return
    token = _entering.set(True)
    try:
        resource = await entry.enter()
    except BaseException as error:
        if not request.done():
            request.set_exception(error if isinstance(error, Exception) else _interrupted())
        if not isinstance(error, Exception):
            raise
    else:
        if not request.done():
            request.set_result(resource)
    finally:
        _entering.reset(token)


def _interrupted() -> TaskProcessorError:
    return TaskProcessorError("the task was interrupted while its services were being made")
