"""`@background`: the mark of functions that workers may run, and the defaults of their tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import FunctionType
from typing import Any, TypeVar, cast, overload

from taskproc.errors import ConfigurationError, TaskProcessorError
from taskproc.names import parse
from taskproc.options import Options

__all__ = ["PLAIN", "Background", "background", "mark_of", "place_of", "plain_function", "renamed"]

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__taskproc_background__"
_places: dict[str, str] = {}  # of what is marked with a name or aliases: where it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What `@background(…)` says; `on(…)` wins over it."""

    queue: str | None = None
    retries: int | None = None
    invisibility: timedelta | None = None
    auto_extend: bool | None = None
    name: str | None = None
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.names:
            if not isinstance(name, str) or parse(name) is None:
                raise ConfigurationError(
                    f"@background(…): {name!r} is no name of a call: write it as module:function or module:Class.method"
                )
        try:
            Options(
                queue=self.queue, retries=self.retries, invisibility=self.invisibility, auto_extend=self.auto_extend
            )
        except TaskProcessorError as error:
            raise ConfigurationError(f"@background(…): {error}") from None

    @property
    def names(self) -> tuple[str, ...]:
        """All under which it is to be found beside its place."""
        return self.aliases if self.name is None else (self.name, *self.aliases)


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
    name: str | None = None,
    aliases: Sequence[str] = (),
) -> Callable[[F], F]: ...
def background(
    function: F | None = None,
    /,
    *,
    queue: str | None = None,
    retries: int | None = None,
    invisibility: timedelta | None = None,
    auto_extend: bool | None = None,
    name: str | None = None,
    aliases: Sequence[str] = (),
) -> F | Callable[[F], F]:
    """Lets workers run this function, static or class method, and gives defaults for its tasks.

    On a method of a service it gives defaults only: that workers may run those follows from the service. It may stand
    above or below `@staticmethod` and `@classmethod`. ConfigurationError on anything else, or for impossible defaults.

    For code that is moved or renamed: workers also find it under its `aliases`, the names it had, as
    `["app.mail:send", "app.mail:Mailer.send"]`. `name` is written into tasks instead of where the function is now;
    with its old place as name, workers that run the code from before the move know new tasks too.
    """
    mark = Background(
        queue=queue,
        retries=retries,
        invisibility=invisibility,
        auto_extend=auto_extend,
        name=name,
        aliases=(aliases,) if isinstance(aliases, str) else tuple(aliases),
    )

    def put(marked: F) -> F:
        plain = plain_function(marked)
        if plain is None:
            raise ConfigurationError(f"@background on {marked!r}: it marks functions and methods, written with `def`")
        for known_as in mark.names:
            _lead(known_as, place_of(plain))
        setattr(plain, _MARK, mark)
        return marked

    return put if function is None else put(function)


def plain_function(method: object) -> FunctionType | None:
    """A function itself, or the one inside a static or class method."""
    plain = cast("Any", method).__func__ if isinstance(method, staticmethod | classmethod) else method
    return plain if isinstance(plain, FunctionType) else None


def place_of(function: Callable[..., Any]) -> str:
    """Where a function is defined, as the name of a call."""
    return f"{function.__module__}:{function.__qualname__}"


def renamed(call: str) -> str:
    """Where that is now which is marked with this name or alias; empty if nothing is."""
    return _places.get(call, "")


def _lead(name: str, place: str) -> None:
    """Lets a name lead to a place; ConfigurationError when it leads to another. What runs as a script may be imported
    under its own name too, which is the one that others know.
    """
    known = _places.get(name, place)
    if known != place and not known.startswith("__main__:"):
        if place.startswith("__main__:"):
            return
        raise ConfigurationError(
            f"@background(…): {name!r} is a name of {known} and of {place}: it can lead to one only"
        )
    _places[name] = place


def mark_of(function: object) -> Background | None:
    """What the function is marked with; None when it is not."""
    mark = getattr(function, _MARK, None)
    return mark if isinstance(mark, Background) else None
