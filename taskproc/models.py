"""What a look at the system gives: plain data, usable as FastAPI response models; datetimes are aware, in UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

__all__ = [
    "BatchInfo",
    "BatchState",
    "QueueInfo",
    "ScheduleData",
    "ScheduleInfo",
    "TaskData",
    "TaskInfo",
    "TaskState",
    "WorkerInfo",
]

BatchState = Literal["running", "canceling", "done", "failed", "canceled"]
TaskState = Literal["ready", "leased", "delayed", "dead", "held"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInfo:
    """A batch in one look: `total = done + failed + canceled + remaining`."""

    id: str
    tenant: str
    scope: str
    state: BatchState
    start: datetime
    end: datetime | None
    """Set exactly in the states done, failed and canceled."""
    total: int
    done: int
    failed: int
    canceled: int
    remaining: int
    duration: float
    """Seconds: the sum of its tasks' run times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueInfo:
    """How many tasks a queue has."""

    name: str
    length: int
    """Ready to be run."""
    running: int
    delayed: int
    deadletter: int
    tenants: dict[str, int] = field(default_factory=dict[str, int])
    """In a fair queue: how many tasks of each tenant are ready (the first 1,000 tenants)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """A task that has not ended."""

    task_id: str
    tenant: str
    queue: str
    batch_id: str | None
    topic: str
    call: str
    state: TaskState
    retries: int
    """Failures allowed."""
    attempt: int
    """Of the attempt that runs, ran last or comes next, from 1."""
    retries_left: int
    enqueued_at: datetime
    due_at: datetime | None
    """When a delayed task becomes ready."""
    died_at: datetime | None
    error_type: str | None
    error_message: str | None
    traceback: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A process that runs tasks."""

    id: str
    host: str
    pid: int
    since: datetime
    queues: list[str]
    max_workers: int
    running: int
    version: str
    alive_until: datetime
    """When it counts as dead, unless it shows a sign of life before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInfo:
    """A schedule and its next cycle."""

    id: str
    tenant: str
    queue: str
    scope: str
    cron: str
    timezone: str
    next: datetime
    unique: bool
    expire: timedelta | None
    """How late a cycle's task may be fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleData:
    """A schedule to be: only `id` and `cron` are required."""

    id: str
    cron: str
    """Minute, hour, day of month, month, day of week; seconds may stand in front; several joined by `|`."""
    tenant: str | None = None
    queue: str | None = None
    scope: str = ""
    """Says what it is for, as in "Send hourly email"."""
    timezone: str = "UTC"
    unique: bool = False
    """Skip a cycle while the task of an earlier one has not ended."""
    expire: timedelta | None = None
    """How late a cycle's task may be fetched; later it is skipped."""
    retries: int | None = None
    invisibility: timedelta | None = None


@dataclass(frozen=True, slots=True)
class TaskData:
    """A task that is not a method call: a topic and bytes, for `processor.execute`."""

    topic: str
    data: bytes = b""
