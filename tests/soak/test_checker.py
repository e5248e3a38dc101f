"""The checker finds each kind of wrong in made-up histories, and nothing in good ones."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from tests.soak.history import Event, Writer, read
from tests.soak.made_up import FIRST, SECOND, canceled, enqueued, event, fault, found, good, looking, ran, without
from tests.soak.plan import Mode, plan

WRONG: dict[str, Callable[[], list[Event]]] = {
    "lost: a": lambda: [*without("a", "started"), *canceled(20, "not canceled")],
    "lost: c!": lambda: [*without("c!"), *enqueued(10, "c!"), *ran(11, "c!")],
    "nobody enqueued it: x": lambda: [*good(), *ran(11, "x")],
    "run though it was refused: d": lambda: [*good(), *ran(11, "d")],
    "accepted twice": lambda: [*good(), *ran(14, "e", id="another")],
    "another id than its producer was told": lambda: [*without("a"), *enqueued(10, "a"), *ran(11, "a", id="another")],
    "started 3.0 s after its cancel": lambda: [*without("a"), *enqueued(7, "a"), *canceled(8), *ran(11, "a")],
    "counted as done, ended 2.0 s after its cancel": lambda: [
        *without("a"), *enqueued(8, "a"), *ran(10, "a"), *canceled(9),
    ],
    "nobody canceled it: a": lambda: [replace(e, how="canceled") if e.id == "id-a" and e.how else e for e in good()],
    "acknowledged twice, as done and as done: a": lambda: [*good(), fault("killed", 12.2, 12.3, FIRST), *ran(14, "a")],
    "acknowledged twice, as failed and as failed: b?": lambda: [*good(), *ran(15, "b?", how="failed")],
    "counted as done though it was taken over: a": lambda: [
        *without("a"), *enqueued(10, "a"), *ran(11, "a", seconds=5), *ran(15, "a", SECOND)[:2],
        fault("frozen", 11.5, 15.5, FIRST),
    ],
    "not counted, without a reason: a": lambda: [
        replace(e, how="released") if e.id == "id-a" and e.what == "outcome" else e for e in good()
    ],
    "given back 60 times unstarted: id-a": lambda: [
        *good(), *[replace(ran(10, "a")[2], token=f"other:{number}", how="released") for number in range(60)],
    ],
    "started twice under one token: a": lambda: [*good(), replace(ran(11, "a")[0], at=14)],
    "run again without a reason: a": lambda: [*without("a"), *enqueued(10, "a"), *ran(11, "a")[:2], *ran(14, "a", 3)],
    "used up without a failure: a": lambda: [
        *without("a"), *enqueued(10, "a"), *ran(11, "a")[:1], fault("killed", 11.5, 11.6, FIRST),
        *ran(14, "a", SECOND, attempt=2),
    ],
    "attempt 3 of 2: c!": lambda: [*good(), *ran(15, "c!", how="failed", attempt=3)],
    "a failure was forgotten: b?": lambda: [
        *without("b?"), *enqueued(10, "b?"), *ran(11, "b?", how="failed"), *ran(13, "b?", SECOND, attempt=2)[:1],
        fault("killed", 13.5, 13.6, SECOND), *ran(15, "b?"),
    ],
    "started only after 23.9 s: a": lambda: [*without("a"), *enqueued(10, "a"), *ran(34, "a")],
    "its end was forgotten, and it started again only after 4.5 s: a": lambda: [
        *without("a"), *enqueued(10, "a"), *ran(11.5, "a"), fault("rewind", 12, 13), *ran(17.5, "a", SECOND),
    ],
    "nobody has looked at 1 batches: b": lambda: [one for one in good() if one.what != "looked"],
    "counted as failed, ended 1.0 s after": lambda: [
        *without("a"), *enqueued(9, "a"), *canceled(11), *ran(11, "a", how="failed"),
    ],
    "two attempts at once for 2.00 s: a": lambda: [
        *without("a"), *enqueued(10, "a"), *ran(11, "a", seconds=5)[:2], *ran(14, "a", 3, seconds=4)
    ],
    "after a pause: a": lambda: [*good(), fault("paused", 9, 12)],
    "a batch is lost": lambda: [replace(e, counts=None) if e.what == "looked" else e for e in good()],
    "accepted though it was refused": lambda: [
        replace(e, what="refused") if e.what == "accepted" and e.batch else e for e in good()
    ],
    "counters do not add up": lambda: looking("done", 3, 3, 0, 0, 0),
    "counters miss what was acknowledged as done": lambda: looking("done", 2, 1, 0, 1, 0),
    "counters have more done than what was run": lambda: [*without("f", "ended")],
    "a batch is canceled, but nobody": lambda: looking("canceled", 2, 0, 0, 2, 0),
    "a batch ended otherwise": lambda: looking("failed", 2, 2, 0, 0, 0),
    "a batch is not canceled, though": lambda: [
        *good(), event(11, "canceling", batch="b"), event(11, "canceled", batch="b"),
    ],
    "continuation never ran: b.success": lambda: without("b.success"),
    "a continuation ran: b.failed": lambda: [*good(), *ran(13, "b.failed")],
    "a cycle is missing: s@14": lambda: without("s@14"),
    "a cycle that was not due": lambda: [replace(e, attempt=2) if e.what == "scheduled" else e for e in good()],
    "two cycles at once of a unique schedule: u@11, u@12": lambda: [
        *good(), *ran(11, "u@11", seconds=1.5), *ran(12, "u@12", SECOND),
        event(10, "scheduled", id="u", attempt=1, until=20, how="unique"),
    ],
    "acknowledged twice, as done and as done: s@14": lambda: [*good(), *ran(15, "s@14", SECOND)],
}  # fmt: skip


def test_a_good_history_has_nothing_wrong() -> None:
    """And it says how much ran, and that nothing ran again."""
    verdict = found(*good())
    assert verdict.wrong == []
    assert (verdict.attempts.total(), verdict.again, verdict.forgotten) == (19, {}, {})
    assert +verdict.looked_at == {"accepted tasks": 5, "batches": 1, "cycles": 8}


@pytest.mark.parametrize("wrong", WRONG)
def test_each_kind_of_wrong_is_found(wrong: str) -> None:
    """By its words."""
    verdict = found(*WRONG[wrong]())
    assert any(wrong in each for each in verdict.wrong), verdict.wrong


def test_histories_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Of several writers, in the order of time."""
    writer = Writer(tmp_path)
    writer.note("sending", "later", batch="b", at=12.0)
    writer.note("fault", at=11.0, until=12.5, pid=7, how="frozen")
    writer.close()
    first, second = read(tmp_path)
    assert (first.what, first.pid, first.how, first.until) == ("fault", 7, "frozen", 12.5)
    assert (second.name, second.batch, second.at) == ("later", "b", 12.0)


@pytest.mark.parametrize("mode", get_args(Mode))
def test_a_seed_decides_what_happens(mode: Mode) -> None:
    """The same faults in the same order for the same seed; the server forgets only where that is wanted."""
    assert plan(7, 60, mode) == plan(7, 60, mode)
    assert plan(7, 60, mode) != plan(8, 60, mode)
    kinds = {step.kind for row in plan(7, 600, mode) for step in row}
    own = {"durable": set[str](), "rewinds": {"rewind"}, "failover": {"failover"}, "cluster": {"slot moved"}}
    assert kinds & set().union(*own.values()) == own[mode]
