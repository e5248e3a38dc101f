"""Clients of event streams: one that speaks ASGI, and may be slow or go away, and a reader of what any of them gets."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.kit import wait_until

Message = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """As a browser would dispatch it."""

    kind: str
    id: str
    data: dict[str, Any]


def read_events(text: str) -> list[Event]:
    """The whole events of a stream so far; AssertionError for a line that the standard does not know."""
    found: list[Event] = []
    for block in text.split("\n\n")[:-1]:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            if line.startswith(":"):
                continue
            name, colon, value = line.partition(": ")
            assert colon, line
            assert name in {"event", "id", "data", "retry"}, line
            fields[name] = value
        if "data" in fields:
            found.append(Event(kind=fields["event"], id=fields["id"], data=json.loads(fields["data"])))
    return found


class Viewer:
    """What a client of an app has got so far."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.text = ""
        self.closed = False
        """Whether the app has ended the response."""
        self.reading = asyncio.Event()
        self.reading.set()
        self._left = asyncio.Event()
        self._asked = False
        self.serving: asyncio.Task[None]

    @property
    def events(self) -> list[Event]:
        return read_events(self.text)

    async def saw(self, kind: str, seconds: float = 10) -> Event:
        """The last event, once it is of that kind."""
        await wait_until(lambda: self.events and self.events[-1].kind == kind, seconds, f"{kind} in {self.text[-500:]}")
        return self.events[-1]

    def leave(self) -> None:
        """Closes the connection."""
        self._left.set()

    async def receive(self) -> Message:
        """What the server tells the app."""
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """What the app sends; a slow client lets it wait."""
        await self.reading.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.text += message["body"].decode()
            self.closed = not message.get("more_body", False)


App = Callable[[Any, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


@asynccontextmanager
async def viewing(app: Any, path: str, **headers: str) -> AsyncGenerator[Viewer]:
    """A client that has sent a GET request; it goes away with the block, and the app is done with it soon."""
    path, _, query = path.partition("?")
    viewer = Viewer()
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1), "server": ("app", 80),
    }  # fmt: skip
    serve: App = app
    viewer.serving = asyncio.ensure_future(_served(serve(scope, viewer.receive, viewer.send)))
    try:
        await wait_until(lambda: viewer.status or viewer.serving.done())
        yield viewer
    finally:
        viewer.leave()
        await asyncio.wait_for(viewer.serving, 2)


async def _served(serving: Awaitable[None]) -> None:
    await serving
