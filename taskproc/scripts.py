"""Loads the Lua scripts: each file of `lua/` with the shared `_*.lua` in front of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["Script", "scripts"]

SHARED = ("_prelude", "_task", "_queue", "_batch", "_end", "_schedule")


@dataclass(frozen=True, slots=True)
class Script:
    """One transition: its source, and the SHA-1 by which Redis knows it."""

    name: str
    source: str
    sha: str


@cache
def scripts() -> Mapping[str, Script]:
    """All scripts by name."""
    folder = files("taskproc").joinpath("lua")
    shared = "\n".join(folder.joinpath(f"{name}.lua").read_text("utf-8") for name in SHARED)
    names = sorted(file.name.removesuffix(".lua") for file in folder.iterdir() if file.name.endswith(".lua"))
    return {
        name: _script(name, shared + "\n" + folder.joinpath(f"{name}.lua").read_text("utf-8"))
        for name in names
        if name not in SHARED
    }


def _script(name: str, source: str) -> Script:
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
