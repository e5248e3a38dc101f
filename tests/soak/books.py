"""The history of a soak, sorted: what is known of each task, each batch and each fault."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from tests.soak.history import Event
from tests.soak.work import FOREVER, Attempt, Batch, Cancel, Part, Retry, Task, Work

LATE = 0.5  # seconds between what happens to a process and the line in which it says so, on a busy machine
BACK = 1.0  # seconds until all goes on after a fault, or a start
UNHEARD = 0.8  # seconds of silence beside a fault: since the last beat before it, and until the next one after it
FETCHED = 2.0  # seconds that a fetch may be under way; then its worker does not wait for it any more

FORGETTING = ("rewind", "failover", "primary killed", "primary frozen")
"""The server, or the one that takes its place, does not know any more what it has acknowledged since."""
AWAY = ("restart", "standstill", "slot moved", "pause", "stall", *FORGETTING)
"""Nothing is handed out, or this machine has too much to do."""
DELAYING = ("frozen", "cut off", "standstill", "slot moved", "stall", "primary frozen")
"""What has been handed out before may arrive after."""
SILENCING = ("frozen", "cut off")
"""Others take a process for dead."""
PAUSES = ("pause", "pause of a queue", "pause of a tenant")
"""Nothing of it is handed out."""
THREAD_ENDS = 0.5
"""Seconds that a thread may take to end when it is told to, on a busy machine."""
HARMLESS = (*PAUSES, "paused")
"""No reply is lost."""


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
        self.retries: list[Retry] = []
        self._deaths = {fault.pid: fault.until for fault in self.faults if fault.how == "killed"}
        for event in self.events:
            self._produced(event)
        self._attempts()

    def _produced(self, event: Event) -> None:
        batch = self.batches.get(event.batch)
        if event.what == "sending":
            self._sent(event, batch)
        elif event.what in ("accepted", "maybe", "refused"):
            for one in self._answered(event, batch):
                one.answer = event
        elif event.what in ("canceling", "canceled", "not canceled"):
            self._canceled(event, batch)
        elif event.what in ("retrying", "retried"):
            self._retried(event)
        elif event.what == "looked" and batch is not None:
            batch.looked = event

    def _sent(self, event: Event, batch: Batch | None) -> None:
        cancel = None
        if batch is not None:
            batch.appended.append(Part(event, names=event.names))
            cancel = batch.cancel
        elif event.batch:
            in_parts = event.how == "parts"
            self.batches[event.batch] = Batch(event, id=event.batch, names=event.names, in_parts=in_parts)
        self.tasks |= {name: Task(event, cancel=cancel, name=name, batch=event.batch) for name in event.names}

    def _answered(self, event: Event, batch: Batch | None) -> Iterator[Work]:
        """What a producer was told of: a task, or the part of a batch that it has sent last, with its tasks."""
        if batch is not None:
            yield batch.parts[-1]
        for name in batch.parts[-1].names if batch is not None else event.names:
            if name in self.tasks:
                yield self.tasks[name]

    def _canceled(self, event: Event, batch: Batch | None) -> None:
        cancel = Cancel(event.at)
        for one in self._about(event, batch):
            if event.what == "canceling":
                one.cancel = cancel
            elif one.cancel is not None:
                one.cancel.told, one.cancel.how = event.at, event.what

    def _retried(self, event: Event) -> None:
        if event.what == "retrying":
            self.retries.append(Retry(event, self._deaths.get(event.pid, FOREVER)))
        for retry in self.retries:
            if event.what == "retried" and retry.asked.token == event.token:
                retry.told, retry.count = event.at, sum(event.counts or [])

    def _about(self, event: Event, batch: Batch | None) -> Iterator[Work]:
        """What is canceled: a task, or a batch with its tasks."""
        if batch is not None:
            yield batch
        for name in batch.all_names if batch is not None else event.names:
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

    def undone(self, attempt: Attempt, outcome: Event) -> str:
        """Whether the server may have forgotten how an attempt ended; or that it ever began, and a worker that had no
        answer took what it meant for what happened.
        """
        forgot = self.during(FORGETTING, attempt.start.at - FETCHED, attempt.start.at)
        since = min(attempt.ends, outcome.at)
        meant = forgot and self.lost_reply(attempt.pid, since - LATE, outcome.at)
        return self.during(FORGETTING, since, outcome.at) or (forgot if meant else "")

    def knows_as_running(self, attempt: Attempt) -> float:
        """Since when the server takes an attempt for running that has ended: it went back to a moment between; or 0."""
        began, ended = attempt.start.at, attempt.ends
        went_back = (one for one in self.faults if one.how in FORGETTING and began < one.at <= ended <= one.until)
        return max((one.until for one in went_back), default=0.0)

    def away(self, since: float, attempt: Attempt) -> float:
        """For how much of the time before it an attempt could not be handed out, seconds; faults that overlap count
        both.
        """
        return sum(
            max(min(fault.until, attempt.start.at) - max(fault.at, since), 0)
            for fault in self.faults
            if fault.how in AWAY or (fault.how in PAUSES and is_in(fault, attempt))
        )

    def retried(self, task: Task, since: float, until: float) -> Retry | None:
        """The last retry by hand, of this task among others, that was perhaps carried out between these times."""
        found = [one for one in self.retries if one.asked.at <= until and one.told >= since and one.is_about(task)]
        return found[-1] if found else None

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
        """Whether the library may have canceled its batch: a producer does so when it could not send all, or all that
        it appends, and workers when it did not come back to a batch that is open, perhaps again because the server
        forgot its end.
        """
        batch = self.batches.get(task.batch)
        return batch is not None and (
            any(not part.accepted and not part.refused for part in batch.parts)
            or (batch.refused or (batch.in_parts and self.forgotten(batch)))
        )

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
        """Whether somebody can have taken over from the first attempt while it went on. A thread that is told to end is
        handed back at once, and learns of it a moment later.
        """
        since = second.start.at
        if first.ends - since < THREAD_ENDS and self.during(("stopped",), first.start.at, since, first.pid):
            return True
        return bool(
            self.was_rewound(first.start.at - FETCHED, since)
            or self.seemed_dead(first.pid, first.start.at, since)
            or self.came_late(second)
        )


def is_in(pause: Event, attempt: Attempt) -> bool:
    """Whether a pause is about this attempt: it is of everything, or of its queue or tenant."""
    return pause.queue in ("", attempt.start.queue) and pause.tenant in ("", attempt.start.tenant)
