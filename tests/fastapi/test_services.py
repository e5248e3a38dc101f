"""Which provider of a dependency-injector container gives the type that a task names."""

import asyncio
import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any, Generic, Protocol, Self, TypeVar

import pytest
from dependency_injector import containers, providers, resources

from taskproc.errors import ConfigurationError
from taskproc_fastapi import container_scopes
from taskproc_fastapi.graph import AnyContainer

T = TypeVar("T")


class SendsMail(Protocol):
    def send(self) -> None: ...


class Importer(ABC):
    @abstractmethod
    def load(self) -> None: ...


class Session:
    @classmethod
    def connect(cls) -> Self:
        return cls()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None: ...


class Mailer(SendsMail):
    def __init__(self, session: object = None) -> None:
        self.session = session

    def send(self) -> None: ...


class OtherMailer(Mailer): ...


class FakeMailer:
    def send(self) -> None: ...


class Repository(Generic[T]): ...


async def given(container: AnyContainer, service: type, services: Any = None) -> Any:
    """What a scope over the container gives for the type."""
    async with container_scopes(container, services)() as scope:
        return await got(scope, service)


async def got(scope: Any, service: type) -> Any:
    """What the scope gives, awaited if need be."""
    made = scope.get(service)
    return await made if asyncio.iscoroutine(made) else made


def one(**named: providers.Provider[Any]) -> containers.DynamicContainer:
    """A container with these providers."""
    container = containers.DynamicContainer()
    container.set_providers(**named)
    return container


async def test_the_provider_of_exactly_the_type_comes_first() -> None:
    """A subclass elsewhere in the container does not matter to the exact type, whatever the order."""
    container = one(other=providers.Factory(OtherMailer), mailer=providers.Factory(Mailer))
    assert type(await given(container, Mailer)) is Mailer
    assert type(await given(container, OtherMailer)) is OtherMailer


async def test_an_interface_is_given_by_the_only_provider_that_has_it_among_its_bases() -> None:
    """Protocols and abstract classes stand for the one class that names them as a base."""
    container = one(mailer=providers.Factory(Mailer), session=providers.Object(Session()))
    assert isinstance(await given(container, SendsMail), Mailer)
    with pytest.raises(ConfigurationError, match=r"no provider.*Importer.*services=\{Importer: provider\}"):
        await given(container, Importer)


async def test_two_providers_of_a_type_are_an_error_that_names_services() -> None:
    """The message names both providers, and how to choose; choosing is then enough."""
    container = one(first=providers.Factory(Mailer), second=providers.Factory(Mailer, session=2))
    with pytest.raises(ConfigurationError, match=r"2 providers.*first, second.*services=\{Mailer: container\.first\}"):
        await given(container, Mailer)
    assert (await given(container, Mailer, {Mailer: container.second})).session == 2


async def test_services_may_name_any_type_provider_or_function() -> None:
    """`services` comes before everything else, and gives types that no provider is known to make."""
    container = one(mailer=providers.Factory(Mailer), untyped=providers.Factory(lambda: 7))
    services: dict[type, Any] = {
        SendsMail: container.untyped,
        Importer: lambda: "made",
        Mailer: container.mailer.provided.session,
    }
    assert await given(container, SendsMail, services) == 7
    assert await given(container, Importer, services) == "made"
    assert await given(container, Mailer, services) is None
    assert set(services) <= set(container_scopes(container, services).provides)


class Nested(containers.DeclarativeContainer):
    session = providers.Dependency(instance_of=Session)
    other = providers.Factory(OtherMailer, session)


class Declared(containers.DeclarativeContainer):
    session = providers.Singleton(Session)
    mailer = providers.Factory(Mailer, session)
    nested = providers.Container(Nested, session=session)


async def test_services_may_name_providers_of_the_class() -> None:
    """`Declared.mailer` means that of the container passed, which is an instance with providers of its own."""
    container = Declared()
    found = await given(container, SendsMail, {SendsMail: Declared.mailer, Importer: Declared.nested.other})
    assert found.session is container.session()
    other = await given(container, Importer, {Importer: Declared.nested.other})
    assert other.session is container.session()


async def test_nested_containers_are_searched() -> None:
    """A service of a nested container is found, and a dependency of it is its parent's provider, not a second one."""
    container = Declared()
    other = await given(container, OtherMailer)
    assert other.session is container.session()
    assert await given(container, Session) is other.session


