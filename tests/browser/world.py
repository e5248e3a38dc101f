"""An app with a little of everything. What it is called is as hostile as it may be."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

from fastapi import Depends

from taskproc import ScheduleData, TaskProcessor, TaskProcessorSettings, background
from taskproc_fastapi import FastAPI
from taskproc_fastapi.dashboard import DashboardRights
from tests.browser.kit import Proxied, served
from tests.kit import wait_until

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\"'{{7*7}}javascript:alert(3)\u202e\x07"
TENANT = "acme.co/a=b|c+d@e-f"
FAIR = "imports/a=b[fair]"
NOBODY = "nobody-serves"
HOUR = timedelta(hours=1)
ENDS_WITHIN = 20  # seconds

HostileError = type("<b onmouseover=alert(4)>Error</b>", (ValueError,), {})


@background
async def note(text: str = "", *, password: str = "") -> None:
    """Ends at once."""


@background
async def fail(text: str, number: int = 0) -> None:
    """Fails for good."""
    raise ValueError(f"row {number}: {text}")


@background(retries=5)
async def fail_for_now(text: str) -> None:
    """Fails, and is retried in an hour."""
    raise HostileError(text)


@background
async def wait(text: str) -> None:
    """Runs until it is cancelled."""
    await asyncio.sleep(3600)


@dataclass(frozen=True, slots=True)
class World:
    """The app as it is served, and ids of what is in it."""

    url: str
    tasks: TaskProcessor
    batch: str
    """Of TENANT; it has ended, two of its tasks are dead."""
    going_on: str
    """A batch of TENANT that has not ended, with something to do after it."""
    running: str
    dead: str
    """Of another tenant."""
    retried: str
    delayed: str
    ready: str


def settings_of(redis: str, prefix: str) -> TaskProcessorSettings:
    """With a worker that serves some of the queues."""
    return TaskProcessorSettings(
        redis=redis, prefix=prefix, queues=["default", "slow", FAIR], max_workers=4, shutdown_grace=timedelta(0),
        on_task_failed_delay=lambda _ctx, _left: HOUR,
    )  # fmt: skip


def everything() -> DashboardRights:
    """Of whoever asks."""
    return DashboardRights(operate=True, user=HOSTILE[:60])


def nothing_but_look() -> DashboardRights:
    """Sees all, does nothing."""
    return DashboardRights(operate=False, user="reader")


def of_one_tenant() -> DashboardRights:
    """Sees and does what is of one tenant."""
    return DashboardRights(operate=True, tenant=TENANT, user="their admin")


def app_of(settings: TaskProcessorSettings) -> FastAPI:
    """With a dashboard for each kind of viewer."""
    app = FastAPI()
    app.add_task_processor(settings)
    app.add_task_processor_executor()
    guard = [Depends(lambda: None)]
    app.add_task_processor_dashboard("/tasks", dependencies=guard, rights=everything, redact=False)
    app.add_task_processor_dashboard("/look", dependencies=guard, rights=nothing_but_look)
    app.add_task_processor_dashboard("/deep/own", dependencies=guard, rights=of_one_tenant)
    return app


@asynccontextmanager
async def world(redis: str, prefix: str, behind: str = "") -> AsyncGenerator[World]:
    """The app, served, when all that is meant to have happened has; behind a proxy that takes off a prefix."""
    app = app_of(settings_of(redis, prefix))
    tasks: TaskProcessor = app.state.task_processor
    async with served(Proxied(app, behind) if behind else app) as url:
        yield await _fill(tasks, url)
        await wait_until(lambda: _is_clear(tasks), ENDS_WITHIN, "an empty world")


async def _fill(tasks: TaskProcessor, url: str) -> World:
    async with tasks.batch("default", tenant=TENANT, scope=HOSTILE) as batch:
        for number in range(20):
            batch.enqueue(note, f"row {number}")
        for number in range(2):
            batch.on(retries=1).enqueue(fail, HOSTILE, number)
    async with tasks.batch(NOBODY, tenant=TENANT, scope="goes on") as going_on:
        going_on.enqueue(note, HOSTILE)
        going_on.continue_with(note, HOSTILE)
    made = World(
        url,
        tasks,
        batch.id,
        going_on.id,
        running=await tasks.on("slow", tenant=TENANT).enqueue(wait, HOSTILE),
        dead=await tasks.on(tenant="other", retries=1).enqueue(fail, "alone"),
        retried=await tasks.on(tenant=TENANT).enqueue(fail_for_now, HOSTILE),
        delayed=await tasks.on(tenant=TENANT, delay=HOUR).enqueue(note, HOSTILE, password="hunter2"),
        ready=await tasks.on(NOBODY, tenant=TENANT).enqueue(note, HOSTILE),
    )
    await _pause_and_schedule(tasks)
    await wait_until(lambda: _is_filled(made), ENDS_WITHIN, "the world")
    return made


async def _pause_and_schedule(tasks: TaskProcessor) -> None:
    await tasks.pause(tenant="third", reason=HOSTILE[:100], by=HOSTILE[:60], until=HOUR)
    for tenant in (TENANT, "other", "third"):
        await tasks.on(FAIR, tenant=tenant).enqueue(note, "fair")
    schedule = ScheduleData(
        id="nightly/a=b", cron="30 3 * * 1-5", timezone="Europe/Berlin", tenant=TENANT, scope=HOSTILE
    )
    await tasks.upsert_schedule(schedule, note, HOSTILE)


async def _is_filled(made: World) -> bool:
    batch, retried = await made.tasks.get_batch(made.batch), await made.tasks.get_task(made.retried)
    dead, running = await made.tasks.get_task(made.dead), await made.tasks.get_task(made.running)
    return bool(
        batch and batch.end and retried and retried.state == "delayed"
        and dead and dead.state == "dead" and running and running.state == "leased"
    )  # fmt: skip


async def _is_clear(tasks: TaskProcessor) -> bool:
    """Takes away what it can, whatever the test has done; whether nothing was left to take."""
    for pause in await tasks.get_pauses():
        await tasks.resume(queue=pause.queue, tenant=pause.tenant)
    left = False
    for tenant in await tasks.get_tenants():
        for schedule in await tasks.get_schedules(tenant):
            left |= await tasks.cancel_schedule(schedule.id, tenant)
        for batch in await tasks.get_batches(tenant):
            if batch.end is None:
                left = True
                await tasks.cancel_batch(batch.id)
    for queue in await tasks.get_queues():
        left |= bool(queue.length or queue.running or queue.delayed or queue.deadletter)
        await tasks.discard_dead_tasks(queue.name)
        for look in (tasks.get_running_tasks, tasks.get_tasks_in_queue, tasks.get_delayed_tasks):
            for task in await look(queue.name):
                await tasks.cancel_task(task.task_id)
    return not left


def pages_of(found: World) -> dict[str, str]:
    """The address of each page of a dashboard, by what its heading must contain."""
    tenant, fair = quote(TENANT, safe=""), quote(FAIR, safe="")
    return {
        "": "Overview",
        "/queues": "Queues",
        f"/queue?name={fair}": FAIR,
        "/queue?name=default&state=dead": "default",
        "/queue?name=slow&state=running": "slow",
        "/queue?name=default&state=delayed": "default",
        f"/queue?name={NOBODY}": NOBODY,
        f"/batches?tenant={tenant}": "Batches",
        f"/batch?id={found.batch}": HOSTILE[:20],
        f"/batch?id={found.going_on}": "goes on",
        f"/task?id={found.batch}.0.20": "fail",
        f"/task?id={found.running}": "wait",
        f"/task?id={found.retried}": "fail_for_now",
        f"/task?id={found.delayed}": "note",
        "/task?id=gone": "No such task",
        "/dead?queue=default": "Dead letters",
        f"/schedules?tenant={tenant}": "Schedules",
        "/workers": "Workers",
        f"/tenant?name={tenant}": TENANT[:10],
        "/tenants": "Tenants",
        "/batches?state=running": "Batches",
        "/redis": "Redis",
        "/audit": "Audit",
        "/search?q=nothing+of+that+kind": "Search",
    }
