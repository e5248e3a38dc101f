"""`taskproc workers`: the processes that run tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from taskproc.cli.commands import Desk, command, group
from taskproc.cli.output import fields, heading, tell
from taskproc.cli.rows import LATE, WORKERS, state_of, tasks_of
from taskproc.cli.words import ago, cell, instant, length, noun
from taskproc.failure import visible
from taskproc.models import StackFrame, TaskStack, WorkerStacks

__all__ = ["workers"]

workers = group("Workers: the processes that run tasks.")

Id = Annotated[str, typer.Argument(metavar="WORKER", help="Its id")]


@command(workers, "list")
async def list_workers(desk: Desk) -> None:
    """Lists workers that show signs of life, or did until a moment ago."""
    desk.out.many(await desk.processor.get_workers(), WORKERS, empty="No worker runs.")


@command(workers, "show")
async def show_worker(desk: Desk, worker: Id) -> None:
    """Shows a worker and what it runs, the longest first."""
    found = next((each for each in await desk.processor.get_workers() if each.id == worker), None)
    if found is None:
        raise typer.Exit(tell(_missing(worker)))
    tasks = await desk.processor.get_tasks_of_worker(worker)
    desk.out.one(
        found,
        fields(
            ("worker", found.id),
            ("state", state_of("draining") if found.draining else None),
            ("host", found.host),
            ("pid", f"{found.pid}"),
            ("since", f"{instant(found.since)} UTC, {ago(found.since)}"),
            ("seen", ago(found.seen)),
            ("lag", length(found.lag)),
            ("queues", ", ".join(found.queues)),
            ("runs", f"{found.running} of {found.max_workers}"),
            ("version", found.version),
        ),
        heading("Runs", desk.out.table(tasks, tasks_of("running")[:-1]))
        if tasks
        else Text("It runs nothing.", style="dim"),
        tasks=tasks,
    )


@command(workers, "stacks")
async def show_stacks(desk: Desk, worker: Id) -> None:
    """Asks a worker what it is doing right now, down to the line, also while a task blocks its event loop."""
    found = await desk.processor.get_stacks(worker)
    if found is None:
        raise typer.Exit(tell(_missing(worker)))
    await desk.note("stacks", worker)
    late = Text(length(found.late), style="red" if found.late >= LATE else "")
    nobodys = _stack("no task", _of_loop(found), found.loop) if found.loop else None
    tasks = [_stack(each.call, _doing(each, found), each.frames, each) for each in found.tasks]
    more = Text(f"{noun(found.more, 'more task')}", style="dim") if found.more else None
    nothing = None if tasks or nobodys else Text("It runs nothing.", style="dim")
    desk.out.one(found, fields(("worker", worker), ("late", late)), nobodys, *tasks, more, nothing)


def _doing(task: TaskStack, found: WorkerStacks) -> str:
    return _of_loop(found) if task.holds_loop else "in a thread" if task.in_thread else ""


def _of_loop(found: WorkerStacks) -> str:
    return f"has blocked the event loop for {length(found.late)}" if found.late >= LATE else "in the event loop"


def _stack(name: str, doing: str, frames: Sequence[StackFrame], task: TaskStack | None = None) -> RenderableType:
    """What runs, since when, whose it is; below it each place, outermost first."""
    ran = Text(f"  for {length(task.seconds)}" if task else "", style="dim")
    blocks = Text(f"  {doing}" if doing else "", style="red" if doing.startswith("has blocked") else "cyan")
    head = cell(name, "bold").append_text(ran).append_text(blocks)
    whose = [cell(f"{task.task_id}  {task.tenant}", "dim")] if task else []
    left_out = [Text(f"  … {noun(task.left_out, 'outer frame')}", style="dim")] if task and task.left_out else []
    return Group(head, *whose, *left_out, *map(_place, frames))


def _place(frame: StackFrame) -> Text:
    shown = Text(visible(f"  {frame.file}:{frame.line} {frame.function}"))
    return shown.append(f"\n      {visible(frame.source)}", style="dim") if frame.source else shown


@command(workers, "drain")
async def drain_worker(desk: Desk, worker: Id) -> None:
    """Lets a worker fetch no more; what it runs goes on."""
    done = await desk.processor.drain_worker(worker)
    if done:
        await desk.note("drain-worker", worker)
    said = f"Worker {worker} fetches no more; what it runs goes on."
    desk.out.did("drained", int(done), said, otherwise=_missing(worker))


@command(workers, "resume")
async def resume_worker(desk: Desk, worker: Id) -> None:
    """Lets a drained worker fetch again."""
    done = await desk.processor.resume_worker(worker)
    if done:
        await desk.note("resume-worker", worker)
    desk.out.did("resumed", int(done), f"Worker {worker} fetches again.", otherwise=_missing(worker))


def _missing(worker: str) -> str:
    return f"there is no worker {worker}"
