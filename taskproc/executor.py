"""Method calls as payloads, and back: the executor that a processor has unless it is given another."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from taskproc.calls import Calls, Target
from taskproc.codec import Codec, codec_of
from taskproc.context import TaskContext
from taskproc.errors import UnknownTask
from taskproc.records import CALL
from taskproc.sealing import is_sealed

__all__ = ["Executor", "JsonExecutor", "Resolve"]

Resolve = Callable[[type], Any]
"""Gives the instance of a service, or an awaitable of it."""


class Executor(Protocol):
    """Writes a call as bytes, and runs what such bytes say."""

    def serialize(self, method: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any], /) -> bytes: ...

    async def invoke(self, ctx: TaskContext, resolve: Resolve, /) -> None: ...


class JsonExecutor:
    """Arguments as JSON by the method's annotations; only what `calls` knows is ever run."""

    topic = CALL

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def serialize(self, method: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any], /) -> bytes:
        """The payload; NotAllowed or InvalidArguments when the call is refused."""
        return _codec(self._calls.name(method)).encode(args, kwargs)

    def payload(self, call: str, arguments: Mapping[str, Any]) -> bytes:
        """The payload of a call with plain JSON values by name; InvalidArguments when they do not fit its signature,
        MalformedTask or UnknownTask when this process does not know it.
        """
        return _codec(self._calls.find(call)).encode_plain(arguments)

    def parameter_names(self, call: str) -> list[str]:
        """The names of the parameters of a call that may be given by position; MalformedTask or UnknownTask when this
        process does not know it.
        """
        return _codec(self._calls.find(call)).positional_names

    async def invoke(self, ctx: TaskContext, resolve: Resolve, /) -> None:
        """Runs the call that `ctx` names: async functions here, others in the processor's threads."""
        if ctx.topic != CALL:
            raise UnknownTask(
                f"topic {ctx.topic!r} is not a method call: set processor.execute to a function that handles it"
            )
        if is_sealed(ctx.data):
            raise UnknownTask(
                "the payload is sealed, and this worker has no keys: set signing_keys and encryption_keys as where "
                "the task was enqueued"
            )
        target = self._calls.find(ctx.call)
        args, kwargs = _codec(target).decode(ctx.data, ctx)
        function = await _bind(target, resolve)
        if _is_async(getattr(function, "__func__", function)):
            await function(*args, **kwargs)
            return

        def call() -> Any:
            if ctx.cancel_requested:  # it was told to end before a thread was free
                raise asyncio.CancelledError
            return function(*args, **kwargs)

        result = await ctx.processor.in_thread(ctx, call)
        if inspect.isawaitable(result):
            if ctx.cancel_requested:
                if inspect.iscoroutine(result):
                    result.close()
                raise asyncio.CancelledError
            await result


_is_async = functools.lru_cache(maxsize=4096)(inspect.iscoroutinefunction)


def _codec(target: Target) -> Codec:
    return codec_of(target.function, target.kind, target.owner)


async def _bind(target: Target, resolve: Resolve) -> Callable[..., Any]:
    if target.owner is None:
        return target.function
    if target.kind != "instance":
        bound: Callable[..., Any] = getattr(target.owner, target.name)
        return bound
    service = resolve(target.owner)
    if inspect.isawaitable(service):
        service = await service
    method: Callable[..., Any] = getattr(service, target.name)
    return method
