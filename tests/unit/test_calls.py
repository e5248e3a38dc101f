"""Under which name methods and functions are enqueued."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, cast

import pytest

from taskproc.calls import Calls, ref
from taskproc.errors import NotAllowed
from taskproc.marks import Background, background
from tests.unit import calls_kit
from tests.unit.calls_kit import (
    HIDDEN,
    MINUTE,
    Base,
    Mailer,
    Marked,
    Notifies,
    Sends,
    Smtp,
    job,
    plain,
    wrapped_job,
)

HERE = calls_kit.__name__


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
    assert named(HIDDEN().send, Mailer) == f"{HERE}:Mailer.send"
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
    name = f"{__name__}:test_a_local_class_may_be_named_when_it_is_provided.<locals>.Local"
    assert calls.name(ref(Local).run).call == f"{name}.run"
    assert calls.name(Local().run).owner is Local
    assert calls.name(Local.check).call == f"{name}.check"
    assert calls.find(f"{name}.run").owner is Local


def test_another_class_of_the_same_name_is_another() -> None:
    """A worker would take the one that is provided: the other one's methods are not named by it."""
    other = type("Mailer", (), {"__module__": HERE, "send": Mailer.send})
    assert (other.__module__, other.__qualname__) == (Mailer.__module__, Mailer.__qualname__)
    with pytest.raises(NotAllowed, match="no service of the processor is a Mailer"):
        Calls([Mailer], ()).name(cast("Any", ref(other)).send)


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
        named_by_a_producer(ref(HIDDEN).send)


def test_a_name_beyond_ascii_is_one_like_any_other() -> None:
    """Python allows them, so they are found again."""
    greetings = type("Grüße", (), {"senden": Mailer.send})
    calls = Calls([greetings], ())
    target = calls.name(cast("Any", ref(greetings)).senden)
    assert calls.find(target.call).owner is greetings


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
