"""Calls the hooks of the settings: one that raises or takes too long is logged and changes nothing."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from taskproc.failure import log_error, one_line

__all__ = ["call_hook"]

logger = logging.getLogger(__name__)


async def call_hook(hook: Callable[..., Any], patience: timedelta, *args: Any) -> Any:
    """What the hook returns; None when it raised or took longer than `patience`."""
    name = one_line(str(getattr(hook, "__qualname__", type(hook).__qualname__)))
    try:
        async with asyncio.timeout(patience.total_seconds()):
            result = hook(*args)
            return await result if inspect.isawaitable(result) else result
    except TimeoutError:
        logger.error("hook %s took longer than %s and was given up", name, patience)  # noqa: TRY400 - it says it all
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        log_error(logger, error, "hook %s raised", name)
    except BaseException as error:  # noqa: BLE001 - it changes nothing
        log_error(logger, error, "hook %s raised", name)
    return None
