"""Errors as bounded text, whatever they do when they are looked at."""

import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from taskproc.failure import INNERMOST, LONGEST_MESSAGE, LONGEST_TRACEBACK, LONGEST_TYPE, Failure, describe


def raised(error: BaseException) -> BaseException:
    """The error, with a traceback."""
    try:
        raise error  # noqa: TRY301
    except BaseException as caught:
        return caught


def assert_can_be_stored(failure: Failure) -> None:
    """Bounded, and text that can be written as UTF-8."""
    for text, longest in (
        (failure.type, LONGEST_TYPE),
        (failure.message, LONGEST_MESSAGE),
        (failure.traceback, LONGEST_TRACEBACK),
    ):
        assert type(text) is str
        assert len(text) <= longest + 50
        text.encode()


class OfHere(Exception):
    pass


def test_an_error_as_it_should_be() -> None:
    """Its type with module (none for built-in ones), its message, its traceback with the line that raised."""
    failure = describe(raised(ValueError("no such file")))
    assert (failure.type, failure.message) == ("ValueError", "no such file")
    assert failure.traceback.startswith("Traceback (most recent call last):\n")
    assert "in raised\n    raise error  # noqa" in failure.traceback
    assert failure.traceback.endswith("ValueError: no such file\n")
    assert describe(OfHere()).type == f"{__name__}.OfHere"


def test_causes_groups_and_notes_are_shown() -> None:
    """What led to an error is in its traceback."""
    inner = raised(KeyError("inner"))
    outer = OfHere("outer")
    outer.__cause__ = inner
    outer.add_note("seen while importing")
    shown = describe(raised(ExceptionGroup("several", [outer, ValueError("other")]))).traceback
    for text in ("KeyError: 'inner'", "OfHere: outer", "seen while importing", "several (2 sub", "ValueError: other"):
        assert text in shown


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit(), BaseException("x")])
def test_whatever_can_be_raised(error: BaseException) -> None:
    """SystemExit and its like too."""
    failure = describe(raised(error))
    assert failure.type == type(error).__name__
    assert_can_be_stored(failure)


class Explosive(Exception):
    """It raises what it is told to, when it is shown."""

    def __init__(self, with_: BaseException) -> None:
        self.with_ = with_

    def __str__(self) -> str:
        raise self.with_

    __repr__ = __str__


@pytest.mark.parametrize("with_", [ValueError("x"), RecursionError(), KeyboardInterrupt(), SystemExit(), MemoryError()])
def test_an_error_that_raises_when_it_is_shown(with_: BaseException) -> None:
    """What it raises is named instead; nothing gets out."""
    failure = describe(raised(Explosive(with_)))
    assert failure.type == f"{__name__}.Explosive"
    assert failure.message == f"<its text cannot be shown: {type(with_).__name__}>"
    assert_can_be_stored(failure)


def test_notes_that_explode() -> None:
    """Notes may be anything, and need not be a list."""
    for notes in ([Explosive(ValueError())], Explosive(ValueError()), 7, [None]):
        error = raised(ValueError("x"))
        vars(error)["__notes__"] = notes
        assert_can_be_stored(describe(error))
        assert describe(error).message == "x"


def test_a_name_that_explodes() -> None:
    """A class may have anything for its module, and any name."""

    class Odd(type):
        @property
        def __module__(cls) -> Any:  # type: ignore[override]
            raise ValueError("no module")

    odd: Any = Odd("OddError", (Exception,), {})
    assert describe(raised(odd("x"))).type == "<its type cannot be shown: ValueError>"
    long: Any = type("L" * 100_000, (Exception,), {})
    assert_can_be_stored(describe(raised(long())))
    assert describe(raised(long())).type.startswith("L" * 100) or "LLL" in describe(raised(long())).type


class Text(str):
    """Text that is not what it seems."""

    __slots__ = ()

    def __len__(self) -> int:
        return 1

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        raise ValueError("no")


