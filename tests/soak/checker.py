"""Reads the history of a soak and finds what must not have happened.

Rules go by what is certain: a request was executed between the line before it and the line after its answer. A fault
excuses only what it can have caused, in the process that it struck, at that time.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations, pairwise

from tests.soak.batches import check_batches
from tests.soak.books import FETCHED, FORGETTING, LATE, Books
from tests.soak.cycles import check_cycles
from tests.soak.history import Event
from tests.soak.steering import check_pauses, check_retries, was_under_way
from tests.soak.verdict import Verdict
from tests.soak.work import RETRIES, Attempt, Cancel, Retry, Task

MOST_GIVEN_BACK = 50
STARTS_WITHIN = 20.0  # seconds, not counting those in which the server was away: delays, and take-backs, are shorter
AGAIN_WITHIN = 4.0  # seconds, likewise, for what has a worker that lives
CONTINUATIONS = ("success", "failed", "canceled", "complete")
REPEATED = "enqueue repeated"
BREAKING = (
    "frozen", "cut off", "lost replies", "closed", "restart", "standstill", "slot moved", "killed clients", "stall",
)  # fmt: skip
"""A worker that is told to stop may not get its last word through."""


def check(history: Iterable[Event], worker_timeout: float) -> Verdict:
    """Looks at everything."""
    books = Books(history, worker_timeout)
    attempts = Counter(books.revisions.get(one.pid, "?") for task in books.tasks.values() for one in task.attempts)
    verdict = Verdict([], len(books.tasks), attempts, Counter(fault.how for fault in books.faults))
    verdict.faults.pop("paused", None)
    for rule in (_unexpected, _idly, check_pauses, check_retries, check_batches, check_cycles):
        verdict.wrong += rule(books, verdict)
    for task in books.tasks.values():
        task.attempts.sort(key=lambda attempt: attempt.start.at)
        for each in (
            _accepted,
            _lost,
            _canceled,
            _twice,
            _numbered,
            _repeated,
            _overlapping,
            _taken_over,
            _waited,
            _forgotten_end,
        ):
            verdict.wrong += each(books, task, verdict)
    return verdict


# What came from producers


def _accepted(_books: Books, task: Task, _verdict: Verdict) -> Iterator[str]:
    """A call is one task; one that was refused does not run."""
    if len({attempt.start.id for attempt in task.attempts}) > 1:
        yield f"accepted twice, under several ids: {task.name}"
    if task.refused and task.attempts:
        yield f"run though it was refused: {task.name}"
    if task.answer and task.answer.id and any(one.start.id != task.answer.id for one in task.attempts):
        yield f"run under another id than its producer was told: {task.name}"


def _unexpected(books: Books, _verdict: Verdict) -> Iterator[str]:
    known = {f"{id_}.{when}" for id_ in books.batches for when in CONTINUATIONS}
    schedules = {event.id for event in books.events if event.what == "scheduled"}
    for task in books.tasks.values():
        if task.sending is None and task.name not in known and task.name.partition("@")[0] not in schedules:
            yield f"run though nobody enqueued it: {task.name}"


def _lost(books: Books, task: Task, verdict: Verdict) -> Iterator[str]:
    """Accepted, not canceled, and never run to an end."""
    verdict.looked_at["accepted tasks"] += task.accepted
    if not task.accepted or books.may_be_canceled(task) or task.has_ended:
        return
    if books.forgotten(task):
        verdict.forgotten["tasks"] += 1
    else:
        yield f"lost: {task.name}"


def _waited(books: Books, task: Task, _verdict: Verdict) -> Iterator[str]:
    """What is ready starts soon, and so does what a process has left behind. What nobody sent may be sent once more: a
    continuation, when the end of its batch was forgotten.
    """
    since = [books.answered(task)] if task.accepted else [one.start.at for one in task.attempts[:1]]
    since += [_ready_again(books, task, *pair) for pair in pairwise(task.attempts)]
    for ready, attempt in zip(since, task.attempts, strict=False):
        waited = attempt.start.at - ready
        if waited <= STARTS_WITHIN or waited - books.away(ready, attempt) <= STARTS_WITHIN:
            continue
        if task.sending is not None or not books.was_rewound(ready, attempt.start.at):
            yield f"started only after {waited:.1f} s: {task.name}"


def _forgotten_end(books: Books, task: Task, verdict: Verdict) -> Iterator[str]:
    """What a worker has handed in, and the server takes for running because it forgot that, starts again soon: the
    worker says that it does not hold it.
    """
    for first, second in pairwise(task.attempts):
        until = second.start.at
        known_again = books.knows_as_running(first) if any(first.counted()) else 0
        gone = books.during(("killed", "stopped"), first.ends, until, first.pid)
        if not known_again or gone or books.seemed_dead(first.pid, first.ends, until):
            continue
        verdict.looked_at["forgotten ends"] += 1
        waited = until - known_again - books.away(known_again, second)
        if waited > AGAIN_WITHIN:
            yield f"its end was forgotten, and it started again only after {waited:.1f} s: {task.name}"


def _ready_again(books: Books, task: Task, first: Attempt, second: Attempt) -> float:
    """When an attempt has ended, or a dead task was retried: perhaps once more, if the server forgot that it was."""
    has_died = any(one.was_last and one.ends <= second.start.at for one in task.attempts)
    retry = books.retried(task, first.ends, second.start.at) if has_died and second.start.attempt == 1 else None
    return first.ends if retry is None else min(retry.told, second.start.at)


# Cancels


def _canceled(books: Books, task: Task, verdict: Verdict) -> Iterator[str]:
    """After a cancel was acknowledged nothing of it starts, and nothing that ends then counts otherwise."""
    cancel = task.cancel if task.is_canceled else None
    if cancel is not None and not books.was_rewound(cancel.asked, cancel.told):
        verdict.looked_at["canceled tasks"] += 1
        for attempt in task.attempts:
            yield from _after_cancel(books, task, attempt, cancel)
    for attempt in task.attempts if not _somebody_canceled(books, task) else ():
        if any(event.how == "canceled" for event in attempt.outcomes):
            yield f"counted as canceled, but nobody canceled it: {task.name}"


def _after_cancel(books: Books, task: Task, attempt: Attempt, cancel: Cancel) -> Iterator[str]:
    if attempt.start.at > cancel.told + LATE and not was_under_way(books, attempt):
        yield f"started {attempt.start.at - cancel.told:.1f} s after its cancel was acknowledged: {task.name}"
    for event in attempt.outcomes:
        counted = event.how in ("done", "failed") and attempt.ends > cancel.told
        # without an answer a worker takes what it meant for what happened
        if counted and not books.lost_reply(attempt.pid, attempt.ends, event.at):
            late = attempt.ends - cancel.told
            yield f"counted as {event.how}, ended {late:.1f} s after its cancel was acknowledged: {task.name}"


def _somebody_canceled(books: Books, task: Task) -> bool:
    """A producer, or workers because a batch's producer did not come back to it."""
    return books.may_be_canceled(task) or books.may_be_abandoned(task)


