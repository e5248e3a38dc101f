"""What `add_task_processor` takes and refuses, and where the services of its tasks come from."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any, Protocol

import dishka
import pytest
from dependency_injector import containers, providers

from taskproc import (
    ConfigurationError,
    NotAllowed,
    TaskContext,
    TaskProcessor,
    TaskProcessorSettings,
    current_task,
    factories,
    ref,
)
from taskproc_fastapi import FastAPI
from tests.conftest import MakeSettings
from tests.fastapi.client import TestClient
from tests.fastapi.container_kit import Broken
from tests.kit import block_until

events: list[str] = []


@pytest.fixture(autouse=True)
def _no_events() -> None:
    events.clear()


class Session:
    count = 0

    def __init__(self) -> None:
        Session.count += 1
        self.name = f"session {Session.count}"
        self.open = True


def open_session() -> Iterator[Session]:
    """One per task."""
    session = Session()
    events.append(f"+{session.name}")
    yield session
    session.open = False
    events.append(f"-{session.name}")


async def open_async_session() -> AsyncIterator[Session]:
    """One per task."""
    for session in open_session():
        yield session


def open_failing_session() -> Iterator[Session]:
    """A session whose commit fails."""
    yield from open_session()
    raise Broken("commit")


class SendsMail(Protocol):
    async def send(self, to: str) -> None: ...


class Mailer(SendsMail):
    def __init__(self, session: Session) -> None:
        self.session = session

    async def send(self, to: str) -> None:
        assert self.session.open
        events.append(f"{to} {self.session.name}")

    def send_in_thread(self, to: str) -> None:
        assert self.session.open
        events.append(f"{to} {self.session.name}")

    async def fail(self) -> None:
        raise Broken("no such address")

    async def hang(self) -> None:
        events.append("hanging")
        await asyncio.sleep(60)


class Reminder:
    """A service that enqueues by itself."""

    def __init__(self, tasks: TaskProcessor) -> None:
        self.tasks = tasks

    async def remind(self) -> None:
        assert current_task().processor is self.tasks
        await self.tasks.enqueue(ref(Reminder).arrive)

    async def arrive(self) -> None:
        events.append("reminded")


class Container(containers.DeclarativeContainer):
    tasks = providers.Dependency(instance_of=TaskProcessor)
    session = providers.ContextLocalResource(open_session)
    mailer = providers.Factory(Mailer, session)
    reminder = providers.Singleton(Reminder, tasks)


def in_app(app: FastAPI, work: Callable[[TaskProcessor], Awaitable[Any]]) -> None:
    """Does `work(processor)` in the loop of a running app, and waits until nothing is left to do."""
    processor: TaskProcessor = app.state.task_processor
    with TestClient(app):
        wait = processor.blocking.wait

        async def run() -> None:
            await work(processor)

        def idle() -> bool:
            queue = wait(processor.get_queue("default"))
            return not (queue.length or queue.running or queue.delayed)

        wait(run())
        block_until(idle, what="all tasks settled")


def running_app(settings: Any, **services: Any) -> FastAPI:
    """An app that runs its own tasks."""
    app = FastAPI()
    app.add_task_processor(settings, **services)
    app.add_task_processor_executor()
    return app


@pytest.mark.parametrize("opened", [open_session, open_async_session])
def test_each_task_has_its_own_session_closed_at_its_end(settings: MakeSettings, opened: Any) -> None:
    """By class and by interface, in the loop and in a thread, with sync and async sessions."""
    container = Container()
    container.session.override(providers.ContextLocalResource(opened))

    async def work(tasks: TaskProcessor) -> None:
        for number in range(5):
            await tasks.enqueue(ref(SendsMail).send, f"by-interface-{number}")
            await tasks.enqueue(ref(Mailer).send_in_thread, f"in-thread-{number}")

    in_app(running_app(settings(), container=container), work)
    used = [event.partition(" ")[2] for event in events if event[0] not in "+-"]
    assert len(used) == len(set(used)) == 10
    assert {event[1:] for event in events if event[0] == "+"} == set(used)
    assert {event[1:] for event in events if event[0] == "-"} == set(used)
    for name in used:
        assert events.index(f"+{name}") < events.index(f"-{name}")


def test_the_session_of_a_failed_task_is_closed_too(settings: MakeSettings) -> None:
    """Each attempt has its own, and the error that is kept is the task's."""
    app = running_app(settings(retries=2, on_task_failed_delay=None), container=Container())

    async def work(tasks: TaskProcessor) -> None:
        await tasks.enqueue(ref(Mailer).fail)
        async with asyncio.timeout(5):
            while not (dead := await tasks.get_dead_tasks("default")):
                await asyncio.sleep(0.01)
        assert dead[0].error_message == "no such address"

    in_app(app, work)
    assert [event[0] for event in events] == ["+", "-", "+", "-"]


