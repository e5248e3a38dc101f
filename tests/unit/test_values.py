"""Values of many types come back as themselves, or are refused; none is ever changed silently."""

# ruff: noqa: DTZ001 - a datetime without a zone is a value too

import collections
import ipaddress
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Optional, Union, cast
from zoneinfo import ZoneInfo

import pytest
from pydantic import Field, SecretStr

from taskproc.errors import InvalidArguments
from taskproc.sameness import same
from tests.unit.value_kit import (
    AMBIGUOUS,
    BERLIN,
    ITEM,
    ORDER,
    Aliased,
    Animal,
    Blob,
    Box,
    Checked,
    Color,
    Dog,
    Explosive,
    Forgetful,
    Item,
    Lenient,
    Level,
    Line,
    Movie,
    Names,
    Number,
    Open,
    Order,
    Pair,
    Point,
    Rights,
    Rounding,
    Secret,
    Shape,
    Stamp,
    Swapped,
    Text,
    Unknown,
    Word,
    codec,
    looks,
    there_and_back,
)

KEPT: list[tuple[Any, Any]] = [
    # those that every application has
    (int, 1),
    (float, 1.5),
    (str | None, None),
    (bool, True),
    (str, "ü\n\u2028\0\U0001f600"),
    (bytes, b"\x00\xff"),
    (list[Any], [1, [2, {"a": None}]]),
    (dict[str, dict[str, int]], {"a": {"b": 1}}),
    (tuple[int, str], (1, "a")),
    (set[int], {1, 2}),
    (datetime, datetime(2026, 3, 29, 2, 30, tzinfo=UTC)),
    (date, date(2026, 1, 1)),
    (timedelta, timedelta(seconds=1.5)),
    (uuid.UUID, uuid.UUID(int=7)),
    (Decimal, Decimal("1.10")),
    (Color, Color.RED),
    (Point, Point(1, ["2"])),
    (Item, ITEM),
    (int, 2**80),
    # numbers
    (int, -(2**63)),
    (int, 2**64),
    (float, -0.0),
    (float, 5e-324),
    (float, 1.7976931348623157e308),
    (int | float, 1),
    (int | float, 1.0),
    (float | int, 1),
    (bool | int, True),
    (bool | int, 1),
    (int | bool, False),
    (complex, 1 + 2j),
    (Decimal, Decimal("1E+5")),
    (Decimal, Decimal("-0")),
    (Annotated[int, Field(gt=0, lt=10)], 3),
    # text and bytes
    (int | str, "1"),
    (str | int, 1),
    (bytes, b""),
    (Path, Path("/tmp/ü")),
    (PurePosixPath, PurePosixPath("a/b")),
    (Annotated[str, Field(max_length=3)], "abc"),
    # time
    (datetime, datetime(1, 1, 1)),
    (datetime, datetime.max.replace(tzinfo=UTC)),
    (datetime, datetime(2026, 7, 1, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=-9, minutes=-30)))),
    (time, time(1, 2, 3, 4)),
    (time, time(1, 2, tzinfo=UTC)),
    (timedelta, timedelta.max),
    (timedelta, timedelta.min),
    (timedelta, timedelta(microseconds=-1)),
    (ZoneInfo, BERLIN),
    (date | datetime, datetime(2026, 1, 1, 1)),
    # enums and literals
    (Level, Level.LOW),
    (Word, Word.YES),
    (Rights, Rights.READ | Rights.WRITE),
    (Literal["a", 1, True] | None, 1),
    (Literal["a", 1], "a"),
    (Color | None, None),
    (Color | str, "r"),
    (Optional[Color], Color.BLUE),  # noqa: UP045 - written as many still write it
    (Union[Level, str], Level.LOW),  # noqa: UP007
    # containers
    (list[bytes], [b"\xff"]),
    (list[float], [1.0, 2.5]),
    (list[Color | int], [Color.RED, 1]),
    (tuple[int, ...], (1, 2, 3)),
    (tuple[()], ()),
    (tuple[Point, ...], (Point(1), Point(2))),
    (frozenset[bytes], frozenset({b"\xff", b""})),
    (set[tuple[int, str]], {(1, "a")}),
    (collections.deque[int], collections.deque([1, 2])),
    (collections.Counter[str], collections.Counter("aab")),
    (collections.defaultdict[str, int], collections.defaultdict(int, a=1)),
    (collections.OrderedDict[str, int], collections.OrderedDict(b=1, a=2)),
    (dict[int, str], {1: "a", -2: "b"}),
    (dict[uuid.UUID, date], {uuid.UUID(int=1): date(2026, 1, 1)}),
    (dict[datetime, bytes], {datetime(2026, 1, 1, tzinfo=UTC): b"\xff"}),
    (dict[Color, list[Point]], {Color.RED: [Point(1)]}),
    (dict[bool, float], {True: 1.5}),
    (dict[bytes, None], {b"\xff": None}),
    (Mapping[str, int], {"a": 1}),
    (Sequence[int], [1, 2]),
    (dict[str, Any], {"a": [1, None, "x", 1.5, True, {"b": {}}]}),
    (Any, {"a": [1, None, "x", 1.5, True, 2**70]}),
    (object, [1, "a"]),
    (dict, {"a": 1}),
    (list, [1]),
    # what applications define
    (Blob, Blob(data=b"\xff\x00", at=datetime(2026, 1, 1, tzinfo=UTC))),
    (Line, Line((Point(1), Point(2)))),
    (list[Blob | Point], [Blob(data=b""), Point(1)]),
    (Checked, Checked(number=3)),
    (Pair, Pair(1, b"\xff")),
    (Movie, {"title": "M"}),
    (Movie, {"title": "M", "year": 1931}),
    (Order, ORDER),
    (list[Order], [ORDER, ORDER]),
    (Item | Point | None, Point(1)),
    (Aliased, Aliased.model_validate({"userName": "bob", "years": 3})),
    (Swapped, Swapped.model_validate({"left": 1, "right": 2})),
    (Open, Open.model_validate({"n": 1, "more": "x"})),
    (Box[int], Box[int](content=1)),
    (Box[list[Color]], Box[list[Color]](content=[Color.RED])),
    (Names, Names(["a"])),
    (Lenient, Lenient(n=1)),
    (Dog, Dog(name="Rex", tricks=["sit"])),
    (ipaddress.IPv4Network, ipaddress.IPv4Network("10.0.0.0/8")),
]


