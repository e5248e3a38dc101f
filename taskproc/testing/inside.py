"""What the kit needs of a processor's insides, all in this one place."""

from __future__ import annotations

import asyncio
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from taskproc.driver import encode
from taskproc.errors import ConfigurationError
from taskproc.testing.ahead import ahead_of

if TYPE_CHECKING:
    from taskproc.keys import Keys
    from taskproc.processor import TaskProcessor
    from taskproc.storage import Storage

__all__ = ["bring_schedules", "check_loop", "keys_of", "run_script", "storage_of", "worker_id"]


def storage_of(processor: TaskProcessor) -> Storage:
    """NotConnected when the processor is not."""
    return cast("Storage", cast("Any", processor)._storage())  # noqa: SLF001


def keys_of(processor: TaskProcessor) -> Keys:
    return storage_of(processor).keys


def worker_id(processor: TaskProcessor) -> str:
    """The worker that runs in this processor; ConfigurationError if none does."""
    worker = cast("Any", processor)._worker  # noqa: SLF001
    if worker is None:
        raise ConfigurationError("no worker runs in this processor: start run_until_idle() or run() before")
    return str(worker.id)


async def bring_schedules(processor: TaskProcessor) -> None:
    """Makes Redis hold what the code declares, as a worker does when it starts."""
    inside = cast("Any", processor)
    declared = list(inside._declared.values())  # noqa: SLF001
    if declared and not processor.running:
        await inside._opened().schedules.reconcile(declared)  # noqa: SLF001


def check_loop(processor: TaskProcessor, function: str) -> None:
    """ConfigurationError when the processor is connected in another event loop than this one."""
    storage_of(processor)
    if processor.loop is not asyncio.get_running_loop():
        raise ConfigurationError(
            f"{function}() was called in another event loop than that of the processor: in a test that is not async "
            f"call taskproc.testing.blocking.{function}(), or await it where the processor was connected"
        )


async def run_script(processor: TaskProcessor, name: str, keys: list[str], **arg: object) -> Any:
    """What a script of this folder replies; it may be sent twice, as when a reply is lost."""
    driver, meta, none = storage_of(processor).driver, keys_of(processor).meta, keys_of(processor).none
    return await driver.command("EVAL", _source(name), len(keys) + 2, meta, *keys, none, encode(arg))


@cache
def _source(name: str) -> str:
    prelude = files("taskproc").joinpath("lua/_prelude.lua").read_text("utf-8")
    own = files("taskproc.testing").joinpath(f"{name}.lua").read_text("utf-8")
    return ahead_of(f"{prelude}\n{own}")
