"""Apps with a dashboard, and things of two tenants to be looked at and steered."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import fastapi
import httpx
from fastapi import Depends, Header, HTTPException

from taskproc import ScheduleData, TaskInfo, TaskProcessor, TaskProcessorSettings, background
from taskproc_fastapi import DashboardRights, FastAPI
from tests.kit import wait_until

SAME_SITE = {"Sec-Fetch-Site": "same-origin"}
ANONYMOUS: dict[str, str] = {}
READER = {"x-user": "rita", "x-read": "yes"}
TENANT = {"x-user": "bob", "x-tenant": "bob"}
OPERATOR = {"x-user": "ann"}

HOSTILE = """<script>alert(1)</script>"><img src=x onerror=alert(2)>'{{7*7}}"""
FAIR = "a/b[fair]"


@background
async def work(number: int, api_key: str = "hush", options: dict[str, Any] | None = None) -> None:
    """Nothing."""


@background(retries=1)
async def fail(word: str) -> None:
    """Fails for good at once."""
    raise ValueError(f"cannot: {word}")


@background
async def hang(seconds: float) -> None:
    """Runs until it is interrupted."""
    await asyncio.sleep(seconds)


def guard(x_user: Annotated[str | None, Header()] = None) -> str:
    """Lets nobody in who does not say who it is."""
    if x_user is None:
        raise HTTPException(401)
    return x_user


def rights(
    user: Annotated[str, Depends(guard)],
    x_tenant: Annotated[str | None, Header()] = None,
    x_read: Annotated[str | None, Header()] = None,
) -> DashboardRights:
    """As the headers say."""
    return DashboardRights(operate=x_read is None, tenant=x_tenant, user=user)


def guarded_app(settings: TaskProcessorSettings, path: str = "/tasks", **options: Any) -> FastAPI:
    """An app with a dashboard that `guard` guards."""
    app = FastAPI(**options)
    app.add_task_processor(settings)
    app.add_task_processor_dashboard(path, dependencies=[Depends(guard)], rights=rights)
    return app


@asynccontextmanager
async def served(app: fastapi.FastAPI, **options: Any) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the app while it runs."""
    transport = httpx.ASGITransport(app, **options)
    client = httpx.AsyncClient(transport=transport, base_url="http://desk", headers={"accept": "text/html"})
    async with app.router.lifespan_context(app), client:
        yield client


@dataclass(frozen=True, slots=True, kw_only=True)
class Things:
    """Of tenant acme, what there is of each kind."""

    ready: str
    delayed: str
    dead: list[str]
    running: str
    batch: str
    failed_batch: str
    schedule: str
    worker: str


@asynccontextmanager
async def running(processor: TaskProcessor) -> AsyncGenerator[None]:
    """Its tasks are run meanwhile."""
    working = asyncio.create_task(processor.run())
    try:
        yield
    finally:
        working.cancel()
        await asyncio.wait([working])


@asynccontextmanager
async def things_of_acme(processor: TaskProcessor) -> AsyncGenerator[Things]:
    """Tasks in all states, two batches, a schedule and a worker of `default`; queue `idle` is served by nobody."""
    async with running(processor):
        dead = [await processor.on(tenant="acme").enqueue(fail, f"parcel {number}") for number in range(5)]
        async with processor.batch(tenant="acme", scope="Broken") as failing:
            failing.enqueue(fail, "of a batch")
        busy = await processor.on(tenant="acme").enqueue(hang, 60)
        async with processor.batch("idle", tenant="acme", scope="Album") as batch:
            batch.continue_with(work, 0)
            batch.enqueue(work, 1)
            batch.enqueue(work, 2)
        schedule = ScheduleData(id="tidy/up", cron="0 9 * * 1-5", tenant="acme", queue="idle", timezone="Europe/Berlin")
        await processor.upsert_schedule(schedule, work, 3)
        ready = await processor.on("idle", tenant="acme").enqueue(work, 4)
        delayed = await processor.on("idle", tenant="acme", delay=timedelta(hours=1)).enqueue(work, 5)
        await wait_until(lambda: _has(processor, dead=6, running=1))
        (worker,) = await processor.get_workers()
        yield Things(
            ready=ready,
            delayed=delayed,
            dead=dead,
            running=busy,
            batch=batch.id,
            failed_batch=failing.id,
            schedule="tidy/up",
            worker=worker.id,
        )


async def _has(processor: TaskProcessor, dead: int, running: int) -> bool:
    queue = await processor.get_queue("default")
    return queue.deadletter == dead and queue.running == running


async def state_of(processor: TaskProcessor, task_id: str) -> str | None:
    """Of a task that has not ended."""
    task: TaskInfo | None = await processor.get_task(task_id)
    return None if task is None else task.state


def links(html: str) -> list[str]:
    """Where a page leads to, and what it loads."""
    return [each.replace("&amp;", "&") for each in re.findall(r'(?:href|src|action)="([^"#]+)"', html)]


def text_of(html: str) -> str:
    """What a page says, without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))