async def test_a_container_class_will_do() -> None:
    """A declarative container works without being instantiated."""
    assert (await given(Declared, Mailer)).session is Declared.session()


class Make:
    """Functions of all kinds that make a session."""

    @staticmethod
    def plain() -> Session:
        return Session()

    @staticmethod
    def annotated() -> Annotated[Session, "of the request"]:
        return Session()

    @staticmethod
    async def coroutine() -> Session:
        return Session()

    @staticmethod
    def iterator() -> Iterator[Session]:
        yield Session()

    @staticmethod
    def generator() -> Generator[Session, None, None]:
        yield Session()

    @staticmethod
    async def async_iterator() -> AsyncIterator[Session]:
        yield Session()

    @staticmethod
    async def async_generator() -> AsyncGenerator[Session]:
        yield Session()

    @staticmethod
    @contextmanager
    def manager() -> Generator[Session]:
        yield Session()

    @staticmethod
    @asynccontextmanager
    async def async_manager() -> AsyncGenerator[Session]:
        yield Session()

    def __call__(self) -> Session:
        return Session()


class SessionResource(resources.Resource[Session]):
    def init(self, *_args: Any, **_kwargs: Any) -> Session:
        return Session()


class AsyncSessionResource(resources.AsyncResource[Session]):
    async def init(self, *_args: Any, **_kwargs: Any) -> Session:
        return Session()


PROVIDERS_OF_A_SESSION: dict[str, Callable[[], providers.Provider[Any]]] = {
    "factory": lambda: providers.Factory(Session),
    "factory of a function": lambda: providers.Factory(Make.plain),
    "annotated": lambda: providers.Callable(Make.annotated),
    "factory of a class method": lambda: providers.Factory(Session.connect),
    "factory of an object": lambda: providers.Factory(Make()),
    "factory of a partial": lambda: providers.Factory(functools.partial(Make.plain)),
    "factory of a provider": lambda: providers.Factory(providers.Factory(Session)),
    "singleton": lambda: providers.ThreadSafeSingleton(Session),
    "context-local singleton": lambda: providers.ContextLocalSingleton(Session),
    "object": lambda: providers.Object(Session()),
    "callable": lambda: providers.Callable(Make.plain),
    "coroutine": lambda: providers.Coroutine(Make.coroutine),
    "async factory": lambda: providers.Factory(Make.coroutine),
    "default": lambda: providers.Dependency(instance_of=Session, default=providers.Factory(Session)),
    "iterator": lambda: providers.ContextLocalResource(Make.iterator),
    "generator": lambda: providers.ContextLocalResource(Make.generator),
    "async iterator": lambda: providers.ContextLocalResource(Make.async_iterator),
    "async generator": lambda: providers.ContextLocalResource(Make.async_generator),
    "context manager": lambda: providers.ContextLocalResource(Make.manager),
    "async context manager": lambda: providers.ContextLocalResource(Make.async_manager),
    "async function resource": lambda: providers.ContextLocalResource(Make.coroutine),
    "resource that is entered": lambda: providers.ContextLocalResource(Session),
    "resource class": lambda: providers.ContextLocalResource(SessionResource),
    "async resource class": lambda: providers.ContextLocalResource(AsyncSessionResource),
    "resource of the app": lambda: providers.Resource(Make.plain),
}


@pytest.mark.parametrize("kind", PROVIDERS_OF_A_SESSION)
async def test_each_kind_of_provider_counts_by_its_class_or_return_annotation(kind: str) -> None:
    """Whatever provides a Session gives it when a task names Session."""
    container = one(it=PROVIDERS_OF_A_SESSION[kind](), other=providers.Factory(Mailer))
    assert isinstance(await given(container, Session), Session)


async def test_generic_classes_count_by_their_origin() -> None:
    """`-> Repository[int]` provides a Repository."""

    def make() -> Repository[int]:
        return Repository()

    assert isinstance(await given(one(it=providers.Factory(make)), Repository), Repository)


