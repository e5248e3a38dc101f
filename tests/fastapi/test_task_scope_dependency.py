"""The scope of a task in routes: `TaskScope`, over whatever gives the services."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Protocol, assert_type

import dishka
import pytest
from dependency_injector import providers
from dependency_injector.wiring import Closing, Provide, inject
from fastapi import Depends, HTTPException, WebSocket
from fastapi.responses import StreamingResponse

from taskproc import ConfigurationError, Scope, TaskProcessorError, factories
from taskproc_fastapi import FastAPI, OpenScope, TaskScope, get_task_processor, task_scope
from taskproc_fastapi.depends_services import depends_services
from tests.fastapi.client import TestClient, get, post
from tests.fastapi.container_kit import Broken, Log, one

log = Log()


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    log.entries.clear()


class Session: ...


class SendsMail(Protocol):
    def session(self) -> int: ...


class Mailer(SendsMail):
    def __init__(self, session: Session) -> None:
        self._session = session

    def session(self) -> int:
        """Which one it has."""
        return id(self._session)


async def open_session() -> AsyncGenerator[Session, BaseException | None]:
    """A session that notes its life, and the error that it is told of: dishka sends it, others raise it."""
    log.entries.append("+session")
    try:
        sent = yield Session()
        if sent is not None:
            log.entries.append(type(sent).__name__)
    except BaseException as error:
        log.entries.append(type(error).__name__)
        raise
    finally:
        log.entries.append("-session")


def over_a_container(app: FastAPI) -> None:
    """With a context-local session, and async providers therefore."""
    session = providers.ContextLocalResource(open_session)
    app.add_task_processor(container=one(session=session, mailer=providers.Factory(Mailer, session)))


def over_a_sync_container(app: FastAPI) -> None:
    """With providers that give instances, not awaitables of them."""

    def opened() -> Iterator[Session]:
        log.entries.append("+session")
        yield Session()
        log.entries.append("-session")

    session = providers.ContextLocalResource(opened)
    app.add_task_processor(container=one(session=session, mailer=providers.Factory(Mailer, session)))


def over_factories(app: FastAPI) -> None:
    """With plain functions."""

    async def make_mailer(scope: Scope) -> Mailer:
        session: Any = scope.get(Session)
        return Mailer(await session)

    app.add_task_processor(scopes=factories({Session: open_session, Mailer: make_mailer}))


def over_dishka(app: FastAPI) -> None:
    """With an AsyncContainer."""
    provider = dishka.Provider(scope=dishka.Scope.REQUEST)
    provider.provide(open_session)
    provider.provide(Mailer)
    app.add_task_processor(scopes=dishka.make_async_container(provider))


def over_depends(app: FastAPI) -> None:
    """With FastAPI's own dependencies."""

    def make_mailer(session: Annotated[Session, Depends(open_session)]) -> Mailer:
        return Mailer(session)

    app.add_task_processor(scopes=depends_services(app, {Mailer: make_mailer}))


Over = Callable[[FastAPI], None]

ALL = pytest.mark.parametrize(
    "over", [over_a_container, over_a_sync_container, over_factories, over_dishka, over_depends]
)


def app_over(over: Over) -> FastAPI:
    """An app with such services."""
    app = FastAPI()
    over(app)
    return app


@ALL
def test_a_route_has_a_scope_of_its_own(over: Over) -> None:
    """Services of one request share their session, which is closed after the route; the next request has another."""
    app = app_over(over)
    mailers: list[object] = []

    @app.post("/")
    async def route(scope: TaskScope) -> None:
        mailer, same = await scope.get(Mailer), await scope.get(SendsMail)
        assert_type(mailer, Mailer)
        assert_type(same, SendsMail)
        assert mailer.session() == same.session()
        mailers.append(mailer)
        log.entries.append("route")

    client = TestClient(app)
    for _ in range(2):
        post(client, "/")
        assert log.take() == ["+session", "route", "-session"]
    assert mailers[0] is not mailers[1]


@ALL
def test_a_failed_route_closes_its_scope(over: Over) -> None:
    """Those that tell of the error do, and it goes on."""
    app = app_over(over)

    @app.post("/{error}")
    async def route(error: str, scope: TaskScope) -> None:
        await scope.get(Mailer)
        raise Broken if error == "broken" else HTTPException(418)

    client: Any = TestClient(app)
    told = over not in (over_a_container, over_a_sync_container)
    with pytest.raises(Broken):
        client.post("/broken")
    assert log.take() == ["+session", *(["Broken"] if told else []), "-session"]
    assert client.post("/http").status_code == 418
    assert log.take() == ["+session", *(["HTTPException"] if told else []), "-session"]


