"""Connections of the driver that know where to connect to, each time they do.

One whose server says that the data are elsewhere closes itself. So a failover, or a slot that has moved, costs one
refused request on each connection, and nothing else needs to know.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import redis.asyncio.connection
import redis.connection
from redis.asyncio.connection import AbstractConnection
from redis.connection import AbstractConnection as AbstractConnectionInThread
from redis.exceptions import AuthenticationError, AuthorizationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from taskproc.address import Address, Host
from taskproc.replies import Unfit, Unreached, is_elsewhere
from taskproc.servers import Find

if TYPE_CHECKING:
    _Base = AbstractConnection
    _BaseInThread = AbstractConnectionInThread
else:  # the classes at the end add one
    _Base = _BaseInThread = object

__all__ = ["SharedFind", "link", "link_in_thread"]

OLDEST = (6, 2)


def _untyped(connection: Any) -> Any:
    return connection  # the driver types half of it


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


@contextmanager
def _connecting(where: str) -> Generator[None]:
    """Tells failures to connect from failures later on, when the request may have been carried out."""
    try:
        yield
    except (AuthenticationError, AuthorizationError, Unreached):
        raise
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        text = str(error).rstrip(".")
        raise Unreached(text if where in text else f"{where}: {text}") from error


def _judge(reply: list[Any], address: Address, where: str) -> None:
    """Unfit or Unreached when a server that greets like this cannot be used."""
    about = dict(zip(reply[::2], reply[1::2], strict=True))
    if about.get(b"mode") == b"sentinel":
        raise Unfit("is a Sentinel: use redis+sentinel://h1,h2/name")
    version = re.match(rb"(\d+)\.(\d+)\S*", about.get(b"version", b""))
    if version and (int(version[1]), int(version[2])) < OLDEST:
        raise Unfit(f"is Redis {version[0].decode()}: version 6.2 or newer is needed, or Valkey")
    if address.kind == "sentinel" and about.get(b"role") == b"replica":
        raise Unreached(f"{where} is a replica now")


class _Link(_Base):
    """For the event loop."""

    def __init__(self, *, find: SharedFind | None, address: Address, name: str, **options: Any) -> None:
        super().__init__(**options)
        self._find = find
        self._address = address
        self._name = name

    async def connect_check_health(self, *args: Any, **options: Any) -> None:
        if self.is_connected:
            return
        if self._find is not None:
            self.host, self.port = await self._find()
        with _connecting(self._host_error()):
            await super().connect_check_health(*args, **options)

    async def on_connect_check_health(self, *args: Any, **options: Any) -> None:
        await super().on_connect_check_health(*args, **options)
        try:  # needs no permission, other than CLIENT SETNAME
            await self.send_command("HELLO", 2, "SETNAME", self._name, check_health=False)
            reply = await self.read_response()
        except ResponseError:
            return  # there is something in front of the server
        _judge(reply, self._address, self._host_error())

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await _untyped(super()).read_response(*args, **options)
        except ResponseError as error:
            if is_elsewhere(error):
                await self.disconnect(nowait=True)
            raise


class _LinkInThread(_BaseInThread):
    """For a thread."""

    def __init__(self, *, find: Find | None, address: Address, name: str, **options: Any) -> None:
        super().__init__(**options)
        self._find = find
        self._address = address
        self._name = name

    def connect_check_health(self, *args: Any, **options: Any) -> None:
        if self.is_connected:
            return
        if self._find is not None:
            self.host, self.port = self._find()
        with _connecting(self._where):
            super().connect_check_health(*args, **options)

    def on_connect_check_health(self, *args: Any, **options: Any) -> None:
        super().on_connect_check_health(*args, **options)
        try:
            _untyped(self).send_command("HELLO", 2, "SETNAME", self._name, check_health=False)
            reply = self.read_response()
        except ResponseError:
            return
        _judge(reply, self._address, self._where)

    @property
    def _where(self) -> str:
        return str(_untyped(self)._host_error())  # noqa: SLF001 - its own

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return _untyped(super()).read_response(*args, **options)
        except ResponseError as error:
            if is_elsewhere(error):
                _untyped(self).disconnect()
            raise


class _Tcp(_Link, redis.asyncio.connection.Connection):
    pass


class _Tls(_Link, redis.asyncio.connection.SSLConnection):
    pass


class _Unix(_Link, redis.asyncio.connection.UnixDomainSocketConnection):
    async def _connect(self) -> None:
        """Without the greeting: the caller sends it. The driver sends it twice, and takes a refusal for a failure."""
        async with asyncio.timeout(self.socket_connect_timeout):
            self._reader, self._writer = await asyncio.open_unix_connection(self.path)


class _TcpInThread(_LinkInThread, redis.connection.Connection):
    pass


class _TlsInThread(_LinkInThread, redis.connection.SSLConnection):
    pass


class _UnixInThread(_LinkInThread, redis.connection.UnixDomainSocketConnection):
    pass


def link(address: Address) -> type[AbstractConnection]:
    """The kind of connection that an address asks for, for the event loop."""
    return _Unix if address.kind == "unix" else _Tls if address.secure else _Tcp


def link_in_thread(address: Address) -> type[AbstractConnectionInThread]:
    """The same for a thread."""
    return _UnixInThread if address.kind == "unix" else _TlsInThread if address.secure else _TcpInThread
