"""Arguments as they are bound, written and read, for every form of signature."""

import functools
import textwrap
import types
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Optional, cast

import pytest
from pydantic import Field

from taskproc import CURRENT
from taskproc.codec import Codec, codec_of
from taskproc.context import TaskContext
from taskproc.errors import EnqueueError, InvalidArguments
from taskproc.records import Attempt

HERE = cast("TaskContext", object())
"""The context that a worker would fill in."""


def of(function: Callable[..., Any], *, bound: bool = False) -> Codec:
    """The codec of a function, or of a method seen on its class."""
    return Codec(function, bound=bound)


def passed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
    """What a worker passes to the function for a call."""
    codec = of(function)
    got, named = codec.decode(codec.encode(args, kwargs), HERE)
    return list(got), dict(named)


def received(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the function returns when a worker calls it."""
    got, named = passed(function, *args, **kwargs)
    return function(*got, **named)


def everything(
    a: int, /, b: str, c: date | None = None, *rest: int, d: bytes, e: float = 1.5, **more: list[int]
) -> Any:
    """Each kind of parameter there is."""
    return a, b, c, rest, d, e, more


ARRIVES: list[tuple[tuple[Any, ...], dict[str, Any], Any]] = [
    ((1, "b"), {"d": b"\xff"}, (1, "b", None, (), b"\xff", 1.5, {})),
    ((1,), {"b": "b", "d": b""}, (1, "b", None, (), b"", 1.5, {})),
    ((1, "b", None, 4, 5), {"d": b""}, (1, "b", None, (4, 5), b"", 1.5, {})),
    ((1, "b"), {"c": date(2026, 1, 1), "d": b""}, (1, "b", date(2026, 1, 1), (), b"", 1.5, {})),
    ((1, "b"), {"d": b"", "e": 2.5, "x": [1], "y z": []}, (1, "b", None, (), b"", 2.5, {"x": [1], "y z": []})),
    # names that are taken, but not as keywords
    ((1, "b"), {"d": b"", "a": [1], "rest": [2]}, (1, "b", None, (), b"", 1.5, {"a": [1], "rest": [2]})),
]


@pytest.mark.parametrize("args, kwargs, expected", ARRIVES)
def test_every_kind_of_parameter(args: Any, kwargs: Any, expected: Any) -> None:
    """Positional only, either, variadic, keyword only and other keywords arrive where they were passed."""
    assert received(everything, *args, **kwargs) == expected


@pytest.mark.parametrize(
    "args, kwargs, message",
    [
        ((), {}, r"missing a required argument: 'a': the method takes \(a: int, /, b: str, "),
        ((1,), {}, r"missing a required argument: 'b'"),
        ((1, "b"), {}, r"missing a required (keyword-only )?argument: 'd'"),
        ((1, "b"), {"b": "c", "d": b""}, r"multiple values for argument 'b'"),
        ((1, 2), {"d": b""}, r"argument b=2 does not fit its annotation str: Input should be a valid string"),
        ((1, "b", "c"), {"d": b""}, r"argument c='c' does not fit its annotation datetime\.date \| None"),
        ((1, "b", None, "4"), {"d": b""}, r"argument rest='4' does not fit its annotation int"),
        ((1, "b"), {"d": "d"}, r"argument d='d'"),
        ((1, "b"), {"d": b"", "x": 1}, r"argument more=1 does not fit its annotation list\[int\]"),
        ((1, "b"), {"d": b"", "x\ud800": [1]}, r"cannot be written as JSON"),
    ],
)
def test_calls_that_do_not_fit_are_refused_with_the_parameter(args: Any, kwargs: Any, message: str) -> None:
    """A wrong call fails where it is enqueued, as a TypeError that is also an EnqueueError."""
    with pytest.raises(InvalidArguments, match=message) as error:
        passed(everything, *args, **kwargs)
    assert isinstance(error.value, EnqueueError)
    assert isinstance(error.value, TypeError)


def test_too_many_arguments_are_refused() -> None:
    """Of a method that takes none, or no such keyword."""

    def nothing() -> None: ...

    with pytest.raises(InvalidArguments, match=r"too many positional arguments: the method takes \(\)"):
        passed(nothing, 1)
    with pytest.raises(InvalidArguments, match=r"unexpected keyword argument 'x'"):
        passed(nothing, x=1)
    assert passed(nothing) == ([], {})


def test_defaults_are_those_of_the_worker() -> None:
    """What a caller leaves out does not travel; None that was passed does."""

    def function(a: int = 1, b: int | None = 2, *, c: list[int] | None = None) -> Any:
        return a, b, c

    assert passed(function) == ([], {})
    assert received(function) == (1, 2, None)
    assert passed(function, 1, None) == ([1, None], {})
    assert passed(function, b=None) == ([], {"b": None})
    assert received(function, b=None) == (1, None, None)
    assert of(function).encode((), {}) == b"[[]]"
    assert of(function).encode((7,), {"c": [1]}) == b'[[7],{"c":[1]}]'


class Service:
    def bound(self, n: int) -> tuple["Service", int]:
        return self, n

    @classmethod
    def of_class(cls, n: int) -> tuple[type["Service"], int]:
        return cls, n

    def anything(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs


def test_of_methods_the_instance_does_not_travel() -> None:
    """The first parameter is left to whoever calls; a method that takes any arguments keeps them all."""
    codec = of(Service.bound, bound=True)
    assert codec.encode((1,), {}) == b"[[1]]"
    assert codec.decode(b"[[1]]", HERE) == ((1,), {})
    with pytest.raises(InvalidArguments, match="too many positional"):
        codec.encode((Service(), 1), {})
    assert of(vars(Service)["of_class"].__func__, bound=True).encode((), {"n": 2}) == b"[[2]]"
    loose = of(Service.anything, bound=True)
    assert loose.decode(loose.encode((1, "a"), {"k": None}), HERE) == ([1, "a"], {"k": None})


def test_a_decorated_function_goes_by_what_it_wraps() -> None:
    """functools.wraps says whose signature counts."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @decorate
    def function(day: date) -> date:
        return day

    assert received(function, date(2026, 1, 1)) == date(2026, 1, 1)
    with pytest.raises(InvalidArguments, match="argument day='2026-01-01'"):
        passed(function, "2026-01-01")


def test_codecs_are_made_once() -> None:
    """For the same function; the hot path does not look at signatures."""
    assert codec_of(Service.bound, "instance", Service) is codec_of(Service.bound, "instance", Service)
    assert codec_of(Service.bound, "instance", Service).positional_names == ["n"]
    assert codec_of(Service.bound, "static", Service).positional_names == ["self", "n"]


# The context


def first(ctx: TaskContext, a: int) -> Any:
    """It comes first, and without default."""
    return ctx, a


def middle(a: int, ctx: TaskContext | None = None, b: int = 2) -> Any:
    """In the middle, optional."""
    return ctx, a, b


def last(a: int, *, ctx: TaskContext = CURRENT) -> Any:
    """Last, as a keyword, by default."""
    return ctx, a


def required(a: int, *, ctx: TaskContext) -> Any:
    """As a keyword that must be given."""
    return ctx, a


def positional(a: int = 1, ctx: TaskContext = CURRENT, b: int = 3, /) -> Any:
    """Positional only."""
    return ctx, a, b


def before_rest(ctx: Annotated[TaskContext, "the task"], *rest: int) -> Any:
    """In front of any number of others, annotated further."""
    return ctx, *rest


def old_style(a: int, ctx: Optional[TaskContext] = None) -> Any:  # noqa: UP045 - as many still write it
    """Optional, as it was written."""
    return ctx, a


def twice(one: TaskContext = CURRENT, two: TaskContext = CURRENT) -> Any:
    """Two of them."""
    return one, two


@pytest.mark.parametrize(
    "function, args, kwargs, expected",
    [
        (first, (CURRENT, 1), {}, (HERE, 1)),
        (first, (CURRENT,), {"a": 1}, (HERE, 1)),
        (first, (), {"a": 1, "ctx": CURRENT}, (HERE, 1)),
        (middle, (1,), {}, (HERE, 1, 2)),
        (middle, (1, None), {}, (HERE, 1, 2)),
        (middle, (1, CURRENT, 3), {}, (HERE, 1, 3)),
        (middle, (1,), {"b": 3}, (HERE, 1, 3)),
        (last, (1,), {}, (HERE, 1)),
        (last, (1,), {"ctx": CURRENT}, (HERE, 1)),
        (required, (1,), {"ctx": CURRENT}, (HERE, 1)),
        (positional, (), {}, (HERE, 1, 3)),
        (positional, (5,), {}, (HERE, 5, 3)),
        (positional, (5, CURRENT), {}, (HERE, 5, 3)),
        (positional, (5, CURRENT, 6), {}, (HERE, 5, 6)),
        (before_rest, (CURRENT, 1, 2), {}, (HERE, 1, 2)),
        (before_rest, (CURRENT,), {}, (HERE,)),
        (old_style, (1,), {}, (HERE, 1)),
        (twice, (), {}, (HERE, HERE)),
        (twice, (CURRENT,), {}, (HERE, HERE)),
    ],
)
def test_the_context_is_filled_in_wherever_it_stands(function: Any, args: Any, kwargs: Any, expected: Any) -> None:
    """Passed as CURRENT, left out where it has a default, optional, annotated, positional only or keyword only."""
    assert received(function, *args, **kwargs) == expected


def test_an_interfaces_defaults_are_not_passed_on() -> None:
    """The implementation has its own: only the context is filled in."""

    def of_interface(a: int, b: Any = ..., *, ctx: TaskContext = CURRENT) -> Any:
        """As a Protocol writes it."""

    assert passed(of_interface, 1) == ([1], {"ctx": HERE})


@pytest.mark.parametrize("wrong", [1, "x", object(), TaskContext])
def test_nothing_else_is_taken_for_the_context(wrong: Any) -> None:
    """An argument that got into its place by mistake is refused, not lost."""
    with pytest.raises(InvalidArguments, match=r"argument ctx=.* a TaskContext is filled in .*: pass CURRENT for it"):
        passed(first, wrong, 1)


def test_a_task_may_pass_its_own_context_on() -> None:
    """The other task gets one of its own."""
    own = TaskContext(cast("Any", None), cast("Attempt", None), None)
    assert received(first, own, 1) == (HERE, 1)


def test_only_the_context_itself_is_filled_in() -> None:
    """Lists of contexts, or a callback that takes one, are parameters like others, and cannot travel."""

    def many(contexts: list[TaskContext]) -> None: ...

    def any_number(*contexts: TaskContext) -> None: ...

    def callback(call: Callable[[TaskContext], None]) -> None: ...

    with pytest.raises(InvalidArguments, match=r"parameter 'contexts'.* cannot be written as JSON"):
        passed(many, [])
    with pytest.raises(InvalidArguments, match=r"parameter 'contexts'.* cannot be written as JSON"):
        passed(any_number, CURRENT)
    with pytest.raises(InvalidArguments, match="call"):
        passed(callback, print)


def test_a_missing_context_is_a_wrong_call() -> None:
    """Where it has no default, the caller passes CURRENT, as type checkers say."""
    with pytest.raises(InvalidArguments, match="missing a required argument: 'ctx'"):
        passed(first, a=1)


# Annotations


def defined(code: str) -> Any:
    """A module with this code, which is not for type checkers."""
    module = types.ModuleType("defined")
    exec(compile(textwrap.dedent(code), "defined.py", "exec", dont_inherit=True), vars(module))  # noqa: S102
    return module


def test_annotations_are_read_as_they_are_written() -> None:
    """As strings, under `from __future__ import annotations`, and with names that are defined later."""
    module = defined("""
        from __future__ import annotations
        def later(item: Item, days: "list[date]") -> Decimal: ...
        from datetime import date
        from pydantic import BaseModel
        class Item(BaseModel):
            n: int
    """)
    item = module.Item(n=1)
    assert passed(module.later, item, [date(2026, 1, 1)]) == ([item, [date(2026, 1, 1)]], {})


@pytest.mark.parametrize(
    "annotation, message",
    [
        ("Decimal", "name 'Decimal' is not defined"),
        ("list[Decimal]", "name 'Decimal' is not defined"),
        ("'no type at all'", "invalid syntax|Forward reference"),
        ("date.nope", "no attribute 'nope'"),
        ("int | 'str' | 1 // 0", ""),
    ],
)
def test_annotations_that_cannot_be_evaluated_say_so(annotation: str, message: str) -> None:
    """A type that is imported for type checkers only, or whose name is wrong, with what to do."""
    module = defined(f"""
        from __future__ import annotations
        from datetime import date
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from decimal import Decimal
        def task(price: {annotation}) -> None: ...
    """)
    with pytest.raises(InvalidArguments, match=rf"an annotation of .*:task cannot be evaluated: .*{message}.*") as e:
        of(module.task)
    assert "import them outside `if TYPE_CHECKING`" in str(e.value)
    assert isinstance(e.value, EnqueueError)


def test_what_a_method_returns_need_not_be_known() -> None:
    """Only parameters travel."""
    module = defined("def function(n: int) -> 'Decimal': ...")
    assert passed(module.function, 1) == ([1], {})


def test_without_annotations_plain_json_travels() -> None:
    """None, bool, int, float, str, lists and dicts of those."""
    function = defined("def function(a, *rest, b=None, **more): return a, rest, b, more").function
    value: dict[str, Any] = {"a": [1, None, 1.5, True, "x", {}]}
    assert received(function, value, 1, "x", b=[value], c=None) == (value, (1, "x"), [value], {"c": None})
    with pytest.raises(InvalidArguments, match=r"argument rest=\(1,\) is not plain JSON"):
        passed(function, 1, (1,))


def test_constraints_that_have_no_hash_are_annotations_too() -> None:
    """Annotated may hold anything."""

    def function(n: Annotated[int, {"unit": ["s"]}, Field(gt=0)]) -> int:
        return n

    assert received(function, 1) == 1
    with pytest.raises(InvalidArguments, match="greater than 0"):
        passed(function, 0)
