"""Reads what is in Redis; changes nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from taskproc.context import from_ms
from taskproc.controls import EVERYTHING
from taskproc.models import (
    AuditEntry,
    BatchInfo,
    PauseInfo,
    QueueInfo,
    ScheduleInfo,
    TaskInfo,
    TaskState,
    WorkerInfo,
    WorkerStacks,
)
from taskproc.names import is_fair
from taskproc.records import Attempt
from taskproc.rows import (
    STATES,
    audit_entry,
    batch_info,
    number,
    pause_info,
    queue_info,
    schedule_info,
    task_info,
    text,
    worker_info,
    worker_stacks,
)

if TYPE_CHECKING:
    from taskproc.storage import Storage

__all__ = ["FURTHEST", "Listing", "Looking", "Wanted"]

PAGE = 500
MOST_TENANTS = MOST_PAUSES = 1_000
FURTHEST = 10_000
"""How far back in a list a task is looked for: it takes Redis some time."""
BEHIND = 2**52
"""The first turn of a tenant that is parked, see `_pause.lua`."""
UNKNOWN = 13
"""Where a row of `read_tasks` has since when no worker knows the task."""

Page = Callable[[int, int], Awaitable[list[str]]]
"""Ids of an index from a position, at most so many."""
Wanted = Callable[[TaskInfo], bool]
"""Whether a task is one of those that are looked for."""
Listing = Callable[[str, int, int, "str | None", "Wanted | None"], Awaitable[list[TaskInfo]]]
"""A list of a queue: so many after the first ones, of a tenant, that are wanted."""


class Looking:
    """Looks at tasks, batches, queues and workers; everything is paged."""

    def __init__(self, storage: Storage) -> None:
        self._driver = storage.driver
        self._keys = storage.keys
        self._command = storage.driver.command

    # Batches

    async def batch(self, batch_id: str) -> BatchInfo | None:
        rows = await self._driver.run("read_batches", arg={"ids": [batch_id]})
        return batch_info(rows[0]) if rows else None

    async def batches_by_id(self, ids: Sequence[str]) -> list[BatchInfo]:
        """Those of `ids` that are known."""
        rows: list[Any] = await self._driver.run("read_batches", arg={"ids": ids}) if ids else []
        return [batch_info(row) for row in rows]

    async def batches(self, tenant: str, skip: int, take: int) -> list[BatchInfo]:
        arg = {"tenant": tenant, "skip": skip, "take": min(take, 1000)}
        rows: list[Any] = await self._driver.run("read_batches", arg=arg) if take else []
        return [batch_info(row) for row in rows]

    async def continuations(self, batch: str) -> list[TaskInfo]:
        """Those that wait for the batch's end, the first 100."""
        ids: list[bytes] = await self._command("LRANGE", f"{self._keys.batch(batch)}:then", 0, 99)
        return [task for task in await self.tasks([text(id_) for id_ in ids]) if task.state == "held"]

    async def count_batches(self, tenant: str) -> int:
        return int(await self._command("ZCARD", self._keys.batches(tenant)))

    # Tasks

    async def tasks(self, ids: Sequence[str]) -> list[TaskInfo]:
        """Those of `ids` that have not ended, in the same order."""
        rows: list[Any] = await self._driver.run("read_tasks", arg={"ids": ids}) if ids else []
        return [task_info(id_, row) for id_, row in zip(ids, rows, strict=True) if row and row[0] in STATES]

    async def ready(
        self, queue: str, skip: int, take: int, tenant: str | None, wanted: Wanted | None = None
    ) -> list[TaskInfo]:
        """In the order in which they will be served."""
        if is_fair(queue) and tenant is None:
            return await self._in_turn(queue, skip, take, wanted)
        if is_fair(queue):
            lane = self._pages("LRANGE", self._keys.ready(queue, tenant))
            return await self._select(lane, "ready", skip, take, tenant, wanted=wanted)
        keys = await self._lists(queue)
        lengths = [await self._command("LLEN", key) for key in keys]
        page = self._chained(keys, lengths)
        if tenant is None and wanted is None and sum(lengths) == await self.ready_count(queue):
            return await self._slice(page, "ready", skip, take)
        return await self._select(page, "ready", skip, take, tenant, wanted=wanted)

    async def _lists(self, queue: str) -> list[str]:
        """Those of a plain queue, as they are served: what was set aside and goes on, its own, what still is."""
        going_on, parked = [
            [self._keys.ready(queue, tenant) for tenant in tenants] for tenants in await self._ring(queue, MOST_TENANTS)
        ]
        return [*going_on, self._keys.ready(queue), *parked]

    async def _ring(self, queue: str, most: int) -> tuple[list[str], list[str]]:
        """The tenants that wait in a queue, the next one first; and those among them that are parked."""
        rows = await self._command("ZRANGE", self._keys.turns(queue), 0, most - 1, "WITHSCORES")
        tenants = [(name.decode(), float(turn)) for name, turn in _pairs(rows)]
        return [name for name, turn in tenants if turn < BEHIND], [name for name, turn in tenants if turn >= BEHIND]

    def _chained(self, keys: Sequence[str], lengths: Sequence[int]) -> Page:
        """Pages of several lists, one after the other."""

        async def page(position: int, count: int) -> list[str]:
            ids: list[str] = []
            for key, length in zip(keys, lengths, strict=True):
                ids += await self._pages("LRANGE", key)(position, min(count - len(ids), max(length - position, 0)))
                position = max(position - length, 0)
            return ids

        return page

    async def ready_count(self, queue: str, tenant: str = "*") -> int:
        """How many tasks are ready, of a tenant only in a fair queue; a list is longer by what was canceled."""
        return int(await self._command("HGET", self._keys.counts(queue), tenant) or 0)

    async def running(
        self, queue: str, skip: int, take: int, tenant: str | None, wanted: Wanted | None = None
    ) -> list[TaskInfo]:
        """Those whose lease ends first, first."""
        page = self._pages("ZRANGE", self._keys.leased(queue))
        return await self._select(page, "leased", skip, take, tenant, wanted=wanted)

    async def delayed(
        self, queue: str, skip: int, take: int, tenant: str | None, wanted: Wanted | None = None
    ) -> list[TaskInfo]:
        """Those due first, first."""
        page = self._pages("ZRANGE", self._keys.delayed(queue))
        if tenant is None and wanted is None:
            return await self._slice(page, "delayed", skip, take)
        return await self._select(page, "delayed", skip, take, tenant, wanted=wanted)

    async def dead(
        self, queue: str, skip: int, take: int, tenant: str | None, wanted: Wanted | None = None
    ) -> list[TaskInfo]:
        """Those that died last, first."""
        page = self._pages("ZREVRANGE", self._keys.dead(queue))
        if tenant is None and wanted is None:
            return await self._slice(page, "dead", skip, take)
        return await self._select(page, "dead", skip, take, tenant, wanted=wanted)

    async def dead_since(self, queue: str, since: bytes, until: int, most: int) -> list[tuple[str, bytes]]:
        """Ids of tasks that died from `since` up to `until`, with the time of that, the longest dead first."""
        key, limit = self._keys.dead(queue), ("WITHSCORES", "LIMIT", 0, most)
        return [
            (text(id_), died) for id_, died in _pairs(await self._command("ZRANGEBYSCORE", key, since, until, *limit))
        ]

    async def position(self, task: TaskInfo) -> int | None:
        """How many are before a ready task in its list, tombstones included; None if more than FURTHEST."""
        lists = [self._keys.ready(task.queue, task.tenant)]
        if not is_fair(task.queue):
            lists.insert(0, self._keys.ready(task.queue))
        for key in lists:
            found = await self._command("LPOS", key, task.task_id, "MAXLEN", FURTHEST)
            if found is not None:
                return int(found)
        return None

    async def unknown_since(self, task: TaskInfo) -> datetime | None:
        """Since when no worker that fetched the task knows it; None if none has said so."""
        rows = await self._driver.run("read_tasks", arg={"ids": [task.task_id]})
        return from_ms(number(rows[0][UNKNOWN])) if rows[0] and rows[0][UNKNOWN] is not None else None

    async def answers(self, seconds: float) -> bool:
        """Whether Redis answers in that time."""
        return await self._driver.answers(seconds)

    async def now(self) -> int:
        """Redis's time, epoch milliseconds."""
        seconds, micros = await self._command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def _slice(self, page: Page, state: TaskState, skip: int, take: int) -> list[TaskInfo]:
        """What stands at these positions of an index that holds nothing else."""
        return [task for task in await self.tasks(await page(skip, take)) if task.state == state]

    async def _select(
        self, page: Page, state: TaskState, skip: int, take: int, tenant: str | None, *, wanted: Wanted | None = None
    ) -> list[TaskInfo]:
        """`take` of the tasks in a state, of a tenant, that are wanted, after the first `skip`: an index may hold
        others.
        """
        selected: dict[str, TaskInfo] = {}  # a task comes twice when others get in front of it meanwhile
        position = 0
        while len(selected) < skip + take:
            ids = await page(position, PAGE)
            for task in await self.tasks(ids):
                if task.state == state and tenant in (None, task.tenant) and (wanted is None or wanted(task)):
                    selected[task.task_id] = task
            position += len(ids)
            if len(ids) < PAGE:
                break
        return list(selected.values())[skip : skip + take]

    def _pages(self, command: str, key: str) -> Page:
        async def page(position: int, count: int) -> list[str]:
            found: list[bytes] = await self._command(command, key, position, position + count - 1) if count else []
            return [text(id_) for id_ in found]

        return page

    async def _in_turn(self, queue: str, skip: int, take: int, wanted: Wanted | None) -> list[TaskInfo]:
        """The ready tasks of a fair queue as its turns will take them: one of each tenant, and again.
        Those of parked tenants come last. Tasks that are wanted are looked for among those of the first 1,000 tenants.
        """
        if skip + take == 0:
            return []
        taken: list[TaskInfo] = []
        for tenants in await self._ring(queue, skip + take if wanted is None else MOST_TENANTS):
            first = (skip + take) // max(len(tenants), 1) + 1
            pages = [self._pages("LRANGE", self._keys.ready(queue, name)) for name in tenants]
            lanes = deque(_Lane(self.tasks, page, min(first, PAGE)) for page in pages)
            while lanes and len(taken) < skip + take:
                lane = lanes.popleft()
                task = await lane.next()
                if task is not None:
                    lanes.append(lane)
                    taken += [task] if wanted is None or wanted(task) else []
        return taken[skip:]

    # One task, one batch, one worker

    async def attempts_field(self, task_id: str) -> bytes | None:
        """What a record tells of earlier attempts."""
        found: bytes | None = await self._command("HGET", self._keys.task(task_id), "a")
        return found

    async def attempt_of(self, task: TaskInfo) -> Attempt | None:
        """The task with its data, as a worker would get it."""
        data, length = await self._command("HMGET", self._keys.task(task.task_id), "d", "i")
        if data is None:
            return None
        return Attempt(
            id=task.task_id, queue=task.queue, tenant=task.tenant, call=task.call, topic=task.topic, data=data,
            enqueued_at=int(task.enqueued_at.timestamp() * 1000), retries=task.retries, invisibility=number(length),
        )  # fmt: skip

    async def held_by(self, worker: str) -> list[str]:
        """Ids of the tasks that are leased to a worker: at most its slots."""
        return [text(id_) for id_ in await self._command("SRANDMEMBER", self._keys.worker_tasks(worker), PAGE)]

    async def stacks(self, worker: str, asked: int) -> WorkerStacks | None:
        """What a worker has answered to that question, or a later one."""
        key = self._keys.stacks(worker)
        if number(await self._command("HGET", key, "asked")) < asked:
            return None
        at, packed = await self._command("HMGET", key, "at", "stacks")
        return None if packed is None else worker_stacks(worker, at, packed)

    async def ids_of_batch(self, batch: str) -> AsyncGenerator[list[str]]:
        """Ids of the tasks that a batch has had, chunk by chunk."""
        key = f"{self._keys.batch(batch)}:chunks"
        position = 0
        while chunks := await self._command("ZRANGE", key, position, position + 99, "WITHSCORES"):
            for name, size in _pairs(chunks):
                yield [f"{batch}.{text(name)}.{place}" for place in range(int(float(size)))]
            position += 100

    async def statistics(self, seconds: int, numbers: Iterable[int]) -> list[dict[str, int]]:
        """What stands in the hashes of these stretches of time, `seconds` long each."""
        keys = [self._keys.statistics(seconds, each) for each in numbers]
        found = await asyncio.gather(*(self._command("HGETALL", key) for key in keys))
        return [{text(name): number(value) for name, value in _pairs(row)} for row in found]

    # Queues, workers, tenants

    async def queues(self, names: Sequence[str]) -> list[QueueInfo]:
        if not names:
            return []
        rows: list[Any] = await self._driver.run("read_queues", arg={"queues": names, "tenants": MOST_TENANTS})
        return [queue_info(name, row) for name, row in zip(names, rows, strict=True)]

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
            worker_info(row) for row in await self._driver.run("read_workers", (self._keys.workers,), {"limit": 1000})
        ]

    async def tenants(self) -> list[str]:
        """Those seen last, first; at most 1,000."""
        return [name.decode() for name in await self._command("ZREVRANGE", self._keys.tenants, 0, MOST_TENANTS - 1)]

    # Schedules

    async def schedules(self, tenant: str, skip: int, take: int) -> list[ScheduleInfo]:
        arg = {"tenant": tenant, "skip": skip, "take": take}
        return [
            schedule_info(row) for row in (await self._driver.run("read_schedules", (self._keys.schedules,), arg))[2]
        ]

    async def count_schedules(self, tenant: str) -> int:
        first, last = f"[{tenant}:", f"({tenant};"  # which is what follows `:`
        return int(await self._command("ZLEXCOUNT", self._keys.all_schedules, first, last))

    async def declared(self, owner: str) -> list[str]:
        """Ids of the schedules that an application's code declares."""
        return [id_.decode() for id_ in await self._command("SMEMBERS", self._keys.declared(owner))]

    # What was said by hand

    async def is_drained(self, worker: str) -> bool:
        return bool(await self._command("HEXISTS", self._keys.worker(worker), "drain"))

    async def is_paused(self) -> bool:
        """Whether everything is."""
        return bool(await self.pauses([EVERYTHING]))

    async def pauses(self, only: Sequence[str] | None = None) -> list[PauseInfo]:
        """At most 1,000, what ends first, first; or those of these that are paused."""
        arg = {"limit": MOST_PAUSES, "only": only}
        return [pause_info(row) for row in await self._driver.run("read_pauses", (self._keys.pauses,), arg)]

    async def pauses_of(self, task: TaskInfo) -> list[PauseInfo]:
        """Those that hold a task up."""
        return await self.pauses([EVERYTHING, f"queue:{task.queue}", f"tenant:{task.tenant}"])

    async def acts(self, skip: int, take: int) -> list[AuditEntry]:
        """What was done by hand, the last first."""
        if not take:
            return []
        found: list[bytes] = await self._command("LRANGE", self._keys.audit, -skip - take, -skip - 1)
        return [audit_entry(packed) for packed in reversed(found)]


def _pairs(flat: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
    """What came in pairs."""
    return zip(flat[::2], flat[1::2], strict=True)


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
