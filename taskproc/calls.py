"""Methods and their names: what may be enqueued, how it is written down, and how a worker finds it again."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any, NoReturn, TypeVar, cast

from taskproc.errors import ConfigurationError, MalformedTask, NotAllowed, UnknownTask
from taskproc.finding import Finder, Target, class_at, method_of, name_of
from taskproc.marks import PLAIN, Background, background, mark_of, place_of
from taskproc.names import LOCALS, is_private, parse

__all__ = ["PLAIN", "Aliases", "Background", "Calls", "MethodRef", "Target", "background", "ref"]

T = TypeVar("T")

Aliases = Mapping[str, Callable[..., object]]
"""Names that code had, and what it is now: functions, classes, or methods as `ref(Class).method`."""


def ref(service: Callable[..., T]) -> T:
    """Stands for the instance of `service` that the task's scope will give: `enqueue(ref(Mailer).send, "bob")`.

    `service` is a class, abstract class or Protocol. What is taken from it can only be enqueued.
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

    def __getattr__(self, name: str) -> MethodRef:
        if name.startswith("__"):  # what Python itself asks for
            raise AttributeError(f"{self!r} has no {name}: it stands for public methods")
        return MethodRef(self._service, name)

    def __repr__(self) -> str:
        return f"ref({self._service.__qualname__})"


