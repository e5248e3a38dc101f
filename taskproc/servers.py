"""Finds the server that holds the data, wherever it is now: behind Sentinels, or a cluster's owner of a hash slot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.retry import Retry

from taskproc.address import Address, Host
from taskproc.replies import Unreached

__all__ = ["Find", "finder"]

_driver: Any = redis  # it types half of what is used here
ASK_WITHIN = 1.0  # seconds that one Sentinel or node may take to say where the server is

Find = Callable[[], Host]
"""Blocking; Unreached when nobody knows, AuthenticationError when those who may know do not let us in."""


def finder(address: Address, slot_of: str) -> Find | None:
    """Finds the server that a Sentinel or cluster address leads to, in a cluster the owner of the key `slot_of`; None
    for an address that is the server's own.
    """
    match address.kind:
        case "sentinel":
            return _Sentinels(address)
        case "cluster":
            return _Cluster(address, key_slot(slot_of.encode()))
        case _:
            return None


class _Asking(ABC):
    """Asks in turn until somebody answers, each time another one first: what one of them knows may be old."""

    login_hint = ""

    def __init__(self, address: Address, login: dict[str, str], nobody: str) -> None:
        self._seeds = address.hosts
        self._known = list(address.hosts)
        self._nobody = nobody
        self._options: dict[str, Any] = {
            **address.tls,
            **login,
            "ssl": address.secure,
            "socket_timeout": ASK_WITHIN,
            "socket_connect_timeout": ASK_WITHIN,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "driver_info": None,
        }

    def __call__(self) -> Host:
        order, failures = list(self._known), list[tuple[Host, Exception]]()
        for position, host in enumerate(order, 1):
            try:
                found, others = self._ask(host)
            except (RedisError, OSError) as error:
                failures.append((host, error))
            else:
                self._remember(order[position:] + order[:position], others)
                return found
        raise self._error(failures)

    def _remember(self, order: list[Host], others: list[Host]) -> None:
        """Whom to ask from now on: those of the address, and those that are there now."""
        current = {*others, *self._seeds}
        self._known = list(dict.fromkeys([*(one for one in order if one in current), *others]))

    def _error(self, failures: list[tuple[Host, Exception]]) -> Exception:
        kind: type[Exception] = Unreached
        cause = failures[-1][1]
        reasons: list[str] = []
        for (name, port), error in failures:
            hint = ""
            if isinstance(error, AuthenticationError | NoPermissionError):
                kind, cause, hint = AuthenticationError, error, self.login_hint
            reasons.append(f"{name}:{port}: {str(error).rstrip('.')}{hint}")
        found = kind(f"{self._nobody} ({'; '.join(reasons)})")
        found.__cause__ = cause
        return found

    @abstractmethod
    def _ask(self, host: Host) -> tuple[Host, list[Host]]:
        """The server as this one sees it, and whom else to ask from now on."""

    def _command(self, host: Host, *words: str) -> Any:
        client = _driver.Redis(host=host[0], port=host[1], **self._options)
        try:
            return client.execute_command(*words)
        finally:
            client.close()


class _Sentinels(_Asking):
    login_hint = " (its login is sentinel_username and sentinel_password)"

    def __init__(self, address: Address) -> None:
        nobody = f"no Sentinel says where the master {address.master!r} is"
        super().__init__(address, dict(address.sentinel_login), nobody)
        self._master = address.master

    def _ask(self, host: Host) -> tuple[Host, list[Host]]:
        found = self._command(host, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master)
        if not found:
            raise RedisError("it knows no master of this name")
        return (found[0].decode(), int(found[1])), []


class _Cluster(_Asking):
    def __init__(self, address: Address, slot: int) -> None:
        super().__init__(address, dict(address.login), f"no node of the cluster says who owns slot {slot}")
        self._slot = slot

    def _ask(self, host: Host) -> tuple[Host, list[Host]]:
        ranges: list[Any] = self._command(host, "CLUSTER", "SLOTS")
        nodes = [_node(entry, host) for _, _, *entries in ranges for entry in entries]
        for first, last, primary, *_ in ranges:
            if int(first) <= self._slot <= int(last):
                return _node(primary, host), nodes
        raise RedisError("nobody owns it")


def _node(entry: list[Any], asked: Host) -> Host:
    host = entry[0].decode() if entry[0] else ""
    return host or asked[0], int(entry[1])
