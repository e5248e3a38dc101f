"""An app with a little of everything: queues, tenants, batches, dead tasks, schedules. Names are as hostile as they may be."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from fastapi import Depends

from taskproc import ScheduleData, TaskProcessor, TaskProcessorSettings, background
from taskproc_fastapi import FastAPI
from taskproc_fastapi.dashboard import DashboardRights
from tests.browser.kit import served
from tests.kit import wait_until

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\"'{{7*7}}javascript:alert(3)\u202e\x07"
TENANT = "acme.co/a=b|c+d@e-f"
FAIR = "imports/a=b[fair]"
HOUR = timedelta(hours=1)


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
    raise ConnectionError(text)


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
    running: str
    dead: str
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
    return DashboardRights(operate=False, user="reader")


def of_one_tenant() -> DashboardRights:
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
async def world(redis: str, prefix: str, root_path: str = "") -> AsyncGenerator[World]:
    """The app, served, when all that is meant to have happened has."""
    app = app_of(settings_of(redis, prefix))
    tasks: TaskProcessor = app.state.task_processor
    async with served(app, root_path) as url:
        made = await _fill(tasks, url)
        yield made
        await _clear(tasks)


async def _fill(tasks: TaskProcessor, url: str) -> World:
    async with tasks.batch("default", tenant=TENANT, scope=HOSTILE) as batch:
        for number in range(20):
            batch.enqueue(note, f"row {number}")
        for number in range(2):
            batch.on(retries=1).enqueue(fail, HOSTILE, number)
    dead = await tasks.on(tenant="other", retries=1).enqueue(fail, "alone")
    await tasks.on(tenant=TENANT).enqueue(fail_for_now, HOSTILE)
    running = await tasks.on("slow", tenant=TENANT).enqueue(wait, HOSTILE)
    delayed = await tasks.on(tenant=TENANT, delay=HOUR).enqueue(note, HOSTILE, password="hunter2")
    ready = await tasks.on("nobody-serves", tenant=TENANT).enqueue(note, HOSTILE)
    for tenant in (TENANT, "other", "third"):
        await tasks.on(FAIR, tenant=tenant).enqueue(note, "fair")
    schedule = ScheduleData(
        id="nightly/a=b", cron="30 3 * * 1-5", timezone="Europe/Berlin", tenant=TENANT, scope=HOSTILE
    )
    await tasks.upsert_schedule(schedule, note, HOSTILE)

    async def is_ready() -> bool:
        ended, died = await tasks.get_batch(batch.id), await tasks.get_task(dead)
        ran = await tasks.get_task(running)
        return bool(ended and ended.end and died and died.state == "dead" and ran and ran.state == "leased")

    await wait_until(is_ready, 20, "the world")
    return World(url, tasks, batch.id, running, dead, delayed, ready)


async def _clear(tasks: TaskProcessor) -> None:
    """Leaves nothing behind, whatever the test has done."""
    await tasks.resume()
    for pause in await tasks.get_pauses():
        await tasks.resume(queue=pause.queue, tenant=pause.tenant)
    for tenant in await tasks.get_tenants():
        for schedule in await tasks.get_schedules(tenant):
            await tasks.cancel_schedule(schedule.id, tenant)
    for queue in await tasks.get_queues():
        await tasks.discard_dead_tasks(queue.name)
        found = await tasks.get_tasks_in_queue(queue.name), await tasks.get_delayed_tasks(queue.name)
        running = await tasks.get_running_tasks(queue.name)
        for task in [*running, *(one for some in found for one in some)]:
            await tasks.cancel_task(task.task_id)
