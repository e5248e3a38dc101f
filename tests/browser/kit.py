"""A browser, and an app with something to look at. One Chromium serves all tests; each test has a profile of its own."""

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import uvicorn
from fastapi import FastAPI
from playwright.async_api import ConsoleMessage, Page, Request, async_playwright
from playwright.async_api import Dialog as BrowserDialog

from tests.kit import free_port

STARTS_WITHIN = 30  # seconds
SIZES = {"desk": (1280, 900), "phone": (390, 844)}

Size = Literal["desk", "phone"]
Scheme = Literal["light", "dark"]


def chromium_path() -> str | None:
    """Where Chromium is: CHROMIUM, or what the system has."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def chromium(path: str) -> Generator[str]:
    """Starts Chromium; the address of its debugging port, until the block is left."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        command += ["--no-first-run", "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            yield _address(process)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stderr is not None:
                process.stderr.close()


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"listening on (ws://\S+)", line):
            return found[1]
    raise AssertionError("Chromium ended before it listened")


@dataclass
class Troubles:
    """What a page must never do."""

    dialogs: list[str] = field(default_factory=list[str])
    complaints: list[str] = field(default_factory=list[str])
    """Errors on the console, such as those of the content security policy."""
    elsewhere: list[str] = field(default_factory=list[str])
    """Requests to other hosts."""

    def watch(self, page: Page, base: str) -> None:
        page.on("dialog", self._on_dialog)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._on_request(request, base))

    async def _on_dialog(self, dialog: BrowserDialog) -> None:
        self.dialogs.append(dialog.message)
        await dialog.dismiss()

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _on_request(self, request: Request, base: str) -> None:
        if not request.url.startswith((base, "data:", "about:")):
            self.elsewhere.append(request.url)


@asynccontextmanager
async def browsing(
    chromium_url: str, base: str, *, size: Size = "desk", scheme: Scheme = "light", javascript: bool = True
) -> AsyncGenerator[Page]:
    """A page at `base`; at the end nothing may have gone wrong in it."""
    troubles = Troubles()
    width, height = SIZES[size]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(chromium_url)
        context = await browser.new_context(
            base_url=base,
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            java_script_enabled=javascript,
            is_mobile=size == "phone",
            has_touch=size == "phone",
        )
        context.set_default_timeout(10_000)
        page = await context.new_page()
        troubles.watch(page, base)
        try:
            yield page
        finally:
            await context.close()
            await browser.close()
    assert troubles == Troubles()


@asynccontextmanager
async def served(app: FastAPI, root_path: str = "") -> AsyncGenerator[str]:
    """Serves the app by uvicorn in this event loop; its address."""
    port = free_port()
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="warning", root_path=root_path, timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(STARTS_WITHIN):
            while not server.started:
                assert not serving.done(), serving.exception()
                await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


AXE = Path(__import__("axe_playwright_python").__file__).with_name("axe.min.js")


async def serious_faults(page: Page) -> list[str]:
    """What axe-core finds in the page that is serious or worse."""
    await page.evaluate(AXE.read_text("utf-8"))
    found = await page.evaluate(
        "axe.run(document, {resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']})"
    )
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes'][:3]]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
