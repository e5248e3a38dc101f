"""Calls as a test wants to see them: arguments decoded, in one line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskproc.calls import Calls
from taskproc.codec import codec_of
from taskproc.context import CURRENT
from taskproc.errors import TaskProcessorError
from taskproc.executor import JsonExecutor
from taskproc.records import CALL

if TYPE_CHECKING:
    from taskproc.processor import TaskProcessor

__all__ = ["Reader", "Said", "short_call"]

LONGEST = 200  # characters of arguments in a line


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is to be called, and with what."""

    call: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    arguments: dict[str, Any] | None = field(default=None, compare=False)
    """By the names of the parameters, defaults included; None when the method cannot be looked up here."""

    def __str__(self) -> str:
        return short_call(self.call, self.args, self.kwargs)


class Reader:
    """Names methods, and reads payloads, as workers of the processor do."""

    def __init__(self, processor: TaskProcessor) -> None:
        scopes = processor.scopes
        self._calls = Calls(None if scopes is None else scopes.provides, processor.settings.allowed_modules)
        self._executor = processor.executor
        self._reads_json = isinstance(self._executor, JsonExecutor)

    def name(self, method: Callable[..., object]) -> str:
        """What stands for the method in Redis; NotAllowed for what could not be enqueued."""
        target = self._calls.name(method) if self._reads_json else self._calls.describe(method)
        return target.written

    def expected(self, method: Callable[..., object], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Said:
        """The call that a test names; TypeError when the method takes no such arguments."""
        name, arguments = self.name(method), None
        if self._reads_json:
            arguments = _bound(self._signature(name), args, kwargs)
        return Said(call=name, args=tuple(args), kwargs=dict(kwargs), arguments=arguments)

    def read(self, call: str, topic: str, data: bytes) -> Said:
        """The call of a task; its payload as it is, in place of the arguments, if this process cannot read it."""
        try:
            if not self._reads_json or topic != CALL:
                return Said(call=call or topic, args=(data,), kwargs={})
            target = self._calls.find(call)
            codec = codec_of(target.function, target.kind, target.owner)
            args, kwargs = codec.decode(data, CURRENT)
        except TaskProcessorError:
            return Said(call=call or topic, args=(data,), kwargs={})
        arguments = _bound(codec.signature, args, kwargs)
        said = {name: value for name, value in kwargs.items() if value is not CURRENT}
        return Said(call=call, args=tuple(args), kwargs=said, arguments=arguments)

    def are_same(self, found: Said, expected: Said, method: Callable[..., object]) -> bool:
        """Whether a task is the expected call; arguments are compared by `==`, a context is as good as another."""
        if found.call != expected.call:
            return False
        if found.arguments is None or expected.arguments is None:
            return found.args == (self._executor.serialize(method, expected.args, expected.kwargs),)
        wanted = expected.arguments
        return found.arguments.keys() == wanted.keys() and all(
            value is CURRENT or bool(wanted[name] == value) for name, value in found.arguments.items()
        )

    def _signature(self, name: str) -> inspect.Signature:
        target = self._calls.find(name)
        return codec_of(target.function, target.kind, target.owner).signature


def _bound(signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def short_call(call: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The call in a line."""
    shown = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])
    return f"{call}({shown if len(shown) <= LONGEST else shown[:LONGEST] + '…'})"
