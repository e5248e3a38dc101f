"""One task: what has become of it so far."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from taskproc.models import AttemptInfo, TaskInfo
from taskproc.redaction import HIDDEN
from taskproc_fastapi.dashboard.access import Refused
from taskproc_fastapi.dashboard.redaction import shown
from taskproc_fastapi.dashboard.view import Page, View

__all__ = ["show_one"]

LONGEST_VALUE = 4_000  # characters that are shown of an argument
MOST_ARGUMENTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An attempt, and the wait before it."""

    attempt: AttemptInfo
    waited: float | None
    """Seconds since the one before it ended, or the task was enqueued."""
    ran: float | None


@dataclass(frozen=True, slots=True)
class Argument:
    name: str
    value: str
    hidden: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTask:
    task: TaskInfo
    explained: str
    steps: list[Step]
    forgotten: int
    """Attempts that are no longer listed."""
    arguments: list[Argument] | None
    """None: they cannot be read here."""
    traceback: str | None


async def show_one(view: View) -> Page:
    id_ = view.text("id")
    task = await view.processor.get_task(id_, tenant=view.tenant)
    if task is None:
        raise Refused(
            404, "No such task", f"There is no task {id_}: it has ended, was canceled or discarded, or never was."
        )
    steps = _steps(task, await view.processor.get_attempts(id_, tenant=view.tenant))
    data = OneTask(
        task=task,
        explained=await view.processor.explain(id_, tenant=view.tenant),
        steps=steps,
        forgotten=steps[0].attempt.number - 1 if steps else 0,
        arguments=await _arguments(view, task),
        traceback=task.traceback if view.tenant is None else None,  # which shows the app's own code
    )
    return Page(template="task.html", title=f"Task {task.call.rpartition(':')[2] or task.topic}", data=data)


def _steps(task: TaskInfo, attempts: Sequence[AttemptInfo]) -> list[Step]:
    steps: list[Step] = []
    before: datetime | None = task.enqueued_at if attempts and attempts[0].number == 1 else None
    for attempt in attempts:
        waited = None if before is None else max((attempt.started - before).total_seconds(), 0.0)
        ran = None if attempt.ended is None else (attempt.ended - attempt.started).total_seconds()
        steps.append(Step(attempt=attempt, waited=waited, ran=ran))
        before = attempt.ended
    return steps


async def _arguments(view: View, task: TaskInfo) -> list[Argument] | None:
    given = await view.processor.get_arguments(task.task_id, tenant=view.tenant)
    if given is None:
        return None
    known = shown(given, task, view.shared.redact)
    return [_argument(name, value) for name, value in list(known.items())[:MOST_ARGUMENTS]]


def _argument(name: str, value: object) -> Argument:
    if value == HIDDEN:
        return Argument(name, HIDDEN, hidden=True)
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    return Argument(name, text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…", hidden=False)
