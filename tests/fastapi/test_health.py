"""What `/live` and `/ready` say while Redis, the worker, or the app is not well."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import fastapi
import httpx
import pytest
import redis

from taskproc import ConfigurationError, ProcessorStatus, TaskProcessor, TaskProcessorSettings, background
from taskproc_fastapi import FastAPI, health
from taskproc_fastapi.plugin import add_task_processor
from tests.conftest import MakeSettings
from tests.kit import Proxy, Server, acl, wait_until
from tests.worker.kit import MS

PASSWORD = "open-sesame"
SECOND = timedelta(seconds=1)


@background
async def wait() -> None:
    """Waits to be cancelled, or for as long as a test takes."""
    await asyncio.sleep(60)


class Probe:
    """What Kubernetes does."""

    def __init__(self, client: httpx.AsyncClient, processor: TaskProcessor) -> None:
        self._client = client
        self.processor = processor

    async def ready(self) -> dict[str, Any]:
        """The status, which goes with its code and is not to be cached."""
        response = await self._client.get("/health/ready")
        status: dict[str, Any] = response.json()
        assert response.status_code == (200 if status["ready"] else 503), response.text
        assert status["ready"] == (status["problems"] == [])
        assert response.headers["cache-control"] == "no-store"
        return status

    async def is_ready(self) -> bool:
        return bool((await self.ready())["ready"])

    async def is_not_ready(self) -> bool:
        return not await self.is_ready()

    async def is_live(self) -> bool:
        response = await self._client.get("/health/live")
        assert response.status_code == (200 if response.json()["live"] else 503)
        assert response.headers["cache-control"] == "no-store"
        return bool(response.json()["live"])

    async def is_not_live(self) -> bool:
        return not await self.is_live()


@asynccontextmanager
async def probed(settings: TaskProcessorSettings, *, executor: bool = True) -> AsyncGenerator[Probe]:
    """An app with health routes, started."""
    app = FastAPI()
    processor = app.add_task_processor(settings)
    if executor:
        app.add_task_processor_executor()
    app.include_router(health(processor), prefix="/health")
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app") as client,
    ):
        yield Probe(client, processor)


@pytest.fixture
def mortal() -> Generator[Server]:
    """A server that the test may freeze and kill."""
    with Server(appendonly="yes", requirepass=PASSWORD) as started:
        yield started


def quick(redis: str, **overrides: Any) -> TaskProcessorSettings:
    """Settings with which what is overdue is so in seconds."""
    short: dict[str, Any] = {
        "worker_timeout": SECOND,
        "command_timeout": 500 * MS,
        "base_frequency": 200 * MS,
        "shutdown_grace": timedelta(0),
    }
    return TaskProcessorSettings(redis=redis, **(short | overrides))


async def test_a_healthy_app_says_so(settings: MakeSettings) -> None:
    """All is well from the first request on, and ages are those of things that happen every second or so."""
    async with probed(settings(worker_timeout=SECOND)) as probe:
        assert await probe.is_live()
        assert await probe.is_ready()

        async def has_all() -> bool:
            status = await probe.ready()
            return None not in status.values()

        await wait_until(has_all)
        await asyncio.sleep(1)
        status = await probe.ready()
        assert (status["connected"], status["redis"], status["executes"], status["running"]) == (True,) * 4
        assert (status["stopping"], status["draining"], status["paused"]) == (False,) * 3
        assert status["swept"] < 1
        assert status["beaten"] < 1


async def test_a_process_that_runs_no_tasks_is_ready(settings: MakeSettings) -> None:
    """With `use_hosted_service` off, or without executor, nothing is missing."""
    for made, executor in ((settings(use_hosted_service=False), True), (settings(), False)):
        async with probed(made, executor=executor) as probe:
            status = await probe.ready()
            assert status["problems"] == []
            assert (status["executes"], status["running"], status["turned"]) == (False, False, None)
            assert await probe.is_live()


async def test_a_pause_is_told_but_is_no_problem(settings: MakeSettings) -> None:
    """Whoever pauses everything, or drains a worker, wants requests to be served."""
    async with probed(settings()) as probe:
        await probe.processor.pause()
        assert (await probe.ready())["paused"] is True
        assert await probe.is_ready()
        await probe.processor.resume()
        assert (await probe.ready())["paused"] is False
        [worker] = await wait_until(probe.processor.get_workers)
        assert await probe.processor.drain_worker(worker.id)
        assert (await probe.ready())["draining"] is True
        assert await probe.is_ready()
        assert await probe.processor.resume_worker(worker.id)
        assert (await probe.ready())["draining"] is False


@pytest.mark.parametrize("how", ["freeze", "kill"])
async def test_redis_goes_away_and_comes_back(mortal: Server, how: str) -> None:
    """Within two seconds it is told, in words without secrets; within ten of its return all is well; always alive."""
    async with probed(quick(mortal.url)) as probe:
        await wait_until(probe.is_ready)
        (mortal.freeze if how == "freeze" else mortal.kill)()
        gone = time.monotonic()
        assert await probe.is_not_ready()
        assert time.monotonic() - gone < 2
        while time.monotonic() - gone < 5:  # longer than a loop that stands still would be let
            assert await probe.is_live()
            begun = time.monotonic()
            status = await probe.ready()
            assert time.monotonic() - begun < 1.5
            assert (status["ready"], status["redis"]) == (False, False)
            assert "Redis does not answer" in status["problems"][0]
            assert PASSWORD not in str(status)
            assert str(mortal.port) not in str(status)
        (mortal.thaw if how == "freeze" else mortal.start)()
        await wait_until(probe.is_ready, 10)
        assert await probe.is_live()


async def test_many_who_ask_at_once_share_an_answer(mortal: Server) -> None:
    """A hundred probes of a Redis that does not answer take as long as one, and one connection."""
    with Proxy(mortal.port) as proxy:
        url = proxy.url.replace("redis://", f"redis://:{PASSWORD}@")
        async with probed(quick(url), executor=False) as probe:
            await wait_until(probe.is_ready)
            proxy.blackhole()
            begun, before = time.monotonic(), proxy.connections
            asked = await asyncio.gather(*(probe.processor.status() for _ in range(100)))
            assert time.monotonic() - begun < 2
            assert {status.redis for status in asked} == {False}
            assert proxy.connections <= before + 1
            proxy.heal()
            await wait_until(probe.is_ready, 10)


async def test_a_ping_does_not_wait_behind_others(mortal: Server) -> None:
    """Redis is reachable though every connection of the pool is taken."""
    async with TaskProcessor(quick(f"{mortal.url}?max_connections=1")) as processor:
        pool: Any = processor._opened().connection.commands.connection_pool
        connection = await pool.get_connection()
        status = await processor.status()
        assert (status.redis, status.paused, status.ready) == (True, None, True)
        await pool.release(connection)
        assert (await processor.status()).paused is False


async def test_a_user_who_may_not_ping_is_answered(redis_url: str, client: redis.Redis, prefix: str) -> None:
    """A producer with few rights is ready all the same."""
    url = acl.as_user(redis_url, acl.create_user(client, "producer", prefix))
    async with probed(TaskProcessorSettings(redis=url, prefix=prefix), executor=False) as probe:
        assert await probe.is_ready()
        assert (await probe.ready())["redis"] is True


async def test_a_main_loop_that_hangs_is_not_alive(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told after the bound that the settings give, with Redis as well as ever."""
    made = settings(worker_timeout=SECOND, command_timeout=500 * MS, base_frequency=200 * MS)
    async with probed(made) as probe:
        await wait_until(probe.is_ready)
        worker = probe.processor._worker
        assert worker is not None
        hanging = asyncio.Event()

        async def hang(*_arguments: object) -> None:
            await hanging.wait()

        with monkeypatch.context() as patch:
            patch.setattr(worker, "_exchange", hang)
            begun = time.monotonic()
            await wait_until(probe.is_not_live, 10)
            assert 1.5 < time.monotonic() - begun < 6
            status = await probe.ready()
            assert status["redis"] is True
            assert any("has not looked for tasks" in problem for problem in status["problems"])
        hanging.set()
        await wait_until(probe.is_live)
        await wait_until(probe.is_ready)


