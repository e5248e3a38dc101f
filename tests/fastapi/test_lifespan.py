"""When the processor of an app connects, runs tasks and closes."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from dependency_injector import providers
from fastapi import APIRouter, Request

from taskproc import StorageUnavailable, TaskProcessor, background
from taskproc_fastapi import FastAPI
from tests.conftest import MakeSettings
from tests.fastapi.client import TestClient, get
from tests.fastapi.container_kit import Broken, Log, one
from tests.kit import block_until, free_port

events: list[str] = []


@background
async def note(word: str) -> None:
    """A task that leaves its word."""
    events.append(word)


@pytest.fixture(autouse=True)
def _no_events() -> None:
    events.clear()


Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]


def lifespan(name: str, state: dict[str, Any] | None = None) -> Lifespan:
    """A lifespan that notes its start and end, and enqueues a task in both."""

    @asynccontextmanager
    async def noted(app: FastAPI) -> AsyncGenerator[dict[str, Any] | None]:
        tasks: TaskProcessor = app.state.task_processor
        await asyncio.sleep(0.05)  # time enough for a task, if tasks ran already
        events.append(f"{name} starts")
        await tasks.enqueue(note, f"task of {name}'s start")
        yield state
        await tasks.enqueue(note, f"task of {name}'s end")
        events.append(f"{name} ends")

    return noted


async def test_the_parts_start_in_order_and_end_in_reverse(settings: MakeSettings) -> None:
    """Connect, resources, lifespans of the app and of a router included later, executor; and back."""
    processor: TaskProcessor

    async def pool() -> AsyncIterator[str]:
        events.append(f"pool opens, connected: {processor.connected}")
        yield "pool"
        events.append(f"pool closes, connected: {processor.connected}")

    app = FastAPI(lifespan=lifespan("app"))
    processor = app.add_task_processor(settings(), container=one(pool=providers.Resource(pool)))
    app.add_task_processor_executor()
    app.include_router(APIRouter(lifespan=lifespan("router")))
    assert not is_connected(processor)
    with TestClient(app):
        started = ["pool opens, connected: True", "app starts", "router starts"]
        assert events[:3] == started
        block_until(lambda: len(events) == 5, what="the tasks of the start")
        assert set(events[3:]) == {"task of app's start", "task of router's start"}
        events.clear()
    assert events == ["router ends", "app ends", "pool closes, connected: True"]
    assert not is_connected(processor)
    async with processor:  # what was enqueued at the end waits for the next start
        assert (await processor.get_queue("default")).length == 2
    with TestClient(app):
        block_until(lambda: "task of app's end" in events and "task of router's end" in events)
        await_settled(app)
    async with processor:
        await asyncio.wait_for(drain(processor), 10)


def is_connected(processor: TaskProcessor) -> bool:
    """Asked anew: a type checker takes it for unchanged otherwise."""
    return processor.connected


def await_settled(app: FastAPI) -> None:
    """Waits, from outside its loop, until the app's processor has nothing to do."""
    blocking = app.state.task_processor.blocking
    get_queue = app.state.task_processor.get_queue

    def idle() -> bool:
        queue = blocking.wait(get_queue("default"))
        return not queue.length and not queue.running

    block_until(idle, what="all tasks settled")


async def drain(processor: TaskProcessor) -> None:
    """Runs what is left."""
    running = asyncio.create_task(processor.run())
    while True:
        queue = await processor.get_queue("default")
        if not queue.length and not queue.running:
            break
        await asyncio.sleep(0.01)
    await processor.stop()
    await running


@asynccontextmanager
async def with_state(_app: FastAPI) -> AsyncGenerator[dict[str, Any]]:
    """A lifespan whose state the requests see."""
    yield {"of_app": 1}


@asynccontextmanager
async def with_more_state(_app: FastAPI) -> AsyncGenerator[dict[str, Any]]:
    """… and that of a router."""
    yield {"of_router": 2}


def test_the_app_can_start_again_and_its_lifespan_state_is_kept(settings: MakeSettings) -> None:
    """A test client after another, each with all that the lifespans yield; the app is left as it was."""
    app = FastAPI(lifespan=with_state)
    app.add_task_processor(settings())
    app.add_task_processor_executor()
    router = APIRouter(lifespan=with_more_state)

    @router.get("/state")
    async def state(request: Request) -> list[int]:
        return [request.state.of_app, request.state.of_router]

    app.include_router(router)
    before = app.router.lifespan_context
    for word in ("first", "second"):
        with TestClient(app) as client:
            assert get(client, "/state") == [1, 2]
            assert app.router.lifespan_context is before
            app.state.task_processor.blocking.enqueue(note, word)
            block_until(partial(events.__eq__, [word]))
            await_settled(app)
        events.clear()
        assert app.router.lifespan_context is before
        assert not app.state.task_processor.connected


