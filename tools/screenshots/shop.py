"""A shop with work to show: tenants, queues, batches under way, what failed, and the last hours' statistics."""

import asyncio
import math
import random
import time
from datetime import timedelta
from typing import Any, cast

import redis
from fastapi import Depends

from taskproc import ScheduleData, TaskProcessor, TaskProcessorSettings, background
from taskproc.keys import Keys
from taskproc.statistics import BOUNDS, TIERS
from taskproc_fastapi import FastAPI
from taskproc_fastapi.dashboard import DashboardRights

TENANTS = ("acme", "globex", "initech")


@background
async def send_receipt(order: int, to: str) -> None:  # noqa: ARG001
    """Takes a moment."""
    await asyncio.sleep(random.uniform(0.02, 0.15))


@background
async def load_row(file: str, line: int) -> None:
    """Now and then a row is wrong."""
    await asyncio.sleep(random.uniform(0.05, 0.3))
    if line % 41 == 0:
        raise ValueError(f"{file}, line {line}: 'amount' is no number")


@background
async def charge(order: int, card_number: str) -> None:  # noqa: ARG001
    """The bank does not always answer."""
    await asyncio.sleep(0.05)
    raise TimeoutError(f"no answer from the bank within 10 s (order {order})")


@background(auto_extend=True)
async def render_report(month: str, pages: int) -> None:  # noqa: ARG001
    """Takes long."""
    await asyncio.sleep(pages)


@background
async def summarize(file: str) -> None:
    """What is done when all rows are loaded."""


def app_of(redis: str) -> FastAPI:
    """The shop, with a dashboard."""
    app = FastAPI()
    settings = TaskProcessorSettings(
        redis=redis, queues=["mail", "imports[fair]", "reports"], default_queue="mail", max_workers=12,
        shutdown_grace=timedelta(0), on_task_failed_delay=lambda _ctx, _left: timedelta(seconds=6),
    )  # fmt: skip
    app.add_task_processor(settings)
    app.add_task_processor_executor()
    app.add_task_processor_dashboard("/tasks", dependencies=[Depends(lambda: None)], rights=ada)
    return app


def ada() -> DashboardRights:
    """Who looks."""
    return DashboardRights(operate=True, user="ada@example.com")


async def fill(tasks: TaskProcessor) -> dict[str, str]:
    """Lets the shop have had a busy day; ids of what pages are about."""
    await asyncio.to_thread(_remember, tasks.settings)
    dead = [await tasks.on("mail", tenant="globex", retries=2).enqueue(charge, 4711 + n, "4000 1234") for n in range(9)]
    batch_id = ""
    for number, tenant in enumerate(TENANTS):
        for file in ("customers.csv", "orders-2026-11.csv"):
            async with tasks.batch("imports[fair]", tenant=tenant, scope=file) as batch:
                for line in range(2, 180 + 150 * number):
                    batch.on(retries=1).enqueue(load_row, file, line)
                batch.on("reports").continue_with(summarize, file)
            batch_id = batch_id or (batch.id if number else "")
    report = await tasks.on("reports", tenant="acme").enqueue(render_report, "2026-10", 3600)
    for number in range(40):
        await tasks.on("mail", tenant="acme", delay=timedelta(minutes=number)).enqueue(
            send_receipt, number, "bob@example.com"
        )
    await _schedules(tasks)
    await tasks.pause(
        queue="reports", reason="the printer is being mended", by="ada@example.com", until=timedelta(hours=2)
    )
    await tasks.record_act("pause", "queue reports", by="ada@example.com", detail="the printer is being mended")
    return {"batch": batch_id, "dead": dead[0], "report": report}


async def _schedules(tasks: TaskProcessor) -> None:
    for id_, cron, scope in (
        ("nightly-report", "30 3 * * 1-5", "Report of the day before"),
        ("clean-carts", "*/15 * * * *", "Forget carts that nobody came back to"),
        ("invoices", "0 6 1 * *", "Invoices of the month"),
    ):
        data = ScheduleData(id=id_, cron=cron, tenant="acme", scope=scope, timezone="Europe/Berlin", queue="mail")
        await tasks.upsert_schedule(data, send_receipt, 0, "bob@example.com")
    await tasks.trigger_schedule("clean-carts", "acme")


def _remember(settings: TaskProcessorSettings) -> None:
    """Statistics as workers would have left them, for the last hours."""
    keys = Keys(settings.prefix)
    with redis.Redis.from_url(settings.redis) as client:
        for tier in TIERS:
            last = int(time.time()) // tier.seconds
            for number in range(last - int(tier.kept.total_seconds()) // tier.seconds + 1, last):
                row = _stretch(number * tier.seconds, tier.seconds)
                client.hset(keys.statistics(tier.seconds, number), mapping=cast("dict[Any, Any]", row))


def _stretch(at: int, seconds: int) -> dict[str, int]:
    wave = 1 + 0.6 * math.sin(at / 4000) + 0.2 * math.sin(at / 700)
    row: dict[str, int] = {}
    for queue, rate, middle in (("mail", 6.0, 0.08), ("imports[fair]", 14.0, 0.2), ("reports", 0.3, 4.0)):
        done = int(rate * wave * seconds * random.uniform(0.85, 1.15))
        row |= {f"{queue} done": done, f"{queue} failed": int(done * 0.004), f"{queue} retried": int(done * 0.02)}
        row |= {f"{queue} run": int(done * middle * 1000), f"{queue} wait": int(done * middle * wave * 400)}
        for what, typical in (("run", middle), ("wait", middle * wave * 0.4)):
            for _ in range(60):
                place = next(
                    n for n, bound in enumerate(BOUNDS) if random.lognormvariate(math.log(typical), 0.7) <= bound
                )
                row[f"{queue} {what}.{place}"] = row.get(f"{queue} {what}.{place}", 0) + max(done // 60, 1)
        row |= {
            f"{queue} #ready": int(rate * wave * 9),
            f"{queue} #running": 4,
            f"{queue} #delayed": 12,
            f"{queue} #dead": 9,
        }
    return row
