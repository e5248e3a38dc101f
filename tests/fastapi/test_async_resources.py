"""Async resources of a dependency-injector container, in all forms, and what happens when they are interrupted."""

import asyncio
import contextvars
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from dependency_injector import providers, resources

from taskproc_fastapi import container_scopes
from tests.fastapi.container_kit import Broken, Log, Other, Service, get, nothing_unhandled, one, run_task, shut_down


async def test_an_async_resource_is_entered_and_left_in_the_tasks_own_asyncio_task() -> None:
    """So timeouts and task groups work across its yield, and context variables set in it are seen by the task."""
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
    seen: list[object] = []

    async def open_connection() -> AsyncIterator[str]:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            keeping_alive = group.create_task(asyncio.sleep(30))
            seen.append(asyncio.current_task())
            request_id.set("set by the resource")
            yield "connection"
            keeping_alive.cancel()
            seen.append(asyncio.current_task())

    async def open_session(connection: str) -> AsyncIterator[str]:
        async with asyncio.timeout(30):
            yield f"session on {connection}"

    connection = providers.ContextLocalResource(open_connection)
    session = providers.ContextLocalResource(open_session, connection)

    async def body(scope: Any) -> object:
        service: Any = await get(scope)
        assert service.parts == ("session on connection", "connection")
        assert request_id.get() == "set by the resource"
        return asyncio.current_task()

    task = await run_task(container_scopes(one(it=providers.Factory(Service, session, connection))), body)
    assert seen == [task, task]


@contextmanager
def as_manager() -> Generator[str]:
    """A resource as a function decorated with `contextmanager`."""
    yield "opened"


@asynccontextmanager
async def as_async_manager() -> AsyncGenerator[str]:
    """A resource as a function decorated with `asynccontextmanager`."""
    yield "opened"


async def as_async_function() -> str:
    """A resource that nothing closes."""
    return "opened"


class Entered:
    """A resource that is a context manager itself, as a database session is."""

    async def __aenter__(self) -> str:
        return "opened"

    async def __aexit__(self, *error: object) -> None:
        assert error == (None, None, None)


class AsResource(resources.Resource[str]):
    def init(self, *_args: Any, **_kwargs: Any) -> str:
        return "opened"

    def shutdown(self, resource: str | None) -> None:
        assert resource == "opened"


class AsAsyncResource(resources.AsyncResource[str]):
    async def init(self, *_args: Any, **_kwargs: Any) -> str:
        return "opened"

    async def shutdown(self, resource: str | None) -> None:
        assert resource == "opened"


FORMS: list[Any] = [
    as_manager,
    as_async_manager,
    as_async_function,
    Entered,
    AsResource,
    AsAsyncResource,
    lambda: "opened",
]


@pytest.mark.parametrize("form", FORMS)
async def test_resources_of_all_forms_are_opened(form: Any) -> None:
    """Whatever form a resource has, the service gets what it opens, and the provider's own way to use it is kept."""
    container = one(it=providers.Factory(Service, providers.ContextLocalResource(form)))
    async with nothing_unhandled():
        assert (await run_task(container_scopes(container))).parts == ("opened",)


async def test_an_async_function_may_return_what_is_to_be_entered() -> None:
    """It is awaited, and what it returns is entered and left, in the asyncio task of the task."""
    seen: list[tuple[str, object]] = []

    class Watched:
        async def __aenter__(self) -> str:
            seen.append(("+", asyncio.current_task()))
            return "opened"

        async def __aexit__(self, *_error: object) -> None:
            seen.append(("-", asyncio.current_task()))

    async def connect() -> Watched:
        return Watched()

    async def body(scope: Any) -> object:
        assert (await get(scope)).parts == ("opened",)
        return asyncio.current_task()

    it = providers.Factory(Service, providers.ContextLocalResource(connect))
    task = await run_task(container_scopes(one(it=it)), body)
    assert seen == [("+", task), ("-", task)]


