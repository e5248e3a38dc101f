"""Runs the worker of an app, or of a processor, until a signal ends it."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from pydantic import ValidationError

from taskproc.errors import ConfigurationError
from taskproc.processor import TaskProcessor
from taskproc.settings import TaskProcessorSettings

__all__ = ["Overrides", "Target", "load", "processor_of", "serve"]

logger = logging.getLogger(__name__)

ONE_PRESS = 0.3  # seconds: of Ctrl-C, which the terminal sends, and the reloader that heard it too

Target = TaskProcessor | Any
"""A processor, or an ASGI app whose `state.task_processor` is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the command line says instead of the settings."""

    queues: str | None
    max_workers: int | None

    def apply(self, settings: TaskProcessorSettings) -> None:
        try:
            if self.queues is not None:
                settings.queues = [name.strip() for name in self.queues.split(",") if name.strip()]
        except ValidationError as error:
            raise ConfigurationError(f"--queues {self.queues!r}: {error.errors()[0]['msg']}") from None
        if self.max_workers is not None:
            settings.max_workers = self.max_workers


def load(target: str) -> Target:
    """What `module:name` names. ConfigurationError when there is no such thing, or it has no processor."""
    module_name, _, path = target.partition(":")
    if not module_name or not path:
        raise ConfigurationError(f"{target!r} does not say what to run: use module:name, as in myapp:app")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise
        raise ConfigurationError(
            f"there is no module {error.name!r} here: start in the folder that holds it"
        ) from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise ConfigurationError(f"{module_name} has no {path!r}: name the FastAPI app or TaskProcessor in it")
        found = getattr(found, name)
    processor_of(found)
    return found


def processor_of(target: Target) -> TaskProcessor:
    """The processor of a target."""
    processor = getattr(getattr(target, "state", None), "task_processor", target)
    if not isinstance(processor, TaskProcessor):
        raise ConfigurationError(
            f"{target!r} has no task processor: name a TaskProcessor, or an app with add_task_processor()"
        )
    return processor


async def serve(target: Target, overrides: Overrides) -> None:
    """Starts the target as its server would, runs tasks, and ends when a signal comes."""
    processor = processor_of(target)
    overrides.apply(processor.settings)
    with _Signals(processor) as signals:
        async with processor if target is processor else lifespan(target):
            await asyncio.sleep(0)  # lets the app's own executor begin, if it has one
            if processor.running:
                await processor.ended()
            elif not signals.received:
                await processor.run()
        if not signals.received:
            raise ConfigurationError("the worker has ended by itself: the log says why")


class _Signals:
    """While inside, the first SIGTERM or SIGINT stops the processor, the second ends the process."""

    def __init__(self, processor: TaskProcessor) -> None:
        self._processor = processor
        self._stopping: asyncio.Task[None] | None = None
        self._since = -ONE_PRESS

    @property
    def received(self) -> bool:
        """Whether there was one."""
        return self._stopping is not None

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop, number)
        return self

    def __exit__(self, *error: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)

    def _stop(self, number: int) -> None:
        if time.monotonic() - self._since < ONE_PRESS:
            return
        if self._stopping is not None:
            logger.warning("a second signal: ending at once; what runs goes back when the heartbeat is missed")
            os._exit(128 + number)
        grace = self._processor.settings.shutdown_grace.total_seconds()
        logger.info("stopping: running tasks have %g s to end; a second signal ends it at once", grace)
        self._since = time.monotonic()
        self._stopping = asyncio.get_running_loop().create_task(self._processor.stop())


@asynccontextmanager
async def lifespan(app: Any) -> AsyncGenerator[None]:
    """Starts an ASGI app and ends it, as a server does, but serves no requests."""
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    running = asyncio.create_task(app(scope, to_app.get, from_app.put))

    async def step(name: str) -> None:
        to_app.put_nowait({"type": f"lifespan.{name}"})
        answer = asyncio.create_task(from_app.get())
        await asyncio.wait([answer, running], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            await running
        elif answer.result()["type"] == f"lifespan.{name}.failed":
            await running  # raises what went wrong
            raise ConfigurationError(f"the app's {name} failed: {answer.result().get('message', '')}")

    await step("startup")
    try:
        yield
    finally:
        await step("shutdown")
        await running
