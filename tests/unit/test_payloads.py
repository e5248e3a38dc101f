"""Payloads as a worker reads them: from producers of other versions, and from people who mean harm."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any, cast

import hypothesis
import pytest
from hypothesis import strategies as st
from pydantic import BaseModel

from taskproc import CURRENT
from taskproc.codec import Codec
from taskproc.context import TaskContext
from taskproc.errors import ArgumentsMismatch

HERE = cast("TaskContext", object())
"""The context that a worker would fill in."""


def of(function: Callable[..., Any]) -> Codec:
    """The codec of a function."""
    return Codec(function, bound=False)


def read(function: Callable[..., Any], payload: object) -> tuple[list[Any], dict[str, Any]]:
    """What a worker makes of a payload that somebody has sent."""
    got, named = of(function).decode(json.dumps(payload).encode(), HERE)
    return list(got), dict(named)


def everything(
    a: int, /, b: str, c: date | None = None, *rest: int, d: bytes, e: float = 1.5, **more: list[int]
) -> None:
    """Each kind of parameter there is."""


class Strict(BaseModel):
    n: int


def first(ctx: TaskContext, a: int) -> None:
    """The context comes first."""


def positional(a: int = 1, ctx: TaskContext = CURRENT, b: int = 3, /) -> None:
    """Positional only."""


def taking(a: int, b: str = "", *rest: float, c: Strict | None = None, ctx: TaskContext = CURRENT) -> None:
    """What the payloads below are meant for, more or less."""


MISMATCHES: list[tuple[Any, str]] = [
    (None, "not one of a method call"),
    ({}, "not one of a method call"),
    ([], r"not one of a method call: it has 0 parts"),
    ([[1], {}, {}], "not one of a method call: Expected `array`, got `object`"),
    ([[1], {}, [], {}], r"it has 4 parts"),
    ([1], "not one of a method call"),
    ([[1], []], "not one of a method call"),
    ([[1], {"b": "x"}, 1], "not one of a method call"),
    ([[]], "missing a required argument: 'a'"),
    ([["1"]], r"argument a does not fit int: Input should be a valid integer"),
    ([[True]], "argument a does not fit int"),
    ([[1.0]], "argument a does not fit int"),
    ([[None]], "argument a does not fit int"),
    ([[[1]]], "argument a does not fit int"),
    ([[1, 2]], "argument b does not fit str"),
    ([[1, "b", "x"]], "argument rest does not fit float"),
    ([[1], {"c": {"n": "x"}}], r"argument c does not fit .*: n: Input should be a valid integer"),
    ([[1], {"c": {}}], r"argument c does not fit .*: n: Field required"),
    ([[1], {"c": 1}], r"argument c does not fit"),
    ([[1], {"a": 1}], "multiple values for argument 'a'"),
    ([[1], {"nope": 1}], r"the method has no parameter 'nope': it takes \(a: int"),
    ([[1], {"x" * 10_000: 1}], r"the method has no parameter 'x{100}'"),
    ([[1], {"rest": [1]}], "no parameter 'rest'"),
]


@pytest.mark.parametrize("payload, message", MISMATCHES)
def test_payloads_that_do_not_fit(payload: object, message: str) -> None:
    """They are ArgumentsMismatch, which names the parameter; never another error, and never another value."""
    with pytest.raises(ArgumentsMismatch, match=message):
        read(taking, payload)


def test_more_arguments_than_the_method_takes() -> None:
    """A producer of a newer version passes one more: another worker may know it."""

    def one(a: int) -> None: ...

    with pytest.raises(ArgumentsMismatch, match=r"more positional arguments than the method takes: \(a: int\)"):
        read(one, [[1, 2]])


def test_what_is_sent_for_the_context_is_replaced() -> None:
    """A payload cannot choose it."""
    assert read(taking, [[1], {"ctx": {"task_id": "x"}}]) == ([1], {"ctx": HERE})
    assert read(first, [[{"task_id": "x"}, 1]]) == ([HERE, 1], {})


def test_a_validator_that_raises_anything_is_a_mismatch() -> None:
    """User code runs when models are read; what it raises does not get out as it is."""

    class Odd(BaseModel):
        n: int

        def model_post_init(self, context: object, /) -> None:
            raise RuntimeError("odd")

    def function(odd: Odd) -> None: ...

    with pytest.raises(ArgumentsMismatch, match="argument odd does not fit Odd: odd"):
        read(function, [[{"n": 1}]])


def test_a_type_that_a_worker_cannot_read_is_a_mismatch() -> None:
    """A worker whose annotation is unusable puts the task back: others may have a better one."""

    class Unknown:
        pass

    def function(value: Unknown) -> None: ...

    with pytest.raises(ArgumentsMismatch, match=r"argument value does not fit Unknown: .*cannot be written as JSON"):
        read(function, [[1]])


DEEP = 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04\x95",
        b"[",
        b"[[1]",
        b"[[1]]x",
        b"[[1],]",
        b"\xff\xfe",
        b'[["\xff"]]',
        b'[["\\ud800"]]',
        b"[[NaN]]",
        b"[[Infinity]]",
        b"[[1e999]]",
        b"[[01]]",
        b"[[" + b"1" * 1_000_000 + b"]]",
        b"[[-" + b"1" * 5000 + b"]]",
        b"[[" + b"[" * DEEP + b"]" * DEEP + b"]]",
        b"[" * DEEP,
        b'[[],{"a":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}]",
        b'[[1],{"\xff":1}]',
        b"\0" * 100,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_hostile_bytes(data: bytes) -> None:
    """Broken, deep, huge or of another format: ArgumentsMismatch, soon, and with a short message."""

    def function(a: Any, b: int = 0) -> None: ...

    for one in (function, taking):
        with pytest.raises(ArgumentsMismatch) as error:
            of(one).decode(data, HERE)
        assert len(str(error.value)) < 1000


inner = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=8,
)
payloads = st.one_of(
    st.binary(),
    inner.map(lambda value: json.dumps(value).encode()),
    st.tuples(st.lists(inner, max_size=4)).map(lambda value: json.dumps(value).encode()),
    st.tuples(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["a", "b", "c", "ctx", "x"]), inner, max_size=3)
    ).map(lambda value: json.dumps(value).encode()),
    st.tuples(st.lists(inner, max_size=4), st.integers(0, 40), st.binary(max_size=3)).map(
        lambda parts: json.dumps([parts[0]]).encode()[: parts[1]] + parts[2]
    ),
)


@hypothesis.given(payloads)
@hypothesis.settings(max_examples=1000)
def test_whatever_the_bytes_only_a_mismatch_comes_of_them(data: bytes) -> None:
    """Any bytes, and JSON near to right: ArgumentsMismatch, or arguments with which the call is possible."""
    for function in (taking, everything, first, positional):
        codec = of(function)
        try:
            args, kwargs = codec.decode(data, HERE)
        except ArgumentsMismatch:
            continue
        codec.signature.bind(*args, **kwargs)
