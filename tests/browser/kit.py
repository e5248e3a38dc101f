"""A browser, and an app that is served to it. One Chromium serves all tests; each has a context of its own."""

import asyncio
import itertools
import os
import re
import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import axe_playwright_python.async_playwright
import uvicorn
from fastapi import Response
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright
from playwright.async_api import Dialog as BrowserDialog
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.kit import free_port

STARTS_WITHIN = 30  # seconds
PATIENCE = 10_000  # milliseconds, of what is done in a page
SIZES = {"desk": (1280, 900), "phone": (390, 844)}

Size = Literal["desk", "phone"]
Scheme = Literal["light", "dark"]

Look = tuple[Size, Scheme]
LOOKS: list[Look] = list(itertools.product(("desk", "phone"), ("light", "dark")))
FOREIGN = "main img, main iframe, main script, main b[onmouseover], [onerror], a[href^='javascript:']"
"""What only the text of a task, a reason or a name could bring into a page."""


def chromium_path() -> str | None:
    """Where Chromium is: CHROMIUM, or what the system has."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@asynccontextmanager
async def chromium(path: str) -> AsyncGenerator[Browser]:
    """Chromium, as long as the block lasts."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Troubles:
    """What a page must never do."""

    dialogs: list[str] = field(default_factory=list[str])
    complaints: list[str] = field(default_factory=list[str])
    """Errors on the console, such as those of the content security policy."""
    elsewhere: list[str] = field(default_factory=list[str])
    """Requests to other hosts."""
    bears: str = "^$"
    """Complaints that a test provokes."""

    def watch(self, page: Page, base: str) -> None:
        page.on("dialog", self._on_dialog)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._on_request(request, base))
        page.on("requestfailed", self._on_failure)

    async def _on_dialog(self, dialog: BrowserDialog) -> None:
        self.dialogs.append(dialog.message)
        await dialog.dismiss()

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not re.search(self.bears, message.text):
            self.complaints.append(message.text)

    def _on_request(self, request: Request, base: str) -> None:
        if not request.url.startswith((base, "data:", "about:")):
            self.elsewhere.append(request.url)

    def _on_failure(self, request: Request) -> None:
        if request.failure == "csp":  # nothing was sent
            self.elsewhere.remove(request.url)


@asynccontextmanager
async def browsing(
    browser: Browser,
    base: str,
    *,
    size: Size = "desk",
    scheme: Scheme = "light",
    javascript: bool = True,
    bears: str = "^$",
) -> AsyncGenerator[Page]:
    """A page at `base`; at the end nothing may have gone wrong in it but what `bears` matches."""
    troubles = Troubles(bears=bears)
    width, height = SIZES[size]
    context = await browser.new_context(
        base_url=base,
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        java_script_enabled=javascript,
        is_mobile=size == "phone",
        has_touch=size == "phone",
    )
    context.set_default_timeout(PATIENCE)
    try:
        page = await context.new_page()
        troubles.watch(page, base)
        yield page
    finally:
        await context.close()
    assert troubles == Troubles(bears=bears), troubles


async def look(page: Page, size: Size, scheme: Scheme) -> None:
    """Gives the page, as it is, another size and scheme."""
    width, height = SIZES[size]
    await page.set_viewport_size({"width": width, "height": height})
    await page.emulate_media(color_scheme=scheme)


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncGenerator[str]:
    """Serves the app by uvicorn in this event loop; its address."""
    port = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=5)
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


@dataclass(frozen=True, slots=True)
class Proxied:
    """An app behind a proxy that takes a prefix off the path, as servers tell it to apps: by `root_path`."""

    app: ASGIApp
    prefix: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What does not begin with the prefix is not the app's."""
        if scope["type"] == "http":
            path: str = scope["path"]
            if not path.startswith(self.prefix + "/"):
                await Response("The proxy knows no such place.", 404)(scope, receive, send)
                return
            cut = path.removeprefix(self.prefix)
            scope = {**scope, "path": cut, "raw_path": quote(cut).encode(), "root_path": self.prefix}
        await self.app(scope, receive, send)


AXE = Path(axe_playwright_python.async_playwright.__file__).with_name("axe.min.js")


async def serious_faults(page: Page) -> list[str]:
    """What axe-core finds in the page that is serious or worse."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text("utf-8"))
    found = await page.evaluate(
        """axe.run(document, {
            resultTypes: ['violations'], preload: false, runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']
        })"""
    )
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes'][:3]]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


async def page_faults(page: Page, path: str, looks: Sequence[Look] = LOOKS) -> list[str]:
    """What is wrong with the page, as it is, in any of the looks."""
    found: list[str] = []
    for size, scheme in looks:
        await look(page, size, scheme)
        fits = await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        faults = await serious_faults(page) + ([] if fits else ["it scrolls sideways"])
        found += [f"{path or '/'} ({size}, {scheme}): {fault}" for fault in faults]
    if foreign := await page.locator(FOREIGN).count():
        found.append(f"{path or '/'}: {foreign} elements of others")
    return found
