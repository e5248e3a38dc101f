"""Pages as HTML, and the headers that everything is answered with."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from taskproc.models import PauseInfo
from taskproc_fastapi.dashboard import formats
from taskproc_fastapi.dashboard.access import Refused
from taskproc_fastapi.dashboard.assets import asset
from taskproc_fastapi.dashboard.view import Page, View

__all__ = ["LIVE", "answer", "main_of", "refusal", "refused", "say", "secure", "stopping"]

LIVE = "x-taskproc-live"
"""The header of a request of the script, for a page that is shown already."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with less, browsers would not say in `Origin` where a form comes from
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
SAID = "taskproc_said"
WRONG = "\x00"
LONGEST_SAID = 1_000  # characters
FILTERS = {name: getattr(formats, name) for name in formats.__all__}


def _version(name: str) -> str:
    return asset(name).version


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("taskproc_fastapi.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(FILTERS, version=_version)
    return environment


def secure(response: Response) -> Response:
    """With the headers that keep what is shown among those who may see it."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")
    return response


async def answer(view: View, page: Page) -> Response:
    """The whole page."""
    return _whole(view, page, await main_of(view, page))


def refused(view: View, refusal: Refused) -> Response:
    """Likewise, one that says why there is no other; it asks Redis nothing."""
    page = Page(template="refusal.html", title=refusal.title, status=refusal.status, lives=False)
    return _whole(view, page, _templates().get_template(page.template).render(refusal=refusal, back=None))


def _whole(view: View, page: Page, main: str) -> Response:
    said = None if LIVE in view.request.headers else _said(view.request)
    inner = Markup(main)  # noqa: S704 - made by the templates, which have escaped what is in it
    html = _templates().get_template("layout.html").render(view=view, page=page, said=said, inner=inner)
    response = HTMLResponse(html, page.status)
    if said is not None:
        response.delete_cookie(SAID, path=view.base or "/")
    return response


async def main_of(view: View, page: Page) -> str:
    """What of the page is alive."""
    stopped = stopping(view, await view.processor.get_pauses())
    return _templates().get_template(page.template).render(view=view, page=page.data, stopped=stopped)


def stopping(view: View, pauses: Sequence[PauseInfo]) -> PauseInfo | None:
    """The pause that stops all that the viewer sees; one of everything is not explained to viewers of one tenant."""
    found = [each for each in pauses if each.queue is None and each.tenant in (None, view.tenant)]
    if not found or view.tenant is None or found[0].tenant is not None:
        return found[0] if found else None
    return replace(found[0], reason="", by="")


@dataclass(frozen=True, slots=True)
class Said:
    """What a page says once, above all else."""

    message: str
    wrong: bool
    """It is that something was not done."""


def say(response: Response, view: View, message: str, *, wrong: bool = False) -> None:
    """Lets the next page say something, once; `wrong`: that something was not done."""
    value = urlsafe_b64encode(f"{WRONG if wrong else ''}{message[:LONGEST_SAID]}".encode()).decode()
    secure_only = view.request.url.scheme == "https"
    response.set_cookie(
        SAID, value, max_age=60, path=view.base or "/", httponly=True, samesite="strict", secure=secure_only
    )


def _said(request: Request) -> Said | None:
    value = request.cookies.get(SAID, "")
    try:
        said = urlsafe_b64decode(value.encode()).decode()
    except ValueError:
        return None
    message = said.removeprefix(WRONG)[:LONGEST_SAID]
    return Said(message, said.startswith(WRONG)) if message else None


def refusal(refused: Refused, base: str) -> Response:
    """The same for who has no view of the dashboard."""
    template = _templates().get_template("refused.html")
    return secure(HTMLResponse(template.render(refusal=refused, back=base or "/", base=base), refused.status))
