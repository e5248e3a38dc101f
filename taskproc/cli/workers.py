"""`taskproc workers`: the processes that run tasks."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from taskproc.cli.commands import Desk, command, group
from taskproc.cli.output import fields, heading, tell
from taskproc.cli.rows import WORKERS, state_of, tasks_of
from taskproc.cli.words import ago, instant, length

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
