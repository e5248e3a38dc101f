"""The guard of a worker: whatever a payload names, only what may be run is found, and nothing else is imported."""

import importlib
import os
import subprocess
import sys
import types
from abc import ABC, abstractmethod
from typing import Generic, NoReturn, Protocol, TypeVar

import hypothesis
import pytest
from hypothesis import strategies as st

import taskproc
from taskproc import background
from taskproc.errors import MalformedTask, UnknownTask
from taskproc.finding import Finder, Target
from taskproc.marks import mark_of

HERE = __name__
reexported = subprocess.run
T = TypeVar("T")


class Sends(Protocol):
    def send(self) -> None: ...


class Base(ABC):
    @abstractmethod
    def abstract(self) -> None: ...

    def inherited(self) -> None:
        self.abstract()


class Repository(Generic[T]):
    def add(self, item: T) -> None: ...


class _Mixin:
    def mixed(self) -> None: ...


def fail(*_arguments: object) -> NoReturn:
    """What must not be run."""
    raise AssertionError("a look-up has run code")


class Trap:
    """A descriptor that does not like to be looked at."""

    __get__ = fail


class Mailer(Base, _Mixin, Repository[int]):
    trap = Trap()
    limit = 3
    shell = vars(os)["system"]

    def __getattr__(self, name: str) -> NoReturn:
        fail(name)

    def abstract(self) -> None: ...

    def send(self) -> None: ...

    @staticmethod
    def check() -> None: ...

    @classmethod
    def load(cls) -> None: ...

    @property
    def size(self) -> int:
        return fail()

    def _private(self) -> None: ...

    class Inner:
        """A class that nobody provides."""

        def go(self) -> None: ...


@background
def job() -> None:
    """What workers may run."""


def plain() -> None:
    """What they may not."""


class Marked:
    @background
    def method(self) -> None: ...

    @staticmethod
    @background
    def static() -> None: ...


def finder(*provides: type, allowed: tuple[str, ...] = ()) -> Finder:
    """The guard of a worker with these services."""
    return Finder(provides, allowed)


MALFORMED = [
    "",
    ":",
    "::",
    "job",
    "os.system",
    "os:",
    ":system",
    f"{HERE}:job:job",
    f"{HERE}:job.",
    f"{HERE}:.job",
    f"{HERE}:job()",
    f"{HERE} :job",
    f"{HERE}:job ",
    f"{HERE}:job\n",
    f"\n{HERE}:job",
    f"{HERE}:job\0",
    f"{HERE}:jo\u200bb",
    f"{HERE}:\ud800",
    f"{HERE}:a-b",
    f"{HERE}/x:job",
    "..os:system",
    ".os:system",
    "os.:system",
    "1os:system",
    f"{HERE}:_private",
    f"{HERE}:Mailer._private",
    f"{HERE}:Mailer.__init__",
    f"{HERE}:Mailer.__class__",
    f"{HERE}:Mailer.__class__.mro",
    f"{HERE}:Mailer.send.__globals__",
    f"{HERE}:_Mixin.mixed",
    f"{HERE}:__builtins__.eval",
    f"{HERE}:f.<locals>._private",
    f"{HERE}:<locals>",
    f"{HERE}:f.<locals>",
    f"{HERE}:<lambda>",
    "builtins:__import__",
    "shop.jobs:_private",
    "shop.jobs:Jobs.__call__",
    "shop.trap:_x",
    "shop.trap:__x__",
    "shop.trap:work.__globals__",
    "shop.__main__:work",
    "shop.__init__:work",
    "__init__:work",
    f"{HERE}:{'x' * 500}",
    f"{'x.' * 250}x:job",
]


