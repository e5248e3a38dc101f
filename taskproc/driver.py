"""Runs scripts and commands, and repeats them while Redis is away.

Everything sent through here may be repeated: a second run of the same request changes nothing. What may not is sent
`once`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
import redis.exceptions
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from taskproc.connection import Connection, reconnect, send
from taskproc.errors import ConfigurationError, StorageUnavailable
from taskproc.keys import Keys
from taskproc.scripts import scripts

__all__ = ["UNKNOWN_OUTCOME", "Driver", "explain_refusal", "is_not_executed"]

T = TypeVar("T")

UNKNOWN_OUTCOME = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)
"""The request may or may not have been carried out."""
_REFUSED = (AuthenticationError, AuthorizationError, NoPermissionError)
_REFUSED_CODES = ("NOAUTH", "NOPERM", "WRONGPASS")
_NOT_EXECUTED = (BusyLoadingError, TryAgainError, ClusterDownError, ClusterError, MasterDownError, OutOfMemoryError)
_NOT_EXECUTED_CODES = ("BUSY", "NOREPLICAS", "MISCONF", "LOADING", "OOM", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")
_ELSEWHERE = (ReadOnlyError, MovedError, AskError)
"""Not executed either: the data are, or are going to be, on another server."""

encode = msgspec.msgpack.Encoder().encode


def is_not_executed(error: Exception) -> bool:
    """Whether the server said that it did not carry out the request, but may later."""
    if isinstance(error, _NOT_EXECUTED + _ELSEWHERE):
        return True
    return isinstance(error, ResponseError) and str(error).startswith(_NOT_EXECUTED_CODES)


def explain_refusal(error: Exception, address: str) -> ConfigurationError | None:
    """The error for a server that does not let us in, or do what we need; None for other errors."""
    if not isinstance(error, _REFUSED) and not str(error).startswith(_REFUSED_CODES):
        return None
    return ConfigurationError(
        f"the server at {address} refuses this user: {error}. Check user, password and ACL of `redis`."
    )


class Driver:
    """Sends scripts to one server."""

    def __init__(self, connection: Connection, keys: Keys, command_timeout: float) -> None:
        self._client = connection.commands
        self._address = connection.address
        self._keys = keys
        self._timeout = command_timeout
        self._scripts = scripts()

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
        return await self.repeat(lambda: self.once(name, keys, packed, payloads), subject)

    async def once(self, name: str, keys: Sequence[str], packed: bytes, payloads: Sequence[bytes] = ()) -> Any:
        """The script's reply, or the driver's error."""
        script = self._scripts[name]
        try:
            return await self._send("EVALSHA", script.sha, keys, packed, payloads)
        except NoScriptError:
            return await self._send("EVAL", script.source, keys, packed, payloads)

    async def _send(
        self, command: str, text: str, keys: Sequence[str], packed: bytes, payloads: Sequence[bytes]
    ) -> Any:
        own = self._keys
        return await send(self._client, command, text, len(keys) + 2, own.meta, *keys, own.none, packed, *payloads)

    async def repeat(self, request: Callable[[], Awaitable[T]], subject: str | None = None) -> T:
        """What the request gives, repeated while it fails for reasons that pass."""
        maybe_accepted = False
        reason: Exception | None = None
        try:
            async with asyncio.timeout(self._timeout):
                for attempt in range(1_000_000):
                    try:
                        return await request()
                    except UNKNOWN_OUTCOME as error:
                        reason, maybe_accepted = error, True
                    except ResponseError as error:
                        reason = self._passing(error)
                        if isinstance(error, _ELSEWHERE):
                            await reconnect(self._client)
                    await asyncio.sleep(min(0.02 * 2**attempt, 0.5) * random.uniform(0.5, 1))
        except TimeoutError:
            maybe_accepted = maybe_accepted or reason is None
        raise StorageUnavailable(
            f"Redis at {self._address} did not carry out the request within {self._timeout:g} s"
            + (f" ({type(reason).__name__}: {reason})" if reason else " (no answer)"),
            maybe_accepted=maybe_accepted,
            task_id=subject,
        ) from reason

    def _passing(self, error: ResponseError) -> Exception:
        refusal = explain_refusal(error, self._address)
        if refusal is not None:
            raise refusal from error
        if not is_not_executed(error):
            raise error
        return error
