"""What the tests of the dependency-injector container share: providers that note what they do, and tasks."""

import asyncio
import contextvars
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from dependency_injector import containers, providers

from taskproc.scopes import Scopes

T = TypeVar("T")


class Broken(Exception):
    pass


class Service:
    """Whatever a test needs."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts


class Other(Service): ...


class Log:
    """What was opened and closed, in which order; makes the functions that note it."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def resource(self, name: str, *, failing: bool = False) -> Callable[..., Iterator[str]]:
        def opened(*_needs: object) -> Iterator[str]:
            self.entries.append(f"+{name}")
            yield name
            self.entries.append(f"-{name}")
            if failing:
                raise Broken(name)

        return opened

    def async_resource(self, name: str, *, failing: bool = False) -> Callable[..., AsyncIterator[str]]:
        async def opened(*_needs: object) -> AsyncIterator[str]:
            await asyncio.sleep(0)
            self.entries.append(f"+{name}")
            yield name
            await asyncio.sleep(0)
            self.entries.append(f"-{name}")
            if failing:
                raise Broken(name)

        return opened

    def take(self) -> list[str]:
        taken, self.entries = self.entries, []
        return taken


def one(**named: providers.Provider[Any]) -> containers.DynamicContainer:
    """A container with these providers."""
    container = containers.DynamicContainer()
    container.set_providers(**named)
    return container


async def shut_down(resource: Any) -> None:
    """Closes an async resource by its provider."""
    await resource.shutdown()


async def get(scope: Any, service: type = Service) -> Any:
    """What the scope gives, awaited if need be."""
    made = scope.get(service)
    return await made if asyncio.iscoroutine(made) else made


async def as_task(work: Callable[[], Awaitable[T]]) -> T:
    """Runs it as a worker runs a task: in an asyncio task with a context of its own."""

    async def run() -> T:
        return await work()

    return await asyncio.create_task(run(), context=contextvars.Context())


async def run_task(scopes: Scopes, body: Callable[[Any], Awaitable[T]] = get) -> T:
    """A task that does `body(scope)`."""

    async def work() -> T:
        async with scopes() as scope:
            return await body(scope)

    return await as_task(work)


@asynccontextmanager
async def nothing_unhandled() -> AsyncGenerator[None]:
    """Fails when the event loop is told of an error that nobody has handled, or something goes on for ever."""
    problems: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: problems.append(str(context)))
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0.01)
    gc.collect()
    await asyncio.sleep(0)
    assert problems == []
    assert asyncio.all_tasks() == before
