"""The tasks that every peer runs, and what its worker process tells the measuring one through a pipe."""

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

NAP_SECONDS = 0.01


@dataclass(slots=True)
class _Run:
    """What is counted: the first task's first line, and how many have ended."""

    pipe: int = -1
    count: int = 0
    first: float = 0.0
    ended: Iterator[int] = field(default_factory=lambda: itertools.count(1))  # its next() is atomic


_run = _Run()


def report_to(pipe: int, count: int) -> None:
    """From now on tasks are counted, and when `count` have run the times are written to the pipe."""
    _run.pipe, _run.count = pipe, count


def _tell(*words: float) -> None:
    os.write(_run.pipe, (" ".join(map(repr, words)) + "\n").encode())


def _rss_bytes() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def _began() -> None:
    if not _run.first:
        _run.first = time.monotonic()


def _ended() -> None:
    if next(_run.ended) == _run.count:
        _tell(_run.first, time.monotonic(), _rss_bytes())


async def noop(number: int, text: str) -> None:  # noqa: ARG001 - what is sent and what is run is the same for all
    """Nothing, counted."""
    _began()
    _ended()


async def nap(number: int, text: str) -> None:  # noqa: ARG001
    """Sleeps 10 ms, counted."""
    _began()
    await asyncio.sleep(NAP_SECONDS)
    _ended()


async def mark(number: int, text: str) -> None:  # noqa: ARG001
    """Tells when it began."""
    _tell(number, time.monotonic())


def noop_sync(number: int, text: str) -> None:  # noqa: ARG001
    """`noop` for peers whose workers are threads."""
    _began()
    _ended()


def nap_sync(number: int, text: str) -> None:  # noqa: ARG001
    """`nap` for peers whose workers are threads."""
    _began()
    time.sleep(NAP_SECONDS)
    _ended()


def mark_sync(number: int, text: str) -> None:  # noqa: ARG001
    """`mark` for peers whose workers are threads."""
    _tell(number, time.monotonic())


TASKS: dict[str, Callable[[int, str], Awaitable[None]]] = {"noop": noop, "nap": nap, "mark": mark}
SYNC_TASKS: dict[str, Callable[[int, str], None]] = {"noop": noop_sync, "nap": nap_sync, "mark": mark_sync}
