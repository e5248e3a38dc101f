"""What may not be enqueued, or marked; each refusal says what to do."""

import functools
import inspect
import os
import subprocess
from abc import ABC
from collections.abc import Callable
from datetime import timedelta
from types import MethodType
from typing import Any, cast
from unittest.mock import MagicMock

import pytest

from taskproc.calls import Calls, ref
from taskproc.errors import ConfigurationError, NotAllowed
from taskproc.executor import JsonExecutor
from taskproc.marks import background
from tests.unit import calls_kit
from tests.unit.calls_kit import (
    HIDDEN,
    Mailer,
    Marked,
    Notifies,
    Sends,
    async_generator,
    generator,
    job,
    missing,
    plain,
    wrapped_job,
)

HERE = calls_kit.__name__


def named(method: Callable[..., Any], *provides: type, allowed: tuple[str, ...] = ()) -> str:
    """The name of a method, for a processor with these services."""
    return Calls(provides, allowed).name(method).call


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
    (calls_kit._private, r":_private is private .*public methods only"),
    (Mailer()._private, r"Mailer\._private is private"),
    (ref(Mailer)._private, r"Mailer\._private is private"),
    (Mailer().__call__, r"Mailer\.__call__ is private"),
    (loose(Mailer).__init__, r"_Ref\.__init__ is private"),
    (ref(HIDDEN).send, r"_Hidden\.send is private"),
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
    original = calls_kit.job
    monkeypatch.setattr(calls_kit, "job", wrapped_job)
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


def test_methods_of_a_metaclass_are_none_of_the_class() -> None:
    """ABCMeta has a method `register`: it is no method of the services that are abstract classes."""

    class Abstract(ABC):  # noqa: B024
        pass

    assert named(ref(Notifies).register, Notifies) == f"{HERE}:Notifies.register"
    with pytest.raises(NotAllowed, match=r"register is no method"):
        named(Abstract.register, Abstract)
    with pytest.raises(NotAllowed, match=r"register is no method"):
        named(loose(Abstract).register, Abstract)


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


def test_the_executor_refuses_what_may_not_run_before_it_encodes() -> None:
    """JsonExecutor.serialize asks for the name first: no argument of a refused call is looked at."""
    with pytest.raises(NotAllowed):
        JsonExecutor(Calls([], ())).serialize(plain, (object(),), {})
