"""What a dashboard says of what stands still, is slow, or will be empty; and what it costs to look."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from taskproc import BatchInfo, ScheduleData, TaskProcessor
from taskproc.statistics import Durations, StatisticsPoint, emptying
from taskproc_fastapi.dashboard.pages import overview
from taskproc_fastapi.dashboard.pages.batches import pace_of
from tests.conftest import MakeSettings
from tests.fastapi.dashboard_kit import (
    OPERATOR,
    TENANT,
    fail,
    guarded_app,
    hang,
    links,
    running,
    served,
    text_of,
    things_of_acme,
    work,
)
from tests.kit import wait_until

ENDS_IN_THE_MIDDLE = "the test ends while tasks are queued"
NOW = datetime.now(UTC)


async def said(client: httpx.AsyncClient, path: str, headers: dict[str, str] = OPERATOR) -> str:
    """What a page says."""
    page = await client.get(f"/tasks/{path}" if path else "/tasks", headers=headers)
    assert page.status_code == 200, path
    return text_of(page.text)


# What stands still


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_what_no_worker_serves(settings: MakeSettings) -> None:
    """Is marked where queues are listed, and explained with the queue and its batches."""
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client, things_of_acme(processor) as things:
        for path in ("", "queues"):
            page = await said(client, path)
            assert re.search(r" idle no worker ", page), path
            assert not re.search(r" default no worker ", page), path
        unserved = "No worker serves queue idle: add it to the queues of one."
        assert unserved in await said(client, "queue?name=idle")
        assert "No worker serves" not in await said(client, "queue?name=default")
        batch = await said(client, f"batch?id={things.batch}")
        assert f"The batch is running, 0 of 2 done. Its next task is ready in queue idle. {unserved}" in batch


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_what_is_a_paused_tenants(settings: MakeSettings) -> None:
    """Its batches say so, and no more when they will be done; so do their list, and what there is to look at."""
    app = guarded_app(settings(queues=["mail[fair]"]))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        async with processor.batch("mail[fair]", tenant="acme", scope="Album") as batch:
            for number in range(3):
                batch.enqueue(work, number)
        await processor.pause(tenant="acme", reason="audit", by="ann")
        page = await said(client, f"batch?id={batch.id}")
        assert "Tenant acme is paused by ann (audit): resume the tenant." in page
        assert " left" not in page
        assert re.search(
            r"What is acme’s is paused \(by ann, .*\): audit Resume", await said(client, "batches?tenant=acme")
        )
        assert "It has tasks of tenants that are paused: acme." in await said(client, "queue?name=mail[fair]")
        assert "a pause holds up tenant &#39;acme&#39; , of which 3 tasks wait" in await said(client, "")
        await processor.resume(tenant="acme")


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_cycles_that_are_skipped(settings: MakeSettings) -> None:
    """A schedule leads to the task of its last cycle as long as there is one, and says when that holds up others."""
    app = guarded_app(settings(queues=["default"], shutdown_grace=0, use_cron_seconds=True))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client, running(processor):
        broken = ScheduleData(id="broken", cron="* * * * * *", tenant="acme", retries=1)
        await processor.upsert_schedule(broken, fail, "cycle")
        await processor.upsert_schedule(replace(broken, id="busy", unique=True), hang, 60)

        async def have_run() -> bool:
            queue = await processor.get_queue("default")
            return queue.running == 1 and queue.deadletter > 0

        await wait_until(have_run)
        await processor.pause_schedule("broken", "acme")
        page = await said(client, "schedules?tenant=acme")
        assert re.search(r"Its task busy:\d+ runs: until it has ended, cycles are skipped", page)
        assert re.search(r"Its task broken:\d+ is dead ", page)
        links = (await client.get("/tasks/schedules?tenant=acme", headers=OPERATOR)).text
        [task] = re.findall(r'href="(/tasks/task\?id=broken%3A\d+)"', links)
        assert "ValueError cannot: cycle" in text_of((await client.get(task, headers=OPERATOR)).text)


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_a_canceled_batch_offers_no_retry(settings: MakeSettings) -> None:
    """Neither of all that failed nor of a task: nothing of it runs again."""
    app = guarded_app(settings(queues=["default"]))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        async with processor.batch(tenant="acme") as batch:
            batch.enqueue(fail, "a")
            batch.on("idle").enqueue(work, 1)
        async with running(processor):
            await wait_until(lambda: has_dead(processor))
        page = f"/tasks/batch?id={batch.id}"
        running_on = (await client.get(page, headers=OPERATOR)).text
        assert "act/retry-task" in running_on
        [alike] = [link for link in links(running_on) if "/dead?queue=default" in link]
        assert re.search("1 task of default matches, 1 kind", text_of((await client.get(alike, headers=OPERATOR)).text))
        await processor.cancel_batch(batch.id)
        canceled = (await client.get(page, headers=OPERATOR)).text
        assert "cannot: a" in canceled
        assert "act/retry" not in canceled


async def has_dead(processor: TaskProcessor, number: int = 1) -> bool:
    """Whether so many tasks are dead."""
    return (await processor.get_queue("default")).deadletter == number


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_batches_of_all_tenants(settings: MakeSettings) -> None:
    """Those that run, and those that failed, whosever they are; a viewer of one tenant has its own only."""
    app = guarded_app(settings(queues=["default"]))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        for tenant in ("acme", "bob"):
            async with processor.batch("idle", tenant=tenant, scope=f"Album of {tenant}") as batch:
                batch.enqueue(work, 1)
            async with processor.batch(tenant=tenant, scope=f"Broken of {tenant}") as failing:
                failing.enqueue(fail, "a")
        async with running(processor):
            await wait_until(lambda: has_dead(processor, 2))
        runs, failed = await said(client, "batches?state=running"), await said(client, "batches?state=failed")
        for tenant in ("acme", "bob"):
            assert re.search(rf"Album of {tenant} {tenant} running ", runs)
            assert re.search(rf"Broken of {tenant} {tenant} failed ", failed)
        assert "Broken" not in runs
        assert "Album" not in failed
        own = await said(client, "batches?state=running", TENANT)
        assert "Album of bob" in own
        assert "acme" not in own


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_a_tenant_has_a_page(settings: MakeSettings) -> None:
    """With all that is its own, by queue, found by its name; for a viewer of one tenant only that."""
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client, things_of_acme(processor):
        await processor.on("idle", tenant="bob").enqueue(work, 9)
        found = await client.get("/tasks/search?q=acme", headers=OPERATOR)
        assert found.headers["location"] == "/tasks/tenant?name=acme"
        page = await said(client, "tenant?name=acme")
        assert re.search(r"Ready 3 .*Running 1 .*Delayed 1 .*Dead 6 .*Batches 2 .*Schedules 1 ", page)
        assert re.search(r" default 0 1 0 6 idle 3 0 1 0 ", page)
        assert re.search(r" Album running 0 / 2 .* Broken failed ", page)
        assert re.search(r" idle 1 0 0 0 ", await said(client, "tenant?name=bob", TENANT))
        assert (await client.get("/tasks/tenant?name=acme", headers=TENANT)).status_code == 404
        await processor.pause(tenant="acme", by="ann")
        assert re.search(r"What is acme’s is paused \(by ann, .*\) Resume", await said(client, "tenant?name=acme"))


# What a viewer of one tenant is not told


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_a_tenant_learns_nothing_of_workers(settings: MakeSettings) -> None:
    """Neither which one runs a task, nor how many there are."""
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    acme = {**TENANT, "x-tenant": "acme"}
    async with served(app) as client, things_of_acme(processor) as things:
        for path in ("", "queue?name=default&state=running", f"task?id={things.running}", f"task?id={things.dead[0]}"):
            mine, theirs = await said(client, path), await said(client, path, acme)
            assert things.worker in mine or "Workers 1 alive" in mine, path
            assert things.worker not in theirs, path
            assert "Workers" not in theirs, path


# How fast


def point(minutes_ago: int, ready: int | None, ended: int = 0) -> StatisticsPoint:
    """A minute, at whose begin so many were ready."""
    nothing = dict.fromkeys(("failed", "retried", "canceled", "released", "running", "delayed", "dead"), 0)
    at = NOW - timedelta(minutes=minutes_ago)
    return StatisticsPoint(
        at=at, seconds=60, done=ended, ready=ready, run=Durations(), wait=Durations(), **nothing
    )  # fmt: skip


@pytest.mark.parametrize(
    "points, ready, found",
    [
        ([], 5, None),
        ([point(1, 100, 60)], 0, None),
        ([point(2, 100)], 100, None),
        ([point(3, 0), point(2, 0), point(1, 1000, 600)], 400, (40, True)),
        ([point(2, 0), point(1, 0, 600)], 6000, (1200, False)),
        ([point(2, 500, 120), point(1, 500, 120)], 500, (250, False)),
        ([point(9, 9000), *(point(ago, 500) for ago in range(8, 1, -1)), point(1, None, 60)], 500, (1000, False)),
    ],
    ids=["nothing known", "empty", "nothing ends", "after a burst", "in a burst", "steady", "slow"],
)
def test_when_a_queue_is_empty(points: list[StatisticsPoint], ready: int, found: tuple[int, bool] | None) -> None:
    """By how much it has become shorter since there was most; else by what ends, if nothing is added."""
    told = emptying(points, ready, NOW)
    assert (None if told is None else (round(told.seconds), told.shrinks)) == found


def test_pace_is_of_what_ran() -> None:
    """What was canceled is no work; where nothing ran there is no rate; a pause lets nobody hope."""
    begun = datetime.now(UTC) - timedelta(seconds=10)
    going_on = BatchInfo(
        id="b", tenant="t", scope="", state="running", start=begun, end=None, total=100, done=20, failed=0, canceled=30,
        remaining=50, duration=5.0,
    )  # fmt: skip
    assert round(pace_of(going_on).per_second or 0) == 2
    assert round(pace_of(going_on).left or 0) == 25
    assert pace_of(going_on, paused=True).left is None
    canceled = replace(going_on, state="canceled", end=begun, done=0, canceled=100, remaining=0)
    assert (pace_of(canceled).per_second, pace_of(canceled).each) == (None, None)


# What a look costs


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_statistics_are_read_once(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all queues together; and of a long span, now and then only."""
    app = guarded_app(settings())
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        for number in range(5):
            await processor.on(f"queue-{number}").enqueue(work, 1)
        looked = counted(monkeypatch, "get_statistics", "get_statistics_of_queues")
        await said(client, "queues")
        assert looked == ["get_statistics_of_queues"]
        looked.clear()
        for _ in range(3):
            await said(client, "?span=72h")
        assert len(looked) == 1 + 3, "the speed of the last minutes is looked up each time"
        monkeypatch.setattr(overview, "STATISTICS_LAST", 0.0)
        await said(client, "?span=72h")
        assert len(looked) == 6


def counted(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """The names of these calls, as they are made."""
    calls: list[str] = []

    def counting(name: str) -> Callable[..., Awaitable[object]]:
        original = getattr(TaskProcessor, name)

        async def count(*args: object, **options: object) -> object:
            calls.append(name)
            return await original(*args, **options)

        return count

    for name in names:
        monkeypatch.setattr(TaskProcessor, name, counting(name))
    return calls
