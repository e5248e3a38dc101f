"""What goes to Redis and comes back from it, as typed records; the short names are those of docs/architecture.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import field

__all__ = [
    "CALL",
    "Attempt",
    "Chunk",
    "DueSchedule",
    "DueSchedules",
    "NewTask",
    "Request",
    "ScheduleRecord",
    "Settled",
    "Settlement",
    "attempt_from",
    "batch_of",
]

CALL = "call.v1"
"""The topic of method calls as this version writes them; records of this topic do not store it."""

Settled = Literal["done", "failed", "canceled", "released", "stale"]


class NewTask(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task on its way to Redis; its data travels beside it."""

    id: str | None = None
    queue: str = field(name="q")
    tenant: str = field(name="t")
    call: str = field(name="c")
    topic: str | None = field(name="p", default=None)
    retries: int = field(name="n")
    invisibility: int = field(name="i")
    auto_extend: int | None = field(name="x", default=None)
    after: int | None = None
    at: int | None = None
    awaited: str | None = field(name="w", default=None)
    wait: int | None = field(name="y", default=None)
    wait_until: int | None = field(name="z", default=None)


class Chunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of a batch, beside its tasks."""

    batch: str
    tenant: str
    name: str
    previous: str | None = None
    """The chunk that its producer sent before it."""
    producer: str
    create: dict[str, str] | None = None
    """Of a new batch: its queue and scope."""
    last: bool
    """Seals the batch, as far as this producer goes."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker asks for: as many tasks as it has free slots."""

    worker: str
    nonce: int
    known: int = 0
    """The nonce of the last request that was answered."""
    slots: int
    queues: Sequence[str] = ()
    max_recoveries: int = 1


class ScheduleRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A schedule on its way to Redis; the data of its tasks travel beside it."""

    tenant: str
    queue: str
    scope: str
    cron: str
    timezone: str
    seconds: int
    unique: int | None = None
    expire: int | None = None
    retries: int
    invisibility: int
    auto_extend: int | None = None
    call: str
    topic: str | None = None


class DueSchedule(msgspec.Struct, frozen=True):
    """What is needed to fire a schedule."""

    id: str
    cron: str
    timezone: str
    seconds: bool
    next: int


class DueSchedules(msgspec.Struct, frozen=True, kw_only=True):
    """What a look for due schedules has found."""

    now: int
    """Redis's time."""
    following: int | None
    """The first instant later than that, of all schedules."""
    due: Sequence[DueSchedule]
    torn: bool
    """An index lacks some schedule: `mend_schedules`."""


class Settlement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of an attempt, for the script that settles it."""

    id: str
    token: str
    outcome: Literal["done", "retry", "dead", "discard", "release"]
    us: int = 0
    delay: int | None = None
    unknown: bool = False
    type: str | None = None
    message: str | None = None
    traceback: str | None = None


class Attempt(msgspec.Struct, frozen=True):
    """A task leased to this worker: its record, and the token of the lease."""

    id: str
    queue: str
    scope: str
    tenant: str
    call: str
    data: bytes
    topic: str
    enqueued_at: int
    retries: int
    invisibility: int
    failures: int
    auto_extend: bool
    awaited: str | None
    scheduled_for: int | None
    unknown_since: int | None
    unique: bool
    token: str

    @property
    def batch_id(self) -> str | None:
        return batch_of(self.id)

    @property
    def counted_in(self) -> str | None:
        """The batch that counts the task; continuations belong to one that does not count them."""
        return self.batch_id if self.awaited is None else None

    @property
    def schedule_id(self) -> str | None:
        return self.id.rpartition(":")[0] if self.scheduled_for is not None else None

    @property
    def attempt(self) -> int:
        return self.failures + 1


def batch_of(task_id: str) -> str | None:
    """The batch of a task is part of its id."""
    head, dot, _ = task_id.partition(".")
    return head if dot and ":" not in task_id else None


def attempt_from(row: Sequence[Any], token: str) -> Attempt:
    """An attempt from what `exchange.lua` returns for it."""
    (
        id_, queue, batch_scope, _state, tenant, call, data, topic, enqueued, retries, invisibility, failures, extend,
        awaited, cycle, unknown, unique, scope,
    ) = row  # fmt: skip
    return Attempt(
        _text(id_),
        _text(queue),
        _text(scope or batch_scope),
        _text(tenant),
        _text(call),
        data,
        CALL if topic is None else _text(topic),
        int(enqueued),
        int(retries),
        int(invisibility),
        int(failures or 0),
        extend is not None,
        None if awaited is None else _text(awaited),
        None if cycle is None else int(cycle),
        None if unknown is None else int(unknown),
        unique is not None,
        token,
    )


def _text(value: bytes) -> str:
    """As it was written; what was damaged since must not hold up the rest."""
    return value.decode(errors="replace")
