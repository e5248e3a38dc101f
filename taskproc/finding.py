"""The guard of a worker: which method the call of a task names, if any that may be run.

A call is `module:Qualified.name`. A worker runs (a) public methods of types that its scopes provide, (b) functions
marked with `@background` in modules that are imported already, (c) functions of `allowed_modules`, which it may import.
Nothing else is ever imported or called, whatever a payload says; looking runs no code but that of such an import.
An alias leads to the name of one of these, and is of no use otherwise.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, Literal

from taskproc.errors import MalformedTask, UnknownTask
from taskproc.marks import PLAIN, Background, mark_of, place_of, plain_function, renamed
from taskproc.names import is_private, parse

__all__ = ["Finder", "Kind", "Target", "class_at", "method_of", "name_of"]

Kind = Literal["function", "static", "class", "instance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A method that was named: what is called, and by whose signature its arguments travel."""

    call: str
    kind: Kind
    function: Callable[..., Any]
    """The plain function: of the interface when the interface was named."""
    owner: type | None = None
    options: Background = PLAIN

    @property
    def name(self) -> str:
        return self.call.rpartition(":")[2].rpartition(".")[2]

    @property
    def written(self) -> str:
        """The name under which it is enqueued: `@background(name=…)`, unless it is another class that inherits it."""
        named = self.options.name is not None and place_of(self.function) == self.call
        return self.options.name if named and self.options.name is not None else self.call


class Finder:
    """Finds what calls name, for a worker with these services, allowed modules, and names for old names."""

    def __init__(
        self, provides: Collection[type], allowed_modules: Iterable[str], aliases: Mapping[str, str] | None = None
    ) -> None:
        self._aliases = aliases or {}
        self._services = _public_bases(provides)
        self._allowed = tuple(allowed_modules)
        self._found: dict[str, Target] = {}

    def find(self, call: str) -> Target:
        """The target; MalformedTask when no worker may run such a thing, UnknownTask when this one does not know it."""
        target = self._found.get(call)
        if target is None:
            target = self._found[call] = self._look_up(call)
        return target

    def service(self, name: str) -> type | None:
        """The provided class, or base of one, of this name."""
        return self._services.get(name)

    def may_run(self, function: Callable[..., Any]) -> bool:
        """Whether a worker may run this, wherever it has it from."""
        return mark_of(function) is not None or self._is_allowed(str(function.__module__))

    def _look_up(self, call: str) -> Target:
        parsed = parse(call)
        if parsed is None:
            raise MalformedTask(f"{call[:200]!r} is not the name of a public method")
        module, path = parsed
        target = self._loaded(module, path) or self._renamed(call) or self._in_allowed(module, path)
        if target is None:
            raise UnknownTask(
                f"this worker does not know {call}: no service of that type is provided, nothing of that name is "
                "marked with @background in an imported module, and no function of allowed_modules has it"
            )
        return target

    def _loaded(self, module: str, path: str) -> Target | None:
        return self._service_method(module, path) or self._marked(module, path)

    def _renamed(self, call: str) -> Target | None:
        """What had this name before."""
        place = parse(self._aliases.get(call) or renamed(call) or self._of_renamed_class(call))
        return None if place is None else self._loaded(*place) or self._in_allowed(*place)

    def _of_renamed_class(self, call: str) -> str:
        owner, _, name = call.rpartition(".")
        return f"{self._aliases[owner]}.{name}" if owner in self._aliases else ""

    def _service_method(self, module: str, path: str) -> Target | None:
        owner, _, name = path.rpartition(".")
        cls = self._services.get(f"{module}:{owner}")
        return None if cls is None else method_of(cls, name)

    def _marked(self, module: str, path: str) -> Target | None:
        target = _of_module(sys.modules.get(module), module, path)
        return target if target is not None and mark_of(target.function) is not None else None

    def _in_allowed(self, module: str, path: str) -> Target | None:
        if not self._is_allowed(module):
            return None
        try:
            imported = importlib.import_module(module)
        except Exception as error:  # what a module does when it is imported is the user's
            raise UnknownTask(f"this worker cannot import {module}: {error!r}") from error
        target = _of_module(imported, module, path)
        return target if target is not None and self._is_allowed(str(target.function.__module__)) else None

    def _is_allowed(self, module: str) -> bool:
        """Whether the module is, or is a public part of, one of those allowed."""
        for allowed in self._allowed:
            rest = module.removeprefix(allowed)
            if rest != module and (not rest or rest.startswith(".")) and "._" not in rest:
                return True
        return False


def name_of(cls: type) -> str:
    """How a class is named."""
    return f"{cls.__module__}:{cls.__qualname__}"


def class_at(module: object, path: str) -> type | None:
    """The class that a dotted path in a module leads to."""
    first, *rest = path.split(".")
    found = vars(module).get(first) if isinstance(module, ModuleType) else None
    for name in rest:
        found = _attribute(found, name) if isinstance(found, type) else None
    return found if isinstance(found, type) else None


def method_of(cls: type, name: str) -> Target | None:
    """A public method of a class or its bases; None for properties, nested classes and whatever else is no `def`."""
    found: object = None if name.startswith("_") else _attribute(cls, name)
    function = plain_function(found)
    kind: Kind = "instance"
    if isinstance(found, staticmethod):
        kind = "static"
    elif isinstance(found, classmethod):
        kind = "class"
    return _target(f"{name_of(cls)}.{name}", kind, function, cls)


def _of_module(module: object, module_name: str, path: str) -> Target | None:
    """A module's function, or a static or class method of its classes."""
    owner, _, name = path.rpartition(".")
    if not owner:
        function = vars(module).get(name) if isinstance(module, ModuleType) else None
        return _target(f"{module_name}:{name}", "function", function, None)
    cls = class_at(module, owner)
    target = None if cls is None else method_of(cls, name)
    return None if target is None or target.kind == "instance" else target


def _target(call: str, kind: Kind, function: object, owner: type | None) -> Target | None:
    if not isinstance(function, FunctionType):
        return None
    return Target(call=call, kind=kind, function=function, owner=owner, options=mark_of(function) or PLAIN)


def _attribute(cls: type, name: str) -> object:
    """What the class or a base of it has under the name, without running descriptors or asking its metaclass."""
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


def _public_bases(provides: Collection[type]) -> dict[str, type]:
    """All that a task may call these classes by: themselves and their bases."""
    bases = {base for service in provides for base in service.__mro__}
    return {name_of(base): base for base in bases if _is_somebodys(base) and not is_private(base.__qualname__)}


def _is_somebodys(base: type) -> bool:
    return base.__module__ not in ("typing", "abc", "builtins")
