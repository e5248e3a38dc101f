"""Looks for what will lose or hold up tasks: how the server is set up, who may do what, and what stands still."""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from redis.crc import key_slot
from redis.exceptions import RedisError

from taskproc.address import Address, read_address
from taskproc.errors import ConfigurationError, StorageUnavailable
from taskproc.server_checks import About, Finding, Info, Level, about_persistence, about_server, is_replica, server_info

if TYPE_CHECKING:
    from taskproc.models import QueueInfo, WorkerInfo
    from taskproc.processor import TaskProcessor
    from taskproc.settings import TaskProcessorSettings
    from taskproc.storage import Storage

__all__ = ["About", "Finding", "Level", "check_server", "examine", "worst"]

logger = logging.getLogger(__name__)

WORST_FIRST: tuple[Level, ...] = ("error", "warning", "advice")
MOST_CLOCKS_DIFFER = 1.0  # seconds
STUCK_AFTER = 120_000  # ms: twice as long as a dead producer's batch stays open, beside the time between two sweeps
MOST_STUCK = 100  # of a kind that are counted
MOST_QUEUES = 20  # that are told of one by one
MEND = "workers do this every pushback_frequency: look whether one runs, and at its log"


async def examine(processor: TaskProcessor, storage: Storage) -> list[Finding]:
    """Everything, for a processor that is connected."""
    settings, info = processor.settings, await server_info(storage)
    findings = [*_about_connection(settings.redis), *_about_programs(), *about_server(info)]
    if info is not None:
        findings = await _with_config(findings, info, storage)
        findings += _about_cluster(settings, info)
    findings.append(await _about_prefix(storage))
    findings.append(await _about_clock(storage))
    if info is None or not is_replica(info):  # which refuses what a worker would do, whoever asks
        findings.append(await _about_rights(storage, works=settings.use_hosted_service))
    findings += [each async for each in _about_work(processor, storage)]
    return findings


async def check_server(storage: Storage) -> None:
    """For a worker that starts: logs what is wrong with the server; ConfigurationError when it will delete tasks."""
    for finding in about_server(await server_info(storage)):
        if finding.level == "error" and finding.about == "eviction":
            raise ConfigurationError(f"{finding}. No worker starts like this.")
        if finding.level in ("warning", "error"):
            logger.warning("%s", finding)


def worst(findings: Iterable[Finding]) -> Level:
    """The level of the worst one."""
    found = {finding.level for finding in findings}
    for level in WORST_FIRST:
        if level in found:
            return level
    return "ok"


# The way to the server, and the server


def _about_connection(url: str) -> Iterator[Finding]:
    if url.partition(":")[0] == "embedded":
        yield Finding("ok", "connection", "connected to an embedded server")
        return
    address = read_address(url)
    missing = [*_missing(address)] if any(_is_remote(host) for host, _ in address.hosts) else []
    if missing:
        remedy = "unless nobody else is on this network, use rediss://user:password@host:6379/0"
        yield Finding("warning", "connection", f"{address.shown} is another machine, {' and '.join(missing)}", remedy)
    else:
        yield Finding("ok", "connection", f"connected to {address.shown}")


def _missing(address: Address) -> Iterator[str]:
    if not address.login.get("password") and "ssl_certfile" not in address.tls:
        yield "and it asks for no password"
    if not address.secure:
        yield "what is sent there is not encrypted"


