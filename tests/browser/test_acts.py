"""Every act of the dashboard, done as a person does it: with a button, and a second one for what destroys."""

import json
import re
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, Page, expect

from taskproc_fastapi.dashboard.acts import ACTS
from tests.browser.kit import browsing, look, page_faults
from tests.browser.world import FAIR, HOSTILE, NOBODY, TENANT, World, note, world
from tests.conftest import MakeSettings
from tests.kit import wait_until

Play = Callable[[Page, World], Awaitable[None]]

_PLAYS: dict[tuple[str, ...], Play] = {}


def play(*acts: str) -> Callable[[Play], Play]:
    """Marks what performs these acts, in this order."""

    def mark(function: Play) -> Play:
        _PLAYS[acts] = function
        return function

    return mark


async def press(page: Page, name: str, confirm: str = "", *, says: str) -> None:
    """Presses a button, and the one that confirms; the page must say what was done."""
    await page.get_by_role("main").get_by_role("button", name=name, exact=True).first.click()
    if confirm:
        await page.get_by_role("button", name=confirm, exact=True).click()
    await expect(page.get_by_role("status")).to_have_text(says)


async def runs_again(found: World, task: str) -> None:
    """Returns when it has been tried once more, and failed."""

    async def is_dead_again() -> bool:
        known = await found.tasks.get_task(task)
        return len(await found.tasks.get_attempts(task)) == 2 and known is not None and known.state == "dead"

    await wait_until(is_dead_again, 10, "another attempt")


@play("pause", "resume")
async def pauses_and_resumes_a_queue(page: Page, found: World) -> None:
    """With a reason and for a time."""
    await page.goto(f"/tasks/queue?name={quote(FAIR, safe='')}")
    await page.get_by_text("Pause…").click()
    await page.get_by_label("Why").fill(HOSTILE[:60])
    await page.get_by_role("combobox", name="For").select_option("15")
    await press(page, f"Pause {FAIR}", says=f"Paused queue {FAIR}, for 15 min.")
    (pause,) = [each for each in await found.tasks.get_pauses() if each.queue]
    assert (pause.queue, pause.reason) == (FAIR, HOSTILE[:60])
    assert pause.until is not None
    await press(page, f"Resume {FAIR}", says=f"Resumed queue {FAIR}.")
    assert [each.tenant for each in await found.tasks.get_pauses()] == ["third"]


@play("resume", "pause")
async def resumes_and_pauses_a_tenant(page: Page, found: World) -> None:
    """From the list of them; and everything, from the overview."""
    await page.goto("/tasks/tenants")
    await press(page, "Resume third", says="Resumed tenant third.")
    await page.goto("/tasks")
    await page.get_by_text("Pause…").click()
    await press(page, "Pause everything", says="Paused everything, until it is resumed.")
    await expect(page.get_by_role("main")).to_contain_text("Everything is paused")
    assert [(each.queue, each.tenant) for each in await found.tasks.get_pauses()] == [(None, None)]


@play("retry-task")
async def retries_a_task(page: Page, found: World) -> None:
    """From its page."""
    await page.goto(f"/tasks/task?id={found.dead}")
    await press(page, "Retry", says="The task runs again.")
    await runs_again(found, found.dead)


@play("retry-task-with")
async def retries_a_task_with_other_arguments(page: Page, found: World) -> None:
    """Written by hand below those that it had; what does not fit is told, and what was typed is there to be mended."""
    await page.goto(f"/tasks/task?id={found.dead}")
    await page.get_by_text("Retry with other arguments").click()
    field = page.get_by_role("textbox", name="As JSON, by name")
    await expect(field).to_have_value('{\n  "text": "alone"\n}')
    await field.fill('{"text": 5}')
    await page.get_by_role("button", name="Retry with these").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("These arguments do not fit")
    await expect(page.get_by_role("main")).to_contain_text("argument text does not fit str")
    await page.go_back()
    await page.get_by_text("Retry with other arguments").click()
    await field.fill(json.dumps({"text": HOSTILE, "number": 7}))
    await press(page, "Retry with these", says="The task runs again, with these arguments.")
    await runs_again(found, found.dead)
    assert await found.tasks.get_arguments(found.dead) == {"text": HOSTILE, "number": 7}


