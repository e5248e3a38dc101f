"""Code that was moved or renamed: tasks written under its old name run, and new ones are known to old workers."""

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from taskproc import (
    ConfigurationError,
    NotAllowed,
    TaskProcessor,
    TaskProcessorSettings,
    UnknownTask,
    background,
    factories,
    ref,
)
from taskproc.calls import Calls
from taskproc.marks import _places
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import died, gone, running

NOTES: list[str] = []

OLD = """
from taskproc import background
from tests.extension.test_aliases import NOTES

@background
async def send(to: str) -> None:
    NOTES.append(f"old {to}")
"""
NEW = """
from taskproc import background
from tests.extension.test_aliases import NOTES

@background(aliases=["shop_old:send"])
async def deliver(to: str) -> None:
    NOTES.append(f"new {to}")

@background(name="shop_old:send_many")
async def deliver_many(to: str) -> None:
    NOTES.append(f"many {to}")

def plain(to: str) -> None:
    NOTES.append(f"plain {to}")
"""


@contextmanager
def module(name: str, code: str) -> Generator[Any]:
    """A module of that name, as if it were imported, until the block is left."""
    made = ModuleType(name)
    sys.modules[name] = made
    known = dict(_places)
    try:
        exec(compile(code, f"{name}.py", "exec"), made.__dict__)  # noqa: S102 - of this test's making
        yield made
    finally:
        del sys.modules[name]
        _places.clear()
        _places.update(known)


class Mailer:
    """A service that was called OldMailer, and whose method was called send."""

    @background(aliases=["app.mail:OldMailer.post"])
    async def deliver(self, to: str) -> None:
        NOTES.append(f"mailer {to}")

    async def shout(self, to: str) -> None:
        NOTES.append(f"MAILER {to}")

    @staticmethod
    @background(aliases=["app.mail:OldMailer.check"])
    def check(to: str) -> None:
        NOTES.append(f"check {to}")

    @classmethod
    @background(name="app.mail:OldMailer.reset")
    def reset(cls, to: str) -> None:
        NOTES.append(f"reset {to}")


@pytest.fixture(autouse=True)
def notes() -> list[str]:
    """What ran in the test."""
    NOTES.clear()
    return NOTES


async def enqueue_old(made: TaskProcessorSettings) -> str:
    """A task of the old code; that is not there any more afterwards."""
    with module("shop_old", OLD) as old:
        async with TaskProcessor(made) as tasks:
            return await tasks.enqueue(old.send, "bob")


async def test_a_task_of_the_old_name_runs_in_the_new_code(settings: MakeSettings) -> None:
    """It was enqueued before the function was moved."""
    task_id = await enqueue_old(settings())
    with module("shop_new", NEW):
        async with TaskProcessor(settings()) as tasks, running(tasks):
            await gone(tasks, task_id)
    assert NOTES == ["new bob"]


async def test_a_worker_without_the_alias_leaves_it_to_others(settings: MakeSettings) -> None:
    """An alias that is not deployed everywhere loses nothing."""
    task_id = await enqueue_old(settings())
    async with TaskProcessor(settings()) as other, running(other):
        await wait_until(lambda: other.get_delayed_tasks("default"))
    with module("shop_new", NEW):
        async with TaskProcessor(settings()) as tasks, running(tasks):
            await gone(tasks, task_id)
    assert NOTES == ["new bob"]


async def test_a_name_is_what_tasks_carry(settings: MakeSettings) -> None:
    """Old workers know new tasks by it, the new ones too; the defaults of the mark hold."""
    with module("shop_new", NEW) as new:
        async with TaskProcessor(settings()) as tasks:
            task_id = await tasks.enqueue(new.deliver_many, "bob")
            task = await tasks.get_task(task_id)
            async with running(tasks):
                await gone(tasks, task_id)
            first, NOTES[:] = NOTES[:], []
            again = await tasks.enqueue(new.deliver_many, "eve")
    with module("shop_old", OLD.replace("def send", "def send_many")):
        async with TaskProcessor(settings()) as old, running(old):
            await gone(old, again)
    assert task is not None
    assert task.call == "shop_old:send_many"
    assert (first, NOTES) == (["many bob"], ["old eve"])


@pytest.mark.parametrize(
    "call, note",
    [
        ("app.mail:OldMailer.post", "mailer x"),
        ("app.mail:OldMailer.check", "check x"),
        ("app.mail:OldMailer.reset", "reset x"),
        ("app.mail:OlderMailer.shout", "MAILER x"),
        ("app.mail:OlderMailer.check", "check x"),
        ("app.mail:OlderMailer.send", "mailer x"),
        ("app.mail:send", "mailer x"),
        ("app.mail:is_ok", "check x"),
        ("app.mail:resize", "plain x"),
    ],
)
async def test_methods_of_services_and_classes(
    settings: MakeSettings, call: str, note: str, client: Any, prefix: str
) -> None:
    """By their marks, or by `aliases` of the processor, for one method or a whole class."""
    with module("shop_new", NEW) as new:
        tasks = TaskProcessor(
            settings(allowed_modules=["shop_new"], unknown_task_grace=timedelta(0)),
            scopes=factories({Mailer: Mailer}),
            aliases={
                "app.mail:OlderMailer": Mailer,
                "app.mail:OlderMailer.send": ref(Mailer).deliver,
                "app.mail:send": Mailer.deliver,
                "app.mail:is_ok": Mailer.check,
                "app.mail:resize": new.plain,
            },
        )
        async with tasks:
            task_id = await tasks.enqueue(ref(Mailer).shout, "x")
            client.hset(f"{prefix}:task:{task_id}", "c", call)
            async with running(tasks):
                await gone(tasks, task_id)
    assert [note] == NOTES


