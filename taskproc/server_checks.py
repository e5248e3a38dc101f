"""How the server is set up, and what of it loses or holds up tasks."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from redis.exceptions import RedisError

from taskproc.errors import ConfigurationError, StorageUnavailable
from taskproc.failure import message_of

if TYPE_CHECKING:
    from taskproc.storage import Storage

__all__ = ["About", "Finding", "Info", "Level", "about_info", "about_server", "checked", "is_replica", "server_info"]

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
    "target",
    "version",
    "workers",
]
Info = Mapping[str, str]
"""What INFO, or CONFIG GET, says by name."""

OLDEST = (6, 2)
NEARLY_FULL = 0.9  # of maxmemory
SLOTS = 16_384
MOST_CLOCKS_DIFFER = 1.0  # seconds
SAFE_SCRIPTS: Mapping[str, Mapping[tuple[int, int], int]] = {
    "Redis": {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
    "Valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
}
"""The first patch of each line in which a script cannot break out of its sandbox (CVE-2025-49844)."""
STATUSES: Mapping[str, tuple[Level, str, str]] = {
    "aof_last_write_status": ("error", "it cannot write its appendonly file", "until it can it refuses tasks"),
    "rdb_last_bgsave_status": (
        "error",
        "its last snapshot failed",
        "until one succeeds it may refuse tasks, or lose them in a restart",
    ),
    "aof_last_bgrewrite_status": ("warning", "it could not shorten its appendonly file", "it grows until it can"),
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


async def about_server(storage: Storage, url: str, info: Info | None) -> list[Finding]:
    """All that the server tells, which is `info` and more, whoever asks: what it refuses to tell is a finding too."""
    findings = [*about_info(info, None if info is None else await _config(storage))]
    if info is not None:
        findings += _about_topology(url, info)
    if _is_cluster(url) or _is_node(info):
        findings += await checked("cluster", _about_slots(storage))
    return findings + await checked("clock", _about_clock(storage))


async def checked(about: About, check: AsyncIterator[Finding]) -> list[Finding]:
    """What a check finds; that it was not allowed to look, or could not read what is there, is a finding."""
    findings: list[Finding] = []
    try:
        async for finding in check:
            findings.append(finding)  # noqa: PERF401 - what came before an error counts
    except StorageUnavailable:
        raise
    except ConfigurationError as error:
        findings.append(Finding("advice", about, f"this could not be looked at: {error}"))
    except Exception as error:  # noqa: BLE001 - as with damaged data: the other checks go on
        what = f"this could not be read: {type(error).__name__}: {message_of(error)}"
        findings.append(Finding("warning", about, what, "look whether something else writes to this prefix"))
    return findings


# What INFO and CONFIG say


async def server_info(storage: Storage) -> Info | None:
    """What INFO says, in one round trip; None where this user may not ask, or there is no such command."""
    try:
        reply: bytes = await storage.driver.command("INFO")
    except (ConfigurationError, RedisError):
        return None
    lines = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


async def _config(storage: Storage) -> Info | None:
    """Of CONFIG what INFO does not tell; None where this user may not ask, or there is no such command."""
    try:
        found = [await storage.driver.command("CONFIG", "GET", name) for name in ("save", "appendfsync")]
    except (ConfigurationError, RedisError):
        return None
    return {pair[0].decode(): pair[1].decode(errors="replace") for pair in found if pair}


def about_info(info: Info | None, config: Info | None) -> Iterator[Finding]:
    """All that INFO and CONFIG tell. Without INFO there is one finding, which says so."""
    if info is None:
        what = "version, memory, persistence and role of the server could not be checked"
        yield Finding("advice", "version", what, "allow the user +info")
        return
    yield from _about_version(info)
    yield from _about_memory(info)
    yield from _about_persistence(info, config)
    yield from _about_replication(info)


def is_replica(info: Info) -> bool:
    """Whether the server follows another one, and refuses what writes."""
    return info.get("role") == "slave"


def _number(info: Info, name: str) -> int:
    """0 for what is missing: not every server that speaks the protocol says everything."""
    text = info.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _about_version(info: Info) -> Iterator[Finding]:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "of an unknown version")
    match = re.match(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})", version, re.ASCII)
    line, patch = ((int(match[1]), int(match[2])), int(match[3])) if match else (OLDEST, 0)
    if line < OLDEST:
        yield Finding("error", "version", f"{name} {version} is too old", "run Redis 6.2 or newer, or Valkey")
    elif match and (mended := _mended_in(name, line, patch)):
        what = f"{name} {version} lets whoever may run scripts take over the machine (CVE-2025-49844)"
        remedy = f"update to {mended} or newer, unless your distributor has mended this one; let only your programs in"
        yield Finding("advice", "version", what, remedy)
    else:
        yield Finding("ok", "version", f"{name} {version}")


def _mended_in(name: str, line: tuple[int, int], patch: int) -> str:
    """The first version from here on whose scripts stay in their sandbox; "" if it is this one."""
    lines = SAFE_SCRIPTS[name]
    if line > max(lines) or patch >= lines.get(line, patch + 1):
        return ""
    to = min(each for each in lines if each >= line)
    return f"{to[0]}.{to[1]}.{lines[to]}"


def _about_memory(info: Info) -> Iterator[Finding]:
    policy, limit = info.get("maxmemory_policy"), _number(info, "maxmemory")
    if policy is None:
        remedy = "look yourself that it is noeviction"
        yield Finding("advice", "eviction", "the server does not tell its maxmemory-policy", remedy)
    elif policy.startswith("allkeys"):
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
    elif limit:
        yield Finding("ok", "memory", f"memory is {used / limit:.0%} full")
    elif "maxmemory" in info:
        yield Finding("ok", "memory", "memory has no limit of its own")


def _about_persistence(info: Info, config: Info | None) -> Iterator[Finding]:
    for name, (level, what, meaning) in STATUSES.items():
        if info.get(name, "ok") != "ok":
            remedy = f"look at its log and its disk ({name} is {info[name]}): {meaning}"
            yield Finding(level, "persistence", what, remedy)
    if "aof_enabled" not in info:
        yield Finding("advice", "persistence", "the server does not tell what outlives a restart", "look yourself")
    elif info["aof_enabled"] == "1":
        yield _of_appending(config)
    else:
        yield _of_snapshots(config)
    if config is None:
        what = "whether there are snapshots, and appendfsync, could not be checked"
        remedy = "allow the user +config|get; where there is no CONFIG, look yourself"
        yield Finding("advice", "persistence", what, remedy)


def _of_appending(config: Info | None) -> Finding:
    when = config.get("appendfsync") if config else None
    if when == "no":
        remedy = "set appendfsync everysec: a power failure loses what the system has not written, often half a minute"
        return Finding("warning", "persistence", "appendonly is on, but appendfsync is no", remedy)
    return Finding("ok", "persistence", f"appendonly is on, appendfsync {when}" if when else "appendonly is on")


def _of_snapshots(config: Info | None) -> Finding:
    save = None if config is None else config.get("save")
    if save is None:
        what, lost = "appendonly is off", "with snapshots alone, or none, a restart loses what came since"
    elif not save:
        what, lost = "appendonly is off, and there are no snapshots", "a restart of the server loses all tasks"
    else:
        what = f"appendonly is off, there are only snapshots ({save})"
        lost = "a crash of the server loses what came since the last snapshot"
    return Finding("warning", "persistence", what, f"set appendonly yes: {lost}")


def _about_replication(info: Info) -> Iterator[Finding]:
    if is_replica(info):
        remedy = "connect to the master, or to Sentinels by redis+sentinel://…"
        yield Finding("error", "replication", "the server is a replica", remedy)
    elif _number(info, "connected_slaves") and "min_slaves_good_slaves" not in info:
        remedy = "set min-replicas-to-write 1, so that a master that was cut off takes no tasks that it will lose"
        yield Finding("advice", "replication", "it has replicas, and accepts writes without them", remedy)


# Whether the server is what the address says


def _is_cluster(url: str) -> bool:
    return url.partition(":")[0].endswith("+cluster")


def _is_node(info: Info | None) -> bool:
    return info is not None and info.get("cluster_enabled") == "1"


def _about_topology(url: str, info: Info) -> Iterator[Finding]:
    sentinel = url.partition(":")[0].endswith("+sentinel")
    if (sentinel or _is_cluster(url)) and info.get("connected_slaves") == "0" and not is_replica(info):
        which = "the master that the Sentinels name" if sentinel else "the node that has this prefix"
        remedy = "let one or two follow it, so that there is something to fail over to"
        yield Finding("warning", "replication", f"{which} has no replica", remedy)
    if _is_node(info) and not _is_cluster(url):
        remedy = "use redis+cluster://…, so that the keys are found when they move to another node"
        yield Finding("warning", "cluster", "the address names one node of a cluster", remedy)


async def _about_slots(storage: Storage) -> AsyncIterator[Finding]:
    ranges = await storage.driver.command("CLUSTER", "SLOTS")
    missing = SLOTS - sum(last - first + 1 for first, last, *_ in ranges)
    if missing:
        remedy = "assign them, as redis-cli --cluster fix does: as a rule a cluster that lacks some answers nothing"
        yield Finding("warning", "cluster", f"{missing} of {SLOTS} hash slots have no node", remedy)
    else:
        yield Finding("ok", "cluster", "every hash slot has a node")


async def _about_clock(storage: Storage) -> AsyncIterator[Finding]:
    before = time.time()
    seconds, micros = await storage.driver.command("TIME")
    server, after = int(seconds) + int(micros) / 1_000_000, time.time()
    apart = max(server - after, before - server)  # a slow answer is no wrong clock
    if apart <= MOST_CLOCKS_DIFFER:
        yield Finding("ok", "clock", "the clocks agree")
        return
    which = "ahead of" if server > after else "behind"
    remedy = "set both by NTP: delays and schedules go by the server's"
    yield Finding("warning", "clock", f"the server's clock is {apart:.1f} s {which} this machine's", remedy)
