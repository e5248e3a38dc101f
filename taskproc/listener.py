"""Hears when there is something to do: wake tokens, which only one worker gets, and events, which all get.

Both are hints. What they announce is also found without them, a little later.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any, Protocol

from taskproc.connection import Connection, send
from taskproc.failure import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskproc.keys import Keys

__all__ = ["Events", "WakeTokens"]

logger = logging.getLogger(__name__)


class WakeTokens:
    """Takes one wake token at a time, when asked for."""

    def __init__(self, connection: Connection, keys: Keys, queues: Sequence[str], longest: float) -> None:
        self._queues = {keys.wake(queue): queue for queue in queues}
        self._longest = longest
        self._patience = longest + connection.patience
        self._client = connection.blocking()

    async def take(self) -> str | None:
        """The queue of a token, or None when there was none for `longest` seconds."""
        taken: Any = await send(self._client, self._patience, "BLPOP", *self._queues, self._longest)
        return self._queues[taken[0].decode()] if taken else None

    async def close(self) -> None:
        await self._client.aclose()


class Hears(Protocol):
    """What a worker does with events."""

    def on_connected(self) -> None: ...
    def on_cancel(self) -> None: ...
    def on_resume(self) -> None: ...
    def on_schedule(self) -> None: ...
    def on_due(self, queue: str, due: int) -> None: ...


class Events:
    """Follows the channel of a prefix."""

    def __init__(self, connection: Connection, keys: Keys, hears: Hears) -> None:
        self._client = connection.blocking()
        self._patience = connection.patience
        self._channel = keys.events
        self._hears = hears

    async def follow(self) -> None:
        """Subscribes, and hands on events until the connection is lost."""
        pubsub: Any = self._client.pubsub()  # the driver types half of it
        try:
            async with asyncio.timeout(self._patience):
                await pubsub.subscribe(self._channel)
            self._hears.on_connected()
            while True:
                self._hand_on(await self._next(pubsub))
        finally:
            await pubsub.aclose()

    async def _next(self, pubsub: Any) -> str:
        """The next event; after some silence it asks whether the server is still there. TimeoutError if it is not."""
        silent = False
        while True:
            message = await pubsub.get_message(timeout=self._patience if silent else PING_AFTER)
            if message is None and silent:
                raise TimeoutError("the event channel is lost")
            silent = message is None
            if message is None:
                async with asyncio.timeout(self._patience):
                    await pubsub.ping()
            elif message["type"] == "message":
                return str(message["data"].decode(errors="replace"))

    def _hand_on(self, text: str) -> None:
        match text.split(" "):
            case ["cancel"]:
                self._hears.on_cancel()
            case ["resume"]:
                self._hears.on_resume()
            case ["schedule"]:
                self._hears.on_schedule()
            case ["due", due, queue] if _MILLISECONDS.fullmatch(due):
                self._hears.on_due(queue, int(due))
            case _:
                logger.debug("an event of another version was ignored: %s", one_line(text))

    async def close(self) -> None:
        await self._client.aclose()


_MILLISECONDS = re.compile(r"[0-9]{1,15}")
PING_AFTER = 5.0  # seconds of silence after which the connection is tried