@pytest.mark.parametrize("now", [dedent, os.getpid, OSError, Mailer, Mailer.deliver, ref(Mailer).shout, eval])
def test_an_alias_allows_nothing(now: Callable[..., object]) -> None:
    """It leads to what may be run anyway: not to what is unmarked, not provided, private or built in."""
    try:
        calls = Calls([], (), {"app:old": now, "app:Old": now})
    except ConfigurationError:
        return  # no call could be named so
    for call in ("app:old", "app:Old.shout", "app:Old.deliver", "app:Old.dedent"):
        with pytest.raises(UnknownTask):
            calls.find(call)


def test_no_alias_leads_to_another_by_an_alias() -> None:
    """One step: so there are no circles."""
    calls = Calls([], (), {"app:a": _function("app:b"), "app:b": _function("app:a")})
    with pytest.raises(UnknownTask):
        calls.find("app:a")


def test_what_has_the_name_now_is_found_first() -> None:
    """An old name that was given to something else means that."""
    with module("shop_new", NEW), module("shop_old", OLD) as old:
        assert Calls([], ()).find("shop_old:send").function is old.send


async def test_a_dead_task_of_an_old_name_is_retried_under_the_alias(settings: MakeSettings) -> None:
    """The record stays as it is; a retry after the deploy of the alias runs it."""
    made = settings(unknown_task_grace=timedelta(0))
    task_id = await enqueue_old(made)
    async with TaskProcessor(made) as other, running(other):
        assert (await died(other, task_id)).call == "shop_old:send"
    with module("shop_new", NEW):
        async with TaskProcessor(made) as tasks, running(tasks):
            assert await tasks.retry_dead_tasks("default") == 1
            await gone(tasks, task_id)
    assert NOTES == ["new bob"]


@pytest.mark.parametrize("name", ["send", "app.mail:", ":send", "app.mail:_send", "a.__b__:c", "a b:c", "", 7])
def test_a_wrong_name_is_refused(name: Any) -> None:
    """Where it is said, with what it should look like."""
    with pytest.raises(ConfigurationError, match="module:function"):
        background(name=name or "x")
    with pytest.raises(ConfigurationError, match="module:function"):
        background(aliases=[name])
    if isinstance(name, str):
        with pytest.raises(ConfigurationError, match="module:function"):
            TaskProcessor(aliases={name: Mailer})


def test_what_no_alias_can_lead_to_is_refused() -> None:
    """Instances, bound methods, lambdas and partials have no name to lead to."""
    for now in (Mailer(), Mailer().deliver, print):
        with pytest.raises(ConfigurationError, match=r"ref\(Class\)\.method"):
            Calls([], (), {"app:old": now})  # type: ignore[dict-item]


def test_a_name_belongs_to_one_function() -> None:
    """A second function with it is refused; a module that is loaded again, or run as a script too, is not."""
    with module("shop_new", NEW):
        with module("shop_new", NEW):
            pass
        sys.modules["shop_new"] = ModuleType("shop_new")  # for the outer block to remove
        with (
            pytest.raises(ConfigurationError, match="is a name of shop_new:deliver and of shop_newer:deliver"),
            module("shop_newer", NEW),
        ):
            pass
        background(aliases=["shop_old:send"])(_function("__main__:deliver"))
        assert _places["shop_old:send"] == "shop_new:deliver"


def test_a_script_gives_way_to_the_module_that_it_is() -> None:
    """What runs as `__main__` first, and is imported then."""
    with module("empty", ""):
        background(aliases=["shop_old:send"])(_function("__main__:deliver"))
        with module("shop_new", NEW):
            assert _places["shop_old:send"] == "shop_new:deliver"


def test_a_name_must_not_be_where_something_else_is() -> None:
    """Tasks would run that instead."""
    code = NEW.replace('aliases=["shop_old:send"]', 'name="shop_old:send"')
    with (
        module("shop_old", OLD),
        module("shop_new", code) as new,
        pytest.raises(NotAllowed, match="its name 'shop_old:send' is where shop_old:send is"),
    ):
        Calls([], ()).name(new.deliver)


def test_a_name_is_not_inherited() -> None:
    """Of a class that inherits the method, its own place is written: by the name its base would be served."""
    with module("empty", ""):

        class Base:
            @background(name="app:Base.work")
            def work(self) -> None: ...

        class Sub(Base): ...

        calls = Calls([Base, Sub], ())
        assert calls.name(ref(Base).work).written == "app:Base.work"
        assert calls.name(ref(Sub).work).written.endswith("Sub.work")


def _function(place: str) -> Callable[[], None]:
    def made() -> None: ...

    made.__module__, made.__qualname__ = place.split(":")
    return made
