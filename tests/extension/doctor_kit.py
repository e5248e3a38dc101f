"""What the tests of the doctor share."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from taskproc import TaskProcessor, TaskProcessorSettings
from tests.kit import Server

PREFIX = "{doctor}"


@asynccontextmanager
async def on(server: Server | str, **settings: Any) -> AsyncGenerator[TaskProcessor]:
    """A processor on a server of its own, or at an address."""
    url = server if isinstance(server, str) else server.url
    async with TaskProcessor(TaskProcessorSettings(redis=url, prefix=PREFIX, **settings)) as processor:
        yield processor


async def found(processor: TaskProcessor, level: str) -> str:
    """All of that level."""
    return "\n".join(str(finding) for finding in await processor.examine() if finding.level == level)