class Huge(Exception):
    def __str__(self) -> str:
        return "x" * 100_000_000


class Fake(Exception):
    def __str__(self) -> str:
        return Text("y" * 1_000_000)


def test_a_hundred_megabytes() -> None:
    """They are cut, their ends kept, soon, and without many copies of them."""
    tracemalloc.start()
    began = time.monotonic()
    failure = describe(raised(Huge()))
    took = time.monotonic() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert_can_be_stored(failure)
    assert failure.message.startswith("xxx")
    assert "… 99998000 characters …" in failure.message
    assert peak < 250_000_000
    assert took < 5
    assert_can_be_stored(describe(raised(Fake())))


def test_arguments_that_are_shown() -> None:
    """An error's arguments have a repr of their own."""
    failure = describe(raised(ValueError(Explosive(RuntimeError("x")), 1)))
    assert failure.message == "<its text cannot be shown: RuntimeError>"


def _deep(n: int) -> int:
    return _deep(n + 1) + 1


def test_deep_recursion() -> None:
    """The innermost frames are shown, repeated ones counted."""
    with pytest.raises(RecursionError) as error:
        _deep(0)
    failure = describe(error.value)
    assert failure.type == "RecursionError"
    assert "more times" in failure.traceback
    assert_can_be_stored(failure)


def _even(n: int) -> int:
    return _odd(n - 1) if n else 1 // n


def _odd(n: int) -> int:
    return _even(n - 1)


def test_of_a_long_traceback_the_inner_frames_are_shown() -> None:
    """Where it went wrong matters most."""
    with pytest.raises(ZeroDivisionError) as error:
        _even(300)
    shown = describe(error.value).traceback
    assert shown.count("  File ") == INNERMOST
    assert "return _odd(n - 1) if n else 1 // n" in shown.splitlines()[-3]
    assert shown.endswith("ZeroDivisionError: integer division or modulo by zero\n")


def test_describing_where_the_stack_is_almost_full() -> None:
    """An error that is described where hardly any stack is left is described all the same."""

    def down(error: BaseException) -> Failure:
        try:
            return down(error)
        except RecursionError:
            return describe(error)

    failure = down(ValueError("x"))
    assert failure.type == "ValueError"
    assert_can_be_stored(failure)


def _chain(length: int) -> BaseException:
    error: BaseException = ValueError("first")
    for number in range(length):
        following = KeyError(number)
        following.__context__ = error
        error = raised(following)
    return error


def _cycle() -> BaseException:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return raised(one)


def _wide() -> BaseException:
    return raised(ExceptionGroup("wide", [ValueError(number) for number in range(10_000)]))


def _nested() -> BaseException:
    error: Exception = ValueError("inmost")
    for _ in range(sys.getrecursionlimit()):
        error = ExceptionGroup[Exception]("nested", [error])
    return raised(error)


@pytest.mark.parametrize("make", [lambda: _chain(1000), _cycle, _wide, _nested])
def test_long_chains_cycles_and_large_groups(make: Callable[[], BaseException]) -> None:
    """They end, soon, and bounded; the error itself is shown."""
    began = time.monotonic()
    failure = describe(make())
    assert time.monotonic() - began < 5
    assert_can_be_stored(failure)
    assert failure.type in ("KeyError", "ValueError", "ExceptionGroup")


@hypothesis.given(st.text(st.characters(codec=None, categories=None)))
def test_any_text_can_be_stored(text: str) -> None:
    """Lone surrogates become question marks; all else stays."""
    failure = describe(ValueError(text))
    assert_can_be_stored(failure)
    assert failure.message == text.encode("utf-8", "replace").decode()


def test_surrogates_where_a_text_is_cut() -> None:
    """Cutting makes no half characters."""
    failure = describe(ValueError("\U0001f600" * 5000 + "\ud83d"))
    assert failure.message.startswith("\U0001f600")
    assert failure.message.endswith("?")
    assert_can_be_stored(failure)
