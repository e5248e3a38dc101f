"""Arguments ↔ bytes, by the signature of the method that was named.

The payload is JSON: `[[positional…], {keyword…}]`. What a parameter's annotation allows travels through pydantic,
strictly, and must come back as it was; a value that would not is refused when it is enqueued.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from types import GenericAlias, UnionType
from typing import Annotated, Any, Union

import msgspec
from pydantic import ConfigDict, TypeAdapter, ValidationError

from taskproc.context import CURRENT, TaskContext
from taskproc.errors import ArgumentsMismatch, ConfigurationError, InvalidArguments
from taskproc.sameness import is_plain, same

__all__ = ["Codec", "codec_of", "plain_arguments"]

_CONFIG = ConfigDict(strict=True, ser_json_bytes="base64", val_json_bytes="base64")
_EXACT = (int, str, bool)
"""Types whose JSON is what they are: no more is asked of such a value than to be of that very type."""
LONGEST_SHOWN = 80  # characters of a value in a message
MOST_PARTS = 2  # of a payload

_encode = msgspec.json.Encoder().encode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_dict = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_value = msgspec.json.Decoder().decode


class Parameter:
    """How the values of one parameter travel."""

    def __init__(self, name: str, annotation: Any) -> None:
        self.name = name
        self.annotation = annotation
        self.exact: type | None = annotation if any(annotation is exact for exact in _EXACT) else None

    @functools.cached_property
    def _adapter(self) -> TypeAdapter[tuple[Any]]:
        alias: Any = GenericAlias(tuple, (self.annotation,))  # in a tuple, a model keeps the configuration of its own
        try:
            return TypeAdapter(alias, config=_CONFIG)
        except Exception as error:  # pydantic's, and those of a type's own hooks
            raise ConfigurationError(
                f"values of parameter {self.name!r}, annotated {_shown(self.annotation)}, cannot be written as JSON: "
                f"pass what they are made of, or a type that pydantic knows ({_first_line(error)})"
            ) from error

    def encode(self, value: Any) -> Any:
        """What stands for the value in JSON; InvalidArguments when it would not come back as it is."""
        if type(value) is self.exact:
            return value
        return self._encode_plain(value) if self.annotation is Any else self._encode_by_annotation(value)

    def _encode_plain(self, value: Any) -> Any:
        if not is_plain(value):
            raise InvalidArguments(
                f"argument {self.name}={_short(value)} is not plain JSON (None, bool, int, finite float, str, lists of "
                f"those, dicts with str keys), and no annotation says more of it: annotate {self.name} with its type"
            )
        return value

    def _encode_by_annotation(self, value: Any) -> msgspec.Raw:
        adapter = self._adapter
        try:
            encoded = adapter.dump_json((value,), warnings="error", round_trip=True, by_alias=False)
            (back,) = adapter.validate_json(encoded, by_alias=False, by_name=True)
            unchanged = same(value, back)
        except Exception as error:  # validators and serializers of models may raise anything
            raise InvalidArguments(
                f"argument {self.name}={_short(value)} does not fit its annotation {_shown(self.annotation)}: "
                f"{self._reason(value, error)}"
            ) from error
        if not unchanged:
            raise InvalidArguments(
                f"argument {self.name}={_short(value)} ({type(value).__name__}) would come back as {_short(back)} "
                f"({type(back).__name__}): annotate {self.name} so that it says what is passed, or pass what it says"
            )
        return msgspec.Raw(encoded[1:-1])

    def _reason(self, value: Any, error: Exception) -> str:
        """What is wrong with the value; errors of the way to JSON only say that it is not as expected."""
        try:
            self._adapter.validate_python((value,))
        except Exception as clearer:  # noqa: BLE001 - as above
            error = clearer
        return _first_line(error)

    def decode(self, raw: msgspec.Raw) -> Any:
        """The value; ArgumentsMismatch when it does not fit the annotation."""
        try:
            if self.exact is not None or self.annotation is Any:
                value = _decode_value(raw)
                if self.exact is None or type(value) is self.exact:
                    return value
            return self._adapter.validate_json(b"[" + bytes(raw) + b"]", by_alias=False, by_name=True)[0]
        except Exception as error:  # validators of models may raise anything
            raise ArgumentsMismatch(
                f"argument {self.name} does not fit {_shown(self.annotation)}: {_first_line(error)}"
            ) from error


class ContextParameter(Parameter):
    """A parameter annotated `TaskContext`: nothing travels, it is filled in where the task runs."""

    def encode(self, value: Any) -> None:
        if value is not None and value is not CURRENT and not isinstance(value, TaskContext):
            raise InvalidArguments(
                f"argument {self.name}={_short(value)} stands where a TaskContext is filled in when the task runs: "
                "pass CURRENT for it"
            )

    def decode(self, raw: msgspec.Raw) -> None:
        """Whatever was sent, it is replaced."""


class Codec:
    """Encodes and decodes the arguments of one method."""

    def __init__(self, function: Callable[..., Any], *, bound: bool) -> None:
        self.signature, made = _parameters(function, bound=bound)
        kinds = self.signature.parameters.values()
        self._positional = [made[p.name] for p in kinds if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self._keyword = {p.name: made[p.name] for p in kinds if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        self._rest = next((made[p.name] for p in kinds if p.kind is p.VAR_POSITIONAL), None)
        self._others = next((made[p.name] for p in kinds if p.kind is p.VAR_KEYWORD), None)
        self._contexts = [each.name for each in made.values() if isinstance(each, ContextParameter)]
        self._simple = len(self._positional) == len(made)
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

    def decode(self, data: bytes, context: TaskContext) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The arguments of a call, `context` where a parameter asks for it; ArgumentsMismatch when they do not fit."""
        if self._quick is not None:
            try:
                return self._quick(data)[0], {}
            except (msgspec.MsgspecError, ValueError):  # what is wrong, or was left out, the long way tells
                pass
        positional, named = _parts(data)
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
            return _encode([positional, keyword] if keyword else [positional])
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            names = [self._at(index).name for index in range(len(positional))] + list(keyword)
            values = [*positional, *keyword.values()]
            bad = next((name for name, value in zip(names, values, strict=True) if not _is_json(value)), "**")
            raise InvalidArguments(f"argument {bad} cannot be written as JSON: {_first_line(error)}") from error


