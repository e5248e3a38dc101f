"""Loads the Lua scripts: each file of `lua/` with the shared `_*.lua` in front of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["Script", "scripts"]

SHARED = ("_prelude", "_task", "_queue", "_pause", "_batch", "_end", "_schedule", "_done")
LAST_SHARED: Mapping[str, str] = {"beat": "_prelude", "enqueue": "_queue", "exchange": "_end", "wake": "_queue"}
"""What is run most gets no more in front than it needs: Redis runs those lines anew each time."""
PARTS: Mapping[str, Sequence[str]] = {"exchange": ("_settle",)}
"""Of scripts that would be too long."""


@dataclass(frozen=True, slots=True)
class Script:
    """One transition: its source, and the SHA-1 by which Redis knows it."""

    name: str
    shared: Sequence[str]
    """The files in front of its own."""
    source: str
    sha: str


@cache
def scripts() -> Mapping[str, Script]:
    """All scripts by name."""
    folder = files("taskproc").joinpath("lua")
    texts = {
        file.name.removesuffix(".lua"): file.read_text("utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".lua")
    }
    return {name: _script(name, texts) for name in sorted(texts) if not name.startswith("_")}


def _script(name: str, texts: Mapping[str, str]) -> Script:
    shared = (*SHARED[: SHARED.index(LAST_SHARED.get(name, SHARED[-1])) + 1], *PARTS.get(name, ()))
    source = "\n".join(texts[each] for each in (*shared, name))
    return Script(name, shared, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