@pytest.mark.parametrize("annotation, value", KEPT)
def test_values_come_back_as_themselves(annotation: Any, value: Any) -> None:
    """Equal, and of the same types, all the way down."""
    assert looks(value) == looks(there_and_back(annotation, value))


REFUSED: list[tuple[Any, Any, str]] = [
    # a type that its annotation does not name
    (int, "1", r"argument value='1' does not fit its annotation int: Input should be a valid integer"),
    (int, True, r"argument value=True \(bool\) would come back as 1 \(int\): annotate value so that it says"),
    (int, 1.0, r"does not fit its annotation int"),
    (int, None, r"argument value=None does not fit"),
    (str, 1, r"does not fit its annotation str"),
    (str, b"a", r"value=b'a' \(bytes\) would come back as|does not fit its annotation str"),
    (bytes, "a", r"does not fit|would come back as b"),
    (bool, 1, r"does not fit its annotation bool"),
    (float, "1.5", r"does not fit its annotation float"),
    (float, 2**53 + 1, r"would come back as 9007199254740992\.0 \(float\)"),
    (float, 10**400, r"does not fit|would come back"),
    (Color, "r", r"does not fit its annotation Color|would come back as <Color"),
    (Level, 1, r"does not fit its annotation Level|would come back as <Level"),
    (Literal[Color.RED], Color.RED, r"does not fit its annotation Literal"),
    (Literal["a"], "b", r"does not fit its annotation Literal\['a'\]"),
    (date, datetime(2026, 1, 1, 1), r"does not fit its annotation date|would come back"),
    (datetime, date(2026, 1, 1), r"does not fit its annotation datetime|would come back"),
    (datetime, "2026-01-01T00:00:00", r"would come back as datetime|does not fit"),
    (uuid.UUID, str(uuid.UUID(int=1)), r"would come back as UUID|does not fit"),
    (list[int], (1, 2), r"would come back as \[1, 2\] \(list\)|does not fit"),
    (tuple[int, ...], [1, 2], r"would come back as|does not fit"),
    (set[int], frozenset({1}), r"would come back as|does not fit"),
    (list[int], [1, "2"], r"does not fit its annotation list\[int\]: 1: Input should be a valid integer"),
    (list[int], [True], r"would come back as \[1\]"),
    (tuple[int, str], (1,), r"does not fit"),
    (Annotated[int, Field(gt=0)], 0, r"Input should be greater than 0"),
    (Movie, {"title": "M", "years": 1}, r"would come back as \{'title': 'M'\}|does not fit|Extra"),
    (dict[str, int], {1: 1}, r"does not fit|would come back"),
    (dict[int, int], {True: 1}, r"does not fit|would come back"),
    # subclasses of what was annotated
    (str, Text("a"), r"argument value='a' \(Text\) would come back as 'a' \(str\): annotate value so that"),
    (int, Number(1), r"\(Number\) would come back as 1 \(int\)"),
    (int, Level.LOW, r"\(Level\) would come back as 1 \(int\)"),
    (str, Word.YES, r"\(Word\) would come back as 'yes' \(str\)"),
    (datetime, Stamp(2026, 1, 1), r"\(Stamp\) would come back as datetime"),
    (dict[str, int], collections.Counter("a"), r"\(Counter\) would come back as \{'a': 1\} \(dict\)"),
    (Animal, Dog(name="Rex"), r"\(Dog\) would come back as Animal"),
    (list[Animal], [Dog(name="Rex")], r"would come back as \[Animal"),
    (list[str], [Text("a")], r"would come back as \['a'\] \(list\)"),
    # what JSON cannot say
    (float, math.nan, r"does not fit its annotation float"),
    (float, math.inf, r"does not fit its annotation float"),
    (float | None, math.nan, r"argument value=nan \(float\) would come back as None"),
    (list[float], [-math.inf], r"does not fit"),
    (Any, math.nan, r"value=nan is not plain JSON .* annotate value with its type"),
    (Any, {"a": [math.inf]}, r"is not plain JSON"),
    (Decimal, Decimal("NaN"), r"does not fit"),
    (Decimal, Decimal("sNaN"), r"does not fit"),
    (Decimal | None, Decimal("Infinity"), r"does not fit|would come back"),
    (str, "\ud800", r"argument value cannot be written as JSON: .*surrogates"),
    (list[str], ["\ud800"], r"argument value=.* does not fit"),
    (Any, ["\ud800"], r"argument value cannot be written as JSON"),
    (Shape, Shape.SQUARE, r"does not fit its annotation Shape"),
    (dict[tuple[int, int], int], {(1, 2): 3}, r"does not fit"),
    (time, time(1, 2, tzinfo=BERLIN), r"would come back as datetime\.time\(1, 2\)"),
    (datetime, datetime(1900, 1, 1, tzinfo=ZoneInfo("Europe/Amsterdam")), r"would come back"),
    (Callable[[], None], print, r"does not fit its annotation .*Callable"),
    (type[int], int, r"does not fit its annotation type\[int\]"),
    (collections.deque[int], collections.deque([1], maxlen=3), r"would come back as deque\(\[1\]\)"),
    # what no annotation says
    (Any, (1, 2), r"value=\(1, 2\) is not plain JSON \(None, bool, int, finite float, str, lists of those"),
    (Any, {1: 2}, r"is not plain JSON"),
    (Any, b"a", r"is not plain JSON"),
    (Any, datetime(2026, 1, 1), r"is not plain JSON"),
    (Any, Text("a"), r"is not plain JSON"),
    (Any, Level.LOW, r"is not plain JSON"),
    (Any, Unknown(), r"is not plain JSON"),
    (object, date(2026, 1, 1), r"\(date\) would come back as '2026-01-01' \(str\)"),
    (list[Any], [date(2026, 1, 1)], r"would come back as \['2026-01-01'\]"),
    (dict[str, Any], {"a": (1,)}, r"would come back as \{'a': \[1\]\}"),
    (dict, {1: "a"}, r"would come back as \{'1': 'a'\}"),
    # models that lose what they hold
    (Secret, Secret(password=SecretStr("hunter2")), r"would come back as Secret"),
    (Forgetful, Forgetful(kept=1, lost=2), r"would come back as Forgetful"),
    (Rounding, Rounding(at=datetime(2026, 1, 1, 12)), r"would come back|does not fit"),
    (Item, Item.model_construct(name=cast("Any", 1), price=Decimal(1)), r"does not fit its annotation Item"),
    (Box[int], Box(content=1), r"\(Box\) would come back as Box\[int\]|does not fit"),
    (Order, ORDER.model_copy(update={"at": "soon"}), r"does not fit its annotation Order"),
    (Explosive, Explosive.model_construct(n=13), r"does not fit its annotation Explosive: 'thirteen'"),
]


