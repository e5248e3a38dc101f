"""Connections of the driver that know where to connect to, each time they do.

One whose server says that the data are elsewhere closes itself. So a failover, or a slot that has moved, costs one
refused request on each connection, and nothing else needs to know.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator, Sequence
from typing import Any

import redis.asyncio.connection
import redis.connection
from redis.exceptions import AuthenticationError, AuthorizationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from taskproc.address import Address, Host
from taskproc.replies import Unreached, is_elsewhere
from taskproc.servers import Find

__all__ = ["SharedFind", "link", "link_in_thread"]


class SharedFind:
    """Looks for the server in a thread, once for all who ask at the same time."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._looking: asyncio.Task[Host] | None = None

    async def __call__(self) -> Host:
        if self._looking is None:
            self._looking = asyncio.create_task(asyncio.to_thread(self._find))
            self._looking.add_done_callback(self._found)
        return await asyncio.shield(self._looking)

    def _found(self, looking: asyncio.Task[Host]) -> None:
        self._looking = None
        if not looking.cancelled():
            looking.exception()  # all who asked may have gone


class _Link:
    """For the event loop."""

    def __init__(self, *, find: SharedFind | None, must_be_primary: bool, name: str, **options: Any) -> None:
        super().__init__(**options)
        self._find = find
        self._must_be_primary = must_be_primary
        self._name = name

    async def connect_check_health(self, *args: Any, **options: Any) -> None:
        if self.is_connected:
            return
        with _unreached(self):
            if self._find is not None:
                self.host, self.port = await self._find()
            await super().connect_check_health(*args, **options)

    async def on_connect_check_health(self, *args: Any, **options: Any) -> None:
        await super().on_connect_check_health(*args, **options)
