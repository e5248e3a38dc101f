"""Arguments ↔ bytes, by the signature of the method that was named.

The payload is JSON: `[[positional…], {keyword…}]`. What a parameter's annotation allows travels through pydantic, strictly, and must
come back as it was; a value that would not is refused when it is enqueued.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from pydantic import (
    BaseModel,
    ConfigDict,
    PydanticSchemaGenerationError,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticSerializationError

from taskproc.errors import ArgumentsMismatch, ConfigurationError, InvalidArguments

__all__ = ["Codec", "codec_of"]

_CONFIG = ConfigDict(strict=True, ser_json_bytes="base64", val_json_bytes="base64", arbitrary_types_allowed=False)
_EXACT = frozenset({int, str, bool})
"""Types whose JSON is what they are: no more is asked of such a value than to be of that very type."""

_encode = msgspec.json.Encoder().encode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_dict = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_value = msgspec.json.Decoder().decode


class Parameter:
    """How the values of one parameter travel."""

    def __init__(self, name: str, annotation: Any) -> None:
        self.name = name
        self.annotation = annotation
        self.exact: type | None = annotation if annotation in _EXACT else None

    @functools.cached_property
    def _adapter(self) -> TypeAdapter[tuple[Any]]:
        try:
            return TypeAdapter(
                tuple[self.annotation], config=_CONFIG
            )  # the tuple lets models keep a configuration of their own
        except (PydanticSchemaGenerationError, PydanticUserError, NameError) as error:
            raise ConfigurationError(
                f"values of parameter {self.name!r}, annotated {self.annotation!r}, cannot be written as JSON: "
                f"pass what they are made of, or a type that pydantic knows ({_first_line(error)})"
            ) from error

    def encode(self, value: Any) -> Any:
        """What stands for the value in JSON; InvalidArguments when it would not come back as it is."""
        if type(value) is self.exact:
            return value
        if self.annotation is Any:
            return _plain(self.name, value)
        return self._encode_by_annotation(value)

    def _encode_by_annotation(self, value: Any) -> msgspec.Raw:
        try:
            encoded = self._adapter.dump_json((value,), warnings="error")
            (back,) = self._adapter.validate_json(encoded)
        except (PydanticSerializationError, ValidationError, RecursionError, ValueError) as error:
            raise InvalidArguments(
                f"argument {self.name}={_short(value)} does not fit its annotation {_shown(self.annotation)}: {_first_line(error)}"
            ) from error
        if not _same(value, back):
            raise InvalidArguments(
                f"argument {self.name}={_short(value)} ({type(value).__name__}) would come back as {_short(back)} "
                f"({type(back).__name__}): annotate {self.name} so that it says what is passed, or pass what it says"
            )
        return msgspec.Raw(encoded[1:-1])

    def decode(self, raw: msgspec.Raw) -> Any:
        """The value; ArgumentsMismatch when it does not fit the annotation."""
        if self.exact is not None or self.annotation is Any:
            value = _decode_value(raw)
            if self.exact is None or type(value) is self.exact:
                return value
        try:
            return self._adapter.validate_json(b"[" + bytes(raw) + b"]")[0]
        except ValidationError as error:
            raise ArgumentsMismatch(
                f"argument {self.name} does not fit {_shown(self.annotation)}: {_first_line(error)}"
            ) from error


class Codec:
    """Encodes and decodes the arguments of one method."""

    def __init__(self, function: Callable[..., Any], *, bound: bool, context_type: type) -> None:
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())[1 if bound else 0 :]
        self.signature = signature.replace(parameters=parameters)
        annotations = _annotations(function, parameters)
        self._by_name = {
            p.name: Parameter(p.name, annotations[p.name]) for p in parameters if p.kind is not p.VAR_KEYWORD
        }
        self._positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self._in_order = [self._by_name[p.name] for p in self._positional]
        self._rest = next((self._by_name[p.name] for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        self._others = next(
            (Parameter(p.name, annotations[p.name]) for p in parameters if p.kind is p.VAR_KEYWORD), None
        )
        self._contexts = {p.name for p in parameters if _means(annotations[p.name], context_type)}
        self._simple = not self._contexts and self._rest is None and len(self._positional) == len(parameters)

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """The payload of a call; InvalidArguments when it does not fit the signature."""
        if self._simple and not kwargs and len(args) == len(self._in_order):
            return _to_json([[p.encode(value) for p, value in zip(self._in_order, args, strict=True)]])
        try:
            call = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(f"{error}: the method takes {self.signature}") from None
        positional = [self._encode_at(index, value) for index, value in enumerate(call.args)]
        keyword = {
            name: self._named(name).encode(value) for name, value in call.kwargs.items() if name not in self._contexts
        }
        return _to_json([positional, keyword] if keyword else [positional])

    def _encode_at(self, index: int, value: Any) -> Any:
        parameter = self._at(index)
        return None if parameter.name in self._contexts else parameter.encode(value)

    def decode(self, data: bytes, context: object) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of a call, with `context` where a parameter asks for it; ArgumentsMismatch when they do not fit."""
        try:
            positional, named = _parts(data)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise ArgumentsMismatch(f"the payload is not one of a method call: {error}") from error
        if self._simple and not named and len(positional) == len(self._in_order):
            return [p.decode(raw) for p, raw in zip(self._in_order, positional, strict=True)], {}
        args = [self._decode_at(index, raw, context) for index, raw in enumerate(positional)]
        kwargs = {name: self._named(name).decode(raw) for name, raw in named.items()}
        kwargs.update(
            {name: context for name in self._contexts if name not in {p.name for p in self._positional[: len(args)]}}
        )
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentsMismatch(f"{error}: the method takes {self.signature}") from None
        return args, kwargs

    def _decode_at(self, index: int, raw: msgspec.Raw, context: object) -> Any:
        parameter = self._at(index)
        return context if parameter.name in self._contexts else parameter.decode(raw)

    def _at(self, index: int) -> Parameter:
        if index < len(self._in_order):
            return self._in_order[index]
        if self._rest is None:
            raise ArgumentsMismatch(f"more positional arguments than the method takes: {self.signature}")
        return self._rest

    def _named(self, name: str) -> Parameter:
        parameter = self._by_name.get(name, self._others)
        if parameter is None:
            raise ArgumentsMismatch(f"the method has no parameter {name!r}: it takes {self.signature}")
        return parameter


