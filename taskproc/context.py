"""What a running task knows of itself: `current_task()` below the call, or a parameter annotated `TaskContext`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

if TYPE_CHECKING:
    from taskproc.blocking import BlockingContext
    from taskproc.models import BatchInfo
    from taskproc.processor import TaskProcessor
    from taskproc.records import Attempt

__all__ = [
    "CURRENT",
    "AttemptOutcome",
    "Lease",
    "TaskContext",
    "current_task",
    "enter",
    "from_ms",
    "is_below_task_of",
    "running_task",
    "task_in",
]

AttemptOutcome = Literal["done", "failed", "canceled", "released"]

_current: ContextVar[TaskContext] = ContextVar("taskproc_current_task")


class Lease(Protocol):
    """The right to run the attempt, as its worker keeps it."""

    in_thread: bool

    @property
    def deadline(self) -> datetime: ...

    async def extend(self, by: timedelta) -> bool: ...


class TaskContext:
    """One attempt at a task."""

    __slots__ = ("_attempt", "_lease", "cancel_requested", "outcome", "processor")

    def __init__(self, processor: TaskProcessor, attempt: Attempt, lease: Lease | None) -> None:
        self._attempt = attempt
        self._lease = lease
        self.processor = processor
        self.cancel_requested = False
        """Set when the task was canceled, runs too long, or its worker shuts down: a `def` task should return soon."""
        self.outcome: AttemptOutcome | None = None
        """What came of the attempt, from `on_task_end` on: done, failed, canceled or released (put back uncounted)."""

    @property
    def task_id(self) -> str:
        return self._attempt.id

    @property
    def tenant(self) -> str:
        return self._attempt.tenant

    @property
    def queue(self) -> str:
        return self._attempt.queue

    @property
    def call(self) -> str:
        """The name of the method, `module:Class.method`."""
        return self._attempt.call

    @property
    def topic(self) -> str:
        """What kind of payload `data` is."""
        return self._attempt.topic

    @property
    def data(self) -> bytes:
        """The payload as it was enqueued."""
        return self._attempt.data

    def unseal(self, open_: Callable[[Attempt], bytes]) -> None:
        """Puts what was sealed in the payload's place."""
        self._attempt.data = open_(self._attempt)

    @property
    def batch_id(self) -> str | None:
        """The batch that the task, or continuation, belongs to."""
        return self._attempt.batch_id

    @property
    def schedule_id(self) -> str | None:
        """The schedule of which the task is a cycle."""
        return self._attempt.schedule_id

    @property
    def scheduled_for(self) -> datetime | None:
        """The instant of the schedule's cycle."""
        return None if self._attempt.scheduled_for is None else from_ms(self._attempt.scheduled_for)

    @property
    def scope(self) -> str:
        """The description of the batch or schedule, such as "Import 42"; empty for single tasks."""
        return self._attempt.scope

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1; attempts handed back uncounted do not count."""
        return self._attempt.attempt

    @property
    def retries_left(self) -> int:
        """How many attempts remain if this one fails."""
        return max(self._attempt.retries - self._attempt.attempt, 0)

    @property
    def is_continuation(self) -> bool:
        return self._attempt.awaited is not None

    @property
    def enqueued_at(self) -> datetime:
        return from_ms(self._attempt.enqueued_at)

    @property
    def log_fields(self) -> dict[str, str | None]:
        """What says in a log which task this is: `logger.info(…, extra=ctx.log_fields)`."""
        return self._attempt.log_fields

    @property
    def trace(self) -> str | None:
        """The trace context of who enqueued the task, where that is traced: `traceparent` of W3C's recommendation."""
        return self._attempt.trace

    @property
    def deadline(self) -> datetime:
        """When this attempt is cancelled unless it extends its lock."""
        return self._held().deadline

    async def extend_lock(self, by: timedelta) -> bool:
        """Lets the attempt run until `by` from now, never shorter than it may already. False once its lease is lost."""
        return await self._held().extend(by)

    async def get_batch(self) -> BatchInfo | None:
        """The batch as it is now; None for single tasks, or once its retention is over."""
        return None if self.batch_id is None else await self.processor.get_batch(self.batch_id)

    @property
    def blocking(self) -> BlockingContext:
        """`extend_lock` and `get_batch` for `def` tasks, which run in a thread."""
        from taskproc.blocking import BlockingContext  # noqa: PLC0415 - it builds on this module

        return BlockingContext(self)

    @contextmanager
    def leaving_loop(self) -> Generator[None]:
        """While the attempt runs in a thread it is told of a cancel, not cancelled."""
        lease = self._lease
        if lease is not None:
            lease.in_thread = True
        try:
            yield
        finally:
            if lease is not None:
                lease.in_thread = False

    def _held(self) -> Lease:
        if self._lease is None:
            raise LookupError(f"task {self.task_id} is not run here")
        return self._lease

    def __repr__(self) -> str:
        return (
            f"<TaskContext {self.call} {self.task_id} attempt={self.attempt} tenant={self.tenant} queue={self.queue}>"
        )


class _Current:
    def __repr__(self) -> str:
        return "CURRENT"


CURRENT = cast("TaskContext", cast("Any", _Current()))
"""What a caller passes, or a signature has as default, for a parameter annotated `TaskContext`: it is filled in."""


def current_task() -> TaskContext:
    """The context of the task that runs here; LookupError outside of one."""
    try:
        return _current.get()
    except LookupError:
        raise LookupError(
            "no task runs here: current_task() works below a task's call, in its event loop task or its thread"
        ) from None


def running_task() -> TaskContext | None:
    """The context of the task that runs here, if one does."""
    return _current.get(None)


def task_in(context: Context) -> TaskContext | None:
    """The same of another contextvars context, from any thread."""
    return context.get(_current)


def is_below_task_of(processor: TaskProcessor) -> bool:
    """Whether a task that this processor runs is calling."""
    context = _current.get(None)
    return context is not None and context.processor is processor


def enter(context: TaskContext) -> None:
    """Makes `context` the current one in this contextvars context, which belongs to the attempt alone."""
    _current.set(context)


def from_ms(ms: float) -> datetime:
    """An aware datetime in UTC, from epoch milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC)
