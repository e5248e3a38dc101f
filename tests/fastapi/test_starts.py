"""Apps that were given a processor too late, are started by nobody, or share a container or a processor."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
from dependency_injector import containers, providers

from taskproc import ConfigurationError, NotConnected, TaskProcessor, background, ref
from taskproc_fastapi import FastAPI, Tasks
from tests.conftest import MakeSettings
from tests.fastapi.client import TestClient, post
from tests.kit import wait_until

noted: list[str] = []


@background
async def note(word: str) -> None:
    """A task that leaves its word."""
    noted.append(word)


@pytest.fixture(autouse=True)
def _nothing_noted() -> None:
    noted.clear()


def started(app: FastAPI) -> None:
    """A life without requests."""
    with TestClient(app):
        pass


async def runs_tasks(processor: TaskProcessor, word: str) -> None:
    """That the processor runs what it enqueues, to its end."""
    await processor.enqueue(note, word)

    async def done() -> bool:
        queue = await processor.get_queue("default")
        return word in noted and not queue.running

    await wait_until(done)


# Too late


def test_a_processor_that_comes_in_the_lifespan_is_refused(settings: MakeSettings) -> None:
    """Its lifespan would be run by nobody; the app does not start, rather than fail at its first request."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        app.add_task_processor(settings())
        yield

    app = FastAPI(lifespan=lifespan)
    with pytest.raises(ConfigurationError, match=r"has started already.* call add_task_processor\(\) where the app is"):
        started(app)
    assert not hasattr(app.state, "task_processor")


async def test_an_executor_that_comes_after_the_start_is_refused(settings: MakeSettings) -> None:
    """Also that of a mounted app; when the app has ended it may be added for the next start."""
    app, mounted = FastAPI(), FastAPI()
    processor = app.add_task_processor(settings())
    mounted.add_task_processor(processor)
    for each in (app, mounted):
        async with app.router.lifespan_context(app):
            with pytest.raises(ConfigurationError, match=r"has started already, so nothing would run tasks"):
                each.add_task_processor_executor()
            await asyncio.sleep(0)
            assert not processor.running
    app.add_task_processor_executor()
    async with app.router.lifespan_context(app):
        await runs_tasks(processor, "at the next start")
        mounted.add_task_processor_executor()  # runs already


async def test_the_lifespan_may_add_the_executor(settings: MakeSettings) -> None:
    """It starts after that."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        app.add_task_processor_executor()
        yield

    app = FastAPI(lifespan=lifespan)
    processor = app.add_task_processor(settings())
    async with app.router.lifespan_context(app):
        await runs_tasks(processor, "word")


# Not at all


def app_with_route(app: FastAPI) -> FastAPI:
    """It enqueues by `POST /`."""

    @app.post("/")
    async def route(tasks: Tasks) -> str:
        return await tasks.enqueue(note, "word")

    return app


def test_an_app_that_was_not_started_says_so(settings: MakeSettings) -> None:
    """`TestClient(app)` starts nothing without `with`; nor may the app be used after its end."""
    app = app_with_route(FastAPI())
    app.add_task_processor(settings())
    for _ in range(2):
        with pytest.raises(NotConnected, match=r"lifespan of the app is not running.*`with TestClient\(app\) as"):
            post(TestClient(app), "/")
        with TestClient(app) as client:
            id_ = post(client, "/")
            wait = app.state.task_processor.blocking.wait
            assert wait(app.state.task_processor.cancel_task(id_))


def test_a_mounted_app_with_a_processor_of_its_own_says_so(settings: MakeSettings) -> None:
    """Nobody starts it: the remedy is to share the processor of its parent, which works."""
    for shares in (False, True):
        app, mounted = FastAPI(), app_with_route(FastAPI())
        processor = app.add_task_processor(settings())
        app.add_task_processor_executor()
        mounted.add_task_processor(app.state.task_processor if shares else settings())
        app.mount("/mounted", mounted)
        with TestClient(app) as client:
            if not shares:
                with pytest.raises(NotConnected, match=r"mounted\.add_task_processor\(app\.state\.task_processor\)"):
                    post(client, "/mounted/")
                continue
            processor.blocking.wait(processor.cancel_task(post(client, "/mounted/")))


async def test_a_mounted_app_may_ask_for_the_executor(settings: MakeSettings) -> None:
    """The processor runs tasks while its parent is up, which connects it, start for start."""
    app, mounted = FastAPI(), FastAPI()
    processor = app.add_task_processor(settings())
    mounted.add_task_processor(processor)
    mounted.add_task_processor_executor()
    app.mount("/mounted", mounted)
    for word in ("first", "second"):
        async with app.router.lifespan_context(app):
            await runs_tasks(processor, word)
        assert not processor.running
        assert not processor.connected


# Two apps on one container


class Sender:
    """A service that enqueues by itself."""

    def __init__(self, tasks: TaskProcessor) -> None:
        self.tasks = tasks

    async def send(self, word: str) -> None:
        await self.tasks.enqueue(note, word)


class Container(containers.DeclarativeContainer):
    tasks = providers.Dependency(instance_of=TaskProcessor)
    sender = providers.Singleton(Sender, tasks)


def app_factory(settings: MakeSettings) -> Callable[[], FastAPI]:
    """Makes apps on one container, each with a prefix of its own, as a module and its tests do."""
    container = Container()

    def make() -> FastAPI:
        app = FastAPI()
        app.add_task_processor(settings(), container=container)
        app.add_task_processor_executor()
        return app

    return make


async def sends(app: FastAPI, word: str) -> None:
    """That a service of the app enqueues with the app's processor, which runs both tasks."""
    processor: TaskProcessor = app.state.task_processor
    await processor.enqueue(ref(Sender).send, word)

    async def done() -> bool:
        queue = await processor.get_queue("default")
        return word in noted and not queue.running

    await wait_until(done)


async def test_services_have_the_processor_of_the_app_that_runs(settings: MakeSettings) -> None:
    """Whichever was made last: apps on one container may start one after another, again and again."""
    make = app_factory(settings)
    first, second = make(), make()
    for number, app in enumerate([first, second, first, make()]):
        async with app.router.lifespan_context(app):
            await sends(app, str(number))
    assert noted == ["0", "1", "2", "3"]


async def test_two_running_apps_have_two_containers(settings: MakeSettings) -> None:
    """The second does not start, leaves no connection, and changes nothing for the first; later it may."""
    make = app_factory(settings)
    first = make()
    async with first.router.lifespan_context(first):
        await sends(first, "before")
        second = make()
        await sends(first, "made")
        with pytest.raises(
            ConfigurationError, match=r"processor of another app, which is running.* container of its own"
        ):
            await second.router.lifespan_context(second).__aenter__()
        assert not second.state.task_processor.connected
        await sends(first, "refused")
    async with second.router.lifespan_context(second):
        await sends(second, "later")
    assert noted == ["before", "made", "refused", "later"]
