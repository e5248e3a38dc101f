"""Looks for what will lose or hold up tasks: how the server is set up, who may do what, and what stands still."""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from redis.crc import key_slot

from taskproc.address import Address, read_address
from taskproc.errors import ConfigurationError, StorageUnavailable
from taskproc.failure import one_line
from taskproc.looking import Looking
from taskproc.names import is_fair
from taskproc.server_checks import About, Finding, Level, about_server, checked, is_replica, server_info

if TYPE_CHECKING:
    from taskproc.models import QueueInfo, WorkerInfo
    from taskproc.processor import TaskProcessor
    from taskproc.settings import TaskProcessorSettings
    from taskproc.storage import Storage

__all__ = ["About", "Finding", "Level", "check_server", "examine", "worst"]

logger = logging.getLogger(__name__)

WORST_FIRST: tuple[Level, ...] = ("error", "warning", "advice")
STUCK_AFTER = 120_000  # ms: twice as long as a dead producer's batch stays open, beside the time between two sweeps
MOST_STUCK = 100  # of a kind that are counted
MOST_QUEUES = 1_000  # that are looked at
PAGE = 100  # of queues
MOST_TOLD = 20  # queues, and hosts, that are told of one by one
MOST_PAUSED = 100  # tenants of which is counted what waits
MEND = "workers do this every pushback_frequency: look whether one runs, and at its log"


async def examine(processor: TaskProcessor, storage: Storage) -> list[Finding]:
    """Everything, for a processor that is connected. StorageUnavailable when the server goes away meanwhile."""
    settings, info = processor.settings, await server_info(storage)
    looking = Looking(storage)
    return [
        *_about_connection(settings.redis),
        *_about_programs(),
        *await about_server(storage, settings.redis, info),
        *await checked("prefix", _about_prefix(storage)),
        *([] if info is not None and is_replica(info) else await _about_rights(settings, storage)),
        *await checked("workers", _about_workers(looking)),
        *await checked("queues", _about_queues(storage, looking)),
        *await checked("stuck", _about_stuck(settings, storage, looking)),
    ]


async def check_server(settings: TaskProcessorSettings, storage: Storage) -> None:
    """For a worker that starts: logs what is wrong with the server; ConfigurationError when it will delete tasks."""
    for finding in await about_server(storage, settings.redis, await server_info(storage)):
        if finding.level == "error" and finding.about == "eviction":
            raise ConfigurationError(f"{finding}. No worker starts like this.")
        if finding.level in ("warning", "error"):
            logger.warning("%s", one_line(str(finding)))


def worst(findings: Iterable[Finding]) -> Level:
    """The level of the worst one."""
    found = {finding.level for finding in findings}
    for level in WORST_FIRST:
        if level in found:
            return level
    return "ok"


# The way to the server, and what this program has of its own


def _about_connection(url: str) -> Iterator[Finding]:
    if url.partition(":")[0] == "embedded":
        yield Finding("ok", "connection", "connected to an embedded server")
        return
    address = read_address(url)
    remote = any(_is_remote(host) for host, _ in address.hosts)
    if remote and not _has_login(address):
        remedy = "unless nobody else is on this network, use redis://user:password@host:6379/0"
        yield Finding("warning", "connection", f"{address.shown} lets other machines in without a password", remedy)
    if remote and not address.secure:
        remedy = "unless nobody else is on this network, use rediss://user:password@host:6379/0"
        yield Finding("advice", "connection", f"what is sent to {address.shown} is not encrypted", remedy)
    if not remote or (_has_login(address) and address.secure):
        yield Finding("ok", "connection", f"connected to {address.shown}")


def _has_login(address: Address) -> bool:
    return bool(address.login.get("password")) or "ssl_certfile" in address.tls


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


# What is ours


async def _about_prefix(storage: Storage) -> AsyncIterator[Finding]:
    try:
        await storage.open_store()
    except ConfigurationError as error:
        yield Finding("error", "prefix", str(error))
        return
    slot = key_slot(storage.keys.meta.encode())
    what = f"the data under {storage.keys.prefix!r} have the layout of this version, all in hash slot {slot}"
    yield Finding("ok", "prefix", what)


async def _about_rights(settings: TaskProcessorSettings, storage: Storage) -> list[Finding]:
    level: Level = "error" if settings.use_hosted_service else "advice"
    try:
        await storage.check_access()
    except ConfigurationError as error:
        return [Finding(level, "rights", f"a worker with this user cannot work: {error}")]
    except StorageUnavailable as error:
        return [Finding("error", "rights", f"nothing can be written: {error}", "look at the server's log")]
    return [Finding("ok", "rights", "the user may do all that a worker does")]


