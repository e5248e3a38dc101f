"""Arguments ↔ bytes, by the signature of the method that was named.

The payload is JSON: `[[positional…], {keyword…}]`. What a parameter's annotation allows travels through pydantic,
strictly, and must come back as it was; a value that would not is refused when it is enqueued. Where plain JSON does not
tell the members of a union apart, the value names them, and a third part says of which arguments this is so, by place
or name: `[[["datetime", "2025-03-01T12:00:00Z"]], {}, [0]]`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import GenericAlias
from typing import Any

import msgspec

from taskproc.context import CURRENT, TaskContext
from taskproc.errors import ArgumentsMismatch, InvalidArguments
from taskproc.parameters import ContextParameter, Parameter, Tagged, first_line, parameter_of
from taskproc.signatures import signature_of

__all__ = ["Codec", "codec_of", "plain_arguments"]

MOST_PARTS = 3  # of a payload
_NOWHERE: frozenset[int | str] = frozenset()

_encode = msgspec.json.Encoder().encode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_dict = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_places = msgspec.json.Decoder(frozenset[int | str]).decode
_decode_value = msgspec.json.Decoder().decode


class Codec:
    """Encodes and decodes the arguments of one method."""

    def __init__(self, function: Callable[..., Any], *, bound: bool, owner: type | None = None) -> None:
        """`owner` is the class that the method is named by, `bound` whether it gets that or an instance."""
        self.signature, annotations = signature_of(function, bound=bound, owner=owner)
        kinds = self.signature.parameters.values()
        made = {p.name: parameter_of(p, annotations.get(p.name, Any)) for p in kinds}
        self._positional = [made[p.name] for p in kinds if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self._keyword = {p.name: made[p.name] for p in kinds if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        self._rest = next((made[p.name] for p in kinds if p.kind is p.VAR_POSITIONAL), None)
        self._others = next((made[p.name] for p in kinds if p.kind is p.VAR_KEYWORD), None)
        self._contexts = [each.name for each in made.values() if isinstance(each, ContextParameter)]
        self._simple = len(self._positional) == len(made)
        self._may_tag = any(each.may_tag for each in made.values())
        self._quick = _all_at_once([each.exact for each in self._positional]) if self._simple else None

    @property
    def positional_names(self) -> list[str]:
        """What its parameters are called that may be given by position."""
        return [parameter.name for parameter in self._positional]

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """The payload of a call; InvalidArguments when it does not fit the signature."""
        if self._simple and not kwargs and len(args) == len(self._positional):
            return self._to_json([p.encode(value) for p, value in zip(self._positional, args, strict=True)], {})
        try:
            call = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(f"{error}: the method takes {self.signature}") from None
        positional = [self._at(index).encode(value) for index, value in enumerate(call.args)]
        return self._to_json(positional, {name: self._named(name).encode(value) for name, value in call.kwargs.items()})

    def encode_plain(self, arguments: Mapping[str, Any]) -> bytes:
        """The payload of a call whose arguments are plain JSON values by name, those of `*args` by place, from 1;
        InvalidArguments when they do not fit the signature.
        """
        named, positional = dict(arguments), list[Any]()
        for parameter in self._positional:
            if parameter.name not in named:
                break
            positional.append(named.pop(parameter.name))
        while (place := f"{len(positional) + 1}") in named and self._rest is not None:
            positional.append(named.pop(place))
        try:
            parts = _decode_list(_encode([positional, named]))
            values, others = _decode_list(parts[0]), _decode_dict(parts[1])
            places = [index for index, raw in enumerate(values) if self._at(index).says_members(raw)]
            names = [name for name, raw in others.items() if self._named(name).says_members(raw)]
            args, kwargs = self.decode(_encode([*parts, [*places, *names]]), CURRENT)
        except (ArgumentsMismatch, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidArguments(first_line(error)) from error
        return self.encode(tuple(args), kwargs)

    def decode(self, data: bytes, context: TaskContext) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The arguments of a call, `context` where a parameter asks for it; ArgumentsMismatch when they do not fit."""
        if self._quick is not None:
            try:
                return self._quick(data)[0], {}
            except (msgspec.MsgspecError, ValueError):  # what is wrong, or was left out, the long way tells
                pass
        positional, named, says = _parts(data)
        if says:
            args = [_reader(self._at(index), index in says)(raw) for index, raw in enumerate(positional)]
            kwargs = {name: _reader(self._named(name), name in says)(raw) for name, raw in named.items()}
        else:
            args = [self._at(index).decode(raw) for index, raw in enumerate(positional)]
            kwargs = {name: self._named(name).decode(raw) for name, raw in named.items()}
        if self._simple and not self._contexts and not kwargs and len(args) == len(self._positional):
            return args, kwargs
        self._fill_in(args, kwargs, context)
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentsMismatch(f"{error}: the method takes {self.signature}") from None
        return args, kwargs

    def _fill_in(self, args: list[Any], kwargs: dict[str, Any], context: TaskContext) -> None:
        places = {parameter.name: index for index, parameter in enumerate(self._positional)}
        for name in self._contexts:
            if name in places and places[name] < len(args):
                args[places[name]] = context
            elif name in self._keyword:
                kwargs[name] = context
            else:  # positional only and left out, as are all between
                between = self._positional[len(args) : places[name]]
                args += [self.signature.parameters[each.name].default for each in between] + [context]

    def _at(self, index: int) -> Parameter:
        if index < len(self._positional):
            return self._positional[index]
        if self._rest is None:
            raise ArgumentsMismatch(f"more positional arguments than the method takes: {self.signature}")
        return self._rest

    def _named(self, name: str) -> Parameter:
        parameter = self._keyword.get(name, self._others)
        if parameter is None:
            raise ArgumentsMismatch(f"the method has no parameter {name[:100]!r}: it takes {self.signature}")
        return parameter

    def _to_json(self, positional: list[Any], keyword: dict[str, Any]) -> bytes:
        try:
            if self._may_tag:
                return _encode(_payload(positional, keyword))
            return _encode([positional, keyword] if keyword else [positional])
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            names = [self._at(index).name for index in range(len(positional))] + list(keyword)
            values = [*positional, *keyword.values()]
            bad = next((name for name, value in zip(names, values, strict=True) if not _is_json(value)), "**")
            raise InvalidArguments(f"argument {bad} cannot be written as JSON: {first_line(error)}") from error


