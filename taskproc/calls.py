"""Methods and their names: what may be enqueued, how it is written down, and how a worker finds it again.

A call is named `module:Qualified.name`. A worker runs (a) public methods of types that its scopes provide, (b) functions marked
with `@background` in modules that are imported already, (c) functions of `allowed_modules`, which it may import. Nothing else is
ever looked up, imported or called, whatever a payload says.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from types import FunctionType, ModuleType
from typing import Any, Literal, TypeVar, cast, overload

from taskproc.errors import ConfigurationError, MalformedTask, NotAllowed, UnknownTask
from taskproc.names import queue_name

__all__ = ["Background", "Calls", "Target", "background", "ref"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__taskproc_background__"
_CALL = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<path>[A-Za-z_<]\w*>?(?:\.[A-Za-z_<]\w*>?)*)")
_LOCALS = "<locals>"

Kind = Literal["function", "static", "class", "instance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What `@background(…)` says; `on(…)` wins over it."""

    queue: str | None = None
    retries: int | None = None
    invisibility: timedelta | None = None
    auto_extend: bool | None = None

    def __post_init__(self) -> None:
        if self.queue is not None:
            queue_name(self.queue)
        if self.retries is not None and self.retries < 1:
            raise ConfigurationError(
                f"@background(retries={self.retries}): retries counts failures allowed; for a single attempt use 1"
            )


PLAIN = Background()


@overload
def background(function: F, /) -> F: ...
@overload
def background(
    *,
    queue: str | None = None,
    retries: int | None = None,
    invisibility: timedelta | None = None,
    auto_extend: bool | None = None,
) -> Callable[[F], F]: ...
def background(
    function: F | None = None,
    /,
    *,
    queue: str | None = None,
    retries: int | None = None,
    invisibility: timedelta | None = None,
    auto_extend: bool | None = None,
) -> F | Callable[[F], F]:
    """Lets workers run this function, static or class method, and gives defaults for its tasks (also on methods of services)."""
    options = Background(queue=queue, retries=retries, invisibility=invisibility, auto_extend=auto_extend)

    def mark(marked: F) -> F:
        setattr(_plain(marked), _MARK, options)
        return marked

    return mark if function is None else mark(function)


def ref(service: Callable[..., T]) -> T:
    """Stands for the instance of `service` that the task's scope will give: `enqueue(ref(Mailer).send, "bob")`.

    `service` is a class, abstract class or Protocol. Only its public methods can be taken from what is returned.
    """
    if not isinstance(service, type):
        raise NotAllowed(
            f"ref({service!r}): ref() takes a class, abstract class or Protocol; a function is enqueued as it is"
        )
    return cast("T", _Ref(service))


class _Ref:
    __slots__ = ("_service",)

    def __init__(self, service: type) -> None:
        self._service = service

    def __getattr__(self, name: str) -> _MethodRef:
        return _MethodRef(self._service, name)


@dataclass(frozen=True, slots=True)
class _MethodRef:
    service: type
    name: str


@dataclass(frozen=True, slots=True)
class Target:
    """A method that was named: what is called, and by whose signature its arguments travel."""

    call: str
    kind: Kind
    function: Callable[..., Any]
    """The plain function: of the interface when the interface was named."""
    owner: type | None
    options: Background

    @property
    def name(self) -> str:
        return self.call.rpartition(":")[2].rpartition(".")[2]


