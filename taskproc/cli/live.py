"""Commands that go on: until a signal or a key ends them, on a terminal that is left as it was."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Generator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console

__all__ = ["ended_by_hand", "is_live"]

SIGNALS = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def is_live(console: Console) -> bool:
    """Whether what was printed can be replaced."""
    return console.is_terminal and not console.is_dumb_terminal


async def ended_by_hand(work: Coroutine[Any, Any, None], *, key: bool = False) -> bool:
    """Does the work until it is over, which is False, or until a signal comes or, with `key`, q is pressed."""
    asked = asyncio.Event()
    with _signals(asked), _keys(asked, wanted=key):
        working, waiting = asyncio.create_task(work), asyncio.create_task(asked.wait())
        try:
            await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            if not working.done():
                working.cancel()
                await asyncio.wait([working])
    if working.cancelled():
        return True
    working.result()
    return False


@contextmanager
def _signals(asked: asyncio.Event) -> Generator[None]:
    """Also where a shell has told its background programs to ignore Ctrl-C."""
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # on Windows Ctrl-C cancels everything
        for name in SIGNALS:
            loop.add_signal_handler(getattr(signal, name), asked.set)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            for name in SIGNALS:
                loop.remove_signal_handler(getattr(signal, name))


@contextmanager
def _keys(asked: asyncio.Event, *, wanted: bool) -> Generator[None]:
    """Listens to the keyboard, if this program is the one in front of it."""
    if not wanted or sys.platform == "win32" or not sys.stdin.isatty():
        yield
        return
    import termios  # noqa: PLC0415 - Windows has none
    import tty  # noqa: PLC0415

    keyboard = sys.stdin.fileno()
    if os.tcgetpgrp(keyboard) != os.getpgrp():
        yield
        return
    before, loop = termios.tcgetattr(keyboard), asyncio.get_running_loop()

    def pressed() -> None:
        keys = os.read(keyboard, 100)
        if keys in (b"", b"\x1b") or set(keys) & set(b"qQ"):
            asked.set()

    tty.setcbreak(keyboard)
    loop.add_reader(keyboard, pressed)
    try:
        yield
    finally:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
