"""The filter field of the dead letters, as a reader uses it."""

from urllib.parse import quote_plus

import pytest
from playwright.async_api import Browser, expect

from tests.browser.kit import browsing, page_faults
from tests.browser.world import HOSTILE, TENANT, world
from tests.conftest import MakeSettings


@pytest.mark.parametrize("javascript", [True, False], ids=["live", "plain"])
async def test_filter_field(settings: MakeSettings, browser: Browser, *, javascript: bool) -> None:
    """It narrows what is shown, keeps its value, can be bookmarked and taken back; a wrong term is told beside it."""
    made = settings()
    async with (
        world(made.redis, made.prefix) as found,
        browsing(browser, found.url, javascript=javascript, bears="422") as page,
    ):
        main, field = page.get_by_role("main"), page.get_by_label("Filter")
        await page.goto("/tasks/dead?queue=default")
        await expect(main).to_contain_text("3 tasks of default, 2 kinds of failure")
        await field.fill("-tenant:other call:fail")
        await field.press("Enter")
        await expect(main).to_contain_text("2 tasks of default match, 1 kind of failure")
        assert page.url.endswith(f"filter={quote_plus('-tenant:other call:fail')}")
        await page.reload()
        await expect(field).to_have_value("-tenant:other call:fail")
        await field.fill(f'tenant:{TENANT} colour:"{HOSTILE[:30]}"')
        await page.get_by_role("button", name="Show", exact=True).click()
        await expect(page.get_by_role("alert")).to_contain_text('filter term `colour:"<img src=x onerror=alert(1)></"`')
        await expect(field).to_have_value(f'tenant:{TENANT} colour:"{HOSTILE[:30]}"')
        await expect(field).to_have_attribute("aria-invalid", "true")
        await expect(main.get_by_role("button", name="Discard")).to_have_count(0)
        await field.fill(f"tenant:{TENANT}")
        await field.press("Enter")
        await expect(main).to_contain_text("2 tasks of default match")
        await main.get_by_role("link", name="All", exact=True).click()
        await expect(main).to_contain_text("3 tasks of default, 2 kinds of failure")
        await expect(field).to_have_value("")


async def test_what_is_typed_stays(settings: MakeSettings, browser: Browser) -> None:
    """While the page is kept up to date, a filter that is not sent yet is left as it is, and so is what is open."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url) as page:
        await page.goto("/tasks/dead?queue=default&filter=call:fail")
        await page.get_by_text("What can be said").click()
        await page.get_by_label("Filter").fill("message:half")
        await found.tasks.discard_dead_tasks("default", task_ids=[found.dead])
        await expect(page.get_by_role("main")).to_contain_text("2 tasks of default match")
        await expect(page.get_by_label("Filter")).to_have_value("message:half")
        await expect(page.get_by_label("Filter")).to_be_focused()
        await expect(page.get_by_text("All terms must hold")).to_be_visible()


async def test_filter_field_has_no_faults(settings: MakeSettings, browser: Browser) -> None:
    """At every size, light and dark: with matches, without, open, and wrong."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url, bears="422") as page:
        faults: list[str] = []
        for which in ("", "call:fail", "call:nothing", "colour:red " + "w" * 500):
            await page.goto(f"/tasks/dead?queue=default&filter={quote_plus(which)}")
            if "colour" not in which:
                await page.get_by_text("What can be said").click()
            faults += await page_faults(page, f"dead letters, {which[:20]}")
        assert faults == []
