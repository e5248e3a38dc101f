"""Where the services come from that tasks call: a scope is opened before each call and closed after it."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast, runtime_checkable

from taskproc.errors import ConfigurationError
from taskproc.failure import log_error

__all__ = ["Exit", "Factory", "Scope", "Scopes", "as_scopes", "close_all", "factories"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Scope(Protocol):
    """What one task sees of the container: `get(Mailer)` gives the instance of this scope, or an awaitable of it."""

    def get(self, service: type[T], /) -> T | Awaitable[T]: ...


@runtime_checkable
class Scopes(Protocol):
    """Opens a scope for each task: `async with scopes() as scope`.

    `provides` are the types that a scope can give; they, and their bases, are what tasks may name.
    """

    @property
    def provides(self) -> Collection[type]: ...

    def __call__(self) -> AbstractAsyncContextManager[Scope]: ...


Factory = Callable[..., Any]
"""Makes a service: without parameters, or with one, the scope, from which it gets what it needs. It may be async, or an
(async) generator function: what follows its `yield` runs when the scope closes. The exception of a failed or cancelled
task is raised at that `yield`, so clean up in `finally`; it cannot be swallowed there."""

Exit = Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], object]
"""The `__exit__` or `__aexit__` of something that a scope has opened."""


def factories(makers: Mapping[Any, Factory]) -> Scopes:
    """Scopes over plain functions: `factories({Mailer: make_mailer})`. Each service is made at most once per task."""
    return _Factories({service: _maker(service, factory) for service, factory in makers.items()})


def as_scopes(scopes: object) -> Scopes:
    """`scopes` itself, or a dishka container wrapped as one; ConfigurationError for anything else."""
    if isinstance(scopes, Scopes):
        return scopes
    if callable(scopes) and hasattr(scopes, "registry") and inspect.iscoroutinefunction(getattr(scopes, "get", None)):
        return _Dishka(scopes)
    raise ConfigurationError(
        f"scopes={scopes!r} cannot open scopes: pass taskproc.factories({{Service: make_service}}), "
        "a dishka AsyncContainer, or an object with `provides` (the types it gives) that opens a scope when called"
    )


async def close_all(exits: list[Exit], error: BaseException | None) -> None:
    """Calls the exits, the last first, and all of them whatever fails; `exits` is empty afterwards.

    `error` ended the scope, if any did; the exits learn of it, and cannot swallow it. Then what failed is raised,
    several errors as a group; a cancellation comes before errors, which are logged then.
    """
    details = (type(error), error, error.__traceback__) if error is not None else (None, None, None)
    failures: list[BaseException] = []
    while exits:
        try:
            result = exits.pop()(*details)
            if hasattr(result, "__await__"):
                await cast("Awaitable[object]", result)
        except BaseException as failure:  # noqa: BLE001  the others must be closed too, then it is raised
            failures.append(failure)
    if failures:
        _raise(failures, error)


def _raise(failures: list[BaseException], error: BaseException | None) -> None:
    cancellation = next((each for each in (error, *failures) if isinstance(each, asyncio.CancelledError)), None)
    if cancellation is not None:
        for failure in failures:
            if not isinstance(failure, asyncio.CancelledError):
                log_error(logger, failure, "closing the scope of a cancelled task failed")
        if cancellation is error:
            return  # it goes on by itself
        raise cancellation
    if len(failures) == 1:
        raise failures[0]
    raise BaseExceptionGroup("closing the scope of a task failed", failures)


class _Provided:
    """The types that a scope gives, and which of them a task means by the one it names."""

    def __init__(self, provides: Collection[type], remedy: str) -> None:
        self.provides: Collection[type] = frozenset(provides)
        self._remedy = remedy
        self._meant = {service: service for service in provides}

    def meant(self, service: type) -> type:
        """`service` itself, or the only one that has it among its bases; ConfigurationError otherwise."""
        found = self._meant.get(service)
        if found is None:
            found = self._meant[service] = self._nearest(service)
        return found

    def _nearest(self, service: type) -> type:
        found = [each for each in self.provides if service in each.__mro__]
        if len(found) == 1:
            return found[0]
        name = service.__qualname__
        names = ", ".join(sorted(each.__qualname__ for each in found))
        problem = f"more than one is a {name}: {names}" if found else f"none is a {name}"
        raise ConfigurationError(f"of the services provided, {problem}; name one with {self._remedy.format(name)}")


class _Factories(_Provided):
    def __init__(self, makers: dict[type, _Maker]) -> None:
        super().__init__(makers, "factories({{{}: …}})")
        self.makers = makers

    def __call__(self) -> AbstractAsyncContextManager[Scope]:
        return _FactoryScope(self)


_being_made: ContextVar[tuple[type, ...]] = ContextVar("taskproc_being_made", default=())


class _FactoryScope:
    __slots__ = ("_exits", "_made", "_pending", "_scopes")

    def __init__(self, scopes: _Factories) -> None:
        self._scopes = scopes
        self._made: dict[type, Any] = {}
        self._pending: dict[type, asyncio.Future[Any]] = {}
        self._exits: list[Exit] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._exits:
            await close_all(self._exits, error)

    async def get(self, service: type[T], /) -> T:
        meant = self._scopes.meant(service)
        if meant in self._made:
            return cast("T", self._made[meant])
        if meant in _being_made.get():
            circle = " → ".join(each.__qualname__ for each in (*_being_made.get(), meant))
            raise ConfigurationError(f"the factories need each other in a circle: {circle}")
        if meant in self._pending:  # asked for twice at a time
            return cast("T", await asyncio.shield(self._pending[meant]))
        return cast("T", await self._make(meant))

    async def _make(self, service: type) -> object:
        pending = self._pending[service] = asyncio.get_running_loop().create_future()
        chain = _being_made.set((*_being_made.get(), service))
        try:
            made = self._made[service] = await self._made_by(self._scopes.makers[service])
        except BaseException as error:
            pending.set_exception(error if isinstance(error, Exception) else _interrupted(service))
            pending.exception()  # whoever waits learns of it; nobody may
            raise
        finally:
            _being_made.reset(chain)
            del self._pending[service]
        pending.set_result(made)
        return made

    async def _made_by(self, maker: _Maker) -> object:
        made = maker(self)
        if not maker.ends:
            return await made if inspect.isawaitable(made) else made
        if hasattr(made, "__aenter__"):
            opened = cast("AbstractAsyncContextManager[object]", made)
            service = await opened.__aenter__()
            self._exits.append(opened.__aexit__)
            return service
        entered = cast("AbstractContextManager[object]", made)
        service = entered.__enter__()
        self._exits.append(entered.__exit__)
        return service


def _interrupted(service: type) -> Exception:
    return RuntimeError(f"the making of {service.__qualname__} was interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maker:
    factory: Callable[..., object]
    wants_scope: bool
    ends: bool  # the factory gives a context manager, to be left when the scope closes

    def __call__(self, scope: Scope) -> object:
        return self.factory(scope) if self.wants_scope else self.factory()


def _maker(service: object, factory: Factory) -> _Maker:
    if not isinstance(service, type):
        raise ConfigurationError(f"factories({{{service!r}: …}}): the key must be a class, the one that tasks name")
    wants_scope = _required_parameters(service, factory) == 1
    if inspect.isasyncgenfunction(factory):
        return _Maker(factory=asynccontextmanager(factory), wants_scope=wants_scope, ends=True)
    if inspect.isgeneratorfunction(factory):
        return _Maker(factory=contextmanager(factory), wants_scope=wants_scope, ends=True)
    return _Maker(factory=factory, wants_scope=wants_scope, ends=False)


def _required_parameters(service: type, factory: Factory) -> int:
    parameters = inspect.signature(factory).parameters.values()
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(required) > 1 or any(p.kind is p.KEYWORD_ONLY for p in required):
        raise ConfigurationError(
            f"the factory of {service!r} takes {', '.join(p.name for p in required)}; "
            "it may take nothing, or one parameter: the scope, "
            "from which it gets the services it needs (`await scope.get(Session)`)"
        )
    return len(required)


class _Dishka(_Provided):
    """A dishka AsyncContainer: calling it opens its next scope, which gives services by `await scope.get(T)`."""

    def __init__(self, container: Any) -> None:
        super().__init__(_dishka_types(container.registry), "provide(…, provides={}) in a dishka Provider")
        self._container = container

    def __call__(self) -> AbstractAsyncContextManager[Scope]:
        return _DishkaScope(self, self._container())


class _DishkaScope:
    __slots__ = ("_container", "_scopes")

    def __init__(self, scopes: _Dishka, container: Any) -> None:
        self._scopes = scopes
        self._container = container

    async def __aenter__(self) -> Self:
        await self._container.__aenter__()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        await close_all([self._container.__aexit__], error)

    def get(self, service: type[T], /) -> Awaitable[T]:
        return cast("Awaitable[T]", self._container.get(self._scopes.meant(service)))


def _dishka_types(own: Any) -> set[type]:
    """What the scope can give that the container opens next: all of its own and of the scopes down to that one."""
    registries = [own]
    while (child := registries[-1].child_registry) is not None:
        registries.append(child)
        if not child.scope.skip:
            break
    keys = [key for registry in registries for key in registry.factories if key != registry.container_key]
    return {key.type_hint for key in keys if isinstance(key.type_hint, type) and not key.component}
