"""What the checker allows because of a fault, and that the same is wrong where the fault cannot have caused it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.soak.history import Event, What
from tests.soak.made_up import (
    FIRST,
    PRODUCER,
    SECOND,
    batch,
    canceled,
    enqueued,
    event,
    fault,
    found,
    good,
    ran,
    without,
)

Row = Sequence[Event]


def about_a(row: Row) -> list[str]:
    """What is wrong with task a, where it is as told and everything else is good."""
    return [wrong for wrong in found(*without("a"), *row).wrong if "a" in wrong.replace(",", "").split()]


def again(*, seconds: float = 1, how: str = "done") -> list[Event]:
    """A task that ran in the first process, which did not get to hand it in, and then in the second."""
    return [*enqueued(10, "a"), *ran(11, "a", seconds=seconds, how=how)[:2], *ran(15, "a", SECOND)]


def taken_over() -> list[Event]:
    """One that was still running in the first process when the second one began."""
    return again(seconds=4.8)


def late() -> list[Event]:
    """One that the first process began when the second one had ended it."""
    return [*enqueued(10, "a"), *ran(11, "a", SECOND), *ran(14.1, "a", how="cancelled")]


def acknowledged_twice() -> list[Event]:
    """One that both processes have handed in."""
    return [*enqueued(10, "a"), *ran(11, "a"), *ran(15, "a", SECOND)]


def forgotten_end(again_at: float) -> list[Event]:
    """One that a worker has handed in, and that began once more."""
    return [*enqueued(10, "a"), *ran(11.5, "a"), *ran(again_at, "a", SECOND, tenant="acme")]


def canceled_and_started() -> list[Event]:
    """One that began when its cancel had long been acknowledged."""
    return [*enqueued(7, "a"), *canceled(8), *ran(11, "a", how="cancelled")]


def canceled_and_counted() -> list[Event]:
    """One that ended when it was canceled, and counts as done."""
    return [*enqueued(9, "a"), *ran(10, "a"), *canceled(10.5)]


def paused() -> list[Event]:
    """One that began in a pause."""
    return [*enqueued(8, "a"), *ran(11, "a"), fault("paused", 9, 12)]


def not_counted() -> list[Event]:
    """One whose first end was refused."""
    started, ended, outcome = ran(11, "a", seconds=4)
    return [*enqueued(10, "a"), started, ended, replace(outcome, how="released"), *ran(15.2, "a", SECOND)]


def repeated() -> list[Event]:
    """Its producer had its answer late, and the task had ended before."""
    return [event(10, "sending", "a"), event(13, "accepted", "a", id="id-a"), *ran(10.5, "a"), *ran(12.5, "a", SECOND)]


CASES: dict[str, tuple[Row, Row, Row]] = {
    "run again, killed": (again(), [fault("killed", 11.5, 11.6, FIRST)], [fault("killed", 11.5, 11.6, SECOND)]),
    "run again, frozen": (again(), [fault("frozen", 11.5, 14, FIRST)], [fault("frozen", 11.5, 12, FIRST)]),
    "run again, cut off": (again(), [fault("cut off", 11.5, 14, FIRST)], [fault("cut off", 1, 9, FIRST)]),
    "run again, two in a row": (
        again(),
        [fault("cut off", 11.2, 12, FIRST), fault("standstill", 12.3, 13.5)],
        [fault("cut off", 11.2, 12, FIRST), fault("standstill", 13.3, 14.5)],
    ),
    "run again, server": (again(), [fault("rewind", 11.5, 14)], [fault("restart", 11.5, 14)]),
    "run again, connection": (again(), [fault("failover", 14, 14.5)], [fault("closed", 11.5, 11.6, FIRST)]),
    "run again, replies": (again(), [fault("primary killed", 9, 14.5)], [fault("lost replies", 11.5, 12, FIRST)]),
    "handed back": (again(how="cancelled"), [fault("stopped", 11.5, 12, FIRST)], [fault("stopped", 11.5, 12, SECOND)]),
    "not handed in": (
        again(), [fault("stopped", 11.5, 12, FIRST), fault("restart", 11.9, 12.5)], [fault("stopped", 11.5, 12, FIRST)],
    ),
    "taken over": (taken_over(), [fault("frozen", 11.5, 15.5, FIRST)], [fault("frozen", 15.1, 17.5, FIRST)]),
    "taken over, forgotten": (taken_over(), [fault("rewind", 11.5, 12)], [fault("rewind", 15.5, 16)]),
    "begun late": (late(), [fault("frozen", 10.2, 14, FIRST)], [fault("frozen", 10.2, 13, FIRST)]),
    "acknowledged twice": (acknowledged_twice(), [fault("rewind", 12.05, 14)], [fault("rewind", 12.2, 14)]),
    "acknowledged, killed": (
        acknowledged_twice(), [fault("failover", 11.9, 14)], [fault("killed", 12.2, 12.3, FIRST)],
    ),
    "acknowledged, not heard": (
        [*enqueued(10, "a"), *ran(12.9, "a"), *ran(15, "a", SECOND)],
        [fault("rewind", 12.8, 13.3), fault("closed", 13.95, 14, FIRST)],
        [fault("rewind", 12.8, 13.3), fault("closed", 13.95, 14, SECOND)],
    ),
    "taken over, forgotten late": (forgotten_end(16.5), [fault("rewind", 12, 13)], []),
    "forgotten late, paused": (
        forgotten_end(18.5),
        [fault("rewind", 12, 13), event(14, "fault", how="pause of a tenant", until=16, pid=0, tenant="acme")],
        [fault("rewind", 12, 13), event(14, "fault", how="pause of a tenant", until=16, pid=0, tenant="umbrella")],
    ),
    "forgotten late, killed": (
        forgotten_end(18.5), [fault("rewind", 12, 13), fault("killed", 14, 14.1, FIRST)],
        [fault("rewind", 12, 13), fault("killed", 14, 14.1, SECOND)],
    ),
    "waited, paused": (
        [*enqueued(10, "a"), *ran(34, "a", queue="q")],
        [event(12, "fault", how="pause of a queue", until=18, pid=0, queue="q")],
        [event(12, "fault", how="pause of a queue", until=18, pid=0, queue="r")],
    ),
    "canceled, started": (
        canceled_and_started(), [fault("frozen", 7.5, 10.9, FIRST)], [fault("frozen", 7.5, 10, FIRST)],
    ),
    "canceled, forgotten": (canceled_and_started(), [fault("rewind", 7.95, 9)], [fault("rewind", 8.1, 9)]),
    "canceled, counted": (
        canceled_and_counted(), [fault("lost replies", 11, 11.2, FIRST)], [fault("lost replies", 11.2, 12, FIRST)],
    ),
    "paused": (paused(), [fault("cut off", 9.1, 10.8, FIRST)], [fault("cut off", 9.1, 10.8, SECOND)]),
    "lost": (enqueued(10, "a"), [fault("rewind", 10.05, 11)], [fault("rewind", 10.15, 11)]),
    "lost before": (enqueued(10, "a"), [fault("failover", 9, 10.05)], [fault("failover", 9, 9.9)]),
    "waited": (
        [*enqueued(10, "a"), *ran(34, "a")], [fault("primary frozen", 12, 18)], [fault("primary frozen", 12, 14)],
    ),
    "not counted": (not_counted(), [fault("frozen", 11.5, 14.5, FIRST)], [fault("killed", 15.1, 15.15, FIRST)]),
    "enqueued again": (
        repeated(), [fault("lost replies", 10.1, 11, PRODUCER)], [fault("lost replies", 10.1, 11, FIRST)],
    ),
}  # fmt: skip
"""What happened to task a; a fault that explains it; one that does not."""


@pytest.mark.parametrize("case", CASES)
def test_a_fault_explains_what_it_can_have_caused(case: str) -> None:
    """Then nothing is wrong."""
    row, excuse, _ = CASES[case]
    assert about_a([*row, *excuse]) == []


@pytest.mark.parametrize("case", CASES)
def test_a_fault_explains_nothing_else(case: str) -> None:
    """What struck another process, at another time, for too short, or does not do such a thing; nor no fault at all."""
    row, _, no_excuse = CASES[case]
    assert about_a([*row, *no_excuse])
    assert about_a(row)


@pytest.mark.parametrize("how", ["killed", "frozen", "cut off", "rewind"])
def test_what_runs_again_is_counted_by_its_reason(how: str) -> None:
    """And what had run to its end before, too."""
    verdict = found(*without("a"), *again(), fault(how, 11.5, 14, 0 if how == "rewind" else FIRST))
    assert (dict(verdict.again), dict(verdict.duplicates)) == ({how: 1}, {how: 1})


def test_what_the_server_forgot_is_counted() -> None:
    """Tasks, and batches."""
    gone = [replace(one, counts=None) if one.what == "looked" else one for one in batch(10, "e", "f")]
    others = [one for one in good() if not one.batch and one.name not in ("e", "f", "b.success", "b.complete")]
    verdict = found(*(one for one in others if one.id[3:] not in ("a", "e", "f", "b.success", "b.complete")),
                    *gone, *enqueued(10, "a"), fault("rewind", 9.5, 10.2))  # fmt: skip
    assert verdict.wrong == []
    assert verdict.forgotten == {"tasks": 3, "batches": 1}


def test_a_cycle_may_be_missing_while_the_server_is_away() -> None:
    """Nobody can start it in time; it is counted. One that is due when the server is back may not."""
    verdict = found(*without("s@14"), fault("restart", 13.5, 14.2))
    assert (verdict.wrong, verdict.looked_at["cycles missed while the server was away"]) == ([], 1)
    assert found(*without("s@14"), fault("restart", 12, 12.9)).wrong


def test_a_cycle_may_be_missing_while_no_worker_is_up() -> None:
    """One is dead, and the other one frozen; it is counted."""
    row = [*without("s@14"), fault("killed", 13, 13.1, SECOND)]
    verdict = found(*row, fault("frozen", 13.5, 14.2, FIRST))
    assert (verdict.wrong, verdict.looked_at["cycles missed while no worker was up"]) == ([], 1)
    assert found(*row, fault("frozen", 12, 12.9, FIRST)).wrong
    assert found(*without("s@14"), fault("frozen", 13.5, 14.2, FIRST)).wrong


def test_a_worker_without_an_answer_may_take_a_canceled_task_for_done() -> None:
    """Its counters are right all the same; with an answer it may not."""
    row = [
        event(10, "sending", "g", batch="c"), event(10.1, "accepted", batch="c"), *ran(10.5, "g"),
        event(10.9, "canceling", batch="c"), event(11, "canceled", batch="c"),
        event(60, "looked", batch="c", how="canceled", counts=[1, 0, 0, 1, 0]),
        *ran(50, "c.canceled"), *ran(50, "c.complete"),
    ]  # fmt: skip
    assert found(*good(), *row, fault("closed", 11.55, 11.56, FIRST)).wrong == []
    wrong = found(*good(), *row, fault("closed", 11.7, 11.71, FIRST)).wrong
    assert any("counters miss what was acknowledged as done" in each for each in wrong)


def test_a_continuation_may_run_again_late_when_the_end_of_its_batch_was_forgotten() -> None:
    """Workers cancel what is open for a minute."""
    row = ran(90, "b.success", SECOND)
    assert found(*good(), *row, fault("rewind", 12.9, 15)).wrong == []
    assert any("started only after" in each for each in found(*good(), *row, fault("killed", 14, 15, FIRST)).wrong)


def test_unique_cycles_may_overlap_when_the_first_was_taken_over() -> None:
    """Its process seemed dead."""
    row = [
        *ran(11, "u@11", seconds=4), *ran(13.5, "u@11", SECOND, seconds=0.2)[:2], *ran(14, "u@14", SECOND),
        event(10, "scheduled", id="u", attempt=1, until=20, how="unique"),
    ]  # fmt: skip
    words = "two cycles at once"
    assert words not in str(found(*row, fault("frozen", 11.2, 14.5, FIRST)))
    assert words in str(found(*row, fault("frozen", 14.2, 14.5, FIRST)))


def test_a_thread_may_end_a_moment_after_it_was_handed_back() -> None:
    """Its process was told to stop; not long after, and not in another process."""
    words = "two attempts at once"
    for seconds, pid, wrong in ((0.5, FIRST, False), (0.5, SECOND, True), (3, FIRST, True)):
        row = [*without("a"), *enqueued(10, "a"), *ran(11, "a", seconds=seconds)[:2], *ran(11.4, "a", 3, seconds=4)]
        assert (words in str(found(*row, fault("stopped", 11.3, 16, pid)))) == wrong


@pytest.mark.parametrize(
    "how, answer, counts, wrong",
    [
        ("parts", "maybe", [1, 0, 0, 1, 0], ""),
        ("", "maybe", [2, 0, 0, 2, 0], ""),
        ("", "maybe", [1, 0, 0, 1, 0], "counters do not add up"),
        ("parts", "accepted", [1, 0, 0, 1, 0], "counters do not add up"),
        ("parts", "accepted", [2, 0, 0, 2, 0], "nobody canceled it"),
    ],
)
def test_a_batch_that_was_not_accepted_may_be_canceled(
    *, how: str, answer: What, counts: list[int], wrong: str
) -> None:
    """Its producer, or workers, do so; then one that was sent in parts is perhaps not whole, but no other."""
    row = [
        event(10, "sending", "g", "h", batch="c", how=how), event(10.1, answer, batch="c"),
        event(60, "looked", batch="c", how="canceled", counts=counts),
        *ran(50, "c.canceled"), *ran(50, "c.complete"),
    ]  # fmt: skip
    found_wrong = [each for each in found(*good(), *row).wrong if "batch c" in each]
    assert bool(found_wrong) is bool(wrong)
    assert not wrong or any(wrong in each for each in found_wrong)
