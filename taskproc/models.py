"""What a look at the system gives: plain data, usable as FastAPI response models; datetimes are aware, in UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

__all__ = [
    "AttemptInfo",
    "AttemptOutcome",
    "AuditEntry",
    "BatchInfo",
    "BatchState",
    "DeadGroup",
    "PauseInfo",
    "QueueInfo",
    "ScheduleData",
    "ScheduleInfo",
    "StackFrame",
    "TaskData",
    "TaskInfo",
    "TaskStack",
    "TaskState",
    "WorkerInfo",
    "WorkerStacks",
]

BatchState = Literal["running", "canceling", "done", "failed", "canceled"]
TaskState = Literal["ready", "leased", "delayed", "dead", "held"]
AttemptOutcome = Literal["running", "failed", "released", "lost"]


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
    oldest: datetime | None = None
    """Since when the task that is next in line is ready."""
    paused: bool = False
    """By itself: everything, or a tenant, may be paused too, see `get_pauses()`."""


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
    worker: str | None = None
    """The one that runs it."""
    started_at: datetime | None = None
    """When that fetched it."""
    lease_ends: datetime | None = None
    awaits: str | None = None
    """Of a continuation: the end of its batch that starts it, success, failed, canceled or complete (any)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptInfo:
    """One attempt to run a task that has not ended. Attempts are kept as long as their task: the last 20."""

    number: int
    """From 1; those that were given back or lost count here too."""
    outcome: AttemptOutcome
    worker: str
    started: datetime
    ended: datetime | None
    error_type: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadGroup:
    """Dead tasks of one queue that failed alike: same call, same error but for numbers and names in its message."""

    call: str
    error_type: str
    error_message: str
    """Of the one that died last."""
    count: int
    first: datetime
    """When the first of them died."""
    last: datetime
    task_ids: list[str]
    """Those that died last, first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseInfo:
    """A pause of a queue, of a tenant, or, where neither is named, of everything."""

    queue: str | None
    tenant: str | None
    since: datetime
    until: datetime | None
    reason: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """What somebody did by hand."""

    at: datetime
    by: str
    act: str
    target: str
    tenant: str | None
    detail: str


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
    seen: datetime | None = None
    """Its last sign of life."""
    lag: float | None = None
    """Seconds by which its event loop was late of late; long ones come from tasks that block it."""
    draining: bool = False
    """It fetches no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackFrame:
    """A place in the code. As text it is `file:line function`, and below it the line itself."""

    file: str
    """Relative to where packages are installed, or to the worker's directory, if it is below one of those."""
    line: int
    function: str
    source: str
    """What stands there; empty where that cannot be read."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line} {self.function}"
        return f"{place}\n    {self.source}" if self.source else place


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStack:
    """Where a running attempt was."""

    task_id: str
    call: str
    """Or the topic, if it is no method call."""
    tenant: str
    seconds: float
    """For how long it had run."""
    in_thread: bool
    """It is a `def` task, in a thread of its own."""
    holds_loop: bool
    """The event loop ran it at that moment, and nothing else."""
    frames: list[StackFrame]
    """Outermost first, without what is around each task; the innermost 50."""
    left_out: int
    """Outer frames beyond those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStacks:
    """What a worker was doing, at one moment."""

    worker: str
    taken: datetime
    late: float
    """Seconds by which its event loop was late: long if something blocked it."""
    loop: list[StackFrame]
    """Where the event loop was, if it ran something that belongs to none of `tasks`; else empty."""
    tasks: list[TaskStack]
    """The one that holds the event loop first, then what has run longest; at most 100, and 256 kB."""
    more: int
    """Tasks beyond those."""


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
    paused: bool = False
    last: datetime | None = None
    """Instant of the cycle that was started last."""
    drift: float | None = None
    """Seconds after its instant at which that cycle was started."""
    outcome: str | None = None
    """Of the last cycle that ended: done, failed or canceled."""
    ended: datetime | None = None
    """When that was."""
    declared_by: str | None = None
    """`app_name` of the application whose code declares it."""


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
