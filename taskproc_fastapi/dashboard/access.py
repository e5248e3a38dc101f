"""Who may see and do what, and which requests are heard at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.requests import HTTPConnection, Request

from taskproc.names import tenant_or_any

__all__ = ["DashboardRights", "Refused", "check_same_site", "rights_of_everybody"]

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardRights:
    """What a viewer of a dashboard may see and do."""

    operate: bool = False
    """Whether the viewer may pause, cancel, retry, discard and the like."""
    tenant: str | None = None
    """The only tenant whose things the viewer sees and acts on; None: those of all."""
    user: str = ""
    """Who it is, for the audit list."""

    def __post_init__(self) -> None:
        tenant_or_any(self.tenant)


class Refused(Exception):
    """A request that is answered by a page which says why it is not carried out."""

    def __init__(self, status: int, title: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.title = title
        self.message = message


def _address(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else ""


def rights_of_everybody(address: Annotated[str, Depends(_address)]) -> DashboardRights:
    """Everything; known by the address that the request came from."""
    return DashboardRights(operate=True, user=address)


def check_same_site(request: Request) -> None:
    """Refuses what a page of another site may have sent."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise _cross_site(f"it comes from another site (Sec-Fetch-Site: {site[:40]})")
        return
    origin = request.headers.get("origin")
    if origin is None:
        raise _cross_site(
            "it says neither by Sec-Fetch-Site nor by Origin where it comes from. "
            "A script sends the header Sec-Fetch-Site: same-origin"
        )
    if _host(origin) != _host(f"{request.url.scheme}://{request.headers.get('host', '')}"):
        raise _cross_site(
            f"it comes from {origin[:200]}, but was sent to {request.headers.get('host', '')[:200]}. If these are the "
            "same to you, a proxy changes the header Host: let it pass on what the browser sent"
        )


def _host(origin: str) -> tuple[str, int | None]:
    """Host and port; what is no origin, as `null`, equals no host. The scheme is not compared: behind a proxy that
    speaks TLS the app may not know it.
    """
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return (f"not a host: {origin}", None)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        return (f"not a host: {origin}", None)
    return parts.hostname, None if port in (None, *DEFAULT_PORTS.values()) else port


def _cross_site(why: str) -> Refused:
    return Refused(403, "Refused", f"This request was not carried out, because {why}.")