async def test_a_lifespan_may_be_entered_without_a_server(settings: MakeSettings) -> None:
    """`app.router.lifespan_context(app)`, as tests do and apps that run the lifespan of a mounted one."""
    app = FastAPI(lifespan=lifespan("app"))
    processor = app.add_task_processor(settings())
    app.add_task_processor_executor()
    app.include_router(APIRouter(lifespan=lifespan("router")))
    async with app.router.lifespan_context(app):
        assert is_connected(processor)
        assert [event for event in events if event.endswith("starts")] == ["app starts", "router starts"]
        async with asyncio.timeout(5):
            while len(events) < 4:
                await asyncio.sleep(0.01)
    assert not is_connected(processor)
    async with processor:
        await asyncio.wait_for(drain(processor), 10)


def start_and_stop(app: FastAPI) -> None:
    """A life without requests."""
    with TestClient(app):
        pass


async def test_a_failing_lifespan_closes_what_was_opened(settings: MakeSettings) -> None:
    """The error goes on, resources and connection are closed, and the next start may succeed."""
    log = Log()
    switch = ["failing"]

    @asynccontextmanager
    async def fails(_app: FastAPI) -> AsyncGenerator[None]:
        if switch:
            raise Broken("not today")
        yield

    app = FastAPI(lifespan=fails)
    processor = app.add_task_processor(settings(), container=one(pool=providers.Resource(log.async_resource("pool"))))
    app.add_task_processor_executor()
    with pytest.raises(Broken):
        start_and_stop(app)
    assert log.take() == ["+pool", "-pool"]
    assert not is_connected(processor)
    switch.clear()
    with TestClient(app):
        assert log.take() == ["+pool"]


def test_an_unreachable_redis_is_one_clear_error(settings: MakeSettings) -> None:
    """It names the address and not the password, and nothing else is started."""
    log = Log()
    port = free_port()
    url = f"redis://:hunter2@127.0.0.1:{port}/0"
    unreachable = settings(command_timeout=timedelta(seconds=0.2)).model_copy(update={"redis": url})
    app = FastAPI(lifespan=lifespan("app"))
    app.add_task_processor(unreachable, container=one(pool=providers.Resource(log.resource("pool"))))
    with pytest.raises(StorageUnavailable, match=f"127.0.0.1:{port}") as error:
        start_and_stop(app)
    assert "hunter2" not in str(error.value)
    assert log.take() == events == []


def test_without_the_executor_the_app_only_enqueues(settings: MakeSettings) -> None:
    """Neither an app that does not ask for it, nor one with `use_hosted_service=False`, runs tasks."""
    producers = FastAPI(), FastAPI()
    producers[0].add_task_processor(settings())
    producers[1].add_task_processor(settings(use_hosted_service=False))
    producers[1].add_task_processor_executor()
    for app in producers:
        with TestClient(app):
            app.state.task_processor.blocking.enqueue(note, "by another")
            assert not app.state.task_processor.running
    worker = FastAPI()
    worker.add_task_processor(settings())
    worker.add_task_processor_executor()
    with TestClient(worker):
        block_until(lambda: events == ["by another"] * 2)
        await_settled(worker)


def test_an_app_may_stop_before_its_executor_has_begun(settings: MakeSettings) -> None:
    """Starting and stopping at once, again and again, ends each time."""
    app = FastAPI()
    app.add_task_processor(settings())
    app.add_task_processor_executor()
    for _ in range(5):
        start_and_stop(app)


def test_an_executor_that_ends_with_an_error_leaves_the_app_up(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged as critical, and requests are served on."""

    async def broken(_processor: TaskProcessor) -> None:
        raise Broken("out of memory")

    monkeypatch.setattr(TaskProcessor, "run", broken)
    app = FastAPI()
    app.add_task_processor(settings())
    app.add_task_processor_executor()
    with TestClient(app) as client:
        block_until(lambda: [record.levelno for record in caplog.records if record.levelno > logging.WARNING])
        assert client.get("/").status_code == 404
    (record,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert "executor has ended" in record.message
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], Broken)


def test_running_tasks_may_end_while_everything_is_still_up(settings: MakeSettings) -> None:
    """At shutdown the executor waits for its tasks before resources and connection are closed."""
    log = Log()
    app = FastAPI()
    container = one(pool=providers.Resource(log.resource("pool")))
    app.add_task_processor(settings(), container=container)
    app.add_task_processor_executor()
    with TestClient(app):
        app.state.task_processor.blocking.enqueue(slow_note)
        block_until(lambda: "slow starts" in events)
        log.take()
    assert events == ["slow starts", "slow ends"]
    assert log.take() == ["-pool"]


@background
async def slow_note() -> None:
    """A task that takes a moment."""
    events.append("slow starts")
    await asyncio.sleep(0.2)
    events.append("slow ends")
