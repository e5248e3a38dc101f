"""Who gets into a dashboard, and what each may see and do there."""

import importlib.util
import re
from typing import Annotated, Any, cast

import fastapi
import httpx
import pytest
from fastapi import Depends, Header

from taskproc import ConfigurationError, TaskProcessor, background
from taskproc_fastapi import DashboardRights, FastAPI, add_task_processor_dashboard
from taskproc_fastapi.dashboard.routes import router_of
from tests.conftest import MakeSettings
from tests.fastapi.dashboard_kit import (
    ANONYMOUS,
    OPERATOR,
    READER,
    SAME_SITE,
    TENANT,
    Things,
    guard,
    guarded_app,
    rights,
    served,
    things_of_acme,
)

ENDS_IN_THE_MIDDLE = "the test ends while tasks are queued"


@background
async def guarded_task(word: str) -> None:
    """Nothing."""


# Mounting


def test_nobody_guards_it(settings: MakeSettings) -> None:
    """A dashboard without dependencies is refused by a message that says what to write; so is an empty list of them."""
    app = FastAPI()
    app.add_task_processor(settings())
    with pytest.raises(ConfigurationError, match=r"nobody guards .*dependencies=\[Depends.*allow_anonymous=True"):
        app.add_task_processor_dashboard()
    with pytest.raises(ConfigurationError, match="nobody guards"):
        app.add_task_processor_dashboard(dependencies=[])
    with pytest.raises(ConfigurationError, match="nobody guards"):
        app.add_task_processor_dashboard(rights=rights)
    app.add_task_processor_dashboard(allow_anonymous=True)


