"""The checker's rules for batches, what continues them, and the cycles of schedules."""

from collections.abc import Iterator
from itertools import combinations

from tests.soak.books import AWAY, BACK, LATE, Batch, Books, Task
from tests.soak.history import Event
from tests.soak.verdict import Verdict

FIRED = {"done": ("success", "complete"), "failed": ("failed", "complete"), "canceled": ("canceled", "complete")}
"""Which continuations run after which end."""


def check_batches(books: Books, verdict: Verdict) -> Iterator[str]:
    """Each is there as a whole or not at all, counts right, and was continued once."""
    if unseen := [batch.id for batch in books.batches.values() if batch.looked is None]:
        yield f"nobody has looked at {len(unseen)} batches: {unseen[0]}"
    for batch in books.batches.values():
        looked = batch.looked
        if looked is None:
            continue
        if looked.counts is not None:
            verdict.looked_at["batches"] += 1
            yield from _counters(books, batch, looked, looked.counts)
            yield from _continuations(books, batch, looked.how)
        elif batch.accepted and books.forgotten(batch):
            verdict.forgotten["batches"] += 1
        elif batch.accepted:
            yield f"a batch is lost: {batch.id}"


def _counters(books: Books, batch: Batch, looked: Event, counts: list[int]) -> Iterator[str]:
    total, done, failed, canceled, remaining = counts
    said = f"batch {batch.id}, {looked.how}: total, done, failed, canceled, remaining = {counts} of {len(batch.names)}"
    tasks = [books.tasks[name] for name in batch.names]
    whole = total == len(tasks) or (batch.in_parts and (not batch.accepted or books.forgotten(batch)))
    if remaining or done + failed + canceled != total or not whole:
        yield f"counters do not add up: {said}"
    for what, count, most in (
        ("done", done, sum(task.finished("done") for task in tasks)),
        ("failed", failed, sum(task.finished("failed") for task in tasks)),
        ("canceled", canceled, len(tasks)),
    ):
        if count < sum(_was_surely(books, task, what) for task in tasks):
            yield f"counters miss what was acknowledged as {what}: {said}"
        if count > most:
            yield f"counters have more {what} than what was run: {said}"
    if batch.refused:
        yield f"a batch was accepted though it was refused: {said}"
    yield from _state(books, batch, looked, counts, said)


def _state(books: Books, batch: Batch, looked: Event, counts: list[int], said: str) -> Iterator[str]:
    _, _, failed, canceled, _ = counts
    bad = sum(books.tasks[name].bad for name in batch.names)
    if (looked.how == "canceled" or canceled) and not (
        books.may_be_canceled(batch) or books.may_be_abandoned(books.tasks[batch.names[0]])
    ):
        yield f"a batch is canceled, but nobody canceled it: {said}"
    if looked.how != "canceled":
        if failed != bad or looked.how != ("failed" if failed else "done"):
            yield f"a batch ended otherwise than its tasks: {said}"
        cancel = batch.cancel if batch.is_canceled else None
        if cancel is not None and not books.was_rewound(cancel.asked, cancel.told):
            yield f"a batch is not canceled, though that was acknowledged: {said}"


def _was_surely(books: Books, task: Task, what: str) -> bool:
    """Whether a task counts so for certain: its worker was told so, and nothing was forgotten. One that had no answer
    takes what it meant for what happened, and may not have heard of a cancel.
    """
    outcomes = list(task.counted())
    for attempt, event in outcomes:
        since = min(attempt.ends, event.at)
        unsure = books.may_be_canceled(task) and books.lost_reply(attempt.pid, since, event.at)
        if event.how != what or unsure or books.was_rewound(since, event.at):
            return False
    return bool(outcomes)


def _continuations(books: Books, batch: Batch, state: str) -> Iterator[str]:
    """Each that awaits the outcome has run, and no other; that none counts twice is looked at with all tasks."""
    for when in ("success", "failed", "canceled", "complete"):
        task = books.tasks.get(f"{batch.id}.{when}")
        awaited = when in FIRED.get(state, ())
        if awaited and (task is None or not task.finished("done")):
            yield f"a batch is {state}, but its continuation never ran: {batch.id}.{when}"
        for attempt in task.attempts if task is not None and not awaited else ():
            if not books.was_rewound(attempt.start.at - LATE, attempt.start.at):
                yield f"a batch is {state}, but a continuation ran: {batch.id}.{when}"


def check_cycles(books: Books, verdict: Verdict) -> Iterator[str]:
    """Each instant has its task, unless nobody could start it in time; of a unique schedule there is one at a time."""
    cycles = books.cycles()
    for said in (event for event in books.events if event.what == "scheduled" and event.until):
        tasks = cycles[said.id]
        yield from _together(books, tasks, verdict) if said.how == "unique" else _missing(books, tasks, said, verdict)
        yield from (f"a cycle that was not due: {said.id}@{one}" for one in tasks if one % said.attempt)


def _missing(books: Books, tasks: dict[int, Task], said: Event, verdict: Verdict) -> Iterator[str]:
    for instant in range(int(said.at) + 1, int(said.until) - 1):
        if instant % said.attempt:
            continue
        task = tasks.get(instant)
        ran = task is not None and task.finished("done")
        verdict.looked_at["cycles"] += ran
        if not ran and books.during(AWAY, instant - BACK, instant + LATE):
            verdict.looked_at["cycles missed while the server was away"] += 1
        elif not ran and not books.somebody_works(instant):
            verdict.looked_at["cycles missed while no worker was up"] += 1
        elif not ran:
            yield f"a cycle is missing: {said.id}@{instant}"


def _together(books: Books, tasks: dict[int, Task], verdict: Verdict) -> Iterator[str]:
    """Cycles of a unique schedule that ran at once."""
    attempts = [attempt for instant in sorted(tasks) for attempt in tasks[instant].attempts]
    verdict.looked_at["unique cycles"] += len(tasks)
    for first, second in combinations(sorted(attempts, key=lambda attempt: attempt.start.at), 2):
        if first.start.name == second.start.name or first.ends <= second.start.at:
            continue
        if not books.may_overlap(first, second):
            yield f"two cycles at once of a unique schedule: {first.start.name}, {second.start.name}"