def _idly(books: Books, _verdict: Verdict) -> Iterator[str]:
    """What a worker gives back unstarted is not fetched over and over."""
    yield from (f"given back {n} times unstarted: {id_}" for id_, n in books.given_back.items() if n > MOST_GIVEN_BACK)


# What runs more than once


def _twice(books: Books, task: Task, _verdict: Verdict) -> Iterator[str]:
    """No two outcomes of one attempt count, nor two ends of one task."""
    yield from (f"started twice under one token: {event.name}" for event in books.twice if event.name == task.name)
    numbers: dict[int, list[tuple[Attempt, Event]]] = defaultdict(list)
    for attempt in task.attempts:
        for event in attempt.outcomes:
            if event.how == "failed":
                numbers[event.attempt].append((attempt, event))
    for counted in (list(task.counted()), *numbers.values()):
        for (attempt, first), (_, second) in pairwise(sorted(counted, key=lambda one: one[1].at)):
            retried = first.how == "failed" and books.retried(task, attempt.ends, second.at)
            if not (retried or books.undone(attempt, first) or _was_enqueued_again(books, task, attempt)):
                yield f"acknowledged twice, as {first.how} and as {second.how}: {task.name}"


def _was_enqueued_again(books: Books, task: Task, attempt: Attempt) -> bool:
    """The request of a single task had no reply, and was repeated when the task had ended."""
    if task.batch or task.sending is None:
        return False
    until = books.answered(task)
    return attempt.ends <= until and books.lost_reply(task.sending.pid, task.sending.at, until)