@ALL
def test_a_websocket_has_a_scope(over: Over) -> None:
    """It is open until the route ends, over all messages."""
    app = app_over(over)

    @app.websocket("/ws")
    async def talk(socket: WebSocket, scope: TaskScope) -> None:
        await socket.accept()
        async for _message in socket.iter_text():
            await socket.send_text(str((await scope.get(Mailer)).session()))

    client: Any = TestClient(app)
    with client.websocket_connect("/ws") as socket:
        answers: set[str] = set()
        for _ in range(3):
            socket.send_text("?")
            answers.add(socket.receive_text())
        assert len(answers) == 1
        assert log.take() == ["+session"]
    assert log.take() == ["-session"]


def test_dependencies_share_the_scope_of_the_request() -> None:
    """`Depends(task_scope)` in several of them is one scope."""
    app = app_over(over_a_container)

    async def user(scope: TaskScope) -> int:
        return (await scope.get(Mailer)).session()

    @app.get("/")
    async def route(
        one: Annotated[int, Depends(user)], scope: Annotated[OpenScope, Depends(task_scope)]
    ) -> tuple[int, int]:
        return one, (await scope.get(Mailer)).session()

    first, second = get(TestClient(app), "/")
    assert first == second
    assert log.take() == ["+session", "-session"]


def test_services_that_are_not_asked_for_are_not_made() -> None:
    """A scope by itself opens nothing."""
    app = app_over(over_a_container)

    @app.post("/")
    async def route(scope: TaskScope) -> None: ...

    post(TestClient(app), "/")
    assert log.take() == []


def test_it_goes_with_inject() -> None:
    """A route that also injects from the container has the session of its scope, and it is closed once."""
    app = FastAPI()
    session = providers.ContextLocalResource(log.resource("session"))
    container = one(session=session, mailer=providers.Factory(Mailer, session))
    app.add_task_processor(container=container)

    @app.post("/")
    @inject
    async def route(scope: TaskScope, mailer: Annotated[Mailer, Depends(Closing[Provide["mailer"]])]) -> None:
        assert (await scope.get(Mailer)).session() == mailer.session()
        log.entries.append("route")

    container.wire(modules=[__name__])
    try:
        post(TestClient(app), "/")
    finally:
        container.unwire()
    assert log.take() == ["+session", "route", "-session"]


def test_the_scope_is_open_while_the_response_is_sent() -> None:
    """A streamed response may use what the route got."""
    app = app_over(over_factories)

    @app.get("/")
    async def route(scope: TaskScope) -> StreamingResponse:
        await scope.get(Mailer)

        async def stream() -> AsyncIterator[str]:
            log.entries.append("sent")
            yield "1"

        return StreamingResponse(stream())

    assert get(TestClient(app), "/") == 1
    assert log.take() == ["+session", "sent", "-session"]


def test_after_the_request_nothing_can_be_got() -> None:
    """What is made then would never be closed."""
    app = app_over(over_factories)
    kept: list[OpenScope] = []

    @app.post("/")
    async def route(scope: TaskScope) -> None:
        kept.append(scope)

    post(TestClient(app), "/")
    with pytest.raises(TaskProcessorError, match=r"scope\.get\(Mailer\): the request .* has ended"):
        kept[0].get(Mailer).send(None)
    assert log.take() == []


def test_what_is_missing_is_named() -> None:
    """A processor, scopes, a service, a class."""
    apps = FastAPI(), FastAPI()

    async def route(scope: TaskScope) -> None:
        with pytest.raises(ConfigurationError, match=r"scope\.get\('Mailer'\): pass a class"):
            await scope.get("Mailer")  # type: ignore[arg-type]
        await scope.get(Broken)

    for app in apps:
        app.post("/")(route)
    with pytest.raises(ConfigurationError, match=r"this app has no task processor: call app\.add_task_processor"):
        post(TestClient(apps[0]), "/")
    processor = apps[1].add_task_processor()
    client = TestClient(apps[1])
    with pytest.raises(ConfigurationError, match=r"of this app has no scopes.*container=… or scopes=…"):
        post(client, "/")
    processor.scopes = factories({Session: open_session})
    with pytest.raises(ConfigurationError, match=r"none is a Broken; name one with factories"):
        post(client, "/")


def test_overrides_in_tests() -> None:
    """`task_scope` can be overridden; a stand-in for the processor leaves the services as they are."""
    app = app_over(over_factories)

    class Fixed:
        def get(self, service: type) -> object:
            return Mailer(Session())

    @app.post("/")
    async def route(scope: TaskScope) -> None:
        await scope.get(Mailer)

    client = TestClient(app)
    app.dependency_overrides[get_task_processor] = lambda: "a stand-in"
    post(client, "/")
    assert log.take() == ["+session", "-session"]
    app.dependency_overrides[task_scope] = lambda: OpenScope(Fixed())  # type: ignore[arg-type]
    post(client, "/")
    assert log.take() == []
