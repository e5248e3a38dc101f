"""What of a task's arguments is not shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskproc import TaskInfo
from taskproc.redaction import redacted

__all__ = ["Redact", "shown"]

Redact = bool | Callable[[TaskInfo, str], bool] | None
"""True: all; False: nothing; a function of task and name that is true for what is hidden; None: what looks secret."""


def shown(arguments: dict[str, Any], task: TaskInfo, redact: Redact) -> dict[str, Any]:
    """The same with what is to be hidden replaced, at any depth."""
    if redact is None:
        return redacted(arguments)
    if redact is False:
        return arguments
    return redacted(arguments, lambda name: redact is True or redact(task, name))
