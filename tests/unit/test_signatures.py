"""The types of a method's parameters, as they are in the class that the method was named by."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Generic, Protocol, TypeVar, TypeVarTuple, cast

import pytest
from pydantic import BaseModel

from taskproc import ref
from taskproc.calls import Calls, MethodRef
from taskproc.codec import codec_of
from taskproc.context import TaskContext
from taskproc.errors import InvalidArguments
from taskproc.executor import JsonExecutor
from taskproc.finding import method_of
from taskproc.signatures import signature_of
from tests.unit.value_kit import of

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
In_contra = TypeVar("In_contra", contravariant=True)
Ts = TypeVarTuple("Ts")
UNKNOWN: Any = T
HERE = cast("TaskContext", object())
"""The context that a worker would fill in."""


class Order(BaseModel):
    number: int


class Page(BaseModel, Generic[T]):
    items: list[T]


@dataclass
class Cell(Generic[T]):
    content: T


class Repo(Generic[T]):
    def save(self, item: T, others: list[T] | None, by: dict[str, tuple[T, ...]], page: Page[T], n: int) -> T:
        raise NotImplementedError

    @classmethod
    def load(cls, item: "Annotated[T, 'a note']") -> None: ...

    def hold(self, typed: Cell[T], bare: Cell) -> None: ...  # type: ignore[type-arg]

    @staticmethod
    def check(*items: T, **named: Sequence[T]) -> None: ...


class Orders(Repo[Order]):
    pass


class Above(Orders):
    pass


class Named(Generic[K, V]):
    def put(self, key: K, value: V) -> None: ...


class Swapped(Named[V, list[K]], Generic[K, V]):
    def swap(self, key: K, value: V) -> None: ...


class Twice(Swapped[int, date]):
    pass


class Untyped(Repo):  # type: ignore[type-arg]
    pass


class Both(Untyped, Repo[Order]):
    pass


class Reader(Protocol[In_contra]):
    def read(self, item: In_contra) -> None: ...


class Dated(Reader[date], Protocol):
    pass


class Many(Generic[*Ts]):
    def take(self, n: int) -> None: ...


class Two(Many[int, str]):
    pass


class Own(Repo[Order]):
    @classmethod
    def load(cls, item: Order | int) -> None: ...


def annotations(owner: type, name: str) -> dict[str, Any]:
    """What a method of a class takes."""
    target = method_of(owner, name)
    assert target is not None
    return signature_of(target.function, bound=target.kind != "static", owner=owner)[1]


SAVED = {"item": Order, "others": list[Order] | None, "by": dict[str, tuple[Order, ...]], "page": Page[Order], "n": int}


@pytest.mark.parametrize(
    "owner, name, expected",
    [
        (Orders, "save", SAVED),
        (Above, "save", SAVED),
        (Both, "save", SAVED),
        (Orders, "hold", {"typed": Cell[Order], "bare": Cell}),
        (Orders, "load", {"item": Annotated[Order, "a note"]}),
        (Orders, "check", {"items": Order, "named": Sequence[Order]}),
        (Twice, "put", {"key": date, "value": list[int]}),
        (Twice, "swap", {"key": int, "value": date}),
        (Swapped, "put", {"key": V, "value": of(list, K)}),
        (Dated, "read", {"item": date}),
        (Two, "take", {"n": int}),
        # nothing is known of these
        (Repo, "load", {"item": Annotated[UNKNOWN, "a note"]}),
        (Untyped, "load", {"item": Annotated[UNKNOWN, "a note"]}),
        (Own, "load", {"item": Order | int}),
    ],
)
def test_type_variables_are_what_the_class_says(owner: type, name: str, expected: dict[str, Any]) -> None:
    """In bases of bases, swapped, in other generics, of class and static methods, of interfaces; not in overrides."""
    assert annotations(owner, name) == expected


def test_a_method_of_a_generic_base_takes_what_its_class_is_for() -> None:
    """The worker reads by the same, and another class's types are another matter."""
    executor = JsonExecutor(Calls(None, []))
    order = Order(number=7)
    data = executor.serialize(ref(Orders).load, (order,), {})
    assert data == b'[[{"number":7}]]'
    target = Calls([Orders], []).find(f"{__name__}:Orders.load")
    assert codec_of(target.function, target.kind, target.owner).decode(data, HERE) == ([order], {})
    with pytest.raises(InvalidArguments, match=r"argument item=5 does not fit its annotation .*Order"):
        executor.serialize(ref(Orders).load, (5,), {})
    with pytest.raises(InvalidArguments, match=r"\(Order\) would come back as \{'number': 7\} \(dict\): annotate item"):
        executor.serialize(cast("Any", MethodRef(Repo, "load")), (order,), {})


def test_type_variables_of_new_syntax_are_known_in_strings() -> None:
    """`class New[Own]` and `def method[Other]` have names that are in no module."""

    def method(self: object, first: object, second: object) -> None: ...

    variable: Any = TypeVar
    own, other = variable("Own"), variable("Other")
    method.__annotations__ = {"first": "list[Own]", "second": "Other"}
    cast("Any", method).__type_params__ = (other,)
    new = type("New", (), {"method": method, "__type_params__": (own,)})
    assert annotations(new, "method") == {"first": of(list, own), "second": other}
