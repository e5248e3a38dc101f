"""Lets a dependency-injector container be where tasks get their services from."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from dependency_injector import containers, providers

from taskproc import TaskProcessor
from taskproc.errors import ConfigurationError
from taskproc.scopes import Scope, Scopes
from taskproc_fastapi.graph import (
    AnyContainer,
    AnyProvider,
    Snapshot,
    everything,
    is_context_local,
    named,
    overriding,
    reachable,
)
from taskproc_fastapi.resources import OpenResources, guard, of_app, of_task
from taskproc_fastapi.services import ServiceIndex

__all__ = ["container_resources", "container_scopes", "satisfy"]

T = TypeVar("T")


def container_scopes(
    container: AnyContainer, services: Mapping[type[Any], AnyProvider | Callable[[], object]] | None = None
) -> Scopes:
    """A scope for each task over a container: what is context-local in it lives as long as the task.

    A `ContextLocalResource` is opened when the task first needs it, and closed when the task has ended, however it
    ended; those that need another are closed before it, and one that fails to close does not keep the rest open. It is
    not told of the task's exception: what follows its `yield` always runs, so commit in the service. Whatever lives
    longer, `Singleton` and `Resource`, is left alone, and refused with ConfigurationError if it would keep something
    context-local.

    A type is given by the provider that `services` names for it, else by the provider of exactly this type, else by the
    only one whose class has the type among its bases. A provider over a function counts by its return annotation.
    Overrides are honoured whenever they are set.

    Async resources are entered and left in the asyncio task that runs the task. Only one that a method opens by itself,
    through an injected `resource.provider`, is entered in an asyncio task of the library's own.
    """
    if not containers.is_container(container):
        raise ConfigurationError(f"container={container!r} is not a dependency-injector container")
    return _ContainerScopes(container, _own_services(container, services or {}))


@asynccontextmanager
async def container_resources(container: AnyContainer) -> AsyncGenerator[None]:
    """Opens every `Resource` of the container, and closes those it opened at the end, dependants first.

    At the end, singletons that hold one of them are reset, so that the container may be used again.
    """
    all_providers = everything(named(container).values())
    opening = [each for each in all_providers if isinstance(each, providers.Resource) and not each.initialized]
    for provider in opening:
        guard(provider)
    opened = OpenResources()
    try:
        await _open(opening, opened)
        yield
    except BaseException as error:
        await opened.close(error)
        raise
    else:
        await opened.close(None)
    finally:
        for each in all_providers:
            if each in opening or _keeps_one_of(each, opening):
                _forget(each)


def satisfy(container: AnyContainer, processor: TaskProcessor, *, starting: bool = False) -> None:
    """Gives the processor to each `Dependency(instance_of=TaskProcessor)` of the container that nothing else satisfies,
    in place of that of another app; singletons that keep that one are reset.

    A processor that is connected is not replaced: when `starting`, that is a ConfigurationError.
    """
    all_providers = everything(named(container).values())
    given = {each: _given_to(each) for each in all_providers if _wants_processor(each)}
    others = [each.processor for each in given.values() if each is not None and each.processor is not processor]
    if any(other.connected for other in others):
        if starting:
            raise ConfigurationError(
                "the services of this container have the processor of another app, which is running: give each app a "
                "container of its own, or share that processor: app.add_task_processor(other.state.task_processor)"
            )
        return
    for provider, gift in given.items():
        if gift is not None:
            gift.processor = processor
        elif overriding(provider) is None:
            provider.override(_Given(processor))
    for provider in all_providers:
        if others and _keeps_one_of(provider, given):
            _forget(provider)


def _wants_processor(provider: AnyProvider) -> bool:
    return isinstance(provider, providers.Dependency) and issubclass(provider.instance_of, TaskProcessor)


def _given_to(provider: AnyProvider) -> _Given | None:
    overriding_it = cast("tuple[AnyProvider, ...]", cast("Any", provider).overridden)  # also below one of a test
    return next((each for each in overriding_it if isinstance(each, _Given)), None)


class _Given(providers.Object[TaskProcessor]):
    """What an app gave to its container."""

    @property
    def processor(self) -> TaskProcessor:
        return cast("TaskProcessor", self.provides)

    @processor.setter
    def processor(self, processor: TaskProcessor) -> None:
        self.set_provides(processor)


class _ContainerScopes:
    def __init__(self, container: AnyContainer, services: Mapping[type, AnyProvider]) -> None:
        self._container = container
        self._services = services
        self._index = ServiceIndex(container, services)
        self._plans: dict[type, _Plan] = {}

    @property
    def provides(self) -> Collection[type]:
        return self._current_index().provides

    def __call__(self) -> AbstractAsyncContextManager[Scope]:
        return _TaskScope(self)

    def plan(self, service: type) -> _Plan:
        plan = self._plans.get(service)
        if plan is None or not plan.snapshot.holds():
            plan = self._plans[service] = _planned(self._current_index().find(service), anew=plan is not None)
        return plan

    def forget(self, error: BaseException | None) -> None:
        """Lets a next scope in the same context start anew; most tasks have a context of their own."""
        for provider in self._index.context_local:
            still_being_made = isinstance(error, asyncio.CancelledError) and isinstance(
                provider, providers.BaseSingleton
            )
            if not still_being_made:
                _forget(provider)

    def _current_index(self) -> ServiceIndex:
        if not self._index.snapshot.holds():  # something was overridden, or is no longer
            self._index = ServiceIndex(self._container, self._services)
            self._plans.clear()
        return self._index


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    provider: AnyProvider
    snapshot: Snapshot
    context_local: bool


def _planned(provider: AnyProvider, *, anew: bool) -> _Plan:
    called = reachable(provider)
    for each in called:
        if anew and each.is_async_mode_disabled():
            each.reset_async_mode()  # what overrides something now may be async
    return _Plan(provider=provider, snapshot=Snapshot(called), context_local=any(map(is_context_local, called)))


class _TaskScope(OpenResources):
    __slots__ = ("_outer", "_scopes", "_used")

    def __init__(self, scopes: _ContainerScopes) -> None:
        super().__init__()
        self._scopes = scopes
        self._outer: OpenResources | None = None
        self._used = False  # whether there is something to forget

    async def __aenter__(self) -> Self:
        self._outer = of_task.get()
        of_task.set(self)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        of_task.set(self._outer)
        self._used = self._used or bool(self.exits)  # by a method that opened one by itself
        try:
            await self.close(error)
        finally:
            if self._used:
                self._scopes.forget(error)

    def get(self, service: type[T], /) -> T | Awaitable[T]:
        plan = self._scopes.plan(service)
        self._used = self._used or plan.context_local
        made = plan.provider()
        return self.resolve(cast("Awaitable[T]", made)) if plan.provider.is_async_mode_enabled() else cast("T", made)


async def _open(opening: Iterable[providers.Resource[Any]], opened: OpenResources) -> None:
    token = of_app.set(opened)
    try:
        for provider in opening:
            made = provider.init()
            if provider.is_async_mode_enabled():
                await opened.resolve(cast("Awaitable[object]", made))
    finally:
        of_app.reset(token)


def _keeps_one_of(provider: AnyProvider, opening: Collection[AnyProvider]) -> bool:
    keeps = isinstance(provider, providers.BaseSingleton) and not isinstance(provider, providers.AbstractSingleton)
    return keeps and any(each in opening for each in reachable(provider))


def _forget(provider: AnyProvider) -> None:
    """Makes a singleton, or a resource that has been left, start anew."""
    if isinstance(provider, providers.BaseSingleton):
        provider.reset()
    else:
        cast("Any", provider).reset_state()  # `shutdown()` would leave it once more; this one is not in the type stubs


def _own_services(
    container: AnyContainer, services: Mapping[type[Any], AnyProvider | Callable[[], object]]
) -> dict[type, AnyProvider]:
    """`services` with providers of this container: `Container.mailer` is that of the class, not of its instance."""
    declared = getattr(container, "declarative_parent", None)
    paths = {provider: path for path, provider in named(declared).items()} if declared is not None else {}
    own = named(container)
    found: dict[type, AnyProvider] = {}
    for service, maker in services.items():
        if not isinstance(service, type) or not callable(maker):
            raise ConfigurationError(
                f"services={{{service!r}: {maker!r}}}: pass a class and a provider of the container"
            )
        needed = [] if providers.is_provider(maker) else _required(maker)
        if needed:
            raise ConfigurationError(
                f"services={{{service.__name__}: {maker!r}}}: it needs {', '.join(needed)}, which nobody gives it. "
                f"Name the provider that does, as in services={{{service.__name__}: container.some_provider}}"
            )
        provider = cast("AnyProvider", maker) if providers.is_provider(maker) else providers.Callable(maker)
        found[service] = own.get(paths.get(provider, ""), provider)
    return found


def _required(maker: Callable[..., object]) -> list[str]:
    parameters = inspect.signature(maker).parameters.values()
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in optional]