def _numbered(_books: Books, task: Task, _verdict: Verdict) -> Iterator[str]:
    """Attempts count from 1, one more for each that failed, and not further than is allowed."""
    failed = {one.start.attempt for one in task.attempts if one.how == "failed"}
    for attempt in task.attempts:
        number = attempt.start.attempt
        if number > 1 and number - 1 not in failed:
            yield f"an attempt was used up without a failure: {task.name}"
        if not 1 <= number <= RETRIES:
            yield f"attempt {number} of {RETRIES}: {task.name}"


def _repeated(books: Books, task: Task, verdict: Verdict) -> Iterator[str]:
    """An attempt follows another one because that one failed, because somebody retried the task when it was dead, or
    because something happened to the process.
    """
    for first, second in pairwise(task.attempts):
        number = second.start.attempt - first.start.attempt
        if (first.how == "failed" and number == 1) or _retry(books, task, first, second):
            continue
        reason = _reason(books, task, first, second)
        if not reason:
            yield f"run again without a reason: {task.name}, attempts {first.start.attempt}, {second.start.attempt}"
        elif number < 0 and reason not in (*FORGETTING, REPEATED) and not books.came_late(second):
            yield f"a failure was forgotten: {task.name}"
        else:
            verdict.again[reason] += 1
            verdict.duplicates[reason] += first.how == "done"


def _retry(books: Books, task: Task, first: Attempt, second: Attempt) -> Retry | None:
    """Of a dead task, which begins from the first attempt then."""
    begins = first.was_last and second.start.attempt == 1
    return books.retried(task, first.ends, second.start.at) if begins else None


def _reason(books: Books, task: Task, first: Attempt, second: Attempt) -> str:
    """Lost replies, cut connections and a server that is away are no reason: what was handed in once counts, so after
    an end that was acknowledged there is none but that the server forgot it, or got the task once more.
    """
    since, until = first.start.at, second.start.at
    late = books.came_late(second)
    for outcome in first.counted():
        again = REPEATED if _was_enqueued_again(books, task, first) else ""
        return books.undone(first, outcome) or again or late
    return (
        books.during(FORGETTING, since - FETCHED, until)
        or books.during(("killed",), since, until, first.pid)
        or _stopped(books, first, until)
        or books.seemed_dead(first.pid, since, until)
        or late
        or (REPEATED if _was_enqueued_again(books, task, first) else "")
    )


def _stopped(books: Books, first: Attempt, until: float) -> str:
    """Whether a process that was told to stop has handed an attempt back, or could not hand in its end."""
    if not books.during(("stopped",), first.start.at, until, first.pid):
        return ""
    handed_in = first.how in ("done", "failed") and not any(event.how == "released" for event in first.outcomes)
    return "" if handed_in and not books.during(BREAKING, first.ends, until, first.pid) else "stopped"


def _overlapping(books: Books, task: Task, _verdict: Verdict) -> Iterator[str]:
    """Two attempts at once, in processes that both lived: only where one had been silent for long."""
    for first, second in combinations(task.attempts, 2):
        since, until = second.start.at, min(first.ends, second.ends)
        if until > since and not books.may_overlap(first, second):
            yield f"two attempts at once for {until - since:.2f} s: {task.name}"


def _taken_over(books: Books, task: Task, _verdict: Verdict) -> Iterator[str]:
    """What ends after another one has begun does not count; what nobody has taken over does."""
    for first, second in pairwise(task.attempts):
        counted = [event for event in first.outcomes if event.how != "released"]
        if not counted or first.ends <= second.start.at or (books.came_late(second) and not any(second.counted())):
            continue
        if not books.was_rewound(first.start.at - FETCHED, counted[-1].at):
            yield f"counted as {counted[-1].how} though it was taken over: {task.name}"
    for attempt in task.attempts:
        refused = [event.at for event in attempt.outcomes if event.how == "released"]
        if attempt.how not in ("done", "failed") or not refused:
            continue
        since, until = attempt.start.at, refused[-1]
        stopped = books.during(("stopped",), since, until, attempt.pid)
        if not (stopped or books.seemed_dead(attempt.pid, since, until) or books.was_rewound(since - FETCHED, until)):
            yield f"not counted, without a reason: {task.name}"


RULES = (
    _accepted, _lost, _waited, _forgotten_end, _canceled, _twice, _numbered, _repeated, _overlapping, _taken_over,
)  # fmt: skip
"""For each task."""
