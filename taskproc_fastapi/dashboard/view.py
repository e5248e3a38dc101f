"""A viewer's request: what is asked for, who asks, and how to link from the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode

from starlette.requests import Request

from taskproc import TaskProcessor
from taskproc_fastapi.dashboard.access import DashboardRights, Refused
from taskproc_fastapi.dashboard.redaction import Redact

__all__ = ["MOST_ENTRIES_SKIPPED", "MOST_SKIPPED", "PAGE", "Page", "Remembered", "Shared", "View", "base_of"]

T = TypeVar("T")

PAGE = 25
"""Rows on a page."""
MOST_SKIPPED = 1_000
"""How far lists of tasks go: further back Redis would have to look at many."""
MOST_REMEMBERED = 1_000
MOST_ENTRIES_SKIPPED = 100_000
"""How far those of batches and schedules go, which are indexed."""


class Remembered:
    """Answers that are dear, kept for a while."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, object]] = {}

    async def get(self, name: str, seconds: float, make: Callable[[], Awaitable[T]]) -> T:
        """What `make` gave less than so many seconds ago, or gives now."""
        made, value = self._kept.get(name, (0.0, None))
        if name not in self._kept or monotonic() - made > seconds:
            value = await make()
            if len(self._kept) >= MOST_REMEMBERED:
                self._kept.clear()
            self._kept[name] = monotonic(), value
        return cast("T", value)

    def forget(self) -> None:
        """After an act everything is looked at anew."""
        self._kept.clear()


@dataclass(slots=True, kw_only=True)
class Shared:
    """What the viewers of one dashboard have in common."""

    depth: int
    """How many parts the path of the dashboard has."""
    redact: Redact
    streams: int = 0
    """How many are open."""
    remembered: Remembered = field(default_factory=Remembered)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One request of one viewer."""

    request: Request
    processor: TaskProcessor
    rights: DashboardRights
    base: str
    """The path of the dashboard as the browser sees it, quoted, without a slash at its end."""
    shared: Shared

    @property
    def tenant(self) -> str | None:
        return self.rights.tenant

    @property
    def operates(self) -> bool:
        return self.rights.operate

    @property
    def name(self) -> str:
        """That of the app, if it has one of its own."""
        title: str = self.request.app.title
        return "Tasks" if title == "FastAPI" else title

    @property
    def here(self) -> str:
        """Where to come back to."""
        path = quote(_whole_path(self.request.scope))
        query = self.request.url.query
        return f"{path}?{query}" if query else path

    @property
    def place(self) -> str:
        """The page that is asked for."""
        return quote(_whole_path(self.request.scope))[len(self.base) :].strip("/")

    def url(self, page: str = "", **parameters: object) -> str:
        """A page of the dashboard; parameters that are None are left out."""
        query = urlencode({name: str(value) for name, value in parameters.items() if value is not None})
        path = f"{self.base}/{page}" if page else self.base or "/"
        return f"{path}?{query}" if query else path

    def again(self, **parameters: object) -> str:
        """This page with other parameters."""
        kept: dict[str, object] = dict(self.request.query_params)
        return self.url(self.place, **(kept | parameters))

    def text(self, name: str, default: str | None = None) -> str:
        """A parameter of the query."""
        given = self.request.query_params.get(name, default)
        if given is None:
            raise Refused(422, "Something is missing", f"This page needs the parameter “{name}”.")
        if len(given) > 2_000:  # noqa: PLR2004 - no name and no search is longer
            raise Refused(422, "That is too long", f"The parameter “{name}” is longer than anything here.")
        return given

    def one_of(self, name: str, choices: tuple[str, ...]) -> str:
        """A parameter that is one of the choices; without it the first one."""
        given = self.text(name, choices[0])
        if given not in choices:
            raise Refused(422, "There is no such view", f"“{name}” is one of {', '.join(choices)}.")
        return given

    def skip(self, most: int = MOST_SKIPPED) -> int:
        """How many rows are passed over."""
        given = self.text("skip", "0")
        if not (given.isascii() and given.isdigit() and len(given) < 10 and int(given) <= most):  # noqa: PLR2004
            what = f"“skip” is a whole number from 0 to {most:,}: lists are not shown further than that."
            raise Refused(422, "That is no page", what)
        return int(given)

    def may_see(self, tenant: str) -> bool:
        return self.rights.tenant in (None, tenant)

    def need_all_tenants(self) -> None:
        """Refuses viewers that see one tenant only."""
        if self.rights.tenant is not None:
            raise Refused(403, "Not for you", "This is about all tenants, and you may see one of them.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page shows: a template, and the data that it reads as `page`."""

    template: str
    title: str
    data: object = None
    status: int = 200
    lives: bool = True
    """It is kept up to date while it is shown."""


def base_of(scope: Any, depth: int) -> str:
    """The quoted path of the dashboard, whose own path has `depth` parts, as the browser sees it."""
    root, path = scope.get("root_path", "").rstrip("/"), _route_path(scope)
    return quote(root + "/".join(path.split("/")[: depth + 1])).rstrip("/")


def _whole_path(scope: Any) -> str:
    return f"{scope.get('root_path', '').rstrip('/')}{_route_path(scope)}"


def _route_path(scope: Any) -> str:
    """The path below `root_path`, which some servers leave in front of it and some proxies cut off."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and (path == root or path.startswith(f"{root}/")) else path
