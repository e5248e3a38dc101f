"""Hooks with the batch at hand, and a service that is told not to run."""

import asyncio
from typing import Any

from taskproc import BatchInfo, TaskContext, TaskProcessorSettings, factories
from taskproc_fastapi import FastAPI
from tests.conftest import MakeSettings
from tests.fastapi.client import TestClient, get
from tests.worker.kit import Jobs, ended, working


async def test_every_hook_sees_the_batch(settings: MakeSettings) -> None:
    """In the start hook the task is not counted yet, in the end hook it is, also the last and the failed one."""
    jobs = Jobs()
    seen: list[tuple[str, BatchInfo]] = []

    async def look(name: str, ctx: TaskContext) -> None:
        batch = await ctx.get_batch()
        assert batch is not None
        seen.append((name, batch))

    async def start(ctx: TaskContext) -> None:
        await look("start", ctx)

    async def error(ctx: TaskContext, _error: BaseException) -> None:
        await look("error", ctx)

    async def end(ctx: TaskContext) -> None:
        await look(f"end {ctx.outcome}", ctx)

    made = settings(
        retries=1,
        max_workers=1,
        on_task_start=start,
        on_task_error=error,
        on_task_end=end,
    )
    async with working(made, jobs) as tasks:
        async with tasks.batch(scope="Import 42", tenant="acme") as batch:
            batch.enqueue(jobs.note, "a")
            batch.enqueue(jobs.fail, "b")
        await ended(tasks, batch.id)
    assert [(name, info.done, info.failed, info.state) for name, info in seen] == [
        ("start", 0, 0, "running"),
        ("end done", 1, 0, "running"),
        ("start", 1, 0, "running"),
        ("error", 1, 0, "running"),
        ("end failed", 1, 1, "failed"),
    ]
    assert {(info.id, info.scope, info.tenant) for _, info in seen} == {(batch.id, "Import 42", "acme")}


async def test_hooks_of_a_continuation_see_its_batch_ended(settings: MakeSettings) -> None:
    """It reports on the batch without being counted in it."""
    jobs = Jobs()
    seen: list[tuple[bool, Any]] = []

    async def start(ctx: TaskContext) -> None:
        seen.append((ctx.is_continuation, await ctx.get_batch()))

    async with working(settings(on_task_start=start), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.note, "task")
            batch.continue_with(jobs.note, "report")
        await jobs.noted("report")
    [(first, _), (second, info)] = seen
    assert (first, second) == (False, True)
    assert (info.state, info.total, info.done) == ("done", 1, 1)


def test_an_app_that_only_enqueues(settings: MakeSettings) -> None:
    """With `use_hosted_service=False` the executor runs nothing: one image is producer or worker by its environment."""
    ran: list[str] = []
    jobs = Jobs()
    made: TaskProcessorSettings = settings(use_hosted_service=False)
    app = FastAPI()
    tasks = app.add_task_processor(made, scopes=factories({Jobs: lambda: jobs}))
    app.add_task_processor_executor()

    @app.get("/")
    async def run() -> bool:
        await tasks.enqueue(jobs.note, "a")
        await asyncio.sleep(0.1)
        ran.append(str((await tasks.get_queue("default")).length))
        worker = asyncio.create_task(tasks.run())  # one's own worker, beside
        await jobs.noted("a")
        await tasks.stop()
        await worker
        return True

    with TestClient(app) as client:
        assert get(client, "/") is True
    assert ran == ["1"]