@functools.lru_cache(maxsize=4096)
def codec_of(function: Callable[..., Any], kind: str, owner: type | None) -> Codec:
    """The codec of a function, whose first parameter is the instance or class when it is of kind "instance" or "class";
    of a method, as `owner` has it.
    """
    return Codec(function, bound=kind in ("instance", "class"), owner=owner)


def _payload(positional: list[Any], keyword: dict[str, Any]) -> list[Any]:
    """The parts of a payload, and which of their values say what members of unions they are."""
    if Tagged not in map(type, positional) and Tagged not in map(type, keyword.values()):
        return [positional, keyword] if keyword else [positional]
    says = [place for place, value in [*enumerate(positional), *keyword.items()] if type(value) is Tagged]
    return [list(map(_raw, positional)), {name: _raw(value) for name, value in keyword.items()}, says]


def _reader(parameter: Parameter, tagged: bool) -> Callable[[msgspec.Raw], Any]:  # noqa: FBT001
    return parameter.decode_tagged if tagged else parameter.decode


def _raw(value: Any) -> Any:
    return value.raw if type(value) is Tagged else value


def _all_at_once(types: list[type | None]) -> Callable[[bytes], tuple[tuple[Any, ...]]] | None:
    """Decodes a payload without keywords, when each value's JSON is what it is."""
    if None in types:
        return None
    arguments: Any = GenericAlias(tuple, tuple(types) or ((),))
    payload: Any = GenericAlias(tuple, (arguments,))
    return msgspec.json.Decoder(payload).decode


def plain_arguments(data: bytes) -> tuple[list[Any], dict[str, Any]]:
    """The arguments in a payload as plain JSON values, positional and named; ArgumentsMismatch for another payload."""
    positional, named, _ = _parts(data)
    return [_decode_value(raw) for raw in positional], {name: _decode_value(raw) for name, raw in named.items()}


def _parts(data: bytes) -> tuple[list[msgspec.Raw], dict[str, msgspec.Raw], frozenset[int | str]]:
    try:
        parts = _decode_list(data)
        if not 1 <= len(parts) <= MOST_PARTS:
            raise ArgumentsMismatch(f"the payload is not one of a method call: it has {len(parts)} parts")
        says = _decode_places(parts[2]) if len(parts) == MOST_PARTS else _NOWHERE
        return _decode_list(parts[0]), _decode_dict(parts[1]) if len(parts) > 1 else {}, says
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ArgumentsMismatch(f"the payload is not one of a method call: {first_line(error)}") from error


def _is_json(value: Any) -> bool:
    try:
        _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    return True
