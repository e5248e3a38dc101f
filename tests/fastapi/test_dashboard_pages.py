"""What the pages of a dashboard show, wherever it is mounted, and how they are answered."""

import re
from typing import Any

import pytest
from fastapi import Depends

from taskproc import ScheduleData, TaskInfo, TaskProcessor
from taskproc_fastapi import FastAPI
from tests.conftest import MakeSettings
from tests.fastapi.dashboard_kit import (
    FAIR,
    HOSTILE,
    OPERATOR,
    SAME_SITE,
    TENANT,
    fail,
    guard,
    guarded_app,
    links,
    running,
    served,
    text_of,
    things_of_acme,
    work,
)
from tests.kit import wait_until

PAGES = ["", "queues", "batches", "dead", "schedules", "workers", "tenants", "redis", "audit", "search"]
NAMES = ["a/b", "x|y=z", "q+1@home", "a.b-c_d"]
ENDS_IN_THE_MIDDLE = "the test ends while tasks are queued"


# Headers


async def test_every_answer_has_its_headers(settings: MakeSettings) -> None:
    """Pages, refusals, acts, event streams and files: a policy that lets nothing in, nothing guessed, nothing kept."""
    app = guarded_app(settings())
    async with served(app) as client:
        answers = [await client.get(f"/tasks/{page}" if page else "/tasks", headers=OPERATOR) for page in PAGES]
        answers.append(await client.get("/tasks/task?id=gone", headers=OPERATOR))
        answers.append(await client.get("/tasks/redis", headers=TENANT))
        answers.append(await client.post("/tasks/act/resume", headers=OPERATOR))
        answers.append(await client.post("/tasks/act/resume", headers=OPERATOR | SAME_SITE))
        assert {answer.status_code for answer in answers} == {200, 404, 403, 303}
        files = [
            await client.get(f"/tasks/static/{name}", headers=OPERATOR) for name in ("dashboard.css", "dashboard.js")
        ]
        for answer in [*answers, *files]:
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert "style-src 'self';" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"
        assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
        assert all("immutable" in answer.headers["cache-control"] for answer in files)


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_nothing_in_a_page_needs_a_looser_policy(settings: MakeSettings) -> None:
    """No script, style or handler stands in the pages, nothing comes from elsewhere, and no link leads elsewhere."""
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client, things_of_acme(processor) as things:
        paths = [*PAGES, "queue?name=default&state=dead", "queue?name=idle&state=delayed", "dead?queue=default"]
        paths += [f"task?id={things.dead[0]}", f"task?id={things.running}", f"batch?id={things.failed_batch}"]
        paths += [f"batch?id={things.batch}", "batches?tenant=acme", "schedules?tenant=acme"]
        for path in paths:
            page = await client.get(f"/tasks/{path}", headers=OPERATOR, follow_redirects=True)
            assert page.status_code == 200, path
            assert re.findall(r"\sstyle=|\son\w+=|<style|javascript:", page.text) == [], path
            assert re.findall(r"<script(?![^>]* src=\"/tasks/static/)", page.text) == [], path
            assert [link for link in links(page.text) if not link.startswith("/tasks")] == [], path


async def test_files_have_a_new_address_when_they_change(settings: MakeSettings) -> None:
    """What is kept for a year by browsers is linked with a hash of its content."""
    app = guarded_app(settings())
    async with served(app) as client:
        page = (await client.get("/tasks", headers=OPERATOR)).text
        (style,) = [link for link in links(page) if "dashboard.css" in link]
        assert re.search(r"\?v=[0-9a-f]{12}$", style)
        answer = await client.get(style, headers=OPERATOR)
        assert answer.headers["content-type"].startswith("text/css")
        assert len(answer.content) < 40_000


# Where it is


def sub_app(settings: MakeSettings, processor: TaskProcessor) -> FastAPI:
    """An app to be mounted, of the same processor, with a dashboard."""
    app = FastAPI()
    app.add_task_processor(processor)
    app.add_task_processor_dashboard("/tasks", dependencies=[Depends(guard)])
    return app


