"""The checker's rules for the cycles of schedules."""

from collections.abc import Iterator
from itertools import combinations

from tests.soak.books import AWAY, BACK, LATE, Books
from tests.soak.history import Event
from tests.soak.verdict import Verdict
from tests.soak.work import Task


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
