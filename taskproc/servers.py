"""Finds the server that holds the data, wherever it is now: behind Sentinels, or the owner of a hash slot in a cluster.

Each new connection asks anew. So a failover, or a slot that has moved, needs no more than to drop the old connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import redis
import redis.asyncio.connection
import redis.connection
import redis.sentinel as redis_sentinel
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from taskproc.errors import ConfigurationError

__all__ = [
    "LOCATED_SCHEMES",
    "FindingConnection",
    "FindingConnectionInThread",
    "FindingTLSConnection",
    "FindingTLSConnectionInThread",
    "Located",
    "locate",
]

_driver: Any = redis  # it types half of what is used here
_sentinels: Any = redis_sentinel
Address = tuple[str, int]
LOCATED_SCHEMES = ("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
LOGIN = ("username", "password")
ASK_WITHIN = 1.0  # seconds that one Sentinel or node may take to say where the server is


Find = Callable[[], Address]
"""Blocking; ConnectionError of the driver when nobody knows."""


@dataclass(frozen=True, slots=True)
class Located:
    """What a URL says of servers that must be looked for: how to find the one that counts, and how to connect to it."""

    find: Find
    options: dict[str, Any]
    secure: bool


def locate(url: str, slot_of: str) -> Located:
    """The server that a `redis+sentinel://` or `redis+cluster://` URL leads to; in a cluster the owner of the key
    `slot_of`. ConfigurationError when the URL lacks something.
    """
    parts = urlsplit(url)
    secure, kind = parts.scheme.startswith("rediss"), parts.scheme.partition("+")[2]
    login, _, hosts = parts.netloc.rpartition("@")
    addresses = _addresses(hosts, 26379 if kind == "sentinel" else 6379)
    path = [unquote(part) for part in parts.path.split("/") if part]
    query = dict(parse_qsl(parts.query))
    sentinel_login = {name: query.pop(f"sentinel_{name}") for name in LOGIN if f"sentinel_{name}" in query}
    options = _options(secure=secure, login=login, db=path[1] if len(path) > 1 else "0", query=query)
    if kind == "cluster":
        return Located(
            _cluster(addresses, key_slot(slot_of.encode()), _one_off(options, secure=secure)), options, secure
        )
    if not path:
        raise ConfigurationError(
            f"{parts.scheme}://… ends in the name of the master, as in redis+sentinel://h1,h2/mymaster"
        )
    asking = {name: value for name, value in options.items() if name.startswith("ssl_")} | sentinel_login
    return Located(_sentinel(addresses, path[0], _one_off(asking, secure=secure)), options, secure)


def _options(*, secure: bool, login: str, db: str, query: dict[str, str]) -> dict[str, Any]:
    """Options of a connection, as the driver reads them from a URL."""
    scheme = "rediss" if secure else "redis"
    plain = f"{scheme}://{login + '@' if login else ''}host/{db}?{urlencode(query)}"
    options: dict[str, Any] = _driver.connection.parse_url(plain)
    return {name: value for name, value in options.items() if name not in ("host", "port", "connection_class")}


def _one_off(options: dict[str, Any], *, secure: bool) -> dict[str, Any]:
    """Options of a client that asks one question."""
    quick: dict[str, Any] = {
        "socket_timeout": ASK_WITHIN,
        "socket_connect_timeout": ASK_WITHIN,
        "retry": Retry(NoBackoff(), 0),
    }
    return {**options, **quick, **({"ssl": True} if secure else {})}


def _addresses(hosts: str, port: int) -> list[Address]:
    found: list[Address] = []
    for host in filter(None, hosts.split(",")):
        one = urlsplit(f"//{host}")
        found.append((one.hostname or "localhost", one.port or port))
    if not found:
        raise ConfigurationError(
            "the address of `redis` names no host: use redis+sentinel://h1,h2/name or redis+cluster://h1,h2"
        )
    return found


def _sentinel(addresses: list[Address], name: str, options: dict[str, Any]) -> Find:
    def find() -> Address:
        sentinel = _sentinels.Sentinel(addresses, sentinel_kwargs=options)
        try:
            host, port = sentinel.discover_master(name)
        finally:
            for client in sentinel.sentinels:
                client.close()
        return host, port

    return find


def _cluster(addresses: list[Address], slot: int, options: dict[str, Any]) -> Find:
    known = list(addresses)

    def find() -> Address:
        reason: Exception | None = None
        for host, port in list(known):
            try:
                owner, nodes = _owner(host, port, slot, options)
            except (RedisError, OSError) as error:
                reason = error
                continue
            known[:] = list(dict.fromkeys([owner, *nodes, *addresses]))
            return owner
        raise RedisConnectionError(f"no node of the cluster says who owns slot {slot}: {reason}")

    return find


def _owner(host: str, port: int, slot: int, options: dict[str, Any]) -> tuple[Address, list[Address]]:
    """Who owns a slot, and all nodes, as one node sees it."""
    node = _driver.Redis(host=host, port=port, **{**options, "db": 0})
    try:
        ranges: list[Any] = node.execute_command("CLUSTER", "SLOTS")
    finally:
        node.close()
    nodes = [_node(entry, host) for _, _, *entries in ranges for entry in entries]
    for first, last, primary, *_ in ranges:
        if int(first) <= slot <= int(last):
            return _node(primary, host), nodes
    raise RedisConnectionError(f"nobody owns slot {slot} of the cluster")


def _node(entry: Any, asked: str) -> Address:
    host = entry[0].decode() if isinstance(entry[0], bytes) else entry[0]
    return host or asked, int(entry[1])


class _Finding:
    """Looks for the server each time that the connection connects."""

    def __init__(self, *, find: Find, **options: Any) -> None:
        super().__init__(**options)
        self._find = find

    async def connect(self) -> None:
        self.host, self.port = await asyncio.to_thread(self._find)
        await super().connect()  # type: ignore[misc]


class FindingConnection(_Finding, redis.asyncio.connection.Connection):
    """For the event loop."""


class FindingTLSConnection(_Finding, redis.asyncio.connection.SSLConnection):
    """For the event loop, encrypted."""


class _FindingInThread:
    def __init__(self, *, find: Find, **options: Any) -> None:
        super().__init__(**options)
        self._find = find

    def connect(self) -> None:
        self.host, self.port = self._find()
        super().connect()  # type: ignore[misc]


class FindingConnectionInThread(_FindingInThread, redis.connection.Connection):
    """For a thread."""


class FindingTLSConnectionInThread(_FindingInThread, redis.connection.SSLConnection):
    """For a thread, encrypted."""
