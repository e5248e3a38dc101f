"""How much memory what is stored takes, by kind of key: estimated from a sample, since looking at all takes long."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from taskproc.errors import ConfigurationError
from taskproc.server_checks import Info, server_info

if TYPE_CHECKING:
    from taskproc.storage import Storage

__all__ = ["KeyKind", "Keyspace", "look_at_keys"]

STEP = 1_000
MOST_STEPS = 10
MOST_MEASURED = 25  # of each kind
SAMPLES = 20  # elements of a collection by which the server estimates its size
_KINDS = (
    (r"task:", "tasks"),
    (r"queue:.*:ready(:|$)", "ready lists"),
    (r"queue:.*:(turns|leased|delayed|dead|wake)$", "other lists of queues"),
    (r"queue(:|s$)", "queues"),
    (r"batch:.*:(chunks|then)$", "parts of batches"),
    (r"batch", "batches"),
    (r"worker:.*:stacks$", "stacks of workers"),
    (r"worker", "workers"),
    (r"schedule|declared", "schedules"),
    (r"statistics", "statistics"),
    (r"audit|pauses", "audit and pauses"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyKind:
    """Keys of one kind."""

    name: str
    keys: int
    memory: int | None
    """Bytes; None where the server's user may not ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyspace:
    """What is stored under the prefix."""

    kinds: list[KeyKind]
    """The largest first."""
    exact: bool
    """All keys of the server were looked at; else their numbers are estimated from the first 10,000."""
    note: str
    """What could not be looked at, and why; else empty."""
    info: Info
    """What INFO says; empty where the server's user may not ask."""

    @property
    def memory(self) -> int | None:
        """Bytes of all kinds."""
        known = [kind.memory for kind in self.kinds if kind.memory is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class _Seen:
    keys: list[str]
    share: float
    """How many of all keys of the server were looked at, whoever's they are."""


async def look_at_keys(storage: Storage) -> Keyspace:
    """Reads the names of at most 10,000 keys and measures at most 25 of each kind."""
    info = await server_info(storage) or {}
    try:
        seen = await _see(storage)
    except (ConfigurationError, RedisError) as error:
        return Keyspace(kinds=[], exact=False, note=f"the user may not look at keys: {error}", info=info)
    by_kind: defaultdict[str, list[str]] = defaultdict(list)
    for key in seen.keys:
        by_kind[_kind(key.removeprefix(f"{storage.keys.prefix}:"))].append(key)
    kinds, note = list[KeyKind](), ""
    for name, keys in by_kind.items():
        try:
            each = await _mean_size(storage, keys)
        except (ConfigurationError, RedisError) as error:
            each, note = None, f"the user may not measure keys: {error}"
        number = round(len(keys) / seen.share)
        kinds.append(KeyKind(name=name, keys=number, memory=None if each is None else round(each * number)))
    kinds.sort(key=lambda kind: (-(kind.memory or 0), -kind.keys))
    return Keyspace(kinds=kinds, exact=seen.share == 1, note=note, info=info)


async def _see(storage: Storage) -> _Seen:
    ours, looked_at, cursor = set[str](), 0, b"0"
    for _ in range(MOST_STEPS):
        cursor, names = await storage.driver.command("SCAN", cursor, "COUNT", STEP)
        looked_at += len(names)
        ours |= set(_ours(names, storage.keys.prefix))
        if int(cursor) == 0:
            return _Seen(sorted(ours), 1)
    there_are = max(int(await storage.driver.command("DBSIZE")), looked_at, 1)
    return _Seen(sorted(ours), looked_at / there_are)


def _ours(names: Iterable[bytes], prefix: str) -> list[str]:
    texts = [name.decode(errors="replace") for name in names]
    return [text for text in texts if text.startswith(f"{prefix}:")]


def _kind(name: str) -> str:
    return next((kind for pattern, kind in _KINDS if re.match(pattern, name)), "the rest")


async def _mean_size(storage: Storage, keys: list[str]) -> float:
    step = max(len(keys) // MOST_MEASURED, 1)
    sizes = [
        await storage.driver.command("MEMORY", "USAGE", key, "SAMPLES", SAMPLES) for key in keys[::step][:MOST_MEASURED]
    ]
    known = [int(size) for size in sizes if size is not None]
    return sum(known) / len(known) if known else 0.0
