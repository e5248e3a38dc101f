"""Lets a dead task run again with other arguments, which somebody has written by hand."""

from __future__ import annotations

import json
from typing import Any

from taskproc import EnqueueError, UnknownTask
from taskproc_fastapi.dashboard.access import Refused
from taskproc_fastapi.dashboard.doing import Asked, Done
from taskproc_fastapi.dashboard.redaction import shown

__all__ = ["retry_task_with"]


async def retry_task_with(asked: Asked) -> Done:
    """Who does it, and which arguments are others, is noted; not what they are."""
    view, id_ = asked.view, asked.text("id")
    view.need_all_tenants()  # what a tenant may pass to a method, only the app's own code can know
    arguments, task = _read(asked.text("arguments")), await view.processor.get_task(id_)
    before = await view.processor.get_arguments(id_)
    if task is None or before is None or shown(before, task, view.shared.redact) != before:
        raise Refused(409, "Nothing was done", f"There is no dead task {id_} whose arguments are all shown here.")
    try:
        retried = await view.processor.retry_dead_task(id_, arguments)
    except (EnqueueError, UnknownTask) as error:
        raise Refused(422, "These arguments do not fit", f"{error}. Nothing was done: go back to mend them.") from None
    if not retried:
        raise Refused(409, "Nothing was done", "The task is not dead, or its batch was canceled.")
    others = sorted(name for name in {*before, *arguments} if before.get(name, ...) != arguments.get(name, ...))
    detail = f"{task.call}, with other {', '.join(others)}" if others else f"{task.call}, with the same arguments"
    return Done("The task runs again, with these arguments.", id_, task.tenant, detail)


def _read(text: str) -> dict[str, Any]:
    """The object of JSON that is written there."""
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(422, "That is no JSON", f"The arguments cannot be read: {error}. Go back to mend them.") from None
    if not isinstance(arguments, dict):
        raise Refused(
            422, "That is no object", 'Arguments are an object of JSON, as in {"row": 17}: go back to mend it.'
        )
    return arguments  # pyright: ignore[reportUnknownVariableType]
