"""How the values of one parameter travel: as JSON, by its annotation."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from types import UnionType
from typing import Annotated, Any, NoReturn, Union

import msgspec
from pydantic import BaseModel, ValidationError

from taskproc.context import CURRENT, TaskContext
from taskproc.errors import ArgumentsMismatch, InvalidArguments
from taskproc.sameness import is_plain, same
from taskproc.unions import Form, plain, tagged

__all__ = ["ContextParameter", "Parameter", "Tagged", "first_line", "parameter_of"]

_EXACT = (int, str, bool)
"""Types whose JSON is what they are: no more is asked of such a value than to be of that very type."""
LONGEST_SHOWN = 80  # characters of a value in a message

_decode_value = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value that says which members of unions it is made of, as JSON."""

    raw: msgspec.Raw


class Parameter:
    """How the values of one parameter travel."""

    def __init__(self, name: str, annotation: Any) -> None:
        self.name = name
        self.annotation = annotation
        self.exact: type | None = annotation if any(annotation is exact for exact in _EXACT) else None

    @property
    def may_tag(self) -> bool:
        """Whether encode() may answer with something Tagged."""
        return self.exact is None and self.annotation is not Any

    @functools.cached_property
    def _plain(self) -> Form:
        try:
            return Form(plain(self.annotation))
        except Exception as error:  # pydantic's, and those of a type's own hooks
            raise InvalidArguments(
                f"values of parameter {self.name!r}, annotated {_shown(self.annotation)}, cannot be written as JSON: "
                f"pass what they are made of, or a type that pydantic knows ({first_line(error)})"
            ) from error

    @functools.cached_property
    def _tagged(self) -> Form | None:
        """None when the annotation has no unions, or such that say by themselves what they are."""
        try:
            annotation = tagged(self.annotation)
            return None if annotation is self.annotation else Form(annotation)
        except Exception:  # noqa: BLE001 - as above; plain JSON is what is left
            return None

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

    def _encode_by_annotation(self, value: Any) -> msgspec.Raw | Tagged:
        form = self._plain
        try:
            written, back = form.write(value)
            unchanged = same(value, back)
        except Exception as error:  # validators and serializers of models may raise anything
            said = self._tag(value)
            if said is None:
                raise InvalidArguments(
                    f"argument {self.name}={_short(value)} does not fit its annotation {_shown(self.annotation)}: "
                    f"{self._reason(value, error)}"
                ) from error
            return said
        if not unchanged:
            return self._tag(value) or self._refuse(value, back)
        if self._tagged is not None and not same(back, value):  # an int became a float
            return self._tag(value, exactly=True) or msgspec.Raw(written)
        return msgspec.Raw(written)

    def _tag(self, value: Any, *, exactly: bool = False) -> Tagged | None:
        """The value with the members of unions that it is made of; None when it would not come back then either, or
        only with ints as floats and it should `exactly`.
        """
        if self._tagged is None:
            return None
        try:
            written, back = self._tagged.write(value)
            fits = same(value, back) and (not exactly or same(back, value))
        except Exception:  # noqa: BLE001 - as above
            return None
        return Tagged(msgspec.Raw(written)) if fits else None

    def _refuse(self, value: Any, back: Any) -> NoReturn:
        raise InvalidArguments(
            f"argument {self.name}={_short(value)} ({type(value).__name__}) would come back as {_short(back)} "
            f"({type(back).__name__}): annotate {self.name} so that it says what is passed, or pass what it says"
        )

    def _reason(self, value: Any, error: Exception) -> str:
        """What is wrong with the value; errors of the way to JSON only say that it is not as expected."""
        if isinstance(value, dict) and _has_fields(self.annotation):
            return self._is_no(value, f"{self.annotation.__name__}(…)")
        try:
            converted = self._plain.convert(value)
        except Exception as clearer:  # noqa: BLE001 - as above
            return first_line(clearer)
        if same(value, converted):
            return first_line(error)
        return self._is_no(value, _short(converted))

    def _is_no(self, value: Any, remedy: str) -> str:
        kind = type(value).__name__
        article = "an" if kind[0] in "aeiouAEIOU" else "a"
        return f"{article} {kind} is no {_shown(self.annotation)}: pass {remedy}"

    def decode(self, raw: msgspec.Raw) -> Any:
        """The value; ArgumentsMismatch when it does not fit the annotation."""
        try:
            if self.exact is not None or self.annotation is Any:
                value = _decode_value(raw)
                if self.exact is None or type(value) is self.exact:
                    return value
            return self._plain.read(bytes(raw))
        except Exception as error:  # validators of models may raise anything
            raise self._mismatch(first_line(error)) from error

    def decode_tagged(self, raw: msgspec.Raw) -> Any:
        """The value, of what says which members of unions it is made of; ArgumentsMismatch when it does not."""
        if self._tagged is None:
            raise self._mismatch("it says which member of a union it is, and there is none")
        try:
            return self._tagged.read(bytes(raw))
        except Exception as error:  # as above
            raise self._mismatch(first_line(error)) from error

    def says_members(self, raw: msgspec.Raw) -> bool:
        """Whether a value names members of unions; InvalidArguments when it could also be one that does not."""
        if self._tagged is None or not _fits(self.decode_tagged, raw):
            return False
        if _fits(self.decode, raw):
            raise InvalidArguments(f"argument {self.name}: {bytes(raw).decode()[:LONGEST_SHOWN]} means two things")
        return True

    def _mismatch(self, reason: str) -> ArgumentsMismatch:
        return ArgumentsMismatch(f"argument {self.name} does not fit {_shown(self.annotation)}: {reason}")


class ContextParameter(Parameter):
    """A parameter annotated `TaskContext`: nothing travels, it is filled in where the task runs."""

    @property
    def may_tag(self) -> bool:
        return False

    def encode(self, value: Any) -> None:
        if value is not None and value is not CURRENT and not isinstance(value, TaskContext):
            raise InvalidArguments(
                f"argument {self.name}={_short(value)} stands where a TaskContext is filled in when the task runs: "
                "pass CURRENT for it"
            )

    def decode(self, raw: msgspec.Raw) -> None:
        """Whatever was sent, it is replaced."""

    decode_tagged = decode


def parameter_of(parameter: inspect.Parameter, annotation: Any) -> Parameter:
    """How the values of a parameter with this annotation travel, or where the context goes."""
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    kind = ContextParameter if _is_context(annotation) and not variadic else Parameter
    return kind(parameter.name, annotation)


def _is_context(annotation: Any) -> bool:
    """Whether it says TaskContext, perhaps `| None` or Annotated."""
    if typing.get_origin(annotation) in (Union, UnionType, Annotated):
        return any(_is_context(part) for part in typing.get_args(annotation))
    return annotation is TaskContext


def _fits(decode: Callable[[msgspec.Raw], Any], raw: msgspec.Raw) -> bool:
    try:
        decode(raw)
    except ArgumentsMismatch:
        return False
    return True


def _has_fields(annotation: object) -> bool:
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return is_model or (isinstance(annotation, type) and is_dataclass(annotation))


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the value's own repr may do anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def _shown(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def first_line(error: Exception) -> str:
    """What an error says in one line: of pydantic's, the first that is wrong."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"][1:]))
        return f"{place}: {first['msg']}"[:300] if place else first["msg"][:300]
    lines = str(error).splitlines() or [""]
    return lines[len(lines) > 1 and lines[0].endswith("warnings:")].strip()[:300]  # below a heading
