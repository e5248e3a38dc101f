"""Lets everything under a prefix take the time to be later than Redis says: for this process, and for tests only.

All scripts ask one function for the time. `install` puts another in its place, which adds what the hash `P:meta` has
under `ahead`; a prefix without it stays in the present. What the library ships never looks there.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any, cast

from taskproc.looking import Looking
from taskproc.scripts import Script, scripts

__all__ = ["AHEAD", "ahead_of", "install", "uninstall"]

AHEAD = "ahead"
"""Field of `P:meta`: milliseconds."""

ASKS = re.compile(r"^local function server_time\(\)\n.*?^end$", re.MULTILINE | re.DOTALL)

_originals: dict[str, Script] = {}
_real_now = Looking.now


def ahead_of(source: str) -> str:
    """The script, with the time of the test."""
    changed, count = ASKS.subn(lambda _: _asked(), source)
    if count != 1:
        raise RuntimeError(
            "a script of this version of taskproc does not ask for the time where the kit thinks it does"
        )
    return changed


@cache
def _asked() -> str:
    text = files("taskproc.testing").joinpath("server_time.lua").read_text("utf-8")
    return text.partition("\n")[2].strip()


def install() -> None:
    """From now on each processor of this process, connected or not, has the time of its prefix."""
    known = cast("dict[str, Script]", scripts())  # made once, and shared by all that send scripts
    for name, script in known.items():
        if name not in _originals:
            source = ahead_of(script.source)
            sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
            _originals[name] = script
            known[name] = replace(script, source=source, sha=sha)
    cast("Any", Looking).now = _now


def uninstall() -> None:
    """Undoes it: every prefix is in the present again."""
    cast("dict[str, Script]", scripts()).update(_originals)
    _originals.clear()
    cast("Any", Looking).now = _real_now


async def _now(looking: Looking) -> int:
    inside = cast("Any", looking)
    ahead = await inside._command("HGET", inside._keys.meta, AHEAD)  # noqa: SLF001
    return await _real_now(looking) + int(ahead or 0)
