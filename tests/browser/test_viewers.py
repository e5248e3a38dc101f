"""Several dashboards in one app, each for others: who may only look, who sees one tenant, who comes by a proxy."""

from urllib.parse import quote

from playwright.async_api import Browser, Page, expect

from tests.browser.kit import LOOKS, browsing, page_faults
from tests.browser.world import pages_of, world
from tests.conftest import MakeSettings

BEHIND = "/behind/a proxy"
OTHERS = ("other", "third", "alone")
"""What is another tenant's."""
OTHERS_PRESS = ("/queues", "/dead?queue=default", "/workers", "/tenants")


async def test_reader_has_no_buttons(settings: MakeSettings, browser: Browser) -> None:
    """Whoever may only look finds nothing to press on any page, and nothing happens when it is pressed all the same."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url, bears="40[34]") as page:
        forms = page.locator("main form[method=post]")
        for path in pages_of(found):
            await page.goto(f"/look{path}")
            assert await forms.count() == 0
        for path in OTHERS_PRESS:
            await page.goto(f"/tasks{path}")
            assert await forms.count() > 0
        status = await page.evaluate("fetch('/look/act/pause', {method: 'POST'}).then(answer => answer.status)")
        assert status == 403
        assert [pause.tenant for pause in await found.tasks.get_pauses()] == ["third"]


async def test_tenant_sees_its_own(settings: MakeSettings, browser: Browser) -> None:
    """And nothing of others, on any page, accessible as all are; it acts on what is its own."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url, bears="40[34]") as page:
        faults: list[str] = []
        for path in pages_of(found):
            await page.goto(f"/deep/own{path}")
            if path != "/redis":
                faults += await page_faults(page, path, LOOKS[:1])
            text = await page.locator("body").inner_text()
            faults += [f"{path}: tells of {each}" for each in OTHERS if each in text.split()]
        assert faults == []
        for path in ("/redis", f"/task?id={found.dead}"):
            await page.goto(f"/deep/own{path}")
            text = await page.get_by_role("main").inner_text()
            assert "fail" not in text
            assert "used_memory" not in text
        await page.goto(f"/deep/own/task?id={found.delayed}")
        await page.get_by_role("button", name="Cancel…").click()
        await page.get_by_role("button", name="Cancel the task").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("No such task")
        assert await found.tasks.get_task(found.delayed) is None


async def test_dashboards_do_not_mix(settings: MakeSettings, browser: Browser) -> None:
    """Links and forms of each stay in it, and each says who looks."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url) as page:
        for dashboard, viewer in (("/tasks", "<img src=x"), ("/look", "reader"), ("/deep/own", "their admin")):
            for path in ("", "/queues", "/dead", f"/batch?id={found.batch}"):
                await page.goto(f"{dashboard}{path}")
                assert await _leads_elsewhere(page, dashboard) == []
                await expect(page.locator(".viewer")).to_contain_text(viewer)


async def _leads_elsewhere(page: Page, base: str) -> list[str]:
    """Where links and forms lead that leave the dashboard."""
    paths: list[str] = await page.locator("a:not(.skip), form").evaluate_all(
        "all => all.map(each => new URL(each.getAttribute('href') ?? each.action, location).pathname)"
    )
    assert len(paths) > 10
    return [path for path in paths if path != base and not path.startswith(f"{base}/")]


async def test_behind_a_proxy(settings: MakeSettings, browser: Browser) -> None:
    """That takes off a prefix: every link leads to a page, styles and streams come, acts come back and say so."""
    made = settings()
    async with world(made.redis, made.prefix, BEHIND) as found, browsing(browser, found.url) as page:
        base = quote(f"{BEHIND}/tasks")
        await page.goto(base)
        assert await _leads_elsewhere(page, base) == []
        for name in await page.get_by_role("navigation", name="Pages").get_by_role("link").all_inner_texts():
            await page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()
            await expect(page.get_by_role("heading", level=1)).to_have_text(name)
        await page.get_by_role("link", name="Workers").click()
        async with page.expect_response(lambda answer: answer.request.resource_type == "eventsource") as stream:
            await page.reload()
        assert (await stream.value).status == 200
        await page.goto(f"{base}/task?id={found.dead}")
        await page.get_by_role("button", name="Retry").click()
        await expect(page.get_by_role("status")).to_have_text("The task runs again.")
        assert page.url == f"{found.url}{base}/task?id={found.dead}"
        assert [entry.act for entry in await found.tasks.get_audit()] == ["retry-task"]
