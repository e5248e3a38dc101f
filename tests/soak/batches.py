"""The checker's rules for batches, and what continues them."""

from collections.abc import Iterator

from tests.soak.books import LATE, Books
from tests.soak.history import Event
from tests.soak.verdict import Verdict
from tests.soak.work import FOREVER, Attempt, Batch, Part, Task

FIRED = {"done": ("success", "complete"), "failed": ("failed", "complete"), "canceled": ("canceled", "complete")}
"""Which continuations run after which end."""


def check_batches(books: Books, verdict: Verdict) -> Iterator[str]:
    """Each is there as a whole or not at all, counts right, and was continued once."""
    if unseen := [batch.id for batch in books.batches.values() if batch.looked is None]:
        yield f"nobody has looked at {len(unseen)} batches: {unseen[0]}"
    for batch in books.batches.values():
        yield from _appended(books, batch, verdict)
        looked = batch.looked
        if looked is None:
            continue
        if looked.counts is not None:
            verdict.looked_at["batches"] += 1
            yield from _counters(books, batch, looked, looked.counts)
            verdict.looked_at["batches that ran again"] += _ran_again(books, batch)
            yield from _continuations(books, batch, looked.how)
        elif batch.accepted and books.forgotten(batch):
            verdict.forgotten["batches"] += 1
        elif batch.accepted:
            yield f"a batch is lost: {batch.id}"


def _appended(books: Books, batch: Batch, verdict: Verdict) -> Iterator[str]:
    """Nothing is added to a batch once it was canceled; to any other it is."""
    cancel = batch.cancel
    for part in batch.appended:
        verdict.looked_at["appended parts"] += part.accepted
        canceled = cancel is not None and cancel.asked <= books.answered(part) and books.may_be_canceled(batch)
        names = f"{part.names[0]} and others" if part.names else "nothing"
        if part.refused and not (canceled or books.forgotten(batch) or _is_abandoned(books, batch)):
            yield f"an append was refused, but nobody canceled the batch: {batch.id}, {names}"
        if part.accepted and _was_canceled_before(books, batch, part):
            yield f"appended to a canceled batch: {batch.id}, {names}"


def _was_canceled_before(books: Books, batch: Batch, part: Part) -> bool:
    cancel, sending = batch.cancel, part.sending
    if cancel is None or sending is None or cancel.how != "canceled":
        return False
    return cancel.told <= sending.at and not books.was_rewound(cancel.asked, cancel.told)


def _is_abandoned(books: Books, batch: Batch) -> bool:
    return books.may_be_abandoned(books.tasks[batch.names[0]])


def _counters(books: Books, batch: Batch, looked: Event, counts: list[int]) -> Iterator[str]:
    total, done, failed, canceled, remaining = counts
    tasks = [books.tasks[name] for name in batch.all_names]
    said = f"batch {batch.id}, {looked.how}: total, done, failed, canceled, remaining = {counts} of {len(tasks)}"
    if remaining or done + failed + canceled != total or not _is_whole(books, batch, total):
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


def _may_be_there(batch: Batch, part: Part) -> bool:
    return part is batch or not part.refused


def _may_be_missing(books: Books, batch: Batch, part: Part) -> bool:
    """Of a batch that is there: of one in parts some of the first part may be."""
    return (part is not batch or batch.in_parts) and (not part.accepted or books.forgotten(part))


def _is_whole(books: Books, batch: Batch, total: int) -> bool:
    """Whether each part is there that was accepted, none that was refused, and of the others all or nothing."""
    sizes = {0}
    for part in batch.parts:
        added = {size + len(part.names) for size in sizes} if _may_be_there(batch, part) else set[int]()
        sizes = added | (sizes if _may_be_missing(books, batch, part) else set[int]())
    return total in sizes or (_may_be_missing(books, batch, batch) and total < max(sizes))


def _state(books: Books, batch: Batch, looked: Event, counts: list[int], said: str) -> Iterator[str]:
    _, _, failed, canceled, _ = counts
    if (looked.how == "canceled" or canceled) and not (books.may_be_canceled(batch) or _is_abandoned(books, batch)):
        yield f"a batch is canceled, but nobody canceled it: {said}"
    if looked.how != "canceled":
        if failed not in _failures(books, batch) or looked.how != ("failed" if failed else "done"):
            yield f"a batch ended otherwise than its tasks: {said}"
        cancel = batch.cancel if batch.is_canceled else None
        if cancel is not None and not books.was_rewound(cancel.asked, cancel.told):
            yield f"a batch is not canceled, though that was acknowledged: {said}"


def _failures(books: Books, batch: Batch) -> range:
    """How many tasks may have failed for good: all that nobody can mend, and of the others those that ever did. Some of
    these were mended since; and of a part that may be missing, perhaps none is there.
    """
    least = most = 0
    for part in batch.parts:
        tasks = [books.tasks[name] for name in part.names]
        bad = sum(task.bad for task in tasks)
        if not _may_be_missing(books, batch, part):
            least += bad + sum(task.mendable and not task.finished("done") for task in tasks)
        if _may_be_there(batch, part):
            most += bad + sum(task.mendable and task.finished("failed") for task in tasks)
    return range(least, most + 1)


def _was_surely(books: Books, task: Task, what: str) -> bool:
    """Whether a task counts so for certain: its worker was told so, nothing was forgotten, and nobody has retried it
    since. One that had no answer takes what it meant for what happened, and may not have heard of a cancel.
    """
    outcomes = [one for one in task.counted() if not _may_be_retried(books, task, *one)]
    for attempt, event in outcomes:
        since = min(attempt.ends, event.at)
        unsure = books.may_be_canceled(task) and books.lost_reply(attempt.pid, since, event.at)
        if event.how != what or unsure or books.undone(attempt, event):
            return False
    return bool(outcomes)


def _may_be_retried(books: Books, task: Task, attempt: Attempt, outcome: Event) -> bool:
    return outcome.how == "failed" and books.retried(task, min(attempt.ends, outcome.at), FOREVER) is not None


def _continuations(books: Books, batch: Batch, state: str) -> Iterator[str]:
    """Each that awaits the outcome has run, and no other, but for those of earlier outcomes of a batch that ran again;
    that none counts twice is looked at with all tasks.
    """
    may_run = {when for outcome in (state, *_earlier(books, batch)) for when in FIRED.get(outcome, ())}
    for when in ("success", "failed", "canceled", "complete"):
        task = books.tasks.get(f"{batch.id}.{when}")
        if when in FIRED.get(state, ()) and (task is None or not task.finished("done")):
            yield f"a batch is {state}, but its continuation never ran: {batch.id}.{when}"
        for attempt in task.attempts if task is not None and when not in may_run else ():
            if not books.was_rewound(attempt.start.at - LATE, attempt.start.at):
                yield f"a batch is {state}, but a continuation ran: {batch.id}.{when}"


def _earlier(books: Books, batch: Batch) -> set[str]:
    """Outcomes that a batch may have had before its last one: more was appended to it, or its dead tasks retried."""
    if not _ran_again(books, batch):
        return set()
    failed = any(books.tasks[name].finished("failed") for name in batch.all_names)
    done = not any(books.tasks[name].bad for name in batch.names)
    return {outcome for outcome, possible in (("failed", failed), ("done", done)) if possible}


def _ran_again(books: Books, batch: Batch) -> bool:
    tasks = [books.tasks[name] for name in batch.all_names]
    return any(not part.refused for part in batch.appended) or any(
        task.finished("failed") and books.retried(task, 0, FOREVER) for task in tasks
    )