class Calls:
    """Names methods, and finds them again, for one processor."""

    def __init__(self, provides: Collection[type] | None, allowed_modules: Iterable[str]) -> None:
        self._services = None if provides is None else _by_name(provides)
        self._allowed = tuple(allowed_modules)
        self._named: dict[object, Target] = {}
        self._found: dict[str, Target] = {}

    # Naming, where a task is enqueued

    def name(self, method: Callable[..., Any]) -> Target:
        """The target of a method; NotAllowed with the remedy when workers may not run it."""
        key = _identity(method)
        target = self._named.get(key)
        if target is None:
            target = self._named[key] = self._examine(method)
        return target

    def _examine(self, method: Any) -> Target:
        if isinstance(method, _MethodRef):
            return self._method(method.service, method.name)
        _refuse_unnameable(method)
        if inspect.ismethod(method):
            owner = method.__self__ if isinstance(method.__self__, type) else type(method.__self__)
            return self._method(owner, method.__func__.__name__)
        path = method.__qualname__
        if "." in path and _LOCALS not in path.rpartition(".")[0].rpartition(".")[2]:
            return self._static(method)
        return self._function(method)

    def _method(self, owner: type, name: str) -> Target:
        _refuse_private(f"{_type_name(owner)}.{name}")
        kind, function = _attribute(owner, name)
        if kind is None:
            raise NotAllowed(f"{_type_name(owner)} has no method {name!r} that a task could call")
        _refuse_generator(function, f"{_type_name(owner)}.{name}")
        named = self._provided(owner, name)
        marked = kind != "instance" and self._may_run(function, owner.__module__)
        if named is None and not marked:
            raise NotAllowed(
                f"{_type_name(owner)}.{name}: no service of the processor is a {owner.__name__}. Add a provider of it to the "
                f"container, or say which one it is: services={{{owner.__name__}: provider}}"
            )
        cls = named or owner
        kind, function = _attribute(cls, name)
        return _target(cls, name, cast("Kind", kind), function)

    def _provided(self, owner: type, name: str) -> type | None:
        if self._services is None:
            return owner if _LOCALS not in owner.__qualname__ else None
        known = self._services.values()
        return next((base for base in owner.__mro__ if base in known and _attribute(base, name)[0]), None)

    def _static(self, function: FunctionType) -> Target:
        owner = _walk(sys.modules.get(function.__module__), function.__qualname__.rpartition(".")[0])
        if not isinstance(owner, type):
            raise NotAllowed(
                f"{_shown(function)} cannot be found by its name: define it at the top of a module or class"
            )
        if _attribute(owner, function.__name__)[0] == "instance":
            raise NotAllowed(
                f"{_shown(function)} is a method without its instance: say ref({owner.__name__}).{function.__name__}, "
                "or take the method of an injected service"
            )
        return self._method(owner, function.__name__)

    def _function(self, function: FunctionType) -> Target:
        shown = _shown(function)
        if _LOCALS in function.__qualname__:
            raise NotAllowed(
                f"{shown} is defined inside another function, where no worker finds it: define it at the top of a module"
            )
        _refuse_private(shown)
        _refuse_generator(function, shown)
        if not self._may_run(function, function.__module__):
            raise NotAllowed(
                f"{shown} is not marked to be run by workers: decorate it with @background, or add its package to "
                f"allowed_modules ({function.__module__.partition('.')[0]!r})"
            )
        if _walk(sys.modules.get(function.__module__), function.__qualname__) is not function:
            raise NotAllowed(
                f"{shown}: its module has something else under that name; a worker would not find this function"
            )
        return Target(shown, "function", function, None, _options(function))

    def _may_run(self, function: Callable[..., Any], module: str) -> bool:
        return hasattr(function, _MARK) or self._is_allowed(module)

    def _is_allowed(self, module: str) -> bool:
        return any(module == allowed or module.startswith(allowed + ".") for allowed in self._allowed)

    def describe(self, method: Any) -> Target:
        """The target of a method for an executor that decides by itself what may run."""
        if isinstance(method, _MethodRef):
            return Target(f"{_type_name(method.service)}.{method.name}", "instance", _nothing, method.service, PLAIN)
        shown = (
            _shown(method)
            if hasattr(method, "__qualname__")
            else f"{type(method).__module__}:{type(method).__qualname__}"
        )
        return Target(shown[:500], "function", _nothing, None, _options(getattr(method, "__func__", method)))

    # Finding, where a task is run

    def find(self, call: str) -> Target:
        """The target of a call's name; MalformedTask when no worker may run it, UnknownTask when this one does not know it."""
        target = self._found.get(call)
        if target is None:
            target = self._found[call] = self._look_up(call)
        return target

    def _look_up(self, call: str) -> Target:
        matched = _CALL.fullmatch(call) if len(call) <= 500 else None
        if matched is None or _is_private(matched["path"]):
            raise MalformedTask(f"{call[:200]!r} is not the name of a public method")
        module, path = matched["module"], matched["path"]
        target = (
            self._service_method(module, path) or self._marked(module, path) or self._allowed_function(module, path)
        )
        if target is None:
            raise UnknownTask(
                f"this worker does not know {call}: no service of that type is provided, nothing of that name is marked with "
                "@background in an imported module, and its package is not in allowed_modules"
            )
        return target

    def _service_method(self, module: str, path: str) -> Target | None:
        cls = (self._services or {}).get(f"{module}:{path.rpartition('.')[0]}")
        name = path.rpartition(".")[2]
        kind, function = _attribute(cls, name) if cls is not None else (None, None)
        return None if cls is None or kind is None else _target(cls, name, kind, function)

    def _marked(self, module: str, path: str) -> Target | None:
        return _global(sys.modules.get(module), module, path, lambda function: hasattr(function, _MARK))

    def _allowed_function(self, module: str, path: str) -> Target | None:
        if not self._is_allowed(module):
            return None
        try:
            imported = importlib.import_module(module)
        except ImportError as error:
            raise UnknownTask(f"this worker cannot import {module}: {error}") from error
        return _global(imported, module, path, lambda function: function.__module__ == module)


