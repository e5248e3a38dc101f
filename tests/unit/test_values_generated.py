"""The codec under values, types and bytes that nobody thought of."""

import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal

import hypothesis
import pytest
from hypothesis import strategies as st

from taskproc.errors import ArgumentsMismatch, InvalidArguments
from tests.unit.value_kit import (
    NO_CONTEXT,
    Blob,
    Color,
    Item,
    Level,
    Order,
    Pair,
    Point,
    codec,
    looks,
    of,
    there_and_back,
)

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
zones = st.timezones() | st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
moments = st.datetimes(timezones=st.none() | st.just(UTC) | zones)
models = st.builds(
    Order,
    id=st.uuids(),
    items=st.lists(st.builds(Item, name=st.text(), price=st.decimals(-99, 99))),
    at=st.datetimes(timezones=st.just(UTC)),
)
TYPED: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    str: st.text(),
    bytes: st.binary(),
    date: st.dates(),
    time: st.times(),
    timedelta: st.timedeltas(),
    uuid.UUID: st.uuids(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    Color: st.sampled_from(Color),
    Level: st.sampled_from(Level),
    Any: json,
    Order: models,
    Blob: st.builds(Blob, data=st.binary(), at=st.none() | st.datetimes(timezones=st.just(UTC))),
    Point: st.builds(Point, st.integers(), st.lists(st.text())),
    Pair: st.builds(Pair, st.integers(), st.binary()),
    int | None: st.none() | st.integers(),
    int | str | None: st.none() | st.integers() | st.text(),
    int | float | bool: st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
    Literal["a", 1] | None: st.sampled_from(["a", 1, None]),
}
HASHABLE = (int, str, bytes, date, uuid.UUID, Decimal, Color, bool)


def typed(depth: int = 2) -> st.SearchStrategy[tuple[Any, Any]]:
    """An annotation, and a value of it."""
    leaves = st.one_of([st.tuples(st.just(annotation), values) for annotation, values in TYPED.items()])
    if depth == 0:
        return leaves
    keys = st.sampled_from(HASHABLE)
    return leaves | st.one_of(
        st.sampled_from(list(TYPED)).flatmap(
            lambda one: st.tuples(st.just(of(list, one)), st.lists(TYPED[one], max_size=4))
        ),
        keys.flatmap(lambda one: st.tuples(st.just(of(set, one)), st.sets(TYPED[one], max_size=4))),
        keys.flatmap(lambda one: st.tuples(st.just(of(frozenset, one)), st.frozensets(TYPED[one], max_size=4))),
        st.tuples(typed(depth - 1), typed(depth - 1)).map(lambda two: _pair(*two)),
        st.tuples(keys, typed(depth - 1)).flatmap(
            lambda two: st.tuples(
                st.just(of(dict, two[0], two[1][0])), st.dictionaries(TYPED[two[0]], st.just(two[1][1]), max_size=2)
            )
        ),
        typed(depth - 1).map(lambda one: (one[0] | None if one[0] is not Any else Any, one[1])),
    )


def _pair(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
    return of(tuple, one[0], other[0]), (one[1], other[1])


@hypothesis.given(typed())
@hypothesis.settings(max_examples=400)
def test_what_fits_its_annotation_comes_back(case: tuple[Any, Any]) -> None:
    """For values of many types, nested: decode(encode(x)) is x, of the same types; none of these is refused."""
    annotation, value = case
    assert looks(value) == looks(there_and_back(annotation, value))


@hypothesis.given(moments)
@hypothesis.settings(max_examples=300)
def test_any_moment_comes_back_or_is_refused(moment: datetime) -> None:
    """Of all zones; those of the past whose offset has seconds, which ISO 8601 cannot say, are refused."""
    offset = moment.utcoffset()
    if offset is not None and offset % timedelta(minutes=1):
        with pytest.raises(InvalidArguments):
            there_and_back(datetime, moment)
        return
    back = there_and_back(datetime, moment)
    assert (back.isoformat(), back.utcoffset()) == (moment.isoformat(), offset)


@hypothesis.given(st.sampled_from(list(TYPED)), st.one_of(list(TYPED.values())))
@hypothesis.settings(max_examples=600)
def test_what_does_not_fit_is_refused_or_equal(annotation: Any, value: Any) -> None:
    """Any value for any annotation: it comes back as it was (an int perhaps as its float), or is refused; no third."""
    try:
        back = there_and_back(annotation, value)
    except InvalidArguments:
        return
    if type(value) is int and type(back) is float:
        assert value == back
    else:
        assert looks(value) == looks(back)


@hypothesis.given(st.sampled_from(list(TYPED)), json)
@hypothesis.settings(max_examples=300)
def test_json_of_another_type_is_a_mismatch_or_a_value(annotation: Any, value: Any) -> None:
    """What a producer with another signature has sent is ArgumentsMismatch, or a value of the annotation."""
    data = codec(Any).encode((value,), {})
    try:
        ((back,), _) = codec(annotation).decode(data, NO_CONTEXT)
    except ArgumentsMismatch as error:
        assert "argument value does not fit" in str(error)  # noqa: PT017 - either is right
    else:
        assert looks(back) == looks(there_and_back(annotation, back))
