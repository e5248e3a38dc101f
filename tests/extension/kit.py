"""An executor of one's own: calls as MessagePack, found by name in a table."""

import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from taskproc import TaskContext
from taskproc.executor import Resolve


class PackedExecutor:
    """Writes name and arguments as MessagePack; runs the functions, and methods of the services, that it was given."""

    topic = "packed.v1"

    def __init__(self, *known: Callable[..., object] | type) -> None:
        self._known = {one.__qualname__: one for one in known}

    def serialize(self, method: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any], /) -> bytes:
        name = method.__qualname__
        return msgspec.msgpack.encode((name, args, kwargs))

    async def invoke(self, ctx: TaskContext, resolve: Resolve, /) -> None:
        name, args, kwargs = msgspec.msgpack.decode(ctx.data)
        owner, _, method = name.rpartition(".")
        function: Any = self._known.get(name)
        if function is None:
            service = resolve(self._known[owner])  # type: ignore[arg-type]
            function = getattr(await service if inspect.isawaitable(service) else service, method)
        result = function(*args, **kwargs)
        if inspect.isawaitable(result):
            await result
