"""The checker's rules for what is done to tasks and batches that are there: appends, retries of dead tasks, pauses."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tests.soak.history import Event, What
from tests.soak.made_up import FIRST, SECOND, enqueued, event, fault, found, good, ran

Row = Sequence[Event]


def died(at: float, name: str, queue: str = "") -> list[Event]:
    """Two attempts that failed."""
    return [*ran(at, name, how="failed", queue=queue), *ran(at + 2, name, how="failed", queue=queue, attempt=2)]


def dead(name: str) -> list[Event]:
    """A task that has died."""
    return [*good(), *enqueued(10, name), *died(11, name, queue="q")]


def retried(at: float, *names: str, count: int = 1, **about: str) -> list[Event]:
    """Somebody has dead tasks retried."""
    said = {"token": f"retry {at}", **about}
    return [event(at, "retrying", *names, **said), event(at + 0.1, "retried", *names, counts=[count], **said)]


def mended(at: float = 15) -> list[Event]:
    """A task that died, was mended and retried."""
    return [*dead("m~"), *retried(at, "m~"), *ran(at + 0.2, "m~", queue="q")]


def appended(answer: What = "accepted", state: str = "failed", counts: Sequence[int] = (3, 2, 1, 0, 0)) -> list[Event]:
    """A batch that was done, and then got one more task, which fails."""
    looked = [replace(one, how=state, counts=list(counts)) if one.what == "looked" else one for one in good()]
    added = [event(15, "sending", "x!", batch="b"), event(15.1, answer, batch="b")]
    return [*looked, *added, *died(16, "x!"), *ran(20, "b.failed")]


def not_appended(answer: What) -> list[Event]:
    """A batch that was done, and got nothing more."""
    return without(appended(answer, "done", (2, 2, 0, 0, 0)), "x!", "b.failed")


def canceled(at: float) -> list[Event]:
    """The batch is."""
    return [event(at, "canceling", batch="b"), event(at + 0.1, "canceled", batch="b")]


def mended_batch(*counts: int) -> list[Event]:
    """A batch that failed, and is done now that its dead task was retried."""
    return [
        *good(), event(10, "sending", "y", "z~", batch="c"), event(10.1, "accepted", batch="c"), *ran(11, "y"),
        *died(11, "z~"), *ran(14.2, "c.failed"), *ran(14.2, "c.complete"), *retried(16, batch="c"), *ran(16.2, "z~"),
        *ran(17.4, "c.success"), event(60, "looked", batch="c", how="done", counts=counts or [2, 2, 0, 0, 0]),
    ]  # fmt: skip


def started(at: float, **of: str) -> list[Event]:
    """A task that starts about when everything, a queue or a tenant is paused, which is from 14 to 16."""
    task = [*enqueued(13, "p"), *ran(at, "p", queue="default", tenant="acme")]
    return [*good(), *task, event(14, "fault", how="paused", until=16, pid=0, **of)]


def without(row: Row, *names: str, what: What | None = None) -> list[Event]:
    """Nobody ran these, or nobody has noted that."""
    return [
        one for one in row
        if (one.what != what if what else one.what == "sending" or {one.name, one.id[3:]}.isdisjoint(names))
    ]  # fmt: skip


GOOD: dict[str, Callable[[], list[Event]]] = {
    "mended": mended,
    "never mended": lambda: dead("m~"),
    "retried late": lambda: mended(60),
    "retried, no answer": lambda: without(mended(), what="retried"),
    "retried, and dead again": lambda: [*dead("m!"), *retried(15, "m!"), *died(15.2, "m!")],
    "retried with its queue": lambda: [*dead("m~"), *retried(15, queue="q"), *ran(15.2, "m~")],
    "nothing to retry": lambda: [*dead("m~"), *retried(15, queue="another", count=0)],
    "retried, and canceled": lambda: [
        *dead("m~"), *retried(15, "m~"), event(15, "canceling", "m~"), event(15.2, "canceled", "m~"),
    ],
    "retried, and the server forgot it": lambda: [*dead("m~"), *retried(15, "m~"), fault("rewind", 15.05, 16)],
    "forgotten, and retried again": lambda: [
        *mended(15), fault("rewind", 14.9, 16), *retried(50, "m~"), *ran(50.2, "m~", SECOND),
    ],
    "appended": appended,
    "appended, no answer": lambda: appended("maybe"),
    "not appended, no answer": lambda: not_appended("maybe"),
    "not appended to what the server forgot": lambda: [*not_appended("refused"), fault("rewind", 9.9, 10.05)],
    "mended batch": mended_batch,
    "before a pause": lambda: started(13.9, queue="default"),
    "as a pause begins": lambda: started(14.4, queue="default"),
    "after a pause": lambda: started(16.1, queue="default"),
    "while another queue is paused": lambda: started(15, queue="shared[fair]"),
    "while another tenant is paused": lambda: started(15, tenant="umbrella"),
    "fetched before a pause": lambda: [*started(15), fault("frozen", 13.5, 14.8, FIRST)],
}  # fmt: skip

WRONG: dict[str, Callable[[], list[Event]]] = {
    "of 1 dead tasks that were retried 0 ran again: m~": lambda: [*dead("m~"), *retried(15, "m~")],
    "of 2 dead tasks that were retried 1 ran again: q": lambda: [
        *dead("m~"), *retried(15, queue="q", count=2), *ran(15.2, "m~"),
    ],
    "run again without a reason: m~, attempts 2, 1": lambda: [*dead("m~"), *ran(15, "m~")],
    "run again without a reason: a, attempts 1, 1": lambda: [*good(), *retried(14, "a", count=0), *ran(14.2, "a")],
    "acknowledged twice, as failed and as done: m~": lambda: [*dead("m~"), *ran(15, "m~"), *retried(17, "m~")],
    "acknowledged twice, as done and as done: m~": lambda: [*mended(), *ran(17, "m~")],
    "started only after 24.9 s: m~": lambda: [*dead("m~"), *retried(15, "m~"), *ran(40, "m~")],
    "lost: m~": lambda: [*good(), *enqueued(10, "m~"), *ran(11, "m~", how="failed")],
    "counters do not add up: batch b": lambda: appended(counts=(2, 2, 0, 0, 0)),
    "counters do not add up: batch b, failed": lambda: appended("refused"),
    "counters do not add up: batch c": lambda: mended_batch(3, 2, 1, 0, 0),
    "a batch ended otherwise than its tasks: batch b": lambda: appended(state="done"),
    "a batch ended otherwise than its tasks: batch c": lambda: mended_batch(2, 1, 1, 0, 0),
    "an append was refused, but nobody canceled the batch: b": lambda: not_appended("refused"),
    "appended to a canceled batch: b": lambda: [*appended(), *canceled(14)],
    "run though it was refused: x!": lambda: appended("refused"),
    "its continuation never ran: b.failed": lambda: without(appended(), "b.failed"),
    "its continuation never ran: c.success": lambda: without(mended_batch(), "c.success"),
    "a batch is failed, but a continuation ran: b.canceled": lambda: [*appended(), *ran(21, "b.canceled")],
    "a batch is done, but a continuation ran: c.canceled": lambda: [*mended_batch(), *ran(21, "c.canceled")],
    "started 1.0 s after a pause: p": lambda: started(15),
    "started 1.1 s after a pause: p": lambda: started(15.1, queue="default"),
    "started 1.2 s after a pause: p": lambda: started(15.2, tenant="acme"),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_what_is_done_by_hand_may_change_what_runs(case: str) -> None:
    """Then nothing is wrong."""
    assert found(*GOOD[case]()).wrong == []


@pytest.mark.parametrize("wrong", WRONG)
def test_each_kind_of_wrong_is_found(wrong: str) -> None:
    """By its words."""
    verdict = found(*WRONG[wrong]())
    assert any(wrong in each for each in verdict.wrong), verdict.wrong


def test_it_is_counted() -> None:
    """How much there was to look at."""
    looked_at = found(*mended()).looked_at
    assert (looked_at["retries of dead tasks"], looked_at["tasks retried"], looked_at["tasks mended"]) == (1, 1, 1)
    assert found(*appended()).looked_at["appended parts"] == 1
    assert found(*mended_batch()).looked_at["batches that ran again"] == 1
    assert found(*started(17, tenant="umbrella")).looked_at["pauses of a tenant"] == 1