async def _about_workers(looking: Looking) -> AsyncIterator[Finding]:
    if await looking.is_paused():
        yield Finding("warning", "queues", "everything is paused", "resume it, and tasks are handed out again")
    workers, alive = await _workers(looking)
    draining = sum(worker.draining for worker in alive)
    if alive and draining == len(alive):
        remedy = "let one go on, or start another"
        yield Finding("warning", "workers", f"workers that run: {draining}, and all are draining", remedy)
    elif alive:
        of_which = f", and {draining} of them {'is' if draining == 1 else 'are'} draining" if draining else ""
        yield Finding("ok", "workers", f"workers that run: {len(alive)}{of_which}")
    else:
        remedy = "start one: taskproc worker myapp:app, or add_task_processor_executor()"
        yield Finding("warning", "workers", "no worker runs", remedy)
    if dead := [worker for worker in workers if worker not in alive]:
        held = sum(worker.running for worker in dead)
        hosts = ", ".join(sorted({worker.host for worker in dead})[:MOST_TOLD])
        remedy = "look why they ended; the others take over what they held, once one runs"
        what = f"workers that have died: {len(dead)} ({hosts}), holding {_some(held, 'task', 'tasks')}"
        yield Finding("advice" if alive else "warning", "workers", what, remedy)


async def _workers(looking: Looking) -> tuple[list[WorkerInfo], list[WorkerInfo]]:
    """All that are known, and those that live."""
    now, workers = await looking.now(), await looking.workers()
    return workers, [worker for worker in workers if worker.alive_until.timestamp() * 1000 > now]


async def _about_queues(storage: Storage, looking: Looking) -> AsyncIterator[Finding]:
    queues, (_, alive) = await _queues(looking), await _workers(looking)
    for finding in _standing(queues, alive):
        yield finding
    async for finding in _paused_tenants(storage, looking, queues):
        yield finding
    dead = [queue for queue in queues if queue.deadletter]
    for queue in dead[:MOST_TOLD]:
        remedy = "look why they died, then retry or discard them"
        what = f"queue {queue.name!r} has {_some(queue.deadletter, 'dead task', 'dead tasks')}"
        yield Finding("advice", "queues", what, remedy)
    if (more := len(dead) - MOST_TOLD) > 0:
        yield Finding("advice", "queues", f"{more} more queues have dead tasks", "look at the list of queues")
    if len(queues) == MOST_QUEUES:
        remedy = "queues are meant to be few: name tenants instead, as in on('mail[fair]', tenant=…)"
        yield Finding(
            "advice", "queues", f"there are {MOST_QUEUES} queues or more, and only these are looked at", remedy
        )


def _standing(queues: Sequence[QueueInfo], alive: Sequence[WorkerInfo]) -> Iterator[Finding]:
    """Those where tasks wait that no worker will fetch."""
    waiting = [queue for queue in queues if queue.length + queue.delayed]
    served = {queue for worker in alive for queue in worker.queues}
    fetched = {queue for worker in alive if not worker.draining for queue in worker.queues}
    unserved = [queue for queue in waiting if queue.name not in served]
    yield from _told(unserved, "no worker serves {}", "let a worker serve it, by its `queues`")
    drained = [queue for queue in waiting if queue.name in served - fetched]
    yield from _told(drained, "only draining workers serve {}", "let one go on, or start another")
    paused = [queue for queue in waiting if queue.paused]
    yield from _told(paused, "a pause holds up {}", "resume the queue")


async def _paused_tenants(storage: Storage, looking: Looking, queues: Sequence[QueueInfo]) -> AsyncIterator[Finding]:
    """Those of whom tasks are ready."""
    paused = [pause.tenant for pause in await looking.pauses() if pause.tenant is not None and pause.queue is None]
    waiting = [(tenant, await _set_aside(storage, tenant, queues)) for tenant in paused[:MOST_PAUSED]]
    held_up = [(tenant, count) for tenant, count in waiting if count]
    for tenant, count in held_up[:MOST_TOLD]:
        what = f"a pause holds up tenant {tenant!r}, of which {_some(count, 'task waits', 'tasks wait')}"
        yield Finding("warning", "queues", what, "resume the tenant")
    if (more := len(held_up) - MOST_TOLD) > 0:
        what = f"a pause holds up {_some(more, 'more tenant', 'more tenants')}, of which tasks wait"
        yield Finding("warning", "queues", what, "resume them")


async def _set_aside(storage: Storage, tenant: str, queues: Sequence[QueueInfo]) -> int:
    """How many tasks of a paused tenant are ready: in plain queues those that have come up, of the fullest of these."""
    fair = sum(queue.tenants.get(tenant, 0) for queue in queues)
    plain = [queue for queue in queues if queue.length and not is_fair(queue.name)]
    plain.sort(key=lambda queue: -queue.length)
    keys = [storage.keys.ready(queue.name, tenant) for queue in plain[:MOST_TOLD]]
    return fair + sum([int(await storage.driver.command("LLEN", key)) for key in keys])


