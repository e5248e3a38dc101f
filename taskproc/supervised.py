"""Keeps a background duty going: an error of one turn is logged, never the end of it, nor of any other."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping

from redis.exceptions import RedisError

from taskproc.errors import TaskProcessorError
from taskproc.failure import log_error, message_of, one_line

__all__ = ["Duties", "Duty", "end", "supervised"]

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 2.0
ANEW_AFTER = 0.05  # seconds: who cancels everything may be about to end the duties too

Duty = Callable[[], Awaitable[None]]
"""One turn of a background duty."""


class Duties:
    """Keeps duties going until `end()`; one that code which does not own it has cancelled begins anew."""

    def __init__(self, duties: Mapping[str, Duty]) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False
        for name, duty in duties.items():
            self._begin(name, duty)

    def _begin(self, name: str, duty: Duty) -> None:
        def begin_anew() -> None:
            if not self._ended:
                logger.error("%s was cancelled by code that does not own it, and begins anew", name)
                self._begin(name, duty)

        def on_end(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not self._ended:
                task.get_loop().call_later(ANEW_AFTER, begin_anew)

        task = asyncio.create_task(supervised(name, duty), name=f"taskproc {name}")
        self._tasks.add(task)
        task.add_done_callback(on_end)

    async def end(self) -> None:
        """Ends the duties, and returns when they have ended."""
        self._ended = True
        await end(*self._tasks)


async def supervised(name: str, duty: Duty) -> None:
    """Runs `duty` again and again until cancelled, with growing pauses while it fails."""
    failures = 0
    while True:
        try:
            await duty()
            failures = 0
        except (RedisError, OSError, TaskProcessorError) as error:
            failures += 1
            logger.warning("%s: %s: %s", name, type(error).__name__, one_line(message_of(error)))
        except Exception as error:  # noqa: BLE001 - a duty has no end
            failures += 1
            log_error(logger, error, "%s failed and goes on", name)
        if failures:
            await asyncio.sleep(min(0.1 * 2 ** min(failures, 10), LONGEST_PAUSE) * random.uniform(0.5, 1))


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancels tasks until they have ended: Python 3.11 loses a cancel that comes while the driver sends a command."""
    pending = set(tasks)
    for _ in range(20):
        if not pending:
            return
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.05)
