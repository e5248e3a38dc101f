"""What can come of an attempt to run a task."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DONE", "Done", "Failed", "Interrupted", "Malformed", "NotKnown", "Outcome", "Unfinished"]


@dataclass(frozen=True, slots=True)
class Done:
    """The call returned and its scope closed."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The call, or the closing of its scope, raised; or it ran too long."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Interrupted:
    """It ended because it was canceled, or its worker ends. The attempt does not count: it is handed back, and Redis
    knows which of them were canceled.
    """


@dataclass(frozen=True, slots=True)
class NotKnown:
    """This worker does not know the method, or its signature: another one may."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Malformed:
    """No worker can ever run this."""

    error: Exception


Unfinished = Failed | Interrupted | NotKnown | Malformed
Outcome = Done | Unfinished
DONE = Done()
