"""The page of the importer: progress comes by streams, and by asking where there is none."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, FilePayload, Page, expect

from tests.browser.kit import browsing
from tests.examples.programs import uvicorn

TABLE = "name,city\n" + "".join(f"Person {n},{'' if n else 'one too many,'}City\n" for n in range(2500))


class Looked:
    """What the page has shown of its newest import, and what it has asked."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))

    async def import_table(self) -> list[str]:
        """Imports it; all that stood below its bar."""
        await self.page.evaluate(
            """() => {
                window.shown = [];
                new MutationObserver(() => {
                    const text = document.querySelector("article .counts")?.textContent;
                    if (text && text !== shown.at(-1)) shown.push(text);
                }).observe(document.body, {subtree: true, childList: true, characterData: true});
            }"""
        )
        table = FilePayload(name="people.csv", mimeType="text/csv", buffer=TABLE.encode())
        await self.page.set_input_files("input[type=file]", table)
        await self.page.click("#form button")
        await expect(self.page.locator("article .state").first).to_have_text("failed", timeout=60_000)
        bar = self.page.get_by_role("progressbar").first
        await expect(bar).to_have_attribute("aria-valuenow", "100")
        shown: list[str] = await self.page.evaluate("shown")
        assert shown[-1] == "2499 of 2500 rows · 1 failed"
        return shown

    def streams(self) -> int:
        """How many were opened."""
        return len([url for url in self.asked if "/events?tenant=acme" in url])


@asynccontextmanager
async def importing(browser: Browser, folder: Path) -> AsyncGenerator[Looked]:
    """The page, of an importer that has just started, and takes its time."""
    with uvicorn("examples.importer.app:app", folder, env={"TASKPROC_MAX_WORKERS": "1"}) as site:
        async with browsing(browser, str(site.client.base_url).rstrip("/")) as page:
            looked = Looked(page)
            await page.goto("/")
            yield looked


async def test_progress_is_live(browser: Browser, tmp_path: Path) -> None:
    """One stream tells of every step, and how long it will take; with its end it is closed for good."""
    async with importing(browser, tmp_path) as looked:
        shown = await looked.import_table()
        assert any("rows/s" in text and "s left" in text for text in shown)
        polls = len([url for url in looked.asked if url.endswith("/imports")])
        assert len(shown) > polls
        await looked.page.wait_for_timeout(3_000)  # longer than an EventSource waits until it comes again
        assert looked.streams() == 1
        await looked.page.locator("article .show").first.click()
        await expect(looked.page.locator("article pre").first).to_contain_text("2499 rows are in the database.")


async def test_without_streams_it_asks(browser: Browser, tmp_path: Path) -> None:
    """A stream that is refused is not asked for again; the page shows progress all the same."""
    async with importing(browser, tmp_path) as looked:
        await looked.page.route("**/events*", lambda route: route.fulfill(status=204))
        shown = await looked.import_table()
        assert len(shown) > 2
        assert not any("rows/s" in text for text in shown)
        assert looked.streams() == 1
