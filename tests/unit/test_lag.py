"""How late an event loop is."""

import time

import pytest

from taskproc.lag import Lag


class Clock:
    """`time.monotonic`, set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def turn(self, late_by: float, one: Lag) -> None:
        """The loop waits for a tenth of a second, and comes back."""
        one.expect(0.1)
        self.now += 0.1 + late_by
        one.arrive()


def test_worst_of_the_last_seconds_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is remembered for five to ten seconds; a loop that is in time has none."""
    clock, one = Clock(monkeypatch), Lag()
    assert one.worst() == 0
    clock.turn(0.75, one)
    clock.turn(0.25, one)
    assert one.worst() == pytest.approx(0.75)
    clock.now = 1_007.0
    assert one.worst() == pytest.approx(0.75)
    clock.turn(0.0, one)
    assert one.worst() == pytest.approx(0.75)
    clock.now = 1_010.5
    assert one.worst() == pytest.approx(0)
    clock.turn(0.5, one)
    assert one.worst() == pytest.approx(0.5)


def test_loop_that_stands_still_is_late_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it comes back; between its turns nobody waits for it."""
    clock, one = Clock(monkeypatch), Lag()
    one.expect(0.1)
    clock.now += 30
    assert one.worst() == pytest.approx(29.9)
    one.arrive()
    clock.now += 30
    assert one.worst() == pytest.approx(0)
