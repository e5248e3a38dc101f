"""The kit on FastAPI apps: with a `TestClient`, and with an async client."""

import asyncio
from collections.abc import Generator
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest
from dependency_injector import containers, providers
from fastapi.testclient import TestClient

from taskproc import TaskProcessor, TaskProcessorSettings, ref
from taskproc.testing import assert_enqueued, blocking, crash, make_settings, override_settings, run_until_idle
from taskproc_fastapi import FastAPI, Tasks
from tests.testing_kit.shop import HOUR, Shop


class Container(containers.DeclarativeContainer):
    log = providers.Singleton(list[object])
    shop = providers.Factory(Shop, log)


@dataclass
class Site:
    """An app as it is made for production, and its container."""

    app: FastAPI
    container: Container

    @property
    def tasks(self) -> TaskProcessor:
        found: TaskProcessor = self.app.state.task_processor
        return found


@pytest.fixture
def site() -> Site:
    """Made for a server that is not there."""
    container = Container()
    app = FastAPI()
    app.add_task_processor(
        TaskProcessorSettings(redis="redis://127.0.0.1:1/0", retries=7, queues=["mail"], default_queue="mail"),
        container=container,
    )
    app.add_task_processor_executor()

    @app.post("/signup")
    async def signup(email: str, tasks: Tasks) -> str:
        return await tasks.enqueue(ref(Shop).mail, email)

    return Site(app, container)


@pytest.fixture
def client(site: Site, taskproc_settings: TaskProcessorSettings) -> Generator[TestClient]:
    """The app in the thread of a `TestClient`."""
    with override_settings(site.tasks, taskproc_settings), TestClient(site.app) as client:
        yield client


def test_nothing_runs_before_the_test_says_so(site: Site, client: TestClient) -> None:
    """What a route has enqueued is there to be looked at; then it runs in the app's own event loop."""
    client.post("/signup", params={"email": "bob@example.com"})
    task = blocking.assert_enqueued(site.tasks, ref(Shop).mail, "bob@example.com")
    assert (task.queue, task.retries) == ("mail", 7)
    blocking.expect(site.tasks, "mail", count=1).enqueued(ref(Shop).mail, "bob@example.com")
    assert len(blocking.expect(site.tasks).enqueued_with_any(ref(Shop).mail)) == 1
    assert site.container.log() == []
    with crash(site.tasks, ref(Shop).mail, point="before"):
        report = blocking.run_until_idle(site.tasks)
    assert [one.outcome for one in report.attempts] == ["released", "done"]
    assert site.container.log() == [("mail", "bob@example.com", "Hello", None)]
    assert blocking.enqueued(site.tasks) == []


def test_time_travels_in_an_app(site: Site, client: TestClient) -> None:
    """What is delayed by an hour is due after an hour."""
    site.tasks.blocking.on(delay=HOUR).enqueue(ref(Shop).mail, "eve")
    blocking.run_until_idle(site.tasks)
    assert site.container.log() == []
    blocking.travel(site.tasks, HOUR)
    blocking.run_until_idle(site.tasks)
    assert len(site.container.log()) == 1


def test_an_executor_that_runs_is_waited_for(site: Site, taskproc_settings: TaskProcessorSettings) -> None:
    """When the test wants the app as it is."""
    taskproc_settings.use_hosted_service = True
    with override_settings(site.tasks, taskproc_settings), TestClient(site.app) as client:
        for number in range(5):
            client.post("/signup", params={"email": f"{number}@example.com"})
        blocking.run_until_idle(site.tasks)
        assert len(site.container.log()) == 5
        blocking.lose_worker(site.tasks)
        client.post("/signup", params={"email": "late@example.com"})
        blocking.run_until_idle(site.tasks)
        assert len(site.container.log()) == 6


async def test_an_async_client_shares_the_loop(site: Site, taskproc_settings: TaskProcessorSettings) -> None:
    """The app is started by its lifespan; a failing assertion leaves it in an orderly way."""
    transport = httpx.ASGITransport(site.app)
    async with asyncio.timeout(20):
        with override_settings(site.tasks, taskproc_settings):
            async with (
                site.app.router.lifespan_context(site.app),
                httpx.AsyncClient(transport=transport, base_url="http://app") as client,
            ):
                await client.post("/signup", params={"email": "bob@example.com"})
                await assert_enqueued(site.tasks, ref(Shop).mail, "bob@example.com")
                await run_until_idle(site.tasks)
                assert len(site.container.log()) == 1


def test_the_environment_counts_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """For an app as for settings of tests; what the app says in its code is not overridden by it."""
    monkeypatch.setenv("TASKPROC_QUEUES", "a,b")
    settings = make_settings("redis://127.0.0.1:1/0", retries=4)
    assert settings.queues == ["a", "b"]
    with override_settings(site.tasks, settings):
        assert (site.tasks.settings.queues, site.tasks.settings.retries) == (["mail"], 4)


def test_the_settings_of_the_app_are_back_afterwards(site: Site, taskproc_settings: TaskProcessorSettings) -> None:
    """Only what the test said was other; an assignment counts."""
    before = site.tasks.settings.model_copy()
    taskproc_settings.retries = 2
    with override_settings(site.tasks, taskproc_settings):
        settings = site.tasks.settings
        assert (settings.redis, settings.prefix) == (taskproc_settings.redis, taskproc_settings.prefix)
        assert (settings.retries, settings.queues) == (2, ["mail"])
        assert settings.on_task_failed_delay is None
        assert settings.unknown_task_grace == timedelta(0)
    assert site.tasks.settings == before
