"""Services for tasks that FastAPI's own dependencies make.

Optional: nothing else imports it. FastAPI solves dependencies for requests only, by functions that are not public. The
use of them is at the end of this module, and a test holds on to how they behave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import fastapi
from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant, solve_dependencies

from taskproc.errors import ConfigurationError, TaskProcessorError
from taskproc.scopes import Scope, Scopes, close_all
from taskproc_fastapi.depends import get_task_processor

__all__ = ["depends_services"]

T = TypeVar("T")

Maker = Callable[..., object]


def depends_services(app: fastapi.FastAPI, services: Mapping[Any, Maker] | Iterable[type]) -> Scopes:
    """Scopes over FastAPI dependencies: `scopes=depends_services(app, {Mailer: make_mailer, Session: open_session})`.

    Each service is made as by `Depends(make_mailer)` in a route, and so are the dependencies of that function or class:
    each once for a task; those that yield are closed with its scope, the last first. The exception of a failed or
    cancelled task is raised at their `yield`, and cannot be swallowed there. In place of a mapping there may be classes
    that are dependencies themselves. `app.dependency_overrides` count whenever they are set.

    A task has no request: ConfigurationError when a dependency asks for one, or for something of it (path, query,
    header, cookie, body), or for a response. Only the processor is there, as `Tasks`.
    """
    makers: dict[Any, Any] = dict(
        services if isinstance(services, Mapping) else ((service, service) for service in services)
    )
    for service, maker in makers.items():
        if not isinstance(service, type) or not callable(maker):
            raise ConfigurationError(
                f"depends_services(app, {{{service!r}: {maker!r}}}): pass a class, the one that tasks name, "
                "and the function or class that FastAPI is to call"
            )
    scopes = _DependsScopes(app, {service: _root(maker) for service, maker in makers.items()})
    for root in scopes.roots.values():
        _refuse_requests(root, {}, ())
    return scopes


class _DependsScopes:
    def __init__(self, app: fastapi.FastAPI, roots: Mapping[type, Dependant]) -> None:
        self.app = app
        self.roots = roots

    @property
    def provides(self) -> Collection[type]:
        return self.roots.keys()

    def __call__(self) -> AbstractAsyncContextManager[Scope]:
        return _DependsScope(self)

    def meant(self, service: type) -> type:
        """`service` itself, or the only one that has it among its bases; ConfigurationError otherwise."""
        found = [service] if service in self.roots else [each for each in self.roots if service in each.__mro__]
        if len(found) == 1:
            return found[0]
        name = service.__qualname__
        names = ", ".join(sorted(each.__qualname__ for each in found))
        problem = f"more than one is a {name}: {names}" if found else f"none is a {name}"
        raise ConfigurationError(
            f"of the services provided, {problem}; name one with depends_services(app, {{{name}: …}})"
        )


class _DependsScope:
    __slots__ = ("_cache", "_made", "_owner", "_scopes", "_stack")

    def __init__(self, scopes: _DependsScopes) -> None:
        self._scopes = scopes
        self._made: dict[type, object] = {}
        self._cache: dict[Any, Any] = {}
        self._stack = AsyncExitStack()
        self._owner: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> Self:
        self._owner = asyncio.current_task()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._owner = None
        await close_all([self._stack.__aexit__], error)

    async def get(self, service: type[T], /) -> T:
        meant = self._scopes.meant(service)
        if meant not in self._made:
            self._check_owner(meant)
            root = self._scopes.roots[meant]
            if overrides := self._scopes.app.dependency_overrides:
                _refuse_requests(root, overrides, ())
            self._made[meant], self._cache = await _solve(self._scopes.app, root, self._cache, self._stack)
        return cast("T", self._made[meant])

    def _check_owner(self, service: type) -> None:
        if asyncio.current_task() is not self._owner:  # what is entered in one asyncio task cannot be left in another
            raise TaskProcessorError(
                f"{service.__qualname__} was asked for outside of the asyncio task that its scope belongs to, "
                "or after its end: get services in that task, one after another"
            )


# What FastAPI does not promise to keep


def _root(maker: Maker) -> Dependant:
    """Something that depends on the maker alone, so that the maker can be overridden, cached and closed as others."""

    def root(service: Any = Depends(maker)) -> None: ...  # noqa: B008  there is no name to annotate

    return _dependant(root, maker)


def _dependant(call: Maker, maker: Maker) -> Dependant:
    try:
        return get_dependant(path="/", call=call)
    except fastapi.exceptions.FastAPIError as error:
        reason = str(error).partition(". ")[0]  # much about response models follows
        raise ConfigurationError(
            f"FastAPI cannot call {_name(maker)} as a dependency: {reason}. "
            "Parameters, also those of its dependencies, must be Annotated[…, Depends(…)]"
        ) from error


async def _solve(
    app: fastapi.FastAPI, root: Dependant, cache: dict[Any, Any], stack: AsyncExitStack
) -> tuple[object, dict[Any, Any]]:
    """What the dependency of `root` gives, and all that has been made for the scope."""
    request = Request(
        {
            "type": "http",
            "app": app,
            "method": "GET",
            "path": "/",
            "path_params": {},
            "query_string": b"",
            "headers": [],
            "fastapi_inner_astack": stack,
            "fastapi_function_astack": stack,
        }
    )
    solved = await solve_dependencies(
        request=request,
        dependant=root,
        dependency_overrides_provider=app,
        dependency_cache=cache,
        async_exit_stack=stack,
        embed_body_fields=False,
    )
    return solved.values["service"], cast("dict[Any, Any]", solved.dependency_cache)


def _refuse_requests(dependant: Dependant, overrides: Mapping[Maker, Maker], trail: tuple[Maker, ...]) -> None:
    """ConfigurationError when something that the dependant depends on needs what only a request has."""
    for each in dependant.dependencies:
        original = cast("Maker", each.call)
        call = overrides.get(original, original)
        path = (*trail, call)
        names = " → ".join(map(_name, path))
        if call in trail:
            raise ConfigurationError(f"the dependencies need each other in a circle: {names}")
        inner = each if call is original else _dependant(call, call)
        needed = [] if call is get_task_processor else list(_of_request(inner))
        if needed:
            raise ConfigurationError(
                f"{names} takes {', '.join(needed)}, and a task has no request: let it depend on what needs none, "
                "or give the service by a function of its own"
            )
        _refuse_requests(inner, overrides, path)


def _of_request(dependant: Dependant) -> Iterator[str]:
    for kind in ("path", "query", "header", "cookie", "body"):
        for field in getattr(dependant, f"{kind}_params"):
            yield f"the {kind} parameter '{field.name}'"
    for kind in ("request", "websocket", "http_connection", "response", "background_tasks", "security_scopes"):
        if (name := getattr(dependant, f"{kind}_param_name")) is not None:
            yield f"the {kind.replace('_', ' ')} '{name}'"


def _name(maker: Maker) -> str:
    name: str | None = getattr(maker, "__qualname__", None)
    return name or f"a {type(maker).__qualname__}"
