"""Server-sent events: responses that stay open until there is nothing more to say, or nobody to say it to."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator

from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

__all__ = ["KEEP_ALIVE", "STILL_HERE", "EventStream", "event", "server_is_stopping"]

KEEP_ALIVE = 15.0  # seconds: what is silent for longer, proxies take for dead
STILL_HERE = b": still here\n\n"
RETRY = b"retry: 2000\n\n"  # milliseconds until a client comes again

HEADERS = {
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",  # nginx and others like it send what comes as it comes
}


def event(kind: str, id_: str, data: bytes) -> bytes:
    """An event with one line of data."""
    return b"event: %s\nid: %s\ndata: %s\n\n" % (kind.encode(), id_.encode(), data)


class EventStream(StreamingResponse):
    """Sends what `events` gives until that ends, or the client has gone; then `events` is closed.

    A client that says it has the event with the id `last` already is told to come no more (204).
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], *, last: str | None = None) -> None:
        super().__init__(_with_retry(events), headers=HEADERS)
        self._events = events
        self._last = last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._last is not None and Headers(scope=scope).get("Last-Event-ID") == self._last:
            await Response(status_code=204, headers={"Cache-Control": "no-store"})(scope, receive, send)
            return
        parts = [asyncio.create_task(self.stream_response(send)), asyncio.create_task(_gone(receive))]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            outcome, _ = await asyncio.gather(*parts, return_exceptions=True)
            await self._events.aclose()
        if isinstance(outcome, Exception) and not isinstance(outcome, OSError):  # which is the client's leaving too
            raise outcome


async def _with_retry(events: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    yield RETRY
    async for each in events:
        yield each


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def server_is_stopping() -> bool:
    """Whether uvicorn was told to end. It waits for open responses, and only then ends the app's lifespan; it tells
    neither of them before. Its handler of signals knows.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        server = getattr(signal.getsignal(number), "__self__", None)
        if getattr(server, "should_exit", False) is True:
            return True
    return False
