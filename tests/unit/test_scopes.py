"""Scopes over plain functions and over a dishka container, and the closing of what they opened."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import dishka
import pytest

from taskproc.errors import ConfigurationError
from taskproc.scopes import Scope, Scopes, as_scopes, close_all, factories


class Session:
    def __init__(self) -> None:
        self.open = True


class SendsMail(Protocol):
    def send(self) -> None: ...


class Mailer(SendsMail):
    def __init__(self, session: Session) -> None:
        self.session = session

    def send(self) -> None: ...


class Importer:
    def __init__(self, session: Session, mailer: Mailer) -> None:
        self.session = session
        self.mailer = mailer


class Broken(Exception):
    pass


async def get(scope: Any, service: type) -> Any:
    """What the scope gives, awaited."""
    return await scope.get(service)


async def made(scopes: Scopes, service: type) -> Any:
    """What a scope gives that is closed at once."""
    async with scopes() as scope:
        return await get(scope, service)


async def test_a_factory_may_take_nothing_or_the_scope_and_be_async() -> None:
    """Each form of factory makes its service."""

    async def make_mailer(scope: Scope) -> Mailer:
        return Mailer(await get(scope, Session))

    scopes = factories({Session: Session, Mailer: make_mailer})
    assert isinstance(await made(scopes, Session), Session)
    assert isinstance((await made(scopes, Mailer)).session, Session)
    assert set(scopes.provides) == {Session, Mailer}


async def test_services_are_made_once_per_scope() -> None:
    """Two services of a scope share their session, those of two scopes do not, even when asked for at the same time."""

    async def make_session() -> Session:
        await asyncio.sleep(0)
        return Session()

    async def make_mailer(scope: Any) -> Mailer:
        return Mailer(await scope.get(Session))

    async def make_importer(scope: Any) -> Importer:
        return Importer(*await asyncio.gather(get(scope, Session), get(scope, Mailer)))

    scopes = factories({Session: make_session, Mailer: make_mailer, Importer: make_importer})
    first, second = await made(scopes, Importer), await made(scopes, Importer)
    assert first.session is first.mailer.session
    assert first.session is not second.session


async def test_who_waits_for_a_service_that_cannot_be_made_learns_why() -> None:
    """Both of two that ask at the same time get the error, and a later one tries again."""
    attempts: list[int] = []

    async def make_session() -> Session:
        attempts.append(1)
        await asyncio.sleep(0)
        raise Broken

    async with factories({Session: make_session})() as scope:
        asked = [asyncio.ensure_future(get(scope, Session)) for _ in range(2)]
        await asyncio.wait(asked)
        assert [type(each.exception()) for each in asked] == [Broken, Broken]
        with pytest.raises(Broken):
            await get(scope, Session)
    assert len(attempts) == 2


async def test_generators_are_closed_with_the_scope_the_last_first() -> None:
    """What follows the yield of sync and async generators runs when the scope closes, dependants first."""
    log: list[str] = []

    def open_session() -> Iterator[Session]:
        session = Session()
        yield session
        session.open = False
        log.append("session")

    async def open_mailer(scope: Any) -> AsyncIterator[Mailer]:
        mailer = Mailer(await scope.get(Session))
        yield mailer
        assert mailer.session.open
        log.append("mailer")

    mailer = await made(factories({Session: open_session, Mailer: open_mailer}), Mailer)
    assert log == ["mailer", "session"]
    assert not mailer.session.open


async def test_nothing_is_made_that_is_not_asked_for() -> None:
    """A scope whose services are not needed opens none of them."""

    def open_session() -> Iterator[Session]:
        yield from pytest.fail("it was opened")

    assert isinstance(await made(factories({Session: open_session, Importer: lambda: 1}), Importer), int)


async def test_generators_learn_of_the_error_and_cannot_swallow_it() -> None:
    """The task's exception is raised at each yield, and goes on even if one of them catches it."""
    seen: list[str] = []

    def watching(name: str) -> Any:
        def opened() -> Iterator[str]:
            try:
                yield name
            except Broken:
                seen.append(name)

        return opened

    scopes = factories({Session: watching("session"), Mailer: watching("mailer")})

    async def fail() -> None:
        async with scopes() as scope:
            await get(scope, Session)
            await get(scope, Mailer)
            raise Broken

    with pytest.raises(Broken):
        await fail()
    assert seen == ["mailer", "session"]


async def test_an_interface_gives_the_only_service_that_has_it_among_its_bases() -> None:
    """`ref(SendsMail)` means the Mailer; two of them, or none, is an error that says what to do."""

    class OtherMailer(Mailer):
        pass

    one = factories({Mailer: lambda: "the mailer"})
    assert await made(one, SendsMail) == "the mailer"
    two = factories({Mailer: Session, OtherMailer: Session})
    with pytest.raises(ConfigurationError, match=r"Mailer.*OtherMailer.*factories\(\{SendsMail: …\}\)"):
        await made(two, SendsMail)
    with pytest.raises(ConfigurationError, match=r"none is a Importer.*factories\(\{Importer: …\}\)"):
        await made(one, Importer)


async def test_a_circle_of_factories_is_told() -> None:
    """Factories that need each other get an error that names them, instead of waiting for ever."""

    async def make_session(scope: Any) -> Session:
        await asyncio.gather(scope.get(Mailer))
        return Session()

    async def make_mailer(scope: Any) -> Mailer:
        return Mailer(await scope.get(Session))

    scopes = factories({Session: make_session, Mailer: make_mailer})
    with pytest.raises(ConfigurationError, match="Session → Mailer → Session"):
        await made(scopes, Session)


