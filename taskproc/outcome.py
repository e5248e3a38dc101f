"""What can come of an attempt to run a task."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DONE", "Canceled", "Done", "Failed", "Interrupted", "Malformed", "NotKnown", "Outcome", "Unfinished"]


@dataclass(frozen=True, slots=True)
class Done:
    """The call returned and its scope closed."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The call, or the closing of its scope, raised; or it ran too long."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Canceled:
    """It ended because its batch, or it alone, was canceled."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """It ended because the worker does; it goes back, and the attempt does not count."""


@dataclass(frozen=True, slots=True)
class NotKnown:
    """This worker does not know the method, or its signature: another one may."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Malformed:
    """No worker can ever run this."""

    error: Exception


Unfinished = Failed | Canceled | Interrupted | NotKnown | Malformed
Outcome = Done | Unfinished
DONE = Done()