def _is_remote(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def _about_programs() -> Iterator[Finding]:
    missing = [name for name in ("hiredis", "uvloop") if importlib.util.find_spec(name) is None]
    if missing:
        remedy = "pip install 'taskproc[fast]' makes it faster"
        yield Finding("advice", "programs", f"{' and '.join(missing)} missing", remedy)
    else:
        yield Finding("ok", "programs", "hiredis and uvloop are installed")


async def _with_config(findings: Sequence[Finding], info: Info, storage: Storage) -> list[Finding]:
    """With what CONFIG says of persistence, where this user may ask."""
    try:
        config = [await storage.driver.command("CONFIG", "GET", name) for name in ("save", "appendfsync")]
    except (ConfigurationError, RedisError):
        what = "whether there are snapshots, and appendfsync, could not be checked"
        return [*findings, Finding("advice", "persistence", what, "allow the user +config|get")]
    known = {pair[0].decode(): pair[1].decode() for pair in config if pair}
    return [*(one for one in findings if one.about != "persistence"), *about_persistence(info, known)]


def _about_cluster(settings: TaskProcessorSettings, info: Info) -> Iterator[Finding]:
    if info.get("redis_mode") != "cluster":
        return
    if settings.redis.partition(":")[0].endswith("+cluster"):
        yield Finding("ok", "cluster", "the address is a cluster's")
    else:
        remedy = "use redis+cluster://…, so that the keys are found when they move to another node"
        yield Finding("warning", "cluster", "the address names one node of a cluster", remedy)


async def _about_prefix(storage: Storage) -> Finding:
    keys = storage.keys
    try:
        await storage.open_store()
    except (ConfigurationError, StorageUnavailable) as error:
        return Finding("error", "prefix", str(error))
    slots = {key_slot(key.encode()) for key in (keys.meta, keys.queues, keys.task("a"), keys.batch("b"))}
    if len(slots) > 1:
        return Finding("error", "prefix", f"prefix {keys.prefix!r} spreads over slots", "put one name in braces: {name}")
    return Finding("ok", "prefix", f"the data under {keys.prefix!r} are this version's, all in hash slot {slots.pop()}")


async def _about_rights(storage: Storage, *, works: bool) -> Finding:
    try:
        await storage.check_access()
    except ConfigurationError as error:
        level: Level = "error" if works else "advice"
        return Finding(level, "rights", f"a worker with this user cannot work: {error}")
    except StorageUnavailable as error:
        return Finding("error", "rights", f"nothing can be written: {error}", "look at the server's log")
    return Finding("ok", "rights", "the user may do all that a worker does")


async def _about_clock(storage: Storage) -> Finding:
    before = time.time()
    seconds, micros = await storage.driver.command("TIME")
    server, after = int(seconds) + int(micros) / 1_000_000, time.time()
    apart = max(server - after, before - server)  # a slow answer is no wrong clock
    if apart <= MOST_CLOCKS_DIFFER:
        return Finding("ok", "clock", "the clocks agree")
    which = "ahead" if server > after else "behind"
    remedy = "set both by NTP: delays and schedules go by the server's"
    return Finding("warning", "clock", f"the server's clock is {apart:.1f} s {which}", remedy)


# What stands still


async def _about_work(processor: TaskProcessor, storage: Storage) -> AsyncIterator[Finding]:
    seconds, micros = await storage.driver.command("TIME")
    now = int(seconds) * 1000 + int(micros) // 1000
    late = now - STUCK_AFTER - int(processor.settings.pushback_frequency.total_seconds() * 1000)
    paused = await processor.is_paused()
    if paused:
        yield Finding("warning", "workers", "everything is paused", "resume() goes on")
    workers = await processor.get_workers()
    alive = [worker for worker in workers if worker.alive_until.timestamp() * 1000 > now]
    for finding in _about_workers(workers, alive):
        yield finding
    queues = await processor.get_queues()
    for finding in _about_queues(queues, {queue for worker in alive for queue in worker.queues}):
        yield finding
    for finding in [*await _overdue(storage, queues, late), *await _batches(storage, late)]:
        yield finding
    if not paused and (count := len(await _older(storage, storage.keys.schedules, late))):
        what = f"{_many(count)} schedules should have started something a while ago"
        yield Finding("warning", "stuck", what, "any running worker starts them: look whether one runs, and at its log")


def _about_workers(workers: Sequence[WorkerInfo], alive: Sequence[WorkerInfo]) -> Iterator[Finding]:
    if alive:
        yield Finding("ok", "workers", f"workers: {len(alive)}")
    else:
        remedy = "start one: taskproc worker myapp:app, or add_task_processor_executor()"
        yield Finding("warning", "workers", "no worker runs", remedy)
    if dead := [worker for worker in workers if worker not in alive]:
        held = sum(worker.running for worker in dead)
        hosts = ", ".join(sorted({worker.host for worker in dead})[:MOST_QUEUES])
        remedy = "look why they ended; the others take over what they held, once one runs"
        what = f"{len(dead)} workers have died, with {held} tasks ({hosts})"
        yield Finding("advice" if alive else "warning", "workers", what, remedy)


def _about_queues(queues: Iterable[QueueInfo], served: set[str]) -> Iterator[Finding]:
    unserved = [queue for queue in queues if queue.name not in served and queue.length + queue.delayed]
    for queue in unserved[:MOST_QUEUES]:
        remedy = f"let a worker serve it: queues=[…, {queue.name!r}]"
        what = f"{queue.length + queue.delayed} tasks of queue {queue.name!r} wait for nobody"
        yield Finding("warning", "queues", what, remedy)
    if more := len(unserved) - MOST_QUEUES:
        if more > 0:
            yield Finding("warning", "queues", f"tasks of {more} more queues wait for nobody", "let workers serve them")
    dead = [queue for queue in queues if queue.deadletter]
    for queue in dead[:MOST_QUEUES]:
        remedy = "look at get_dead_tasks, then retry_dead_tasks or discard_dead_tasks"
        yield Finding("advice", "queues", f"queue {queue.name!r} has {queue.deadletter} dead tasks", remedy)


async def _overdue(storage: Storage, queues: Iterable[QueueInfo], late: int) -> list[Finding]:
    """Attempts past their lease, and delayed tasks past their time, which nobody has seen to."""
    expired = delayed = 0
    for queue in queues:
        if queue.running:
            expired += len(await _older(storage, storage.keys.leased(queue.name), late))
        if queue.delayed:
            delayed += len(await _older(storage, storage.keys.delayed(queue.name), late))
    counts = {"attempts have long outrun their invisibility": expired, "delayed tasks are long due": delayed}
    return [Finding("warning", "stuck", f"{_many(count)} {what}", MEND) for what, count in counts.items() if count]


async def _batches(storage: Storage, late: int) -> list[Finding]:
    """Those that nobody completes, and those whose cancel nobody carries out."""
    keys, findings = storage.keys, list[Finding]()
    if count := len(await _older(storage, keys.open, late)):
        what = f"{_many(count)} batches were never completed, and their producers are gone"
        findings.append(Finding("warning", "stuck", what, f"they will be canceled; {MEND}"))
    canceled = [id_.decode() for id_ in await _older(storage, keys.canceled, late)]
    if count := sum([await storage.driver.command("ZCARD", f"{keys.batch(id_)}:chunks") > 0 for id_ in canceled]):
        what = f"{_many(count)} canceled batches have queued tasks that are not yet counted"
        findings.append(Finding("warning", "stuck", what, MEND))
    return findings


async def _older(storage: Storage, key: str, late: int) -> list[Any]:
    """Members of an index that were due by then, the first MOST_STUCK."""
    found: list[Any] = await storage.driver.command("ZRANGEBYSCORE", key, "-inf", late, "LIMIT", 0, MOST_STUCK)
    return found


def _many(count: int) -> str:
    return f"{count} or more" if count >= MOST_STUCK else str(count)
