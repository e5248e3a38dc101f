"""What can happen in Redis: one method for each script of `lua/`, by the same name. Nothing else writes to Redis."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from taskproc.connection import Connection
from taskproc.controls import Controls, new_request
from taskproc.driver import Driver, encode
from taskproc.errors import ConfigurationError
from taskproc.failure import log_error
from taskproc.keys import Keys
from taskproc.observing import Observer
from taskproc.records import (
    Attempt,
    Chunk,
    DueSchedule,
    DueSchedules,
    NewTask,
    Request,
    ScheduleRecord,
    Settled,
    Settlement,
    attempts_from,
)
from taskproc.statistics import TIERS

__all__ = ["OPEN_FOR_MS", "AddedToBatch", "Exchange", "Sending", "Storage"]

logger = logging.getLogger(__name__)

SCHEMA = "1"
OPEN_FOR_MS = 60_000  # an unsealed batch whose producer gives no sign for so long is canceled
PAGE_OF_SCHEDULES = 200
MOST_CANCELS = 1_000  # cancels under way of which one reply tells
STEP = 400  # queued tasks counted by one run of a script

Sending = tuple[NewTask, bytes]
"""A task and its data."""
AddedToBatch = Literal["ok", "missing", "canceled", "full", "broken"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came back for settled attempts and free slots."""

    status: Literal["ok", "paused", "gone", "silent", "late", "rewound"]
    now: int
    dues: list[int | None]
    """For each queue asked, when its first delayed task falls due."""
    more: bool
    """There may be more to fetch at once."""
    settled: list[Settled]
    fetched: list[Attempt]


