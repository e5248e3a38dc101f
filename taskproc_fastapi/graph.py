"""Walks the providers of a dependency-injector container: what there is, and what each one calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Any, TypeGuard, cast

from dependency_injector import containers, providers

from taskproc.errors import ConfigurationError
from taskproc_fastapi.resources import unguarded

__all__ = [
    "AnyContainer",
    "AnyProvider",
    "Snapshot",
    "everything",
    "final",
    "is_context_local",
    "named",
    "overriding",
    "reachable",
    "refuse_captives",
]

AnyProvider = providers.Provider[Any]
ContextLocal = providers.ContextLocalResource[Any] | providers.ContextLocalSingleton[Any]
AnyContainer = containers.Container | type[containers.DeclarativeContainer]

_CONTEXT_LOCAL = (providers.ContextLocalResource, providers.ContextLocalSingleton)
_LONG_LIVED = (providers.BaseSingleton, providers.Resource)
_CALLS_NOTHING = (  # they give what they hold
    providers.Aggregate,
    providers.ConfigurationOption,
    providers.Container,
    providers.Delegate,
    providers.Object,
    providers.Self,
)


def is_context_local(provider: AnyProvider) -> TypeGuard[ContextLocal]:
    """Whether each task has its own of what the provider gives."""
    return isinstance(provider, _CONTEXT_LOCAL)


def named(container: AnyContainer) -> dict[str, AnyProvider]:
    """The providers of the container and of those nested in it, by path: `mailer`, `billing.mailer`."""
    found: dict[str, AnyProvider] = {}
    for name, provider in container.providers.items():
        found[name] = provider
        if isinstance(provider, providers.Container | providers.DependenciesContainer):
            nested = named(cast("AnyContainer", provider))  # it has `providers` too
            found.update({f"{name}.{path}": each for path, each in nested.items()})
    return found


def everything(roots: Iterable[AnyProvider]) -> list[AnyProvider]:
    """The roots and all that belongs to them: injected, overriding, nested, or written where it is used."""
    return _walk(roots, _related)


def reachable(provider: AnyProvider) -> list[AnyProvider]:
    """What may be called when `provider` is called, itself first; overrides are followed, delegates are not."""
    return _walk([provider], _called)


def final(provider: AnyProvider) -> AnyProvider:
    """The one that is called in the end in place of `provider`, by overrides and dependencies."""
    successor = _successor(provider)
    return provider if successor is None else final(successor)


def refuse_captives(all_providers: Iterable[AnyProvider], names: dict[AnyProvider, str]) -> None:
    """ConfigurationError when something that outlives a task would keep what belongs to one task."""
    for provider in all_providers:
        outlives = isinstance(provider, _LONG_LIVED) and not is_context_local(provider)
        path = _path_to_context_local(provider) if outlives and overriding(provider) is None else None
        if path is None:
            continue
        shown = [names.get(each, f"({type(each).__name__})") for each in path]
        raise ConfigurationError(
            f"{type(provider).__name__} {shown[0]!r} would keep {shown[-1]!r}, which each task has its own of, for all "
            f"tasks: {' → '.join(shown)}. Make it a Factory or a ContextLocalSingleton, or inject "
            f"`{shown[-1]}.provider` and call that in each method"
        )


def overriding(provider: AnyProvider) -> AnyProvider | None:
    """What overrides the provider at the moment, if anything does."""
    return cast("AnyProvider | None", cast("Any", provider).last_overriding)


class Snapshot:
    """How some providers are overridden at a moment."""

    __slots__ = ("_overriding", "_providers")

    def __init__(self, watched: Iterable[AnyProvider]) -> None:
        self._providers = tuple(watched)
        self._overriding = self._look()

    def holds(self) -> bool:
        """Whether nothing has changed since."""
        return self._look() == self._overriding

    def _look(self) -> tuple[AnyProvider | None, ...]:
        return tuple(map(_last_overriding, self._providers))


_last_overriding = attrgetter("last_overriding")


def _walk(roots: Iterable[AnyProvider], children: Callable[[AnyProvider], Iterable[AnyProvider]]) -> list[AnyProvider]:
    found: dict[AnyProvider, None] = {}
    waiting = list(roots)[::-1]
    while waiting:
        provider = waiting.pop()
        if provider not in found:
            found[provider] = None
            waiting.extend(list(children(provider))[::-1])
    return list(found)


def _related(provider: AnyProvider) -> Iterator[AnyProvider]:
    related = cast("Iterator[AnyProvider]", cast("Any", provider).related)
    yield from filter(providers.is_provider, related)
    yield from _provider_behind_guard(provider)


def _called(provider: AnyProvider) -> Iterator[AnyProvider]:
    successor = _successor(provider)
    if successor is not None:
        yield successor
    elif not isinstance(provider, _CALLS_NOTHING):
        yield from (each for each in _related(provider) if not providers.is_delegated(each))


def _successor(provider: AnyProvider) -> AnyProvider | None:
    successor = overriding(provider)
    if successor is None and isinstance(provider, providers.Dependency):
        return cast("AnyProvider | None", provider.default)
    return successor


def _provider_behind_guard(provider: AnyProvider) -> Iterator[AnyProvider]:
    if isinstance(provider, providers.BaseResource):
        provides = unguarded(provider.provides)
        if provides is not provider.provides and providers.is_provider(provides):
            yield cast("AnyProvider", provides)


def _path_to_context_local(start: AnyProvider) -> list[AnyProvider] | None:
    came_from: dict[AnyProvider, AnyProvider | None] = {start: None}
    waiting = deque([start])
    while waiting:
        provider = waiting.popleft()
        if is_context_local(provider):
            return _way_to(provider, came_from)
        for each in _called(provider):
            if each not in came_from:
                came_from[each] = provider
                waiting.append(each)
    return None


def _way_to(provider: AnyProvider, came_from: dict[AnyProvider, AnyProvider | None]) -> list[AnyProvider]:
    way = [provider]
    while (before := came_from[way[-1]]) is not None:
        way.append(before)
    return way[::-1]
