"""The processor in the routes of an app: `Tasks`, for HTTP and WebSocket, `async def` and `def`."""

import asyncio
from typing import Any

import fastapi
import pytest
from fastapi import WebSocket

from taskproc import BatchInfo, ConfigurationError, TaskProcessor, TaskProcessorError, background
from taskproc.batch import Batch
from taskproc_fastapi import FastAPI, Tasks, add_task_processor, add_task_processor_executor, get_task_processor
from tests.conftest import MakeSettings
from tests.fastapi.client import TestClient, get, post
from tests.kit import block_until

noted: list[str] = []


@background
async def note(word: str) -> None:
    """A task that leaves its word."""
    noted.append(word)


@pytest.fixture(autouse=True)
def _nothing_noted() -> None:
    noted.clear()


def running_app(settings: MakeSettings) -> FastAPI:
    """An app that runs its own tasks."""
    app = FastAPI()
    app.add_task_processor(settings())
    app.add_task_processor_executor()
    return app


def test_an_async_route_enqueues(settings: MakeSettings) -> None:
    """The task runs, and what the processor returns can be the response."""
    app = running_app(settings)

    @app.post("/batch")
    async def batch(tasks: Tasks) -> str:
        async with tasks.batch(tenant="acme") as filled:
            filled.enqueue(note, "first")
            filled.enqueue(note, "second")
        return filled.id

    @app.get("/batches")
    async def batches(tasks: Tasks) -> list[BatchInfo]:
        return await tasks.get_batches("acme")

    with TestClient(app) as client:
        id_ = post(client, "/batch")

        def ended() -> dict[str, Any]:
            (found,) = get(client, "/batches")
            return found if found["state"] == "done" else {}

        found = block_until(ended, what="end of the batch")
        assert (found["id"], found["done"], found["tenant"]) == (id_, 2, "acme")
    assert sorted(noted) == ["first", "second"]


def test_a_websocket_enqueues(settings: MakeSettings) -> None:
    """A WebSocket route gets the processor as an HTTP route does."""
    app = running_app(settings)

    @app.websocket("/ws")
    async def talk(socket: WebSocket, tasks: Tasks) -> None:
        await socket.accept()
        await tasks.enqueue(note, await socket.receive_text())
        await socket.send_text("enqueued")

    with TestClient(app) as client:
        with client.websocket_connect("/ws") as socket:
            socket.send_text("over the wire")
            assert socket.receive_text() == "enqueued"
        block_until(lambda: noted == ["over the wire"])


def test_a_def_route_uses_blocking(settings: MakeSettings) -> None:
    """`tasks.blocking` works in a `def` route, and is refused in the event loop, where it would wait for itself."""
    app = running_app(settings)

    def build(batch: Batch) -> None:
        batch.enqueue(note, "of a batch")

    @app.post("/def")
    def enqueue(tasks: Tasks) -> list[str]:
        return [
            tasks.blocking.enqueue(note, "plain"),
            tasks.blocking.on("default", retries=1).enqueue(note, "with options"),
            tasks.blocking.enqueue_batch("default", "acme", build),
        ]

    @app.post("/async")
    async def wrong(tasks: Tasks) -> str:
        return tasks.blocking.enqueue(note, "never")

    with TestClient(app) as client:
        assert len(set(post(client, "/def"))) == 3
        block_until(lambda: sorted(noted) == ["of a batch", "plain", "with options"])
        with pytest.raises(TaskProcessorError, match="in the event loop"):
            client.post("/async")
    assert "never" not in noted


def test_the_processor_can_be_overridden_in_tests() -> None:
    """`dependency_overrides[get_task_processor]` puts a stand-in in its place, without any Redis."""
    app = FastAPI()
    app.add_task_processor()
    enqueued: list[Any] = []

    class Recording:
        async def enqueue(self, *call: Any) -> str:
            enqueued.append(call)
            return "id"

    @app.post("/")
    async def route(tasks: Tasks) -> str:
        return await tasks.enqueue(note, "word")

    app.dependency_overrides[get_task_processor] = Recording
    assert post(TestClient(app), "/") == "id"
    assert enqueued == [(note, "word")]


def test_an_app_without_a_processor_says_so(settings: MakeSettings) -> None:
    """Also a mounted one, which is an app of its own; it may be given that of its parent."""
    app, mounted = running_app(settings), FastAPI()

    @mounted.post("/")
    async def route(tasks: Tasks) -> str:
        return await tasks.enqueue(note, "from a mounted app")

    app.mount("/mounted", mounted)
    with TestClient(app) as client:
        with pytest.raises(ConfigurationError, match=r"this app has no task processor: call app\.add_task_processor"):
            client.post("/mounted/")
        mounted.add_task_processor(app.state.task_processor)
        client.post("/mounted/")
        block_until(lambda: noted == ["from a mounted app"])


async def test_a_processor_is_closed_by_the_app_that_connected_it(settings: MakeSettings) -> None:
    """When a mounted app's lifespan is run within its parent's, the parent's goes on afterwards, executor included."""
    app, mounted = FastAPI(), FastAPI()
    processor = TaskProcessor(settings())
    for each in (app, mounted):
        assert each.add_task_processor(processor) is processor
        each.add_task_processor_executor()
    async with app.router.lifespan_context(app):
        async with mounted.router.lifespan_context(mounted):
            await processor.enqueue(note, "inside")
        await processor.enqueue(note, "afterwards")
        async with asyncio.timeout(5):
            while len(noted) < 2 or (await processor.get_queue("default")).running:
                await asyncio.sleep(0.01)
    assert not processor.connected


def test_the_methods_are_there_on_stock_apps(settings: MakeSettings) -> None:
    """Importing the package gives them to `fastapi.FastAPI`; there are functions for those who want types."""
    stock: Any = fastapi.FastAPI()
    processor = stock.add_task_processor(settings())
    stock.add_task_processor_executor()
    assert stock.state.task_processor is processor
    typed = fastapi.FastAPI()
    assert isinstance(add_task_processor(typed, settings()), TaskProcessor)
    add_task_processor_executor(typed)