class Storage(Controls):
    """Every transition of tasks, batches and workers. Times are milliseconds."""

    def __init__(
        self, connection: Connection, prefix: str, command_timeout: float, observers: Sequence[Observer] = ()
    ) -> None:
        self.observers = observers
        self.keys = Keys(prefix)
        self.driver = Driver(connection, self.keys, command_timeout)

    async def open_store(self) -> None:
        """Checks that the data under the prefix have this version's layout; marks them with it when there are none."""
        found = (await self.driver.run("open_store", arg={"schema": SCHEMA})).decode()
        if found != SCHEMA:
            raise ConfigurationError(
                f"the data under prefix {self.keys.prefix!r} have layout {found}, this version of taskproc has "
                f"{SCHEMA}: use another prefix, or the version that wrote them"
            )

    async def check_access(self) -> None:
        """ConfigurationError naming what a worker needs and the server's user may not do."""
        denied: list[bytes] = await self.driver.run("check_access")
        if denied:
            commands = ", ".join(sorted({command.decode().lower() for command in denied}))
            raise ConfigurationError(
                f"the server's user may not do what a worker does: {commands}. Give it the commands, keys and channels "
                "that docs/connections.md lists."
            )
        await self.driver.command("PING")
        await self.driver.command("SSCAN", self.keys.queues, 0)
        await self.driver.command("BLPOP", self.keys.none, 0.001)
        await self.driver.subscribe(self.keys.events)

    # Producing

    async def enqueue(self, sendings: Sequence[Sending]) -> int:
        """Adds single tasks, each unless it is there already; how many were new."""
        tasks, payloads = [task for task, _ in sendings], [data for _, data in sendings]
        added: int = await self.driver.run(
            "enqueue", (self.keys.tenants,), {"tasks": tasks}, payloads, subject=tasks[0].id
        )
        self._tell_sent(tasks)
        return added

    def _tell_sent(self, tasks: Sequence[NewTask]) -> None:
        if not self.observers:
            return
        for queue, count in Counter(task.queue for task in tasks).items():
            for observer in self.observers:
                try:
                    observer.sent(queue, count)
                except Exception as error:  # noqa: BLE001 - Redis has the tasks: who sends must not send them again
                    log_error(logger, error, "observer %s raised", type(observer).__name__)

    async def add_to_batch(
        self, chunk: Chunk, tasks: Sequence[Sending], continuations: Sequence[Sending]
    ) -> AddedToBatch:
        """Adds a chunk, once; the first one of a new batch creates it, the last one of a producer seals it."""
        arg = {
            "chunk": chunk,
            "keep": OPEN_FOR_MS,
            "tasks": [task for task, _ in tasks],
            "continuations": [task for task, _ in continuations],
        }
        payloads = [data for _, data in (*tasks, *continuations)]
        keys = (self.keys.tenants, self.keys.open)
        result: bytes = await self.driver.run("add_to_batch", keys, arg, payloads, subject=chunk.batch)
        if result == b"ok":
            self._tell_sent([task for task, _ in tasks])
        return cast("AddedToBatch", result.decode())

    async def keep_open(self, entries: Sequence[str]) -> list[bool]:
        """Keeps unsealed batches (`batch/producer`) from counting as abandoned; False for those given up already."""
        kept = await self.driver.run("keep_open", (self.keys.open,), {"entries": entries, "keep": OPEN_FOR_MS})
        return [bool(one) for one in kept]

    async def cancel_batch(self, batch: str, tenant: str | None = None) -> bool:
        """Marks the batch as canceled; its queued tasks are still to be counted by `cancel_queued`."""
        return bool(await self.driver.run("cancel_batch", arg={"batch": batch, "tenant": tenant}))

    async def cancel_queued(self, batch: str) -> bool:
        """Counts a few hundred queued tasks of a canceled batch; whether there are more."""
        return bool(await self.driver.run("cancel_queued", (self.keys.canceled,), {"batch": batch, "limit": STEP}))

    async def cancel_task(self, task_id: str, tenant: str | None = None) -> bool:
        """Drops a queued task, or tells the worker of a running one."""
        arg = {"id": task_id, "tenant": tenant, "request": new_request()}
        return bool(await self.driver.run("cancel_task", (self.keys.canceled,), arg))

    # Schedules

    async def upsert_schedule(
        self, id_: str, schedule: ScheduleRecord, data: bytes, following: int, owner: str | None
    ) -> int | None:
        """Adds or changes a schedule; its next instant, or None when the id is another tenant's."""
        arg = {"id": id_, "schedule": schedule, "next": following, "owner": owner, "request": new_request()}
        reply = await self.driver.run("upsert_schedule", (self.keys.schedules,), arg, [data])
        return int(reply) if reply else None

    async def due_schedules(self, skip: int = 0) -> DueSchedules:
        """A page of the schedules that are due, and when the next one is."""
        arg = {"due": True, "skip": skip, "take": PAGE_OF_SCHEDULES}
        now, first, rows, torn, damaged = await self.driver.run("read_schedules", (self.keys.schedules,), arg)
        for id_ in damaged:
            logger.error("schedule %r is damaged in Redis and was taken off: add it again", _text(id_))
        return DueSchedules(
            now=int(now), following=int(first) if first else None, due=[_due(row) for row in rows], torn=bool(torn),
            more=len(rows) == PAGE_OF_SCHEDULES,
        )  # fmt: skip

    async def all_schedules(self, skip: int) -> list[DueSchedule]:
        """A page of all schedules."""
        arg = {"skip": skip, "take": PAGE_OF_SCHEDULES}
        return [_due(row) for row in (await self.driver.run("read_schedules", (self.keys.schedules,), arg))[2]]

    async def mend_schedules(self) -> None:
        """Lists every schedule that some index lacks, and takes off what is no schedule."""
        skip, more = 0, True
        while more:
            arg = {"skip": skip, "take": PAGE_OF_SCHEDULES}
            more = bool(await self.driver.run("mend_schedules", (self.keys.schedules,), arg))
            skip += PAGE_OF_SCHEDULES

    async def fire_schedule(
        self, schedule: DueSchedule, instant: int | None, following: int, *, dead_is_busy: bool
    ) -> Literal["fired", "skipped", "stale", "paused"]:
        """Moves a schedule on, once whoever tries, and starts the cycle of `instant`."""
        arg = {
            "id": schedule.id,
            "from": schedule.next,
            "instant": instant,
            "to": following,
            "dead_is_busy": dead_is_busy,
        }
        reply = await self.driver.run("fire_schedule", (self.keys.schedules,), arg)
        return cast("Literal['fired', 'skipped', 'stale', 'paused']", reply.decode())

    async def trigger_schedule(self, id_: str, tenant: str | None, trigger: str, *, dead_is_busy: bool) -> bool:
        """Starts a cycle now; False when it is unknown, another tenant's, or unique and busy."""
        arg = {"id": id_, "tenant": tenant, "trigger": trigger, "dead_is_busy": dead_is_busy}
        return bool(await self.driver.run("trigger_schedule", (self.keys.schedules,), arg))

    async def cancel_schedule(self, id_: str, tenant: str | None, owner: str | None = None) -> bool:
        """Removes a schedule; False when it is unknown, another tenant's, or not declared by `owner` (if given)."""
        arg = {"id": id_, "tenant": tenant, "owner": owner, "request": new_request()}
        return bool(await self.driver.run("cancel_schedule", (self.keys.schedules,), arg))

    # Dead letters

    async def retry_dead(
        self, queue: str, ids: Sequence[str], retries: int | None, tenant: str | None, *, data: bytes | None = None
    ) -> list[str]:
        """Makes those dead tasks ready again, once, with other data if given; the ids of those that are, unless a first
        reply was lost.
        """
        arg = {"queue": queue, "ids": ids, "retries": retries, "tenant": tenant, "request": new_request()}
        payloads = () if data is None else (data,)
        return [id_.decode() for id_ in await self.driver.run("retry_dead", arg=arg, payloads=payloads)]

    async def discard_dead(self, queue: str, ids: Sequence[str], tenant: str | None) -> list[str]:
        """Removes those dead tasks; the ids of those that were there."""
        arg = {"queue": queue, "ids": ids, "tenant": tenant}
        return [id_.decode() for id_ in await self.driver.run("discard_dead", arg=arg)]

    # Working

    async def register(self, worker: str, patience: int, about: Mapping[str, object]) -> int:
        """Makes a worker known; Redis's time."""
        return int(
            await self.driver.run("register", (self.keys.workers,), {"worker": worker, "timeout": patience, **about})
        )

    async def exchange(self, request: Request, settlements: Sequence[Settlement]) -> Exchange:
        """Settles attempts and fetches others. Sent once: on any error, `settle` again, then `resync`."""
        reply = await self.driver.once("exchange", (self.keys.workers,), encode(_exchange_arg(request, settlements)))
        return _exchanged(reply, f"{request.worker}:{request.nonce}", settlements)

    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> list[Settled]:
        """Settles attempts, each once however often it is sent: repeated, it reports `stale`."""
        arg = _exchange_arg(Request(worker=worker, nonce=0, slots=0), settlements)
        return _exchanged(await self.driver.run("exchange", (self.keys.workers,), arg), "", settlements).settled

    async def extend(self, leases: Sequence[tuple[str, str, int]]) -> list[bool]:
        """Lets attempts (id, token, ms from now) run longer, never shorter; False where the lease is lost."""
        arg = {"leases": [{"id": id_, "token": token, "ms": ms} for id_, token, ms in leases]}
        return [bool(held) for held in await self.driver.run("extend", arg=arg)]

    async def beat(self, worker: str, patience: int) -> bool:
        """A sign of life beside those of the heartbeat's thread; whether the worker is still known."""
        arg = {"worker": worker, "timeout": patience, "limit": 1}
        return bool((await self.driver.run("beat", (self.keys.workers, self.keys.canceled), arg))[0])

    async def canceled(self) -> list[str]:
        """The ids of all batches and tasks that are being canceled, the oldest first."""
        found: dict[str, None] = {}
        since = None
        while since != "":
            arg = {"limit": MOST_CANCELS, "since": since}
            ids, following = await self.driver.run("canceled", (self.keys.canceled,), arg)
            found.update(dict.fromkeys(id_.decode() for id_ in ids))
            since = "" if following.decode() == since else following.decode()
        return list(found)

    async def resync(self, worker: str, nonce: int, known: Sequence[tuple[str, str]]) -> tuple[bool, list[int]]:
        """Gives back what Redis thinks the worker holds beyond `known` (id, token), and refuses fetches up to `nonce`.
        Whether the worker is still known, and the positions in `known` of what it no longer holds.
        """
        arg = {"worker": worker, "nonce": nonce, "known": [{"id": id_, "token": token} for id_, token in known]}
        status, lost = await self.driver.run("resync", (self.keys.workers,), arg)
        return status != b"gone", lost

    async def leave(self, worker: str) -> None:
        """Gives back all that the worker holds, and forgets it."""
        while not await self.driver.run("leave", (self.keys.workers,), {"worker": worker}):
            pass

    async def wake(self, queue: str) -> None:
        """Passes on a wake token to another worker."""
        await self.driver.run("wake", arg={"queue": queue})

    # Maintenance

    async def reap(self, patience: int, max_recoveries: int) -> tuple[bool, list[Attempt]]:
        """Takes back tasks of one dead worker; whether there is more to do, and the tasks that were lost for good."""
        arg = {"timeout": patience, "max_recoveries": max_recoveries, "limit": 200, "request": new_request()}
        more, lost = await self.driver.run("reap", (self.keys.workers,), arg)
        return bool(more), attempts_from(lost, "")

    async def tend(self, queues: Sequence[str], patience: int, *, deadletter: bool, deadletter_unique: bool) -> bool:
        """Starts due tasks and fails overdue attempts; whether there is more to do."""
        arg = {
            "queues": queues,
            "timeout": patience,
            "deadletter": deadletter,
            "deadletter_unique": deadletter_unique,
            "limit": 200,
        }
        return bool(await self.driver.run("tend", arg=arg))

    async def cancel_abandoned(self, patience: int) -> bool:
        """Cancels batches whose producer died before they were whole; whether there may be more."""
        arg = {"timeout": patience, "keep": OPEN_FOR_MS, "limit": 20}
        return bool(await self.driver.run("cancel_abandoned", (self.keys.open,), arg))

    async def clean_up(self, retention: int) -> bool:
        """Removes ended batches past their retention, and what else is old; whether there is more to do."""
        keys = (self.keys.ended, self.keys.tenants)
        return bool(await self.driver.run("clean_up", keys, {"retention": retention, "limit": 100}))

    async def note_statistics(
        self, request: str, counts: Mapping[str, Mapping[str, int]], outcomes: Sequence[Sequence[object]]
    ) -> None:
        """Adds up counts of a worker, by queue and name, once; and the outcomes (schedule, outcome, end) of cycles."""
        tiers = [[tier.seconds, int(tier.kept.total_seconds())] for tier in TIERS]
        arg = {"request": request, "counts": counts, "outcomes": outcomes, "tiers": tiers}
        await self.driver.run("note_statistics", arg=arg)

    async def forget_queue(self, queue: str) -> bool:
        """Takes a queue off the list of queues if it is empty."""
        return bool(await self.driver.run("forget_queue", (self.keys.queues,), {"queue": queue}))


