"""Members of unions come back as the very member they were, also where their JSON looks alike."""

import dataclasses
import json
import uuid
from collections import OrderedDict, deque
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Optional, Union, cast

import hypothesis
import pytest
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from typing_extensions import TypeAliasType

from taskproc.codec import Codec, plain_arguments
from taskproc.errors import ArgumentsMismatch, InvalidArguments
from tests.unit.value_kit import (
    ITEM,
    NO_CONTEXT,
    Animal,
    Box,
    Color,
    Dog,
    Item,
    Level,
    Pair,
    Point,
    Word,
    codec,
    looks,
    of,
    there_and_back,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Left(BaseModel):
    n: int


class Right(BaseModel):
    n: int


@dataclasses.dataclass
class Spot:
    x: int
    tags: list[str]


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    name: str


class Cow(BaseModel):
    kind: Literal["cow"] = "cow"
    name: str


class Other:
    class Left(BaseModel):
        """A class of that name in another place."""

        n: int


@dataclasses.dataclass
class Meeting:
    at: str | datetime


class Visit(NamedTuple):
    at: str | datetime


MEMBERS: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    str: st.text()
    | st.sampled_from(["1", "1.5", "r", "yes", "abcd", "P1D", "2026-01-01", str(uuid.UUID(int=1)), "/a"]),
    bytes: st.binary(),
    date: st.dates(),
    datetime: st.datetimes(timezones=st.none() | st.just(UTC)),
    time: st.times(),
    timedelta: st.timedeltas(),
    uuid.UUID: st.uuids(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    Path: st.sampled_from([Path("/a"), Path("b")]),
    Color: st.sampled_from(Color),
    Level: st.sampled_from(Level),
    Word: st.sampled_from(Word),
    Literal["r", "yes", 1]: st.sampled_from(["r", "yes", 1]),
    Left: st.builds(Left, n=st.integers()),
    Right: st.builds(Right, n=st.integers()),
    Other.Left: st.builds(Other.Left, n=st.integers()),
    Point: st.builds(Point, st.integers(), st.lists(st.text(), max_size=2)),
    Spot: st.builds(Spot, st.integers(), st.lists(st.text(), max_size=2)),
    Pair: st.builds(Pair, st.integers(), st.binary()),
    list[int]: st.lists(st.integers(), max_size=3),
    list[str]: st.lists(st.text(), max_size=3),
    set[int]: st.sets(st.integers(), max_size=3),
    frozenset[str]: st.frozensets(st.text(), max_size=3),
    tuple[int, ...]: st.lists(st.integers(), max_size=3).map(tuple),
    deque[int]: st.lists(st.integers(), max_size=3).map(deque),
    dict[str, int]: st.dictionaries(st.sampled_from(["n", "x"]), st.integers()),
    dict[str, bytes]: st.dictionaries(st.text(max_size=3), st.binary(), max_size=2),
}
Case = tuple[Any, Any]
"""An annotation, and a value of it."""


def one_of(*members: Any) -> Any:
    """The union of annotations that are known at run time."""
    return Union[members]  # noqa: UP007


def unions(members: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    """A union of members, perhaps with None, and a value of one of them."""
    cases = st.lists(members, min_size=2, max_size=4, unique_by=lambda case: str(case[0]))
    some = st.tuples(cases, st.sampled_from([(), (None,)]))
    return some.flatmap(
        lambda two: st.tuples(
            st.just(one_of(*(case[0] for case in two[0]), *two[1])), st.sampled_from([case[1] for case in two[0]])
        )
    )


single = st.sampled_from(list(MEMBERS)).flatmap(lambda one: st.tuples(st.just(one), MEMBERS[one]))
flat = unions(single)
inside = (
    flat
    | flat.map(lambda case: (of(list, case[0]), [case[1]]))
    | flat.map(lambda case: (of(dict, str, case[0]), {"a": case[1]}))
    | st.tuples(flat, flat).map(lambda two: (of(tuple, two[0][0], two[1][0]), (two[0][1], two[1][1])))
)
nested = inside | unions(single | inside)


@hypothesis.given(nested)
@hypothesis.settings(max_examples=400)
def test_whatever_member_it_is_it_comes_back(case: Case) -> None:
    """Equal and of the same type, in unions of any order, inside of lists, dicts, tuples and other unions."""
    annotation, value = case
    assert looks(value) == looks(there_and_back(annotation, value))


@hypothesis.given(st.lists(flat, min_size=2, max_size=5), st.randoms(use_true_random=False))
@hypothesis.settings(max_examples=150)
def test_many_values_of_one_union(cases: list[Case], random: Any) -> None:
    """Each item of a list, and each of any number of arguments, says for itself what it is."""
    members = list({str(case[0]): case[0] for case in cases}.values())
    values = [case[1] for case in cases]
    random.shuffle(values)
    annotation = one_of(*members)
    assert looks(values) == looks(there_and_back(of(list, annotation), values))

    def any_number(*args: Any, **kwargs: Any) -> None: ...

    any_number.__annotations__ = {"args": annotation, "kwargs": annotation}
    one, named = Codec(any_number, bound=False), {f"k{index}": value for index, value in enumerate(values)}
    args, kwargs = one.decode(one.encode(tuple(values), named), NO_CONTEXT)
    assert looks([list(args), dict(kwargs)]) == looks([values, named])


When = TypeAliasType("When", str | datetime)
KEPT: list[Case] = [
    (str | datetime, NOON),
    (datetime | str, "2026-01-01T12:00:00Z"),
    (str | Decimal, Decimal("1.5")),
    (Color | str, Color.RED),
    (str | bytes, b"abcd"),
    (bytes | str, "abcd"),
    (str | date, date(2026, 1, 1)),
    (str | timedelta, timedelta(1)),
    (uuid.UUID | str, str(uuid.UUID(int=1))),
    (list[int] | set[int], {1}),
    (list[int] | tuple[int, ...], (1,)),
    (dict[str, int] | Left, Left(n=1)),
    (Left | dict[str, int], {"n": 1}),
    (Left | Right, Right(n=1)),
    (Left | Other.Left, Other.Left(n=1)),
    (list[Left] | list[Other.Left], [Other.Left(n=1)]),
    (Dog | Animal, Animal(name="Tom")),
    (Optional[Union[str, datetime]], NOON),  # noqa: UP007, UP045 - as many still write it
    (Annotated[str | datetime, "a note"], NOON),
    (Annotated[str | bytes, Field(max_length=3)], b"abc"),
    (Annotated[Cat | Cow, Field(discriminator="kind")], Cow(name="Berta")),
    (Optional[Annotated[Cat | Cow, Field(discriminator="kind")]], Cow(name="Berta")),  # noqa: UP045 - as above
    (When, NOON),
    (list[When | None], [NOON, "x", None]),
    (dict[str, str | datetime | int | None], {"a": NOON, "b": None, "c": 5, "d": "2026"}),
    (dict[int, str | datetime], {1: NOON}),
    (dict[str | int, str | datetime], {"a": NOON}),
    (set[str | uuid.UUID], {uuid.UUID(int=1), str(uuid.UUID(int=1))}),
    (tuple[str | datetime, int | str], (NOON, "1")),
    (list[float | int | str | datetime], [5, 5.0, "5", NOON]),
    (dict[str, float | bool] | dict[str, int | float], {"a": 0}),
    (list[list[str | datetime] | set[str | datetime]], [[NOON], {"x", NOON}]),
    (Mapping[str, str | datetime], {"a": NOON}),
    (Literal["r"] | Color, Color.RED),
    (Box[str | int], Box[str | int](content="1")),
    # abstract collections are unions of what they stand for
    (Iterable[int], [1, 2]),
    (Iterable[int], (1, 2)),
    (Iterable[int], {1, 2}),
    (Iterable[int], frozenset({1})),
    (Iterable[str | datetime] | None, (NOON, "x")),
    (Collection[str], ["a"]),
    (Collection[str], ("a",)),
    (Sequence[int], (1, 2)),
    (Sequence[Item] | Item, (ITEM,)),
    (AbstractSet[int], {1}),
    (AbstractSet[int], frozenset({1})),
    (dict[str, Iterable[int]], {"a": (1,), "b": [1]}),
    (Iterable, (1, "a")),
    (Collection, [1, "a"]),
]


@pytest.mark.parametrize("annotation, value", KEPT)
def test_members_whose_json_looks_alike(annotation: Any, value: Any) -> None:
    """Of equal shape, of equal names in two places, in aliases, annotated further."""
    assert looks(value) == looks(there_and_back(annotation, value))


@pytest.mark.parametrize(
    "annotation, value, payload",
    [
        (str | datetime, "2026", b'[["2026"]]'),
        (datetime | str, NOON, b'[["2026-01-01T12:00:00Z"]]'),
        (str | datetime, NOON, b'[[["datetime","2026-01-01T12:00:00Z"]],{},[0]]'),
        (list[str | bytes | None], ["a", b"a", None], b'[[[["str","a"],["bytes","YQ=="],null]],{},[0]]'),
        (Left | Other.Left, Other.Left(n=1), b'[[["tests.unit.test_unions.Other.Left",{"n":1}]],{},[0]]'),
        (Annotated[list[int] | set[int] | None, "a note"], {1}, b'[[["set[int]",[1]]],{},[0]]'),
        (Sequence[int], [1], b"[[[1]]]"),
        (float | str, 5, b'[[["float",5.0]],{},[0]]'),
        (Sequence[int], (1,), b'[[["tuple[int, ...]",[1]]],{},[0]]'),
    ],
)
def test_a_member_is_named_only_where_it_must_be(annotation: Any, value: Any, payload: bytes) -> None:
    """What plain JSON tells apart stays plain, for those who read it, and workers of the version before."""
    assert codec(annotation).encode((value,), {}) == payload
    assert plain_arguments(payload) == (json.loads(payload)[0], {})


def test_only_the_arguments_that_need_it_name_their_member() -> None:
    """The others, by place or name, travel as ever."""

    def task(a: str | datetime, b: str | datetime, *rest: str | datetime, c: int, **more: str | datetime) -> None: ...

    one = Codec(task, bound=False)
    args, kwargs = ("x", NOON, "y", NOON), {"c": 1, "d": NOON, "e": "z"}
    data = one.encode(args, kwargs)
    noon = ["datetime", "2026-01-01T12:00:00Z"]
    assert json.loads(data) == [["x", noon, "y", noon], {"c": 1, "d": noon, "e": "z"}, [1, 3, "d"]]
    assert one.decode(data, NO_CONTEXT) == (list(args), kwargs)


UNNAMED: list[tuple[Any, Any, Any]] = [
    (str | datetime, [["2026-01-01T12:00:00Z"]], "2026-01-01T12:00:00Z"),
    (datetime | str, [["2026-01-01T12:00:00Z"]], NOON),
    (str | list[str], [["datetime"]], "datetime"),
    (list[str], [["str", "x"]], None),
    (list[str] | datetime, [[["datetime", "2026-01-01T12:00:00Z"]]], ["datetime", "2026-01-01T12:00:00Z"]),
    (list[Any] | None, [[["str", "x"]], {}], ["str", "x"]),
    (Sequence[int], [[[1]]], [1]),
    (AbstractSet[int], [[[1]]], frozenset({1})),
    (str | datetime, [["x"], {}, []], "x"),
    (str | datetime, [["x"], {}, [7, "nothing"]], "x"),
]


@pytest.mark.parametrize("annotation, payload, value", UNNAMED)
def test_payloads_without_names_are_read_as_before(annotation: Any, payload: Any, value: Any) -> None:
    """Those of the version before; what looks like a name and a value is data, unless the payload says otherwise."""
    read = codec(annotation)
    if value is None:
        with pytest.raises(ArgumentsMismatch):
            read.decode(json.dumps(payload).encode(), NO_CONTEXT)
        return
    ((back,), _) = read.decode(json.dumps(payload).encode(), NO_CONTEXT)
    assert looks(back) == looks(value)


NO_MEMBERS: list[tuple[Any, Any]] = [
    (str | datetime, [[["os.system", "rm"]], {}, [0]]),
    (str | datetime, [[["taskproc.codec.Codec", {}]], {}, [0]]),
    (str | datetime, [["x"], {}, [0]]),
    (str | datetime, [[["str"]], {}, [0]]),
    (str | datetime, [[["str", "x", "y"]], {}, [0]]),
    (str | datetime, [[[["str"], "x"]], {}, [0]]),
    (str | datetime, [[["str", 1]], {}, [0]]),
    (str | datetime, [[["datetime", "soon"]], {}, [0]]),
    (str | datetime, [[{"str": "x"}], {}, [0]]),
    (list[str | datetime], [[[["str", ["str", "x"]]]], {}, [0]]),
    (int, [[1], {}, [0]]),
    (int, [[["int", 1]], {}, [0]]),
    (Any, [["x"], {}, [0]]),
    (Left, [[["Left", {"n": 1}]], {}, [0]]),
    (str | datetime, [["x"], {}, [True]]),
    (str | datetime, [["x"], {}, [[0]]]),
    (str | datetime, [["x"], {}, {"value": 0}]),
    (str | datetime, [["x"], {}, None]),
    (str | datetime, [["x"], {}, [0], []]),
]


@pytest.mark.parametrize("annotation, payload", NO_MEMBERS)
def test_a_payload_can_name_only_members(annotation: Any, payload: Any) -> None:
    """Anything else, or in another form, is a mismatch; a name is never looked up anywhere."""
    with pytest.raises(ArgumentsMismatch, match=r"argument value does not fit|not one of a method call"):
        codec(annotation).decode(json.dumps(payload).encode(), NO_CONTEXT)


@hypothesis.given(
    st.sampled_from([str | datetime, list[str | bytes] | Left | Right, Iterable[int | str]]),
    st.recursive(
        st.sampled_from(["str", "bytes", "datetime", "Left", "list[str | bytes]", 1, None, "eA=="]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("n"), inner),
    ),
)
def test_whatever_is_said_to_be_named_is_a_member_or_a_mismatch(annotation: Any, value: Any) -> None:
    """Of what anybody may write into Redis nothing else can come."""
    one = codec(annotation)
    try:
        ((back,), _) = one.decode(json.dumps([[value], {}, [0]]).encode(), NO_CONTEXT)
    except ArgumentsMismatch:
        return
    assert looks(back) == looks(there_and_back(annotation, back))


REFUSED: list[tuple[Any, Any, str]] = [
    (
        str | datetime,
        5,
        r"does not fit its annotation str \| datetime.datetime: str: Input should be a valid string",
    ),
    (Left | Right, Other.Left(n=1), r"does not fit|would come back"),
    (str | datetime | int, True, r"value=True \(bool\) would come back as 1 \(int\)"),
    (list[str | datetime], [5], r"does not fit"),
    (Annotated[str | bytes, Field(max_length=3)], b"abcd", r"at most 3"),
    # unions in what classes say of their fields, and in keys, are as pydantic writes them
    (Meeting, Meeting(NOON), r"\(Meeting\) would come back as Meeting\(at='2026"),
    (Visit, Visit(NOON), r"would come back as Visit\(at='2026"),
    (dict[str | int, int], {1: 1}, r"would come back as \{'1': 1\}"),
    # collections
    (Iterable[int], ["a"], r"annotation collections\.abc\.Iterable\[int\]: 0: Input should be a valid integer"),
    (Iterable[int], "12", r"Input should be a valid list"),
    (Iterable[int], iter([1]), r"Input should be a valid list"),
    (Iterator[int], [1], r"cannot be written as JSON: .*only once does not travel: annotate list\[…\]"),
    (Generator[int, None, None], [1], r"only once does not travel: annotate list\[…\]"),
    # what must be made first
    (Item, {"name": "x", "price": "1"}, r"annotation Item: a dict is no Item: pass Item\(…\)"),
    (Item, {"name": 1}, r"annotation Item: a dict is no Item: pass Item\(…\)"),
    (Point, {"x": 1}, r"annotation Point: a dict is no Point: pass Point\(…\)"),
    (Item | None, {"name": "x", "price": "1"}, r"a dict is no .*Item \| None: pass Item\(name='x', price=Decimal"),
    (list[Left], [{"n": 1}], r"a list is no list\[.*Left\]: pass \[Left\(n=1\)\]"),
    (list[Item], [{"name": 1}], r"annotation list\[.*Item\]: 0\.name: Input should be a valid string"),
    (Left | None, OrderedDict(n=1), r"an OrderedDict is no .*Left \| None: pass Left\(n=1\)"),
]


@pytest.mark.parametrize("annotation, value, message", REFUSED)
def test_what_is_refused_says_why(annotation: Any, value: Any, message: str) -> None:
    """With what to pass or to annotate; no message ends in a heading."""
    with pytest.raises(InvalidArguments, match=message) as error:
        there_and_back(annotation, value)
    assert not str(error.value).endswith("warnings:")


def test_what_only_the_serializer_minds_is_said() -> None:
    """Its warnings come below a heading, which says nothing."""
    with pytest.raises(InvalidArguments, match=r"Expected `int`.*input_value='x'"):
        there_and_back(Left, Left.model_construct(n=cast("Any", "x")))


def test_what_was_shown_of_a_payload_may_be_sent_again() -> None:
    """Named members in plain JSON are read as what they are; where that could mean two things, it is refused."""
    one = codec(list[str | datetime])
    data = one.encode(([NOON, "x"],), {})
    assert one.encode_plain({"value": plain_arguments(data)[0][0]}) == data
    assert one.encode_plain({"value": ["x"]}) == one.encode((["x"],), {})
    with pytest.raises(InvalidArguments, match=r'argument value: \["set\[str\]",\["a"\]\] means two things'):
        codec(list[Any] | set[str]).encode_plain({"value": ["set[str]", ["a"]]})
