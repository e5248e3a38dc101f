"""Types of many kinds, and what tells two values apart, for the tests of the codec."""

import dataclasses
import enum
import uuid
from collections import deque
from datetime import UTC, datetime, time
from decimal import Decimal
from types import GenericAlias
from typing import Any, Generic, NamedTuple, NotRequired, TypeVar, cast
from zoneinfo import ZoneInfo

import pydantic.dataclasses
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    RootModel,
    SecretStr,
    computed_field,
    field_serializer,
    model_validator,
)
from typing_extensions import TypedDict

from taskproc.codec import Codec
from taskproc.context import TaskContext

T = TypeVar("T")
BERLIN = ZoneInfo("Europe/Berlin")
NO_CONTEXT = cast("TaskContext", None)


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2


class Shape(enum.Enum):
    SQUARE = (1, 1)


@dataclasses.dataclass
class Point:
    x: int
    tags: list[str] = dataclasses.field(default_factory=list[str])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    data: bytes
    at: datetime | None = None


@dataclasses.dataclass(eq=False)
class Line:
    ends: tuple[Point, Point]
    length: float = dataclasses.field(init=False, default=1.0)


@pydantic.dataclasses.dataclass
class Checked:
    n: int = Field(gt=0, alias="number")


class Pair(NamedTuple):
    left: int
    right: bytes = b""


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Item(BaseModel):
    name: str
    price: Decimal
    color: Color = Color.RED


class Order(BaseModel):
    id: uuid.UUID
    items: list[Item]
    notes: dict[str, Item | None] = {}
    at: datetime


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid", serialize_by_alias=True)
    user_name: str = Field(alias="userName")
    age: int = Field(default=1, validation_alias="years")
    size: int = Field(default=2, serialization_alias="Size")

    @computed_field
    def shout(self) -> str:
        return self.user_name.upper()


class Swapped(BaseModel):
    left: int = Field(alias="right")
    right: int = Field(alias="left")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    n: int


class Box(BaseModel, Generic[T]):
    content: T


class Names(RootModel[list[str]]):
    pass


class Lenient(BaseModel):
    n: float
    _cache: dict[str, int] = PrivateAttr(default_factory=dict)


class Secret(BaseModel):
    password: SecretStr


class Forgetful(BaseModel):
    kept: int
    lost: int = Field(default=0, exclude=True)


class Rounding(BaseModel):
    at: datetime

    @field_serializer("at")
    def _to_day(self, at: datetime) -> str:
        return at.strftime("%Y-%m-%d")


class Explosive(BaseModel):
    n: int

    @model_validator(mode="after")
    def _explode(self) -> "Explosive":
        if self.n == 13:
            raise KeyError("thirteen")
        return self


class Animal(BaseModel):
    name: str


class Dog(Animal):
    tricks: list[str] = []


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Stamp(datetime):
    pass


class Unknown:
    pass


def codec(annotation: Any) -> Codec:
    """The codec of a function with one parameter."""

    def function(value: Any) -> None: ...

    function.__annotations__["value"] = annotation
    return Codec(function, bound=False)


def there_and_back(annotation: Any, value: Any) -> Any:
    """What a task gets for a value."""
    one = codec(annotation)
    args, kwargs = one.decode(one.encode((value,), {}), NO_CONTEXT)
    assert not kwargs
    (back,) = args
    return back


def looks(value: Any) -> object:
    """A value taken apart, with its types: equal for two values only if no program could tell them apart."""
    kind = type(cast("object", value))
    parts: Any = repr(value)
    if isinstance(value, datetime | time):
        parts = value.isoformat()
    elif isinstance(value, BaseModel):
        parts = looks(dict(value))
    elif dataclasses.is_dataclass(value):
        parts = [looks(getattr(value, field.name)) for field in dataclasses.fields(value)]
    elif isinstance(value, dict):
        parts = sorted((looks(item) for item in cast("Any", value).items()), key=repr)
    elif isinstance(value, set | frozenset):
        parts = sorted((looks(item) for item in cast("set[Any]", value)), key=repr)
    elif isinstance(value, list | tuple | deque):
        parts = [looks(item) for item in cast("list[Any]", value)]
    return kind, parts


def of(generic: Any, *parameters: Any) -> Any:
    """`generic[parameters]`, worked out at run time."""
    return GenericAlias(generic, parameters)


ITEM = Item(name="nail", price=Decimal("0.10"))
ORDER = Order(id=uuid.UUID(int=1), items=[ITEM], notes={"a": None, "b": ITEM}, at=datetime(2026, 1, 1, tzinfo=UTC))
AMBIGUOUS = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN)
