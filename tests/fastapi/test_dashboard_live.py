"""Pages that keep themselves up to date."""

import asyncio
import re
import time

import httpx
import pytest

from taskproc import TaskProcessor
from taskproc_fastapi.dashboard import live, rendering
from tests.conftest import MakeSettings
from tests.fastapi.dashboard_kit import OPERATOR, SAME_SITE, TENANT, guarded_app, served, work
from tests.fastapi.streams import Viewer, viewing
from tests.kit import free_port, process, wait_until

EVENTS = {"accept": "text/event-stream", "x_user": "ann"}


def pages(viewer: Viewer) -> list[str]:
    """The content of each event so far."""
    blocks = [block for block in viewer.text.split("\n\n")[:-1] if block.startswith("event: main\n")]
    return ["\n".join(line.removeprefix("data: ") for line in block.split("\n")[1:]) for block in blocks]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EVERY", 0.1)
    monkeypatch.setattr(live, "GLANCE", 0.05)


@pytest.mark.leaves_keys("a task is still queued")
async def test_a_stream_tells_of_changes_only(settings: MakeSettings) -> None:
    """The first event has what the page has; others come when something changes, but not because time passes."""
    app = guarded_app(settings())
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        await processor.on("idle", tenant="acme").enqueue(work, 1)
        async with viewing(app, "/tasks/queues", **EVENTS) as viewer:
            await wait_until(lambda: pages(viewer))
            assert viewer.headers["content-type"].startswith("text/event-stream")
            assert viewer.headers["cache-control"].startswith("no-store")
            assert "content-security-policy" in viewer.headers
            page = (await client.get("/tasks/queues", headers=OPERATOR)).text
            (first,) = pages(viewer)
            assert re.sub(r"(<time[^>]*>)[^<]*", r"\1", first) in re.sub(r"(<time[^>]*>)[^<]*", r"\1", page)
            await asyncio.sleep(1.2)  # in which `1 s ago` changes
            assert len(pages(viewer)) == 1
            await processor.on("idle", tenant="acme").enqueue(work, 2)
            await wait_until(lambda: len(pages(viewer)) == 2)
            assert re.search(r">idle</a>[^/]*no worker</span>\s*</th>\s*<td class=\"n\"[^>]*>2</td>", pages(viewer)[1])


async def test_streams_are_as_guarded_as_pages(settings: MakeSettings) -> None:
    """Nobody else gets one, a viewer of one tenant one of its own only, and what is not there has none."""
    app = guarded_app(settings())
    stream = {"accept": "text/event-stream"}
    async with served(app) as client:
        assert (await client.get("/tasks", headers=stream)).status_code == 401
        assert (await client.get("/tasks/redis", headers=stream | TENANT)).status_code == 403
        assert (await client.get("/tasks/task?id=gone", headers=stream | OPERATOR)).status_code == 404


async def test_there_are_so_many_streams_at_most(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused, and served when another has gone."""
    monkeypatch.setattr(live, "MOST_STREAMS", 2)
    app = guarded_app(settings())
    async with served(app):
        async with viewing(app, "/tasks", **EVENTS) as first, viewing(app, "/tasks/queues", **EVENTS) as second:
            await wait_until(lambda: pages(first) and pages(second))
            async with viewing(app, "/tasks", **EVENTS) as third:
                assert third.status == 503
        async with viewing(app, "/tasks", **EVENTS) as third:
            assert third.status == 200


async def test_a_stream_does_not_last(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends after a while: who may no longer look is not let in again."""
    monkeypatch.setattr(live, "LONGEST", 0.3)
    app = guarded_app(settings())
    async with served(app), viewing(app, "/tasks", **EVENTS) as viewer:
        await wait_until(lambda: viewer.closed)
        assert "retry:" in viewer.text


async def test_what_is_fetched_leaves_the_message(settings: MakeSettings) -> None:
    """A page that the script fetches for its news does not take the message that the reader is to see."""
    app = guarded_app(settings())
    async with served(app) as client:
        await client.post("/tasks/act/resume", headers=OPERATOR | SAME_SITE)
        polled = await client.get("/tasks", headers=OPERATOR | {rendering.LIVE: "poll"})
        assert "Resumed everything" not in polled.text
        assert 'id="alive"' in polled.text
        assert "Resumed everything" in (await client.get("/tasks", headers=OPERATOR)).text


async def test_uvicorn_does_not_wait_for_viewers(redis_url: str, prefix: str) -> None:
    """Told to end it ends at once, though pages are open."""
    port = free_port()
    arguments = ["-m", "uvicorn", "tests.fastapi.dashboard_app:app", "--port", str(port), "--log-level", "warning"]
    headers = {"accept": "text/event-stream", **OPERATOR}
    with process(arguments, env={"TASKPROC_REDIS": redis_url, "TASKPROC_PREFIX": prefix}) as uvicorn:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, headers=headers) as client:

            async def is_up() -> bool:
                try:
                    return (await client.get("/tasks", headers={"accept": "text/html"})).status_code == 200
                except httpx.TransportError:
                    return False

            await wait_until(is_up, 30)
            async with client.stream("GET", "/tasks") as one, client.stream("GET", "/tasks/workers") as other:
                lines = one.aiter_lines()
                while "event: main" not in await anext(lines):
                    pass
                assert other.status_code == 200
                begun = time.monotonic()
                uvicorn.terminate(10)
                assert time.monotonic() - begun < 3
        assert "Traceback" not in uvicorn.log
