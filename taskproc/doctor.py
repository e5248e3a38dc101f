"""Looks for what will lose or hold up tasks: how the server is set up, and what stands still."""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from redis.exceptions import RedisError

from taskproc.errors import ConfigurationError, TaskProcessorError

if TYPE_CHECKING:
    from taskproc.processor import TaskProcessor
    from taskproc.storage import Storage

__all__ = ["Finding", "check_server", "examine", "worst"]

logger = logging.getLogger(__name__)

Level = Literal["ok", "advice", "warning", "error"]

WORST_FIRST: tuple[Level, ...] = ("error", "warning", "advice")
NEARLY_FULL = 0.9  # of maxmemory
MOST_CLOCKS_DIFFER = 2.0  # seconds
POLICY = "maxmemory-policy"

Info = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}" if self.remedy else self.what


async def examine_server(storage: Storage) -> list[Finding]:
    """What the server says of itself; one round trip. It may be forbidden to ask."""
    try:
        info = _parsed(await storage.driver.command("INFO"))
    except (ConfigurationError, RedisError):
        return [Finding("advice", "the server's setup could not be looked at", "allow the user +info")]
    return [*_about_version(info), *_about_memory(info), *_about_persistence(info), *_about_replication(info)]


async def examine(processor: TaskProcessor, storage: Storage) -> list[Finding]:
    """Everything, for a processor that is connected."""
    findings = [*_about_programs(), *await examine_server(storage), *await _about_rights(storage)]
    findings.append(await _about_clock(storage))
    findings += [each async for each in _about_work(processor)]
    return findings


def _parsed(reply: bytes) -> Info:
    lines = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


def _about_version(info: Info) -> Iterator[Finding]:
    name = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "?")
    yield Finding("ok", f"{name} {version}")


def _about_memory(info: Info) -> Iterator[Finding]:
    policy, limit = info.get("maxmemory_policy", "noeviction"), int(info.get("maxmemory", 0))
    if policy.startswith("allkeys"):
        remedy = "set maxmemory-policy noeviction: with this one the server deletes tasks when memory is short"
        yield Finding("error" if limit else "warning", f"{POLICY} is {policy}", remedy)
    used = int(info.get("used_memory", 0))
    if limit and used > limit * NEARLY_FULL:
        remedy = "give it more, or find out why so much is queued: when it is full, enqueues fail"
        yield Finding("warning", f"memory is {used / limit:.0%} full", remedy)
    elif limit:
        yield Finding("ok", f"memory is {used / limit:.0%} full, policy {policy}")
    else:
        yield Finding("ok", f"memory has no limit of its own, policy {policy}")


def _about_persistence(info: Info) -> Iterator[Finding]:
    failed = [
        name
        for name in ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
        if info.get(name, "ok") != "ok"
    ]
    if failed:
        remedy = "look at its log and disk: what it accepts now is lost when it restarts"
        yield Finding("error", f"the server cannot save ({', '.join(failed)})", remedy)
    if info.get("aof_enabled") == "1":
        yield Finding("ok", "appendonly is on")
    else:
        remedy = "set appendonly yes; with snapshots alone, or none, a restart loses what came since"
        yield Finding("warning", "appendonly is off", remedy)


def _about_replication(info: Info) -> Iterator[Finding]:
    if info.get("role") == "slave":
        remedy = "connect to the master, or to Sentinels by redis+sentinel://…"
        yield Finding("error", "the server is a replica", remedy)
    replicas = int(info.get("connected_slaves", 0))
    if replicas and "min_slaves_good_slaves" not in info:
        remedy = "set min-replicas-to-write 1, so that a master that was cut off takes no tasks that it will lose"
        yield Finding("advice", f"it has {replicas} replicas, and accepts writes without them", remedy)


def _about_programs() -> Iterator[Finding]:
    missing = [name for name in ("hiredis", "uvloop") if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding("advice", f"{' and '.join(missing)} missing", "pip install 'taskproc[fast]' makes it faster")


async def _about_rights(storage: Storage) -> list[Finding]:
    try:
        await storage.check_access()
    except TaskProcessorError as error:
        return [Finding("error", "a worker with this user cannot work", str(error))]
    return [Finding("ok", "the user may do all that a worker does")]


async def _about_clock(storage: Storage) -> Finding:
    before = time.time()
    seconds, micros = await storage.driver.command("TIME")
    ahead = int(seconds) + int(micros) / 1_000_000 - (before + time.time()) / 2
    if abs(ahead) <= MOST_CLOCKS_DIFFER:
        return Finding("ok", "the clocks agree")
    remedy = "set both by NTP: delays and schedules go by the server's"
    return Finding("warning", f"the server's clock is {abs(ahead):.1f} s {'ahead' if ahead > 0 else 'behind'}", remedy)


async def _about_work(processor: TaskProcessor) -> AsyncIterator[Finding]:
    if await processor.is_paused():
        yield Finding("warning", "everything is paused", "resume() goes on")
    workers = await processor.get_workers()
    served = {queue for worker in workers for queue in worker.queues}
    if workers:
        yield Finding("ok", f"workers: {len(workers)}")
    else:
        remedy = "start one: taskproc worker myapp:app, or add_task_processor_executor()"
        yield Finding("warning", "no worker runs", remedy)
    for queue in await processor.get_queues():
        if queue.length and queue.name not in served:
            remedy = f"let a worker serve it: queues=[…, {queue.name!r}]"
            yield Finding("warning", f"{queue.length} tasks of queue {queue.name!r} wait for nobody", remedy)
        if queue.deadletter:
            remedy = "look at get_dead_tasks, then retry_dead_tasks or discard_dead_tasks"
            yield Finding("advice", f"queue {queue.name!r} has {queue.deadletter} dead tasks", remedy)


def worst(findings: list[Finding]) -> Level:
    """The level of the worst one."""
    found = {finding.level for finding in findings}
    for level in WORST_FIRST:
        if level in found:
            return level
    return "ok"


async def check_server(storage: Storage) -> None:
    """For a worker that starts: logs what is wrong with the server; ConfigurationError when it will delete tasks."""
    for finding in await examine_server(storage):
        if finding.level == "error" and finding.what.startswith(POLICY):
            raise ConfigurationError(f"{finding}. No worker starts like this.")
        if finding.level in ("warning", "error"):
            logger.warning("%s", finding)
