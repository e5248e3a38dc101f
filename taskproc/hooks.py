"""Calls the hooks of the settings: one that raises or takes too long is logged and changes nothing."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

__all__ = ["call_hook"]

logger = logging.getLogger(__name__)


async def call_hook(hook: Callable[..., Any], patience: timedelta, *args: Any) -> Any:
    """What the hook returns; None when it raised or took longer than `patience`."""
    name = getattr(hook, "__qualname__", repr(hook))
    try:
        async with asyncio.timeout(patience.total_seconds()):
            result = hook(*args)
            return await result if inspect.isawaitable(result) else result
    except TimeoutError:
        logger.error("hook %s took longer than %s and was given up", name, patience)  # noqa: TRY400 - it says it all
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        logger.exception("hook %s raised", name)
    except BaseException:
        logger.exception("hook %s raised", name)
    return None