def test_a_session_that_fails_to_close_fails_the_attempt(settings: MakeSettings) -> None:
    """The call has succeeded, but its commit has not."""
    container = Container()
    container.session.override(providers.ContextLocalResource(open_failing_session))
    app = running_app(settings(retries=1), container=container)

    async def work(tasks: TaskProcessor) -> None:
        await tasks.enqueue(ref(Mailer).send, "bob")
        async with asyncio.timeout(5):
            while not (dead := await tasks.get_dead_tasks("default")):
                await asyncio.sleep(0.01)
        assert dead[0].error_message == "commit"

    in_app(app, work)


def test_the_session_of_a_cancelled_task_is_closed_too(settings: MakeSettings) -> None:
    """A batch that is canceled while its task runs."""
    app = running_app(settings(), container=Container())

    async def work(tasks: TaskProcessor) -> None:
        async with tasks.batch() as batch:
            batch.enqueue(ref(Mailer).hang)
        async with asyncio.timeout(5):
            while "hanging" not in events:
                await asyncio.sleep(0.01)
        assert await tasks.cancel_batch(batch.id)
        async with asyncio.timeout(5):
            while (found := await tasks.get_batch(batch.id)) is None or found.state != "canceled":
                await asyncio.sleep(0.01)

    in_app(app, work)
    assert [event[0] for event in events] == ["+", "h", "-"]


@pytest.mark.leaves_keys("the task is handed back at shutdown, for another worker")
def test_the_session_of_a_task_cut_off_by_shutdown_is_closed_too(settings: MakeSettings) -> None:
    """When the grace is over the task is cancelled, and its session closed before the app's resources are."""
    app = running_app(settings(shutdown_grace=timedelta(0)), container=Container())
    with TestClient(app):
        app.state.task_processor.blocking.enqueue(ref(Mailer).hang)
        block_until(lambda: "hanging" in events)
    assert [event[0] for event in events] == ["+", "h", "-"]


def test_services_get_the_processor(settings: MakeSettings) -> None:
    """A service with the processor as its dependency enqueues from within a task, and from elsewhere."""
    container = Container()
    app = running_app(settings(), container=container)

    async def work(tasks: TaskProcessor) -> None:
        assert container.tasks() is tasks
        await tasks.enqueue(container.reminder().remind)

    in_app(app, work)
    assert events == ["reminded"]


def test_services_may_come_from_factories(settings: MakeSettings) -> None:
    """`scopes=factories(…)`, and no container."""

    async def make_mailer(scope: Any) -> Mailer:
        return Mailer(await scope.get(Session))

    scopes = factories({Session: open_session, Mailer: make_mailer})

    async def work(tasks: TaskProcessor) -> None:
        await tasks.enqueue(ref(SendsMail).send, "bob")

    in_app(running_app(settings(), scopes=scopes), work)
    name = events[0][1:]
    assert events == [f"+{name}", f"bob {name}", f"-{name}"]


def test_services_may_come_from_dishka(settings: MakeSettings) -> None:
    """`scopes=` takes a dishka container as it is."""
    provider = dishka.Provider(scope=dishka.Scope.REQUEST)
    provider.provide(open_async_session)
    provider.provide(Mailer)

    async def work(tasks: TaskProcessor) -> None:
        await tasks.enqueue(ref(Mailer).send, "bob")

    in_app(running_app(settings(), scopes=dishka.make_async_container(provider)), work)
    name = events[0][1:]
    assert events == [f"+{name}", f"bob {name}", f"-{name}"]


