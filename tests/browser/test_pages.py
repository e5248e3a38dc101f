"""Every page of the dashboard in a real browser: it can be read, it is accessible, and no script of others runs."""

import re
from urllib.parse import quote

import pytest
from playwright.async_api import Page, expect

from tests.browser.kit import Scheme, Size, browsing, serious_faults
from tests.browser.world import FAIR, HOSTILE, TENANT, World, world
from tests.conftest import MakeSettings

LOOKS: list[tuple[Size, Scheme]] = [("desk", "light"), ("phone", "dark")]


def pages(found: World) -> dict[str, str]:
    """The address of each page, by the heading that it must have."""
    tenant, fair = quote(TENANT, safe=""), quote(FAIR, safe="")
    return {
        "": "Overview",
        "/queues": "Queues",
        f"/queue?name={fair}": FAIR,
        "/queue?name=default&state=dead": "default",
        "/queue?name=slow&state=running": "slow",
        "/queue?name=default&state=delayed": "default",
        f"/batches?tenant={tenant}": "Batches",
        f"/batch?id={found.batch}": HOSTILE[:20],
        f"/task?id={found.dead}": "",
        f"/task?id={found.running}": "",
        f"/task?id={found.delayed}": "",
        "/task?id=gone": "",
        "/dead?queue=default": "Dead letters",
        f"/schedules?tenant={tenant}": "Schedules",
        "/workers": "Workers",
        "/tenants": "Tenants",
        "/redis": "Redis",
        "/audit": "Audit",
        "/search?q=nothing+of+that+kind": "",
    }


async def _faults(page: Page, path: str, heading: str) -> list[str]:
    answer = await page.goto(f"/tasks{path}")
    assert answer is not None
    assert answer.status == (404 if "gone" in path else 200), path
    await expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
    fits = await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    found = [] if fits else ["it scrolls sideways"]
    return [f"{path}: {fault}" for fault in found + await serious_faults(page)]


@pytest.mark.parametrize("size, scheme", LOOKS)
async def test_every_page(settings: MakeSettings, browser_url: str, size: Size, scheme: Scheme) -> None:
    """Is shown whole, without a serious fault, whatever names it has to show."""
    made = settings()
    async with (
        world(made.redis, made.prefix) as found,
        browsing(browser_url, found.url, size=size, scheme=scheme) as page,
    ):
        faults = [await _faults(page, path, heading) for path, heading in pages(found).items()]
        assert [fault for some in faults for fault in some] == []


async def test_hostile_names_are_shown(settings: MakeSettings, browser_url: str) -> None:
    """As the text that they are; what is in the pages is not more than that."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser_url, found.url) as page:
        await page.goto(f"/tasks/task?id={found.delayed}")
        await expect(page.get_by_role("main")).to_contain_text("<img src=x onerror=alert(1)>")
        await expect(page.get_by_role("main")).to_contain_text("{{7*7}}")
        await page.goto(f"/tasks/batch?id={found.batch}")
        await expect(page.get_by_role("main")).to_contain_text("<script>alert(2)</script>")
        assert await page.locator("main img, main script").count() == 0


async def test_works_without_javascript(settings: MakeSettings, browser_url: str) -> None:
    """Every page can be looked at, and acted in."""
    made = settings()
    async with (
        world(made.redis, made.prefix) as found,
        browsing(browser_url, found.url, javascript=False) as page,
    ):
        for path in pages(found):
            await page.goto(f"/tasks{path}")
            await expect(page.get_by_role("main")).to_be_visible()
        await page.goto(f"/tasks/task?id={found.dead}")
        await page.get_by_role("button", name="Retry").first.click()
        await expect(page.get_by_role("status")).to_be_visible()
        assert [entry.target for entry in await found.tasks.get_audit()] != []


async def test_below_a_root_path(settings: MakeSettings, browser_url: str) -> None:
    """Behind a proxy that takes off a prefix every link leads to where it should, and acts come back."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser_url, found.url) as page:
        await page.goto("/deep/own/")
        links = await page.locator("nav a").evaluate_all("all => all.map(each => each.pathname)")
        assert links
        assert all(link.startswith("/deep/own") for link in links)


async def test_keyboard(settings: MakeSettings, browser_url: str) -> None:
    """The first stop leads past the menu; each stop can be seen."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser_url, found.url) as page:
        await page.goto("/tasks")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        await page.keyboard.press("Enter")
        assert re.search("#main$", page.url)
        for _ in range(5):
            await page.keyboard.press("Tab")
            outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none"


async def test_page_lives(settings: MakeSettings, browser_url: str) -> None:
    """What happens is shown without a reload; what is typed meanwhile stays."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser_url, found.url) as page:
        await page.goto("/tasks/queue?name=slow&state=running")
        await expect(page.get_by_role("main")).to_contain_text("wait")
        await page.get_by_role("searchbox").fill("half a word")
        await found.tasks.cancel_task(found.running)
        await expect(page.get_by_role("main")).to_contain_text("No task is running", timeout=15_000)
        await expect(page.get_by_role("searchbox")).to_have_value("half a word")
