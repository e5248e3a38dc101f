"""Waiting for something to become true, instead of sleeping for as long as it may take."""

import asyncio
import inspect
import random
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast, overload

T = TypeVar("T")

_POLL = 0.01  # seconds


@overload
async def wait_until(condition: Callable[[], Awaitable[T]], seconds: float = 5, what: str = "") -> T: ...
@overload
async def wait_until(condition: Callable[[], T], seconds: float = 5, what: str = "") -> T: ...
async def wait_until(condition: Callable[[], T | Awaitable[T]], seconds: float = 5, what: str = "") -> T:
    """The first true value of `condition`, sync or async, asked every 10 ms; AssertionError after `seconds`.

    The error says `what` was waited for, and what the condition said last.
    """
    last: object = None
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            while True:
                value = condition()
                last = await value if inspect.isawaitable(value) else value
                if last:
                    return cast("T", last)
                await asyncio.sleep(_POLL)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise _too_late(condition, seconds, what, last) from error


def block_until(condition: Callable[[], T], seconds: float = 5, what: str = "") -> T:
    """`wait_until` for tests without an event loop, and for those whose loop shall stand still meanwhile."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise _too_late(condition, seconds, what, value)
        time.sleep(_POLL)
    return value


def free_port() -> int:
    """A port on loopback that nobody listens on: a random one below the range that the system hands out itself."""
    while True:
        port = random.randrange(12_000, 22_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _too_late(condition: Callable[[], object], seconds: float, what: str, last: object) -> AssertionError:
    return AssertionError(f"not within {seconds:g} s: {what or _place(condition)} (last: {last!r})")


def _place(condition: Callable[[], object]) -> str:
    """Where a condition without a description is written."""
    code = getattr(condition, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(condition)
