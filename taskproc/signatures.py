"""What a method takes, and of which types, as its class has them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from taskproc.errors import InvalidArguments
from taskproc.marks import plain_function

__all__ = ["signature_of"]

Types = Mapping[Any, Any]
"""What stands for type variables."""
_NONE: Types = {}


def signature_of(
    function: Callable[..., Any], *, bound: bool, owner: type | None
) -> tuple[inspect.Signature, dict[str, Any]]:
    """The signature, and the annotations in it by name.

    `bound` leaves out the first parameter, the instance or class; `owner` is the class that the method was named by:
    where it inherits from `Repo[Order]`, `T` is `Order`. InvalidArguments when an annotation cannot be evaluated.
    """
    try:
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        if bound and parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
            del parameters[0]
        return signature.replace(parameters=parameters), _annotations(function, parameters, owner)
    except Exception as error:  # evaluating an annotation may raise anything
        reason = str(error).partition("\n")[0][:300]
        raise InvalidArguments(
            f"an annotation of {function.__module__}:{function.__qualname__} cannot be evaluated: {reason}"
            ". Tasks need the types of their arguments at run time: define them at the top of a module, and import "
            "them outside `if TYPE_CHECKING`"
        ) from error


def _annotations(
    function: Callable[..., Any], parameters: list[inspect.Parameter], owner: type | None
) -> dict[str, Any]:
    """Those of the parameters alone: what a method returns does not travel, and need not be known here."""

    def holder() -> None: ...

    holder.__annotations__ = {p.name: p.annotation for p in parameters if p.annotation is not p.empty}
    plain = inspect.unwrap(function)
    home = next((base for base in inspect.getmro(owner or object) if _defines(base, function)), None)
    own = [*getattr(home, "__type_params__", ()), *getattr(plain, "__type_params__", ())]
    names = getattr(plain, "__globals__", None), {each.__name__: each for each in own}
    types = _types_in(owner, home) if owner is not None else _NONE
    found = typing.get_type_hints(holder, *names, include_extras=True)
    return {name: _with(types, annotation) for name, annotation in found.items()}


def _defines(cls: type, function: Callable[..., Any]) -> bool:
    return any(plain_function(each) is function for each in vars(cls).values())


def _types_in(owner: type, home: type | None) -> Types:
    """What the type variables of a class are in one that inherits from it."""
    return next((types for base, types in _bases(owner, _NONE) if base is home and types), _NONE)


def _bases(cls: type, types: Types) -> Iterator[tuple[type, Types]]:
    yield cls, types
    for base in vars(cls).get("__orig_bases__", cls.__bases__):
        origin = typing.get_origin(base) or base
        if isinstance(origin, type):
            arguments = [_with(types, argument) for argument in typing.get_args(base)]
            yield from _bases(origin, dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False)))


def _with(types: Types, annotation: Any) -> Any:
    if isinstance(annotation, TypeVar):
        return types.get(annotation, annotation)
    variables: tuple[Any, ...] = getattr(annotation, "__parameters__", ())
    if types.keys().isdisjoint(variables) or _is_bare(annotation):
        return annotation
    return annotation[tuple(types.get(variable, variable) for variable in variables)]


def _is_bare(annotation: object) -> bool:
    """Whether it is a generic class without types. A pydantic `Model` is taken for `Model[T]`, which is the same."""
    return isinstance(annotation, type) and not issubclass(annotation, BaseModel)