async def test_a_worker_whose_slots_are_all_taken_is_alive(settings: MakeSettings) -> None:
    """Its loop turns though it has nothing to fetch for."""
    made = settings(
        worker_timeout=SECOND, command_timeout=100 * MS, base_frequency=200 * MS, max_workers=1,
        shutdown_grace=timedelta(0),
    )  # fmt: skip
    async with probed(made) as probe:
        task = await probe.processor.enqueue(wait)

        async def runs() -> bool:
            found = await probe.processor.get_task(task)
            return found is not None and found.state == "leased"

        await wait_until(runs)
        for _ in range(20):
            assert await probe.is_live()
            assert await probe.is_ready()
            await asyncio.sleep(0.1)
        await probe.processor.cancel_task(task)


async def test_a_loop_that_stood_still_for_a_moment_gets_a_second_look(settings: MakeSettings) -> None:
    """The probe that comes first after the event loop was blocked does not have the process killed."""
    made = settings(worker_timeout=SECOND, command_timeout=100 * MS, base_frequency=200 * MS)
    async with probed(made) as probe:
        await wait_until(probe.is_ready)
        worker = probe.processor._worker
        assert worker is not None
        await wait_until(lambda: worker.signs.turned_at)
        time.sleep(2)
        assert not (await probe.processor.status(ask_redis=False)).live
        assert await probe.is_live()


