"""Which provider of a dependency-injector container gives a service, found by its type."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any, Self, cast, get_args, get_origin, get_type_hints

from dependency_injector import providers, resources

from taskproc.errors import ConfigurationError
from taskproc_fastapi.graph import (
    AnyContainer,
    AnyProvider,
    Snapshot,
    everything,
    final,
    is_context_local,
    named,
    overriding,
    refuse_captives,
)
from taskproc_fastapi.resources import guard, unguarded

__all__ = ["ServiceIndex"]

_MAKERS = (providers.Callable, providers.Factory, providers.BaseSingleton, providers.BaseResource)
_HOLDS_NO_SERVICE = (providers.Configuration, providers.DependenciesContainer)
_OPENED: tuple[type, ...] = (Iterable, AsyncIterable, AbstractContextManager, AbstractAsyncContextManager)


class ServiceIndex:
    """The services of a container as its providers are overridden at the moment.

    It guards the context-local resources, and refuses singletons that would keep one.
    """

    def __init__(self, container: AnyContainer, services: Mapping[type, AnyProvider]) -> None:
        paths = named(container)
        all_providers = everything([*paths.values(), *services.values()])
        self.context_local = [each for each in all_providers if is_context_local(each)]
        for provider in self.context_local:
            if isinstance(provider, providers.ContextLocalResource):
                guard(provider)
        refuse_captives(all_providers, {provider: path for path, provider in paths.items()})
        self.snapshot = Snapshot(all_providers)
        self._services = dict(services)
        self._candidates = [
            _Candidate(path=path, provider=provider, types=_types(provider)) for path, provider in paths.items()
        ]
        exact = {each for candidate in self._candidates for each in candidate.types.exact}
        self.provides: Collection[type] = frozenset(exact | services.keys())

    def find(self, service: type) -> AnyProvider:
        """The provider that `services` names; else that of exactly this class; else the only one of a subclass.

        ConfigurationError when there is none, or more than one.
        """
        if service in self._services:
            return self._services[service]
        able = [each for each in self._candidates if not _is_undefined(each.provider)]
        found = _distinct(each for each in able if service in each.types.exact)
        found = found or _distinct(each for each in able if service in each.types.bases)
        if len(found) == 1:
            return found[0].provider
        raise ConfigurationError(_not_one(service, [each.path for each in found]))


@dataclass(frozen=True, slots=True)
class _Types:
    exact: frozenset[type] = frozenset()
    bases: frozenset[type] = frozenset()

    def __or__(self, other: _Types) -> _Types:
        return _Types(self.exact | other.exact, self.bases | other.bases)

    def __and__(self, other: _Types) -> _Types:
        return _Types(self.exact & other.exact, self.bases & other.bases)


_NONE = _Types()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    path: str
    provider: AnyProvider
    types: _Types


def _distinct(candidates: Iterable[_Candidate]) -> list[_Candidate]:
    """One of those that come to the same in the end: a nested container's dependency is its parent's provider."""
    return list({final(each.provider): each for each in candidates}.values())


def _is_undefined(provider: AnyProvider) -> bool:
    successor = final(provider)
    return isinstance(successor, providers.Dependency) and not successor.is_defined


def _not_one(service: type, paths: list[str]) -> str:
    name = service.__qualname__
    if not paths:
        return (
            f"no provider of the container gives a {name}: add one, or say which does "
            f"with services={{{name}: provider}}; a provider over a function counts by its return annotation"
        )
    return (
        f"{len(paths)} providers of the container give a {name}: {', '.join(paths)}; "
        f"say which with services={{{name}: container.{paths[0]}}}"
    )


def _types(provider: AnyProvider) -> _Types:
    """What a provider gives: its own and, since tests override with whatever works alike, that of its override."""
    return _own_types(provider) | _types_if_any(overriding(provider))


def _types_if_any(provider: AnyProvider | None) -> _Types:
    return _NONE if provider is None else _types(provider)


def _own_types(provider: AnyProvider) -> _Types:
    if isinstance(provider, providers.Dependency):
        return _of_class(provider.instance_of) | _types_if_any(cast("AnyProvider | None", provider.default))
    if isinstance(provider, providers.Selector):
        options = [_types(option) for option in provider.providers.values()]
        return functools.reduce(_Types.__and__, options) if options else _NONE
    if isinstance(provider, _MAKERS):
        return _made_by(unguarded(provider.provides), opened=isinstance(provider, providers.BaseResource))
    if isinstance(provider, providers.Object) and not isinstance(provider, _HOLDS_NO_SERVICE):
        return _of_class(cast("type", type(provider.provides)))
    return _NONE


def _of_class(cls: object) -> _Types:
    if not isinstance(cls, type) or cls.__module__ == "builtins":  # no task means a plain str or object
        return _NONE
    return _Types(frozenset({cls}), frozenset(cls.__mro__))


def _made_by(maker: object, *, opened: bool) -> _Types:
    """What calling `maker` makes and, when it is `opened` as a resource, what that gives."""
    if providers.is_provider(maker):
        return _types(cast("AnyProvider", maker))
    if not isinstance(maker, type):
        return _of_class(_annotated(maker, opened=opened))
    return _of_class(_opened_by(cast("type[Any]", maker)) if opened else maker)


def _opened_by(maker: type[Any]) -> type | None:
    """What one gets from an object of the class by entering it, if it can be entered."""
    if issubclass(maker, resources.Resource | resources.AsyncResource):
        return _annotated(cast("object", maker.init), opened=False)
    enter: object = getattr(maker, "__enter__", None) or getattr(maker, "__aenter__", None)
    entered = None if enter is None else _annotated(enter, opened=False)
    return entered or maker


def _annotated(function: object, *, opened: bool) -> type | None:
    """The class that the return annotation of a function names, if it names one."""
    while isinstance(function, functools.partial):
        function = cast("functools.partial[object]", function).func
    owner = getattr(function, "__self__", None)
    if not inspect.isroutine(function):
        function = type(function).__call__  # an object that can be called
    try:
        hint = get_type_hints(inspect.unwrap(cast("Callable[..., object]", function))).get("return")
    except (NameError, TypeError, AttributeError):  # a name that only a type checker knows
        return None
    return _class_in(hint, owner, opened=opened)


def _class_in(hint: object, owner: object, *, opened: bool) -> type | None:
    if hint is Self:
        return owner if isinstance(owner, type) else None
    origin = get_origin(hint)
    arguments = get_args(hint)
    if origin is Annotated:
        return _class_in(arguments[0], owner, opened=opened)
    if inspect.isclass(origin) and arguments:
        if issubclass(origin, Awaitable):
            return _class_in(arguments[-1], owner, opened=opened)
        if opened and issubclass(origin, _OPENED):
            return _class_in(arguments[0], owner, opened=False)
    cls: object = origin or hint
    return cls if isinstance(cls, type) else None