@play("discard-task")
async def discards_a_task(page: Page, found: World) -> None:
    """From its page, which is then no more, and says so."""
    await page.goto(f"/tasks/task?id={found.dead}")
    await page.get_by_role("button", name="Discard…").click()
    await page.get_by_role("button", name="Discard the task").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("No such task")
    assert await found.tasks.get_task(found.dead) is None


@play("cancel-task")
async def cancels_a_task(page: Page, found: World) -> None:
    """That runs: its page says how it ends, and then that it is no more."""
    await page.goto(f"/tasks/task?id={found.running}")
    await page.get_by_role("button", name="Cancel…").click()
    await expect(page.get_by_role("main")).to_contain_text("It is running, and will be interrupted.")
    await page.get_by_role("button", name="Cancel the task").click()
    await expect(page.get_by_role("button", name="Cancel the task")).to_be_hidden()
    await wait_until(lambda: _is_gone(found, found.running), 10, "the end of the task")


async def _is_gone(found: World, task: str) -> bool:
    return await found.tasks.get_task(task) is None


@play("retry-dead", "discard-dead")
async def retries_and_discards_chosen_ones(page: Page, found: World) -> None:
    """And no other."""
    await page.goto("/tasks/queue?name=default&state=dead")
    await page.get_by_role("checkbox", name=f"Choose {found.dead}").check()
    await press(page, "Retry chosen", says="1 task runs again.")
    await runs_again(found, found.dead)
    await page.goto("/tasks/queue?name=default&state=dead")
    await page.get_by_role("checkbox", name="Choose all").check()
    await page.get_by_role("checkbox", name=f"Choose {found.dead}").uncheck()
    await page.get_by_role("button", name="Discard chosen").click()
    await page.get_by_role("button", name="Discard them").click()
    await expect(page.get_by_role("status")).to_have_text("Discarded 2 tasks.")
    assert [each.task_id for each in await found.tasks.get_dead_tasks("default")] == [found.dead]


@play("retry-all-dead")
async def retries_a_group(page: Page, found: World) -> None:
    """Of those that failed alike: there are two groups."""
    await page.goto("/tasks/dead?queue=default")
    group = page.get_by_role("listitem").filter(has_text="<img src=x")
    await group.get_by_role("button", name=re.compile("^Retry all…")).click()
    await press(page, "Retry all", says="2 tasks run again.")
    await runs_again(found, f"{found.batch}.0.20")
    await runs_again(found, f"{found.batch}.0.21")
    assert len(await found.tasks.get_attempts(found.dead)) == 1


@play("discard-dead")
async def discards_all(page: Page, found: World) -> None:
    """Of a queue."""
    await page.goto("/tasks/dead?queue=default")
    await press(page, "Discard all… of queue default", "Discard them", says="Discarded 3 tasks.")
    assert (await found.tasks.get_queue("default")).deadletter == 0


@play("retry-all-dead", "discard-dead")
async def acts_on_what_matches(page: Page, found: World) -> None:
    """What the filter field says: some run again, another is discarded."""
    await page.goto("/tasks/dead?queue=default")
    await page.get_by_label("Filter").fill(f"tenant:{TENANT}")
    await page.get_by_label("Filter").press("Enter")
    await page.get_by_role("button", name=re.compile("^Retry all that match…")).click()
    await expect(page.get_by_role("main")).to_contain_text(f"that match “tenant:{TENANT}” (2 now) will run again")
    await press(page, "Retry all", says="2 tasks run again.")
    await runs_again(found, f"{found.batch}.0.20")
    await runs_again(found, f"{found.batch}.0.21")
    await expect(page.get_by_label("Filter")).to_have_value(f"tenant:{TENANT}")
    await page.get_by_label("Filter").fill('message:"row 0: alone"')
    await page.get_by_role("button", name="Show", exact=True).click()
    await press(page, "Discard all that match… of queue default that match", "Discard them", says="Discarded 1 task.")
    assert await found.tasks.get_task(found.dead) is None
    assert (await found.tasks.get_queue("default")).deadletter == 2


@play("retry-batch")
async def retries_what_failed_in_a_batch(page: Page, found: World) -> None:
    """And only that."""
    await page.goto(f"/tasks/batch?id={found.batch}")
    await press(page, "Retry failed…", "Retry what failed", says="2 tasks of the batch run again.")
    await runs_again(found, f"{found.batch}.0.21")
    assert len(await found.tasks.get_attempts(found.dead)) == 1