def test_a_factory_with_other_parameters_is_refused() -> None:
    """Only the scope can be passed to a factory, and only a class can be asked for."""

    def two(session: Session, mailer: Mailer) -> None: ...
    def named(*, session: Session) -> None: ...
    def fine(scope: Scope, retries: int = 3, *rest: int, **options: int) -> None: ...

    factories({Importer: fine})
    with pytest.raises(ConfigurationError, match=r"Importer.*takes session, mailer"):
        factories({Importer: two})
    with pytest.raises(ConfigurationError, match=r"takes session; it may"):
        factories({Importer: named})
    with pytest.raises(ConfigurationError, match="must be a class"):
        factories({"Importer": Session})


async def test_a_cancelled_making_does_not_leave_others_waiting() -> None:
    """Whoever waits for a service whose making is cancelled gets an error."""
    started = asyncio.Event()

    async def make_session() -> Session:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with factories({Session: make_session})() as scope:
        making = asyncio.create_task(get(scope, Session))
        await started.wait()
        waiting = asyncio.create_task(get(scope, Session))
        await asyncio.sleep(0)
        making.cancel()
        with pytest.raises(RuntimeError, match="Session was interrupted"):
            await waiting
    assert making.cancelled()


class Closed:
    """Exits that note that they were called, and fail."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def exit(self, name: str, failure: BaseException | None = None) -> Any:
        def close(_kind: object, error: object, _traceback: object) -> None:
            self.log.append(f"{name} {error!r}" if error else name)
            if failure:
                raise failure

        return close


async def test_one_failing_close_does_not_abandon_the_rest() -> None:
    """All exits run, the last first, and then the error is raised; several come as a group."""
    closed = Closed()
    with pytest.raises(Broken):
        await close_all([closed.exit("a"), closed.exit("b", Broken()), closed.exit("c")], None)
    assert closed.log == ["c", "b", "a"]
    with pytest.raises(ExceptionGroup) as group:
        await close_all([closed.exit("a", KeyError()), closed.exit("b", Broken())], None)
    assert [type(error) for error in group.value.exceptions] == [Broken, KeyError]


async def test_async_exits_are_awaited() -> None:
    """An async exit has run when `close_all` returns, and its error is raised as well."""

    async def close(*_error: object) -> None:
        await asyncio.sleep(0)
        raise Broken

    with pytest.raises(Broken):
        await close_all([close], None)


async def test_a_cancellation_comes_before_errors(caplog: pytest.LogCaptureFixture) -> None:
    """While a cancelled task closes its scope, errors are logged and the cancellation goes on."""
    closed = Closed()
    cancellation = asyncio.CancelledError()
    await close_all([closed.exit("a", Broken("lost"))], cancellation)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "lost" in caplog.text
    with pytest.raises(asyncio.CancelledError):
        await close_all(
            [closed.exit("a"), closed.exit("b", asyncio.CancelledError()), closed.exit("c", Broken())], None
        )
    assert closed.log == ["a CancelledError()", "c", "b", "a"]


async def test_exits_learn_of_the_error() -> None:
    """They are called as `__exit__` is, with the error that ended the scope, or without."""
    closed = Closed()
    await close_all([closed.exit("a")], Broken())
    await close_all([closed.exit("a")], None)
    assert closed.log == ["a Broken()", "a"]


class Services(dishka.Provider):
    @dishka.provide(scope=dishka.Scope.REQUEST)
    async def session(self) -> AsyncIterator[Session]:
        session = Session()
        yield session
        session.open = False

    mailer = dishka.provide(Mailer, scope=dishka.Scope.REQUEST)
    importer = dishka.provide(Importer, scope=dishka.Scope.APP)

    @dishka.provide(scope=dishka.Scope.APP)
    def of_the_app(self) -> Broken:
        return Broken("one for all")

    @dishka.provide(scope=dishka.Scope.STEP)
    def of_a_later_scope(self) -> KeyError:
        return KeyError()


def dishka_container() -> dishka.AsyncContainer:
    """Not checked by dishka itself: some services of the app need one of a task."""
    return dishka.make_async_container(Services(), skip_validation=True)


async def test_a_dishka_container_opens_a_scope_per_task() -> None:
    """Its request scope is that of a task: made once, closed at the end, and what belongs to the app is shared."""
    scopes = as_scopes(dishka_container())
    async with scopes() as scope:
        mailer = await get(scope, Mailer)
        assert mailer.session is await get(scope, Session)
        assert mailer.session.open
        shared = await get(scope, Broken)
    assert not mailer.session.open
    assert await made(scopes, Broken) is shared
    assert (await made(scopes, Mailer)).session is not mailer.session


async def test_a_dishka_container_provides_what_its_next_scope_gives() -> None:
    """Types of the app and of the task may be named, those of scopes below and the container itself may not."""
    provides = set(as_scopes(dishka_container()).provides)
    assert {Session, Mailer, Importer, Broken} <= provides
    assert not provides & {KeyError, dishka.AsyncContainer}


async def test_a_dishka_container_gives_an_interface_too() -> None:
    """An interface means the only provided class that has it among its bases."""
    scopes = as_scopes(dishka_container())
    assert isinstance(await made(scopes, SendsMail), Mailer)
    with pytest.raises(ConfigurationError, match=r"none is a KeyError.*provides=KeyError"):
        await made(scopes, KeyError)


def test_scopes_of_the_users_own_are_taken_as_they_are() -> None:
    """Anything that has `provides` and opens a scope when called will do; anything else is refused."""
    own = factories({Session: Session})
    assert as_scopes(own) is own
    sync_container = dishka.make_container(Services(), skip_validation=True)
    for wrong in (Session(), Session, sync_container, None):
        with pytest.raises(ConfigurationError, match="cannot open scopes"):
            as_scopes(wrong)