@functools.lru_cache(maxsize=4096)
def codec_of(function: Callable[..., Any], *, bound: bool) -> Codec:
    """The codec of a function; `bound` when its first parameter is the instance or class."""
    return Codec(function, bound=bound)


def _all_at_once(types: list[type | None]) -> Callable[[bytes], tuple[tuple[Any, ...]]] | None:
    """Decodes a payload without keywords, when each value's JSON is what it is."""
    if None in types:
        return None
    arguments: Any = GenericAlias(tuple, tuple(types) or ((),))
    payload: Any = GenericAlias(tuple, (arguments,))
    return msgspec.json.Decoder(payload).decode


def plain_arguments(data: bytes) -> tuple[list[Any], dict[str, Any]]:
    """The arguments in a payload as plain JSON values, positional and named; ArgumentsMismatch for another payload."""
    positional, named = _parts(data)
    return [_decode_value(raw) for raw in positional], {name: _decode_value(raw) for name, raw in named.items()}


def _parts(data: bytes) -> tuple[list[msgspec.Raw], dict[str, msgspec.Raw]]:
    try:
        parts = _decode_list(data)
        if not 1 <= len(parts) <= MOST_PARTS:
            raise ArgumentsMismatch(f"the payload is not one of a method call: it has {len(parts)} parts")
        return _decode_list(parts[0]), _decode_dict(parts[1]) if len(parts) == MOST_PARTS else {}
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ArgumentsMismatch(f"the payload is not one of a method call: {_first_line(error)}") from error


def _parameters(function: Callable[..., Any], *, bound: bool) -> tuple[inspect.Signature, dict[str, Parameter]]:
    try:
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        if bound and parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
            del parameters[0]
        annotations = _annotations(function, parameters)
    except Exception as error:  # evaluating an annotation may raise anything
        raise ConfigurationError(
            f"an annotation of {function.__module__}:{function.__qualname__} cannot be evaluated: {_first_line(error)}"
            ". Tasks need the types of their arguments at run time: define them at the top of a module, and import "
            "them outside `if TYPE_CHECKING`"
        ) from error
    made = {p.name: _parameter(p, annotations.get(p.name, Any)) for p in parameters}
    return signature.replace(parameters=parameters), made


def _annotations(function: Callable[..., Any], parameters: list[inspect.Parameter]) -> dict[str, Any]:
    """Those of the parameters alone: what a method returns does not travel, and need not be known here."""

    def holder() -> None: ...

    holder.__annotations__ = {p.name: p.annotation for p in parameters if p.annotation is not p.empty}
    names = getattr(inspect.unwrap(function), "__globals__", None)
    return typing.get_type_hints(holder, globalns=names, include_extras=True)


def _parameter(parameter: inspect.Parameter, annotation: Any) -> Parameter:
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    kind = ContextParameter if _is_context(annotation) and not variadic else Parameter
    return kind(parameter.name, annotation)


def _is_context(annotation: Any) -> bool:
    """Whether it says TaskContext, perhaps `| None` or Annotated."""
    if typing.get_origin(annotation) in (Union, UnionType, Annotated):
        return any(_is_context(part) for part in typing.get_args(annotation))
    return annotation is TaskContext


def _is_json(value: Any) -> bool:
    try:
        _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    return True


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the value's own repr may do anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def _shown(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"][1:]))
        return f"{place}: {first['msg']}"[:300] if place else first["msg"][:300]
    return str(error).partition("\n")[0][:300]
