"""Every page of the dashboard in a real browser: it can be read, it is accessible, and no script of others runs."""

import asyncio
from collections.abc import Sequence

from playwright.async_api import Browser, Page, expect

from tests.browser.kit import browsing, page_faults
from tests.browser.world import HOSTILE, pages_of, world
from tests.conftest import MakeSettings


async def _open(page: Page, path: str, heading: str) -> None:
    answer = await page.goto(path)
    assert answer is not None
    assert answer.status == (404 if "gone" in path else 200), path
    await expect(page.get_by_role("heading", level=1)).to_contain_text(heading)


async def _all_faults(browser: Browser, url: str, pages: Sequence[tuple[str, str]]) -> list[str]:
    faults: list[str] = []
    async with browsing(browser, url, bears="404") as page:
        for path, heading in pages:
            await _open(page, path, heading)
            faults += await page_faults(page, path)
    return faults


async def test_every_page(settings: MakeSettings, browser: Browser) -> None:
    """Is shown whole, without a serious fault, whatever names it has to show, at every size, light and dark."""
    made = settings()
    async with world(made.redis, made.prefix) as found:
        pages = [(f"/tasks{path}", heading) for path, heading in pages_of(found).items()]
        halves = (_all_faults(browser, found.url, pages[start::2]) for start in (0, 1))
        assert [fault for some in await asyncio.gather(*halves) for fault in some] == []


async def test_questions(settings: MakeSettings, browser: Browser) -> None:
    """What asks before an act is likewise without a fault, and so is what an act leads to, and what is paused."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url) as page:
        await page.goto(f"/tasks/batch?id={found.batch}")
        await page.get_by_role("button", name="Retry failed…").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Retry what failed?")
        faults = await page_faults(page, "a question")
        await page.get_by_role("button", name="Retry what failed").click()
        await expect(page.get_by_role("status")).to_contain_text("2 tasks of the batch run again")
        faults += await page_faults(page, "an answer")
        await found.tasks.pause(reason=HOSTILE[:100], by=HOSTILE[:60])
        await page.goto("/tasks")
        await expect(page.get_by_role("main")).to_contain_text("Everything is paused")
        assert faults + await page_faults(page, "paused") == []


async def test_hostile_names_are_shown(settings: MakeSettings, browser: Browser) -> None:
    """As the text that they are, wherever they stand."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url) as page:
        shown = {
            f"/task?id={found.delayed}": ["<img src=x onerror=alert(1)>", "{{7*7}}"],
            f"/task?id={found.retried}": ["<b onmouseover=alert(4)>Error</b>", "<script>alert(2)</script>"],
            f"/batch?id={found.batch}": ["<script>alert(2)</script>"],
            "/dead?queue=default": ["<img src=x onerror=alert(1)>"],
            "/tenants": ["<img src=x onerror=alert(1)>"],
            "/schedules?tenant=acme.co/a=b|c%2Bd@e-f": ["<img src=x onerror=alert(1)>"],
        }
        for path, texts in shown.items():
            await page.goto(f"/tasks{path}")
            for text in texts:
                await expect(page.get_by_role("main")).to_contain_text(text)
        await expect(page.locator(".user")).to_contain_text("<img src=x onerror=alert(1)>")


async def test_policy_stops_scripts(settings: MakeSettings, browser: Browser) -> None:
    """Should something foreign come into a page in spite of all, it neither runs nor is anything fetched for it."""
    made = settings()
    async with (
        world(made.redis, made.prefix) as found,
        browsing(browser, found.url, bears="Content Security Policy") as page,
    ):
        await page.goto("/tasks")
        await page.evaluate(
            """() => {
                const script = document.createElement("script");
                script.textContent = "window.ran = 'script'";
                document.body.append(script);
                document.getElementById("main").insertAdjacentHTML(
                    "beforeend", "<p onclick='window.ran = 1'>foreign</p><img src='https://example.com/x'>"
                );
            }"""
        )
        await page.get_by_text("foreign").click()
        assert await page.evaluate("window.ran") is None


