"""Follows a batch until it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import typer
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from taskproc.cli.commands import Desk
from taskproc.cli.live import ended_by_hand, is_live
from taskproc.cli.output import FAILED, tell
from taskproc.cli.rows import state_of, took
from taskproc.cli.words import count, noun
from taskproc.models import BatchInfo

__all__ = ["follow"]

INTERVAL = 0.5  # seconds
BY_HAND = 130

Show = Callable[[BatchInfo], None]


async def follow(desk: Desk, batch: str, tenant: str | None) -> None:
    """Shows how far a batch is until it has ended. Ends the command with FAILED if that was not well."""
    last: list[BatchInfo] = []
    if desk.out.as_json:
        by_hand = await ended_by_hand(_watch(desk, batch, tenant, last, lambda now: desk.out.json(now, indent=None)))
    elif not is_live(desk.out.console):
        by_hand = await ended_by_hand(_watch(desk, batch, tenant, last, lambda now: desk.out.print(_line(now))))
    else:
        with _bar(desk) as bar:
            task = bar.add_task("", total=None, counts="")
            by_hand = await ended_by_hand(_watch(desk, batch, tenant, last, lambda now: _move(bar, task, now)))
    if by_hand:
        tell(f"batch {batch} goes on")
        raise typer.Exit(BY_HAND)
    if not last or last[0].end is None:
        raise typer.Exit(tell(f"batch {batch} has gone meanwhile"))
    if is_live(desk.out.console) and not desk.out.as_json:
        desk.out.print(_line(last[0]))
    if last[0].state != "done":
        raise typer.Exit(FAILED)


async def _watch(desk: Desk, batch: str, tenant: str | None, last: list[BatchInfo], show: Show) -> None:
    """Shows each change; leaves the last one in `last`."""
    while (now := await desk.processor.get_batch(batch, tenant=tenant)) is not None:
        if [now] != last:
            last[:] = [now]
            show(now)
        if now.end is not None:
            return
        await asyncio.sleep(INTERVAL)
    last.clear()


def _bar(desk: Desk) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[counts]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=desk.out.console,
    )


def _move(bar: Progress, task: TaskID, now: BatchInfo) -> None:
    ended = now.total - now.remaining
    bar.update(task, description=now.state, completed=ended, total=now.total, counts=_counts(now).plain)


def _line(batch: BatchInfo) -> Text:
    """`done  1,000 of 1,000 tasks  2 min 5 s`."""
    line = state_of(batch.state).append("  ", "default").append_text(_counts(batch))
    return line.append(f"  {took(batch)}", "dim")


def _counts(batch: BatchInfo) -> Text:
    """`1,000 of 1,000 tasks`, `997 of 1,000 done, 3 failed`."""
    if batch.done == batch.total:
        return Text(f"{count(batch.done)} of {noun(batch.total, 'task')}")
    said = Text(f"{count(batch.done)} of {count(batch.total)} done")
    for number, word, style in ((batch.failed, "failed", "red"), (batch.canceled, "canceled", "yellow")):
        if number:
            said.append(", ").append(f"{count(number)} {word}", style)
    return said
