"""One task: what has become of it so far."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskproc.models import AttemptInfo, TaskInfo
from taskproc.redaction import HIDDEN
from taskproc_fastapi.dashboard.access import Refused
from taskproc_fastapi.dashboard.redaction import shown
from taskproc_fastapi.dashboard.view import Page, View

__all__ = ["show_one"]

LONGEST_VALUE = 4_000  # characters that are shown of an argument
LONGEST_EDITED = 5_000  # as a form that is 60 kB at most
MOST_ARGUMENTS = 200
OUR_FRAMES = re.compile(
    r'(?:  File "[^"\n]*[/\\]taskproc[/\\](?:attempt|executor|processor)\.py", line \d+, in .*\n(?:    .*\n)*)+'
)


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
    in_all: int
    """The number of the last attempt: those that were given back, or lost, or before a retry by hand, count here."""
    schedule: str | None
    """The id of the one that started it."""
    arguments: list[Argument] | None
    """None: they cannot be read here."""
    editable: str | None
    """The arguments of a dead task as JSON, for viewers who may let it run with others."""
    traceback: str | None


async def show_one(view: View) -> Page:
    id_ = view.text("id")
    task = await view.processor.get_task(id_, tenant=view.tenant)
    if task is None:
        raise Refused(
            404, "No such task", f"There is no task {id_}: it has ended, was canceled or discarded, or never was."
        )
    steps = _steps(task, await view.processor.get_attempts(id_, tenant=view.tenant))
    given = await view.processor.get_arguments(id_, tenant=view.tenant)
    known = None if given is None else shown(given, task, view.shared.redact)
    data = OneTask(
        task=task,
        explained=await view.processor.explain(id_, tenant=view.tenant),
        steps=steps,
        forgotten=steps[0].attempt.number - 1 if steps else 0,
        in_all=steps[-1].attempt.number if steps else 0,
        schedule=id_.rpartition(":")[0] or None,
        arguments=None if known is None else [_argument(*each) for each in list(known.items())[:MOST_ARGUMENTS]],
        editable=_editable(view, task, given) if given == known else None,
        traceback=_folded(task.traceback) if view.tenant is None else None,  # which shows the app's own code
    )
    return Page(template="task.html", title=f"Task {task.call.rpartition(':')[2] or task.topic}", data=data)


def _folded(traceback: str | None) -> str | None:
    """Without the frames that are ours, which lead to every method."""
    return None if traceback is None else OUR_FRAMES.sub("  …\n", traceback)


def _steps(task: TaskInfo, attempts: Sequence[AttemptInfo]) -> list[Step]:
    steps: list[Step] = []
    before: datetime | None = task.enqueued_at if attempts and attempts[0].number == 1 else None
    for attempt in attempts:
        waited = None if before is None else max((attempt.started - before).total_seconds(), 0.0)
        ran = None if attempt.ended is None else (attempt.ended - attempt.started).total_seconds()
        steps.append(Step(attempt=attempt, waited=waited, ran=ran))
        before = attempt.ended
    return steps


def _editable(view: View, task: TaskInfo, given: dict[str, Any] | None) -> str | None:
    if not given or task.state != "dead" or not view.operates or view.tenant is not None:
        return None
    text = json.dumps(given, ensure_ascii=False, indent=2)
    return text if len(text) <= LONGEST_EDITED else None


def _argument(name: str, value: object) -> Argument:
    if value == HIDDEN:
        return Argument(name, HIDDEN, hidden=True)
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    return Argument(name, text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…", hidden=False)
