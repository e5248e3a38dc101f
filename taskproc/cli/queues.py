"""`taskproc queues`: what waits, and where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Annotated

import typer
from rich.text import Text

from taskproc.cli.commands import Desk, Filter, Skip, Take, Tenant, command, group
from taskproc.cli.output import heading
from taskproc.cli.rows import QUEUES, tasks_of
from taskproc.cli.words import cell, count
from taskproc.failure import visible
from taskproc.models import QueueInfo, TaskInfo
from taskproc.processor import TaskProcessor

__all__ = ["is_known", "queues"]

queues = group("Queues, and the tasks in them.")

Name = Annotated[str, typer.Argument(metavar="QUEUE", help="Its name")]
MOST_TENANTS = 20


class State(Enum):
    """What `--state` takes."""

    READY = "ready"
    RUNNING = "running"
    DELAYED = "delayed"
    DEAD = "dead"


@command(queues, "list")
async def list_queues(desk: Desk, *, tenant: Tenant = None) -> None:
    """Lists the queues that hold something, and how much."""
    found = await desk.processor.get_queues()
    if tenant is not None:
        found = [await desk.processor.get_queue(each.name, tenant=tenant) for each in found]
    desk.out.many(found, QUEUES, empty="There are no queues.")


@command(queues, "show")
async def show_queue(
    desk: Desk,
    name: Name,
    *,
    state: Annotated[State, typer.Option(help="Which of its tasks")] = State.READY,
    which: Filter = None,
    tenant: Tenant = None,
    skip: Skip = 0,
    take: Take = 20,
) -> None:
    """Shows a queue and its tasks, the next one first."""
    queue = await desk.processor.get_queue(name, tenant=tenant)
    tasks = await _look(desk.processor, state)(name, skip, take, tenant=tenant, filter=which)
    none = Text(f"No task is {state.value}{'' if which is None else f' and matches {visible(which)}'}.", style="dim")
    desk.out.one(
        queue,
        desk.out.table([queue], QUEUES),
        _tenants(queue),
        heading(_title(queue, state, len(tasks), which), desk.out.table(tasks, tasks_of(state.value)))
        if tasks
        else none,
        tasks=tasks,
    )


async def is_known(tasks: TaskProcessor, name: str) -> bool:
    """Whether a queue holds something, is paused, or is served by a worker."""
    if name in {each.name for each in await tasks.get_queues()}:
        return True
    if name in {each.queue for each in await tasks.get_pauses()}:
        return True
    return any(name in worker.queues for worker in await tasks.get_workers())


def _look(tasks: TaskProcessor, state: State) -> Callable[..., Awaitable[list[TaskInfo]]]:
    return {
        State.READY: tasks.get_tasks_in_queue,
        State.RUNNING: tasks.get_running_tasks,
        State.DELAYED: tasks.get_delayed_tasks,
        State.DEAD: tasks.get_dead_tasks,
    }[state]


def _title(queue: QueueInfo, state: State, shown: int, which: str | None) -> str:
    """`Ready`, or `Ready: 20 of 1,000`; how many match a filter is not known."""
    if which is not None:
        return f"{state.value.capitalize()}, those that match {visible(which)}"
    there = {State.READY: queue.length, State.RUNNING: queue.running, State.DELAYED: queue.delayed}
    word, whole = state.value.capitalize(), there.get(state, queue.deadletter)
    return f"{word}: {shown:,} of {whole:,}" if whole > shown else word


def _tenants(queue: QueueInfo) -> Text | None:
    """Whose the ready tasks of a fair queue are."""
    if not queue.tenants:
        return None
    most = sorted(queue.tenants.items(), key=lambda each: -each[1])
    said = Text("ready  ", style="dim")
    for name, number in most[:MOST_TENANTS]:
        said.append_text(cell(name)).append(f" {count(number)}  ", style="bold")
    return said.append(f"and {len(most) - MOST_TENANTS} more tenants" if len(most) > MOST_TENANTS else "")