async def test_maintenance_that_keeps_failing_is_a_problem(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Dead workers' tasks would not be taken back: the process is alive, but not ready, until it goes through."""
    caplog.set_level(logging.CRITICAL, "taskproc")
    made = settings(worker_timeout=500 * MS, command_timeout=100 * MS)
    async with probed(made) as probe:
        await wait_until(probe.is_ready)
        storage = probe.processor._opened().storage

        async def fail(*_arguments: object) -> None:
            raise ConfigurationError("no")

        with monkeypatch.context() as patch:
            patch.setattr(storage, "reap", fail)
            await wait_until(probe.is_not_ready, 10)
            status = await probe.ready()
            assert ["maintenance has failed for" in problem for problem in status["problems"]] == [True]
            assert await probe.is_live()
        await wait_until(probe.is_ready, 10)


async def test_heartbeats_that_are_not_answered_are_a_problem(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Others take the worker for dead, whatever this process can reach otherwise."""
    caplog.set_level(logging.CRITICAL, "taskproc")
    async with probed(settings(worker_timeout=SECOND)) as probe:
        await wait_until(probe.is_ready)
        worker = probe.processor._worker
        assert worker is not None

        def fail(*_arguments: object) -> None:
            raise OSError("no")

        with monkeypatch.context() as patch:
            patch.setattr(worker._heartbeat, "_run", fail)
            await wait_until(probe.is_not_ready, 5)
            assert any("no heartbeat was answered" in each for each in (await probe.ready())["problems"])
            assert await probe.is_live()
        await wait_until(probe.is_ready, 5)


async def test_an_executor_that_has_ended_is_neither_alive_nor_ready(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It failed: this process runs no tasks though it should."""
    caplog.set_level(logging.CRITICAL + 1)

    async def fail(_self: object) -> None:
        raise ConfigurationError("no")

    monkeypatch.setattr("taskproc.worker.Worker.run", fail)
    async with probed(settings()) as probe:
        await wait_until(probe.is_not_ready)
        status = await probe.ready()
        assert status["problems"] == ["this process should run tasks, and does not: the log says why"]
        assert (status["redis"], status["executes"], status["running"]) == (True, True, False)
        assert not await probe.is_live()


async def test_an_app_that_is_stopping_is_not_ready(settings: MakeSettings) -> None:
    """From the moment when its worker is told to stop; once that has ended as it was told, all is well again."""
    async with probed(settings(max_workers=1, shutdown_grace=SECOND)) as probe:
        task = await probe.processor.enqueue(wait)

        async def runs() -> bool:
            found = await probe.processor.get_task(task)
            return found is not None and found.state == "leased"

        await wait_until(runs)
        probe.processor.request_stop()
        status = await probe.ready()
        assert (status["stopping"], status["problems"]) == (True, ["the worker is stopping"])
        assert await probe.is_live()
        await probe.processor.ended()
        await wait_until(probe.is_ready)
        assert (await probe.ready())["executes"] is False
        assert await probe.is_live()
        await probe.processor.cancel_task(task)


async def test_a_processor_that_is_not_connected_has_a_status(settings: MakeSettings) -> None:
    """No error, before the start as after the end; what it says is that it is not ready."""
    processor = TaskProcessor(settings())
    for _ in range(2):
        status = await processor.status()
        assert isinstance(status, ProcessorStatus)
        assert (status.live, status.ready, status.connected, status.redis) == (True, False, False, None)
        assert status.problems == ["the processor is not connected: its app has not started, or has ended"]
        async with processor:
            running = asyncio.create_task(processor.run())
            await wait_until(lambda: processor.running)
            status = await processor.status()
            assert (status.executes, status.running, status.ready) == (True, True, True)
            await processor.stop()
            await running
            assert (await processor.status()).ready


async def test_the_routes_are_documented(settings: MakeSettings) -> None:
    """OpenAPI has both with both answers, under the prefix that the app gave; on a stock FastAPI too."""
    app = fastapi.FastAPI()
    app.include_router(health(add_task_processor(app, settings())), prefix="/internal")
    paths = app.openapi()["paths"]
    assert paths.keys() == {"/internal/live", "/internal/ready"}
    assert all(route["get"]["responses"].keys() == {"200", "503"} for route in paths.values())
