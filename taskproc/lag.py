"""How late an event loop is: what waits for it waits so long."""

from __future__ import annotations

import time

__all__ = ["Lag"]

WINDOW = 5.0  # seconds: the worst of this window and the one before is told
LONG = 0.5  # seconds


class Lag:
    """Noted by the event loop, asked by any thread. Times are `time.monotonic()`."""

    def __init__(self) -> None:
        self._window = 0
        self._worst = self._worst_before = 0.0
        self._expected: float | None = None
        self.long: tuple[float, float] | None = None
        """When it was late by half a second or more, the last time: for when it was expected, and how late it was."""

    def expect(self, seconds: float) -> None:
        """The loop is to come back in so many seconds."""
        self._expected = time.monotonic() + seconds

    def arrive(self) -> None:
        """It has."""
        now = time.monotonic()
        self._move_on(now)
        if self._expected is not None:
            late = now - self._expected
            self._worst = max(self._worst, late)
            if late >= LONG:
                self.long = self._expected, late
        self._expected = None

    @property
    def expected(self) -> float | None:
        """When the loop was, or is, to come back; None while it need not."""
        return self._expected

    def late(self) -> float:
        """By how many seconds it is late by now."""
        expected = self._expected
        return 0.0 if expected is None else max(time.monotonic() - expected, 0.0)

    def worst(self) -> float:
        """By how many seconds it was late at most in the last five to ten, or is by now."""
        window, late = int(time.monotonic() // WINDOW), self.late()
        if window == self._window:
            return max(late, self._worst, self._worst_before)
        return max(late, self._worst) if window == self._window + 1 else late

    def _move_on(self, now: float) -> None:
        window = int(now // WINDOW)
        if window != self._window:
            self._worst_before = self._worst if window == self._window + 1 else 0.0
            self._worst, self._window = 0.0, window
