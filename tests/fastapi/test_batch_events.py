"""Streams that tell how a batch goes: what they say, when they end, and what they cost."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from fastapi import Request, Response

from taskproc import BatchInfo, TaskProcessor, TaskProcessorSettings, background
from taskproc_fastapi import BatchProgress, FastAPI, Tasks, batch_events, events
from tests.conftest import MakeSettings
from tests.fastapi.streams import viewing
from tests.kit import Server, wait_until
from tests.worker.kit import MS

gates: dict[str, asyncio.Event] = {}


@background
async def work(seconds: float = 0) -> None:
    """Takes its time."""
    await asyncio.sleep(seconds)


@background
async def fail() -> None:
    """Does not work."""
    raise ValueError("no")


@background
async def wait_for(gate: str) -> None:
    """Waits for what the test opens."""
    await gates.setdefault(gate, asyncio.Event()).wait()


@pytest.fixture(autouse=True)
def _no_gates() -> None:
    gates.clear()


def open_gate(name: str) -> None:
    """Lets the tasks that wait for it end."""
    gates.setdefault(name, asyncio.Event()).set()


def made(settings: TaskProcessorSettings) -> FastAPI:
    """An app as a user writes it."""
    app = FastAPI()
    app.add_task_processor(settings)
    app.add_task_processor_executor()

    @app.get("/batches/{batch_id}/events")
    async def follow(batch_id: str, tasks: Tasks, tenant: str | None = None) -> Response:
        return await batch_events(tasks, batch_id, tenant=tenant)

    return app


@asynccontextmanager
async def served(settings: TaskProcessorSettings) -> AsyncGenerator[tuple[FastAPI, TaskProcessor]]:
    """The app, started; at its end nobody watches."""
    app = made(settings)
    async with app.router.lifespan_context(app):
        yield app, app.state.task_processor
    assert nobody_watches()


def nobody_watches() -> bool:
    """Whether nothing of a stream is left."""
    names = {task.get_name() for task in asyncio.all_tasks()}
    return not events._watchers and "taskproc batch events" not in names


def path(batch: str) -> str:
    """Where its stream is."""
    return f"/batches/{batch}/events"


async def enqueued(tasks: TaskProcessor, method: Callable[..., object], count: int, *args: object) -> str:
    """A new batch of so many tasks, of tenant acme."""
    async with tasks.batch(tenant="acme", scope="an import") as batch:
        for _ in range(count):
            batch.enqueue(method, *args)
    return batch.id


async def test_a_stream_tells_all_and_ends(settings: MakeSettings) -> None:
    """The batch as it is, then what changes, then its end; nothing is kept for it any more."""
    async with served(settings()) as (app, tasks):
        batch = await enqueued(tasks, wait_for, 3, "first")
        async with viewing(app, path(batch)) as viewer:
            first = await viewer.saw("progress")
            assert viewer.status == 200
            assert viewer.headers["content-type"].startswith("text/event-stream")
            assert viewer.headers["cache-control"] == "no-store, no-transform"
            assert viewer.headers["x-accel-buffering"] == "no"
            assert "content-length" not in viewer.headers
            assert viewer.text.startswith("retry: 2000\n\n")
            fields = {*BatchInfo.__dataclass_fields__, "rate", "seconds_left"}
            assert first.data.keys() == fields == BatchProgress.__dataclass_fields__.keys()
            assert (first.data["id"], first.data["tenant"], first.data["scope"]) == (batch, "acme", "an import")
            assert (first.data["state"], first.data["total"], first.data["remaining"]) == ("running", 3, 3)
            open_gate("first")
            last = await viewer.saw("end")
            await wait_until(lambda: viewer.closed)
        assert (last.data["state"], last.data["done"], last.data["remaining"]) == ("done", 3, 0)
        assert last.data["end"] is not None
        assert [event.kind for event in viewer.events].count("end") == 1
        await wait_until(nobody_watches)


async def test_progress_comes_four_times_a_second_at_most(settings: MakeSettings) -> None:
    """Sixty tasks that end within three seconds: counts add up and only grow, and the rate is about right."""
    async with served(settings(max_workers=2)) as (app, tasks):
        begun = time.monotonic()
        batch = await enqueued(tasks, work, 60, 0.1)
        async with viewing(app, path(batch)) as viewer:
            await viewer.saw("end", 20)
        took = time.monotonic() - begun
    done = [event.data["done"] for event in viewer.events]
    assert done == sorted(done)
    assert 5 < len(done) <= took * 4 + 3
    for event in viewer.events:
        data = event.data
        assert data["total"] == data["done"] + data["failed"] + data["canceled"] + data["remaining"]
    assert len({event.id for event in viewer.events}) == len(set(done))
    halfway = [event.data for event in viewer.events if 20 < event.data["done"] < 50]
    assert halfway
    assert all(5 < data["rate"] < 40 for data in halfway)
    assert all(data["seconds_left"] == pytest.approx(data["remaining"] / data["rate"], abs=0.2) for data in halfway)


async def test_failures_and_cancels_are_told(settings: MakeSettings) -> None:
    """Each way in which a batch ends is the state of its last event."""
    async with served(settings(retries=1)) as (app, tasks):
        failing, canceled = await enqueued(tasks, fail, 2), await enqueued(tasks, wait_for, 2, "never")
        async with viewing(app, path(failing)) as viewer:
            assert (await viewer.saw("end")).data["state"] == "failed"
        async with viewing(app, path(canceled)) as viewer:
            await viewer.saw("progress")
            await tasks.cancel_batch(canceled)
            last = await viewer.saw("end")
            assert (last.data["state"], last.data["canceled"]) == ("canceled", 2)
        await tasks.discard_dead_tasks("default")


async def test_who_comes_again_is_told_how_it_is_now(settings: MakeSettings) -> None:
    """While it runs: the present state. Once it has ended: the end, or, for one who had that already, 204."""
    async with served(settings()) as (app, tasks):
        batch = await enqueued(tasks, wait_for, 2, "gate")
        async with viewing(app, path(batch)) as viewer:
            first = await viewer.saw("progress")
        async with viewing(app, path(batch), last_event_id=first.id) as viewer:
            assert await viewer.saw("progress") == first
            open_gate("gate")
            last = await viewer.saw("end")
        async with viewing(app, path(batch), last_event_id=first.id) as viewer:
            await wait_until(lambda: viewer.closed)
            assert [(event.kind, event.id) for event in viewer.events] == [("end", last.id)]
        async with viewing(app, path(batch), last_event_id=last.id) as viewer:
            await wait_until(lambda: viewer.closed)
            assert (viewer.status, viewer.text) == (204, "")
        await tasks.append_batch(None, "acme", batch, lambda more: more.enqueue(wait_for, "more"))
        async with viewing(app, path(batch), last_event_id=last.id) as viewer:
            assert (await viewer.saw("progress")).data["remaining"] == 1
            open_gate("more")
            await viewer.saw("end")


@pytest.mark.parametrize("asked", ["{other}?tenant=acme", "unknown", "n%C3%B8", "x" * 3000])
async def test_unknown_batches_and_those_of_others_are_not_found(settings: MakeSettings, asked: str) -> None:
    """404, as JSON, before anything is streamed; that of another tenant is as unknown as one that never was."""
    async with served(settings()) as (app, tasks):
        async with tasks.batch(tenant="umbrella") as batch:
            batch.enqueue(work)
        name, _, query = asked.format(other=batch.id).partition("?")
        async with viewing(app, f"{path(name)}?{query}") as viewer:
            await wait_until(lambda: viewer.closed)
            assert (viewer.status, viewer.text) == (404, '{"detail":"no such batch"}')
        async with viewing(app, f"{path(batch.id)}?tenant=umbrella") as viewer:
            await viewer.saw("end")


async def test_many_viewers_cost_one_look_a_tick(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred streams of twenty batches: four requests a second, and one a second when nothing changes."""
    looks: list[tuple[float, int]] = []
    look = TaskProcessor.get_batches_by_id

    async def counted(self: TaskProcessor, ids: list[str], **options: Any) -> list[BatchInfo]:
        looks.append((time.monotonic(), len(ids)))
        return await look(self, ids, **options)

    monkeypatch.setattr(TaskProcessor, "get_batches_by_id", counted)
    async with served(settings(max_workers=50)) as (app, tasks):
        batches = [await enqueued(tasks, wait_for, 1, str(number)) for number in range(20)]
        async with AsyncExitStack() as stack:
            viewers = [await stack.enter_async_context(viewing(app, path(batches[each % 20]))) for each in range(200)]
            await asyncio.gather(*(viewer.saw("progress") for viewer in viewers))
            await wait_until(lambda: time.monotonic() - looks[-1][0] > 0.7, what="calm")
            before, begun = len(looks), time.monotonic()
            await asyncio.sleep(3)
            assert len(looks) - before <= time.monotonic() - begun + 1
            assert {ids for _, ids in looks[before:]} == {20}
            assert all(len(viewer.events) == 1 for viewer in viewers)
            before, begun = len(looks), time.monotonic()
            for number in range(20):
                open_gate(str(number))
                await asyncio.sleep(0.1)
            await asyncio.gather(*(viewer.saw("end") for viewer in viewers))
            assert len(looks) - before <= (time.monotonic() - begun) * 4 + 1
        await wait_until(nobody_watches)
        before = len(looks)
        await asyncio.sleep(0.5)
        assert len(looks) == before