@play("cancel-batch")
async def cancels_a_batch(page: Page, found: World) -> None:
    """That has not ended."""
    async with found.tasks.batch(NOBODY, tenant=TENANT) as batch:
        batch.enqueue(note, "waits")
    await page.goto(f"/tasks/batch?id={batch.id}")
    await press(page, "Cancel…", "Cancel the batch", says="The batch is canceled.")
    info = await found.tasks.get_batch(batch.id)
    assert info is not None
    assert info.state == "canceled"


@play("trigger-schedule", "pause-schedule", "resume-schedule", "cancel-schedule")
async def steers_a_schedule(page: Page, found: World) -> None:
    """All that can be done to one."""

    async def paused() -> list[bool]:
        return [each.paused for each in await found.tasks.get_schedules(TENANT)]

    one = "nightly/a=b"
    await page.goto(f"/tasks/schedules?tenant={quote(TENANT, safe='')}")
    await press(page, f"Trigger {one}", says=f"Schedule {one} was started once.")
    await press(page, f"Pause {one}", says=f"Schedule {one} is paused.")
    assert await paused() == [True]
    await press(page, f"Resume {one}", says=f"Schedule {one} goes on.")
    assert await paused() == [False]
    await press(page, f"Remove… {one}", "Remove the schedule", says=f"Schedule {one} is removed.")
    assert await paused() == []


@play("drain-worker", "resume-worker")
async def drains_a_worker(page: Page, found: World) -> None:
    """And lets it go on."""

    async def draining() -> list[bool]:
        return [each.draining for each in await found.tasks.get_workers()]

    (worker,) = await found.tasks.get_workers()
    await page.goto("/tasks/workers")
    await press(page, f"Drain… {worker.id}", "Drain the worker", says="The worker fetches nothing more.")
    assert await draining() == [True]
    await press(page, f"Let it fetch {worker.id}", says="The worker fetches again.")
    assert await draining() == [False]


@play("stacks", "stacks")
async def looks_at_stacks(page: Page, found: World) -> None:
    """They are on a page of their own, from where one may look again."""
    (worker,) = await found.tasks.get_workers()
    await page.goto("/tasks/workers")
    await press(page, f"Stacks {worker.id}", says="The worker has told what it is doing.")
    await expect(page.get_by_role("heading", name="Stacks of worker")).to_contain_text(worker.id)
    await expect(page.locator("details[open] pre")).to_have_count(1)
    assert await page_faults(page, "/stacks") == []
    await look(page, "desk", "light")
    await press(page, "Look again", says="The worker has told what it is doing.")
    await expect(page.locator("details[open] pre")).to_contain_text("await")


@pytest.mark.parametrize("acts", _PLAYS, ids="+".join)
async def test_acts(settings: MakeSettings, browser: Browser, acts: tuple[str, ...]) -> None:
    """They are done, the page says so, and the audit list has them with who did them."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url, bears="404|422") as page:
        await _PLAYS[acts](page, found)
        done = await found.tasks.get_audit()
        assert [entry.act for entry in reversed(done)] == list(acts)
        assert {entry.by for entry in done} == {HOSTILE[:60]}
        await page.goto("/tasks/audit")
        await expect(page.get_by_role("main").get_by_role("row")).to_have_count(len(done) + 1)
        await expect(page.get_by_role("main")).to_contain_text(HOSTILE[:60])


def test_no_act_is_left_out() -> None:
    """Each is played here."""
    assert {act for acts in _PLAYS for act in acts} == set(ACTS)


async def test_act_can_be_left_alone(settings: MakeSettings, browser: Browser) -> None:
    """Who is asked whether to discard, and goes back, has done nothing."""
    made = settings()
    async with world(made.redis, made.prefix) as found, browsing(browser, found.url) as page:
        await page.goto(f"/tasks/task?id={found.dead}")
        await page.get_by_role("button", name="Discard…").click()
        await page.get_by_role("link", name="Back").click()
        await expect(page.get_by_role("button", name="Discard…")).to_be_visible()
        assert await found.tasks.get_audit() == []
