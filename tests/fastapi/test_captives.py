"""Singletons and resources of the app may not keep what belongs to one task."""

from collections.abc import Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers

from taskproc.errors import ConfigurationError
from taskproc_fastapi import container_scopes
from taskproc_fastapi.graph import everything
from taskproc_fastapi.resources import guard
from tests.fastapi.container_kit import Service, one


class Session: ...


def open_session() -> Iterator[Session]:
    """One per task."""
    yield Session()


class Nested(containers.DeclarativeContainer):
    session = providers.Dependency(instance_of=Session)


def refused(**named: providers.Provider[Any]) -> str:
    """Why a container with these providers is refused."""
    with pytest.raises(ConfigurationError) as error:
        container_scopes(one(**named))
    return str(error.value)


LONG_LIVED = [
    providers.Singleton,
    providers.ThreadSafeSingleton,
    providers.ThreadLocalSingleton,
    providers.DelegatedSingleton,
    providers.Resource,
]


@pytest.mark.parametrize("kind", LONG_LIVED)
def test_what_outlives_a_task_may_not_keep_what_belongs_to_it(kind: Any) -> None:
    """Each kind of long-lived provider is refused when a context-local one can be reached from it, with the path."""
    session = providers.ContextLocalResource(open_session)
    mailer = providers.Factory(Service, session)
    problem = refused(session=session, mailer=mailer, cache=kind(Service, mailer))
    assert f"{kind.__name__} 'cache' would keep 'session'" in problem
    assert "cache → mailer → session" in problem
    assert "session.provider" in problem


def test_a_captive_is_found_wherever_it_is() -> None:
    """Context-local singletons, attributes, nested containers and providers without a name count as well."""
    local = providers.ContextLocalSingleton(Session)
    keeping_attribute = providers.Singleton(Service)
    keeping_attribute.add_attributes(session=local)
    assert "cache → local" in refused(local=local, cache=keeping_attribute)
    inline = providers.Factory(Service, providers.Singleton(Service, local))
    assert "(Singleton) → local" in refused(local=local, mailer=inline)

    class Holder(containers.DeclarativeContainer):
        session: providers.Dependency[Any] = providers.Dependency()
        cache = providers.Singleton(Service, session.provided.attribute)

    assert "holder.cache → (AttributeGetter) → " in refused(
        local=local, holder=providers.Container(Holder, session=local)
    )


async def test_what_asks_anew_each_time_is_no_captor() -> None:
    """A singleton may hold the provider of a resource, which it calls in each method, and may be overridden."""
    session = providers.ContextLocalResource(open_session)
    captor = providers.Singleton(Service, session)
    captor.override(providers.Factory(Service, session))
    nested = providers.Container(Nested)
    nested.set_provider("session", session)
    container = one(
        nested=nested,
        locator=providers.Singleton(Service, nested),
        session=session,
        delegating=providers.Singleton(Service, session.provider),
        delegated=providers.Singleton(Service, providers.DelegatedFactory(Service, session)),
        captor=captor,
        local=providers.ContextLocalSingleton(Service, session),
    )
    container_scopes(container)


def test_what_a_resource_takes_its_function_from_is_not_lost() -> None:
    """A provider that stands in place of a resource's function is still found when the resource is guarded."""
    local = providers.ContextLocalSingleton(Session)
    pool = providers.Resource(providers.Callable(Service, local))
    assert local in everything([pool])
    guard(pool)
    assert local in everything([pool])
    assert "pool → (Callable) → local" in refused(pool=pool, local=local)
