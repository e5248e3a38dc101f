"""From `settings.redis` to clients: commands, blocking pops, publish/subscribe, and the heartbeat thread's own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from taskproc.errors import ConfigurationError
from taskproc.servers import (
    LOCATED_SCHEMES,
    FindingConnection,
    FindingConnectionInThread,
    FindingTLSConnection,
    FindingTLSConnectionInThread,
    Located,
    locate,
)

if TYPE_CHECKING:
    from taskproc.settings import TaskProcessorSettings

__all__ = ["Connection", "connect", "reconnect", "send"]

DIRECT_SCHEMES = ("redis", "rediss", "unix")
MOST_CONNECTIONS = 50  # of the pool for commands; more callers wait their turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Clients to one server. None repeats a command by itself: only what can be repeated safely is, elsewhere."""

    address: str
    """The server, without credentials."""
    commands: redis.asyncio.Redis
    server: str | Located
    timeout: float
    embedded: Any = None

    def blocking(self, longest: float) -> redis.asyncio.Redis:
        """A client with one connection for commands that block up to `longest` seconds."""
        return _client(self.server, patience=longest + self.timeout, connections=1)

    def in_thread(self, patience: float) -> redis.Redis:
        """A client for a thread: nothing that happens in the event loop holds it up."""
        return _client_in_thread(self.server, patience)

    async def close(self) -> None:
        await self.commands.aclose()
        if self.embedded is not None:
            await asyncio.to_thread(self.embedded.close)


async def connect(settings: TaskProcessorSettings) -> Connection:
    """Clients for `settings.redis`; an `embedded` server is started if none runs. Nothing is sent yet."""
    url, shown, embedded = settings.redis, address_of(settings.redis), None
    timeout = settings.command_timeout.total_seconds()
    server: str | Located = url
    scheme = urlsplit(url).scheme
    if url == "embedded" or scheme == "embedded":
        from taskproc import embedded as embedded_server  # noqa: PLC0415 - few programs have a server of their own

        embedded = await asyncio.to_thread(embedded_server.start, url)
        server, shown = f"unix://{quote(embedded.socket)}", f"embedded://{embedded.path}"
    elif scheme in LOCATED_SCHEMES:
        server = locate(url, settings.prefix)
    elif scheme not in DIRECT_SCHEMES:
        raise ConfigurationError(
            f"redis={shown!r} is not a server address: use redis://host:6379/0, rediss://…, unix:///path, "
            "redis+sentinel://h1,h2/name, redis+cluster://h1,h2, embedded, or embedded:///path"
        )
    try:
        commands = _client(server, patience=timeout, connections=MOST_CONNECTIONS)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"redis={shown!r} is not a server address: {error}") from None
    return Connection(address=shown, commands=commands, server=server, timeout=timeout, embedded=embedded)


async def send(client: redis.asyncio.Redis, *words: Any) -> Any:
    """The reply to a command, which the driver leaves untyped."""
    return await client.execute_command(*words)  # type: ignore[no-untyped-call]


async def reconnect(client: redis.asyncio.Redis) -> None:
    """Drops the idle connections: the server at their other end may not be the one that counts any more."""
    try:
        await client.connection_pool.disconnect(inuse_connections=False)
    except (RedisError, OSError):
        return  # they were lost already


def address_of(url: str) -> str:
    """The address as it may be shown: without user, password and query."""
    scheme, separator, rest = url.partition("://")
    return scheme + separator + rest.partition("?")[0].rpartition("@")[2]


def _client(server: str | Located, *, patience: float, connections: int) -> redis.asyncio.Redis:
    options: dict[str, Any] = {
        "max_connections": connections,
        "timeout": None,  # callers wait for a connection as long as their own time allows
        "socket_timeout": patience,
        "socket_connect_timeout": patience,
        "retry": AsyncRetry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,
        "client_name": "taskproc",
    }
    if isinstance(server, str):
        return redis.asyncio.Redis.from_pool(redis.asyncio.BlockingConnectionPool.from_url(server, **options))
    kind = FindingTLSConnection if server.secure else FindingConnection
    pool = redis.asyncio.BlockingConnectionPool(
        connection_class=kind, find=server.find, **{**server.options, **options}
    )
    return redis.asyncio.Redis.from_pool(pool)


def _client_in_thread(server: str | Located, patience: float) -> redis.Redis:
    options: dict[str, Any] = {
        "max_connections": 1,
        "socket_timeout": patience,
        "socket_connect_timeout": patience,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "client_name": "taskproc-heartbeat",
    }
    if isinstance(server, str):
        return redis.Redis.from_pool(redis.ConnectionPool.from_url(server, **options))
    kind = FindingTLSConnectionInThread if server.secure else FindingConnectionInThread
    pool = redis.ConnectionPool(connection_class=kind, find=server.find, **{**server.options, **options})
    return redis.Redis.from_pool(pool)
