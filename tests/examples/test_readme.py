"""What the README shows, runs.

Its Python blocks are run in order, in one module, with a processor and a worker on the test's server. Blocks in comments,
`<!-- python … -->`, are run with them: they make what the text takes for granted, and look at what came of it. A block with
a `title` is a program, and is started as one.
"""

import ast
import inspect
import re
import sys
import types
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic_core import PydanticUndefined

from taskproc import Scopes, TaskProcessor, TaskProcessorSettings
from tests.conftest import MakeSettings
from tests.kit import block_until, free_port, process, wait_until
from tests.kit.processes import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^(?:```python(?: title="(?P<title>.+)")?|<!-- python)\n(?P<code>.*?)^(?:```|-->)$', re.M | re.S)
SETTING = re.compile(r"^\| `(?P<name>\w+)` \| `(?P<variable>\w+)` \| (?:`(?P<default>.+?)`)? ?\|", re.M)
LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#]*)(?:#(?P<heading>[^)]+))?\)")

NOT_YET = {"deadletter_unique_schedules", "use_cron_seconds"}
"""Settings of something that the README does not tell of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A piece of Python, and the line of the README where it begins."""

    code: str
    line: int
    title: str | None


def blocks() -> list[Block]:
    """All that the README has, in order."""
    return [
        Block(code=found["code"], line=README.count("\n", 0, found.start("code")), title=found["title"])
        for found in BLOCK.finditer(README)
    ]


def program(title: str) -> str:
    """The program of that title."""
    [code] = [block.code for block in blocks() if block.title == title]
    return code
