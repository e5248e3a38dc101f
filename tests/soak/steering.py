"""The checker's rules for what somebody does by hand: pauses, and retries of dead tasks."""

from collections.abc import Iterator

from tests.soak.books import DELAYING, LATE, Books, is_in
from tests.soak.verdict import Verdict
from tests.soak.work import Attempt, Retry, Task


def check_pauses(books: Books, verdict: Verdict) -> Iterator[str]:
    """Nothing of what is paused starts; afterwards all of it does, as everything that waits must."""
    attempts = [(task, attempt) for task in books.tasks.values() for attempt in task.attempts]
    for pause in (fault for fault in books.faults if fault.how == "paused"):
        verdict.looked_at[f"pauses of {_what(pause.queue, pause.tenant)}"] += 1
        for task, one in attempts:
            if pause.at + LATE < one.start.at < pause.until and is_in(pause, one) and not was_under_way(books, one):
                yield f"started {one.start.at - pause.at:.1f} s after a pause: {task.name}"


def _what(queue: str, tenant: str) -> str:
    return "a queue" if queue else "a tenant" if tenant else "everything"


def was_under_way(books: Books, attempt: Attempt) -> bool:
    """Whether it may have been handed out some time before it started."""
    return bool(books.during(DELAYING, attempt.start.at - LATE, attempt.start.at, attempt.pid))


def check_retries(books: Books, verdict: Verdict) -> Iterator[str]:
    """As many tasks as it was said run again, to their end."""
    verdict.looked_at["tasks mended"] += sum(
        task.mendable and task.finished("failed") and task.finished("done") for task in books.tasks.values()
    )
    for retry in books.retries:
        verdict.looked_at["retries of dead tasks"] += 1
        verdict.looked_at["tasks retried"] += retry.count
        if not retry.count or books.was_rewound(retry.asked.at, retry.told):
            continue
        about = [task for task in books.tasks.values() if retry.is_about(task)]
        ran = sum(_ran_again(books, task, retry) for task in about)
        if ran < retry.count:
            yield f"of {retry.count} dead tasks that were retried {ran} ran again: {_named(retry)}"


def _ran_again(books: Books, task: Task, retry: Retry) -> bool:
    """Or it may have been canceled before it could."""
    since = retry.asked.at
    return books.may_be_canceled(task) or task.finished("done", since) or task.finished("failed", since)


def _named(retry: Retry) -> str:
    asked = retry.asked
    return asked.name or asked.batch or asked.queue
