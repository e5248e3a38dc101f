"""Settings of tests: a prefix of their own, and no patience."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from taskproc.connection import connect, send
from taskproc.errors import ConfigurationError
from taskproc.settings import TaskProcessorSettings

if TYPE_CHECKING:
    from taskproc.processor import TaskProcessor

__all__ = ["delete_keys", "make_settings", "override_settings"]

IMPATIENT: dict[str, Any] = {
    "use_hosted_service": False,
    "base_frequency": timedelta(seconds=0.2),
    "pushback_frequency": timedelta(seconds=0.2),
    "clean_up_frequency": timedelta(seconds=0.5),
    "worker_timeout": timedelta(seconds=3),
    "shutdown_grace": timedelta(seconds=1),
    "unknown_task_grace": timedelta(0),
    "on_task_failed_delay": None,
}
PATIENCE = 5.0  # seconds, for one command
AT_ONCE = 1000


def make_settings(redis: str = "embedded", **settings: Any) -> TaskProcessorSettings:
    """Settings for one test, under a prefix that no other has. What is named wins; the rest comes from the environment.

    An app's executor runs nothing (`use_hosted_service=False`): the test says when, by `run_until_idle`. Failed tasks
    are tried again at once, unknown ones are dead at once, and what goes by a clock goes faster.
    """
    said: dict[str, Any] = {"redis": redis, "prefix": f"{{test-{uuid.uuid4().hex[:12]}}}"} | IMPATIENT | settings
    made = TaskProcessorSettings(**said)
    made.model_fields_set.intersection_update(said)  # not what comes from the environment: see override_settings
    return made


@contextmanager
def override_settings(processor: TaskProcessor, settings: TaskProcessorSettings) -> Generator[TaskProcessor]:
    """While the block runs, a processor that was made for something else, as that of an app, has all that was said in
    `settings`: in `make_settings`, or by assignment later. What was not said there stays as the app has it.

    To be entered before the processor connects, so around `TestClient(app)`. Keys for sealing, and `allowed_modules`,
    were read when the processor was made, and stay. ConfigurationError when it is connected.
    """
    if processor.connected:
        raise ConfigurationError("the processor is connected: override its settings before its app starts")
    names = sorted(settings.model_fields_set)
    before = {name: getattr(processor.settings, name) for name in names}
    _assign(processor.settings, {name: getattr(settings, name) for name in names})
    try:
        yield processor
    finally:
        _assign(processor.settings, before)


def _assign(settings: TaskProcessorSettings, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(settings, name, value)


async def delete_keys(settings: TaskProcessorSettings) -> None:
    """Deletes everything under the prefix; for servers of tests, since it walks through all keys there are."""
    connection = await connect(settings)
    try:
        cursor = b"0"
        while True:
            cursor, keys = await send(
                connection.commands, PATIENCE, "SCAN", cursor, "MATCH", f"{settings.prefix}:*", "COUNT", AT_ONCE
            )
            if keys:
                await send(connection.commands, PATIENCE, "UNLINK", *keys)
            if cursor == b"0":
                return
    finally:
        await connection.close()