async def test_it_works_wherever_it_is(settings: MakeSettings) -> None:
    """With a slash behind it or not, at the root, in a mounted app, twice in one, and with a parameter in its path:
    all links stay below it, and lead somewhere.
    """
    app = guarded_app(settings(), "/tasks/")
    app.add_task_processor_dashboard("/t/{team}/desk", dependencies=[Depends(guard)])
    app.mount("/sub app", sub_app(settings, app.state.task_processor))
    app.add_task_processor_dashboard("/", dependencies=[Depends(guard)])
    async with served(app) as client:
        for base in ("/tasks", "/t/a%2Bb/desk", "/sub%20app/tasks", ""):
            for path in (f"{base}/", base, f"{base}/queues", f"{base}/batches?tenant=a%2Fb"):
                page = await client.get(path or "/", headers=OPERATOR)
                assert page.status_code == 200, path
                found = links(page.text)
                assert len(found) > 10
                assert [link for link in found if not f"{link}/".startswith((f"{base}/", f"{base}?"))] == [], path
                for link in {link for link in found if "/act/" not in link}:
                    assert (await client.get(link, headers=OPERATOR)).status_code == 200, link


@pytest.mark.parametrize("stripped", [True, False], ids=["the proxy cuts it off", "the server leaves it"])
async def test_it_works_below_a_root_path(settings: MakeSettings, *, stripped: bool) -> None:
    """Links and redirects name the path that the browser sees."""
    app = guarded_app(settings())
    async with served(app, root_path="/api v1") as client:
        inside = "/tasks" if stripped else "/api%20v1/tasks"
        page = await client.get(f"{inside}/queue", params={"name": FAIR}, headers=OPERATOR)
        assert page.status_code == 200
        assert [link for link in links(page.text) if not link.startswith("/api%20v1/tasks")] == []
        form = {"queue": FAIR, "back": "/api%20v1/tasks/queue?name=a%2Fb%5Bfair%5D"}
        answer = await client.post(f"{inside}/act/pause", data=form, headers=OPERATOR | SAME_SITE)
        assert answer.headers["location"] == form["back"]
        assert "Path=/api%20v1/tasks" in answer.headers["set-cookie"]
        await client.post(f"{inside}/act/resume", data=form, headers=OPERATOR | SAME_SITE)


# Hostile and odd content


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_what_is_hostile_is_text(settings: MakeSettings) -> None:
    """Scopes, arguments, errors, reasons, users and queries with tags and templates in them are shown as they are."""
    app = guarded_app(settings(queues=["default"]))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        async with processor.batch("idle", tenant="acme", scope=HOSTILE) as batch:
            batch.enqueue(work, 1, options={HOSTILE: HOSTILE})
        await processor.upsert_schedule(ScheduleData(id="s", cron="@daily", tenant="acme", scope=HOSTILE), work, 1)
        dead = await processor.on(tenant="acme").enqueue(fail, HOSTILE)
        async with running(processor):
            await wait_until(lambda: is_dead(processor, dead))
        await processor.pause(queue="idle", reason=HOSTILE, by=HOSTILE)
        await processor.record_act("pause", HOSTILE, by=HOSTILE, detail=HOSTILE)
        task = f"{batch.id}.0.0"
        shown = [f"task?id={dead}", f"task?id={task}", f"batch?id={batch.id}", "batches?tenant=acme", "audit", "queues"]
        shown += ["schedules?tenant=acme", "dead?queue=default", "queue?name=default&state=dead"]
        for path in shown:
            page = (await client.get(f"/tasks/{path}", headers=OPERATOR)).text
            assert "<script>alert" not in page, path
            assert "<img" not in page, path
            assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page, path
            assert "{{7*7}}" in page, path
        asked = await client.get("/tasks/search", params={"q": HOSTILE}, headers={"x-user": "<b>ann</b>"})
        assert "<b>ann" not in asked.text
        assert "<script>alert" not in asked.text
        refused = await client.get("/tasks/batch", params={"id": HOSTILE}, headers=OPERATOR)
        assert "<script>alert" not in refused.text


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_odd_names_have_pages(settings: MakeSettings) -> None:
    """Queues, tenants and schedules with any character that names may have are linked so that their pages open."""
    app = guarded_app(settings())
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        for name in NAMES:
            for queue in (name, f"{name}[fair]"):
                await processor.on(queue, tenant=name).enqueue(work, 1)
            async with processor.batch(f"{name}[fair]", tenant=name, scope=f"batch of {name}") as batch:
                batch.enqueue(work, 1)
            await processor.upsert_schedule(ScheduleData(id=name, cron="@hourly", tenant=name), work, 1)
        queues = (await client.get("/tasks/queues", headers=OPERATOR)).text
        tenants = (await client.get("/tasks/tenants", headers=OPERATOR)).text
        for link in {
            link for page in (queues, tenants) for link in links(page) if "?" in link and "static" not in link
        }:
            page = await client.get(link, headers=OPERATOR)
            assert page.status_code == 200, link
            assert "No batches of" not in page.text, link
            assert "No schedules of" not in page.text, link
            assert "No task is ready" not in page.text or "name=default" in link, link
        for name in NAMES:
            found = await client.get("/tasks/search", params={"q": f"{name}[fair]"}, headers=OPERATOR)
            assert found.status_code == 303
            assert (
                f"<small>Queue</small> {name}[fair]"
                in (await client.get(found.headers["location"], headers=OPERATOR)).text
            )


