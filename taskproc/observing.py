"""Who is told of what a processor does: its statistics, and what an application adds to `processor.observers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskproc.records import Attempt, Settled

__all__ = ["Observer"]


class Observer:
    """Override what is wanted. Called in the event loop, between tasks: it must return at once and not raise."""

    def sent(self, queue: str, count: int) -> None:
        """Redis has accepted so many tasks."""

    def ended(self, attempt: Attempt, settled: Settled, *, retried: bool, seconds: float, waited: float) -> None:
        """Redis has counted an attempt: as what, and whether a failed one will be retried; how long it ran, and how
        long its task had been ready before.
        """
