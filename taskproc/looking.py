"""Reads what is in Redis; changes nothing."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from taskproc.context import from_ms
from taskproc.models import BatchInfo, BatchState, QueueInfo, ScheduleInfo, TaskInfo, TaskState, WorkerInfo
from taskproc.names import is_fair
from taskproc.records import CALL, batch_of

if TYPE_CHECKING:
    from taskproc.storage import Storage

__all__ = ["FURTHEST", "Looking"]

PAGE = 500
MOST_TENANTS = 1_000
FURTHEST = 10_000
"""How far back in a list a task is looked for: it takes Redis some time."""
TOKEN, UNKNOWN, AT = 12, 13, 14
"""Where a row of `read_tasks` has the token of the lease, since when no worker knows the task, and its time."""
MOST_DIGITS = 14  # of a number in a record, as the scripts take it
STATES: dict[bytes, TaskState] = {b"r": "ready", b"l": "leased", b"d": "delayed", b"x": "dead", b"h": "held"}

Page = Callable[[int, int], Awaitable[list[str]]]
"""Ids of an index from a position, at most so many."""


class Looking:
    """Looks at tasks, batches, queues and workers; everything is paged."""

    def __init__(self, storage: Storage) -> None:
        self._driver = storage.driver
        self._keys = storage.keys
        self._command = storage.driver.command

    # Batches

    async def batch(self, batch_id: str) -> BatchInfo | None:
        rows = await self._driver.run("read_batches", arg={"ids": [batch_id]})
        return _batch_info(rows[0]) if rows else None

    async def batches(self, tenant: str, skip: int, take: int) -> list[BatchInfo]:
        arg = {"tenant": tenant, "skip": skip, "take": min(take, 1000)}
        rows: list[Any] = await self._driver.run("read_batches", arg=arg) if take else []
        return [_batch_info(row) for row in rows]

    async def count_batches(self, tenant: str) -> int:
        return int(await self._command("ZCARD", self._keys.batches(tenant)))

    # Tasks

    async def tasks(self, ids: Sequence[str]) -> list[TaskInfo]:
        """Those of `ids` that have not ended, in the same order."""
        rows: list[Any] = await self._driver.run("read_tasks", arg={"ids": ids}) if ids else []
        return [_task_info(id_, row) for id_, row in zip(ids, rows, strict=True) if row and row[0] in STATES]

    async def ready(self, queue: str, skip: int, take: int, tenant: str | None) -> list[TaskInfo]:
        """In the order in which they will be served."""
        if is_fair(queue) and tenant is None:
            return await self._in_turn(queue, skip, take)
        key = self._keys.ready(queue, tenant if is_fair(queue) else None)
        page = self._pages("LRANGE", key)
        if tenant is None and await self._command("LLEN", key) == await self._count(queue):
            return await self._slice(page, "ready", skip, take)
        return await self._select(page, "ready", skip, take, tenant)

    async def _count(self, queue: str) -> int:
        """How many tasks are ready; the list is longer by what was canceled."""
        return int(await self._command("HGET", self._keys.counts(queue), "*") or 0)

    async def running(self, queue: str, skip: int, take: int, tenant: str | None) -> list[TaskInfo]:
        """Those whose lease ends first, first."""
        return await self._select(self._pages("ZRANGE", self._keys.leased(queue)), "leased", skip, take, tenant)

    async def delayed(self, queue: str, skip: int, take: int, tenant: str | None) -> list[TaskInfo]:
        """Those due first, first."""
        page = self._pages("ZRANGE", self._keys.delayed(queue))
        if tenant is None:
            return await self._slice(page, "delayed", skip, take)
        return await self._select(page, "delayed", skip, take, tenant)

    async def dead(
        self, queue: str, skip: int, take: int, tenant: str | None, batch: str | None = None
    ) -> list[TaskInfo]:
        """Those that died last, first."""
        page = self._pages("ZREVRANGE", self._keys.dead(queue))
        if tenant is None and batch is None:
            return await self._slice(page, "dead", skip, take)
        return await self._select(page, "dead", skip, take, tenant, batch=batch)

    async def dead_ids(self, queue: str, skip: int, take: int, until: int) -> list[str]:
        """Ids of tasks that died up to `until`, the longest dead first."""
        found = await self._command("ZRANGEBYSCORE", self._keys.dead(queue), "-inf", until, "LIMIT", skip, take)
        return [_text(id_) for id_ in found]

    async def position(self, task: TaskInfo) -> int | None:
        """How many are before a ready task in its list, tombstones included; None if more than FURTHEST."""
        key = self._keys.ready(task.queue, task.tenant if is_fair(task.queue) else None)
        found = await self._command("LPOS", key, task.task_id, "MAXLEN", FURTHEST)
        return None if found is None else int(found)

    async def lease(self, task: TaskInfo) -> tuple[str, datetime | None]:
        """The worker that runs a task, and when its lease ends."""
        rows = await self._driver.run("read_tasks", arg={"ids": [task.task_id]})
        if not rows[0] or rows[0][TOKEN] is None:
            return "unknown", None
        token, ends = rows[0][TOKEN].decode(), rows[0][AT]
        return token.rpartition(":")[0], None if ends is None else from_ms(float(ends))

    async def unknown_since(self, task: TaskInfo) -> datetime | None:
        """Since when no worker that fetched the task knows it; None if none has said so."""
        rows = await self._driver.run("read_tasks", arg={"ids": [task.task_id]})
        return from_ms(_number(rows[0][UNKNOWN])) if rows[0] and rows[0][UNKNOWN] is not None else None

    async def now(self) -> int:
        """Redis's time, epoch milliseconds."""
        seconds, micros = await self._command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def _slice(self, page: Page, state: TaskState, skip: int, take: int) -> list[TaskInfo]:
        """What stands at these positions of an index that holds nothing else."""
        return [task for task in await self.tasks(await page(skip, take)) if task.state == state]

    async def _select(
        self, page: Page, state: TaskState, skip: int, take: int, tenant: str | None, *, batch: str | None = None
    ) -> list[TaskInfo]:
        """`take` of the tasks in a state, of a tenant, of a batch, after the first `skip`: an index may hold others."""
        selected: list[TaskInfo] = []
        position = 0
        while len(selected) < skip + take:
            ids = await page(position, PAGE)
            found = await self.tasks(ids)
            selected += [
                task
                for task in found
                if task.state == state and tenant in (None, task.tenant) and batch in (None, task.batch_id)
            ]
            position += len(ids)
            if len(ids) < PAGE:
                break
        return selected[skip : skip + take]

    def _pages(self, command: str, key: str) -> Page:
        async def page(position: int, count: int) -> list[str]:
            found: list[bytes] = await self._command(command, key, position, position + count - 1) if count else []
            return [_text(id_) for id_ in found]

        return page

    async def _in_turn(self, queue: str, skip: int, take: int) -> list[TaskInfo]:
        """The ready tasks of a fair queue as its turns will take them: one of each tenant, and again."""
        if skip + take == 0:
            return []
        tenants: list[bytes] = await self._command("ZRANGE", self._keys.turns(queue), 0, skip + take - 1)
        first = (skip + take) // max(len(tenants), 1) + 1
        pages = [self._pages("LRANGE", self._keys.ready(queue, name.decode())) for name in tenants]
        lanes = deque(_Lane(self.tasks, page, min(first, PAGE)) for page in pages)
        taken: list[TaskInfo] = []
        while lanes and len(taken) < skip + take:
            lane = lanes.popleft()
            task = await lane.next()
            if task is not None:
                taken.append(task)
                lanes.append(lane)
        return taken[skip:]

    # Queues, workers, tenants

    async def queues(self, names: Sequence[str]) -> list[QueueInfo]:
        if not names:
            return []
        rows: list[Any] = await self._driver.run("read_queues", arg={"queues": names, "tenants": MOST_TENANTS})
        return [_queue_info(name, row) for name, row in zip(names, rows, strict=True)]

    async def queue_of(self, name: str, tenant: str) -> QueueInfo:
        """What a tenant has in a queue, counted task by task."""
        ready, delayed, dead = [
            len(await of(name, 0, sys.maxsize, tenant)) for of in (self.ready, self.delayed, self.dead)
        ]
        leased = self._pages("ZRANGE", self._keys.leased(name))
        running = len(await self._select(leased, "leased", 0, sys.maxsize, tenant))
        return QueueInfo(name=name, length=ready, running=running, delayed=delayed, deadletter=dead)

    async def queue_names(self) -> AsyncGenerator[list[str]]:
        """Names of queues that hold something, page by page; a name may come twice."""
        cursor = 0
        while True:
            cursor, names = await self._command("SSCAN", self._keys.queues, cursor, "COUNT", 100)
            yield [name.decode() for name in names]
            if int(cursor) == 0:
                return

    async def workers(self) -> list[WorkerInfo]:
        return [
            _worker_info(row) for row in await self._driver.run("read_workers", (self._keys.workers,), {"limit": 1000})
        ]

    async def tenants(self) -> list[str]:
        """Those seen last, first; at most 1,000."""
        return [name.decode() for name in await self._command("ZREVRANGE", self._keys.tenants, 0, MOST_TENANTS - 1)]

    # Schedules

    async def schedules(self, tenant: str, skip: int, take: int) -> list[ScheduleInfo]:
        arg = {"tenant": tenant, "skip": skip, "take": take}
        return [
            _schedule_info(row) for row in (await self._driver.run("read_schedules", (self._keys.schedules,), arg))[2]
        ]

    async def count_schedules(self, tenant: str) -> int:
        first, last = f"[{tenant}:", f"({tenant};"  # which is what follows `:`
        return int(await self._command("ZLEXCOUNT", self._keys.all_schedules, first, last))

    async def declared(self, owner: str) -> list[str]:
        """Ids of the schedules that an application's code declares."""
        return [id_.decode() for id_ in await self._command("SMEMBERS", self._keys.declared(owner))]

    async def is_paused(self) -> bool:
        return bool(await self._command("HEXISTS", self._keys.meta, "paused"))


