"""The history of a soak, sorted: what is known of each task, each batch and each fault."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.soak.history import Event

FOREVER = float("inf")
LATE = 0.5  # seconds between what happens to a process and the line in which it says so, on a busy machine
BACK = 1.0  # seconds until all goes on after a fault, or a start
UNHEARD = 0.8  # seconds of silence beside a fault: since the last beat before it, and until the next one after it
FETCHED = 2.0  # seconds that a fetch may be under way; then its worker does not wait for it any more
RETRIES = 2

FORGETTING = ("rewind", "failover", "primary killed", "primary frozen")
"""The server, or the one that takes its place, does not know any more what it has acknowledged since."""
AWAY = ("restart", "standstill", "pause", "stall", *FORGETTING)
"""Nothing is handed out, or this machine has too much to do."""
DELAYING = ("frozen", "cut off", "standstill", "stall", "primary frozen")
"""What has been handed out before may arrive after."""
SILENCING = ("frozen", "cut off")
"""Others take a process for dead."""
HARMLESS = ("pause", "paused")
"""No reply is lost."""


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
    """What a producer knows of what it has sent: a task, or a batch."""

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

    def finished(self, how: str) -> bool:
        """Whether an attempt has come to an end of its own, after which the task is over."""
        last = RETRIES if how == "failed" else 1
        return any(attempt.how == how and attempt.start.attempt >= last for attempt in self.attempts)

    def counted(self) -> Iterator[tuple[Attempt, Event]]:
        """Outcomes after which the task is over, and whose they are."""
        return ((attempt, event) for attempt in self.attempts for event in attempt.counted())


@dataclass(slots=True)
class Batch(Work):
    """What its producer knows, and the last look at it."""

    id: str = ""
    names: Sequence[str] = ()
    looked: Event | None = None
    in_parts: bool = False
    """Then it may be there in part, and not whole."""


class Books:
    """A history, sorted."""

    def __init__(self, history: Iterable[Event], worker_timeout: float) -> None:
        self.events = list(history)
        self.worker_timeout = worker_timeout
        self.faults = [event for event in self.events if event.what == "fault"]
        self.revisions = {event.pid: event.how for event in self.events if event.what == "began"}
        self._workers = {
            event.pid: event.at for event in self.events if event.what == "began" and event.name == "worker"
        }
        self.tasks: dict[str, Task] = {}
        self.batches: dict[str, Batch] = {}
        self._deaths = {fault.pid: fault.until for fault in self.faults if fault.how == "killed"}
        for event in self.events:
            self._produced(event)
        self._attempts()

    def _produced(self, event: Event) -> None:
        if event.what == "sending":
            if event.batch:
                in_parts = event.how == "parts"
                self.batches[event.batch] = Batch(event, id=event.batch, names=event.names, in_parts=in_parts)
            self.tasks |= {name: Task(event, name=name, batch=event.batch) for name in event.names}
        batch = self.batches.get(event.batch)
        if event.what == "looked" and batch is not None:
            batch.looked = event
        for one in self._about(event, batch):
            if event.what in ("accepted", "maybe", "refused"):
                one.answer = event
            elif event.what == "canceling":
                one.cancel = Cancel(event.at)
            elif event.what in ("canceled", "not canceled") and one.cancel is not None:
                one.cancel.told, one.cancel.how = event.at, event.what

    def _about(self, event: Event, batch: Batch | None) -> Iterator[Task | Batch]:
        """What a producer's line is about: a task, or a batch with its tasks."""
        if batch is not None:
            yield batch
        for name in batch.names if batch is not None else event.names:
            if name in self.tasks:
                yield self.tasks[name]

    def _attempts(self) -> None:
        by_token: dict[tuple[str, str], Attempt] = {}
        self.twice: list[Event] = []
        """Attempts that were started under a token of another."""
        self.given_back: Counter[str] = Counter()
        """How often a task was fetched and given back without a start, by its id."""
        for event in self.events:
            found = by_token.get((event.id, event.token)) if event.token else None
            if event.what == "started":
                if found is not None:
                    self.twice.append(event)
                by_token[event.id, event.token] = attempt = Attempt(event, self._deaths.get(event.pid, FOREVER))
                self.tasks.setdefault(event.name, Task(name=event.name, batch=event.batch)).attempts.append(attempt)
            elif event.what == "ended" and found is not None:
                found.ends, found.how = event.at, event.how
            elif event.what == "outcome" and found is not None:
                found.outcomes.append(event)
            elif event.what == "outcome" and event.how == "released":
                self.given_back[event.id] += 1

    def cycles(self) -> dict[str, dict[int, Task]]:
        """Of each schedule: its tasks by their instants."""
        found: dict[str, dict[int, Task]] = defaultdict(dict)
        for name, task in self.tasks.items():
            schedule, at, instant = name.partition("@")
            if at:
                found[schedule][int(instant)] = task
        return found

    # What explains what

    def during(self, kinds: Sequence[str], since: float, until: float, pid: int = 0) -> str:
        """The first of these faults of the server, or of a process, that overlaps with the time; or ""."""
        for fault in self.faults:
            if fault.how in kinds and fault.pid in (0, pid) and fault.at <= until and fault.until >= since:
                return fault.how
        return ""

    def was_rewound(self, since: float, until: float) -> bool:
        """Whether the server may have forgotten what it did in that time."""
        return bool(self.during(FORGETTING, since, until))

    def away(self, since: float, until: float) -> float:
        """For how much of that time nothing was handed out, seconds; faults that overlap count both."""
        return sum(max(min(fault.until, until) - max(fault.at, since), 0) for fault in self.faults if fault.how in AWAY)

    def somebody_works(self, at: float) -> bool:
        """Whether there is a worker that is up, and that nothing has befallen just then."""
        return any(began + BACK <= at and not self._is_out(pid, at) for pid, began in self._workers.items())

    def _is_out(self, pid: int, at: float) -> bool:
        for fault in self.faults:
            until = FOREVER if fault.how in ("killed", "stopped") else fault.until + BACK
            if fault.pid == pid and fault.at - LATE <= at <= until:
                return True
        return False

    def lost_reply(self, pid: int, since: float, until: float) -> bool:
        """Whether anything may have kept a reply from a process, so that it has asked again."""
        return any(
            fault.how not in HARMLESS and fault.pid in (0, pid) and fault.at <= until and fault.until >= since
            for fault in self.faults
        )

    def answered(self, work: Work) -> float:
        """When its producer heard of it, or died."""
        if work.answer is not None:
            return work.answer.at
        return self._deaths.get(work.sending.pid, FOREVER) if work.sending is not None else FOREVER

    def forgotten(self, work: Work) -> bool:
        """Whether the server may have forgotten that it accepted this."""
        return work.sending is not None and self.was_rewound(work.sending.at, self.answered(work))

    def may_be_canceled(self, work: Work) -> bool:
        """Whether somebody has canceled it, for all that is known."""
        cancel = work.cancel
        return cancel is not None and (cancel.how != "not canceled" or self.was_rewound(cancel.asked, cancel.told))

    def may_be_abandoned(self, task: Task) -> bool:
        """Whether the library may have canceled its batch: a producer does so when it could not send all, and workers
        when it did not come back to a batch that is open, perhaps again because the server forgot its end.
        """
        batch = self.batches.get(task.batch)
        return batch is not None and (not batch.accepted or (batch.in_parts and self.forgotten(batch)))

    def seemed_dead(self, pid: int, since: float, until: float) -> str:
        """Whether a process was frozen or cut off then, so that with what else befell it nobody heard of it for as
        long as it takes to count as dead.
        """
        causes = [fault for fault in self.faults if fault.pid == pid and fault.how in SILENCING]
        for begin, end in self._silences(pid) if causes else ():
            if end - begin + UNHEARD >= self.worker_timeout and begin <= until and end + LATE >= since:
                for cause in causes:
                    if begin <= cause.at <= end:
                        return cause.how
        return ""

    def _silences(self, pid: int) -> list[tuple[float, float]]:
        """When a process was not heard of: what befell it or the server, taken together where it is close."""
        found: list[tuple[float, float]] = []
        for fault in self.faults:
            if fault.pid not in (0, pid) or fault.how in HARMLESS:
                continue
            if found and fault.at <= found[-1][1] + UNHEARD:
                found[-1] = (found[-1][0], max(fault.until, found[-1][1]))
            else:
                found.append((fault.at, fault.until))
        return found

    def came_late(self, attempt: Attempt) -> str:
        """Whether it was handed out and taken back before it started, in a process that seemed dead meanwhile."""
        return self.seemed_dead(attempt.pid, attempt.start.at - LATE, attempt.start.at)

    def may_overlap(self, first: Attempt, second: Attempt) -> bool:
        """Whether somebody can have taken over from the first attempt while it went on."""
        since = second.start.at
        return bool(
            self.was_rewound(first.start.at - FETCHED, since)
            or self.seemed_dead(first.pid, first.start.at, since)
            or self.came_late(second)
        )