@pytest.mark.parametrize("call", MALFORMED)
@pytest.mark.usefixtures("shop")
def test_malformed_private_and_dunder_names_are_refused_for_good(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are MalformedTask at once, and nothing is imported, though the whole package is allowed."""
    monkeypatch.setattr(importlib, "import_module", fail)
    before = set(sys.modules)
    with pytest.raises(MalformedTask, match="is not the name of a public method") as error:
        finder(Mailer, allowed=("shop", HERE)).find(call)
    assert set(sys.modules) == before
    assert len(str(error.value)) < 1000
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "call",
    [
        "os:system",
        "posix:system",
        "subprocess:run",
        "subprocess:Popen.communicate",
        "builtins:eval",
        "builtins:exec",
        "builtins:dict.fromkeys",
        "importlib:import_module",
        "sys:exit",
        "shop.trap:work",
        "shop:work",
        "nowhere:work",
        "__main__:work",
        "taskproc.calls:ref",
        "taskproc:background",
        f"{HERE}:plain",
        f"{HERE}:reexported",
        f"{HERE}:os.system",
        f"{HERE}:subprocess.run",
        f"{HERE}:taskproc.calls.ref",
        f"{HERE}:nope",
        f"{HERE}:job.nope",
        f"{HERE}:Mailer",
        f"{HERE}:Mailer.trap",
        f"{HERE}:Mailer.limit",
        f"{HERE}:Mailer.shell",
        f"{HERE}:Mailer.size",
        f"{HERE}:Mailer.nope",
        f"{HERE}:Mailer.Inner",
        f"{HERE}:Mailer.Inner.go",
        f"{HERE}:Mailer.mro",
        f"{HERE}:Mailer.register",
        f"{HERE}:Mailer.mixed.x",
        f"{HERE}:Marked.method",
        f"{HERE}:f.<locals>.job",
        "abc:ABC.register",
        "typing:Protocol.send",
    ],
)
@pytest.mark.usefixtures("shop")
def test_what_is_not_known_is_unknown(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other modules' functions, properties, attributes, unmarked functions: UnknownTask, and nothing is imported."""
    monkeypatch.setattr(importlib, "import_module", fail)
    before = set(sys.modules)
    with pytest.raises(UnknownTask, match=r"this worker does not know .*provided.*@background.*allowed_modules"):
        finder(Mailer).find(call)
    assert set(sys.modules) == before


def found(target: Target) -> tuple[str, str]:
    """What kind of thing was found, and whose."""
    return target.kind, target.owner.__name__ if target.owner else ""


@pytest.mark.parametrize(
    "name, expected",
    [
        ("Mailer.send", ("instance", "Mailer")),
        ("Mailer.inherited", ("instance", "Mailer")),
        ("Mailer.mixed", ("instance", "Mailer")),
        ("Mailer.add", ("instance", "Mailer")),
        ("Mailer.check", ("static", "Mailer")),
        ("Mailer.load", ("class", "Mailer")),
        ("Base.inherited", ("instance", "Base")),
        ("Base.abstract", ("instance", "Base")),
        ("Repository.add", ("instance", "Repository")),
        ("Sends.send", ("instance", "Sends")),
        ("job", ("function", "")),
        ("Marked.static", ("static", "Marked")),
    ],
)
def test_what_may_run_is_found(name: str, expected: tuple[str, str]) -> None:
    """Public methods of provided types and their bases, and what is marked; the name is that of the task."""
    target = finder(Mailer, Sends).find(f"{HERE}:{name}")
    assert found(target) == expected
    assert target.call == f"{HERE}:{name}"
    assert target.name == name.rpartition(".")[2]


def test_a_name_is_looked_up_once() -> None:
    """What was found is remembered, what was not is looked for again: it may be imported meanwhile."""
    one = finder(Mailer)
    assert one.find(f"{HERE}:Mailer.send") is one.find(f"{HERE}:Mailer.send")
    module = types.ModuleType("late_module")
    with pytest.raises(UnknownTask):
        one.find("late_module:job")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "late_module", module)
        vars(module)["job"] = job
        assert one.find("late_module:job").function is job


def test_names_of_private_bases_do_not_serve() -> None:
    """A private base of a service lends its methods, but not its name; nor do the bases that Python brings."""
    one = finder(Mailer)
    assert one.service(f"{HERE}:Base") is Base
    assert one.service(f"{HERE}:_Mixin") is None
    assert one.service("abc:ABC") is None
    assert one.service("builtins:object") is None
    assert one.service("typing:Generic") is None


MODULES = [HERE, "os", "sys", "builtins", "subprocess", "importlib", "taskproc", "taskproc.calls", "shop", "shop.jobs"]
NAMES = [
    *("Mailer", "Base", "job", "plain", "Marked", "send", "check", "trap", "size", "system", "run", "eval", "Popen"),
    *("os", "mro", "__class__", "__globals__", "_private", "__init__", "<locals>", "<lambda>", "", "modules", "path"),
]
ALL_THAT_IS_IMPORTED = [
    f"{name}:{attribute}"
    for name, module in list(sys.modules.items())
    for attribute in list(getattr(module, "__dict__", ()))
]
calls = st.one_of(
    st.text(),
    st.text("abAB_.:<>1 \n\0é"),
    st.tuples(st.sampled_from(MODULES), st.lists(st.sampled_from(NAMES), max_size=4)).map(
        lambda parts: f"{parts[0]}:{'.'.join(parts[1])}"
    ),
    st.tuples(st.sampled_from(MODULES), st.lists(st.sampled_from(NAMES) | st.text(max_size=5), max_size=4)).map(
        lambda parts: f"{parts[0]}:{'.'.join(parts[1])}"
    ),
    st.sampled_from(ALL_THAT_IS_IMPORTED),
)


@hypothesis.given(calls)
@hypothesis.settings(max_examples=1500)
def test_whatever_is_named_nothing_is_imported_or_called(call: str) -> None:
    """Any text, and names of all that is imported: only two errors, or a function that may run; never an import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib, "import_module", fail)
        before = set(sys.modules)
        target, problem = None, ""
        try:
            target = finder(Mailer).find(call)
        except (MalformedTask, UnknownTask) as error:
            problem = str(error)
        assert set(sys.modules) == before
    if target is None:
        assert problem.isprintable()
        assert len(problem) < 2000
    else:
        assert target.owner in (Mailer, Base, Repository) or mark_of(target.function) is not None


def test_the_public_package_has_no_marked_function() -> None:
    """Nothing of taskproc itself can be run by a payload that names it."""
    for name in taskproc.__all__:
        with pytest.raises((UnknownTask, MalformedTask)):
            finder().find(f"taskproc:{name}")


def test_the_classics_are_left_alone_even_by_a_worker_that_allows_its_own_module() -> None:
    """What this module imports from elsewhere is not made its own by that."""
    one = finder(Mailer, allowed=(HERE, "taskproc"))
    assert one.find(f"{HERE}:plain").function is plain
    for name in (
        "reexported",
        "os.system",
        "subprocess.run",
        "subprocess.Popen.communicate",
        "sys.exit",
        "Path.home",
        "Any",
    ):
        with pytest.raises(UnknownTask):
            one.find(f"{HERE}:{name}")
