"""What a worker is doing, on a page of the dashboard, for those who may ask."""

import asyncio
import re
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from taskproc import StackFrame, TaskProcessor, TaskStack, WorkerSilent, WorkerStacks, background
from tests.conftest import MakeSettings
from tests.fastapi.dashboard_kit import HOSTILE, OPERATOR, READER, SAME_SITE, TENANT, guarded_app, hang, running, served
from tests.fastapi.dashboard_kit import text_of as words_of
from tests.kit import wait_until

ENDS_IN_THE_MIDDLE = "the test ends while tasks are queued"
RELEASE = threading.Event()


@background
async def hold_up() -> None:
    """Holds up the event loop of its worker."""
    RELEASE.wait(20)


async def press(client: httpx.AsyncClient, worker: str, who: dict[str, str]) -> httpx.Response:
    """The button of a worker."""
    return await client.post("/tasks/act/stacks", data={"id": worker, "back": "/tasks/workers"}, headers=who)


def details(html: str) -> list[tuple[bool, str, str]]:
    """Of each task: whether it is unfolded, its head, and its stack."""
    found = re.findall(r"<details[^>]*?( open)?>\s*<summary>(.*?)</summary>.*?<pre[^>]*>(.*?)</pre>", html, re.DOTALL)
    return [(bool(is_open), words_of(head), words_of(stack)) for is_open, head, stack in found]


@asynccontextmanager
async def working_elsewhere(settings: MakeSettings) -> AsyncGenerator[None]:
    """A worker in an event loop of its own; what holds that up is released in the end."""
    stopped = threading.Event()

    async def work() -> None:
        async with TaskProcessor(settings(shutdown_grace=0)) as processor, running(processor):
            await wait_until(stopped.is_set, 60)

    RELEASE.clear()
    ended = asyncio.get_running_loop().run_in_executor(None, lambda: asyncio.run(work()))
    try:
        yield
    finally:
        RELEASE.set()
        stopped.set()
        await ended


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_a_worker_whose_event_loop_is_held_up(settings: MakeSettings) -> None:
    """The button leads to a page with the task that does it first, unfolded and marked; it is noted who has asked."""
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client, working_elsewhere(settings):
        hanging = await processor.enqueue(hang, 60)
        await wait_until(lambda: is_running(processor, hanging), 10)
        blocking = await processor.enqueue(hold_up)
        await wait_until(lambda: is_running(processor, blocking), 10)
        await asyncio.sleep(0.3)
        [worker] = await processor.get_workers()
        page = await client.get("/tasks/workers", headers=OPERATOR)
        assert re.search(r'action="/tasks/act/stacks">.*?name="id" value="' + worker.id, page.text, re.DOTALL)
        answer = await press(client, worker.id, OPERATOR | SAME_SITE)
        where = f"/tasks/stacks?id={worker.id}"
        assert (answer.status_code, answer.headers["location"]) == (303, where)
        shown = await client.get(where, headers=OPERATOR)
        [entry] = await processor.get_audit()
    first, second = details(shown.text)
    assert first[0] is True
    assert re.search(r"test_dashboard_stacks: hold_up for .* has blocked the event loop for ", first[1])
    assert re.search(r"test_dashboard_stacks.py:\d+ hold_up RELEASE.wait\(20\)", first[2])
    assert (second[0], "blocked" in second[1]) == (False, False)
    assert "await asyncio.sleep(seconds)" in second[2]
    assert f"/tasks/task?id={hanging}" in shown.text
    assert (entry.act, entry.target, entry.by, entry.tenant) == ("stacks", worker.id, "ann", None)


async def test_who_may_not_ask(settings: MakeSettings) -> None:
    """Viewers of one tenant, those who may only look, and other sites: no worker is asked, and there is no button."""
    app = guarded_app(settings())
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client, running(processor):
        await wait_until(processor.get_workers)
        [worker] = await processor.get_workers()
        assert "act/stacks" not in (await client.get("/tasks/workers", headers=READER)).text
        cross, unsaid = OPERATOR | {"Sec-Fetch-Site": "cross-site"}, OPERATOR
        for who in (READER | SAME_SITE, TENANT | SAME_SITE, cross, unsaid):
            assert (await press(client, worker.id, who)).status_code == 403
        for who in (READER, TENANT):
            assert (await client.get("/tasks/stacks", params={"id": worker.id}, headers=who)).status_code == 403
        assert await processor.get_stacks(worker.id, anew=False) is None
        assert await processor.get_audit() == []


async def is_running(processor: TaskProcessor, task_id: str) -> bool:
    """Whether a worker has fetched the task."""
    task = await processor.get_task(task_id)
    return task is not None and task.state == "leased"


async def test_workers_that_cannot_be_asked(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not there, and one that does not answer, which is said; neither is noted. Of a minute in which nobody
    asked, the page says so, and has the button.
    """
    app = guarded_app(settings())
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        assert (await press(client, "gone", OPERATOR | SAME_SITE)).status_code == 409
        assert (await client.get("/tasks/stacks", headers=OPERATOR)).status_code == 422
        page = await client.get("/tasks/stacks", params={"id": "gone"}, headers=OPERATOR)
        assert "Nobody has asked within the last minute" in words_of(page.text)
        assert 'action="/tasks/act/stacks"' in page.text

        async def silent(*_args: object, **_options: object) -> None:
            raise WorkerSilent("worker w did not say within 10 s what it is doing")

        monkeypatch.setattr(TaskProcessor, "get_stacks", silent)
        answer = await press(client, "w", OPERATOR | SAME_SITE)
        assert answer.status_code == 504
        assert "Worker w did not say within 10 s what it is doing." in words_of(answer.text)
        assert await processor.get_audit() == []


async def test_hostile_names(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever files, functions, calls and tenants are called: it is text. What was left out is told."""
    frame = StackFrame(file=HOSTILE, line=1, function=HOSTILE, source=HOSTILE)
    task: dict[str, Any] = {"task_id": HOSTILE, "call": HOSTILE, "tenant": HOSTILE, "seconds": 3.0, "left_out": 1234}
    waiting = TaskStack(**task, in_thread=True, holds_loop=False, frames=[frame])
    found = WorkerStacks(worker="w", taken=datetime.now(UTC), late=0.5, loop=[frame], tasks=[waiting] * 2, more=5_000)

    async def answered(*_args: object, **_options: object) -> WorkerStacks:
        return found

    monkeypatch.setattr(TaskProcessor, "get_stacks", answered)
    app = guarded_app(settings())
    async with served(app) as client:
        page = (await client.get("/tasks/stacks", params={"id": HOSTILE}, headers=OPERATOR)).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 10
        assert re.findall(r"\sstyle=|\son\w+=\"|<style|javascript:", page) == []
        shown = words_of(page)
        assert "No task has blocked the event loop for 500 ms" in shown
        assert "1,234 outer frames left out" in shown
        assert "5,000 more tasks." in shown
        assert "in a thread" in shown