def test_a_producer_is_told_what_no_service_provides(settings: MakeSettings) -> None:
    """A class that the container does not provide is refused at enqueue; `services` adds it."""

    async def refused(tasks: TaskProcessor) -> None:
        with pytest.raises(NotAllowed, match="services="):
            await tasks.enqueue(ref(Unknown).do)

    async def accepted(tasks: TaskProcessor) -> None:
        await tasks.enqueue(ref(Unknown).do)

    in_app(running_app(settings(), container=Container()), refused)
    in_app(running_app(settings(), container=Container(), services={Unknown: Unknown}), accepted)
    assert events == ["done"]


class Unknown:
    async def do(self) -> None:
        events.append("done")


def test_settings_may_be_made_from_the_container(settings: MakeSettings) -> None:
    """The function is given the container, so that hooks can use its services."""

    class Configured(containers.DeclarativeContainer):
        config = providers.Configuration()
        log = providers.Object(events)

    def make(container: Any) -> TaskProcessorSettings:
        def on_task_end(ctx: TaskContext) -> None:
            container.log().append(str(ctx.outcome))

        return settings(queues=container.config.queues(), on_task_end=on_task_end)

    container = Configured(config={"queues": ["default", "other"]})
    app = running_app(make, container=container, services={Unknown: Unknown})
    assert app.state.task_processor.settings.queues == ["default", "other"]

    async def work(tasks: TaskProcessor) -> None:
        await tasks.enqueue(ref(Unknown).do)

    in_app(app, work)
    assert events == ["done", "done"]
    with pytest.raises(ConfigurationError, match="it must return TaskProcessorSettings"):
        FastAPI().add_task_processor(lambda _container: None)  # type: ignore[arg-type]


def test_settings_come_from_the_environment_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without settings the processor has those of the environment; nothing connects before the start."""
    monkeypatch.setenv("TASKPROC_QUEUES", "high,low")
    processor = FastAPI().add_task_processor()
    assert processor.settings.queues == ["high", "low"]
    assert not processor.connected


def test_an_app_has_one_processor_and_one_executor(settings: MakeSettings) -> None:
    """What makes no sense is refused when it is said, with what to do."""
    app = FastAPI()
    with pytest.raises(ConfigurationError, match=r"call add_task_processor\(\) first"):
        app.add_task_processor_executor()
    app.add_task_processor(settings())
    with pytest.raises(ConfigurationError, match=r"has a task processor already"):
        app.add_task_processor(settings())
    app.add_task_processor_executor()
    with pytest.raises(ConfigurationError, match=r"runs tasks already"):
        app.add_task_processor_executor()


def test_services_have_one_source(settings: MakeSettings) -> None:
    """A container or other scopes, not both; `services` belongs to a container; a processor has scopes once."""
    app = FastAPI()
    with pytest.raises(ConfigurationError, match="pass one of them"):
        app.add_task_processor(settings(), container=Container(), scopes=factories({}))
    with pytest.raises(ConfigurationError, match="pass container= too"):
        app.add_task_processor(settings(), services={Mailer: Unknown})
    with pytest.raises(ConfigurationError, match="cannot open scopes"):
        app.add_task_processor(settings(), scopes=object())
    processor = app.add_task_processor(TaskProcessor(settings(), scopes=factories({})))
    with pytest.raises(ConfigurationError, match="has scopes already"):
        FastAPI().add_task_processor(processor, container=Container())


def test_a_captive_dependency_is_refused_at_the_start(settings: MakeSettings) -> None:
    """A singleton that would keep a task's session is told with the path, when the processor is added."""

    class Captive(Container):
        cache = providers.Singleton(Mailer, Container.session)

    with pytest.raises(ConfigurationError, match="cache → session"):
        FastAPI().add_task_processor(settings(), container=Captive())
