"""`taskproc dead`: tasks that failed for good, and what becomes of them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from taskproc.cli.commands import Desk, Retries, Skip, Take, Tenant, Yes, command, group
from taskproc.cli.output import Column, flat, tell
from taskproc.cli.queues import is_known
from taskproc.cli.rows import error_of, tasks_of
from taskproc.cli.words import ago, cell, count, noun
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
async def list_dead(desk: Desk, queue: Some = None, *, tenant: Tenant = None, skip: Skip = 0, take: Take = 20) -> None:
    """Lists dead tasks with their last error, the one that died last, first."""
    found: list[TaskInfo] = []
    for name in await _queues(desk.processor, queue):
        found += await desk.processor.get_dead_tasks(name, 0, skip + take, tenant=tenant)
    found.sort(key=lambda task: task.died_at or task.enqueued_at, reverse=True)
    desk.out.many(found[skip : skip + take], TASKS, empty="No task is dead.")


@command(dead, "groups")
async def list_groups(desk: Desk, queue: Some = None, *, tenant: Tenant = None) -> None:
    """Lists dead tasks that failed alike, together: the largest group first, of the last thousand of each queue."""
    found = [
        (name, each)
        for name in await _queues(desk.processor, queue)
        for each in await desk.processor.get_dead_groups(name, tenant=tenant)
    ]
    found.sort(key=lambda each: -each[1].count)
    if desk.out.as_json:
        desk.out.json([{"queue": name} | flat(each) for name, each in found])
    else:
        desk.out.print(_groups(found) if found else Text("No task is dead.", style="dim"))


@command(dead, "retry")
async def retry_dead(
    desk: Desk,
    queue: Queue,
    tasks: Ids = None,
    *,
    like: Like = None,
    most: Count = None,
    retries: Retries = None,
    tenant: Tenant = None,
) -> None:
    """Lets dead tasks run again: all of a queue, or those that are named."""
    ids = await _meant(desk.processor, queue, tasks, like, tenant)
    number = await desk.processor.retry_dead_tasks(queue, retries, most, task_ids=ids, tenant=tenant)
    if number:
        await desk.note("retry-dead", f"queue {queue}", tenant=tenant, detail=_detail(number, ids))
    said = f"{noun(number, 'task')} of queue {queue} will run again."
    desk.out.did("retried", number, said, otherwise="" if number else await _none(desk.processor, queue, ids, tenant))


@command(dead, "discard")
async def discard_dead(
    desk: Desk,
    queue: Queue,
    tasks: Ids = None,
    *,
    like: Like = None,
    most: Count = None,
    tenant: Tenant = None,
    yes: Yes = False,
) -> None:
    """Removes dead tasks: all of a queue, or those that are named."""
    ids = await _meant(desk.processor, queue, tasks, like, tenant)
    whose = "" if tenant is None else f" of tenant {tenant}"
    desk.ask(f"Discard {await _how_many(desk.processor, queue, ids, most, tenant)} of queue {queue}{whose}?", yes=yes)
    number = await desk.processor.discard_dead_tasks(queue, most, task_ids=ids, tenant=tenant)
    if number:
        await desk.note("discard-dead", f"queue {queue}", tenant=tenant, detail=_detail(number, ids))
    said = f"Discarded {noun(number, 'dead task')} of queue {queue}."
    desk.out.did("discarded", number, said, otherwise="" if number else await _none(desk.processor, queue, ids, tenant))


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
    tasks: TaskProcessor, queue: str, ids: list[str] | None, like: str | None, tenant: str | None
) -> list[str] | None:
    """The ids that were named, one by one or as a group; None: all of the queue."""
    if like is None:
        return ids or None
    if ids:
        raise ValueError("name tasks, or --like one, not both")
    for each in await tasks.get_dead_groups(queue, tenant=tenant):
        if like in each.task_ids:
            return each.task_ids
    raise typer.Exit(tell(f"task {like} is not among the thousand that died last in queue {queue}"))


async def _how_many(
    tasks: TaskProcessor, queue: str, ids: list[str] | None, most: int | None, tenant: str | None
) -> str:
    number = len(ids) if ids is not None else (await tasks.get_queue(queue, tenant=tenant)).deadletter
    return noun(number if most is None else min(number, most), "dead task")


def _detail(number: int, ids: list[str] | None) -> str:
    named = "" if ids is None or len(ids) > 1 else f": {ids[0]}"
    return f"{noun(number, 'task')}{named}"


async def _none(tasks: TaskProcessor, queue: str, ids: list[str] | None, tenant: str | None) -> str:
    """Why nothing was done."""
    if not await is_known(tasks, queue):
        return f"there is no queue {queue}: `taskproc queues` lists those that there are"
    if ids is not None:
        return f"none of these is a dead task of queue {queue}"
    return f"no task of queue {queue}{'' if tenant is None else f' and tenant {tenant}'} is dead"
