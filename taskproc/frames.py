"""Frames of what runs or waits, as text: where the code is, and never what its variables hold."""

from __future__ import annotations

import asyncio
import gc
import linecache
import os
import site
import stat
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any, cast

from taskproc.failure import visible
from taskproc.models import StackFrame

__all__ = [
    "MOST_FRAMES",
    "MOST_WALKED",
    "READ_WITHIN",
    "Spot",
    "frames_of",
    "of_users_code",
    "spot_of",
    "waiting_in",
    "walk",
    "where",
    "without_lead",
]

MOST_FRAMES = 50
"""That are shown of a stack: the innermost."""
MOST_WALKED = 2_000
"""That are looked at of a stack."""
LONGEST = 200  # characters of a path, a function, a line
LARGEST_SOURCE = 2_000_000  # bytes of a file that is read for its lines
READ_WITHIN = 0.5  # seconds, for the lines of all frames that are written out together

Spot = tuple[CodeType, int]
"""A place in the code: cheap to note while others run, written out later."""

_LEAD = tuple(f"{Path(file).parent}{os.sep}" for file in (__file__, asyncio.__file__))
"""Folders whose code is around each task."""


# Walking: nothing here waits, reads a file, or calls code of the user's, which `isinstance` and `hasattr` may do


def walk(frame: FrameType | None) -> list[FrameType]:
    """The frames of a thread from the one given, which is the innermost, outermost first."""
    found: list[FrameType] = []
    while frame is not None and len(found) < MOST_WALKED:
        found.append(frame)
        frame = frame.f_back
    return found[::-1]


def spot_of(frame: FrameType) -> Spot:
    """Where it is by now."""
    return frame.f_code, frame.f_lineno


def waiting_in(awaitable: object) -> list[Spot]:
    """Where a suspended coroutine, or asyncio task, waits, through all that it awaits, outermost first."""
    found: list[Spot] = []
    for _ in range(MOST_WALKED):
        frame, awaitable = _step(awaitable)
        if frame is not None:
            found.append(spot_of(frame))
        if awaitable is None:
            break
    return found


def _step(awaitable: Any) -> tuple[FrameType | None, object]:
    """The frame of something that is awaited, if it has one, and what that awaits in its turn."""
    kind = cast("type[object]", type(awaitable))
    if kind is CoroutineType:
        return awaitable.cr_frame, awaitable.cr_await
    if kind is AsyncGeneratorType:
        return awaitable.ag_frame, awaitable.ag_await
    if kind is GeneratorType:
        return awaitable.gi_frame, awaitable.gi_yieldfrom
    if issubclass(kind, asyncio.Task):
        return None, cast("object", asyncio.Task.get_coro(awaitable))
    within = gc.get_referents(awaitable) if kind.__name__ in _WRAPPERS else []
    return None, next((each for each in within if issubclass(type(each), _AWAITED)), None)


_AWAITED = (CoroutineType, AsyncGeneratorType, asyncio.Task)
_WRAPPERS = frozenset(
    {"FutureIter", "anext_awaitable", "async_generator_asend", "async_generator_athrow", "coroutine_wrapper"}
)
"""What Python puts around what is awaited, without telling of what."""


# Choosing


def without_lead(spots: Sequence[Spot]) -> list[Spot]:
    """Without the outer frames that are the same in each task, unless there are no others."""
    first = next((place for place, (code, _) in enumerate(spots) if not _is_lead(code.co_filename)), 0)
    return list(spots[first:])


def _is_lead(path: str) -> bool:
    return path.startswith(_LEAD) or path == threading.__file__


def of_users_code(spots: Sequence[Spot]) -> Spot:
    """The innermost place in code that is no library; in an application that is installed as one, of its package."""
    own = [spot for spot in spots if not _is_library(spot[0].co_filename)]
    if not own:
        entry = without_lead(spots)[0]
        own = [spot for spot in spots if _package(spot) == _package(entry)]
    return own[-1]


def _package(spot: Spot) -> str:
    return _short_path(spot[0].co_filename).partition(os.sep)[0]


# Writing out


def where(spot: Spot) -> str:
    """`app/mail.py:14 Mailer.send`."""
    return str(_frame(spot, ""))


def frames_of(spots: Sequence[Spot], read_until: float | None = None) -> list[StackFrame]:
    """The innermost places, written out; lines are read until that time, by `time.monotonic()`."""
    end = time.monotonic() + READ_WITHIN if read_until is None else read_until
    return [_frame(spot, _line(spot) if time.monotonic() < end else "") for spot in spots[-MOST_FRAMES:]]


def _frame(spot: Spot, source: str) -> StackFrame:
    code, line = spot
    return StackFrame(
        file=visible(_short_path(code.co_filename)[-LONGEST:]),
        line=line,
        function=_bounded(code.co_qualname),
        source=source,
    )


def _bounded(text: str) -> str:
    return visible(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def _line(spot: Spot) -> str:
    path = spot[0].co_filename
    if path not in linecache.cache and not _can_be_read(path):
        return ""
    return _bounded(linecache.getline(path, spot[1]).strip())


def _can_be_read(path: str) -> bool:
    """Code may say that it comes from anywhere: no device, and nothing that is huge, is read for it."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size <= LARGEST_SOURCE


@lru_cache(maxsize=4_096)
def _short_path(path: str) -> str:
    """Relative to where packages are installed, or to the working directory, if it is below one of those."""
    root = max((each for each in _roots() if path.startswith(each)), key=len, default="")
    return path[len(root) :]


@lru_cache(maxsize=4_096)
def _is_library(path: str) -> bool:
    """Whether it is Python's own, installed, or ours."""
    here = _folder(_working_directory())
    root = max((each for each in (*_libraries(), here) if path.startswith(each)), key=len, default="")
    return path.startswith(("<frozen ", *_LEAD)) or (bool(root) and root != here)


@lru_cache(maxsize=1)
def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    found = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found += [*site.getsitepackages(), site.getusersitepackages()]
    return tuple(map(_folder, found))


def _roots() -> Iterator[str]:
    yield from _libraries()
    yield from (_folder(path) for path in (_working_directory(), *sys.path) if path)


def _working_directory() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it may be gone
        return ""


def _folder(path: str) -> str:
    """As a path below it begins; the root counts for nothing."""
    return "\0" if path in ("", os.sep) else f"{Path(path).absolute()}{os.sep}"