async def test_without_javascript(settings: MakeSettings, browser: Browser) -> None:
    """Every page can be looked at, and acted in, with and without a question."""
    made = settings()
    async with (
        world(made.redis, made.prefix) as found,
        browsing(browser, found.url, javascript=False, bears="404") as page,
    ):
        for path, heading in pages_of(found).items():
            await _open(page, f"/tasks{path}", heading)
            await expect(page.locator("#live")).to_be_hidden()
        await page.goto("/tasks/queues")
        await page.get_by_text("Pause…").first.click()
        await page.get_by_role("button", name="Pause default").click()
        await expect(page.get_by_role("status")).to_have_text("Paused queue default, until it is resumed.")
        await page.goto(f"/tasks/task?id={found.dead}")
        await page.get_by_role("button", name="Discard…").click()
        await page.get_by_role("button", name="Discard the task").click()
        await expect(page.get_by_role("main")).to_contain_text(f"There is no task {found.dead}")
        assert [entry.act for entry in await found.tasks.get_audit()] == ["discard-task", "pause"]


CUT = """cells => {
    for (const time of document.querySelectorAll("main time")) time.textContent = "59 min 59 s ago";
    return cells
    .filter(each => each.scrollWidth > each.clientWidth + 1 || each.getBoundingClientRect().right > innerWidth)
    .map(each => `${each.dataset.of ?? each.nodeName}: ${each.textContent.trim()}`)
}"""
"""What does not fit, when times are long."""


async def test_small_screens(settings: MakeSettings, browser: Browser) -> None:
    """Show each number and error whole, within the screen."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url, bears="404") as page:
        await found.tasks.record_act("retry-task", found.dead, by="ada@example.com", detail="because " * 20)
        for path in pages_of(found):
            if path.partition("?")[0] in ("", "/workers", "/redis"):  # whose tables are wide, and scroll
                continue
            await page.goto(f"/tasks{path}")
            for width in (390, 820):
                await page.set_viewport_size({"width": width, "height": 900})
                cut = await page.locator("main tbody :is(th, td), .tiles dd").evaluate_all(CUT)
                assert cut == [], (path, width)


async def test_refusals(settings: MakeSettings, browser: Browser) -> None:
    """Have the width of a page, and the menu; what is asked for in vain is said where it was asked for."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url, bears="404|422|403") as page:
        await page.goto("/tasks/task?id=gone")
        await expect(page.get_by_role("link", name="Queues")).to_be_visible()
        for path in ("/tasks/task?id=gone", "/tasks/queue?name=a:b"):
            await page.goto(path)
            box = await page.locator("main .explained").bounding_box()
            assert box is not None
            assert box["width"] > 400, path
        await page.goto("/tasks/queue?name=default&state=dead")
        await page.get_by_role("button", name="Retry chosen").click()
        await expect(page.get_by_role("alert")).to_have_text("Nothing was done: No task was chosen: check some first.")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Queue default")


async def test_keyboard(settings: MakeSettings, browser: Browser) -> None:
    """Is enough: the first stop leads past the menu, each can be seen, and an act can be done, or be left alone."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url, bears="404") as page:
        await page.goto(f"/tasks/task?id={found.delayed}")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        await page.keyboard.press("Enter")
        assert page.url.endswith("#main")
        await _tab_to(page, "Cancel…")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/act/cancel-task")
        await _tab_to(page, "Cancel the task")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("No such task")
        assert await found.tasks.get_task(found.delayed) is None


async def test_keys_that_help(settings: MakeSettings, browser: Browser) -> None:
    """A slash leads to the search field; Escape closes what was opened, and nothing is done."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url) as page:
        await page.goto("/tasks/queues")
        await page.keyboard.press("/")
        await expect(page.get_by_role("searchbox")).to_be_focused()
        await page.keyboard.type("slow")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Queue slow")
        await page.get_by_text("Pause…").focus()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await expect(page.get_by_label("Why")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(page.get_by_label("Why")).to_be_hidden()
        assert await found.tasks.get_audit() == []


async def _tab_to(page: Page, text: str) -> None:
    """Every stop on the way must be seen."""
    for _ in range(40):
        await page.keyboard.press("Tab")
        stop = await page.evaluate(
            """() => {
                const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
                return [document.activeElement.textContent.trim(), outlineStyle, parseFloat(outlineWidth)];
            }"""
        )
        assert stop[1] != "none", stop
        assert stop[2] >= 1, stop
        if stop[0] == text:
            return
    raise AssertionError(f"no stop {text!r}")
