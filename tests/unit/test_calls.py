"""What may be enqueued, under which name, and the refusals, each with its remedy."""

import functools
import inspect
import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from types import MethodType
from typing import Any, Protocol, cast
from unittest.mock import MagicMock

import pytest

from taskproc.calls import Calls, ref
from taskproc.errors import ConfigurationError, InvalidName, NotAllowed
from taskproc.executor import JsonExecutor
from taskproc.marks import Background, background

HERE = __name__
MINUTE = timedelta(minutes=1)


def without_wraps(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that loses the name."""

    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def with_wraps(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that keeps it."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Sends(Protocol):
    def send(self, to: str) -> object: ...


class Notifies(ABC):
    @abstractmethod
    def notify(self) -> None: ...

    def register(self) -> None:
        self.notify()


class Base:
    def inherited(self) -> None: ...

    @classmethod
    def counted(cls) -> None: ...


class Mailer(Base):
    limit = 3

    def __init__(self) -> None:
        self.hook = lambda: None

    async def send(self, to: str) -> None: ...

    def stream(self) -> Iterator[int]:
        yield 1

    async def astream(self) -> AsyncIterator[int]:
        yield 1

    @property
    def size(self) -> int:
        return 1

    @functools.cached_property
    def cached(self) -> int:
        return 1

    @staticmethod
    def check(to: str) -> None: ...

    @classmethod
    def load(cls, to: str) -> None: ...

    @with_wraps
    def wrapped(self) -> None: ...

    @without_wraps
    def renamed(self) -> None: ...

    def _private(self) -> None: ...

    def __call__(self) -> None: ...

    class Inner:
        """A service inside of another's class."""

        def go(self) -> None: ...


class _Hidden(Mailer):
    async def send(self, to: str) -> None: ...


class Smtp(Mailer, Notifies):
    def notify(self) -> None: ...


class Marked:
    @background
    @staticmethod
    def above_static(n: int) -> None: ...

    @staticmethod
    @background(queue="low")
    def below_static(n: int) -> None: ...

    @background(retries=2)
    @classmethod
    def above_class(cls, n: int) -> None: ...

    @classmethod
    @background(invisibility=MINUTE)
    def below_class(cls, n: int) -> None: ...

    @staticmethod
    def unmarked() -> None: ...

    @background(auto_extend=True)
    def method(self) -> None: ...

    class Nested:
        """A class inside of another."""

        @staticmethod
        @background
        def deep() -> None: ...


@background
async def job(n: int) -> None:
    """A function that workers may run."""


@background(queue="high", retries=5)
@with_wraps
def wrapped_job() -> None:
    """A decorated one."""


@background
def gone() -> None:
    """One whose name is deleted."""


missing = gone
del gone


def plain() -> None:
    """One without a mark."""


@background
def _private() -> None: ...


@background
def generator() -> Iterator[int]:
    """One that does nothing when it is called."""
    yield 1


@background
async def async_generator() -> AsyncIterator[int]:
    """Likewise."""
    yield 1


def named(method: Callable[..., Any], *provides: type, allowed: tuple[str, ...] = ()) -> str:
    """The name of a method, for a processor with these services."""
    return Calls(provides, allowed).name(method).call


def named_by_a_producer(method: Callable[..., Any]) -> str:
    """The name of a method, for a processor without scopes."""
    return Calls(None, ()).name(method).call


@pytest.mark.parametrize(
    "method, expected",
    [
        (Mailer().send, "Mailer.send"),
        (ref(Mailer).send, "Mailer.send"),
        (ref(Mailer).inherited, "Mailer.inherited"),
        (Mailer().inherited, "Mailer.inherited"),
        (ref(Base).inherited, "Base.inherited"),
        (ref(Mailer).check, "Mailer.check"),
        (Mailer.check, "Mailer.check"),
        (Mailer().check, "Mailer.check"),
        (Mailer.load, "Mailer.load"),
        (Mailer().load, "Mailer.load"),
        (Mailer.counted, "Mailer.counted"),
        (Base.counted, "Base.counted"),
        (ref(Mailer).wrapped, "Mailer.wrapped"),
        (ref(Mailer).renamed, "Mailer.renamed"),
    ],
)
def test_public_methods_of_a_service(method: Callable[..., Any], expected: str) -> None:
    """Bound, by ref, inherited, static, class and decorated methods of a provided type, and its bases, are named."""
    assert named(method, Mailer) == f"{HERE}:{expected}"


@pytest.mark.parametrize(
    "method, expected",
    [
        (job, "job"),
        (wrapped_job, "wrapped_job"),
        (Marked.above_static, "Marked.above_static"),
        (Marked.below_static, "Marked.below_static"),
        (Marked.above_class, "Marked.above_class"),
        (Marked.below_class, "Marked.below_class"),
        (ref(Marked).above_class, "Marked.above_class"),
        (Marked.Nested.deep, "Marked.Nested.deep"),
    ],
)
def test_what_is_marked_needs_no_service(method: Callable[..., Any], expected: str) -> None:
    """Functions, static and class methods with @background, above or below the other decorator, are named."""
    assert named(method) == f"{HERE}:{expected}"
    assert named_by_a_producer(method) == f"{HERE}:{expected}"


@pytest.mark.parametrize(
    "method, expected",
    [
        (job, Background()),
        (wrapped_job, Background(queue="high", retries=5)),
        (Marked.below_static, Background(queue="low")),
        (Marked.above_class, Background(retries=2)),
        (Marked.below_class, Background(invisibility=MINUTE)),
        (ref(Marked).method, Background(auto_extend=True)),
        (Marked().method, Background(auto_extend=True)),
        (ref(Marked).unmarked, Background()),
    ],
)
def test_defaults_of_a_mark_are_found(method: Callable[..., Any], expected: Background) -> None:
    """What @background says comes with the target, for methods of services too."""
    assert Calls([Marked], ()).name(method).options == expected


def test_the_interface_that_was_named_is_the_one_that_is_written_down() -> None:
    """For `ref(Interface).method` the name, and the signature, are those of the interface."""
    calls = Calls([Sends, Notifies], ())
    target = calls.name(ref(Sends).send)
    assert (target.call, target.owner, target.kind) == (f"{HERE}:Sends.send", Sends, "instance")
    assert target.function is Sends.send
    assert calls.name(ref(Notifies).notify).owner is Notifies


def test_a_method_goes_by_the_nearest_class_that_is_provided() -> None:
    """An instance of a class that nobody provides, even a private or local one, is named by the base that is."""

    class Local(Mailer):
        pass

    assert named(Smtp().send, Mailer) == f"{HERE}:Mailer.send"
    assert named(_Hidden().send, Mailer) == f"{HERE}:Mailer.send"
    assert named(Local().send, Mailer) == f"{HERE}:Mailer.send"
    assert named(Smtp().notify, Smtp) == f"{HERE}:Smtp.notify"
    assert named(ref(Notifies).notify, Smtp) == f"{HERE}:Notifies.notify"
    assert named(Smtp.load, Smtp) == f"{HERE}:Smtp.load"
    for not_an_instance in (ref(Smtp).send, Smtp.load):
        with pytest.raises(NotAllowed, match=r"no service of the processor is a Smtp"):
            named(not_an_instance, Mailer)
    with pytest.raises(NotAllowed, match=r"Smtp\.notify: no service of the processor is a Smtp"):
        named(Smtp().notify, Mailer)


def test_a_local_class_may_be_named_when_it_is_provided() -> None:
    """Classes of a test function work once scopes provide them, by instance, by ref, and their static methods."""

    class Local:
        def run(self) -> None: ...

        @staticmethod
        def check() -> None: ...

    calls = Calls([Local], ())
    name = f"{HERE}:test_a_local_class_may_be_named_when_it_is_provided.<locals>.Local"
    assert calls.name(ref(Local).run).call == f"{name}.run"
    assert calls.name(Local().run).owner is Local
    assert calls.name(Local.check).call == f"{name}.check"
    assert calls.find(f"{name}.run").owner is Local


def test_a_producer_without_scopes_may_name_any_class() -> None:
    """Whether its workers have the service, it cannot know; local and private classes they cannot have."""

    class Local:
        def run(self) -> None: ...

    assert named_by_a_producer(ref(Mailer).send) == f"{HERE}:Mailer.send"
    assert named_by_a_producer(Mailer().send) == f"{HERE}:Mailer.send"
    assert named_by_a_producer(ref(Mailer.Inner).go) == f"{HERE}:Mailer.Inner.go"
    with pytest.raises(NotAllowed, match="no service"):
        named_by_a_producer(ref(Local).run)
    with pytest.raises(NotAllowed, match="is private"):
        named_by_a_producer(ref(_Hidden).send)


def loose(service: type) -> Any:
    """ref() without its types."""
    return ref(service)


def make_local() -> Callable[[], None]:
    """A function defined inside of another, marked or not."""

    @background
    def local() -> None: ...

    return local


class HasNoHash:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> None: ...


class BadRepr:
    def __repr__(self) -> str:
        return "x" * 10_000

    def __call__(self) -> None: ...


REFUSED: list[tuple[Any, str]] = [
    (lambda: None, r"lambda.*define a function and mark it with @background"),
    (background(lambda: None), r"lambda.*define a function"),
    (make_local(), r"make_local\.<locals>\.local is defined inside another function.*at a module's top"),
    (functools.partial(job, 1), r"is a partial.*enqueue its function, with all the arguments"),
    (functools.partial(Mailer().send, "bob"), r"is a partial"),
    (print, r"built in.*call it in a function that is marked with @background"),
    (vars(os)["system"], r"system.* is built in"),
    (len, r"built in"),
    ([].append, r"built in"),
    ("".join, r"built in"),
    (str.join, r"built in"),
    (dict.fromkeys, r"built in"),
    (Mailer, r"Mailer'> is a class.*ref\(Mailer\)\.method"),
    (int, r"is a class"),
    (Mailer(), r"is not a function or method"),
    (MagicMock(), r"is not a function or method"),
    (HasNoHash(), r"is not a function or method"),
    (BadRepr(), r"^x{200} is not a function or method"),
    (cast("Any", None), r"None is not a function or method"),
    (cast("Any", "tests:job"), r"'tests:job' is not a function or method"),
    (ref(Mailer), r"ref\(Mailer\) is not a function or method: .* ref\(Service\)\.method"),
    (MethodType(functools.partial(print), 1), r"is not a function or method"),
    (functools.lru_cache(plain), r"is not a function or method|is built in"),
    (generator, r"generator is a generator function.*enqueue a function that does the work"),
    (async_generator, r"async_generator is a generator function"),
    (Mailer().stream, r"Mailer\.stream is a generator function"),
    (ref(Mailer).astream, r"Mailer\.astream is a generator function"),
    (_private, r":_private is private .*public methods only"),
    (Mailer()._private, r"Mailer\._private is private"),
    (ref(Mailer)._private, r"Mailer\._private is private"),
    (Mailer().__call__, r"Mailer\.__call__ is private"),
    (loose(Mailer).__init__, r"_Ref\.__init__ is private"),
    (ref(_Hidden).send, r"_Hidden\.send is private"),
    (Mailer.send, r"Mailer\.send is a method without its instance: say ref\(Mailer\)\.send, or .* injected service"),
    (Marked.method, r"say ref\(Marked\)\.method"),
    (Mailer.Inner.go, r"say ref\(Inner\)\.go"),
    (loose(Mailer).nope, r"Mailer\.nope is no method .*; those of Mailer are: astream, check, counted, inherited, "),
    (ref(Mailer).size, r"Mailer\.size is no method"),
    (ref(Mailer).cached, r"Mailer\.cached is no method"),
    (ref(Mailer).limit, r"Mailer\.limit is no method"),
    (ref(Mailer).Inner, r"Mailer\.Inner is no method"),
    (loose(Mailer).mro, r"Mailer\.mro is no method"),
    (ref(Mailer).hook, r"Mailer\.hook is no method"),
    (loose(Marked).nope, r"those of Marked are: above_class"),
    (Mailer().hook, r"lambda"),
    (Mailer().renamed, r"Mailer\.wrapper is no method"),
    (Mailer.renamed, r"is defined inside another function"),
    (loose(type).mro, r"is no method"),
    (plain, r":plain is not marked .* decorate it, or .*@background; or .* allowed_modules \('tests'\)"),
    (subprocess.run, r"subprocess:run is not marked .* a function of yours that calls it"),
    (missing, r"gone: its module has nothing, or something else, under that name"),
    (Marked.unmarked, r"no service of the processor is a Marked.*services=\{Marked: provider\}; or .* @background"),
    (ref(Sends).send, r"Sends\.send: no service of the processor is a Sends\. Add a provider of it.*services=\{Sends"),
    (Marked().method, r"Marked\.method: no service of the processor is a Marked\. .*services=\{Marked: provider\}$"),
]


@pytest.mark.parametrize("method, message", REFUSED)
def test_refusals_say_what_to_do(method: Callable[..., Any], message: str) -> None:
    """What no worker could or should run is refused, with the name of the thing and the remedy."""
    with pytest.raises(NotAllowed, match=message):
        named(method, Mailer)


@pytest.mark.parametrize("service", [plain, "Mailer", list[int], None, Mailer()])
def test_ref_takes_classes_only(service: Any) -> None:
    """Anything but a class is refused where ref() is called."""
    with pytest.raises(NotAllowed, match=r"^ref\(.*ref\(\) takes a class, abstract class or Protocol"):
        ref(service)


def test_what_ref_gives_cannot_be_called() -> None:
    """A call that was meant to be enqueued says so, instead of a puzzle."""
    with pytest.raises(TypeError, match=r"ref\(Mailer\)\.check was called: pass it to enqueue"):
        ref(Mailer).check("bob")
    assert repr(ref(Mailer)) == "ref(Mailer)"
    assert not inspect.isawaitable(ref(Mailer))
    assert not hasattr(ref(Mailer), "__wrapped__")


def test_a_function_that_was_replaced_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker would find the other one: the name must lead back to the function that was passed."""
    original = job
    monkeypatch.setitem(globals(), "job", wrapped_job)
    with pytest.raises(NotAllowed, match=r"job: its module has nothing, or something else, under that name"):
        named(original)


def test_a_method_that_was_replaced_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise for a static method taken from its class before."""
    original = Marked.below_static
    monkeypatch.setattr(Marked, "below_static", staticmethod(plain))
    with pytest.raises(NotAllowed, match=r"below_static cannot be found by its name"):
        named(original)


@pytest.mark.parametrize("name", ["is a name", "x" * 600, "ü:ber"])
def test_names_that_cannot_be_written_down_are_refused(name: str) -> None:
    """A class made at run time may have a name that a worker would take for malformed."""
    made = type(name, (), {"run": Mailer.inherited})
    with pytest.raises(NotAllowed, match=r"no name by which a worker could find it: rename it"):
        named(loose(made).run, made)


def test_a_name_beyond_ascii_is_one_like_any_other() -> None:
    """Python allows them, so they are found again."""
    greetings = type("Grüße", (), {"senden": Mailer.send})
    calls = Calls([greetings], ())
    target = calls.name(loose(greetings).senden)
    assert calls.find(target.call).owner is greetings


def test_methods_of_a_metaclass_are_none_of_the_class() -> None:
    """ABCMeta has a method `register`: it is no method of the services that are abstract classes."""

    class Abstract(ABC):  # noqa: B024
        pass

    assert named(ref(Notifies).register, Notifies) == f"{HERE}:Notifies.register"
    with pytest.raises(NotAllowed, match=r"register is no method"):
        named(Abstract.register, Abstract)
    with pytest.raises(NotAllowed, match=r"register is no method"):
        named(loose(Abstract).register, Abstract)


def test_names_are_worked_out_once() -> None:
    """The second time the same target comes back: enqueueing is a hot path."""
    calls = Calls([Mailer], ())
    one, other = Mailer(), Mailer()
    assert calls.name(one.send) is calls.name(other.send)
    assert calls.name(job) is calls.name(job)
    assert calls.name(ref(Mailer).send) is calls.name(ref(Mailer).send)


def test_nothing_stays_in_memory_of_what_is_refused() -> None:
    """Refused lambdas do not pile up, and neither do the instances whose methods are enqueued."""
    calls = Calls([Mailer], ())
    for _ in range(10):
        with pytest.raises(NotAllowed):
            calls.name(lambda: None)
        calls.name(Mailer().send)
    assert len(calls._named) == 1


@pytest.mark.parametrize(
    "marked, message",
    [
        (Mailer, "class"),
        (functools.partial(plain), "partial"),
        (print, "built-in"),
        (Mailer().send, "bound method"),
        (property(lambda _: 1), "property"),
        (None.__class__, "NoneType"),
    ],
)
def test_only_functions_and_methods_can_be_marked(marked: Any, message: str) -> None:
    """@background on anything else is an error where it stands."""
    with pytest.raises(ConfigurationError, match=rf"@background on .*{message}.*: it marks functions and methods"):
        background(marked)
    with pytest.raises(ConfigurationError, match="it marks functions and methods"):
        background(queue="low")(marked)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"retries": 0}, r"retries=0: .* for a single attempt use 1"),
        ({"retries": 1.5}, r"retries=1\.5"),
        ({"retries": True}, r"retries=True"),
        ({"invisibility": 5}, r"invisibility=5 must be a timedelta"),
        ({"invisibility": timedelta(0)}, r"invisibility=.* a millisecond"),
        ({"queue": "a b"}, r"queue name 'a b' is not allowed"),
        ({"queue": "failed"}, r"also the name of a batch outcome"),
        ({"auto_extend": "yes"}, r"auto_extend='yes' must be True or False"),
    ],
)
def test_impossible_defaults_are_refused_where_they_stand(options: Any, message: str) -> None:
    """@background checks its options when the module is imported, not when a task is enqueued."""
    with pytest.raises(ConfigurationError, match=rf"@background\(…\): .*{message}"):
        background(**options)
    assert not issubclass(ConfigurationError, InvalidName)


def test_the_marked_function_is_itself() -> None:
    """@background wraps nothing: calls and stack traces are as before."""

    def function() -> int:
        return 7

    assert background(function) is function
    assert background(queue="low")(function) is function
    assert inspect.iscoroutinefunction(job)
    assert Marked.above_static(1) is None


def test_another_executor_decides_by_itself() -> None:
    """For an executor of the user's own everything has some name; nothing is refused."""
    calls = Calls([], ())
    assert calls.describe(ref(Mailer).send).call == f"{HERE}:Mailer.send"
    assert calls.describe(plain).call == f"{HERE}:plain"
    assert calls.describe(Mailer().send).call == f"{HERE}:Mailer.send"
    assert calls.describe(functools.partial(plain)).call == "functools:partial"
    assert calls.describe(wrapped_job).options == Background(queue="high", retries=5)
    assert calls.describe(Marked().method).options == Background(auto_extend=True)


def test_the_executor_refuses_what_may_not_run_before_it_encodes() -> None:
    """JsonExecutor.serialize asks for the name first: no argument of a refused call is looked at."""
    with pytest.raises(NotAllowed):
        JsonExecutor(Calls([], ())).serialize(plain, (object(),), {})
