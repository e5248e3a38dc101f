"""The acts themselves: what each does with what it was asked, and what it says before and after.

With a viewer of one tenant every call names that tenant, so that what is another's is not there.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta

from taskproc import BatchInfo, TaskInfo, WorkerSilent
from taskproc.names import queue_name, tenant_name
from taskproc_fastapi.dashboard.access import Refused
from taskproc_fastapi.dashboard.formats import many, seconds
from taskproc_fastapi.dashboard.pages.dead import TRIAL, groups_of
from taskproc_fastapi.dashboard.view import View

__all__ = [
    "ASKED",
    "Asked",
    "Done",
    "ask_cancel_batch",
    "ask_cancel_schedule",
    "ask_cancel_task",
    "ask_discard_dead",
    "ask_discard_task",
    "ask_drain_worker",
    "ask_retry_all_dead",
    "ask_retry_batch",
    "cancel_batch",
    "cancel_schedule",
    "cancel_task",
    "discard_dead",
    "discard_task",
    "drain_worker",
    "pause",
    "pause_schedule",
    "resume",
    "resume_schedule",
    "resume_worker",
    "retry_all_dead",
    "retry_batch",
    "retry_dead",
    "retry_task",
    "take_stacks",
    "trigger_schedule",
]

LONGEST_REASON = 200  # characters
LONGEST_PAUSE = timedelta(days=30)
ASKED = "asked"
"""The field that says when a question was asked, in seconds since 1970."""
MOST_PASSED = 10**8  # seconds


@dataclass(frozen=True, slots=True)
class Done:
    """What has been done: said to who did it, and noted."""

    said: str
    target: str
    tenant: str | None
    detail: str = ""
    leads_to: str = ""
    """The page to see then, if it is not the one that the act came from."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A form that was sent, by whom."""

    view: View
    form: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def text(self, name: str, default: str | None = None) -> str:
        given = self.form.get(name, [])
        if not given and default is None:
            raise Refused(422, "Something is missing", f"This act needs the field “{name}”.")
        return given[0] if given else default or ""

    def some(self, name: str) -> str | None:
        """A field, unless it is empty or not there."""
        return self.text(name, "") or None

    def not_after(self) -> str:
        """A filter of dead tasks, by which those are not meant that died after the question was asked."""
        at = self.text(ASKED, "")
        passed = int(time.time() - float(at)) if re.fullmatch(r"[0-9]{1,11}\.[0-9]{3}", at) else 0
        return f"died:>{min(passed, MOST_PASSED)}s" if passed > 0 else ""


def _gone(what: str) -> Refused:
    return Refused(409, "Nothing was done", what)


def _tasks(number: int) -> str:
    return many(number, "task")


# Pauses


def _pausable(asked: Asked) -> tuple[str | None, str | None, str]:
    """Queue and tenant of a pause, and what that is in words."""
    queue, tenant = asked.some("queue"), asked.some("tenant")
    queue = None if queue is None else queue_name(queue)
    tenant = None if tenant is None else tenant_name(tenant)
    own = asked.view.tenant
    if own is not None and tenant != own:
        raise Refused(403, "Not for you", f"You may pause and resume what is {own}'s, but not what others use.")
    if queue is not None and tenant is not None:
        raise Refused(422, "That cannot be paused", "Name a queue, or a tenant, but not both.")
    return queue, tenant, f"queue {queue}" if queue else f"tenant {tenant}" if tenant else "everything"


async def pause(asked: Asked) -> Done:
    queue, tenant, what = _pausable(asked)
    reason, until = asked.text("reason", "").strip()[:LONGEST_REASON], _length(asked)
    by = asked.view.rights.user
    await asked.view.processor.pause(queue=queue, tenant=tenant, reason=reason, by=by, until=until)
    length = "until it is resumed" if until is None else f"for {seconds(until)}"
    return Done(f"Paused {what}, {length}.", what, tenant, f"{length}{f': {reason}' if reason else ''}")


def _length(asked: Asked) -> timedelta | None:
    minutes = asked.text("minutes", "")
    if not minutes:
        return None
    if not (minutes.isascii() and minutes.isdigit() and len(minutes) < 10 and int(minutes) > 0):  # noqa: PLR2004
        raise Refused(422, "That is no time", "“minutes” is a whole number, from 1.")
    length = timedelta(minutes=int(minutes))
    if length > LONGEST_PAUSE:
        raise Refused(422, "That is too long", f"A pause that ends by itself lasts {LONGEST_PAUSE.days} days at most.")
    return length


async def resume(asked: Asked) -> Done:
    queue, tenant, what = _pausable(asked)
    await asked.view.processor.resume(queue=queue, tenant=tenant)
    return Done(f"Resumed {what}.", what, tenant)


# Tasks


async def _task(asked: Asked) -> TaskInfo:
    id_ = asked.text("id")
    task = await asked.view.processor.get_task(id_, tenant=asked.view.tenant)
    if task is None:
        raise _gone(f"There is no task {id_} any more.")
    return task


