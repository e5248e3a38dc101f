"""What goes to Redis and comes back from it, as typed records; the short names are those of docs/architecture.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import field

from taskproc.failure import one_line

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
    "attempts_from",
    "batch_of",
]

CALL = "call.v1"
"""The topic of method calls as this version writes them; records of this topic do not store it."""

Settled = Literal["done", "failed", "canceled", "released", "stale"]


class NewTask(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
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
    trace: str | None = field(name="j", default=None)


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
    more: bool
    """There may be more that are due."""


class Settlement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
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


class Attempt(msgspec.Struct, kw_only=True, gc=False):
    """A task leased to this worker: its record, its data, and the token of the lease."""

    id: str
    queue: str = field(name="q")
    scope: str = field(name="b", default="")
    tenant: str = field(name="t")
    call: str = field(name="c")
    data: bytes = b""
    topic: str = field(name="p", default=CALL)
    enqueued_at: int = field(name="e")
    ready_since: int | None = field(name="r", default=None)
    """If that is not when it was enqueued."""
    retries: int = field(name="n")
    invisibility: int = field(name="i")
    failures: int = field(name="f", default=0)
    auto_extend: bool = field(name="x", default=False)
    awaited: str | None = field(name="w", default=None)
    scheduled_for: int | None = field(name="m", default=None)
    unknown_since: int | None = field(name="u", default=None)
    unique: bool = field(name="g", default=False)
    damaged: bool = False
    """The record could not be read: what it says to do is not known."""
    trace: str | None = field(name="j", default=None)
    token: str = ""

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
    def origin(self) -> str:
        """Where the task belongs, as far as it is known when it is sent: `batch.`, `schedule:`, or else the id."""
        schedule, colon, _ = self.id.rpartition(":")
        if colon:
            return schedule + colon
        return f"{self.batch_id}." if self.batch_id else self.id

    @property
    def log_fields(self) -> dict[str, str | None]:
        """Which task this is, for log records."""
        return {
            "task_id": one_line(self.id),
            "batch_id": self.batch_id and one_line(self.batch_id),
            "tenant": one_line(self.tenant),
            "queue": one_line(self.queue),
            "call": one_line(self.call),
        }

    @property
    def attempt(self) -> int:
        return self.failures + 1


def batch_of(task_id: str) -> str | None:
    """The batch of a task is part of its id."""
    head, dot, _ = task_id.partition(".")
    return head if dot and ":" not in task_id else None


_read = msgspec.msgpack.Decoder(Attempt, strict=False).decode  # numbers are kept as text


class _Named(msgspec.Struct):
    """All that is needed of a record to settle its task."""

    id: str


_read_id = msgspec.msgpack.Decoder(_Named).decode


def attempts_from(rows: Sequence[bytes], token: str) -> list[Attempt]:
    """The attempts of which `tell` in `_batch.lua` told: record and data of each."""
    attempts: list[Attempt] = []
    for record, data in zip(rows[::2], rows[1::2], strict=True):
        try:
            attempt = _read(record)
        except (msgspec.MsgspecError, ValueError):
            damaged = _damaged(record)
            if damaged is None:
                continue
            attempt = damaged
        attempt.data, attempt.token = data, token
        attempts.append(attempt)
    return attempts


def _damaged(record: bytes) -> Attempt | None:
    """What can be read of a record that cannot be read: it becomes a dead letter, and nothing is called. None if the
    id, that only somebody else can have written, is no text: nothing can be said of it, and its lease runs out.
    """
    try:
        id_ = _read_id(record).id
    except (msgspec.MsgspecError, ValueError):
        return None
    return Attempt(id=id_, queue="", tenant="", call="", enqueued_at=0, retries=0, invisibility=60_000, damaged=True)
