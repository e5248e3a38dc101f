"""Keeps a page that is shown up to date: sends its content whenever that has changed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from time import monotonic

from starlette.responses import Response

from taskproc import TaskProcessorError
from taskproc_fastapi.dashboard.access import Refused
from taskproc_fastapi.dashboard.view import View
from taskproc_fastapi.sse import EventStream, server_is_stopping

__all__ = ["MOST_STREAMS", "stream", "wants_stream"]

EVERY = 2.0  # seconds
GLANCE = 0.2  # seconds, between two looks whether the server is stopping
LONGEST = 30.0  # seconds; then the browser asks again, and is let in again or not
MOST_STREAMS = 100

PULSE = b"event: pulse\ndata: .\n\n"
"""Says that all is as it was; a browser may drop an event without data."""

Render = Callable[[], Awaitable[str]]
_CHANGES_BY_ITSELF = re.compile(r"(<time [^>]*>)[^<]*")


def wants_stream(view: View) -> bool:
    return "text/event-stream" in view.request.headers.get("accept", "")


async def stream(view: View, render: Render) -> Response:
    """Events `main` with the content of the page whenever it has changed, and `pulse` meanwhile; refused when there are
    too many streams already.
    """
    shared = view.shared
    if shared.streams >= MOST_STREAMS:
        raise Refused(503, "Too many are watching", f"There are {MOST_STREAMS} event streams already.")
    first = await render()  # what is refused is refused now

    async def counted() -> AsyncGenerator[bytes]:
        shared.streams += 1
        try:
            async for event in _events(first, render):
                yield event
        finally:
            shared.streams -= 1

    return EventStream(counted())


async def _events(html: str, render: Render) -> AsyncGenerator[bytes]:
    end, last = monotonic() + LONGEST, ""
    while True:
        lasting = _CHANGES_BY_ITSELF.sub(r"\1", html)
        if lasting != last:
            last = lasting
            yield _event(html)
        else:
            yield PULSE
        await _pause()
        if monotonic() > end or server_is_stopping():
            return
        try:
            html = await render()
        except (TaskProcessorError, Refused):
            return  # the browser asks again, and is told then


def _event(html: str) -> bytes:
    return b"event: main\n" + b"".join(b"data: %s\n" % line.encode() for line in html.splitlines()) + b"\n"


async def _pause() -> None:
    for _ in range(int(EVERY / GLANCE)):
        if server_is_stopping():
            return
        await asyncio.sleep(GLANCE)