def test_what_cannot_be_mounted(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app without processor, a path without slash, a wrong `redact`, and a missing extra are named."""
    app = FastAPI()
    with pytest.raises(ConfigurationError, match="add_task_processor"):
        app.add_task_processor_dashboard(allow_anonymous=True)
    app.add_task_processor(settings())
    with pytest.raises(ConfigurationError, match='"/tasks"'):
        app.add_task_processor_dashboard("tasks", allow_anonymous=True)
    wrong: Any = "password"
    with pytest.raises(ConfigurationError, match="redact='password'"):
        app.add_task_processor_dashboard(allow_anonymous=True, redact=wrong)
    found = importlib.util.find_spec

    def find(name: str) -> object:
        return None if name == "jinja2" else found(name)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    with pytest.raises(ConfigurationError, match=r"needs jinja2: pip install 'taskproc\[dashboard\]'"):
        app.add_task_processor_dashboard(allow_anonymous=True)


async def test_the_stock_class_has_it_too(settings: MakeSettings) -> None:
    """As a function, and as a method of any FastAPI app; anonymous viewers are known by their address."""
    app = fastapi.FastAPI()
    cast("Any", app).add_task_processor(settings())
    cast("Any", app).add_task_processor_dashboard("/one", allow_anonymous=True)
    add_task_processor_dashboard(app, "/two", allow_anonymous=True)
    async with served(app, client=("192.0.2.7", 1234)) as client:
        for path in ("/one", "/two"):
            shown = await client.get(path)
            assert shown.status_code == 200
            assert "192.0.2.7" in shown.text


async def test_it_is_not_in_the_schema(settings: MakeSettings) -> None:
    """OpenAPI does not tell of it."""
    app = guarded_app(settings())
    assert app.openapi()["paths"] == {}


async def test_rights_of_another_kind(settings: MakeSettings) -> None:
    """A dependency that returns something else is named, and shows nothing."""
    app = FastAPI()
    app.add_task_processor(settings())

    def wrong() -> str:
        return "admin"

    app.add_task_processor_dashboard(dependencies=[Depends(guard)], rights=wrong)
    async with served(app) as client:
        with pytest.raises(ConfigurationError, match="wrong returned 'admin'"):
            await client.get("/tasks", headers=OPERATOR)


async def test_rights_have_dependencies_of_their_own(settings: MakeSettings) -> None:
    """They are solved as those of routes, and may be overridden as those."""

    async def team(x_team: Annotated[str, Header()]) -> str:
        return x_team

    async def of_team(name: Annotated[str, Depends(team)]) -> DashboardRights:
        return DashboardRights(tenant=name, user=f"somebody of {name}")

    app = FastAPI()
    app.add_task_processor(settings())
    app.add_task_processor_dashboard(dependencies=[Depends(of_team)], rights=of_team)
    async with served(app) as client:
        assert (await client.get("/tasks")).status_code == 422
        assert "somebody of acme" in (await client.get("/tasks", headers={"x-team": "acme"})).text
        app.dependency_overrides[team] = lambda: "carol"
        assert "somebody of carol" in (await client.get("/tasks")).text


# Every route × every viewer. A route that has no line here fails the test

EVERYBODY = (200, 200)
"""What a reader and an operator of another tenant are answered."""
NOT_FOR_ONE_TENANT = (200, 403)
NOT_HIS = (200, 404)
NO_ACT = (403, 409)
"""A reader may do nothing, and what is another tenant's is not there."""
FORBIDDEN = (403, 403)


def decisions(things: Things) -> dict[str, tuple[dict[str, Any], tuple[int, int]]]:
    """By route: what of acme is asked for, and how the two are answered."""
    task, dead = {"id": things.running}, {"queue": "default", "id": things.dead[0], "confirmed": "yes"}
    batch, schedule = (
        {"id": things.batch, "confirmed": "yes"},
        {"id": things.schedule, "tenant": "acme", "confirmed": "1"},
    )
    worker, sure = {"id": things.worker, "confirmed": "yes"}, {"confirmed": "yes"}
    return {
        "GET /": ({}, EVERYBODY),
        "GET /queues": ({}, EVERYBODY),
        "GET /queue": ({"name": "default", "state": "dead"}, EVERYBODY),
        "GET /batches": ({"tenant": "acme"}, EVERYBODY),
        "GET /batch": ({"id": things.batch}, NOT_HIS),
        "GET /task": (task, NOT_HIS),
        "GET /dead": ({"queue": "default"}, EVERYBODY),
        "GET /schedules": ({"tenant": "acme"}, EVERYBODY),
        "GET /workers": ({}, NOT_FOR_ONE_TENANT),
        "GET /stacks": ({"id": things.worker}, FORBIDDEN),
        "GET /tenants": ({}, EVERYBODY),
        "GET /tenant": ({"name": "acme"}, NOT_HIS),
        "GET /redis": ({}, NOT_FOR_ONE_TENANT),
        "GET /audit": ({}, EVERYBODY),
        "GET /search": ({"q": things.batch}, (303, 200)),
        "GET /static/dashboard.css": ({}, EVERYBODY),
        "GET /static/dashboard.js": ({}, EVERYBODY),
        "GET /static/icon.svg": ({}, EVERYBODY),
        "POST /act/pause": ({"queue": "idle"}, FORBIDDEN),
        "POST /act/resume": ({"tenant": "acme"}, FORBIDDEN),
        "POST /act/retry-task": ({"id": things.dead[0]}, NO_ACT),
        "POST /act/retry-task-with": ({"id": things.dead[0], "arguments": '{"word": "x"}'}, FORBIDDEN),
        "POST /act/cancel-task": (task | sure, NO_ACT),
        "POST /act/discard-task": ({"id": things.dead[0]} | sure, NO_ACT),
        "POST /act/retry-dead": (dead, NO_ACT),
        "POST /act/retry-all-dead": ({"queue": "default", "all": "yes"} | sure, NO_ACT),
        "POST /act/discard-dead": ({"queue": "default", "all": "yes"} | sure, NO_ACT),
        "POST /act/retry-batch": ({"id": things.failed_batch} | sure, NO_ACT),
        "POST /act/cancel-batch": (batch, NO_ACT),
        "POST /act/trigger-schedule": (schedule, NO_ACT),
        "POST /act/pause-schedule": (schedule, NO_ACT),
        "POST /act/resume-schedule": (schedule, NO_ACT),
        "POST /act/cancel-schedule": (schedule, NO_ACT),
        "POST /act/drain-worker": (worker, FORBIDDEN),
        "POST /act/resume-worker": (worker, FORBIDDEN),
        "POST /act/stacks": (worker, FORBIDDEN),
    }


async def ask(client: httpx.AsyncClient, route: str, what: dict[str, Any], who: dict[str, str]) -> httpx.Response:
    """The route's answer."""
    method, _, path = route.partition(" ")
    url = f"/tasks{path}" if path != "/" else "/tasks"
    if method == "GET":
        return await client.get(url, params=what, headers=who)
    return await client.post(url, data=what, headers=who | SAME_SITE)


def routes() -> set[str]:
    """All that a dashboard has."""
    found = router_of("", rights, None).routes
    return {f"{method} {each.path}" for each in cast("list[Any]", found) for method in each.methods}


async def digest(processor: TaskProcessor, things: Things) -> list[object]:
    """All that an act could change."""
    ids = [things.ready, things.delayed, things.running, *things.dead]
    tasks = [await processor.get_task(each) for each in ids]
    batches = [await processor.get_batch(each) for each in (things.batch, things.failed_batch)]
    schedules = [(each.id, each.paused, each.next) for each in await processor.get_schedules("acme")]
    workers = [each.draining for each in await processor.get_workers()]
    queues = [await processor.get_queue(each) for each in ("default", "idle")]
    shown = [(each.task_id, each.state, each.attempt) for each in tasks if each is not None]
    return [shown, batches, schedules, workers, [(q.name, q.length, q.deadletter) for q in queues],
            await processor.get_pauses(), await processor.get_audit()]  # fmt: skip


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_every_route_and_every_viewer(settings: MakeSettings) -> None:
    """Nobody else gets in; readers do nothing; what is another tenant's is not there; whatever is refused changes
    nothing and is in no audit list; and no route is left out here.
    """
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client, things_of_acme(processor) as things:
        table = decisions(things)
        assert set(table) == routes()
        before = await digest(processor, things)
        for route, (what, expected) in table.items():
            assert (await ask(client, route, what, ANONYMOUS)).status_code == 401, route
            answers = [(await ask(client, route, what, who)).status_code for who in (READER, TENANT)]
            assert tuple(answers) == expected, route
        assert await digest(processor, things) == before


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_a_viewer_of_one_tenant_learns_nothing_of_others(settings: MakeSettings) -> None:
    """No id, name, count, error or pause of acme is on any page that bob opens, and no button of a reader's."""
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client, things_of_acme(processor) as things:
        await processor.pause(tenant="acme", reason="acme has not paid", by="ann")
        await processor.pause(queue="default", reason="stopped because of acme", by="ann")
        await processor.pause(reason="stopped because of acme", by="ann")
        await processor.record_act("pause", "tenant acme", by="ann", tenant="acme")
        known = [things.ready, things.delayed, things.running, *things.dead, things.batch, things.schedule]
        words = [*known, "acme", "parcel", "Album", "Broken", "dashboard_kit", "ann"]
        for route, (what, _) in decisions(things).items():
            if route.startswith("GET") and "static" not in route:
                asked = {} if "acme" in what.values() else what
                page = (await ask(client, route, asked, TENANT)).text
                for each in asked.values():  # which an answer may repeat
                    page = page.replace(each, "")
                assert [word for word in words if re.search(rf"\b{re.escape(word)}\b", page)] == [], route
                reader = (await ask(client, route, what, READER)).text
                assert 'method="post"' not in reader, route
        counted = (await client.get("/tasks", headers=TENANT)).text
        assert "<dt>Dead</dt><dd>0</dd>" in counted


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_a_tenant_is_shown_its_own(settings: MakeSettings) -> None:
    """Its viewer sees and steers what is its own, and pauses itself, but nothing that others use."""
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    acme = {"x-user": "alice", "x-tenant": "acme"}
    async with served(app) as client:
        for _ in range(7):
            await processor.on("idle", tenant="bob").enqueue(guarded_task, "bob's")
        one = await processor.on("idle", tenant="acme").enqueue(guarded_task, "mine")
        assert one in (await client.get("/tasks/queue", params={"name": "idle"}, headers=acme)).text
        task = (await client.get("/tasks/task", params={"id": one}, headers=acme)).text
        assert "mine" in task
        assert "It is ready in queue idle." in task
        assert "behind" not in task  # how many others there are
        assert "Ready</dt><dd>1</dd>" in (await client.get("/tasks", headers=acme)).text
        for form, status in (({"tenant": "acme"}, 303), ({}, 403), ({"queue": "idle"}, 403), ({"tenant": "bob"}, 403)):
            answer = await client.post("/tasks/act/pause", data=form, headers=acme | SAME_SITE)
            assert answer.status_code == status, form
        (pause,) = await processor.get_pauses()
        assert (pause.tenant, pause.queue, pause.by) == ("acme", None, "alice")
        assert "is paused" in (await client.get("/tasks", headers=acme)).text.replace("</strong>", "")
        await client.post("/tasks/act/resume", data={"tenant": "acme"}, headers=acme | SAME_SITE)
        sure = {"id": one, "confirmed": "yes"}
        assert (await client.post("/tasks/act/cancel-task", data=sure, headers=acme | SAME_SITE)).status_code == 303
        assert await processor.get_task(one) is None
        assert await processor.get_pauses() == []
        assert [each.by for each in await processor.get_audit()] == ["alice"] * 3
        await processor.record_act("cancel-task", one, by="root@vm", tenant="acme", detail="bob asked for it")
        audit = (await client.get("/tasks/audit", headers=acme)).text
        assert "an operator" in audit
        assert "alice" in audit
        assert "root@vm" not in audit
        assert "bob" not in audit


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_tracebacks_are_for_operators(settings: MakeSettings) -> None:
    """A tenant is shown why its own task is dead, but nothing of the code."""
    app = guarded_app(settings(shutdown_grace=0))
    acme = {"x-user": "alice", "x-tenant": "acme"}
    async with served(app) as client, things_of_acme(app.state.task_processor) as things:
        for path, what in (("task", {"id": things.dead[0]}), ("dead", {"queue": "default"})):
            page = (await client.get(f"/tasks/{path}", params=what, headers=acme)).text
            assert "cannot: " in page
            assert [word for word in ("Traceback", "dashboard_kit.py", "raise ") if word in page] == []
        page = (await client.get("/tasks/task", params={"id": things.dead[0]}, headers=OPERATOR)).text
        assert "dashboard_kit.py" in page


# Other sites


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "none"}, 303),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://desk"}, 403),
        ({"Sec-Fetch-Site": ""}, 403),
        ({"Origin": "http://desk"}, 303),
        ({"Origin": "https://desk"}, 303),
        ({"Origin": "http://desk:80"}, 303),
        ({"Origin": "http://desk:8080"}, 403),
        ({"Origin": "http://desk.evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[broken"}, 403),
        ({"Origin": "http://desk:port"}, 403),
        ({"Origin": "http://evil.example:8080", "Host": "evil.example"}, 403),
        ({"Origin": "null", "Host": ""}, 403),
        ({}, 403),
    ],
)
async def test_an_act_comes_from_this_site(settings: MakeSettings, headers: dict[str, str], status: int) -> None:
    """By Sec-Fetch-Site, or without it by Origin; what says neither is refused, and so is what is no address."""
    app = guarded_app(settings())
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        answer = await client.post("/tasks/act/pause", data={"queue": "idle"}, headers=OPERATOR | headers)
        assert answer.status_code == status
        assert len(await processor.get_pauses()) == (status == 303)
        assert len(await processor.get_audit()) == (status == 303)
        if status == 403:
            assert "was not carried out" in answer.text
        await processor.resume(queue="idle")


async def test_acts_are_forms_and_no_gets(settings: MakeSettings) -> None:
    """A GET does nothing, nor does a body of another kind, a huge one, or one with very many fields."""
    app = guarded_app(settings())
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        for name in ("pause", "retry-task", "cancel-batch"):
            assert (await client.get(f"/tasks/act/{name}", headers=OPERATOR)).status_code == 405
        url, who = "/tasks/act/pause", OPERATOR | SAME_SITE
        assert (await client.post(url, json={"queue": "idle"}, headers=who)).status_code == 415
        plain = who | {"content-type": "text/plain"}
        assert (await client.post(url, content="queue=idle", headers=plain)).status_code == 415
        assert (await client.post(url, data={"reason": "x" * 70_000}, headers=who)).status_code == 413
        many = {"id": [str(number) for number in range(300)]}
        assert (await client.post(url, data=many, headers=who)).status_code == 422
        form = who | {"content-type": "application/x-www-form-urlencoded"}
        assert (await client.post(url, content=b"reason=\xff", headers=form)).status_code == 422
        assert await processor.get_pauses() == []
