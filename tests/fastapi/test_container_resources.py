"""The resources of a container that live as long as the app, and the processor as a dependency of services."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from dependency_injector import containers, providers

from taskproc import TaskProcessor
from taskproc_fastapi.container import container_resources, satisfy
from tests.fastapi.container_kit import Broken, Log, Other, Service, nothing_unhandled, one, shut_down


async def test_resources_are_open_between_start_and_end_dependants_closed_first() -> None:
    """Sync and async resources, named or not, open each once, and close in reverse order of what they need."""
    log = Log()
    pool = providers.Resource(log.async_resource("pool"))
    cache = providers.Resource(log.resource("cache"), providers.Resource(log.resource("inline")))
    api = providers.Resource(log.resource("api"), pool, cache)
    container = one(api=api, pool=pool, cache=cache)
    async with nothing_unhandled():
        async with container_resources(container):
            opened = log.take()
            assert sorted(opened) == ["+api", "+cache", "+inline", "+pool"]
            assert opened.index("+pool") < opened.index("+api")
            assert await api.async_() == "api"
        closed = log.take()
    assert closed == [entry.replace("+", "-") for entry in reversed(opened)]
    assert not api.initialized


async def test_the_container_may_be_used_again() -> None:
    """A second start opens the resources anew, and singletons do not keep those of the first."""
    numbers = iter(range(10))

    async def connect() -> AsyncIterator[int]:
        yield next(numbers)

    pool = providers.Resource(connect)
    keeping, apart = providers.Singleton(Service, pool), providers.Singleton(Other)
    container = one(pool=pool, keeping=keeping, apart=apart)
    found: list[Any] = []
    for _ in range(2):
        async with container_resources(container):
            found.append((await keeping.async_(), apart()))
    assert [service.parts for service, _ in found] == [(0,), (1,)]
    assert found[0][1] is found[1][1]
    assert await pool.async_() == 2  # opened by hand, as it is without the app
    await shut_down(pool)


async def test_what_belongs_to_tasks_is_not_opened() -> None:
    """Context-local resources are left to the tasks."""
    log = Log()
    async with container_resources(one(session=providers.ContextLocalResource(log.resource("session")))):
        pass
    assert log.take() == []


async def test_resources_opened_before_are_not_closed() -> None:
    """What somebody else opened is theirs to close."""
    log = Log()
    pool = providers.Resource(log.resource("pool"))
    pool.init()
    async with container_resources(one(pool=pool)):
        pass
    assert log.take() == ["+pool"]
    pool.shutdown()
    assert log.take() == ["-pool"]


async def test_a_failing_start_closes_what_was_opened() -> None:
    """The error goes on, and a next start can succeed."""
    log = Log()
    failing = True

    async def connect(_cache: str) -> AsyncIterator[str]:
        await asyncio.sleep(0)
        if failing:
            raise Broken("no answer")
        yield "connection"

    cache = providers.Resource(log.async_resource("cache"))
    connection = providers.Resource(connect, cache)
    container = one(connection=connection, cache=cache)
    async with nothing_unhandled():
        with pytest.raises(Broken, match="no answer"):
            async with container_resources(container):
                raise AssertionError("it started")
        assert log.take() == ["+cache", "-cache"]
        failing = False
        async with container_resources(container):
            assert await connection.async_() == "connection"


async def test_a_failing_close_does_not_abandon_the_others() -> None:
    """All are closed, and the errors are raised."""
    log = Log()
    first = providers.Resource(log.resource("first", failing=True))
    second = providers.Resource(log.async_resource("second", failing=True), first)
    container = one(second=second)
    with pytest.raises(ExceptionGroup) as group:
        async with container_resources(container):
            log.take()
    assert log.take() == ["-second", "-first"]
    assert {str(error) for error in group.value.exceptions} == {"first", "second"}
    assert not first.initialized


async def test_an_async_resource_of_the_app_is_left_in_the_task_that_entered_it() -> None:
    """So a client that keeps a task group or a timeout open works."""
    tasks: list[object] = []

    async def client() -> AsyncIterator[str]:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            keeping_alive = group.create_task(asyncio.sleep(30))
            tasks.append(asyncio.current_task())
            yield "client"
            keeping_alive.cancel()
            tasks.append(asyncio.current_task())

    async with container_resources(one(client=providers.Resource(client))):
        pass
    assert tasks == [asyncio.current_task()] * 2


async def test_an_overridden_resource_is_not_opened() -> None:
    """A test that overrides the pool does not connect to it."""
    log = Log()
    pool = providers.Resource(log.resource("pool"))
    with pool.override("fake"):
        async with container_resources(one(pool=pool)):
            assert pool() == "fake"
    with pool.override(providers.Resource(log.resource("other"))):
        async with container_resources(one(pool=pool)):
            assert pool() == "other"
    assert log.take() == ["+other", "-other"]


class Inner(containers.DeclarativeContainer):
    tasks = providers.Dependency(instance_of=TaskProcessor)
    service = providers.Factory(Service, tasks)


class Outer(containers.DeclarativeContainer):
    tasks = providers.Dependency(instance_of=TaskProcessor)
    number = providers.Dependency(instance_of=int)
    anything: providers.Dependency[Any] = providers.Dependency()
    inner = providers.Container(Inner)
    handed_on = providers.Container(Inner, tasks=tasks)
    inline = providers.Factory(Service, providers.Dependency(instance_of=TaskProcessor))


def test_dependencies_get_the_processor_wherever_they_are() -> None:
    """In the container, in nested ones, in those that are handed the outer one's, and where they are written inline."""
    container = Outer()
    processor = TaskProcessor()
    satisfy(container, processor)
    assert container.tasks() is processor
    assert container.inner.service().parts == (processor,)
    assert container.handed_on.service().parts == (processor,)
    assert container.inline().parts == (processor,)
    assert not container.number.is_defined
    assert not container.anything.is_defined


def test_the_last_app_on_a_container_gives_it_its_processor() -> None:
    """Tests make many apps on one container; what somebody overrides by hand stays."""
    container = Outer()
    by_hand = TaskProcessor()
    container.inner.tasks.override(by_hand)
    processors = TaskProcessor(), TaskProcessor()
    for processor in processors:
        satisfy(container, processor)
    assert container.tasks() is processors[1]
    assert container.inner.tasks() is by_hand
    container.tasks.reset_last_overriding()
    assert not container.tasks.is_defined


def test_what_was_made_with_the_processor_of_an_earlier_app_is_made_anew() -> None:
    """A singleton would hand tasks to it for ever; what has nothing to do with it stays as it is."""
    container = Outer()
    container.set_providers(
        keeps=providers.Singleton(Service, container.tasks), other=providers.Singleton(Service, "no processor")
    )
    processors = TaskProcessor(), TaskProcessor()
    satisfy(container, processors[0])
    made = container.keeps(), container.other()
    satisfy(container, processors[0])
    assert (container.keeps(), container.other()) == made
    satisfy(container, processors[1])
    assert container.keeps().parts == (processors[1],)
    assert container.other() is made[1]


def test_an_override_of_a_test_hides_no_old_processor() -> None:
    """What lies below it is that of the last app, too."""
    container = Outer()
    fake, *processors = TaskProcessor(), TaskProcessor(), TaskProcessor()
    satisfy(container, processors[0])
    with container.tasks.override(fake):
        satisfy(container, processors[1])
        assert container.tasks() is fake
    assert container.tasks() is processors[1]