async def test_a_client_that_goes_away_leaves_nothing(settings: MakeSettings) -> None:
    """Neither one that reads nor one that has stopped reading; another who watches the same batch goes on."""
    async with served(settings()) as (app, tasks):
        batch = await enqueued(tasks, wait_for, 5, "gate")
        async with viewing(app, path(batch)) as stays:
            async with viewing(app, path(batch)) as leaves, viewing(app, path(batch)) as slow:
                await leaves.saw("progress")
                await slow.saw("progress")
                slow.reading.clear()
                await tasks.append_batch(None, "acme", batch, lambda more: more.enqueue(work))
                await wait_until(lambda: len(stays.events) > 1)
                assert len(slow.events) == 1
            assert leaves.serving.done()
            assert slow.serving.done()
            assert not nobody_watches()
            open_gate("gate")
            await stays.saw("end")
        await wait_until(nobody_watches)
        async with viewing(app, path(batch)) as again:
            assert (await again.saw("end")).data["done"] == 6


async def test_one_who_comes_as_the_last_one_leaves_is_served(settings: MakeSettings) -> None:
    """Over and over, without a pause: each is told of the end."""
    async with served(settings()) as (app, tasks):
        for number in range(20):
            batch = await enqueued(tasks, wait_for, 1, str(number))
            async with viewing(app, path(batch)) as first:
                await first.saw("progress")
                first.leave()
                async with viewing(app, path(batch)) as second:
                    await second.saw("progress")
                    open_gate(str(number))
                    await second.saw("end")


