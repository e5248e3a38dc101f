"""How the values of an annotation are written as JSON; also so that each union says which of its members one is.

Such a union is a pair, `["datetime", "2025-03-01T12:00:00Z"]`, whose name picks one of the members that the annotation
of the reader has: nothing else is ever made of it. An abstract collection is the union of the types that it stands for.
"""

from __future__ import annotations

import functools
import typing
from collections import abc
from collections.abc import Sequence
from types import GenericAlias, UnionType
from typing import Annotated, Any, Union, cast

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    PlainSerializer,
    Tag,
    TypeAdapter,
)
from pydantic_core import from_json

from taskproc.sameness import same

__all__ = ["Form", "plain", "tagged"]

_CONFIG = ConfigDict(strict=True, ser_json_bytes="base64", val_json_bytes="base64")

_UNIONS = (Union, UnionType)
_READ_ONCE: tuple[Any, ...] = (abc.Iterator, abc.Generator)
_ANY_NUMBER: tuple[type, ...] = (list, tuple, set, frozenset)
_STANDS_FOR: dict[Any, tuple[type, ...]] = {
    abc.Iterable: _ANY_NUMBER,
    abc.Collection: _ANY_NUMBER,
    abc.Sequence: (list, tuple),
    abc.Set: (frozenset, set),
}
"""Abstract collections, and what may be passed for them; the first is what they are without a name beside it."""


class Form:
    """Writes the values of an annotation as JSON, and reads them."""

    def __init__(self, annotation: Any) -> None:
        alias: Any = GenericAlias(tuple, (annotation,))  # in a tuple, a model keeps the configuration of its own
        adapter: TypeAdapter[tuple[Any]] = TypeAdapter(alias, config=_CONFIG)
        self._to_json = adapter.serializer.to_json
        self._validator = adapter.validator

    def write(self, value: Any) -> tuple[bytes, Any]:
        """The value as JSON, and what it comes back as. It may raise anything, as validators and serializers do."""
        written = self._to_json((value,), warnings="error", round_trip=True, by_alias=False)
        return written[1:-1], self._validator.validate_json(written, by_alias=False, by_name=True)[0]

    def read(self, written: bytes) -> Any:
        """The value. It may raise anything."""
        return self._validator.validate_json(b"[" + written + b"]", by_alias=False, by_name=True)[0]

    def convert(self, value: Any) -> Any:
        """What pydantic makes of a value that need not be one of the annotation's. It may raise anything."""
        return self._validator.validate_python((value,))[0]


def plain(annotation: Any) -> Any:
    """The annotation with the first of what they stand for in place of abstract collections; itself without any.

    TypeError for iterators and generators.
    """
    if (typing.get_origin(annotation) or annotation) in _READ_ONCE:
        raise TypeError("what can be read only once does not travel: annotate list[…]")
    kinds = _stands_for(annotation)
    return _replaced(annotation, plain) if not kinds else plain(_of(kinds[0], annotation))


def tagged(annotation: Any) -> Any:
    """The annotation with unions that say which member a value is; itself when it has none.

    Those in keys of dicts, and in what classes say of their fields, stay as they are.
    """
    parts = typing.get_args(annotation)
    if typing.get_origin(annotation) in _UNIONS and len(parts) > 1 + (type(None) in parts):
        return _one_of(parts)
    if kinds := _stands_for(annotation):
        return _one_of([_of(kind, annotation) for kind in kinds])
    alias = getattr(annotation, "__value__", None)  # of `type When = str | datetime`
    return _replaced(annotation, tagged) if alias is None else tagged(alias)


def _stands_for(annotation: Any) -> Sequence[type]:
    kind = typing.get_origin(annotation) or annotation
    return _STANDS_FOR.get(kind, ()) if isinstance(kind, type) else ()


def _of(kind: type, annotation: Any) -> Any:
    """`kind` with the items of an abstract collection."""
    (item,) = typing.get_args(annotation) or (Any,)
    return GenericAlias(kind, (item, ...) if kind is tuple else (item,))


def _replaced(annotation: Any, replace: abc.Callable[[Any], Any]) -> Any:
    """The annotation with its parts replaced; itself when they stay what they are."""
    origin = typing.get_origin(annotation)
    parts = typing.get_args(annotation)
    if origin is Annotated:
        inner = replace(parts[0])
        return annotation if inner is parts[0] else Annotated[(inner, *parts[1:])]
    keys = 1 if _is_mapping(origin) else 0  # which are strings in JSON
    new = (*parts[:keys], *map(replace, parts[keys:]))
    if all(one is other for one, other in zip(new, parts, strict=True)):
        return annotation
    return Union[new] if origin in _UNIONS else origin[new]  # noqa: UP007 - as below


def _is_mapping(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, abc.Mapping)


def _one_of(parts: Sequence[Any]) -> Any:
    """A union as a pair of a member's name and its value; None is null, without a name."""
    members = [part for part in parts if part is not type(None)]
    names = list(map(_name_of, members))
    forms: dict[str, Any] = {}
    for name, member in zip(names, members, strict=True):
        own = name if names.count(name) == 1 else _name_of(member, full=True)
        forms[own] = forms[own] | tagged(member) if own in forms else tagged(member)
    pairs = [Annotated[GenericAlias(tuple, (str, form)), Tag(name)] for name, form in forms.items()]
    union: Any = Union[tuple(pairs)]  # noqa: UP007 - of what is known at run time
    write = PlainSerializer(_Chooser(forms).write)
    said: Any = Annotated[union, Discriminator(_name_in), AfterValidator(_value_in), write]
    return said if len(members) == len(parts) else said | None


def _name_of(annotation: Any, *, full: bool = False) -> str:
    """An annotation as it is written, without what Annotated adds; `full` with modules."""
    origin = typing.get_origin(annotation)
    parts = typing.get_args(annotation)
    if origin is Annotated:
        return _name_of(parts[0], full=full)
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, parts))}]"
    names = [_name_of(part, full=full) for part in parts]
    if origin in _UNIONS:
        return " | ".join(names)
    if origin is not None and parts:
        return f"{_name_of(origin, full=full)}[{', '.join(names)}]"
    if full and isinstance(annotation, type):
        return f"{annotation.__module__}.{annotation.__qualname__}"
    return "..." if annotation is ... else str(getattr(annotation, "__name__", annotation))


def _name_in(pair: Any) -> str | None:
    name = cast("list[object]", pair)[0] if isinstance(pair, list) and pair else None
    return name if isinstance(name, str) else None


def _value_in(pair: tuple[str, Any]) -> Any:
    return pair[1]


class _Chooser:
    """Finds the member of a union that a value is."""

    def __init__(self, members: dict[str, Any]) -> None:
        self._members = members

    @functools.cached_property
    def _forms(self) -> dict[str, Form]:
        return {name: Form(annotation) for name, annotation in self._members.items()}

    def write(self, value: Any) -> tuple[str, Any]:
        """The name of the member as which it comes back, and what it is as JSON.

        Members as which an int would be a float come last.
        """
        fitting: tuple[str, Any] | None = None
        for name, form in self._forms.items():
            try:
                written, back = form.write(value)
                fits = same(value, back)
            except Exception:  # noqa: BLE001, S112 - it is not this one
                continue
            if fits and same(back, value):
                return name, from_json(written)
            if fits and fitting is None:
                fitting = name, from_json(written)
        if fitting is None:
            raise ValueError("it is none of the union's members")
        return fitting
