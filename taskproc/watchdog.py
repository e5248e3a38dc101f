"""Says in the log which task blocks the event loop, and where, while it does."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from taskproc.failure import one_line
from taskproc.frames import of_users_code, where
from taskproc.stacks import Stacks

__all__ = ["Watchdog"]

logger = logging.getLogger(__name__)

BLOCKED_AFTER = 1.0  # seconds
QUIET_FOR = 60.0  # seconds after a warning until there is another about the same call
MOST_CALLS = 1_000  # of which it is known when they were warned about


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    expected: float
    """When the loop was to come back: by this a block is known."""
    what: str
    fields: dict[str, str | None]
    told: bool


class Watchdog:
    """Looks on from a thread; `look()` is to be called a few times a second."""

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks
        self._block: _Block | None = None
        self._told_at: dict[str, float] = {}
        self._looked, self._used = time.monotonic(), time.process_time()

    def look(self) -> None:
        """Warns when something has blocked the event loop for more than a second, and when that is over."""
        stood_still = self._stood_still()
        expected, late = self._stacks.lag.expected, self._stacks.lag.late()
        if self._block is not None and expected != self._block.expected:
            self._end(self._block)
        if self._block is None and expected is not None and late >= BLOCKED_AFTER and not stood_still:
            self._begin(expected, late)

    def _stood_still(self) -> bool:
        """Whether since the last look the whole process did, as a paused machine does: nothing is to blame then."""
        looked, used = self._looked, self._used
        self._looked, self._used = time.monotonic(), time.process_time()
        passed = self._looked - looked
        return passed > BLOCKED_AFTER and self._used - used < passed / 2

    def _begin(self, expected: float, late: float) -> None:
        holder = self._stacks.holder()
        if holder is None or self._stacks.lag.expected != expected:  # it is over already: that runs by now is innocent
            return
        place = where(of_users_code(holder.spots))
        ctx = holder.ctx
        what = f"task {one_line(ctx.task_id)} ({one_line(ctx.call or ctx.topic)})" if ctx else "what is no task"
        told = self._may_tell(ctx.call or ctx.topic if ctx else place)
        fields = ctx.log_fields if ctx else {}
        self._block = _Block(expected=expected, what=what, fields=fields, told=told)
        if told:
            said = "%s has blocked the event loop for %.1f s, at %s: nothing else runs there meanwhile"
            logger.warning(said, what, late, one_line(place), extra=fields)

    def _end(self, block: _Block) -> None:
        self._block = None
        expected, late = self._stacks.lag.long or (0.0, 0.0)
        if block.told and expected == block.expected:
            logger.warning("%s blocked the event loop for %.1f s", block.what, late, extra=block.fields)

    def _may_tell(self, about: str) -> bool:
        now = time.monotonic()
        if now - self._told_at.get(about, -QUIET_FOR) < QUIET_FOR:
            return False
        if len(self._told_at) >= MOST_CALLS:
            self._told_at.clear()
        self._told_at[about] = now
        return True
