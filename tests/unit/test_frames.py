"""Frames as text: which are shown, how their files are called, which of them is the user's."""

import asyncio
import inspect
import json
import linecache
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from taskproc import frames
from taskproc.frames import Spot, frames_of, of_users_code, spot_of, waiting_in, walk, where, without_lead

ASYNCIO = asyncio.Handle._run.__code__
OURS = frames.walk.__code__
LIBRARY = json.dumps.__code__
INSTALLED = pytest.fixture.__code__


def spot(path: str, line: int = 1, name: str = "work") -> Spot:
    """A place in a file that need not be there."""
    code = compile("", "made up", "exec").replace(co_filename=path, co_qualname=name)
    return code, line


def here() -> list[Spot]:
    """Where this test is."""
    return [spot_of(frame) for frame in walk(inspect.currentframe())]


def test_what_is_around_each_task_is_left_out() -> None:
    """But not what is below its own code, nor all that there is."""
    own = spot("/app/mail.py")
    lead: list[Spot] = [(ASYNCIO, 1), (OURS, 2)]
    assert without_lead([*lead, own, (OURS, 3)]) == [own, (OURS, 3)]
    assert without_lead(lead) == lead
    assert without_lead([]) == []


def test_the_line_of_the_user() -> None:
    """The innermost in code that is no library; where all are libraries, in the package that the task is of."""
    own = spot(str(Path.cwd() / "mail.py"))
    assert of_users_code([(OURS, 1), own, (INSTALLED, 1), (LIBRARY, 1)]) == own
    assert of_users_code([(OURS, 1), (INSTALLED, 1), (INSTALLED, 2), (LIBRARY, 1)]) == (INSTALLED, 2)
    assert of_users_code([(LIBRARY, 3)]) == (LIBRARY, 3)
    assert of_users_code([(OURS, 3)]) == (OURS, 3)


def test_files_are_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To where packages are installed, to a folder that modules are imported from, or to the working directory."""
    assert where((LIBRARY, 5)) == "json/__init__.py:5 dumps"
    assert where((INSTALLED, 5)) == "_pytest/fixtures.py:5 fixture"
    assert where(spot(str(Path.cwd() / "app" / "mail.py"))) == "app/mail.py:1 work"
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path), "", "/"])
    assert where(spot(str(tmp_path / "shop" / "mail.py"))) == "shop/mail.py:1 work"
    assert where(spot("/elsewhere/mail.py")) == "/elsewhere/mail.py:1 work"
    assert where(spot("<string>")) == "<string>:1 work"


def test_a_working_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are called as ever."""

    def gone() -> Path:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "cwd", gone)
    assert where(spot(str(tmp_path / "gone.py"))) == f"{tmp_path}/gone.py:1 work"


def test_lines_are_read_where_that_is_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files; not of devices, pipes, folders, and what is huge; and not when the time for it is over."""
    real = tmp_path / "real.py"
    real.write_text("one\n    two = 2  \n")
    assert frames_of([spot(str(real), 2)])[0].source == "two = 2"
    assert frames_of([spot(str(real), 2)], read_until=0)[0].source == ""
    assert frames_of([spot(str(real), 99)])[0].source == ""
    real.write_text("'\x1b[2J" + "x" * 1_000)
    linecache.checkcache(str(real))
    [shown] = frames_of([spot(str(real), 1)])
    assert shown.source.isprintable()
    assert 200 < len(shown.source) < 300
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr(frames, "LARGEST_SOURCE", 20)
    huge = tmp_path / "huge.py"
    huge.write_text("x" * 21)
    for path in ("/dev/zero", str(pipe), str(tmp_path), str(huge), "a\0b", "\udcff", str(tmp_path / "none")):
        assert frames_of([spot(path)])[0].source == ""
    linecache.cache["<made up>"] = (4, None, ["made\n"], "<made up>")
    assert frames_of([spot("<made up>")])[0].source == "made"


def test_a_long_stack() -> None:
    """The innermost fifty are shown; a thread that is thousands deep is walked no further than that."""

    def deeper(depth: int) -> list[Spot]:
        return deeper(depth - 1) if depth else here()

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        found = deeper(5_000)
    finally:
        sys.setrecursionlimit(before)
    assert len(found) == frames.MOST_WALKED
    shown = frames_of(found)
    assert len(shown) == 50
    assert [frame.function.rpartition(".")[2] for frame in shown[-2:]] == ["deeper", "here"]


def test_what_is_awaited_runs_no_code_of_its_own() -> None:
    """An object that pretends to be a coroutine, or does something when it is looked at, is passed over."""
    looked_at: list[str] = []

    class Sly:
        def __getattribute__(self, name: str) -> Any:
            looked_at.append(name)
            return object.__getattribute__(self, name)

        def __await__(self) -> Any:
            return self

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> None:
            return None

    async def wait() -> None:
        await Sly()

    coroutine = wait()
    coroutine.send(None)
    assert [code.co_name for code, _ in waiting_in(coroutine)] == ["wait"]
    assert looked_at == []
    coroutine.close()
    assert waiting_in(None) == []


def test_generators_that_are_awaited() -> None:
    """Coroutines of the old kind are followed too."""

    @types.coroutine
    def old() -> Any:
        yield 1

    async def wait() -> None:
        await old()

    coroutine = wait()
    coroutine.send(None)
    assert [code.co_name for code, _ in waiting_in(coroutine)] == ["wait", "old"]
    coroutine.close()
