"""`@background`: the mark of functions that workers may run, and the defaults of their tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import FunctionType
from typing import Any, TypeVar, cast, overload

from taskproc.errors import ConfigurationError, TaskProcessorError
from taskproc.options import Options

__all__ = ["PLAIN", "Background", "background", "mark_of", "plain_function"]

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__taskproc_background__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What `@background(…)` says; `on(…)` wins over it."""

    queue: str | None = None
    retries: int | None = None
    invisibility: timedelta | None = None
    auto_extend: bool | None = None

    def __post_init__(self) -> None:
        try:
            Options(
                queue=self.queue, retries=self.retries, invisibility=self.invisibility, auto_extend=self.auto_extend
            )
        except TaskProcessorError as error:
            raise ConfigurationError(f"@background(…): {error}") from None


PLAIN = Background()


@overload
def background(function: F, /) -> F: ...
@overload
def background(
    *,
    queue: str | None = None,
    retries: int | None = None,
    invisibility: timedelta | None = None,
    auto_extend: bool | None = None,
) -> Callable[[F], F]: ...
def background(
    function: F | None = None,
    /,
    *,
    queue: str | None = None,
    retries: int | None = None,
    invisibility: timedelta | None = None,
    auto_extend: bool | None = None,
) -> F | Callable[[F], F]:
    """Lets workers run this function, static or class method, and gives defaults for its tasks.

    On a method of a service it gives defaults only: that workers may run those follows from the service. It may stand
    above or below `@staticmethod` and `@classmethod`. ConfigurationError on anything else, or for impossible defaults.
    """
    mark = Background(queue=queue, retries=retries, invisibility=invisibility, auto_extend=auto_extend)

    def put(marked: F) -> F:
        plain = plain_function(marked)
        if plain is None:
            raise ConfigurationError(f"@background on {marked!r}: it marks functions and methods, written with `def`")
        setattr(plain, _MARK, mark)
        return marked

    return put if function is None else put(function)


def plain_function(method: object) -> FunctionType | None:
    """A function itself, or the one inside a static or class method."""
    plain = cast("Any", method).__func__ if isinstance(method, staticmethod | classmethod) else method
    return plain if isinstance(plain, FunctionType) else None


def mark_of(function: object) -> Background | None:
    """What the function is marked with; None when it is not."""
    mark = getattr(function, _MARK, None)
    return mark if isinstance(mark, Background) else None
