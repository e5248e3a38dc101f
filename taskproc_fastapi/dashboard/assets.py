"""The files that come with the pages: one style, one script, an icon."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["Asset", "asset", "assets"]

KINDS = {
    "dashboard.css": "text/css; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file, and what tells it from its other versions."""

    content: bytes
    kind: str
    version: str


@cache
def asset(name: str) -> Asset:
    content = (files("taskproc_fastapi.dashboard") / "static" / name).read_bytes()
    return Asset(content, KINDS[name], hashlib.sha256(content).hexdigest()[:12])


def assets() -> list[str]:
    return list(KINDS)