def _nothing() -> None: ...


def _by_name(provides: Collection[type]) -> dict[str, type]:
    bases = {base for service in provides for base in service.__mro__ if base is not object}
    return {_type_name(base): base for base in bases if base.__module__ not in ("typing", "abc", "builtins")}


def _type_name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _target(cls: type, name: str, kind: Kind, function: Callable[..., Any]) -> Target:
    return Target(f"{_type_name(cls)}.{name}", kind, function, cls, _options(function))


def _global(
    module: ModuleType | None, module_name: str, path: str, may_run: Callable[[FunctionType], bool]
) -> Target | None:
    """A module's function, or a static or class method of its classes."""
    found = _walk(module, path)
    if isinstance(found, FunctionType) and "." not in path:
        return Target(f"{module_name}:{path}", "function", found, None, _options(found)) if may_run(found) else None
    owner = _walk(module, path.rpartition(".")[0])
    if not isinstance(owner, type):
        return None
    name = path.rpartition(".")[2]
    kind, function = _attribute(owner, name)
    if kind not in ("static", "class") or not may_run(function):
        return None
    return _target(owner, name, kind, function)


def _walk(module: object, path: str) -> object:
    """What a dotted path in a module leads to, without running any code of it (as a module's `__getattr__` would)."""
    return functools.reduce(lambda found, name: inspect.getattr_static(found, name, None), path.split("."), module)


def _attribute(cls: type, name: str) -> tuple[Kind, Any] | tuple[None, None]:
    """The kind and plain function of a public method, looked at without running descriptors."""
    if name.startswith("_"):
        return None, None
    found = inspect.getattr_static(cls, name, None)
    if isinstance(found, staticmethod) and isinstance(found.__func__, FunctionType):
        return "static", found.__func__
    if isinstance(found, classmethod) and isinstance(found.__func__, FunctionType):
        return "class", found.__func__
    return ("instance", found) if isinstance(found, FunctionType) else (None, None)


def _plain(function: Any) -> Any:
    return function.__func__ if isinstance(function, staticmethod | classmethod) else function


def _options(function: object) -> Background:
    return getattr(function, _MARK, PLAIN)


def _identity(method: Any) -> object:
    if inspect.ismethod(method):
        return type(method.__self__) if not isinstance(method.__self__, type) else method.__self__, method.__func__
    return method


def _is_private(path: str) -> bool:
    own = path.rpartition(f"{_LOCALS}.")[2]
    return any(part.startswith("_") or part == _LOCALS for part in own.split("."))


def _shown(function: Any) -> str:
    return f"{function.__module__}:{function.__qualname__}"


def _refuse_unnameable(method: Any) -> None:
    what = repr(method)[:200]
    if isinstance(method, functools.partial):
        raise NotAllowed(
            f"{what}: a partial has no name by which a worker finds it; enqueue the function with all its arguments"
        )
    if isinstance(method, type):
        raise NotAllowed(f"{what} is a class: enqueue a function, or a method by ref({method.__name__}).method")
    if inspect.isbuiltin(method) or inspect.ismethoddescriptor(method):
        raise NotAllowed(
            f"{what} is built in and may not be run by workers: call it in a function marked with @background"
        )
    if not isinstance(method, FunctionType) and not inspect.ismethod(method):
        raise NotAllowed(
            f"{what} is not a function or method: enqueue a function, a method of a service, or ref(Service).method"
        )
    if method.__name__ == "<lambda>":
        raise NotAllowed(
            f"{_shown(method)}: a lambda has no name by which a worker finds it; define a function and mark it with @background"
        )


def _refuse_generator(function: Callable[..., Any], shown: str) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise NotAllowed(
            f"{shown} is a generator function: calling it does nothing; enqueue a function that does the work"
        )


def _refuse_private(shown: str) -> None:
    if _is_private(shown.partition(":")[2]):
        raise NotAllowed(f"{shown} is private (a part of its name begins with _): workers run public methods only")