async def retry_task(asked: Asked) -> Done:
    task = await _task(asked)
    ids, tenant = [task.task_id], asked.view.tenant
    if not await asked.view.processor.retry_dead_tasks(task.queue, task_ids=ids, tenant=tenant):
        raise _gone("The task is not dead, or its batch was canceled.")
    return Done("The task runs again.", task.task_id, task.tenant, task.call)


async def ask_cancel_task(asked: Asked) -> str:
    task = await _task(asked)
    running = " It is running, and will be interrupted." if task.state == "leased" else ""
    return f"Task {task.task_id} ({task.call or task.topic}) will not be done.{running}"


async def cancel_task(asked: Asked) -> Done:
    task = await _task(asked)
    if not await asked.view.processor.cancel_task(task.task_id, tenant=asked.view.tenant):
        raise _gone("The task has ended, or is dead: a dead task can be discarded.")
    return Done("The task is canceled.", task.task_id, task.tenant, task.call)


async def ask_discard_task(asked: Asked) -> str:
    task = await _task(asked)
    return f"Dead task {task.task_id} ({task.call or task.topic}) and its error will be forgotten."


async def discard_task(asked: Asked) -> Done:
    task = await _task(asked)
    ids, tenant = [task.task_id], asked.view.tenant
    if not await asked.view.processor.discard_dead_tasks(task.queue, task_ids=ids, tenant=tenant):
        raise _gone("The task is not dead.")
    return Done("The task is discarded.", task.task_id, task.tenant, task.call)


