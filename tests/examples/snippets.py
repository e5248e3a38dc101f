"""Code that is shown in a page: found, and run in order.

Python blocks are run in one module. Blocks in comments, `<!-- python … -->`, are run with them: they make what the text
takes for granted, and look at what came of it. A block with a `title` is not a piece of that module but a file.
"""

import ast
import asyncio
import inspect
import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from taskproc import Scopes, TaskProcessor
from tests.conftest import MakeSettings
from tests.kit import wait_until

BLOCK = re.compile(
    r'^(?:```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?|<!-- python)\n(?P<code>.*?)^(?:```|-->)$',
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A piece of code, and the line of the page before it."""

    language: str
    code: str
    line: int
    title: str | None


def blocks(page: str) -> list[Block]:
    """All that the page has with a language, in order."""
    return [
        Block(
            language=found["language"] or "python",
            code=found["code"],
            line=page.count("\n", 0, found.start("code")),
            title=found["title"],
        )
        for found in BLOCK.finditer(page)
    ]


async def run(block: Block, namespace: dict[str, Any], page: str) -> None:
    """Runs a Python block, which may await; the traceback of an error names the page and its line."""
    code = compile("\n" * block.line + block.code, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, namespace)  # noqa: S307  our own pages
    if inspect.isawaitable(result):
        await result


def given(settings: MakeSettings, stack: AsyncExitStack) -> dict[str, Any]:
    """What the blocks in comments find in their module."""

    async def start(scopes: Scopes, **overrides: Any) -> TaskProcessor:
        processor = TaskProcessor(settings(**overrides), scopes=scopes)
        await stack.enter_async_context(_running(processor))
        return processor

    async def post(app: FastAPI, path: str) -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return (await client.post(path)).status_code

    return {"start": start, "post": post, "wait_until": wait_until}


@asynccontextmanager
async def _running(processor: TaskProcessor) -> AsyncGenerator[None]:
    async with processor, asyncio.TaskGroup() as group:
        running = group.create_task(processor.run())
        await asyncio.sleep(0)  # lets it begin, so that it can be stopped
        yield
        await processor.stop()
        await running
