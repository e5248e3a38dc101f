"""Keeps a background duty going: an error of one turn is logged, never the end of it, nor of any other."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

from taskproc.errors import TaskProcessorError

__all__ = ["end", "supervised"]

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 2.0


async def supervised(name: str, duty: Callable[[], Awaitable[None]]) -> None:
    """Runs `duty` again and again until cancelled, with growing pauses while it fails."""
    failures = 0
    while True:
        try:
            await duty()
            failures = 0
        except (RedisError, OSError, TaskProcessorError) as error:
            failures += 1
            logger.warning("%s: %s: %s", name, type(error).__name__, error)
        except Exception:
            failures += 1
            logger.exception("%s failed and goes on", name)
        if failures:
            await asyncio.sleep(min(0.1 * 2 ** min(failures, 10), LONGEST_PAUSE) * random.uniform(0.5, 1))


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancels tasks until they have ended: Python 3.11 loses a cancel that comes while the driver sends a command."""
    pending = set(tasks)
    for _ in range(20):
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.05)
        if not pending:
            return