def _told(queues: Sequence[QueueInfo], what: str, remedy: str) -> Iterator[Finding]:
    """The first by name, and how many more there are."""
    for queue in queues[:MOST_TOLD]:
        waiting = _some(queue.length + queue.delayed, "task waits", "tasks wait")
        yield Finding("warning", "queues", f"{what.format(f'queue {queue.name!r}')}, where {waiting}", remedy)
    if (more := len(queues) - MOST_TOLD) > 0:
        said = what.format(_some(more, "more queue", "more queues"))
        yield Finding("warning", "queues", f"{said}, where tasks wait", remedy)


async def _queues(looking: Looking) -> list[QueueInfo]:
    names: dict[str, None] = {}
    async with aclosing(looking.queue_names()) as pages:
        async for page in pages:
            names.update(dict.fromkeys(page))
            if len(names) >= MOST_QUEUES:
                break
    read = sorted(names)[:MOST_QUEUES]
    return [queue for first in range(0, len(read), PAGE) for queue in await looking.queues(read[first : first + PAGE])]


# What stands still


async def _about_stuck(settings: TaskProcessorSettings, storage: Storage, looking: Looking) -> AsyncIterator[Finding]:
    sweep = settings.pushback_frequency + settings.worker_timeout
    late = await looking.now() - STUCK_AFTER - int(sweep.total_seconds() * 1000)
    for finding in await _overdue(storage, await _queues(looking), late):
        yield finding
    for finding in await _batches(storage, late):
        yield finding
    async for finding in _schedules(storage, looking, late):
        yield finding


async def _overdue(storage: Storage, queues: Sequence[QueueInfo], late: int) -> list[Finding]:
    """Attempts past their lease, and delayed tasks past their time, which nobody has seen to."""
    expired = delayed = 0
    for queue in queues:
        if queue.running:
            expired += len(await _older(storage, storage.keys.leased(queue.name), late))
        if queue.delayed:
            delayed += len(await _older(storage, storage.keys.delayed(queue.name), late))
    found = [
        (expired, _up_to_most(expired, "attempt has", "attempts have") + " long outrun the invisibility"),
        (delayed, _up_to_most(delayed, "delayed task is", "delayed tasks are") + " long due"),
    ]
    return [Finding("warning", "stuck", what, MEND) for count, what in found if count]


async def _batches(storage: Storage, late: int) -> list[Finding]:
    """Those that nobody completes, and those whose cancel nobody carries out."""
    keys, findings = storage.keys, list[Finding]()
    if count := len(await _older(storage, keys.open, late)):
        what = _up_to_most(count, "batch was", "batches were") + " never completed: the producer is gone"
        remedy = "workers cancel such when they have run for a minute: look whether one runs, and at its log"
        findings.append(Finding("warning", "stuck", what, remedy))
    canceled = [id_.decode() for id_ in await _older(storage, keys.canceled, late)]
    if count := sum([await storage.driver.command("ZCARD", f"{keys.batch(id_)}:chunks") > 0 for id_ in canceled]):
        what = (
            _up_to_most(count, "canceled batch has", "canceled batches have") + " queued tasks that are not yet counted"
        )
        findings.append(Finding("warning", "stuck", what, MEND))
    return findings


async def _schedules(storage: Storage, looking: Looking, late: int) -> AsyncIterator[Finding]:
    """Those that should have started something, and those that nobody can start."""
    remedy = "any running worker starts them: look whether one runs, and at its log"
    overdue = len(await _older(storage, storage.keys.schedules, late))
    if overdue and not await looking.is_paused():
        what = _up_to_most(overdue, "schedule", "schedules") + " should have started something a while ago"
        yield Finding("warning", "stuck", what, remedy)
    elif (count := await storage.driver.command("ZCARD", storage.keys.schedules)) and not (await _workers(looking))[1]:
        what = _some(count, "schedule", "schedules") + " will start nothing while no worker runs"
        yield Finding("warning", "stuck", what, remedy)


async def _older(storage: Storage, key: str, late: int) -> list[Any]:
    """Members of an index that were due by then, the first MOST_STUCK."""
    found: list[Any] = await storage.driver.command("ZRANGEBYSCORE", key, "-inf", late, "LIMIT", 0, MOST_STUCK)
    return found


def _up_to_most(count: int, one: str, many: str) -> str:
    """Of what was counted only so far."""
    return _some(count, one, many) if count < MOST_STUCK else f"{count} or more {many}"


def _some(count: int, one: str, many: str) -> str:
    return f"1 {one}" if count == 1 else f"{count} {many}"