# Dead letters: those that are checked (`id`), those alike `sample`, or all of a queue; of them what matches a `filter`


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which dead tasks are meant."""

    queue: str
    ids: list[str] | None
    """None: all."""
    which: str | None
    """The filter."""
    words: str
    meant: str | None
    """The filter, without what died after the question was asked."""

    def sentence(self, end: str, now: str = "") -> str:
        return f"{self.words[:1].upper()}{self.words[1:]}{now} {end}"


async def _chosen(asked: Asked) -> Chosen:
    queue, which = queue_name(asked.text("queue")), asked.some("filter")
    meant = " ".join(term for term in (which, asked.not_after()) if term) or None
    matching = f" that match “{which}”" if which else ""
    if ids := asked.form.get("id"):
        words = f"{_tasks(len(ids))} of queue {queue}{matching}"
        return Chosen(queue=queue, ids=ids, which=which, words=words, meant=which)
    if sample := asked.some("sample"):
        for group in (await groups_of(asked.view, queue, meant)).groups:
            if sample in group.task_ids:
                words = f"{_tasks(group.count)} of queue {queue} that failed with {group.error_type}{matching}"
                return Chosen(queue=queue, ids=group.task_ids, which=which, words=words, meant=meant)
        raise _gone("Those tasks are no longer among the dead ones: look again.")
    if asked.text("all", ""):
        words = f"all dead tasks of queue {queue}{matching}"
        return Chosen(queue=queue, ids=None, which=which, words=words, meant=meant)
    raise _gone("No task was chosen: check some first.")


async def _now(asked: Asked, chosen: Chosen) -> str:
    """How many match at the moment, as far as the page looks."""
    if chosen.ids is not None:
        return ""
    if chosen.which is None and asked.view.tenant is None:
        return f" ({(await asked.view.processor.get_queue(chosen.queue)).deadletter:,} now)"
    found = await groups_of(asked.view, chosen.queue, chosen.which)
    among = "" if found.whole else f" among the {found.most:,} that died last"
    return f" ({found.counted:,} now{among})"


async def retry_dead(asked: Asked) -> Done:
    """Those that are checked, or a few of a group, those that died first."""
    chosen = await _chosen(asked)
    if chosen.ids is None:
        raise _gone("All are retried by another act, which asks first.")
    if asked.some("sample"):
        ids = chosen.ids[-TRIAL:]
        chosen = replace(chosen, ids=ids, words=f"{_tasks(len(ids))} on trial, of {chosen.words}")
    return await _retried(asked, chosen)


async def ask_retry_all_dead(asked: Asked) -> str:
    chosen = await _chosen(asked)
    return chosen.sentence("will run again, with as many retries as they had at first.", await _now(asked, chosen))


async def retry_all_dead(asked: Asked) -> Done:
    return await _retried(asked, await _chosen(asked))


async def _retried(asked: Asked, chosen: Chosen) -> Done:
    processor, tenant = asked.view.processor, asked.view.tenant
    count = await processor.retry_dead_tasks(chosen.queue, task_ids=chosen.ids, tenant=tenant, filter=chosen.meant)
    if not count:
        raise _gone("None of them can run again: they are not dead, or their batches were canceled.")
    verb = "runs" if count == 1 else "run"
    return Done(f"{_tasks(count)} {verb} again.", f"queue {chosen.queue}", tenant, f"{chosen.words}: {count:,}")


async def ask_discard_dead(asked: Asked) -> str:
    chosen = await _chosen(asked)
    return chosen.sentence("will be forgotten, with their arguments and errors.", await _now(asked, chosen))


async def discard_dead(asked: Asked) -> Done:
    chosen, processor, tenant = await _chosen(asked), asked.view.processor, asked.view.tenant
    count = await processor.discard_dead_tasks(chosen.queue, task_ids=chosen.ids, tenant=tenant, filter=chosen.meant)
    if not count:
        raise _gone("None of them is dead any more.")
    return Done(f"Discarded {_tasks(count)}.", f"queue {chosen.queue}", tenant, f"{chosen.words}: {count:,}")


# Batches


async def _batch(asked: Asked) -> BatchInfo:
    id_ = asked.text("id")
    batch = await asked.view.processor.get_batch(id_, tenant=asked.view.tenant)
    if batch is None:
        raise _gone(f"There is no batch {id_} any more.")
    return batch


async def ask_cancel_batch(asked: Asked) -> str:
    batch = await _batch(asked)
    name = batch.scope or batch.id
    return f"{_tasks(batch.remaining)} of batch {name} will not be done; those that run are interrupted."


async def cancel_batch(asked: Asked) -> Done:
    batch = await _batch(asked)
    if not await asked.view.processor.cancel_batch(batch.id, tenant=asked.view.tenant):
        raise _gone("The batch has ended.")
    return Done("The batch is canceled.", batch.id, batch.tenant, batch.scope)


async def ask_retry_batch(asked: Asked) -> str:
    batch = await _batch(asked)
    return f"{_tasks(batch.failed)} of batch {batch.scope or batch.id} failed; those that are dead will run again."


async def retry_batch(asked: Asked) -> Done:
    batch = await _batch(asked)
    count = await asked.view.processor.retry_batch(batch.id, tenant=asked.view.tenant)
    if not count:
        raise _gone("Nothing of this batch can run again: its failed tasks were discarded, or it was canceled.")
    return Done(f"{_tasks(count)} of the batch run again.", batch.id, batch.tenant, batch.scope)


# Schedules: their ids are unique among tenants, but they are said of one


def _schedule(asked: Asked) -> tuple[str, str]:
    tenant = tenant_name(asked.text("tenant"))
    if not asked.view.may_see(tenant):
        raise _gone("There is no such schedule.")
    return asked.text("id"), tenant


async def trigger_schedule(asked: Asked) -> Done:
    id_, tenant = _schedule(asked)
    if not await asked.view.processor.trigger_schedule(id_, tenant):
        raise _gone(f"Schedule {id_} is gone, or is unique and its last task has not ended.")
    return Done(f"Schedule {id_} was started once.", id_, tenant)


async def pause_schedule(asked: Asked) -> Done:
    id_, tenant = _schedule(asked)
    if not await asked.view.processor.pause_schedule(id_, tenant):
        raise _gone(f"There is no schedule {id_} any more.")
    return Done(f"Schedule {id_} is paused.", id_, tenant)


async def resume_schedule(asked: Asked) -> Done:
    id_, tenant = _schedule(asked)
    if not await asked.view.processor.resume_schedule(id_, tenant):
        raise _gone(f"There is no schedule {id_} any more.")
    return Done(f"Schedule {id_} goes on.", id_, tenant)


async def ask_cancel_schedule(asked: Asked) -> str:
    id_, _ = _schedule(asked)
    return f"Schedule {id_} will be removed. If the code of an app declares it, it comes back when that starts again."


async def cancel_schedule(asked: Asked) -> Done:
    id_, tenant = _schedule(asked)
    if not await asked.view.processor.cancel_schedule(id_, tenant):
        raise _gone(f"There is no schedule {id_} any more.")
    return Done(f"Schedule {id_} is removed.", id_, tenant)


# Workers


async def ask_drain_worker(asked: Asked) -> str:
    asked.view.need_all_tenants()
    return f"Worker {asked.text('id')} will fetch nothing more; what it runs goes on."


async def drain_worker(asked: Asked) -> Done:
    asked.view.need_all_tenants()
    id_ = asked.text("id")
    if not await asked.view.processor.drain_worker(id_):
        raise _gone(f"There is no worker {id_} any more.")
    return Done("The worker fetches nothing more.", id_, None)


async def resume_worker(asked: Asked) -> Done:
    asked.view.need_all_tenants()
    id_ = asked.text("id")
    if not await asked.view.processor.resume_worker(id_):
        raise _gone(f"There is no worker {id_} any more.")
    return Done("The worker fetches again.", id_, None)


async def take_stacks(asked: Asked) -> Done:
    asked.view.need_all_tenants()
    id_ = asked.text("id")
    try:
        found = await asked.view.processor.get_stacks(id_)
    except WorkerSilent as error:
        raise Refused(504, "The worker does not answer", f"{str(error)[:1].upper()}{str(error)[1:]}.") from error
    if found is None:
        raise _gone(f"There is no worker {id_} any more.")
    return Done("The worker has told what it is doing.", id_, None, leads_to=asked.view.url("stacks", id=id_))
