"""Resources that a task opens by itself, by an injected `session.provider`."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from dependency_injector import providers

from taskproc.errors import TaskProcessorError
from taskproc_fastapi import container_scopes
from tests.fastapi.container_kit import Log, Service, get, one, run_task, shut_down


class Lazy:
    """A service that opens its session when a method needs it."""

    def __init__(self, session: Callable[[], Any]) -> None:
        self.session = session


@pytest.mark.parametrize("where", ["loop", "thread", "async"])
async def test_what_a_method_opens_by_itself_is_closed_with_its_task(where: str) -> None:
    """Through an injected `session.provider`, in the loop or in the thread of a `def` task, also in a singleton."""
    log = Log()
    opened = log.async_resource("session") if where == "async" else log.resource("session")
    session: Any = providers.ContextLocalResource(opened)
    scopes = container_scopes(one(it=providers.Singleton(Lazy, session.provider), session=session))

    async def body(scope: Any) -> None:
        lazy: Lazy = await get(scope, Lazy)
        assert log.take() == []
        if where == "thread":
            assert await asyncio.to_thread(lazy.session) == "session"
        elif where == "async":
            assert await lazy.session() == await lazy.session() == "session"
        else:
            assert lazy.session() == lazy.session() == "session"

    await run_task(scopes, body)
    assert log.take() == ["+session", "-session"]


class Lock:
    """A resource that may be left only once."""

    held = 0

    def __enter__(self) -> str:
        self.held += 1
        return "lock"

    def __exit__(self, *_error: object) -> None:
        assert self.held == 1
        self.held -= 1


async def test_what_a_method_closes_by_itself_is_not_closed_again() -> None:
    """A method may shut its session down early, and open a new one."""
    log = Log()
    session = providers.ContextLocalResource(log.resource("session"))
    connection = providers.ContextLocalResource(log.async_resource("connection"))
    lock = providers.ContextLocalResource(Lock)
    scopes = container_scopes(one(it=providers.Factory(Service, session, connection, lock)))

    async def body(scope: Any) -> None:
        await get(scope)
        lock.shutdown()
        session.shutdown()
        await shut_down(connection)
        assert log.take() == ["+session", "+connection", "-session", "-connection"]
        session()

    await run_task(scopes, body)
    assert log.take() == ["+session", "-session"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_nothing_is_opened_for_a_task_that_has_ended(kind: str) -> None:
    """What a task started and did not await gets an error, not a session that nobody closes."""
    log = Log()
    opened = log.resource("session") if kind == "sync" else log.async_resource("session")
    session: Any = providers.ContextLocalResource(opened)
    scopes = container_scopes(one(it=providers.Factory(Lazy, session.provider), session=session))
    ended = asyncio.Event()

    async def later(lazy: Lazy) -> None:
        await ended.wait()
        await lazy.session()

    async def body(scope: Any) -> asyncio.Task[None]:
        return asyncio.create_task(later(await get(scope, Lazy)))

    left_behind = await run_task(scopes, body)
    ended.set()
    with pytest.raises(TaskProcessorError, match="after the end of the task"):
        await left_behind
    assert log.take() == []


async def test_a_resource_that_was_opening_when_its_task_ended_is_closed() -> None:
    """An async resource that a task did not wait for is closed as soon as it is open."""
    log = Log()
    ended = asyncio.Event()

    async def slow() -> AsyncIterator[str]:
        await ended.wait()
        log.entries.append("+slow")
        yield "slow"
        log.entries.append("-slow")

    session: Any = providers.ContextLocalResource(slow)
    scopes = container_scopes(one(it=providers.Factory(Lazy, session.provider), session=session))

    async def body(scope: Any) -> Any:
        lazy: Lazy = await get(scope, Lazy)
        opening = asyncio.ensure_future(lazy.session())
        await asyncio.sleep(0)
        return opening

    opening = await run_task(scopes, body)
    ended.set()
    with pytest.raises(TaskProcessorError, match="after the end of the task"):
        await opening
    assert log.take() == ["+slow", "-slow"]


async def test_a_scope_that_was_opened_in_a_thread_needs_no_loop() -> None:
    """Sync services are given without an event loop, as a `def` task's own thread has none."""
    session = providers.ContextLocalResource(Log().resource("session"))
    scopes = container_scopes(one(it=providers.Factory(Service, session)))
    results: list[Any] = []

    async def body(scope: Any) -> None:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(lambda: results.append(scope.get(Service)),))
        thread.start()
        await asyncio.to_thread(thread.join)

    await run_task(scopes, body)
    assert results[0].parts == ("session",)


async def test_many_tasks_at_a_time_keep_apart() -> None:
    """A hundred tasks at once, each with its own async session and its own order of events, all closed."""
    opened: set[int] = set()
    closed: set[int] = set()
    numbers = iter(range(1000))

    async def open_session() -> AsyncIterator[int]:
        number = next(numbers)
        await asyncio.sleep(number % 7 / 1000)
        opened.add(number)
        yield number
        await asyncio.sleep(number % 5 / 1000)
        closed.add(number)

    session = providers.ContextLocalResource(open_session)
    scopes = container_scopes(one(it=providers.Factory(Service, session, session)))

    async def body(scope: Any) -> int:
        service = await get(scope)
        await asyncio.sleep(service.parts[0] % 3 / 1000)
        assert service.parts == (await get(scope)).parts
        assert service.parts[0] not in closed
        return int(service.parts[0])

    used = await asyncio.gather(*(run_task(scopes, body) for _ in range(100)))
    assert len(set(used)) == 100
    assert opened == closed == set(used)
