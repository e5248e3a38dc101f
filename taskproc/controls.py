"""What somebody tells the system by hand: pauses, drains, and the list of such acts; the part of `Storage` for it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskproc.driver import Driver
    from taskproc.keys import Keys

__all__ = ["EVERYTHING", "Controls", "new_request"]

EVERYTHING = "*"
"""What is paused: this, `queue:name` or `tenant:name`."""
ACTS_KEPT = 1_000


class Controls:
    """Each method is repeated safely when a reply is lost; a copy of a request that comes late does nothing."""

    keys: Keys
    driver: Driver

    async def pause(
        self,
        what: str = EVERYTHING,
        *,
        paused: bool,
        reason: str = "",
        by: str = "",
        until: int | None = None,
        length: int | None = None,
    ) -> None:
        """Stops handing out tasks, until an instant or for a length of time if given, or goes on with it."""
        change, done = -1, b""
        arg = {"what": what, "paused": paused, "reason": reason, "by": by, "until": until, "for": length}
        while not done:
            change, done = await self.driver.run("pause", (self.keys.pauses,), {**arg, "change": change})

    async def drain(self, worker: str, *, drain: bool) -> bool:
        """Lets a worker fetch no more, or go on with it; False when it is unknown."""
        arg = {"worker": worker, "drain": drain, "request": new_request()}
        return bool(await self.driver.run("drain", (self.keys.workers,), arg))

    async def ask_stacks(self, worker: str) -> int | None:
        """Asks a worker what it is doing; the number of the question, or None when the worker is unknown."""
        asked = await self.driver.run("ask_stacks", (self.keys.workers,), {"worker": worker})
        return int(asked) if asked else None

    async def pause_schedule(self, id_: str, tenant: str | None, *, paused: bool) -> bool:
        """Lets a schedule start no cycles, or go on with it; False when it is unknown or another tenant's."""
        arg = {"id": id_, "tenant": tenant, "paused": paused, "request": new_request()}
        return bool(await self.driver.run("pause_schedule", arg=arg))

    async def record_act(self, act: str, target: str, by: str, tenant: str | None, detail: str) -> None:
        """Adds an entry to the list of acts, of which the last 1,000 are kept."""
        entry = {"act": act, "target": target, "by": by, "tenant": tenant, "detail": detail}
        arg = {"entry": entry, "keep": ACTS_KEPT, "request": new_request()}
        await self.driver.run("record_act", (self.keys.audit,), arg)


def new_request() -> str:
    """A name by which a repeat of a request is known."""
    return uuid.uuid4().hex[:16]
