"""What the server says of itself, and what of it loses or holds up tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from redis.exceptions import RedisError

from taskproc.errors import ConfigurationError

if TYPE_CHECKING:
    from taskproc.storage import Storage

__all__ = ["About", "Finding", "Info", "Level", "about_persistence", "about_server", "is_replica", "server_info"]

Level = Literal["ok", "advice", "warning", "error"]
About = Literal[
    "clock",
    "cluster",
    "connection",
    "eviction",
    "memory",
    "persistence",
    "prefix",
    "programs",
    "queues",
    "replication",
    "rights",
    "stuck",
    "version",
    "workers",
]
Info = Mapping[str, str]
"""What INFO says, by name."""

OLDEST = (6, 2)
NEARLY_FULL = 0.9  # of maxmemory
SAFE_SCRIPTS: Mapping[str, Mapping[tuple[int, int], int]] = {
    "Redis": {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
    "Valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
}
"""The first patch of each line in which a script cannot break out of its sandbox (CVE-2025-49844)."""
STATUSES: Mapping[str, tuple[Level, str]] = {
    "aof_last_write_status": ("error", "it cannot write its appendonly file"),
    "rdb_last_bgsave_status": ("error", "its last snapshot failed"),
    "aof_last_bgrewrite_status": ("warning", "it could not shorten its appendonly file"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    about: About
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}" if self.remedy else self.what


async def server_info(storage: Storage) -> Info | None:
    """What INFO says, in one round trip; None where this user may not ask, or there is no such command."""
    try:
        reply: bytes = await storage.driver.command("INFO")
    except (ConfigurationError, RedisError):
        return None
    lines = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


def about_server(info: Info | None) -> Iterator[Finding]:
    """All that INFO tells. Without it there is one finding, which says so."""
    if info is None:
        yield Finding(
            "advice",
            "version",
            "version, memory, persistence and role of the server could not be checked",
            "allow the user +info",
        )
        return
    yield from _about_version(info)
    yield from _about_memory(info)
    yield from about_persistence(info)
    yield from _about_replication(info)


def is_replica(info: Info) -> bool:
    """Whether the server follows another one, and refuses what writes."""
    return info.get("role") == "slave"


def _number(info: Info, name: str) -> int:
    """0 for what is missing: not every server that speaks the protocol says everything."""
    text = info.get(name, "")
    return int(text) if text.isdecimal() else 0


def _about_version(info: Info) -> Iterator[Finding]:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "of an unknown version")
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    line, patch = ((int(match[1]), int(match[2])), int(match[3])) if match else (OLDEST, 0)
    if line < OLDEST:
        yield Finding("error", "version", f"{name} {version} is too old", "run Redis 6.2 or newer, or Valkey")
    elif match and not _has_safe_scripts(name, line, patch):
        remedy = (
            "whoever may run scripts can take it over (CVE-2025-49844), unless the distributor has mended it: update it, "
            "and let only your own programs in"
        )
        yield Finding("advice", "version", f"{name} {version}", remedy)
    else:
        yield Finding("ok", "version", f"{name} {version}")


def _has_safe_scripts(name: str, line: tuple[int, int], patch: int) -> bool:
    lines = SAFE_SCRIPTS[name]
    return line > max(lines) or patch >= lines.get(line, patch + 1)


def _about_memory(info: Info) -> Iterator[Finding]:
    policy, limit = info.get("maxmemory_policy", "unknown"), _number(info, "maxmemory")
    if policy.startswith("allkeys"):
        remedy = "set maxmemory-policy noeviction: with this one the server deletes tasks when memory is short"
        yield Finding("error" if limit else "warning", "eviction", f"maxmemory-policy is {policy}", remedy)
    elif policy.startswith("volatile"):
        yield Finding("ok", "eviction", f"maxmemory-policy is {policy}, which takes no tasks: their keys do not expire")
    else:
        yield Finding("ok", "eviction", f"maxmemory-policy is {policy}")
    used = _number(info, "used_memory")
    if limit and used > limit * NEARLY_FULL:
        remedy = "give it more, or find out why so much is queued: when it is full, enqueues fail"
        yield Finding("warning", "memory", f"memory is {used / limit:.0%} full", remedy)
    else:
        yield Finding("ok", "memory", f"memory is {used / limit:.0%} full" if limit else "memory has no limit of its own")


def about_persistence(info: Info, config: Info | None = None) -> Iterator[Finding]:
    """What outlives a restart. INFO does not tell `save` and `appendfsync`: these come from `config`, if at all."""
    for name, (level, what) in STATUSES.items():
        if info.get(name, "ok") != "ok":
            remedy = f"look at its log and its disk ({name} is {info[name]}); a restart may lose tasks"
            yield Finding(level, "persistence", what, remedy)
    if info.get("aof_enabled") == "1":
        yield _of_appending(config)
    elif config is None:
        remedy = "set appendonly yes; with snapshots alone, or none, a restart loses what came since"
        yield Finding("warning", "persistence", "appendonly is off", remedy)
    elif not config.get("save"):
        remedy = "set appendonly yes: a restart of the server loses all tasks"
        yield Finding("warning", "persistence", "nothing is saved, appendonly is off and there are no snapshots", remedy)
    else:
        remedy = "set appendonly yes: a restart of the server loses what came since the last snapshot"
        yield Finding("warning", "persistence", f"appendonly is off, there are only snapshots ({config['save']})", remedy)


def _of_appending(config: Info | None) -> Finding:
    when = config.get("appendfsync") if config else None
    if when == "no":
        remedy = "set appendfsync everysec: a power failure loses what the system has not written, often half a minute"
        return Finding("warning", "persistence", "appendonly is on, but appendfsync is no", remedy)
    return Finding("ok", "persistence", f"appendonly is on, appendfsync {when}" if when else "appendonly is on")


def _about_replication(info: Info) -> Iterator[Finding]:
    if is_replica(info):
        remedy = "connect to the master, or to Sentinels by redis+sentinel://…"
        yield Finding("error", "replication", "the server is a replica", remedy)
        return
    replicas = _number(info, "connected_slaves")
    if replicas and "min_slaves_good_slaves" not in info:
        remedy = "set min-replicas-to-write 1, so that a master that was cut off takes no tasks that it will lose"
        yield Finding("advice", "replication", f"it has {replicas} replicas, and accepts writes without them", remedy)
