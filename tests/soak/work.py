"""What is known of each task and each batch: what came from producers, and what workers made of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.soak.history import Event

FOREVER = float("inf")
RETRIES = 2


@dataclass(slots=True)
class Attempt:
    """From its start until its end, or the death of its process."""

    start: Event
    ends: float
    how: str = ""
    """done, failed, cancelled; "" when its process died."""
    outcomes: list[Event] = field(default_factory=list[Event])

    @property
    def pid(self) -> int:
        return self.start.pid

    @property
    def was_last(self) -> bool:
        """Whether it has failed, and no other is allowed."""
        return self.how == "failed" and self.start.attempt >= RETRIES

    def counted(self) -> Iterator[Event]:
        """Outcomes after which the task is over."""
        for event in self.outcomes:
            if event.how in ("done", "canceled") or (event.how == "failed" and event.attempt >= RETRIES):
                yield event


@dataclass(slots=True)
class Cancel:
    """Of a task or a batch."""

    asked: float
    told: float = FOREVER
    """When the answer came, if one came."""
    how: str = ""
    """canceled, not canceled; "" when no answer came."""


@dataclass(slots=True)
class Work:
    """What a producer knows of what it has sent: a task, a batch, or more of a batch."""

    sending: Event | None = None
    answer: Event | None = None
    """accepted, maybe or refused; None when its producer died meanwhile."""
    cancel: Cancel | None = None

    @property
    def accepted(self) -> bool:
        return self.answer is not None and self.answer.what == "accepted"

    @property
    def refused(self) -> bool:
        return self.answer is not None and self.answer.what == "refused"

    @property
    def is_canceled(self) -> bool:
        """For certain."""
        return self.cancel is not None and self.cancel.how == "canceled"


@dataclass(slots=True)
class Task(Work):
    """What its producer, and its workers, know of it."""

    name: str = ""
    batch: str = ""
    attempts: list[Attempt] = field(default_factory=list[Attempt])

    @property
    def bad(self) -> bool:
        """Whether it fails for good."""
        return self.name.endswith("!")

    @property
    def mendable(self) -> bool:
        """Whether it fails for good unless somebody mends it."""
        return self.name.endswith("~")

    @property
    def has_ended(self) -> bool:
        """As it has to."""
        return (not self.bad and self.finished("done")) or ((self.bad or self.mendable) and self.finished("failed"))

    def finished(self, how: str, since: float = 0) -> bool:
        """Whether an attempt that began since then has come to an end of its own, after which the task is over."""
        last = RETRIES if how == "failed" else 1
        return any(one.how == how and one.start.attempt >= last and one.start.at >= since for one in self.attempts)

    def counted(self) -> Iterator[tuple[Attempt, Event]]:
        """Outcomes after which the task is over, and whose they are."""
        return ((attempt, event) for attempt in self.attempts for event in attempt.counted())


@dataclass(slots=True)
class Part(Work):
    """What was sent at the beginning of a batch, or appended to it."""

    names: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class Batch(Part):
    """Its first part, what its producer knows of all of it, and the last look at it."""

    id: str = ""
    appended: list[Part] = field(default_factory=list[Part])
    looked: Event | None = None
    in_parts: bool = False
    """Then its first part may be there in part, and not whole."""

    @property
    def parts(self) -> list[Part]:
        return [self, *self.appended]

    @property
    def all_names(self) -> list[str]:
        return [name for part in self.parts for name in part.names]


@dataclass(slots=True)
class Retry:
    """Somebody wants dead tasks to run again: those named, of a batch, or of a queue."""

    asked: Event
    told: float = FOREVER
    """When the answer came, or whoever asked has died."""
    count: int = 0
    """How many do, as far as is known."""

    def is_about(self, task: Task) -> bool:
        if self.asked.names:
            return task.name in self.asked.names
        if self.asked.batch:
            return task.batch == self.asked.batch and task.sending is not None
        return bool(task.attempts) and task.attempts[0].start.queue == self.asked.queue