async def test_what_is_no_page(settings: MakeSettings) -> None:
    """Wrong names, numbers and choices are answered by a page that says what is wrong, with a status of its own."""
    app = guarded_app(settings())
    async with served(app) as client:
        for path, status in {
            "task?id=gone": 404,
            "batch?id=gone": 404,
            "task": 422,
            "task?id=%F0%9F%92%A5": 422,
            f"task?id={'x' * 3000}": 422,
            "queue?name=a:b": 422,
            "queue?name=success": 422,
            "queue?name=a&state=leased": 422,
            "queue?name=a&skip=-1": 422,
            "queue?name=a&skip=1e9": 422,
            "queue?name=a&skip=99999999999": 422,
            "queue?name=a&skip=1001": 422,
            "batches?tenant=a%20b": 422,
            "?span=99h": 422,
        }.items():
            page = await client.get(f"/tasks{'' if path[0] == '?' else '/'}{path}", headers=OPERATOR)
            assert page.status_code == status, path
            assert "<h1>" in page.text, path
            assert 'aria-label="Pages"' in page.text, path
        assert (await client.get("/tasks/nothing", headers=OPERATOR)).status_code == 404


# Content


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_pages_open_while_all_is_paused(settings: MakeSettings) -> None:
    """Where something may be waiting, the page says so and offers to go on."""
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client, things_of_acme(processor) as things:
        await processor.pause(reason="upkeep", by="ann")
        telling = ["", "queues", "queue?name=idle", "batches", "dead", "schedules", "workers", "tenants"]
        telling += [f"batch?id={things.batch}", f"task?id={things.ready}"]
        for path in [*telling, "redis", "audit", "search"]:
            page = await client.get(f"/tasks/{path}" if path else "/tasks", headers=OPERATOR)
            assert page.status_code == 200, path
            told = re.search(r"Everything is paused \(by ann, (?:now|\d+ s ago) \): upkeep Resume", text_of(page.text))
            assert bool(told) == (path in telling), path


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_pages_show_what_there_is(settings: MakeSettings) -> None:
    """Counters, attempts, arguments, groups of dead letters, continuations, schedules in words, workers, memory."""
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client, things_of_acme(processor) as things:

        async def said(path: str) -> str:
            page = await client.get(f"/tasks/{path}" if path else "/tasks", headers=OPERATOR)
            assert page.status_code == 200, path
            return text_of(page.text)

        assert re.search(r"Ready 3 .*Running 1 .*Delayed 1 .*Dead 6 ", await said(""))
        assert re.search(r"idle no worker 3 .*default 0 ", await said(""))
        assert things.dead[0][:10] in await said("queue?name=default&state=dead")
        assert re.search(r"Album.* running .*0 / 2", await said("batches?tenant=acme"))
        batch = await said(f"batch?id={things.batch}")
        assert re.search(r"When it has ended .*dashboard_kit: work .*after success", batch)
        assert re.search(r"Failed tasks .*ValueError cannot: of a batch", await said(f"batch?id={things.failed_batch}"))
        dead = await said(f"task?id={things.dead[0]}")
        assert re.search(r"ValueError cannot: parcel 0 Traceback .*Attempt 1 failed .*Arguments ", dead)
        assert dead.count("cannot: parcel 0") == 2, "as the error, and in the traceback"
        assert "word &#34;parcel 0&#34;" in dead
        assert re.search(r"Traceback \(most recent call last\): … File &#34;[^ ]*dashboard_kit.py", dead)
        assert re.search(r"running .*runs for", await said(f"task?id={things.running}"))
        groups = await said("dead?queue=default")
        assert re.search(r"6 tasks of default ?, 2 kinds of failure", groups)
        assert re.search(r"5 tests\.fastapi\.dashboard_kit: fail ValueError cannot: parcel \d", groups)
        schedules = await said("schedules?tenant=acme")
        assert "At 09:00, Monday through Friday" in schedules
        assert len(re.findall(r"(?:Mon|Tue|Wed|Thu|Fri) \d\d \w{3} 09:00:00", schedules)) == 5
        assert re.search(rf"1 / 20 .*{things.running[:10]}", await said("workers"))
        assert re.search(r"tasks \d+ .*kB", await said("redis"))
        assert re.search(r"acme 2 1 ", await said("tenants"))


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_lists_are_paged(settings: MakeSettings) -> None:
    """A page has 25 rows; links lead on and back; every task is on one page."""
    app = guarded_app(settings())
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        async with processor.batch(FAIR, tenant="acme") as batch:
            for number in range(60):
                batch.enqueue(work, number)
        seen: list[str] = []
        link: str | None = "/tasks/queue?name=a%2Fb%5Bfair%5D"
        while link:
            page = (await client.get(link, headers=OPERATOR)).text
            seen += re.findall(r'<tr data-key="([0-9a-f]{32}\.\d+\.\d+)"', page)
            found = re.search(r'rel="next" href="([^"]+)"', page)
            link = found[1].replace("&amp;", "&") if found else None
        assert len(seen) == len(set(seen)) == 60