def _parts(data: bytes) -> tuple[list[msgspec.Raw], dict[str, msgspec.Raw]]:
    positional, *named = _decode_list(data)
    return _decode_list(positional), _decode_dict(named[0]) if named else {}


@functools.lru_cache(maxsize=4096)
def codec_of(function: Callable[..., Any], *, bound: bool, context_type: type) -> Codec:
    """The codec of a function; `bound` when its first parameter is the instance or class."""
    return Codec(function, bound=bound, context_type=context_type)


def _annotations(function: Callable[..., Any], parameters: list[inspect.Parameter]) -> dict[str, Any]:
    def holder() -> None: ...

    holder.__annotations__ = {p.name: p.annotation for p in parameters if p.annotation is not p.empty}
    try:
        hints = typing.get_type_hints(
            holder, globalns=getattr(inspect.unwrap(function), "__globals__", None), include_extras=True
        )
    except NameError as error:
        raise ConfigurationError(
            f"an annotation of {function.__module__}:{function.__qualname__} cannot be evaluated: {error}. Tasks need the types of their "
            "arguments at run time: import them outside `if TYPE_CHECKING`"
        ) from error
    return {p.name: hints.get(p.name, Any) for p in parameters}


def _means(annotation: Any, wanted: type) -> bool:
    if annotation is wanted:
        return True
    return (
        any(_means(part, wanted) for part in typing.get_args(annotation))
        if typing.get_origin(annotation) is not type
        else False
    )


def _to_json(parts: list[Any]) -> bytes:
    try:
        return _encode(parts)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidArguments(f"the arguments cannot be written as JSON: {error}") from error


def _plain(name: str, value: Any) -> Any:
    if not _is_plain(value):
        raise InvalidArguments(
            f"argument {name}={_short(value)} has no annotation and is not plain JSON (None, bool, int, float, str, lists of those, dicts "
            f"with str keys): annotate {name} with its type"
        )
    return value


def _is_plain(value: Any, depth: int = 0) -> bool:
    kind = type(value)
    if kind is list:
        return depth < 100 and all(_is_plain(item, depth + 1) for item in value)
    if kind is dict:
        return depth < 100 and all(type(key) is str and _is_plain(item, depth + 1) for key, item in value.items())
    return value is None or kind in _EXACT or (kind is float and math.isfinite(value))


def _same(sent: Any, back: Any) -> bool:
    """Whether a value came back as it was; models answer for their own fields."""
    if type(sent) is not type(back):
        return type(sent) is int and type(back) is float and sent == back
    if isinstance(sent, BaseModel):
        return True
    if isinstance(sent, list | tuple):
        return len(sent) == len(back) and all(map(_same, sent, back))
    if isinstance(sent, dict):
        return sent.keys() == back.keys() and all(_same(value, back[key]) for key, value in sent.items())
    if dataclasses.is_dataclass(sent):
        return all(_same(getattr(sent, f.name, None), getattr(back, f.name, None)) for f in dataclasses.fields(sent))
    return bool(sent == back)


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the value's own repr may do anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "…"  # noqa: PLR2004


def _shown(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _first_line(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return first["msg"]
    return str(error).partition("\n")[0][:300]
