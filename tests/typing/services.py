"""What the typing tests call: methods and functions of all kinds."""

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Protocol, TypedDict, Unpack

from taskproc import CURRENT, TaskContext, background


class Mailer:
    def __init__(self, host: str) -> None:
        self.host = host

    async def send(self, to: str, *, copies: int = 1) -> None: ...

    def send_in_thread(self, number: int) -> str:
        return str(number)

    @staticmethod
    def check(address: str) -> bool:
        return bool(address)

    @classmethod
    async def load(cls, number: int, *rest: str) -> None: ...

    async def report(self, subject: str, ctx: TaskContext) -> None: ...


class SendsMail(Protocol):
    """An interface that nobody needs to inherit."""

    async def send(self, to: str) -> None: ...


class Imports(ABC):
    @abstractmethod
    async def load(self, path: str, /, *, limit: int | None = None) -> int: ...


@background
async def resize(width: int, *names: str, keep: bool = False) -> None:
    """A function with the plain mark."""


@background()
def rotate(degrees: float, /) -> float:
    """With the mark called, without options."""
    return degrees


@background(queue="low", retries=2, invisibility=timedelta(minutes=1), auto_extend=True)
def crop(width: int, height: int, **options: str) -> None:
    """With all options."""


@background
async def audit(what: str, *, ctx: TaskContext = CURRENT) -> None:
    """It is told which task it is."""


class Options(TypedDict, total=False):
    """Keywords with a type each."""

    level: int


def clean(**options: Unpack[Options]) -> None:
    """A function of a package that is allowed."""


class Jobs:
    @background
    @staticmethod
    def above_static(number: int) -> None: ...

    @staticmethod
    @background(queue="low")
    def below_static(number: int) -> None: ...

    @background(queue="low")
    @classmethod
    def above_class(cls, number: int) -> None: ...

    @classmethod
    @background
    async def below_class(cls, number: int) -> None: ...

    @background(retries=5)
    async def method(self, number: int) -> None: ...