def plain(task: TaskInfo, name: str) -> bool:
    """Hides one argument."""
    return name == "number" and task.tenant == "acme"


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
@pytest.mark.parametrize(
    "redact, hidden, shown",
    [
        (None, ["s3cret", "t0ken", "pa55"], ["4711", "anna", "db.example"]),
        (True, ["s3cret", "t0ken", "4711", "anna", "pa55"], []),
        (False, [], ["s3cret", "t0ken", "4711", "anna", "pa55"]),
        (plain, ["4711", "pa55"], ["s3cret", "t0ken", "anna"]),
    ],
    ids=["default", "all", "nothing", "function"],
)
async def test_secrets_are_hidden(settings: MakeSettings, redact: Any, hidden: list[str], shown: list[str]) -> None:
    """Values of what looks secret by its name, at any depth, and passwords in URLs; or what the app says."""
    app = FastAPI()
    app.add_task_processor(settings())
    app.add_task_processor_dashboard(dependencies=[Depends(guard)], redact=redact)
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        options = {"list": [{"auth_token": "t0ken", "name": "anna"}], "url": "redis://me:pa55@db.example/0"}
        task = await processor.on("idle", tenant="acme").enqueue(work, 4711, "s3cret", options)
        page = (await client.get("/tasks/task", params={"id": task}, headers=OPERATOR)).text
        assert [word for word in hidden if word in page] == []
        assert [word for word in shown if word not in page] == []


async def test_redis_away_is_a_page(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """When Redis does not answer a page says so, and tells nothing of where it is."""
    from taskproc import StorageUnavailable

    app = guarded_app(settings())
    async with served(app) as client:

        async def away(_self: object) -> None:
            raise StorageUnavailable("Redis at redis.internal:6379 did not answer")

        monkeypatch.setattr(TaskProcessor, "get_queues", away)
        page = await client.get("/tasks/queues", headers=OPERATOR)
        assert page.status_code == 503
        assert "Redis does not answer" in page.text
        assert 'aria-label="Pages"' in page.text
        assert "redis.internal" not in page.text


async def is_dead(processor: TaskProcessor, task: str) -> bool:
    """Whether a task has failed for good."""
    found = await processor.get_task(task)
    return found is not None and found.state == "dead"