async def test_outside_of_a_task_a_resource_works_as_before() -> None:
    """In a route the container opens and closes it as it always did."""
    log = Log()
    session = providers.ContextLocalResource(log.resource("session"))
    connection = providers.ContextLocalResource(log.async_resource("connection"))
    container = one(it=providers.Factory(Service, session), session=session, connection=connection)
    container_scopes(container)
    assert session() == "session"
    assert await connection.async_() == "connection"
    session.shutdown()
    await shut_down(connection)
    assert log.take() == ["+session", "+connection", "-session", "-connection"]
    assert "Log.resource" in repr(session)


async def test_an_async_resource_may_override_a_sync_one() -> None:
    """Services that were made without waiting before get what it opens, and afterwards as they did."""
    log = Log()
    session = providers.ContextLocalResource(log.resource("session"))
    scopes = container_scopes(one(it=providers.Factory(Service, session)))
    await run_task(scopes)
    with session.override(providers.ContextLocalResource(log.async_resource("fake"))):
        assert (await run_task(scopes)).parts == ("fake",)
    assert (await run_task(scopes)).parts == ("session",)
    assert log.take() == ["+session", "-session", "+fake", "-fake", "+session", "-session"]


async def test_an_async_resource_that_fails_to_open_fails_the_task() -> None:
    """Its error is the task's, what was open is closed, and no error is left unhandled."""
    log = Log()

    async def fail(_session: str) -> AsyncIterator[str]:
        await asyncio.sleep(0)
        if log.entries:
            raise Broken("no connection")
        yield ""

    session = providers.ContextLocalResource(log.async_resource("session"))
    connection = providers.ContextLocalResource(fail, session)
    scopes = container_scopes(one(it=providers.Factory(Service, connection, session)))
    async with nothing_unhandled():
        with pytest.raises(Broken, match="no connection"):
            await run_task(scopes)
    assert log.take() == ["+session", "-session"]


async def test_a_task_cancelled_while_a_resource_opens_leaves_nothing_behind() -> None:
    """The resource that is being entered is cancelled, those that are open are closed, no error is left unhandled."""
    log = Log()
    opening = asyncio.Event()

    async def slow(_session: str) -> AsyncIterator[str]:
        try:
            opening.set()
            await asyncio.sleep(30)
        finally:
            log.entries.append("cancelled")
        yield "never"

    async def also_slow() -> Other:
        await asyncio.sleep(0.02)
        return Other()

    session = providers.ContextLocalResource(log.async_resource("session"))
    connection = providers.ContextLocalResource(slow, session)
    queued = providers.ContextLocalResource(log.async_resource("queued"), session)
    later = providers.ContextLocalResource(log.async_resource("later"), providers.Factory(also_slow))
    singleton = providers.ContextLocalSingleton(also_slow)
    scopes = container_scopes(one(it=providers.Factory(Service, connection, queued, later, singleton)))
    async with nothing_unhandled():
        task: asyncio.Task[Any] = asyncio.create_task(run_task(scopes))
        await opening.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log.take() == ["+session", "cancelled", "-session"]
        await asyncio.sleep(0.04)
    assert log.take() == []


async def test_a_cancelled_task_does_not_break_what_others_share() -> None:
    """An async singleton that a cancelled task was the first to need is finished all the same."""
    asked: list[int] = []

    async def make_other() -> Other:
        asked.append(1)
        await asyncio.sleep(0.02)
        return Other()

    shared = providers.Singleton(make_other)
    scopes = container_scopes(one(it=providers.Factory(Service, shared)))
    async with nothing_unhandled():
        first: asyncio.Task[Any] = asyncio.create_task(run_task(scopes))
        await asyncio.sleep(0.005)
        first.cancel()
        second: Any = await asyncio.wait_for(run_task(scopes), 2)
        assert isinstance(second.parts[0], Other)
        assert first.cancelled()
    assert len(asked) == 1


async def test_a_resource_may_ask_for_another_while_it_opens() -> None:
    """A resource that calls the container in its own body does not wait for itself."""
    log = Log()
    inner = providers.ContextLocalResource(log.async_resource("inner"))

    async def open_outer() -> AsyncIterator[str]:
        yield f"outer on {await inner.async_()}"

    container = one(inner=inner, it=providers.Factory(Service, providers.ContextLocalResource(open_outer)))
    service: Any = await asyncio.wait_for(run_task(container_scopes(container)), 2)
    assert service.parts == ("outer on inner",)
    assert log.take() == ["+inner", "-inner"]