@dataclass(frozen=True, slots=True)
class MethodRef:
    """The method `name` of `service`, without an instance: what `ref(service).name` gives."""

    service: type
    name: str

    def __call__(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError(f"{self!r} was called: pass it to enqueue, and its arguments after it")

    def __repr__(self) -> str:
        return f"ref({self.service.__qualname__}).{self.name}"


class Calls:
    """Names methods, and finds them again, for one processor; `provides` is None when it has no scopes."""

    def __init__(
        self, provides: Collection[type] | None, allowed_modules: Iterable[str], aliases: Aliases | None = None
    ) -> None:
        self._any_class = provides is None
        self._finder = Finder(provides or (), allowed_modules, _places(aliases or {}))
        self._named: dict[object, Target] = {}

    def find(self, call: str) -> Target:
        """The target of a name; MalformedTask when no worker may run such a thing, UnknownTask when this one cannot."""
        return self._finder.find(call)

    def name(self, method: Callable[..., object]) -> Target:
        """The target of a method; NotAllowed with the remedy when workers may not run it."""
        key = _identity(method)
        target = self._named.get(key)
        if target is None:
            target = self._examine(method)
            if parse(target.call) is None:
                raise NotAllowed(f"{target.call[:200]} is no name by which a worker could find it: rename it")
            self._check_written(target)
            self._named[key] = target
        return target

    def _check_written(self, target: Target) -> None:
        """Its name of choice must not be where something else is."""
        with suppress(MalformedTask, UnknownTask):
            found = self.find(target.written)
            if found.function is not target.function and target.written != target.call:
                raise NotAllowed(f"{target.call}: its name {target.written!r} is where {found.call} is: choose another")

    def describe(self, method: object) -> Target:
        """The target of a method for an executor that decides by itself what may run."""
        if isinstance(method, MethodRef):
            return Target(call=f"{name_of(method.service)}.{method.name}", kind="instance", function=_nothing)
        shown = _shown(method) if hasattr(method, "__qualname__") else name_of(type(method))
        mark = mark_of(getattr(method, "__func__", method))
        named = mark.name if mark is not None else None
        return Target(call=named or shown[:500], kind="function", function=_nothing, options=mark or PLAIN)

    def _examine(self, method: object) -> Target:
        match method:
            case MethodRef():
                return self._method(method.service, method.name, [method.service])
            case MethodType() if isinstance(method.__self__, type):
                return self._method(method.__self__, method.__func__.__name__, [method.__self__])
            case MethodType():  # who injected the instance may have promised no more than a base of its class
                owner = type(method.__self__)
                return self._method(owner, method.__func__.__name__, owner.__mro__)
            case FunctionType():
                return self._function(method)
            case _:
                raise _not_nameable(method)

    def _method(self, owner: type, name: str, candidates: Sequence[type]) -> Target:
        """The method as one of the first candidate that is provided."""
        shown = f"{name_of(owner)}.{name}"
        _refuse_private(shown, name)
        found = method_of(owner, name)
        if found is None:
            raise NotAllowed(f"{shown} is no method that a task could call; those of {_public_methods(owner)}")
        _refuse_generator(found.function, shown)
        provided = next(filter(None, (self._provided(base, name) for base in candidates)), None)
        if provided is not None:
            return provided
        _refuse_private(shown, owner.__qualname__)
        if found.kind != "instance" and self._finder.may_run(found.function):
            return self._confirmed(shown, found.function)
        if self._any_class and LOCALS not in owner.__qualname__:
            return found
        raise NotAllowed(_not_provided(owner, found))

    def _provided(self, base: type, name: str) -> Target | None:
        return method_of(base, name) if self._finder.service(name_of(base)) is base else None

    def _function(self, function: FunctionType) -> Target:
        shown = _shown(function)
        if function.__name__ == "<lambda>":
            raise NotAllowed(f"{shown}: no worker finds a lambda: define a function and mark it with @background")
        owner = function.__qualname__.rpartition(".")[0]
        if owner and not owner.endswith(LOCALS):
            return self._static(function, owner)
        if owner:
            raise NotAllowed(
                f"{shown} is defined inside another function, where no worker finds it: define it at a module's top"
            )
        _refuse_private(shown, function.__qualname__)
        _refuse_generator(function, shown)
        if not self._finder.may_run(function):
            raise NotAllowed(
                f"{shown} is not marked to be run by workers: decorate it, or a function of yours that calls it, with "
                f"@background; or add its package to allowed_modules ({function.__module__.partition('.')[0]!r})"
            )
        return self._confirmed(shown, function)

    def _static(self, function: FunctionType, owner_path: str) -> Target:
        """Of a function that was taken from its class."""
        module = function.__module__
        owner = self._finder.service(f"{module}:{owner_path}") or class_at(sys.modules.get(module), owner_path)
        found = None if owner is None else method_of(owner, function.__name__)
        if owner is None or found is None or found.function is not function:
            raise NotAllowed(f"{_shown(function)} cannot be found by its name: define its class at the top of a module")
        if found.kind == "instance":
            name = f"ref({owner.__name__}).{function.__name__}"
            raise NotAllowed(
                f"{_shown(function)} is a method without its instance: say {name}, or take it from an injected service"
            )
        return self._method(owner, function.__name__, [owner])

    def _confirmed(self, call: str, function: Callable[..., object]) -> Target:
        """What a worker with these settings finds by the name, which must be this very function."""
        try:
            target = self.find(call)
        except (MalformedTask, UnknownTask):
            target = None
        if target is None or target.function is not function:
            raise NotAllowed(
                f"{call}: its module has nothing, or something else, under that name, so a worker would not find it: "
                "let it have the name that it was defined with (functools.wraps keeps those of decorated functions)"
            )
        return target


def _places(aliases: Aliases) -> dict[str, str]:
    """Where what had these names is now; ConfigurationError for what no call could have as name, or be."""
    for name in aliases:
        if parse(name) is None:
            raise ConfigurationError(
                f"aliases: {name!r} is no name: write it as module:function, module:Class.method or module:Class"
            )
    return {name: _place(name, now) for name, now in aliases.items()}


def _place(name: str, now: object) -> str:
    match now:
        case MethodRef():
            return f"{name_of(now.service)}.{now.name}"
        case type():
            return name_of(now)
        case MethodType() if isinstance(now.__self__, type):
            return f"{name_of(now.__self__)}.{now.__func__.__name__}"
        case FunctionType():
            return place_of(now)
        case _:
            raise ConfigurationError(
                f"aliases: {name!r} leads to {now!r}: let it lead to a function, a class, or ref(Class).method"
            )


def _identity(method: object) -> object:
    """What tells a method from others, whichever instance it is bound to; NotAllowed for what is none."""
    match method:
        case MethodType() if isinstance(method.__func__, FunctionType):
            holder: object = method.__self__
            return holder if isinstance(holder, type) else type(holder), method.__func__
        case FunctionType() | MethodRef():
            return method
        case _:
            raise _not_nameable(method)


def _not_nameable(method: object) -> NotAllowed:
    shown = repr(method)[:200]
    if isinstance(method, functools.partial):
        why = "is a partial, which has no name: enqueue its function, with all the arguments"
    elif isinstance(method, type):
        why = f"is a class: enqueue a function, or a method by ref({method.__name__}).method"
    elif inspect.isbuiltin(method) or inspect.ismethoddescriptor(method):
        why = "is built in, and may not be run by workers: call it in a function that is marked with @background"
    elif inspect.iscoroutine(method):
        method.close()
        why = "was called already: pass the method itself, and its arguments after it, as in enqueue(send, 'bob')"
    else:
        why = "is not a function or method: enqueue a function, a method of a service, or ref(Service).method"
    return NotAllowed(f"{shown} {why}")


def _not_provided(owner: type, found: Target) -> str:
    name = owner.__name__
    remedy = f"Add a provider of it, or say which one it is: services={{{name}: provider}}"
    if found.kind != "instance":
        remedy = f"{remedy}; or decorate the method with @background"
    return f"{found.call}: no service of the processor is a {name}. {remedy}"


def _public_methods(cls: type) -> str:
    names = sorted(name for name in dir(cls) if method_of(cls, name) is not None)
    return f"{cls.__name__} are: {', '.join(names)[:300] or 'none'}"


def _refuse_private(shown: str, path: str) -> None:
    if is_private(path):
        raise NotAllowed(f"{shown} is private (a part of its name begins with _): workers run public methods only")


def _refuse_generator(function: Callable[..., object], shown: str) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise NotAllowed(
            f"{shown} is a generator function: calling it does nothing; enqueue a function that does the work"
        )


def _shown(function: Any) -> str:
    return f"{function.__module__}:{function.__qualname__}"


def _nothing() -> None: ...
