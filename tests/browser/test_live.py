"""Pages show what happens without a reload: by a stream, and by asking where streams do not get through."""

from collections import Counter

import pytest
from playwright.async_api import Browser, Page, Request, Route, expect

from taskproc_fastapi.dashboard import live
from tests.browser.kit import browsing
from tests.browser.world import World, world
from tests.conftest import MakeSettings
from tests.kit import wait_until

RUNNING = "/tasks/queue?name=slow&state=running"
LATER = 15_000  # milliseconds


def counted(page: Page) -> Counter[str]:
    """How often the page asks, from now on, by `stream` and by `poll`."""
    asked = Counter[str]()

    def count(request: Request) -> None:
        if request.resource_type == "eventsource":
            asked["stream"] += 1
        if request.headers.get("x-taskproc-live") == "poll":
            asked["poll"] += 1

    page.on("request", count)
    return asked


async def _lives(page: Page, found: World, *, polls: bool = False) -> None:
    """What is typed meanwhile stays, and so does what was opened."""
    await expect(page.get_by_role("main")).to_contain_text("wait")
    await page.get_by_text("Pause…").click()
    await page.get_by_label("Why").fill("half a word")
    await found.tasks.cancel_task(found.running)
    if polls:
        await wait_until(lambda: _is_gone(found), 10, "the end of the task")
        await page.clock.fast_forward(5_000)
    await expect(page.get_by_role("main")).to_contain_text("No task is running", timeout=LATER)
    await expect(page.get_by_label("Why")).to_have_value("half a word")
    await expect(page.get_by_label("Why")).to_be_focused()
    await expect(page.get_by_role("button", name="Live")).to_be_visible()


async def hold(route: Route) -> None:
    """Lets nothing of a stream through."""
    if route.request.resource_type != "eventsource":
        await route.continue_()


async def _is_gone(found: World) -> bool:
    return await found.tasks.get_task(found.running) is None


async def test_by_a_stream(settings: MakeSettings, browser: Browser) -> None:
    """One, and nothing else is asked for."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url) as page:
        asked = counted(page)
        await page.goto(RUNNING)
        await _lives(page, found)
        assert asked == {"stream": 1}


async def test_reader_is_not_disturbed(settings: MakeSettings, browser: Browser) -> None:
    """Whatever comes and goes around it, what is typed stays where it is typed."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url) as page:
        await page.goto("/tasks/queues")
        row = page.get_by_role("row").filter(has_text="slow")
        await row.get_by_text("Pause…").click()
        await row.get_by_label("Why").fill("half a word")
        await row.evaluate("each => { each.isTheSame = true }")
        await found.tasks.pause(reason="a banner comes")
        await expect(page.get_by_role("main")).to_contain_text("a banner comes", timeout=LATER)
        await expect(row.get_by_label("Why")).to_be_focused()
        await expect(row.get_by_label("Why")).to_have_value("half a word")
        assert await row.evaluate("each => each.isTheSame")
        await found.tasks.resume()
        await expect(page.get_by_role("main")).not_to_contain_text("a banner comes", timeout=LATER)
        await expect(row.get_by_label("Why")).to_be_focused()


async def test_rows_that_go(settings: MakeSettings, browser: Browser) -> None:
    """Leave alone those that stay: what is checked there, and where the focus is, in every browser."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url) as page:
        await page.add_init_script("delete Element.prototype.moveBefore")  # which some do not have
        await page.goto("/tasks/queue?name=default&state=dead")
        boxes = page.locator("tbody").get_by_role("checkbox")
        names = [await box.get_attribute("value") for box in await boxes.all()]
        await boxes.last.check()
        await found.tasks.discard_dead_tasks("default", task_ids=[name for name in names[:-1] if name])
        await expect(boxes).to_have_count(1, timeout=LATER)
        await expect(boxes).to_be_checked()
        await expect(boxes).to_be_focused()


async def test_by_asking_where_streams_are_refused(settings: MakeSettings, browser: Browser) -> None:
    """It is not tried again."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url) as page:

        async def refuse(route: Route) -> None:
            if route.request.resource_type == "eventsource":
                await route.fulfill(status=204)
            else:
                await route.continue_()

        await page.route("**/queue*", refuse)
        asked = counted(page)
        await page.clock.install()
        await page.goto(RUNNING)
        await _lives(page, found, polls=True)
        assert asked["stream"] == 1
        assert asked["poll"] >= 1


async def test_by_asking_where_streams_are_held_back(settings: MakeSettings, browser: Browser) -> None:
    """As by a proxy that passes on nothing until the stream has ended."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url) as page:
        await page.route("**/queue*", hold)
        asked = counted(page)
        await page.clock.install()
        await page.goto(RUNNING)
        await page.clock.fast_forward(10_000)
        await _lives(page, found, polls=True)
        assert asked["stream"] == 1
        assert asked["poll"] >= 1
        await page.unroute_all(behavior="ignoreErrors")


async def test_can_be_held(settings: MakeSettings, browser: Browser) -> None:
    """Whoever wants to read in peace presses Live: nothing changes any more until it is pressed again."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url) as page:
        await page.goto(RUNNING)
        await page.get_by_role("button", name="Live").click()
        await found.tasks.cancel_task(found.running)
        await page.wait_for_timeout(2_500)  # longer than from one look of a stream to the next
        await expect(page.get_by_role("main")).not_to_contain_text("No task is running")
        await page.get_by_role("button", name="Paused").click()
        await expect(page.get_by_role("main")).to_contain_text("No task is running", timeout=LATER)


async def test_old_news_says_so(settings: MakeSettings, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing comes any more, as while Redis stands still, a page is not live, and time does not go on in it."""
    made = settings()
    monkeypatch.setattr(live, "EVERY", 0.2)
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url) as page:
        await page.clock.install()
        await page.goto(RUNNING)
        for _ in range(3):
            await page.wait_for_timeout(1_000)  # in which the stream says that all is as it was
            await page.clock.fast_forward(6_000)
            await expect(page.get_by_role("button", name="Live")).to_be_visible()
        monkeypatch.setattr(live, "EVERY", 60.0)
        await page.wait_for_timeout(1_000)
        await page.clock.fast_forward(8_000)
        await expect(page.get_by_role("button", name="Out of date")).to_be_visible()
        elapsed = page.locator("time[data-shown=since]").first
        before = await elapsed.text_content()
        await page.clock.fast_forward(60_000)
        await expect(elapsed).to_have_text(before or "")


async def test_time_goes_on(settings: MakeSettings, browser: Browser) -> None:
    """How long something runs is counted on in the page itself, second by second."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url) as page:
        await page.route("**/queue*", hold)
        await page.goto(RUNNING)
        elapsed = page.locator("time[data-shown=since]").first
        before = await elapsed.text_content()
        await expect(elapsed).not_to_have_text(before or "")
        await page.unroute_all(behavior="ignoreErrors")
