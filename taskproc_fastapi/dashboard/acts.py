"""What can be done: each act is a POST, is noted in the audit list, and leads back to the page that it came from,
or to one that shows what it has found.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response

from taskproc import StorageUnavailable, TaskProcessorError
from taskproc_fastapi.dashboard import doing
from taskproc_fastapi.dashboard.access import Refused
from taskproc_fastapi.dashboard.doing import ASKED, Asked, Done
from taskproc_fastapi.dashboard.editing import retry_task_with
from taskproc_fastapi.dashboard.rendering import answer, say
from taskproc_fastapi.dashboard.view import Page, View

__all__ = ["ACTS", "Act", "carry_out"]

LARGEST_FORM = 64 * 1024  # bytes
MOST_FIELDS = 200
CONFIRMED = "confirmed"
OURS = (CONFIRMED, ASKED)
ON_ITS_PAGE = (409, 504)
"""What is refused so is said on the page that the act came from: it is not there, or has ended, or says nothing."""

Kind = Literal["plain", "asks"]


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a viewer may do."""

    name: str
    do: Callable[[Asked], Awaitable[Done]]
    ask: Callable[[Asked], Awaitable[str]] | None = None
    """What it says before it is done; None: it is done at once."""
    button: str = ""
    """What the button says that does it then."""


def _all() -> Mapping[str, Act]:
    acts = (
        Act("pause", doing.pause),
        Act("resume", doing.resume),
        Act("retry-task", doing.retry_task),
        Act("retry-task-with", retry_task_with),
        Act("cancel-task", doing.cancel_task, doing.ask_cancel_task, "Cancel the task"),
        Act("discard-task", doing.discard_task, doing.ask_discard_task, "Discard the task"),
        Act("retry-dead", doing.retry_dead),
        Act("retry-all-dead", doing.retry_all_dead, doing.ask_retry_all_dead, "Retry all"),
        Act("discard-dead", doing.discard_dead, doing.ask_discard_dead, "Discard them"),
        Act("retry-batch", doing.retry_batch, doing.ask_retry_batch, "Retry what failed"),
        Act("cancel-batch", doing.cancel_batch, doing.ask_cancel_batch, "Cancel the batch"),
        Act("trigger-schedule", doing.trigger_schedule),
        Act("pause-schedule", doing.pause_schedule),
        Act("resume-schedule", doing.resume_schedule),
        Act("cancel-schedule", doing.cancel_schedule, doing.ask_cancel_schedule, "Remove the schedule"),
        Act("drain-worker", doing.drain_worker, doing.ask_drain_worker, "Drain the worker"),
        Act("resume-worker", doing.resume_worker),
        Act("stacks", doing.take_stacks),
    )
    return {act.name: act for act in acts}


ACTS = _all()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked before an act."""

    act: str
    button: str
    danger: bool
    """It takes something away."""
    text: str
    fields: list[tuple[str, str]]
    back: str


async def carry_out(act: Act, view: View) -> Response:
    """Does it and leads back, or asks first."""
    if not view.operates:
        raise Refused(403, "Not for you", "You may look at this dashboard, but not steer anything.")
    asked = Asked(view, await _form(view))
    back = _back(view, asked)
    try:
        return await _asked_or_done(act, asked, back or view.url())
    except Refused as refused:
        navigates = view.request.headers.get("sec-fetch-mode") == "navigate"  # a script wants the status
        if back is None or not navigates or refused.status not in ON_ITS_PAGE:
            raise
        response = RedirectResponse(back, 303)
        say(response, view, f"{refused.title}: {refused.message}", wrong=True)
        return response


async def _asked_or_done(act: Act, asked: Asked, back: str) -> Response:
    view = asked.view
    if act.ask is not None and not asked.form.get(CONFIRMED):
        fields = [(name, value) for name, values in asked.form.items() for value in values if name not in OURS]
        fields.append((ASKED, f"{time.time():.3f}"))
        question = Question(
            act=act.name,
            button=act.button,
            danger=not act.name.startswith("retry"),
            text=await act.ask(asked),
            fields=fields,
            back=back,
        )
        return await answer(view, Page(template="confirm.html", title=act.button, data=question, lives=False))
    done = await _done(act, asked)
    view.shared.remembered.forget()
    response = RedirectResponse(done.leads_to or back, 303)
    say(response, view, done.said)
    return response


async def _done(act: Act, asked: Asked) -> Done:
    """Does it and notes it; what went wrong half way is noted too."""
    view = asked.view
    try:
        done = await act.do(asked)
    except StorageUnavailable:
        with contextlib.suppress(TaskProcessorError):
            fields = ", ".join(f"{name}={values[0]}" for name, values in asked.form.items() if name != "back")
            detail = "Redis did not answer: it may have been carried out in part"
            await view.processor.record_act(
                act.name, fields[:200], by=view.rights.user, tenant=view.tenant, detail=detail
            )
        raise
    await view.processor.record_act(act.name, done.target, by=view.rights.user, tenant=done.tenant, detail=done.detail)
    return done


async def _form(view: View) -> dict[str, list[str]]:
    kind = view.request.headers.get("content-type", "application/x-www-form-urlencoded").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(415, "That is no form", f"Acts take application/x-www-form-urlencoded, not {kind[:80]}.")
    body = bytearray()
    try:
        async for part in view.request.stream():
            body += part
            if len(body) > LARGEST_FORM:
                raise Refused(413, "That is too much", f"The form is larger than {LARGEST_FORM // 1024} kB.")
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except (ValueError, ClientDisconnect) as error:
        raise Refused(422, "That is no form", "It cannot be read, or has too many fields.") from error
    form: dict[str, list[str]] = {}
    for name, value in pairs:
        form.setdefault(name, []).append(value)
    return form


def _back(view: View, asked: Asked) -> str | None:
    """The page that the act came from, if it names one of this dashboard."""
    back = asked.text("back", "")
    ours = back == view.base or back.startswith((f"{view.base}/", f"{view.base}?"))
    if not ours or back.startswith("//") or "\\" in back or not (back.isascii() and back.isprintable()):
        return None
    return back
