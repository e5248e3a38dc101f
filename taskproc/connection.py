"""From `settings.redis` to clients: commands, blocking pops, publish/subscribe, and the heartbeat thread's own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, RedisError
from redis.retry import Retry

from taskproc.address import Address, read_address
from taskproc.errors import ConfigurationError, TaskProcessorError
from taskproc.links import SharedFind, link, link_in_thread
from taskproc.servers import finder

if TYPE_CHECKING:
    from taskproc.embedded import Embedded
    from taskproc.settings import TaskProcessorSettings

__all__ = ["Connection", "connect", "send"]

MOST_CONNECTIONS = 50  # of the pool for commands; more callers wait their turn
LONGEST_TRY = 5.0  # seconds that one try may take of a request that is repeated for longer

CONNECT_SHARE = 0.8  # of the time for a try: one that did not get as far as sending anything shall say so


class Connection:
    """Clients to one server. None repeats a command by itself: only what can be repeated safely is, elsewhere."""

    def __init__(self, address: Address, slot_of: str, timeout: float, embedded: Embedded | None = None) -> None:
        self._address = address
        self._find = finder(address, slot_of)
        self._shared_find = None if self._find is None else SharedFind(self._find)
        self.patience = min(timeout / 2, LONGEST_TRY)
        """Seconds that one try of a request may take."""
        self._embedded = embedded
        self.address = address.shown
        """The server, without credentials."""
        self.commands = self._client(address.max_connections or MOST_CONNECTIONS)
        """For commands that are answered at once."""
        self._pulse = self._client(1)
        self._asking: asyncio.Task[bool] | None = None

    def blocking(self) -> redis.asyncio.Redis:
        """A client with one connection, for commands that block."""
        return self._client(1)

    def in_thread(self, patience: float) -> redis.Redis:
        """A client for a thread: nothing that happens in the event loop holds it up."""
        options: dict[str, Any] = self._options() | {
            "socket_timeout": patience,
            "socket_connect_timeout": patience,
            "connection_class": link_in_thread(self._address),
            "max_connections": 1,
            "find": self._find,
            "retry": Retry(NoBackoff(), 0),
            "name": "taskproc-heartbeat",
        }
        return redis.Redis.from_pool(redis.ConnectionPool(**options))

    async def answers(self, seconds: float) -> bool:
        """Whether the server answers a PING in that time, on a connection that waits behind no others. Those who ask at
        the same time share the answer.
        """
        if self._asking is None:
            self._asking = asyncio.create_task(self._ping(seconds), name="taskproc ping")
        return await asyncio.shield(self._asking)

    async def _ping(self, seconds: float) -> bool:
        try:
            return bool(await send(self._pulse, seconds, "PING") == b"PONG")
        except NoPermissionError:  # a user with few rights may not ask, but was answered
            return True
        except (RedisError, OSError, TaskProcessorError):
            return False
        finally:
            self._asking = None

    async def close(self) -> None:
        if self._asking is not None:
            await asyncio.wait([self._asking])  # it is over within the time it was given
        await self._pulse.aclose()
        await self.commands.aclose()
        if self._embedded is not None:
            await asyncio.to_thread(self._embedded.close)

    def check(self) -> None:
        """ConfigurationError when the files for TLS cannot be used."""
        if not self._address.secure:
            return
        try:
            pool: Any = self.commands.connection_pool
            pool.make_connection().ssl_context.get()
        except (OSError, ValueError) as error:  # what the TLS library says does not name the file
            files = ", ".join(f"{name}={value}" for name, value in self._address.tls.items() if "password" not in name)
            raise ConfigurationError(f"TLS to {self.address} cannot be set up with {files}: {error}") from error

    def _client(self, connections: int) -> redis.asyncio.Redis:
        pool = _Pool(connections, connection_class=link(self._address), find=self._shared_find, **self._options())
        return redis.asyncio.Redis.from_pool(pool)

    def _options(self) -> dict[str, Any]:
        address = self._address
        host, port = address.hosts[0] if address.hosts else ("", 0)
        return {
            **({"path": address.path} if address.kind == "unix" else {"host": host, "port": port}),
            **address.login,
            **address.tls,
            "db": address.db,
            "address": address,
            "name": "taskproc",
            "socket_timeout": None,  # on Python 3.11 the driver's loses cancels; `send` has its own
            "socket_connect_timeout": self.patience * CONNECT_SHARE,
            "retry": AsyncRetry(NoBackoff(), 0),
            "protocol": 2,
            "driver_info": None,  # CLIENT SETINFO needs a permission, and a round trip
        }


def _untyped(pool: Any) -> Any:
    return pool  # the driver types half of it


class _Pool(redis.asyncio.ConnectionPool):
    """Lets callers wait for a connection as long as their own time allows; the driver's pool that does costs more."""

    def __init__(self, connections: int, **options: Any) -> None:
        super().__init__(max_connections=connections, **options)
        self._turns = asyncio.Semaphore(connections)

    async def get_connection(self, *_args: Any, **_options: Any) -> AbstractConnection:
        await self._turns.acquire()
        try:
            connection: AbstractConnection = _untyped(self).get_available_connection()
        except BaseException:
            self._turns.release()
            raise
        try:
            await self.ensure_connection(connection)
        except BaseException:  # nobody got it: it was not reached, or the caller was cancelled
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        try:
            await super().release(connection)
        finally:
            self._turns.release()


async def connect(settings: TaskProcessorSettings) -> Connection:
    """Clients for `settings.redis`; an `embedded` server is started if none runs. Nothing is sent yet."""
    url, timeout = settings.redis, settings.command_timeout.total_seconds()
    if url.partition(":")[0] == "embedded":
        from taskproc import embedded  # noqa: PLC0415 - few programs have a server of their own

        server = await asyncio.to_thread(embedded.start, url)
        address = Address(kind="unix", shown=f"embedded://{server.path}", path=server.socket)
        return Connection(address, settings.prefix, timeout, server)
    connection = Connection(read_address(url), settings.prefix, timeout)
    connection.check()
    return connection


async def send(client: redis.asyncio.Redis, patience: float, *words: Any) -> Any:
    """The reply to a command, as the server gives it. TimeoutError after `patience` seconds.

    Without the client around the pool, whose retries, callbacks and metrics cost as much as all the rest.
    """
    pool = _untyped(client.connection_pool)
    async with asyncio.timeout(patience):
        connection = await pool.get_connection()
        try:
            await _write(connection, words)
            return await connection.read_response()
        finally:
            await pool.release(connection)


async def _write(connection: Any, words: Sequence[Any]) -> None:
    try:
        await connection.send_command(*words)
    except RuntimeError as error:  # so uvloop says that the other side has reset the connection
        raise RedisConnectionError(str(error)) from error