def _due(row: list[Any]) -> DueSchedule:
    id_, _tenant, _queue, _scope, cron, timezone, seconds, _unique, _expire, following = row[:10]
    return DueSchedule(id_.decode(), _text(cron), _text(timezone), seconds == b"1", int(following))


def _text(value: bytes) -> str:
    """What can be read of a text that may be damaged."""
    return value.decode(errors="replace")


_SETTLED: Mapping[bytes, Settled] = {name.encode(): name for name in get_args(Settled)}


def _exchange_arg(request: Request, settlements: Sequence[Settlement]) -> dict[str, object]:
    """What is done goes as a flat list: there is much of it."""
    done = [value for one in settlements if one.outcome == "done" for value in (one.id, one.token, one.us)]
    return {"request": request, "done": done, "others": [one for one in settlements if one.outcome != "done"]}


def _exchanged(reply: list[Any], token: str, settlements: Sequence[Settlement]) -> Exchange:
    status, now, dues, more, settled, fetched = reply
    return Exchange(
        status.decode(),
        int(now),
        [int(due) if due else None for due in dues],
        bool(more),
        _in_order(settled, settlements),
        attempts_from(fetched, token),
    )


def _in_order(settled: Sequence[bytes], settlements: Sequence[Settlement]) -> list[Settled]:
    """As what each was settled; the reply has what is done first."""
    done = sum(one.outcome == "done" for one in settlements)
    first, then = iter(settled[:done]), iter(settled[done:])
    return [_SETTLED[next(first if one.outcome == "done" else then)] for one in settlements]