class _Lane:
    """What one tenant has ready in a fair queue, read as it is asked for: `size` ids at first."""

    def __init__(self, look: Callable[[Sequence[str]], Awaitable[list[TaskInfo]]], page: Page, size: int) -> None:
        self._look, self._page = look, page
        self._position, self._size = 0, size
        self._read: deque[TaskInfo] = deque()

    async def next(self) -> TaskInfo | None:
        """The next task that is no tombstone; None at the end."""
        while not self._read:
            ids = await self._page(self._position, self._size)
            if not ids:
                return None
            self._position, self._size = self._position + len(ids), PAGE
            self._read.extend(task for task in await self._look(ids) if task.state == "ready")
        return self._read.popleft()


def _text(value: bytes | None) -> str:
    """What can be read of a text that may be damaged or missing."""
    return "" if value is None else value.decode(errors="replace")


def _number(value: bytes | None) -> int:
    """The number of up to 14 digits that stands there; 0 if it is missing or damaged."""
    return int(value) if value is not None and len(value) <= MOST_DIGITS and value.isdigit() else 0


def _batch_info(row: list[Any]) -> BatchInfo:
    id_, tenant, scope, start, end, *counts, duration, cancel = row
    total, done, failed, canceled = map(_number, counts)
    return BatchInfo(
        id=id_.decode(),
        tenant=_text(tenant),
        scope=_text(scope),
        state=_batch_state(cancel, end, failed),
        start=from_ms(_number(start)),
        end=None if end is None else from_ms(_number(end)),
        total=total,
        done=done,
        failed=failed,
        canceled=canceled,
        remaining=total - done - failed - canceled,
        duration=_number(duration) / 1_000_000,
    )


