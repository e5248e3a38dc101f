"""What a task gets of a dependency-injector container, and when that is closed."""

import asyncio
import functools
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from dependency_injector import providers

from taskproc_fastapi import container_scopes
from tests.fastapi.container_kit import Broken, Log, Other, Service, as_task, get, one, run_task


async def test_a_context_local_resource_is_opened_once_per_task_and_closed_at_its_end() -> None:
    """Two services of a task share their session; two tasks, also at the same time, do not."""
    log = Log()
    numbers = iter(range(100))

    def open_session() -> Iterator[int]:
        number = next(numbers)
        log.entries.append(f"+{number}")
        yield number
        log.entries.append(f"-{number}")

    session = providers.ContextLocalResource(open_session)
    scopes = container_scopes(one(session=session, it=providers.Factory(Service, session, session)))
    both_run = asyncio.Barrier(2)

    async def body(scope: Any) -> tuple[Any, ...]:
        first, second = await get(scope), await get(scope)
        await both_run.wait()
        assert first.parts == second.parts
        assert first is not second
        return tuple(first.parts)

    results = await asyncio.gather(run_task(scopes, body), run_task(scopes, body))
    assert sorted(results) == [(0, 0), (1, 1)]
    assert sorted(log.take()) == ["+0", "+1", "-0", "-1"]


async def test_what_a_task_does_not_need_is_not_opened() -> None:
    """Only the resources that the service depends on are opened."""
    log = Log()
    session = providers.ContextLocalResource(log.resource("session"))
    unused = providers.ContextLocalResource(log.async_resource("unused"))
    scopes = container_scopes(
        one(it=providers.Factory(Service, session), unused=unused, other=providers.Factory(Other, unused))
    )
    await run_task(scopes)
    assert log.take() == ["+session", "-session"]


@pytest.mark.parametrize("kinds", ["sync sync", "sync async", "async sync", "async async"])
async def test_dependants_are_closed_first(kinds: str) -> None:
    """A resource that needs another is closed before it, sync or async."""
    log = Log()
    makers = {"sync": log.resource, "async": log.async_resource}
    inner, outer = (makers[kind] for kind in kinds.split())
    connection = providers.ContextLocalResource(inner("connection"))
    session = providers.ContextLocalResource(outer("session"), connection)
    # the session is named first, and the connection asked for first
    container = one(session=session, it=providers.Factory(Service, connection, session), connection=connection)
    service: Any = await run_task(container_scopes(container))
    assert service.parts == ("connection", "session")
    assert log.take() == ["+connection", "+session", "-session", "-connection"]


@pytest.mark.parametrize("ending", [Broken, asyncio.CancelledError])
async def test_a_failed_or_cancelled_task_closes_its_resources_too(ending: type[BaseException]) -> None:
    """The part after the yield runs without a try, and the exception of the task goes on."""
    log = Log()
    session = providers.ContextLocalResource(log.resource("session"))
    connection = providers.ContextLocalResource(log.async_resource("connection"), session)
    scopes = container_scopes(one(it=providers.Factory(Service, connection)))

    async def body(scope: Any) -> None:
        await get(scope)
        raise ending

    with pytest.raises(ending):
        await run_task(scopes, body)
    assert log.take() == ["+session", "+connection", "-connection", "-session"]


async def test_one_failing_close_does_not_abandon_the_others() -> None:
    """All are closed, then the error is raised, so that the attempt fails; several come as a group."""
    log = Log()
    first = providers.ContextLocalResource(log.resource("first", failing=True))
    second = providers.ContextLocalResource(log.async_resource("second", failing=True), first)
    third = providers.ContextLocalResource(log.resource("third"), second)
    with pytest.raises(Broken, match="first"):
        await run_task(container_scopes(one(it=providers.Factory(Service, first))))
    log.take()
    with pytest.raises(ExceptionGroup) as group:
        await run_task(container_scopes(one(it=providers.Factory(Service, third))))
    assert log.take() == ["+first", "+second", "+third", "-third", "-second", "-first"]
    assert [str(error) for error in group.value.exceptions] == ["second", "first"]


