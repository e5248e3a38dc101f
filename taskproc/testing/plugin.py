"""The pytest plugin of taskproc: a server for the session, and settings and a processor for each test.

The fixtures are plain functions, so they suit async tests of any plugin, and those of none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from taskproc import ConfigurationError, TaskProcessor, TaskProcessorSettings, embedded
from taskproc.testing import ahead, delete_keys, make_settings

__all__ = ["taskproc_processor", "taskproc_redis", "taskproc_settings"]


@pytest.fixture(scope="session")
def taskproc_redis(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Where the server of the session is: an embedded one, of each process if pytest-xdist starts several.

    A fixture of this name in your `conftest.py` may give another, such as `redis://localhost:6379/9`.
    """
    url = f"embedded://{tmp_path_factory.mktemp('taskproc').resolve().as_posix()}"
    try:
        server = embedded.start(url)
    except ConfigurationError as error:
        pytest.fail(f"{error}\nOr let a fixture `taskproc_redis` of yours give the URL of a server.", pytrace=False)
    yield url
    server.close()


@pytest.fixture
def taskproc_settings(taskproc_redis: str) -> Generator[TaskProcessorSettings]:
    """Settings of the test's own: a prefix that is emptied after it, and a pace for tests, see `make_settings`."""
    settings = make_settings(taskproc_redis)
    prefix = settings.prefix
    yield settings
    ahead.uninstall()
    _delete(settings.model_copy(update={"redis": taskproc_redis, "prefix": prefix}))


@pytest.fixture
def taskproc_processor(taskproc_settings: TaskProcessorSettings) -> TaskProcessor:
    """A processor with these settings, not connected yet: `async with taskproc_processor as tasks:`."""
    return TaskProcessor(taskproc_settings)


def _delete(settings: TaskProcessorSettings) -> None:
    """In a thread: an event loop may run in this one, as with Playwright."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(delete_keys(settings))).result()
