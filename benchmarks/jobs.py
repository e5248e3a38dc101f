"""The tasks that are enqueued and run, and the services that have them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

from dependency_injector import containers, providers

from taskproc import background, ref

__all__ = [
    "JOBS",
    "Container",
    "Job",
    "hold",
    "let_go",
    "mark",
    "noop",
    "tick",
    "when_done",
    "when_held",
    "when_marked",
]

Job = Callable[[int, str], object]


class Session:
    """What a task opens for itself, such as a database session."""


class Plain:
    """A service that needs nothing."""

    async def noop(self, number: int, text: str) -> None:
        """Does nothing."""


class Stored:
    """A service with a resource of its task's own, opened and closed by a generator."""

    def __init__(self, session: Session) -> None:
        self.session = session

    async def noop(self, number: int, text: str) -> None:
        """Does nothing."""


class StoredAsync(Stored):
    """The same, by an async generator."""


def open_session() -> Generator[Session]:
    """Opened when the service is made, closed when the task has ended."""
    yield Session()


async def open_session_async() -> AsyncGenerator[Session]:
    """As `open_session`, in the way of an async database driver."""
    yield Session()


class Container(containers.DeclarativeContainer):
    session = providers.ContextLocalResource(open_session)
    session_async = providers.ContextLocalResource(open_session_async)
    plain = providers.Factory(Plain)
    stored = providers.Factory(Stored, session)
    stored_async = providers.Factory(StoredAsync, session_async)


@background
async def noop(number: int, text: str) -> None:
    """Does nothing."""


@background
def noop_def(number: int, text: str) -> None:
    """Does nothing, in a thread."""


@background
async def nap(number: int, text: str) -> None:  # noqa: ARG001  what the payload has
    """Waits as for a database."""
    await asyncio.sleep(0.01)


@background
async def busy(number: int, text: str) -> None:  # noqa: ARG001  what the payload has
    """Computes for half a millisecond."""
    end = time.thread_time_ns() + 500_000
    while time.thread_time_ns() < end:
        pass


class _Watched:
    """What tasks tell the program that runs them; a worker process of its own has nobody to tell."""

    def __init__(self) -> None:
        self.left = 0
        self.to_hold = 0
        self.marked: asyncio.Future[float] | None = None
        self.done = asyncio.Event()
        self.all_held = asyncio.Event()
        self.gate = asyncio.Event()


_watched = _Watched()


@background
async def mark() -> None:
    """Says when it began, and that everything before it is done."""
    now = time.perf_counter()
    if _watched.marked is not None and not _watched.marked.done():
        _watched.marked.set_result(now)


def when_marked() -> Awaitable[float]:
    """The time when the next `mark` has begun."""
    _watched.marked = asyncio.get_running_loop().create_future()
    return _watched.marked


@background
async def tick(number: int, text: str) -> None:  # noqa: ARG001  what the payload has
    """Counts down."""
    _watched.left -= 1
    if not _watched.left:
        _watched.done.set()


def when_done(count: int) -> Awaitable[object]:
    """Returns when `count` ticks have run, from now on."""
    _watched.left = count
    _watched.done.clear()
    return _watched.done.wait()


@background
async def hold(number: int, text: str) -> None:  # noqa: ARG001  what the payload has
    """Takes a slot until `let_go`."""
    _watched.to_hold -= 1
    if not _watched.to_hold:
        _watched.all_held.set()
    await _watched.gate.wait()


def when_held(count: int) -> Awaitable[object]:
    """Returns when so many slots are held."""
    _watched.to_hold = count
    return _watched.all_held.wait()


def let_go() -> None:
    """Ends all that hold a slot."""
    _watched.gate.set()


JOBS: dict[str, Job] = {
    "noop": noop,
    "noop_def": noop_def,
    "nap": nap,
    "busy": busy,
    "factory": ref(Plain).noop,
    "resource": ref(Stored).noop,
    "async_resource": ref(StoredAsync).noop,
}
