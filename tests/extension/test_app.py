"""Schedules and old names, as a FastAPI app declares them."""

from typing import Any

import fastapi
import pytest

from taskproc import ConfigurationError, ScheduleData, TaskProcessor, factories, ref
from taskproc_fastapi import FastAPI, add_schedule, add_task_processor, add_task_processor_executor
from tests.conftest import MakeSettings
from tests.fastapi.client import TestClient, get
from tests.kit import wait_until
from tests.worker.kit import Jobs

YEARLY = "0 0 1 1 *"


@pytest.mark.parametrize("stock", [False, True])
def test_an_app_declares_its_schedules(settings: MakeSettings, stock: bool) -> None:  # noqa: FBT001
    """They are there when it has started, run with their arguments, and go with the code, on any FastAPI class."""
    jobs = Jobs()
    scopes = factories({Jobs: lambda: jobs})

    def start(*words: str) -> Any:
        before = len(jobs.notes)
        app = fastapi.FastAPI() if stock else FastAPI()
        tasks = add_task_processor(app, settings(app_name="app"), scopes=scopes)
        add_task_processor_executor(app)
        for word in words:
            add_schedule(app, ScheduleData(id=word, cron=YEARLY), jobs.note, word)

        async def trigger() -> bool:
            async def are_there() -> bool:
                return [schedule.id for schedule in await tasks.get_schedules("default")] == list(words)

            await wait_until(are_there, what=f"the schedules {words}")
            for id_ in words:
                assert await tasks.trigger_schedule(id_)
            await wait_until(lambda: len(jobs.notes) == before + len(words))
            return True

        app.get("/")(trigger)
        with TestClient(app) as client:
            return get(client, "/")

    assert start("a", "b")
    assert start("b")
    assert start()
    assert sorted(jobs.notes) == ["a", "b", "b"]


def test_the_method_of_the_class_does_the_same(settings: MakeSettings) -> None:
    """`app.add_schedule(…)`, with the arguments checked by their types."""
    app = FastAPI()
    tasks = app.add_task_processor(settings())
    app.add_schedule(ScheduleData(id="a", cron=YEARLY), ref(Jobs).note, "word")
    with pytest.raises(ConfigurationError, match="declared twice"):
        tasks.add_schedule(ScheduleData(id="a", cron=YEARLY), ref(Jobs).note, "word")
    app.add_schedule(ScheduleData(id="b", cron=YEARLY), ref(Jobs).note, 1)  # type: ignore[arg-type]


def test_an_app_without_a_processor_says_so() -> None:
    """It has no schedules either."""
    with pytest.raises(ConfigurationError, match="call add_task_processor"):
        FastAPI().add_schedule(ScheduleData(id="a", cron=YEARLY), ref(Jobs).note, "word")


def test_aliases_of_an_app(settings: MakeSettings) -> None:
    """They are its processor's; one that is made already has its own."""
    app = FastAPI()
    tasks = app.add_task_processor(
        lambda _container: settings(), scopes=factories({Jobs: Jobs}), aliases={"app.old:Work": Jobs}
    )
    assert tasks._sender._calls.find("app.old:Work.note").function is Jobs.note
    with pytest.raises(ConfigurationError, match="aliases= belong to a processor"):
        FastAPI().add_task_processor(TaskProcessor(settings()), aliases={"app.old:Work": Jobs})