async def test_what_is_not_known_to_be_a_service_is_not_one() -> None:
    """Functions without a usable annotation, plain values, configuration and containers provide nothing."""

    def misspelt() -> Any:
        return Session()

    misspelt.__annotations__["return"] = "Sesion"
    container = one(
        misspelt=providers.Factory(misspelt),
        no_annotation=providers.Factory(lambda: [Session()]),
        text=providers.Object("text"),
        number=providers.Callable(lambda: 1),
        config=providers.Configuration(),
        delegate=providers.Factory(Mailer).provider,
        nested=providers.Container(Nested),  # which needs a Session
        items=providers.List(providers.Factory(Session)),
    )
    assert set(container_scopes(container).provides) == {OtherMailer, Session}


async def test_a_selector_counts_by_what_its_options_have_in_common() -> None:
    """It gives the interface of all its options; the options, when they are providers too, give their own classes."""
    config = providers.Configuration()
    config.from_dict({"mailer": "second"})
    chosen = providers.Selector(config.mailer, first=providers.Factory(Mailer), second=providers.Factory(OtherMailer))
    assert type(await given(one(it=chosen), SendsMail)) is OtherMailer
    container = one(it=chosen, other=chosen.second)
    assert type(await given(container, OtherMailer)) is OtherMailer
    empty = providers.Selector(config.mailer)
    assert not container_scopes(one(it=empty)).provides


async def test_overrides_are_honoured_whenever_they_are_set() -> None:
    """A test overrides a provider after the start, by a class of its own, and takes that back."""
    container = Declared()
    scopes = container_scopes(container)

    async def mailer(service: type) -> object:
        async with scopes() as scope:
            return await got(scope, service)

    assert type(await mailer(Mailer)) is Mailer
    with container.mailer.override(providers.Factory(FakeMailer)):
        assert type(await mailer(Mailer)) is FakeMailer
        assert type(await mailer(FakeMailer)) is FakeMailer
        assert FakeMailer in scopes.provides
    assert type(await mailer(Mailer)) is Mailer
    with pytest.raises(ConfigurationError):
        await mailer(FakeMailer)
    with container.mailer.override(FakeMailer()), container.session.override(Session()):
        assert type(await mailer(Mailer)) is FakeMailer


async def test_a_dependency_may_be_satisfied_after_the_start() -> None:
    """Its type may be named at once; until it is satisfied, another provider of the type counts."""
    mailer: providers.Dependency[Any] = providers.Dependency(instance_of=Mailer)
    scopes = container_scopes(one(mailer=mailer))
    assert Mailer in scopes.provides
    async with scopes() as scope:
        with pytest.raises(ConfigurationError, match="no provider"):
            await got(scope, Mailer)
        mailer.override(providers.Factory(OtherMailer))
        assert type(await got(scope, Mailer)) is OtherMailer
    undefined: providers.Dependency[Any] = providers.Dependency(instance_of=Mailer)
    assert type(await given(one(undefined=undefined, it=providers.Factory(OtherMailer)), Mailer)) is OtherMailer


async def test_an_override_by_another_named_provider_is_no_second_provider() -> None:
    """A provider that overrides another and has a name too comes to the same service under both."""
    container = one(mailer=providers.Factory(Mailer), other=providers.Factory(OtherMailer))
    container.mailer.override(container.other)
    assert type(await given(container, SendsMail)) is OtherMailer


@pytest.mark.parametrize("container", [None, Session(), Session, providers.Container(Nested)])
def test_only_a_container_will_do(container: Any) -> None:
    """Something else in place of the container is refused at once."""
    with pytest.raises(ConfigurationError, match="is not a dependency-injector container"):
        container_scopes(container)


@pytest.mark.parametrize("services", [{"Mailer": Mailer}, {Mailer: "mailer"}])
def test_services_take_classes_and_providers(services: Any) -> None:
    """Names in place of classes or providers are refused at once."""
    with pytest.raises(ConfigurationError, match="pass a class and a provider"):
        container_scopes(Declared(), services)


def test_services_refuse_what_needs_arguments() -> None:
    """A class in the place of its provider is an error at once, not one of each task."""

    class Needy:
        def __init__(self, session: object, size: int = 1, *more: object) -> None: ...

    needy: Any = Needy  # a type checker finds it too
    refused = r"it needs session, .*services=\{SendsMail: container\.some_provider\}"
    with pytest.raises(ConfigurationError, match=refused):
        container_scopes(one(), {SendsMail: needy})
