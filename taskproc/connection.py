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
from redis.retry import Retry

from taskproc.errors import ConfigurationError

if TYPE_CHECKING:
    from taskproc.settings import TaskProcessorSettings

__all__ = ["Connection", "connect", "send"]

SCHEMES = ("redis", "rediss", "unix")
_CONNECTIONS = 50  # of the pool for commands; more callers wait their turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Clients to one server. None repeats a command by itself: only what can be repeated safely is, elsewhere."""

    address: str
    """The server, without credentials."""
    commands: redis.asyncio.Redis
    url: str
    timeout: float
    embedded: Any = None

    def blocking(self, longest: float) -> redis.asyncio.Redis:
        """A client with one connection for commands that block up to `longest` seconds."""
        return _async_client(self.url, timeout=longest + self.timeout, connections=1)

    def in_thread(self, timeout: float) -> redis.Redis:
        """A client for a thread: nothing that happens in the event loop holds it up."""
        options: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        return redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0), max_connections=1, **options)

    async def close(self) -> None:
        await self.commands.aclose()
        if self.embedded is not None:
            await asyncio.to_thread(self.embedded.close)


async def connect(settings: TaskProcessorSettings) -> Connection:
    """Clients for `settings.redis`; an `embedded` server is started if none runs. Nothing is sent yet."""
    url = settings.redis
    embedded = None
    if url == "embedded" or url.startswith("embedded:"):
        from taskproc import embedded as embedded_server  # noqa: PLC0415 - few programs have a server of their own

        embedded = await asyncio.to_thread(embedded_server.start, url)
        url = f"unix://{quote(embedded.socket)}"
    elif urlsplit(url).scheme not in SCHEMES:
        raise ConfigurationError(
            f"redis={address_of(url)!r} is not a server address: use redis://host:6379/0, rediss://…, unix:///path, "
            "embedded, or embedded:///path"
        )
    timeout = settings.command_timeout.total_seconds()
    try:
        commands = _async_client(url, timeout=timeout, connections=_CONNECTIONS)
    except ValueError as error:
        raise ConfigurationError(f"redis={address_of(url)!r} is not a server address: {error}") from None
    address = address_of(settings.redis if embedded is None else f"embedded://{embedded.path}")
    return Connection(address=address, commands=commands, url=url, timeout=timeout, embedded=embedded)


async def send(client: redis.asyncio.Redis, *words: Any) -> Any:
    """The reply to a command, which the driver leaves untyped."""
    return await client.execute_command(*words)  # type: ignore[no-untyped-call]


def address_of(url: str) -> str:
    """The address as it may be shown: without user, password and query."""
    scheme, separator, rest = url.partition("://")
    return scheme + separator + rest.partition("?")[0].rpartition("@")[2]


def _async_client(url: str, *, timeout: float, connections: int) -> redis.asyncio.Redis:
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=None,  # callers wait for a connection as long as their own time allows
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        socket_keepalive=True,
        retry=AsyncRetry(NoBackoff(), 0),
        health_check_interval=0,
        protocol=2,
        client_name="taskproc",
    )
    return redis.asyncio.Redis.from_pool(pool)