async def test_a_cancelled_task_that_fails_to_close_stays_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    """The error of the close is logged, and does not hide the cancellation."""
    session = providers.ContextLocalResource(Log().resource("session", failing=True))

    async def body(scope: Any) -> None:
        await get(scope)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await run_task(container_scopes(one(it=providers.Factory(Service, session))), body)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_context_local_singletons_live_as_long_as_the_task() -> None:
    """One per task, sync or made by an async function."""

    async def make_other() -> Other:
        return Other()

    unit = providers.ContextLocalSingleton(Service)
    other = providers.ContextLocalSingleton(make_other)
    scopes = container_scopes(one(unit=unit, other=other, both=providers.Factory(list, providers.List(unit, other))))

    async def body(scope: Any) -> tuple[Any, Any]:
        pair = await get(scope), await get(scope, Other)
        assert pair == (await get(scope), await get(scope, Other))
        return pair

    first, second = await run_task(scopes, body), await run_task(scopes, body)
    assert not set(first) & set(second)


async def test_two_scopes_in_one_context_do_not_share_either() -> None:
    """Where scopes are opened one after the other without a context of their own, each starts anew."""
    log = Log()
    session = providers.ContextLocalResource(log.resource("session"))
    unit = providers.ContextLocalSingleton(Service, providers.ContextLocalResource(object))
    scopes = container_scopes(one(unit=unit, other=providers.Factory(Other, session), session=session))

    async def asked(scope: Any) -> object:
        return await get(scope, Other)

    async def opened_by_itself(_scope: Any) -> object:
        return session()

    async def twice(body: Any) -> list[Any]:
        found: list[Any] = []
        for _ in range(2):
            async with scopes() as scope:
                found.append(await body(scope))
        return found

    first, second = await as_task(lambda: twice(get))
    assert first.parts != second.parts
    assert log.take() == []
    for body in (asked, opened_by_itself):
        await as_task(functools.partial(twice, body))
        assert log.take() == ["+session", "-session"] * 2


async def test_after_a_scope_a_resource_works_as_before_it() -> None:
    """The end of a scope does not reach what is opened later in the same context."""
    session = providers.ContextLocalResource(Log().resource("session"))
    async with container_scopes(one(session=session))():
        pass
    assert session() == "session"
    session.shutdown()


async def test_what_lives_longer_is_left_alone() -> None:
    """Singletons and resources of the app are neither opened per task nor closed with it."""
    log = Log()
    pool = providers.Resource(log.resource("pool"))
    cache = providers.Singleton(Other)
    container = one(it=providers.Factory(Service, pool, cache), pool=pool, cache=cache)
    pool.init()
    first: Any = await run_task(container_scopes(container))
    second: Any = await run_task(container_scopes(container))
    assert first.parts == second.parts
    assert log.take() == ["+pool"]
    pool.shutdown()


def test_a_resource_is_guarded_once() -> None:
    """Several scopes over one container, as apps of several tests have, do not wrap its resources again and again."""
    session = providers.ContextLocalResource(Log().resource("session"))
    container = one(session=session)
    container_scopes(container)
    guarded = session.provides
    container_scopes(container)
    assert session.provides is guarded


async def test_an_overriding_resource_is_closed_as_well() -> None:
    """A test may replace the session after the start; its own is closed with each task, the original not opened."""
    log = Log()
    session = providers.ContextLocalResource(log.resource("session"))
    scopes = container_scopes(one(it=providers.Factory(Service, session)))
    await run_task(scopes)
    log.take()
    with session.override(providers.ContextLocalResource(log.resource("fake"))):
        assert (await run_task(scopes)).parts == ("fake",)
    assert log.take() == ["+fake", "-fake"]
    await run_task(scopes)
    assert log.take() == ["+session", "-session"]
