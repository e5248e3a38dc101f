"""Runs scripts and commands, and repeats them while Redis is away.

Everything sent through here may be repeated: a second run of the same request changes nothing. What may not is sent
`once`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
from redis.exceptions import NoScriptError, RedisError

from taskproc.connection import Connection, send
from taskproc.errors import ConfigurationError, StorageUnavailable
from taskproc.keys import Keys
from taskproc.replies import UNKNOWN_OUTCOME, explain, is_not_executed
from taskproc.scripts import scripts

__all__ = ["Driver", "check_loop", "encode"]

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5  # seconds between two tries
SHORTEST_TRY = 0.02  # seconds

encode = msgspec.msgpack.Encoder().encode


def check_loop(connected_in: asyncio.AbstractEventLoop) -> None:
    """ConfigurationError in another event loop than that of the connections."""
    if asyncio.get_running_loop() is not connected_in:
        raise ConfigurationError(
            "the processor is connected in another event loop than this one: await its calls there, or use "
            "`processor.blocking`, which hands them over"
        )


class Driver:
    """Sends scripts to one server."""

    def __init__(self, connection: Connection, keys: Keys, command_timeout: float) -> None:
        self._client = connection.commands
        self._patience = connection.patience
        self.answers = connection.answers
        self._address = connection.address
        self._keys = keys
        self._timeout = command_timeout
        self._scripts = scripts()
        self._loop = asyncio.get_running_loop()

    async def run(
        self,
        name: str,
        keys: Sequence[str] = (),
        arg: object = None,
        payloads: Sequence[bytes] = (),
        subject: str | None = None,
    ) -> Any:
        """The script's reply, repeated for up to `command_timeout`, then StorageUnavailable (about `subject`)."""
        packed = encode(arg if arg is not None else {})
        return await self.repeat(lambda patience: self._evaluate(patience, name, keys, packed, payloads), subject)

    async def once(self, name: str, keys: Sequence[str], packed: bytes, payloads: Sequence[bytes] = ()) -> Any:
        """The script's reply, or the driver's error."""
        return await self._evaluate(self._patience, name, keys, packed, payloads)

    async def _evaluate(
        self, patience: float, name: str, keys: Sequence[str], packed: bytes, payloads: Sequence[bytes]
    ) -> Any:
        script = self._scripts[name]
        words = (len(keys) + 2, self._keys.meta, *keys, self._keys.none, packed, *payloads)
        try:
            return await send(self._client, patience, "EVALSHA", script.sha, *words)
        except NoScriptError:
            return await send(self._client, patience, "EVAL", script.source, *words)

    async def command(self, *words: Any) -> Any:
        """The reply to a command that only reads, repeated like a script."""
        return await self.repeat(lambda patience: send(self._client, patience, *words))

    async def subscribe(self, channel: str) -> None:
        """Subscribes to a channel and ends it: an error when that is not allowed."""

        async def subscribe(patience: float) -> None:
            pubsub: Any = self._client.pubsub()  # the driver types half of it
            try:
                async with asyncio.timeout(patience):
                    await pubsub.subscribe(channel)
                    await pubsub.get_message(timeout=patience)
            finally:
                await pubsub.aclose()

        await self.repeat(subscribe)

    async def repeat(self, request: Callable[[float], Awaitable[T]], subject: str | None = None) -> T:
        """What the request gives, repeated while it fails for reasons that pass; it gets the seconds that it has."""
        check_loop(self._loop)
        tries = _Tries(self._address, self._timeout)
        while tries.may_go_on:
            tries.began()
            try:
                return await request(min(tries.seconds_left, self._patience))
            except (RedisError, OSError) as error:
                tries.failed(error)
            await asyncio.sleep(min(tries.pause, tries.seconds_left))
        raise tries.error(subject) from tries.reason


class _Tries:
    """What is known of a request after its tries so far."""

    def __init__(self, address: str, seconds: float) -> None:
        self._address = address
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._number = 0
        self._maybe_carried_out = False
        self.reason: Exception | None = None

    @property
    def may_go_on(self) -> bool:
        """One without time to be answered would only leave open whether it was carried out."""
        return not self._number or self.seconds_left > SHORTEST_TRY

    @property
    def seconds_left(self) -> float:
        return max(self._end - time.monotonic(), 0.0)

    @property
    def pause(self) -> float:
        return min(FIRST_PAUSE * 2.0 ** (self._number - 1), LONGEST_PAUSE) * random.uniform(0.5, 1)

    def began(self) -> None:
        self._number += 1

    def failed(self, error: Exception) -> None:
        """Raises what repeating does not mend."""
        explained = explain(error, self._address)
        if explained is not None:
            raise explained from error
        if not is_not_executed(error):
            if not isinstance(error, UNKNOWN_OUTCOME):
                raise error
            self._maybe_carried_out = True
        self.reason = error

    def error(self, subject: str | None) -> StorageUnavailable:
        why = f"{type(self.reason).__name__}: {self.reason}" if self.reason else "no answer"
        return StorageUnavailable(
            f"Redis at {self._address} did not carry out the request within {self._seconds:g} s ({why})",
            maybe_accepted=self._maybe_carried_out,
            task_id=subject,
        )