async def test_redis_goes_away_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream stays open, shows that it is alive, and goes on when Redis is back."""
    monkeypatch.setattr(events, "KEEP_ALIVE", 0.3)
    with Server(appendonly="yes", appendfsync="always") as server:
        quick = TaskProcessorSettings(redis=server.url, command_timeout=500 * MS, worker_timeout=timedelta(seconds=1))
        async with served(quick) as (app, tasks):
            batch = await enqueued(tasks, wait_for, 2, "gate")
            async with viewing(app, path(batch)) as viewer:
                await viewer.saw("progress")
                for away, back in ((server.freeze, server.thaw), (server.kill, server.start)):
                    before = viewer.text.count(": still here\n\n")
                    away()
                    await asyncio.sleep(2)
                    assert viewer.text.count(": still here\n\n") >= before + 3
                    assert not viewer.closed
                    back()
                open_gate("gate")
                assert (await viewer.saw("end", 10)).data["done"] == 2


async def test_streams_end_when_the_processor_closes(settings: MakeSettings) -> None:
    """Without an event `end`: the client comes again, to another process perhaps, and is told there."""
    app = made(settings(shutdown_grace=timedelta(0)))
    async with AsyncExitStack() as stack:
        lifespan = app.router.lifespan_context(app)
        await lifespan.__aenter__()
        tasks: TaskProcessor = app.state.task_processor
        batch = await enqueued(tasks, wait_for, 1, "never")
        viewer = await stack.enter_async_context(viewing(app, path(batch)))
        await viewer.saw("progress")
        await lifespan.__aexit__(None, None, None)
        await wait_until(lambda: viewer.closed, 2)
        assert {event.kind for event in viewer.events} == {"progress"}
        assert nobody_watches()
        async with tasks:
            await tasks.cancel_batch(batch)


async def test_a_batch_that_is_forgotten_ends_its_stream(settings: MakeSettings, client: Any, prefix: str) -> None:
    """With the last that was known of it."""
    async with served(settings()) as (app, tasks):
        batch = await enqueued(tasks, wait_for, 1, "gate")
        async with viewing(app, path(batch)) as viewer:
            await viewer.saw("progress")
            kept = client.hgetall(f"{prefix}:batch:{batch}")
            client.delete(f"{prefix}:batch:{batch}")
            assert (await viewer.saw("end")).data["remaining"] == 1
            client.hset(f"{prefix}:batch:{batch}", mapping=kept)
        open_gate("gate")

        async def has_ended() -> bool:
            found = await tasks.get_batch(batch)
            return found is not None and found.end is not None

        await wait_until(has_ended)


async def test_streams_go_through_middleware(settings: MakeSettings) -> None:
    """Events come one by one through what wraps requests, and the client's leaving is noticed through it."""
    app = made(settings())

    @app.middleware("http")
    async def wrap(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers["x-wrapped"] = "yes"
        return response

    async with app.router.lifespan_context(app):
        tasks: TaskProcessor = app.state.task_processor
        batch = await enqueued(tasks, wait_for, 1, "gate")
        async with viewing(app, path(batch)) as viewer:
            await viewer.saw("progress")
            assert viewer.headers["x-wrapped"] == "yes"
        await wait_until(nobody_watches)
        async with viewing(app, path(batch)) as viewer:
            open_gate("gate")
            await viewer.saw("end")
            await wait_until(lambda: viewer.closed)
