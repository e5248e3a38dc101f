"""Calls the hooks of the settings: one that raises or takes too long is logged and changes nothing."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any

__all__ = ["call_hook"]

logger = logging.getLogger(__name__)


async def call_hook(hook: Callable[..., Any], timeout: float, *args: Any) -> Any:
    """What the hook returns; None when it raised or passed `timeout` seconds."""
    name = getattr(hook, "__qualname__", repr(hook))
    try:
        async with asyncio.timeout(timeout):
            result = hook(*args)
            return await result if inspect.isawaitable(result) else result
    except TimeoutError:
        logger.error("hook %s took longer than %g s and was given up", name, timeout)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        logger.exception("hook %s raised", name)
    except BaseException:
        logger.exception("hook %s raised", name)
    return None
