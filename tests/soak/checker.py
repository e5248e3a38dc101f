"""Reads the history of a soak and finds what must not have happened."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.faults.kit import Event

SLACK = 1.5  # seconds by which a process may write late what it saw
OUTAGE = 4.0  # seconds after the server's return until schedules go on


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that was done to a process; pid 0: to the server, so to all."""

    kind: str
    pid: int
    since: float
    until: float


@dataclass(slots=True, kw_only=True)
class Work:
    """A single task, or a batch with its tasks, as its producer knows it."""

    names: Sequence[str]
    accepted: bool
    """False: not known."""
    canceled_at: float | None = None
    counts: tuple[int, int, int, int] | None = None
    """Of a batch at the end: total, done, failed, canceled."""
    continuation: str = ""


@dataclass(slots=True, kw_only=True)
class History:
    """All that all processes wrote down."""

    work: list[Work] = field(default_factory=list[Work])
    events: list[Event] = field(default_factory=list[Event])
    faults: list[Fault] = field(default_factory=list[Fault])
    scheduled: tuple[float, float] | None = None
    """From when to when there was a schedule for every second."""


@dataclass(slots=True)
class Verdict:
    """What is wrong, and the duplicates that a fault explains."""

    wrong: list[str]
    duplicates: Counter[str]
    ran: int


def check(history: History) -> Verdict:
    """Looks at everything."""
    duplicates: Counter[str] = Counter()
    wrong = [
        *_lost(history),
        *_unexpected(history),
        *_after_cancel(history),
        *_twice(history, duplicates),
        *_continuations(history),
        *_counters(history),
        *_cycles(history),
    ]
    return Verdict(wrong, duplicates, sum(event.what == "ends" for event in history.events))


def _names(history: History, what: str) -> set[str]:
    return {event.name for event in history.events if event.what == what}


def _lost(history: History) -> Iterator[str]:
    ended = _names(history, "ends")
    for work in history.work:
        if work.accepted and work.canceled_at is None:
            yield from (f"lost: {name}" for name in work.names if name not in ended)


def _unexpected(history: History) -> Iterator[str]:
    known = {name for work in history.work for name in (*work.names, work.continuation)}
    yield from (f"unexpected: {name}" for name in sorted(_names(history, "begins") - known))


def _after_cancel(history: History) -> Iterator[str]:
    canceled = {name: work.canceled_at for work in history.work for name in work.names if work.canceled_at is not None}
    for event in history.events:
        at = canceled.get(event.name)
        late = event.what == "begins" and at is not None and event.at > at + SLACK
        if late and at is not None and not _explained(history, event.pid, at - SLACK, event.at):
            yield f"begun {event.at - at:.1f} s after its cancel: {event.name}"


def _twice(history: History, duplicates: Counter[str]) -> Iterator[str]:
    """A task that ended more than once: some fault came between its first beginning and its last end."""
    ends: dict[str, list[Event]] = defaultdict(list)
    begins: dict[str, list[Event]] = defaultdict(list)
    for event in history.events:
        (ends if event.what == "ends" else begins)[event.name].append(event)
    for name, events in ends.items():
        if len(events) < 2:
            continue
        first = min(event.at for event in begins[name])
        pids = {event.pid for event in (*begins[name], *events)}  # whoever was frozen or cut off may end last
        reason = next(filter(None, (_explained(history, pid, first - SLACK, events[-1].at) for pid in pids)), "")
        if reason:
            duplicates[reason] += len(events) - 1
        else:
            yield f"ran {len(events)} times, without a reason: {name}"


def _continuations(history: History) -> Iterator[str]:
    begun, ended = Counter(e.name for e in history.events if e.what == "begins"), _names(history, "ends")
    for work in history.work:
        if not work.continuation or work.counts is None:
            continue
        succeeded = work.counts[0] == work.counts[1]
        if succeeded and work.continuation not in ended:
            yield f"never continued: {work.continuation}"
        if not succeeded and begun[work.continuation]:
            yield f"continued though it did not succeed: {work.continuation}"


def _counters(history: History) -> Iterator[str]:
    for work in history.work:
        if work.counts is None:
            continue
        total, done, failed, canceled = work.counts
        if total != len(work.names) or done + failed + canceled != total or failed:
            yield f"counters are off: {work.counts} of {len(work.names)}, {work.names[0]}"
        if canceled and work.canceled_at is None:
            yield f"counted as canceled, but nobody canceled it: {work.names[0]}"


def _cycles(history: History) -> Iterator[str]:
    ids: dict[int, set[str]] = defaultdict(set)
    for event in history.events:
        if event.what == "cycle":
            instant, _, id_ = event.name.partition("@")
            ids[int(instant)].add(id_)
    yield from (f"two tasks for one cycle: {instant}" for instant, found in ids.items() if len(found) > 1)
    if history.scheduled is None:
        return
    since, until = history.scheduled
    for second in range(int(since) + 2, int(until) - 1):
        if second not in ids and not _during(history, second):
            yield f"a cycle is missing: {second}"


def _explained(history: History, pid: int, since: float, until: float) -> str:
    """The kind of a fault of this process, or of the server, that overlaps with the time; "" without one."""
    for fault in history.faults:
        if fault.pid in (0, pid) and fault.since <= until and fault.until + SLACK >= since:
            return fault.kind
    return ""


def _during(history: History, instant: int) -> bool:
    """Whether anything was wrong with anybody then: a cycle that nobody can start in time is not started late."""
    return any(fault.since - 2 <= instant <= fault.until + OUTAGE for fault in history.faults)
