"""What a processor asks of whoever traces its tasks; without one nothing is done."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from taskproc.context import TaskContext

__all__ = ["Tracing"]


class Tracing(Protocol):
    """Carries the context of a trace from who enqueues a task to who runs it."""

    def carried(self) -> str | None:
        """The present context, as text that goes with a task."""
        ...

    def sending(self, queue: str, *, task: str | None = None, batch: str | None = None) -> AbstractContextManager[None]:
        """While a task is sent to a queue, or a batch is filled, whose tasks go there unless they say otherwise."""
        ...

    def running(self, ctx: TaskContext) -> AbstractContextManager[None]:
        """While an attempt runs."""
        ...
