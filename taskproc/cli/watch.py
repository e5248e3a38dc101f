"""`taskproc watch`: the overview, again and again."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from taskproc.cli.commands import Desk
from taskproc.cli.live import ended_by_hand, is_live
from taskproc.cli.output import spaced, tell
from taskproc.cli.overview import look, shown
from taskproc.errors import StorageUnavailable
from taskproc.failure import message_of, visible

__all__ = ["watch"]


async def watch(
    desk: Desk,
    *,
    interval: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between looks")] = 2,
) -> None:
    """Shows queues, workers and pauses, again and again, until q or Ctrl-C is pressed."""
    console = desk.out.console
    if desk.out.as_json:
        await ended_by_hand(_objects(desk, interval))
    elif not is_live(console):
        await ended_by_hand(_frames(desk, interval))
    else:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            await ended_by_hand(_screens(desk, interval, live), key=True)


async def _screens(desk: Desk, interval: float, live: Live) -> None:
    while True:
        live.update(spaced(Text(f"{_now()}  q ends", style="dim"), await _frame(desk)), refresh=True)
        await asyncio.sleep(interval)


async def _frames(desk: Desk, interval: float) -> None:
    """One after the other, for what cannot be moved back on."""
    while True:
        desk.out.print(spaced(Text(_now()), await _frame(desk), Text()))
        await asyncio.sleep(interval)


async def _objects(desk: Desk, interval: float) -> None:
    """One a line."""
    while True:
        try:
            desk.out.json(await look(desk.processor), indent=None)
        except StorageUnavailable as error:
            tell(error)
        await asyncio.sleep(interval)


def _now() -> str:
    return f"{datetime.now().astimezone():%H:%M:%S}"


async def _frame(desk: Desk) -> RenderableType:
    """The overview, or why there is none: the server may be back a moment later."""
    try:
        return shown(await look(desk.processor), desk.out)
    except StorageUnavailable as error:
        return Text(visible(message_of(error)), style="red")
