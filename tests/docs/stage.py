"""Where the code of a page of the documentation is run: a folder with the files that the page shows, and a module.

While an app is served the `curl` commands of the page are sent to it, and must be answered as shown: `…` stands for
anything. A GET request may be repeated until it is.
"""

import importlib
import json
import re
import shlex
import sys
import types
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI

from tests.conftest import MakeSettings
from tests.docs.shell import check, commands
from tests.examples.snippets import Block, blocks, given, run
from tests.kit import Process, process, wait_until
from tests.kit.processes import ROOT

DOCS = ROOT / "docs"
FOREIGN = {"Celery", "arq"}
"""Titles of blocks that show code for other libraries."""
PROGRAMS = {
    "pytest": "import pytest; sys.exit(pytest.main())",
    "taskproc": "from taskproc.cli import main; main()",
    "uvicorn": "import uvicorn; uvicorn.main()",
}
"""Commands that pages run."""


class Stage:
    """Runs one page."""

    def __init__(
        self,
        page: Path,
        folder: Path,
        settings: MakeSettings,
        monkeypatch: pytest.MonkeyPatch,
        printed: Callable[[], str],
    ) -> None:
        self._page = page
        self._folder = folder
        self._stack = AsyncExitStack()
        self._client: httpx.AsyncClient | None = None
        self._variables: dict[str, str] = {}
        self._module = types.ModuleType(f"page_{page.stem.replace('-', '_')}")
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setitem(sys.modules, self._module.__name__, self._module)
        self._module.__dict__.update(
            given(settings, self._stack),
            folder=folder,
            load=self.load,
            monkeypatch=monkeypatch,
            page=page,
            printed=printed,
            remember=self._variables.update,
            run=self.run,
            serve=self.serve,
            stop=self.stop,
        )

    async def play(self) -> None:
        """Runs all blocks of the page, in order."""
        try:
            for block in blocks(self._page.read_text(encoding="utf-8")):
                await self._play(block)
        finally:
            await self.stop()
            for name in [name for name in sys.modules if self._is_shown(name)]:
                del sys.modules[name]

    def _is_shown(self, module: str) -> bool:
        return str(self._folder) in str(getattr(sys.modules[module], "__file__", ""))

    # What blocks in comments find

    def load(self, name: str) -> types.ModuleType:
        """A module that the page shows, as it is now."""
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    async def serve(self, app: FastAPI) -> httpx.AsyncClient:
        """A client of the app, which is started in this event loop, and ends with the page or `stop()`."""
        await self._stack.enter_async_context(app.router.lifespan_context(app))
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")
        self._client = await self._stack.enter_async_context(client)
        return client

    async def stop(self) -> None:
        """Ends what is served or run, and the workers that were started."""
        self._client = None
        await self._stack.aclose()

    def run(self, command: str) -> Process:
        """Runs a command of the page in its folder; it ends with the page or `stop()`."""
        check(command)
        words = shlex.split(command)
        code = f"import os, sys; os.chdir({str(self._folder)!r}); sys.path.insert(0, ''); sys.argv = {words!r}; "
        return self._stack.enter_context(process(code + PROGRAMS[words[0]]))

    # The blocks

    async def _play(self, block: Block) -> None:
        if block.title is not None and re.search(r"\.\w+$", block.title):
            with (self._folder / block.title).open("a", encoding="utf-8") as file:  # a page may show it bit by bit
                file.write(block.code)
        elif block.language == "python" and block.title not in FOREIGN:
            await run(block, self._module.__dict__, str(self._page.relative_to(ROOT)))
        elif block.language == "console":
            for command, shown in commands(block.code):
                if command.startswith("curl "):
                    await self._request(command, shown)

    async def _request(self, command: str, shown: str) -> None:
        client = self._client
        assert client is not None, f"{self._page.name}: nothing is served that could answer {command}"
        method, url, options = read_curl(Template(command).safe_substitute(self._variables))
        answers: list[str] = []

        async def is_as_shown() -> bool:
            if not answers or method == "GET":
                response = await client.request(method, url, **options)
                answers.append(_shown(response, pretty="json.tool" in command))
            return matches(shown, answers[-1])

        try:
            await wait_until(is_as_shown, 10)
        except AssertionError:
            raise AssertionError(f"{command}\nanswers\n{answers[-1]}\nnot\n{shown}") from None


def _shown(response: httpx.Response, *, pretty: bool) -> str:
    assert response.status_code < 500, response.text
    return json.dumps(response.json(), indent=4) if pretty else response.text


def matches(shown: str, answer: str) -> bool:
    """Whether the answer is what is shown, `…` being anything; nothing shown is anything too."""
    pattern = ".*".join(re.escape(part) for part in shown.strip().split("…"))
    return not shown.strip() or re.fullmatch(pattern, answer.strip(), re.DOTALL) is not None


def read_curl(command: str) -> tuple[str, str, dict[str, Any]]:
    """Method, path and what else httpx is to send; AssertionError for an option that is not understood here."""
    words = shlex.split(command.partition(" | ")[0])[1:]
    method, url, headers, content = "GET", "", dict[str, str](), None
    while words:
        match words.pop(0):
            case "-s":
                pass
            case "-X":
                method = words.pop(0)
            case "-H":
                name, _, value = words.pop(0).partition(": ")
                headers[name] = value
            case "--json":
                method, content = "POST", words.pop(0)
                headers["Content-Type"] = "application/json"
            case word:
                assert not word.startswith("-"), f"{command}: unknown option {word}"
                url = word
    parts = urlsplit(url)
    assert parts.netloc == "127.0.0.1:8000", f"{command}: apps are served at http://127.0.0.1:8000"
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return method, path, {"headers": headers, "content": content}


def pages() -> list[Path]:
    """All pages of the documentation."""
    return sorted(DOCS.rglob("*.md"))
