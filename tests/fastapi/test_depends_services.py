"""Services for tasks that FastAPI's own dependencies make."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Protocol

import anyio
import pytest
from fastapi import BackgroundTasks, Body, Cookie, Depends, Header, Request, Response, WebSocket
from fastapi.dependencies.utils import get_dependant, solve_dependencies
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from starlette.requests import HTTPConnection

from taskproc import ConfigurationError, Scopes, TaskProcessorError, ref
from taskproc_fastapi import FastAPI, Tasks, TaskScope, get_task_processor
from taskproc_fastapi.depends_services import depends_services
from tests.conftest import MakeSettings
from tests.fastapi.container_kit import Broken, Log, get, run_task
from tests.kit import wait_until

log = Log()


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    log.entries.clear()


class Connection: ...


class Session:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection


class SendsMail(Protocol):
    async def send(self, to: str) -> None: ...


def connect() -> Iterator[Connection]:
    """Entered and left in threads."""
    log.entries.append("+connection")
    try:
        yield Connection()
    except BaseException as error:
        log.entries.append(f"connection: {type(error).__name__}")
        raise
    finally:
        log.entries.append("-connection")


async def open_session(connection: Annotated[Connection, Depends(connect)]) -> AsyncIterator[Session]:
    """Entered and left in the asyncio task of the task."""
    with anyio.CancelScope():  # complains when it is left in another asyncio task
        log.entries.append("+session")
        try:
            yield Session(connection)
        finally:
            await asyncio.sleep(0)
            log.entries.append("-session")


InSession = Annotated[Session, Depends(open_session)]


class Mailer(SendsMail):
    def __init__(self, session: InSession) -> None:
        self.session = session

    async def send(self, to: str) -> None:
        """A task that leaves its word, or fails."""
        log.entries.append(to)
        if to == "nobody":
            raise Broken


class Counter:
    def __init__(self, session: Session, connection: Connection) -> None:
        self.session = session
        self.connection = connection


async def make_counter(session: InSession, connection: Annotated[Connection, Depends(connect)]) -> Counter:
    """An async function that shares what it needs with others."""
    return Counter(session, connection)


def services(app: FastAPI) -> Scopes:
    """All of these."""
    return depends_services(app, {Mailer: Mailer, Counter: make_counter, Session: open_session})


OPENED = ["+connection", "+session"]
CLOSED = ["-session", "-connection"]


async def test_tasks_get_them(settings: MakeSettings) -> None:
    """Named by class or interface; closed after each task; the error of a failed one is raised at the `yield`s."""
    app = FastAPI()
    tasks = app.add_task_processor(settings(retries=1), scopes=services(app))
    app.add_task_processor_executor()
    async with app.router.lifespan_context(app):
        for method in (ref(Mailer).send, ref(SendsMail).send):
            await tasks.enqueue(method, "bob")
            await wait_until(lambda: "-connection" in log.entries)
            assert log.take() == [*OPENED, "bob", *CLOSED]
        await tasks.enqueue(ref(SendsMail).send, "nobody")
        await wait_until(lambda: "-connection" in log.entries)
        assert log.take() == [*OPENED, "nobody", "-session", "connection: Broken", "-connection"]
        await tasks.discard_dead_tasks("default")


async def test_each_is_made_once_for_a_task() -> None:
    """Services of a task share what they depend on; two tasks do not."""
    scopes = services(FastAPI())

    async def body(scope: Any) -> Session:
        counter: Counter = await scope.get(Counter)
        mailer: Mailer = await scope.get(SendsMail)
        assert mailer is await scope.get(Mailer)
        assert counter.session is mailer.session is await scope.get(Session)
        assert counter.connection is mailer.session.connection
        log.entries.append("body")
        return mailer.session

    first, second = [await run_task(scopes, body) for _ in range(2)]
    assert first is not second
    assert log.take() == [*OPENED, "body", *CLOSED] * 2


async def test_what_is_not_cached_is_made_for_each_that_needs_it() -> None:
    """`use_cache=False` is a new one for each parameter, not each time that the service is asked for."""

    def make_mailer(
        one: Annotated[Session, Depends(open_session, use_cache=False)],
        other: Annotated[Session, Depends(open_session, use_cache=False)],
    ) -> Mailer:
        assert one is not other
        return Mailer(one)

    async def body(scope: Any) -> None:
        assert await scope.get(Mailer) is await scope.get(Mailer)

    await run_task(depends_services(FastAPI(), {Mailer: make_mailer}), body)
    assert log.take() == ["+connection", *["+session"] * 2, *["-session"] * 2, "-connection"]


@pytest.mark.parametrize("ending", [Broken, asyncio.CancelledError])
async def test_a_failed_or_cancelled_task_closes_them(ending: type[BaseException]) -> None:
    """Its exception goes on, also past a dependency that would swallow it."""

    async def swallowing() -> AsyncIterator[Session]:
        try:
            yield Session(Connection())
        except BaseException as error:
            log.entries.append(type(error).__name__)

    async def body(scope: Any) -> None:
        await scope.get(Session)
        raise ending

    with pytest.raises(ending):
        await run_task(depends_services(FastAPI(), {Session: swallowing}), body)
    assert log.take() == [ending.__name__]


async def test_what_was_opened_before_a_failure_is_closed() -> None:
    """Also when the service itself could not be made."""

    def broken(session: InSession) -> Mailer:
        raise Broken

    with pytest.raises(Broken):
        await run_task(depends_services(FastAPI(), {Mailer: broken}), lambda scope: scope.get(Mailer))
    assert [entry for entry in log.take() if entry[0] in "+-"] == [*OPENED, *CLOSED]


async def test_overrides_count_at_any_time() -> None:
    """Of the function given, of what it depends on, and no longer when they are taken back."""
    app = FastAPI()
    scopes = services(app)
    fake = Session(Connection())

    async def mailer(scope: Any) -> Any:
        return await scope.get(Mailer)

    app.dependency_overrides[open_session] = lambda: fake
    assert (await run_task(scopes, mailer)).session is fake
    assert log.take() == []
    app.dependency_overrides[Mailer] = lambda: "a stand-in"
    assert await run_task(scopes, mailer) == "a stand-in"
    app.dependency_overrides.clear()
    assert (await run_task(scopes, mailer)).session is not fake
    assert log.take() == [*OPENED, *CLOSED]


async def test_overrides_may_not_need_a_request_either() -> None:
    """Nor each other in a circle."""
    app = FastAPI()
    scopes = services(app)

    def of_request(token: Annotated[str, Header()] = "") -> Session:
        raise AssertionError

    def wrapping(session: InSession) -> Session:
        raise AssertionError

    async def body(scope: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"^Mailer → .*of_request takes the header parameter 'token'"):
            await scope.get(Mailer)
        app.dependency_overrides[open_session] = wrapping
        with pytest.raises(ConfigurationError, match=r"in a circle: Mailer → .*wrapping → .*wrapping$"):
            await scope.get(Mailer)

    app.dependency_overrides[open_session] = of_request
    await run_task(scopes, body)


def needs(annotation: Any, default: Any = inspect.Parameter.empty) -> Callable[..., Session]:
    """A function with the parameter `it`."""

    def maker(**_given: object) -> Session:
        raise AssertionError

    parameter = inspect.Parameter("it", inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
    vars(maker)["__signature__"] = inspect.Signature([parameter])
    return maker


@pytest.mark.parametrize(
    "annotation, said",
    [
        (Request, "the request 'it'"),
        (WebSocket, "the websocket 'it'"),
        (HTTPConnection, "the http connection 'it'"),
        (Response, "the response 'it'"),
        (BackgroundTasks, "the background tasks 'it'"),
        (SecurityScopes, "the security scopes 'it'"),
        (int, "the query parameter 'it'"),
        (Annotated[str, Header()], "the header parameter 'it'"),
        (Annotated[str, Cookie()], "the cookie parameter 'it'"),
        (Annotated[str, Body()], "the body parameter 'it'"),
        (dict[str, int], "the body parameter 'it'"),
        (TaskScope, "task_scope takes the http connection 'connection'"),
        (Annotated[str, Depends(OAuth2PasswordBearer("token"))], "OAuth2PasswordBearer"),
    ],
)
def test_what_a_task_has_not_is_refused(annotation: Any, said: str) -> None:
    """When the app is made, with the way to what needs it."""

    async def outer(session: Annotated[Session, Depends(needs(annotation))]) -> Mailer:
        return Mailer(session)

    with pytest.raises(ConfigurationError) as error:
        depends_services(FastAPI(), {Mailer: outer})
    assert said in str(error.value)
    assert "outer → " in str(error.value)
    assert "a task has no request" in str(error.value)


def test_a_parameter_with_a_default_is_refused_too() -> None:
    """Its default would be taken for ever, where a request gives something."""
    with pytest.raises(ConfigurationError, match="takes the query parameter 'it'"):
        depends_services(FastAPI(), {Session: needs(int, 3)})


def test_what_fastapi_cannot_call_is_refused() -> None:
    """A parameter that is neither of a request nor a dependency; what is no class, or no function."""
    with pytest.raises(ConfigurationError, match=r"cannot call Session as a dependency: .*Connection.*Depends\(…\)"):
        depends_services(FastAPI(), [Session])
    wrongs: list[Any] = [{"Mailer": Mailer}, {Mailer: "Mailer"}]
    for wrong in wrongs:
        with pytest.raises(ConfigurationError, match="pass a class, the one that tasks name"):
            depends_services(FastAPI(), wrong)


async def test_the_processor_is_there(settings: MakeSettings) -> None:
    """A service that enqueues takes `Tasks`, as a route does; overridden, too."""
    app = FastAPI()

    class Newsletter:
        def __init__(self, tasks: Tasks) -> None:
            self.tasks = tasks

    processor = app.add_task_processor(settings(), scopes=depends_services(app, [Newsletter]))

    async def tasks(scope: Any) -> object:
        newsletter: Newsletter = await scope.get(Newsletter)
        return newsletter.tasks

    assert processor.scopes is not None
    async with app.router.lifespan_context(app):
        assert await run_task(processor.scopes, tasks) is processor
    app.dependency_overrides[get_task_processor] = lambda: "a stand-in"
    assert await run_task(processor.scopes, tasks) == "a stand-in"


async def test_which_service_is_meant() -> None:
    """Exactly the type, else the only one that has it among its bases."""

    class Other(Mailer): ...

    scopes = depends_services(FastAPI(), [Mailer, Other])
    assert set(scopes.provides) == {Mailer, Other}

    async def body(scope: Any) -> None:
        assert type(await scope.get(Mailer)) is Mailer
        with pytest.raises(ConfigurationError, match=r"more than one is a SendsMail: Mailer, .*Other; name one with"):
            await scope.get(SendsMail)
        with pytest.raises(ConfigurationError, match=r"none is a Broken; name one with depends_services"):
            await scope.get(Broken)

    await run_task(scopes, body)


async def test_they_are_made_in_the_task_only() -> None:
    """What would be entered in one asyncio task and left in another, or never, is refused."""
    scopes = services(FastAPI())

    async def body(scope: Any) -> None:
        with pytest.raises(TaskProcessorError, match="Mailer was asked for outside of the asyncio task"):
            await asyncio.create_task(scope.get(Mailer))

    async with scopes() as scope:
        await body(scope)
    with pytest.raises(TaskProcessorError, match="or after its end"):
        await get(scope, Mailer)
    assert log.take() == []


async def test_a_failing_close_fails_the_task() -> None:
    """And does not keep the rest open."""

    async def failing(session: InSession) -> AsyncIterator[Mailer]:
        yield Mailer(session)
        raise Broken

    with pytest.raises(Broken):
        await run_task(depends_services(FastAPI(), {Mailer: failing}), lambda scope: scope.get(Mailer))
    assert [entry for entry in log.take() if entry[0] in "+-"] == [*OPENED, *CLOSED]


def test_what_fastapi_offers_is_as_it_was() -> None:
    """Its functions are not public: this says what is used of them, for when a new version changes them."""
    solving = inspect.signature(solve_dependencies).parameters
    used = {"request", "dependant", "dependency_overrides_provider", "dependency_cache", "async_exit_stack"}
    assert used | {"embed_body_fields"} <= solving.keys()
    required = {name for name, parameter in solving.items() if parameter.default is parameter.empty}
    assert required <= {"request", "dependant", "async_exit_stack", "embed_body_fields"}
    assert {"path", "call"} <= inspect.signature(get_dependant).parameters.keys()

    fields = {name for name in dir(get_dependant(path="/", call=connect)) if name.endswith(("_params", "_param_name"))}
    parameters = {f"{kind}_params" for kind in ("path", "query", "header", "cookie", "body")}
    special = ("request", "websocket", "http_connection", "response", "background_tasks", "security_scopes")
    assert fields == parameters | {f"{kind}_param_name" for kind in special}
