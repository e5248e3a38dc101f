"""`taskproc dead`: tasks that failed for good, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from taskproc.cli.commands import Desk, Filter, Retries, Skip, Take, Tenant, Yes, command, group
from taskproc.cli.output import Column, flat, tell
from taskproc.cli.queues import is_known
from taskproc.cli.rows import error_of, tasks_of
from taskproc.cli.words import ago, cell, count, noun
from taskproc.failure import visible
from taskproc.models import DeadGroup, TaskInfo
from taskproc.processor import TaskProcessor

__all__ = ["dead"]

dead = group("Dead tasks: those that failed for good.")

Some = Annotated[str | None, typer.Argument(metavar="QUEUE", help="Its name; all that have some if it is left out")]
Queue = Annotated[str, typer.Argument(metavar="QUEUE", help="Its name")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="TASK", help="Only these, by their ids")]
Like = Annotated[str | None, typer.Option(metavar="TASK", help="Only those that failed as this one did")]
Count = Annotated[
    int | None, typer.Option("--count", min=1, help="At most so many: those that died first; of --like, last")
]

TASKS: list[Column[TaskInfo]] = [
    Column(head="queue", value=lambda task: cell(task.queue), extra=True),
    *tasks_of("dead"),
]


@command(dead, "list")
async def list_dead(
    desk: Desk, queue: Some = None, *, which: Filter = None, tenant: Tenant = None, skip: Skip = 0, take: Take = 20
) -> None:
    """Lists dead tasks with their last error, the one that died last, first."""
    found: list[TaskInfo] = []
    for name in await _queues(desk.processor, queue):
        found += await desk.processor.get_dead_tasks(name, 0, skip + take, tenant=tenant, filter=which)
    found.sort(key=lambda task: task.died_at or task.enqueued_at, reverse=True)
    desk.out.many(found[skip : skip + take], TASKS, empty=_nothing(which))


@command(dead, "groups")
async def list_groups(desk: Desk, queue: Some = None, *, which: Filter = None, tenant: Tenant = None) -> None:
    """Lists dead tasks that failed alike, together: the largest group first, of the last thousand of each queue."""
    found = [
        (name, each)
        for name in await _queues(desk.processor, queue)
        for each in await desk.processor.get_dead_groups(name, tenant=tenant, filter=which)
    ]
    found.sort(key=lambda each: -each[1].count)
    if desk.out.as_json:
        desk.out.json([{"queue": name} | flat(each) for name, each in found])
    else:
        desk.out.print(_groups(found) if found else Text(visible(_nothing(which)), style="dim"))


@command(dead, "retry")
async def retry_dead(
    desk: Desk,
    queue: Queue,
    tasks: Ids = None,
    *,
    like: Like = None,
    which: Filter = None,
    most: Count = None,
    retries: Retries = None,
    tenant: Tenant = None,
) -> None:
    """Lets dead tasks run again: all of a queue, those that are named, or those that match."""
    meant = await _meant(desk.processor, queue, tasks, like=like, which=which, tenant=tenant)
    number = await desk.processor.retry_dead_tasks(
        queue, retries, most, task_ids=meant.ids, tenant=tenant, filter=which
    )
    if number:
        await desk.note("retry-dead", f"queue {queue}", tenant=tenant, detail=_detail(number, meant))
    said = f"{noun(number, 'task')} of queue {queue} will run again."
    desk.out.did("retried", number, said, otherwise="" if number else await _none(desk.processor, meant))


@command(dead, "discard")
async def discard_dead(
    desk: Desk,
    queue: Queue,
    tasks: Ids = None,
    *,
    like: Like = None,
    which: Filter = None,
    most: Count = None,
    tenant: Tenant = None,
    yes: Yes = False,
) -> None:
    """Removes dead tasks: all of a queue, those that are named, or those that match."""
    meant = await _meant(desk.processor, queue, tasks, like=like, which=which, tenant=tenant)
    if not yes:
        desk.ask(f"Discard {await _how_many(desk.processor, meant, most)} {meant.of}?", yes=False)
    number = await desk.processor.discard_dead_tasks(queue, most, task_ids=meant.ids, tenant=tenant, filter=which)
    if number:
        await desk.note("discard-dead", f"queue {queue}", tenant=tenant, detail=_detail(number, meant))
    said = f"Discarded {noun(number, 'dead task')} of queue {queue}."
    desk.out.did("discarded", number, said, otherwise="" if number else await _none(desk.processor, meant))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meant:
    """Which dead tasks a command is about."""

    queue: str
    ids: list[str] | None
    """None: all of the queue that match."""
    which: str | None
    """The filter."""
    tenant: str | None

    @property
    def of(self) -> str:
        whose = "" if self.tenant is None else f" of tenant {self.tenant}"
        return f"of queue {self.queue}{whose}{_matching(self.which)}"


def _matching(which: str | None) -> str:
    return "" if which is None else f" matching {which}"


def _nothing(which: str | None) -> str:
    return "No task is dead." if which is None else f"No dead task matches {which}."


def _groups(found: list[tuple[str, DeadGroup]]) -> Table:
    """How many, with what error; below, what they call, when the last one died, and which that is."""
    made = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    made.add_column(justify="right", style="bold")
    for queue, each in found:
        below = f"{queue}  {each.call}  last {ago(each.last)}  {each.task_ids[0]}"
        what = error_of(each.error_type or "No error", each.error_message)
        made.add_row(count(each.count), what.append("\n").append_text(cell(below, "dim")))
    return made


async def _queues(tasks: TaskProcessor, named: str | None) -> list[str]:
    return [named] if named is not None else [each.name for each in await tasks.get_queues() if each.deadletter]


async def _meant(
    tasks: TaskProcessor, queue: str, ids: list[str] | None, *, like: str | None, which: str | None, tenant: str | None
) -> _Meant:
    """Those that were named, one by one or as a group, or all of the queue; of them those that match."""
    if ids and (like or which):
        raise ValueError(f"name tasks, or {'--like one' if like else 'a --filter'}, not both")
    if like is None:
        return _Meant(queue=queue, ids=ids or None, which=which, tenant=tenant)
    for each in await tasks.get_dead_groups(queue, tenant=tenant, filter=which):
        if like in each.task_ids:
            return _Meant(queue=queue, ids=each.task_ids, which=which, tenant=tenant)
    those = "the thousand" if which is None else f"those{_matching(which)}, of the thousand"
    raise typer.Exit(tell(f"task {like} is not among {those} that died last in queue {queue}"))


async def _how_many(tasks: TaskProcessor, meant: _Meant, most: int | None) -> str:
    if meant.ids is not None:
        number = len(meant.ids)
    else:
        number = await tasks.get_dead_tasks_count(meant.queue, tenant=meant.tenant, filter=meant.which)
    return noun(number if most is None else min(number, most), "dead task")


def _detail(number: int, meant: _Meant) -> str:
    named = "" if meant.ids is None or len(meant.ids) > 1 else f": {meant.ids[0]}"
    return f"{noun(number, 'task')}{named}{_matching(meant.which)}"


async def _none(tasks: TaskProcessor, meant: _Meant) -> str:
    """Why nothing was done."""
    if not await is_known(tasks, meant.queue):
        return f"there is no queue {meant.queue}: `taskproc queues` lists those that there are"
    if meant.ids is not None:
        return f"none of these is a dead task of queue {meant.queue}"
    if number := await tasks.get_dead_tasks_count(meant.queue, tenant=meant.tenant, filter=meant.which):
        return f"none of the {noun(number, 'dead task')} {meant.of} can run again: their batches were canceled"
    if meant.which is not None:
        return f"no dead task of queue {meant.queue} matches {meant.which}"
    return f"no task of queue {meant.queue}{'' if meant.tenant is None else f' and tenant {meant.tenant}'} is dead"
