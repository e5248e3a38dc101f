"""The checker finds each kind of wrong in made-up histories, and nothing in a good one."""

import pytest

from tests.faults.kit import Event
from tests.soak.checker import Fault, History, Work, check


def event(at: float, what: str, name: str, pid: int = 1) -> Event:
    """A line of a process."""
    return Event(at=at, pid=pid, what=what, name=name)


def good() -> History:
    """Two tasks and a batch, all of which ran once."""
    names = ["a", "b", "c0", "c1", "c.then"]
    events = [event(10 + number, "begins", name) for number, name in enumerate(names)]
    events += [event(10.5 + number, "ends", name) for number, name in enumerate(names)]
    events += [event(instant, "cycle", f"{instant}@s:{instant}") for instant in range(10, 20)]
    work = [Work(names=["a"], accepted=True), Work(names=["b"], accepted=False)]
    work.append(Work(names=["c0", "c1"], accepted=True, counts=(2, 2, 0, 0), continuation="c.then"))
    return History(work=work, events=events, scheduled=(10, 20))


def test_a_good_history_has_nothing_wrong() -> None:
    """And says how much ran."""
    verdict = check(good())
    assert (verdict.wrong, verdict.duplicates, verdict.ran) == ([], {}, 5)


def without(history: History, name: str) -> None:
    """Takes off what is known of a name."""
    history.events = [one for one in history.events if one.name != name]


def spoil(history: History, how: str) -> None:
    """Puts one wrong into it."""
    match how:
        case "lost":
            without(history, "a")
        case "unexpected":
            history.events.append(event(11, "begins", "x"))
        case "after its cancel":
            history.work[0].canceled_at = 5
        case "without a reason":
            history.events.append(event(12, "ends", "a", 2))
        case "never continued":
            without(history, "c.then")
        case "did not succeed":
            history.work[2].counts, history.work[2].canceled_at = (2, 1, 0, 1), 30
        case "counters are off":
            history.work[2].counts = (3, 3, 0, 0)
        case "nobody canceled it":
            history.work[2].counts = (2, 1, 0, 1)
        case "two tasks for one cycle":
            history.events.append(event(13, "cycle", "13@s:other"))
        case _:
            without(history, "14@s:14")


@pytest.mark.parametrize(
    "wrong",
    [
        "lost", "unexpected", "after its cancel", "without a reason", "never continued", "did not succeed",
        "counters are off", "nobody canceled it", "two tasks for one cycle", "a cycle is missing",
    ],
)  # fmt: skip
def test_each_kind_of_wrong_is_found(wrong: str) -> None:
    """By its name."""
    history = good()
    spoil(history, wrong)
    assert any(wrong in each for each in check(history).wrong)


@pytest.mark.parametrize(
    "fault", [Fault(kind="killed", pid=1, since=9, until=9), Fault(kind="down", pid=0, since=12, until=13)]
)
def test_a_fault_explains_a_duplicate(fault: Fault) -> None:
    """Of the process that ran it first, or of the server; it is counted."""
    history = good()
    history.events.append(event(13, "ends", "a", 2))
    history.faults.append(fault)
    verdict = check(history)
    assert (verdict.wrong, dict(verdict.duplicates)) == ([], {fault.kind: 1})


def test_whoever_was_frozen_may_end_last() -> None:
    """Then the fault is that of the process that began first, and ended last."""
    history = good()
    history.events = [one for one in history.events if one.name != "a"]
    history.events += [event(10, "begins", "a", 1), event(13, "begins", "a", 2), event(13.1, "ends", "a", 2)]
    history.events.append(event(15, "ends", "a", 1))
    history.faults.append(Fault(kind="frozen", pid=1, since=10.1, until=14.9))
    verdict = check(history)
    assert (verdict.wrong, dict(verdict.duplicates)) == ([], {"frozen": 1})


def test_another_ones_fault_does_not() -> None:
    """A process that had nothing to do with it."""
    history = good()
    history.events.append(event(13, "ends", "a", 2))
    history.faults.append(Fault(kind="killed", pid=7, since=11, until=11))
    assert any("without a reason" in each for each in check(history).wrong)
