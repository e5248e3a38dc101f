"""Metrics for Prometheus, and the page that shows them."""

import asyncio
import gc
import os
import sys
import weakref
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import redis
from fastapi import Depends, HTTPException
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from taskproc import ConfigurationError, TaskData, TaskProcessor, TaskProcessorSettings, factories
from taskproc.prometheus import MOST_QUEUES, OTHERS, instrument
from taskproc.records import Attempt
from taskproc_fastapi import FastAPI, metrics
from tests.conftest import MakeSettings
from tests.kit import Server
from tests.worker.kit import Jobs, running


def values(text: str) -> dict[str, float]:
    """`name{label="…"}` → value, without those of buckets."""
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


async def page(app: FastAPI) -> httpx.Response:
    """What Prometheus gets."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        return await client.get("/metrics")


@pytest.mark.leaves_keys("a delayed task stays")
async def test_page_shows_work_and_queues(settings: MakeSettings) -> None:
    """What this process sent and ran, and what stands in Redis now."""
    jobs, registry = Jobs(), CollectorRegistry()
    tasks = TaskProcessor(settings(max_workers=4), scopes=factories({Jobs: lambda: jobs}))
    app = FastAPI()
    app.include_router(metrics(tasks, registry=registry))
    async with tasks:
        async with running(tasks):
            await tasks.enqueue(jobs.note, "a")
            await tasks.on(tenant="acme", retries=1).enqueue(jobs.fail, "b")
            await tasks.on(delay=timedelta(hours=1)).enqueue(jobs.note, "later")
            await jobs.noted("a", "fails b")
            while (await tasks.get_queue("default")).deadletter == 0:
                await asyncio.sleep(0.01)
            answer = await page(app)
        found = values(answer.text)
        assert answer.headers["content-type"].startswith("text/plain")
        assert found["taskproc_tasks_sent_total['default']"] == 3
        assert found["taskproc_attempts_total['default', 'done']"] == 1
        assert found["taskproc_attempts_total['default', 'failed']"] == 1
        assert found["taskproc_attempt_seconds_count['default']"] == 2
        assert found["taskproc_wait_seconds_count['default']"] == 2
        assert found["taskproc_queue_tasks['default', 'delayed']"] == 1
        assert found["taskproc_queue_tasks['dead', 'default']"] == 1
        assert (found["taskproc_workers[]"], found["taskproc_worker_slots[]"], found["taskproc_paused[]"]) == (1, 4, 0)
        assert "acme" not in answer.text
        await tasks.discard_dead_tasks("default")


async def test_page_when_redis_is_away(server: Server) -> None:
    """What this process counted is told; of what stands there nothing is, rather than something old."""
    jobs, registry = Jobs(), CollectorRegistry()
    tasks = TaskProcessor(
        TaskProcessorSettings(redis=server.url, prefix="{away}"), scopes=factories({Jobs: lambda: jobs})
    )
    app = FastAPI()
    app.include_router(metrics(tasks, registry=registry))
    in_redis = {"taskproc_queue_tasks['default', 'ready']", "taskproc_workers[]", "taskproc_paused[]"}
    async with tasks:
        await tasks.cancel_task(await tasks.enqueue(jobs.note, "a"))
        assert in_redis <= set(values((await page(app)).text))
    found = values((await page(app)).text)  # not connected
    assert not in_redis & set(found)
    assert found["taskproc_tasks_sent_total['default']"] == 1


async def test_page_when_an_index_is_damaged(settings: MakeSettings, client: redis.Redis) -> None:
    """As when Redis is away."""
    made = settings()
    tasks = TaskProcessor(made)
    app = FastAPI()
    app.include_router(metrics(tasks, registry=CollectorRegistry()))
    async with tasks:
        client.set(f"{made.prefix}:workers", "?")
        answer = await page(app)
        client.delete(f"{made.prefix}:workers")
    assert answer.status_code == 200
    assert "taskproc_queue_tasks['default', 'ready']" not in values(answer.text)


async def test_page_is_protected_as_others(server: Server) -> None:
    """By the dependencies of its router."""

    def nobody() -> None:
        raise HTTPException(403)

    tasks = TaskProcessor(TaskProcessorSettings(redis=server.url, prefix="{protected}"))
    app = FastAPI()
    app.include_router(metrics(tasks, registry=CollectorRegistry()), dependencies=[Depends(nobody)])
    assert (await page(app)).status_code == 403


def test_labels_are_bounded(server: Server) -> None:
    """Further queues are counted together."""
    registry = CollectorRegistry()
    made = instrument(TaskProcessor(TaskProcessorSettings(redis=server.url)), registry)
    for number in range(MOST_QUEUES + 10):
        made.sent(f"q{number}", 1)
    attempt = Attempt(id="t", queue="q-late", tenant="t", call="c", enqueued_at=0, retries=1, invisibility=1)
    made.ended(attempt, "done", retried=False, seconds=0.1, waited=0.1)
    assert registry.get_sample_value("taskproc_tasks_sent_total", {"queue": OTHERS}) == 10
    assert registry.get_sample_value("taskproc_attempts_total", {"queue": OTHERS, "outcome": "done"}) == 1


async def test_too_late(settings: MakeSettings) -> None:
    """A processor that is connected may have sent something already."""
    async with TaskProcessor(settings()) as tasks:
        with pytest.raises(ConfigurationError, match="before it connects"):
            metrics(tasks, registry=CollectorRegistry())


def count(registry: CollectorRegistry, queue: str) -> float | None:
    """How many tasks the registry says were sent there."""
    return registry.get_sample_value("taskproc_tasks_sent_total", {"queue": queue})


async def test_one_app_after_another(settings: MakeSettings) -> None:
    """An app factory may make many, started or not: a page shows the app's own work, from zero, whichever was made
    last; and so does one that starts again.
    """
    registry = CollectorRegistry()
    processors: list[TaskProcessor] = []

    def make() -> FastAPI:
        app = FastAPI()
        processor = app.add_task_processor(settings())
        app.include_router(metrics(processor, registry=registry))
        processors.append(processor)
        return app

    async def sent_by(app: FastAPI) -> float:
        async with app.router.lifespan_context(app):
            tasks: TaskProcessor = app.state.task_processor
            await tasks.cancel_task(await tasks.enqueue_task(None, None, TaskData(topic="t", data=b"")))
            found = values((await page(app)).text)
            assert found["taskproc_queue_tasks['default', 'ready']"] == 0
            return found["taskproc_tasks_sent_total['default']"]

    first = make()
    make()  # never started
    assert await sent_by(first) == 1
    second = make()
    assert [await sent_by(app) for app in (second, first, second)] == [1, 2, 2]


def test_a_processor_that_is_gone_leaves_the_registry() -> None:
    """Which does not keep it alive; nor does it matter that somebody has emptied the registry meanwhile."""
    registry = CollectorRegistry()
    processor = TaskProcessor()
    instrument(processor, registry).sent("old", 1)
    gone = weakref.ref(processor)
    del processor
    gc.collect()
    assert gone() is None
    next_one = TaskProcessor()
    instrument(next_one, registry).sent("new", 1)
    assert (count(registry, "old"), count(registry, "new")) == (None, 1)
    for collector in list(cast("Any", registry)._collector_to_names):
        registry.unregister(collector)
    last = TaskProcessor()
    instrument(last, registry).sent("last", 1)
    assert count(registry, "last") == 1


async def test_two_processors_in_one_registry(settings: MakeSettings, caplog: pytest.LogCaptureFixture) -> None:
    """Are an error while both are connected: where the second is made, when its app starts, on its page, and once in
    the log of those who count without a page. What it has counted is shown when the other has ended.
    """
    registry = CollectorRegistry()
    app, tasks = FastAPI(), TaskProcessor(settings())
    late = app.add_task_processor(settings())
    app.include_router(metrics(late, registry=registry))
    counts = instrument(late, registry)
    instrument(tasks, registry)
    async with tasks:
        with pytest.raises(ConfigurationError, match=r"another processor, which is connected.*registry=Collector"):
            metrics(TaskProcessor(settings()), registry=registry)
        with pytest.raises(ConfigurationError, match="another processor, which is connected"):
            await app.router.lifespan_context(app).__aenter__()
        with pytest.raises(ConfigurationError, match="another processor, which is connected"):
            await page(app)
        counts.sent("late", 1)
        counts.sent("late", 1)
        assert count(registry, "late") is None
    assert [record.levelname for record in caplog.records if "registry=" in record.message] == ["ERROR"]
    counts.sent("late", 1)
    assert count(registry, "late") == 3


def test_two_pages_of_one_processor() -> None:
    """Count once."""
    registry, processor = CollectorRegistry(), TaskProcessor()
    made = instrument(processor, registry)
    metrics(processor, path="/internal", registry=registry)
    assert processor.observers == [made]
    assert instrument(processor, CollectorRegistry()) is not made


def test_other_metrics_of_these_names() -> None:
    """Are an error that says what to do."""
    registry = CollectorRegistry()
    Counter("taskproc_attempts", "Mine", registry=registry)
    with pytest.raises(ConfigurationError, match=r"other metrics of these names.*taskproc_attempts.*another registry="):
        instrument(TaskProcessor(), registry)


async def test_processes_behind_one_port(settings: MakeSettings, tmp_path: Path) -> None:
    """With a folder that they share, a page of any of them has the counts of all; what stands in Redis is told as it is
    now, and nothing that another of them saw there before.
    """
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    pages: list[dict[str, float]] = []
    for queue in ("first", "second"):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", str(program), queue, stdout=asyncio.subprocess.PIPE,
            env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), **environment(settings())},
        )  # fmt: skip
        output, _ = await process.communicate()
        pages.append(values(output.decode()))
    assert [page.get("taskproc_tasks_sent_total['first']") for page in pages] == [1, 1]
    assert [page.get("taskproc_tasks_sent_total['second']") for page in pages] == [None, 1]
    assert [page.get("taskproc_queue_tasks['first', 'ready']") for page in pages] == [1, None]
    assert [page.get("taskproc_queue_tasks['ready', 'second']") for page in pages] == [None, 1]


def environment(settings: TaskProcessorSettings) -> dict[str, str]:
    """That of this process, and where the tasks are."""
    return {**os.environ, "TASKPROC_REDIS": settings.redis, "TASKPROC_PREFIX": settings.prefix}


PROGRAM = """
import asyncio
import sys
import httpx
from taskproc import TaskProcessor, background
from taskproc_fastapi import FastAPI, metrics


@background
async def nothing() -> None: ...


async def main() -> None:
    tasks, app = TaskProcessor(), FastAPI()
    app.include_router(metrics(tasks))
    async with tasks:
        task = await tasks.on(sys.argv[1]).enqueue(nothing)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            for _ in range(2):
                shown = await client.get("/metrics")
        print(shown.text)
        await tasks.cancel_task(task)
        async for queues in tasks._looking().queue_names():
            for queue in queues:
                await tasks._storage().forget_queue(queue)


asyncio.run(main())
"""