@pytest.mark.parametrize("annotation, value, message", REFUSED)
def test_values_that_would_change_are_refused(annotation: Any, value: Any, message: str) -> None:
    """With the name of the parameter and what to do; never silently something else."""
    with pytest.raises(InvalidArguments, match=message) as error:
        there_and_back(annotation, value)
    assert "hunter2" not in str(error.value)
    assert "argument value" in str(error.value)


def test_integers_may_have_as_many_digits_as_python_reads() -> None:
    """4,300; more are refused where they are enqueued."""
    assert there_and_back(int, 10**4299) == 10**4299
    assert there_and_back(Any, [10**4299]) == [10**4299]
    with pytest.raises(InvalidArguments, match=r"argument value cannot be written as JSON: Exceeds the limit"):
        there_and_back(int, 10**5000)


@pytest.mark.parametrize("annotation", [Unknown, list[Unknown], bytearray, memoryview, range, Unknown | int, "Codec"])
def test_types_that_cannot_be_written_are_a_mistake_of_the_signature(annotation: Any) -> None:
    """An annotation that pydantic does not know is named, with what to do; the call is refused like any other."""
    with pytest.raises(InvalidArguments, match=r"parameter 'value', annotated .*, cannot be written as JSON: pass"):
        codec(annotation).encode((Unknown(),), {})


