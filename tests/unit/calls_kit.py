"""Services and functions of all kinds, for the tests of how calls are named."""

import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any, Protocol

from taskproc import background

MINUTE = timedelta(minutes=1)


def without_wraps(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that loses the name."""

    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def with_wraps(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that keeps it."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Sends(Protocol):
    def send(self, to: str) -> object: ...


class Notifies(ABC):
    @abstractmethod
    def notify(self) -> None: ...

    def register(self) -> None:
        self.notify()


class Base:
    def inherited(self) -> None: ...

    @classmethod
    def counted(cls) -> None: ...


class Mailer(Base):
    limit = 3

    def __init__(self) -> None:
        self.hook = lambda: None

    async def send(self, to: str) -> None: ...

    def stream(self) -> Iterator[int]:
        yield 1

    async def astream(self) -> AsyncIterator[int]:
        yield 1

    @property
    def size(self) -> int:
        return 1

    @functools.cached_property
    def cached(self) -> int:
        return 1

    @staticmethod
    def check(to: str) -> None: ...

    @classmethod
    def load(cls, to: str) -> None: ...

    @with_wraps
    def wrapped(self) -> None: ...

    @without_wraps
    def renamed(self) -> None: ...

    def _private(self) -> None: ...

    def __call__(self) -> None: ...

    class Inner:
        """A service inside of another's class."""

        def go(self) -> None: ...


class _Hidden(Mailer):
    async def send(self, to: str) -> None: ...


HIDDEN = _Hidden


class Smtp(Mailer, Notifies):
    def notify(self) -> None: ...


class Marked:
    @background
    @staticmethod
    def above_static(n: int) -> None: ...

    @staticmethod
    @background(queue="low")
    def below_static(n: int) -> None: ...

    @background(retries=2)
    @classmethod
    def above_class(cls, n: int) -> None: ...

    @classmethod
    @background(invisibility=MINUTE)
    def below_class(cls, n: int) -> None: ...

    @staticmethod
    def unmarked() -> None: ...

    @background(auto_extend=True)
    def method(self) -> None: ...

    class Nested:
        """A class inside of another."""

        @staticmethod
        @background
        def deep() -> None: ...


@background
async def job(n: int) -> None:
    """A function that workers may run."""


@background(queue="high", retries=5)
@with_wraps
def wrapped_job() -> None:
    """A decorated one."""


@background
def gone() -> None:
    """One whose name is deleted."""


missing = gone
del gone


def plain() -> None:
    """One without a mark."""


@background
def _private() -> None:
    """One whose name is not for others."""


@background
def generator() -> Iterator[int]:
    """One that does nothing when it is called."""
    yield 1


@background
async def async_generator() -> AsyncIterator[int]:
    """Likewise."""
    yield 1
