"""What can be said of a call beside its arguments: `on(queue, tenant=…, delay=…, …)`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Self, TypedDict

from taskproc.errors import EnqueueError
from taskproc.names import queue_name, tenant_name

__all__ = [
    "LONGEST",
    "MOST_RETRIES",
    "SHORTEST",
    "WHENS",
    "OnOptions",
    "Options",
    "TaskOptions",
    "When",
    "milliseconds",
]

When = Literal["success", "failed", "canceled", "complete"]
"""The outcome of a batch that a continuation waits for; `complete` is any."""

WHENS = ("success", "failed", "canceled", "complete")

SHORTEST = timedelta(milliseconds=1)
LONGEST = timedelta(days=36_500)
"""Of any duration: Redis counts milliseconds in doubles, and what is due must be a datetime."""
MOST_RETRIES = 1_000_000_000


class TaskOptions(TypedDict, total=False):
    """What `batch.on(…)` takes beside the queue."""

    delay: timedelta | None
    delay_until: datetime | None
    """Aware; what is past means now."""
    retries: int | None
    """How many failures are allowed."""
    invisibility: timedelta | None
    auto_extend: bool | None


class OnOptions(TaskOptions, total=False):
    """What `tasks.on(…)` takes beside the queue."""

    tenant: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Checked when they are said; None leaves a choice to `@background`, the batch or the settings."""

    queue: str | None = None
    tenant: str | None = None
    delay: timedelta | None = None
    delay_until: datetime | None = None
    retries: int | None = None
    invisibility: timedelta | None = None
    auto_extend: bool | None = None

    @classmethod
    def said(cls, queue: str | None, options: OnOptions) -> Self:
        """What `on(…)` was given; EnqueueError when there is no such option."""
        for name in options.keys() - OnOptions.__optional_keys__:
            raise EnqueueError(f"on({name}=…): there is no such option; there are {', '.join(cls.__slots__)}")
        return cls(queue=queue, **options)

    def __post_init__(self) -> None:
        if self.queue is not None:
            queue_name(self.queue)
        if self.tenant is not None:
            tenant_name(self.tenant)
        self._check_delay()
        if self.retries is not None and not (type(self.retries) is int and 1 <= self.retries <= MOST_RETRIES):
            raise EnqueueError(
                f"retries={self.retries!r}: it counts the failures allowed, from 1 to {MOST_RETRIES:,}; for a single "
                "attempt use 1"
            )
        if self.invisibility is not None and not (
            isinstance(self.invisibility, timedelta) and SHORTEST <= self.invisibility <= LONGEST
        ):
            raise EnqueueError(
                f"invisibility={self.invisibility!r} must be a timedelta, from a millisecond to a hundred years"
            )
        if self.auto_extend is not None and not isinstance(self.auto_extend, bool):
            raise EnqueueError(f"auto_extend={self.auto_extend!r} must be True or False")

    def _check_delay(self) -> None:
        if self.delay is not None and self.delay_until is not None:
            raise EnqueueError("delay and delay_until are both given: say one of them")
        if self.delay is not None and not (isinstance(self.delay, timedelta) and self.delay <= LONGEST):
            raise EnqueueError(
                f"delay={self.delay!r} must be a timedelta of at most a hundred years, such as timedelta(seconds=5)"
            )
        if self.delay_until is None:
            return
        if not isinstance(self.delay_until, datetime):
            raise EnqueueError(f"delay_until={self.delay_until!r} must be an aware datetime")
        if self.delay_until.utcoffset() is None:
            raise EnqueueError(
                f"delay_until={self.delay_until!r} has no time zone: which instant is meant? Pass datetime.now(UTC) + …"
            )
        if self.delay_until - datetime.now(UTC) > LONGEST:
            raise EnqueueError(f"delay_until={self.delay_until} is more than a hundred years away")

    @property
    def after(self) -> int | None:
        """`delay` in milliseconds; None when there is none, or it is over."""
        ms = None if self.delay is None else milliseconds(self.delay)
        return ms if ms is not None and ms > 0 else None

    @property
    def at(self) -> int | None:
        """`delay_until` as epoch milliseconds."""
        return None if self.delay_until is None else int(self.delay_until.timestamp() * 1000)


def milliseconds(duration: timedelta) -> int:
    """The duration in whole milliseconds."""
    return duration // timedelta(milliseconds=1)
