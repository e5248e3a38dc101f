"""The routes of a dashboard. Annotations are evaluated as they are met here, for those of nested functions."""

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from taskproc import (
    ConfigurationError,
    InvalidFilter,
    InvalidName,
    StorageUnavailable,
    TaskProcessor,
    TaskProcessorError,
)
from taskproc_fastapi.dashboard.access import DashboardRights, Refused, check_same_site
from taskproc_fastapi.dashboard.acts import ACTS, Act, carry_out
from taskproc_fastapi.dashboard.assets import asset, assets
from taskproc_fastapi.dashboard.live import stream, wants_stream
from taskproc_fastapi.dashboard.mount import Rights
from taskproc_fastapi.dashboard.pages import PAGES, search
from taskproc_fastapi.dashboard.redaction import Redact
from taskproc_fastapi.dashboard.rendering import answer, main_of, refusal, refused, secure
from taskproc_fastapi.dashboard.view import Page, Shared, View, base_of
from taskproc_fastapi.depends import get_task_processor

__all__ = ["router_of"]

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Look = Callable[[View], Awaitable[Page]]


def router_of(prefix: str, rights: Rights, redact: Redact) -> APIRouter:
    """Everything below `prefix`, for viewers who have these rights."""
    shared = Shared(depth=prefix.count("/"), redact=redact)

    async def open_view(
        request: Request,
        granted: Annotated[object, Depends(rights)],
        processor: Annotated[TaskProcessor, Depends(get_task_processor)],
    ) -> View:
        base = base_of(request.scope, shared.depth)
        return View(request=request, processor=processor, rights=_checked(granted, rights), base=base, shared=shared)

    router = APIRouter(route_class=_route_class(shared), include_in_schema=False)
    for name, look in PAGES.items():
        paths = [f"/{name}"] if name else ["/"] if not prefix else ["", "/"]
        for path in paths:
            router.add_api_route(path, _page(look, open_view), name=f"dashboard {name}", methods=["GET"])
    router.add_api_route("/search", _search(open_view), name="dashboard search", methods=["GET"])
    for act in ACTS.values():
        router.add_api_route(
            f"/act/{act.name}", _act(act, open_view), name=f"dashboard act {act.name}", methods=["POST"]
        )
    for name in assets():
        router.add_api_route(f"/static/{name}", _asset(name), name=f"dashboard static {name}", methods=["GET"])
    return router


def _checked(granted: object, rights: Rights) -> DashboardRights:
    if not isinstance(granted, DashboardRights):
        name = getattr(rights, "__qualname__", rights)
        raise ConfigurationError(f"rights={name} returned {granted!r}: it must return DashboardRights(…)")
    return granted


OpenView = Callable[..., Awaitable[View]]


def _page(look: Look, open_view: OpenView) -> Callable[..., Awaitable[Response]]:
    async def show(view: Annotated[View, Depends(open_view)]) -> Response:
        if wants_stream(view):

            async def render() -> str:
                return await main_of(view, await look(view))

            return await _told(view, stream(view, render))
        return await _told(view, _answer(view, look))

    return show


async def _answer(view: View, look: Callable[[View], Awaitable[Page | Response]]) -> Response:
    found = await look(view)
    return found if isinstance(found, Response) else await answer(view, found)


async def _told(view: View, answering: Awaitable[Response]) -> Response:
    """What is answered; or, among the other pages, why it is refused."""
    try:
        return await answering
    except (*ERRORS, ConfigurationError) as error:
        return refused(view, _refusal_of(error))


def _search(open_view: OpenView) -> Callable[..., Awaitable[Response]]:
    async def find(view: Annotated[View, Depends(open_view)]) -> Response:
        return await _told(view, _answer(view, search.find))

    return find


def _act(act: Act, open_view: OpenView) -> Callable[..., Awaitable[Response]]:
    async def do(view: Annotated[View, Depends(open_view)]) -> Response:
        check_same_site(view.request)
        return await _told(view, carry_out(act, view))

    return do


def _asset(name: str) -> Callable[[], Awaitable[Response]]:
    async def serve() -> Response:
        found = asset(name)
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response(found.content, media_type=found.kind, headers=headers)

    return serve


ERRORS = (Refused, InvalidName, InvalidFilter, StorageUnavailable)


def _refusal_of(error: Refused | TaskProcessorError) -> Refused:
    match error:
        case Refused():
            return error
        case InvalidName():
            return Refused(422, "That is no name", str(error))
        case InvalidFilter():
            return Refused(422, "That is no filter", str(error))
        case ConfigurationError():
            logger.error("the dashboard: %s", error)  # which names the server: the page is not for operators only
            return Refused(500, "Redis refuses this", "The log of the app says why.")
        case _:
            return Refused(503, "Redis does not answer", "Nothing can be shown or done now. Try again soon.")


def _route_class(shared: Shared) -> type[APIRoute]:
    """Routes that answer with our headers, and with a page when something is refused. What the app's own dependencies
    raise is left to the app.
    """

    class DashboardRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                try:
                    return secure(await handle(request))
                except ERRORS as error:
                    return refusal(_refusal_of(error), base_of(request.scope, shared.depth))

            return guarded

    return DashboardRoute