def test_an_int_may_be_passed_for_a_float() -> None:
    """As type checkers allow it; it arrives as the float it equals."""
    assert looks(1.0) == looks(there_and_back(float, 1))
    assert looks([1.0, 2.0]) == looks(there_and_back(list[float], [1, 2.0]))
    assert looks({"a": 2.0**60}) == looks(there_and_back(dict[str, float], {"a": 2**60}))


def test_of_a_time_zone_the_offset_travels() -> None:
    """What the clock shows and its distance from UTC stay, also in the hour that the clock repeats."""
    for moment in (datetime(2026, 7, 1, tzinfo=BERLIN), AMBIGUOUS, AMBIGUOUS.replace(fold=0)):
        back = there_and_back(datetime, moment)
        assert back.replace(tzinfo=None, fold=0) == moment.replace(tzinfo=None, fold=0)
        assert back.utcoffset() == moment.utcoffset()
        assert looks(back) == looks(there_and_back(datetime | None, moment))


def test_a_model_that_answers_with_its_own_equality_is_asked_field_by_field() -> None:
    """A private attribute that is made anew does not count; a field does."""
    one = Lenient(n=1)
    one._cache["a"] = 1
    assert there_and_back(Lenient, one).n == 1


def test_sameness_knows_types_in_keys_and_members() -> None:
    """Equal is not enough: True, 1 and 1.0 are three values."""
    assert same({1}, {1})
    assert not same({1}, {True})
    assert not same({1: "a"}, {True: "a"})
    assert not same({1: 1.0}, {1: 1})
    assert not same([1], [True])
    assert not same((0,), (False,))
    assert same([1], [1.0])
    assert not same([1.0], [1])
    assert not same({1: "a"}, {1: "a", 2: "b"})
    assert not same({1: "a", 2: "b"}, {1: "a"})
    assert same(math.nan, math.nan)
    assert not same(Point(1), Point(True))
    assert not same(Lenient(n=1), Lenient(n=2))
    assert not same(Open.model_validate({"n": 1, "more": 1}), Open(n=1))
    assert same(Unknown(), Unknown()), "what defines no equality answers for itself"
    assert not same(Fraction(1, 2), Fraction(1, 3))