def _batch_state(cancel: bytes | None, end: bytes | None, failed: int) -> BatchState:
    if cancel is not None:
        return "canceling" if end is None else "canceled"
    if end is None:
        return "running"
    return "failed" if failed else "done"


def _task_info(id_: str, row: list[Any]) -> TaskInfo:
    state, queue, tenant, call, topic, retries, failures, enqueued, died, *error, _token, _unknown, at = row
    failed, allowed, shown = _number(failures), _number(retries), STATES[state]
    attempt = max(failed if shown == "dead" else failed + 1, 1)
    kind, message, trace = (None if text is None else _text(text) for text in error)
    return TaskInfo(
        task_id=id_,
        tenant=_text(tenant),
        queue=_text(queue),
        batch_id=batch_of(id_),
        topic=CALL if topic is None else _text(topic),
        call=_text(call),
        state=shown,
        retries=allowed,
        attempt=attempt,
        retries_left=max(allowed - attempt, 0),
        enqueued_at=from_ms(_number(enqueued)),
        due_at=from_ms(float(at)) if at is not None and shown == "delayed" else None,
        died_at=None if died is None else from_ms(_number(died)),
        error_type=kind,
        error_message=message,
        traceback=trace,
    )


def _queue_info(name: str, row: list[Any]) -> QueueInfo:
    ready, leased, delayed, dead, tenants = row
    pairs = cast("list[bytes]", tenants)
    return QueueInfo(
        name=name,
        length=int(ready),
        running=leased,
        delayed=delayed,
        deadletter=dead,
        tenants={tenant.decode(): int(count) for tenant, count in zip(pairs[::2], pairs[1::2], strict=True)},
    )


def _schedule_info(row: list[Any]) -> ScheduleInfo:
    id_, tenant, queue, scope, cron, timezone, _seconds, unique, expire, following = row
    return ScheduleInfo(
        id=id_.decode(),
        tenant=_text(tenant),
        queue=_text(queue),
        scope=_text(scope),
        cron=_text(cron),
        timezone=_text(timezone),
        next=from_ms(int(following)),
        unique=unique is not None,
        expire=None if expire is None else timedelta(milliseconds=int(expire)),
    )


def _worker_info(row: list[Any]) -> WorkerInfo:
    id_, alive_until, running, host, pid, since, queues, slots, version = row
    return WorkerInfo(
        id=id_.decode(),
        host=host.decode(),
        pid=int(pid),
        since=from_ms(int(since)),
        queues=queues.decode().split(" "),
        max_workers=int(slots),
        running=running,
        version=version.decode(),
        alive_until=from_ms(float(alive_until)),
    )
