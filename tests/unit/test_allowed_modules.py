"""What a worker imports and runs of the packages in `allowed_modules`, and what it does not."""

import importlib
import sys
from typing import Any

import pytest

from taskproc.calls import Calls, ref
from taskproc.errors import NotAllowed, UnknownTask
from taskproc.finding import Finder, Target

pytestmark = pytest.mark.usefixtures("shop")


def imported_of_shop() -> set[str]:
    """The modules of the package that are imported."""
    return {name for name in sys.modules if name.partition(".")[0] in ("shop", "shopping")}


def finder(*allowed: str) -> Finder:
    """The guard of a worker that allows these modules."""
    return Finder((), allowed)


def found(target: Target) -> tuple[str, str]:
    """What kind of thing was found, and whose."""
    return target.kind, target.owner.__name__ if target.owner else ""


def test_allowed_modules_are_imported_and_their_own_functions_run() -> None:
    """Functions, static and class methods that a module of an allowed package defines, or has from another such one."""
    one = finder("shop")
    assert found(one.find("shop.jobs:work")) == ("function", "")
    assert imported_of_shop() == {"shop", "shop.jobs", "shop.util"}
    assert found(one.find("shop.jobs:awork")) == ("function", "")
    assert found(one.find("shop.jobs:marked")) == ("function", "")
    assert found(one.find("shop.jobs:helper")) == ("function", "")
    assert found(one.find("shop.jobs:Jobs.static")) == ("static", "Jobs")
    assert found(one.find("shop.jobs:Jobs.clsm")) == ("class", "Jobs")
    assert found(one.find("shop.jobs:Jobs.inherited")) == ("class", "Jobs")
    assert found(one.find("shop.jobs:Jobs.Nested.deep")) == ("static", "Nested")


@pytest.mark.parametrize(
    "path",
    [
        "system",
        "run",
        "os.system",
        "subprocess.run",
        "Popen.communicate",
        "Popen.kill",
        "partial",
        "wrapped",
        "instance",
        "instance.static",
        "number",
        "nope",
        "nope.nope",
        "Jobs",
        "Jobs.instance",
        "Jobs.prop",
        "Jobs.shell",
        "Jobs.boxed",
        "background",
        "functools.wraps",
        "functools.partial.func",
    ],
)
def test_what_an_allowed_module_has_from_elsewhere_is_refused(path: str) -> None:
    """Re-exported functions, partials, instances, properties and attributes are UnknownTask; no code of them is run."""
    with pytest.raises(UnknownTask):
        finder("shop").find(f"shop.jobs:{path}")


def test_no_module_outside_of_those_allowed_is_imported() -> None:
    """A name that only begins like an allowed package, or lies above it, is not imported."""
    for call in ("shop:work", "shopping:work", "shop.jobs_more:work", "sho:work"):
        with pytest.raises(UnknownTask, match="does not know"):
            finder("shop.jobs").find(call)
    assert imported_of_shop() == set()


def test_private_modules_are_imported_only_when_they_are_named() -> None:
    """`allowed_modules` means public modules, unless it says the private one itself."""
    for call in ("shop._hidden:work", "shop.other._inner:work"):
        with pytest.raises(UnknownTask, match="does not know"):
            finder("shop").find(call)
    assert imported_of_shop() == set()
    assert finder("shop._hidden").find("shop._hidden:work").kind == "function"
    assert finder("shop.other._inner").find("shop.other._inner:work").kind == "function"


def test_a_module_that_cannot_be_imported_here_may_be_elsewhere() -> None:
    """A missing module, and one that raises when it is imported, are UnknownTask with the reason."""
    one = finder("shop")
    with pytest.raises(UnknownTask, match=r"cannot import shop\.nope: ModuleNotFoundError"):
        one.find("shop.nope:work")
    with pytest.raises(UnknownTask, match=r"cannot import shop\.broken: RuntimeError\('on import'\)"):
        one.find("shop.broken:work")
    with pytest.raises(UnknownTask, match=r"cannot import shop\.jobs\.work: "):
        one.find("shop.jobs.work:deeper")


def test_what_may_be_enqueued_is_found_and_what_is_not_found_may_not() -> None:
    """Both sides agree on each name of the module."""
    module: Any = importlib.import_module("shop.jobs")
    calls = Calls([], ["shop"])
    for function in (module.work, module.helper, module.Jobs.static, module.Jobs.clsm, module.Jobs.inherited):
        assert calls.find(calls.name(function).call).function is calls.name(function).function
    assert calls.name(ref(module.Jobs).clsm).call == "shop.jobs:Jobs.clsm"
    for function in (
        module.run,
        module.system,
        module.wrapped,
        module.Jobs.shell,
        module.Jobs.instance,
        module.partial,
    ):
        with pytest.raises(NotAllowed):
            calls.name(function)
    hidden: Any = importlib.import_module("shop._hidden")
    with pytest.raises(NotAllowed, match="is not marked"):
        calls.name(hidden.work)
