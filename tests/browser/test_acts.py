"""Every act of the dashboard, done as a person does it: with a button, and a second one for what destroys."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

import pytest
from playwright.async_api import Page, expect

from taskproc_fastapi.dashboard.acts import ACTS
from tests.browser.kit import browsing
from tests.browser.world import FAIR, TENANT, World, note, world
from tests.conftest import MakeSettings
from tests.kit import wait_until

Play = Callable[[Page, World], Awaitable[None]]

_tenant = quote(TENANT, safe="")
_PLAYS: dict[str, Play] = {}


def play(*acts: str) -> Callable[[Play], Play]:
    """Marks what performs these acts."""

    def mark(function: Play) -> Play:
        _PLAYS.update(dict.fromkeys(acts, function))
        return function

    return mark


async def press(page: Page, name: str, confirm: str = "") -> None:
    """Presses a button, and the one that confirms; the page must say what was done."""
    await page.get_by_role("main").get_by_role("button", name=name).first.click()
    if confirm:
        await page.get_by_role("button", name=confirm).click()
    await expect(page.get_by_role("status").first).to_be_visible()


@play("pause", "resume")
async def pauses_and_resumes_a_queue(page: Page, found: World) -> None:
    """With a reason and for a time."""
    await page.goto(f"/tasks/queue?name={quote(FAIR, safe='')}")
    await page.get_by_text("Pause…").first.click()
    await page.get_by_label("Why").fill("an index is built")
    await page.get_by_label("For", exact=False).select_option("15")
    await press(page, f"Pause {FAIR}")
    (pause,) = await found.tasks.get_pauses()
    assert (pause.queue, pause.reason) == (FAIR, "an index is built")
    assert pause.until is not None
    await press(page, "Resume")
    assert await found.tasks.get_pauses() == []


@play("retry-task")
async def retries_a_task(page: Page, found: World) -> None:
    """From its page."""
    await page.goto(f"/tasks/task?id={found.dead}")
    await press(page, "Retry")
    await wait_until(lambda: _attempts(found, found.dead, 2), 10, "another attempt")


async def _attempts(found: World, task: str, count: int) -> bool:
    return len(await found.tasks.get_attempts(task)) == count


@play("discard-task")
async def discards_a_task(page: Page, found: World) -> None:
    """From its page, when asked again."""
    await page.goto(f"/tasks/task?id={found.dead}")
    await press(page, "Discard", "Discard the task")
    assert await found.tasks.get_task(found.dead) is None


@play("cancel-task")
async def cancels_a_task(page: Page, found: World) -> None:
    """Likewise."""
    await page.goto(f"/tasks/task?id={found.delayed}")
    await press(page, "Cancel", "Cancel the task")
    assert await found.tasks.get_task(found.delayed) is None


@play("retry-dead")
async def retries_chosen_ones(page: Page, found: World) -> None:
    """And no other."""
    await page.goto("/tasks/queue?name=default&state=dead")
    await page.get_by_role("checkbox", name=f"Choose {found.dead}").check()
    await press(page, "Retry chosen")
    await wait_until(lambda: _attempts(found, found.dead, 2), 10, "another attempt")
    assert len(await found.tasks.get_attempts(f"{found.batch}.0.20")) == 1


@play("retry-all-dead")
async def retries_a_group(page: Page, found: World) -> None:
    """Of those that failed alike."""
    await page.goto("/tasks/dead?queue=default")
    await press(page, "Retry all", "Retry")
    await wait_until(lambda: _attempts(found, f"{found.batch}.0.20", 2), 10, "another attempt")


@play("discard-dead")
async def discards_all(page: Page, found: World) -> None:
    """Of a queue."""
    await page.goto("/tasks/dead?queue=default")
    await press(page, "Discard all", "Discard them")
    assert (await found.tasks.get_queue("default")).deadletter == 0


@play("retry-batch")
async def retries_what_failed_in_a_batch(page: Page, found: World) -> None:
    """And only that."""
    await page.goto(f"/tasks/batch?id={found.batch}")
    await press(page, "Retry", "Retry what failed")
    await wait_until(lambda: _attempts(found, f"{found.batch}.0.21", 2), 10, "another attempt")


@play("cancel-batch")
async def cancels_a_batch(page: Page, found: World) -> None:
    """That has not ended."""
    async with found.tasks.batch("nobody-serves", tenant=TENANT) as batch:
        batch.enqueue(note, "waits")
    await page.goto(f"/tasks/batch?id={batch.id}")
    await press(page, "Cancel", "Cancel the batch")
    info = await found.tasks.get_batch(batch.id)
    assert info is not None
    assert info.state == "canceled"


@play("trigger-schedule", "pause-schedule", "resume-schedule", "cancel-schedule")
async def steers_a_schedule(page: Page, found: World) -> None:
    """All that can be done to one."""
    async def schedule() -> list[bool]:
        return [each.paused for each in await found.tasks.get_schedules(TENANT)]

    await page.goto(f"/tasks/schedules?tenant={_tenant}")
    await press(page, "Trigger")
    await press(page, "Pause")
    assert await schedule() == [True]
    await press(page, "Resume")
    assert await schedule() == [False]
    await press(page, "Remove", "Remove the schedule")
    assert await schedule() == []


@play("drain-worker", "resume-worker")
async def drains_a_worker(page: Page, found: World) -> None:
    """And lets it go on."""
    async def draining() -> list[bool]:
        return [each.draining for each in await found.tasks.get_workers()]

    await page.goto("/tasks/workers")
    await press(page, "Drain", "Drain the worker")
    assert await draining() == [True]
    await press(page, "Resume")
    assert await draining() == [False]


@pytest.mark.parametrize("act", ACTS)
async def test_act(settings: MakeSettings, browser_url: str, act: str) -> None:
    """It is done, the page says so, and the audit list has it with who did it."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser_url, found.url) as page:
        await _PLAYS[act](page, found)
        done = await found.tasks.get_audit()
        assert done
        assert all(entry.by for entry in done)
        await page.goto("/tasks/audit")
        await expect(page.get_by_role("main").get_by_role("row")).to_have_count(len(done) + 1)


async def test_reader_has_no_buttons(settings: MakeSettings, browser_url: str) -> None:
    """Whoever may only look is shown nothing to press but what finds things."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser_url, found.url) as page:
        for path in (
            "/queues",
            "/dead?queue=default",
            f"/task?id={found.dead}",
            f"/batch?id={found.batch}",
            "/workers",
        ):
            await page.goto(f"/look{path}")
            assert await page.locator("main form[method=post]").count() == 0


async def test_tenant_sees_its_own(settings: MakeSettings, browser_url: str) -> None:
    """And nothing of others, in any list."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser_url, found.url) as page:
        await page.goto("/deep/own/dead?queue=default")
        await expect(page.get_by_role("main")).not_to_contain_text("alone")
        answer = await page.goto(f"/deep/own/task?id={found.dead}")
        assert answer is not None
        assert answer.status == 404
        await page.goto(f"/deep/own/batch?id={found.batch}")
        await expect(page.get_by_role("main")).to_contain_text("failed")
