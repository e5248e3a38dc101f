"""What the buttons of a dashboard do, without JavaScript, and what is noted of it."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from taskproc import StorageUnavailable, TaskProcessor
from taskproc_fastapi.dashboard.acts import ACTS
from taskproc_fastapi.dashboard.pages import audit
from tests.conftest import MakeSettings
from tests.fastapi.dashboard_kit import (
    FAIR,
    OPERATOR,
    SAME_SITE,
    Things,
    fail,
    guarded_app,
    running,
    served,
    state_of,
    text_of,
    things_of_acme,
    work,
)
from tests.kit import wait_until

WHO = OPERATOR | SAME_SITE
ENDS_IN_THE_MIDDLE = "the test ends while tasks are queued"

Look = Callable[[TaskProcessor, Things], Awaitable[object]]


async def press(client: httpx.AsyncClient, act: str, form: dict[str, Any]) -> httpx.Response:
    """Sends the form of a button."""
    return await client.post(f"/tasks/act/{act}", data=form, headers=WHO)


def confirmation(page: str) -> dict[str, str]:
    """The fields of the form that asks."""
    form = page.partition('class="confirm"')[2].partition("</form>")[0]
    return dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form))


async def test_a_pause_says_why_and_until_when(settings: MakeSettings) -> None:
    """The reason, the end and the user are kept and shown; the page that follows says so once."""
    app = guarded_app(settings())
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        form = {"queue": FAIR, "reason": "the shop moves", "minutes": "15", "back": "/tasks/queues"}
        answer = await press(client, "pause", form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/tasks/queues")
        (pause,) = await processor.get_pauses()
        assert (pause.queue, pause.tenant, pause.reason, pause.by) == (FAIR, None, "the shop moves", "ann")
        assert pause.until is not None
        assert timedelta(minutes=14) < pause.until - datetime.now(UTC) < timedelta(minutes=16)
        page = await client.get("/tasks/queues", headers=OPERATOR)
        assert f"Paused queue {FAIR}, for 15 min." in text_of(page.text)
        assert f"Paused queue {FAIR}, for" not in text_of((await client.get("/tasks/queues", headers=OPERATOR)).text)
        shown = text_of((await client.get("/tasks/queue", params={"name": FAIR}, headers=OPERATOR)).text)
        assert re.search(r"This queue is paused \(by ann, .*\), ends in 14 min .*: the shop moves", shown)
        assert (await press(client, "resume", {"queue": FAIR})).headers["location"] == "/tasks"
        assert await processor.get_pauses() == []
        for wrong in ("0", "-5", "abc", "99999999", "1e3"):
            assert (await press(client, "pause", {"minutes": wrong})).status_code == 422, wrong
        assert (await press(client, "pause", {"queue": FAIR, "tenant": "acme"})).status_code == 422
        noted = [(entry.act, entry.target, entry.by) for entry in await processor.get_audit()]
        assert noted == [("resume", f"queue {FAIR}", "ann"), ("pause", f"queue {FAIR}", "ann")]


async def is_gone(processor: TaskProcessor, task: str) -> bool:
    """Whether a task has ended."""
    return await processor.get_task(task) is None


async def of_schedule(processor: TaskProcessor, _things: Things) -> object:
    """The tenant's schedules, and which of them are paused."""
    return [(each.id, each.paused) for each in await processor.get_schedules("acme")]


async def of_worker(processor: TaskProcessor, _things: Things) -> object:
    """Which workers fetch no more."""
    return [each.draining for each in await processor.get_workers()]


def acts(things: Things) -> list[tuple[str, dict[str, Any], bool, str, str, Look, object]]:
    """Act, form, whether it asks first, target and tenant in the audit list, what then is how. In this order."""
    one, other, third = things.dead[:3]
    schedule = {"id": things.schedule, "tenant": "acme"}

    def state(task: str) -> Look:
        return lambda processor, _: state_of(processor, task)

    async def dead(processor: TaskProcessor, _things: Things) -> object:
        return (await processor.get_queue("default")).deadletter

    async def batch(processor: TaskProcessor, _things: Things) -> object:
        found = await processor.get_batch(things.batch)
        return None if found is None else found.state

    async def ready(processor: TaskProcessor, _things: Things) -> object:
        return (await processor.get_queue("idle")).length

    return [
        ("discard-task", {"id": one}, True, one, "acme", state(one), None),
        ("discard-dead", {"queue": "default", "id": [other, third]}, True, "queue default", "", dead, 3),
        ("cancel-task", {"id": things.ready}, True, things.ready, "acme", state(things.ready), None),
        ("cancel-task", {"id": things.running}, True, things.running, "acme", state(things.running), None),
        ("trigger-schedule", schedule, False, things.schedule, "acme", ready, 3),
        ("pause-schedule", schedule, False, things.schedule, "acme", of_schedule, [(things.schedule, True)]),
        ("resume-schedule", schedule, False, things.schedule, "acme", of_schedule, [(things.schedule, False)]),
        ("cancel-schedule", schedule, True, things.schedule, "acme", of_schedule, []),
        ("drain-worker", {"id": things.worker}, True, things.worker, "", of_worker, [True]),
        ("retry-task", {"id": things.dead[3]}, False, things.dead[3], "acme", state(things.dead[3]), "ready"),
        ("retry-batch", {"id": things.failed_batch}, True, things.failed_batch, "acme", dead, 1),
        ("retry-dead", {"queue": "default", "id": things.dead[4]}, False, "queue default", "", dead, 0),
        ("resume-worker", {"id": things.worker}, False, things.worker, "", dead, 3),
        ("retry-all-dead", {"queue": "default", "all": "yes"}, True, "queue default", "", dead, 3),
        ("discard-dead", {"queue": "default", "all": "yes"}, True, "queue default", "", dead, 0),
        ("cancel-batch", {"id": things.batch}, True, things.batch, "acme", batch, "canceled"),
    ]


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_every_act_does_what_it_says(settings: MakeSettings) -> None:
    """Those that take something away ask first, and do nothing before; all are noted, and lead back with a message."""
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client, things_of_acme(processor) as things:
        for act, form, asks, target, tenant, look, wanted in acts(things):
            before = await processor.get_audit()
            answer = await press(client, act, {**form, "back": "/tasks/audit"})
            if asks:
                assert answer.status_code == 200, act
                assert await processor.get_audit() == before, act
                fields: dict[str, Any] = {**form, **confirmation(answer.text)}
                assert fields["confirmed"] == "yes"
                answer = await press(client, act, {**fields, **form})
            assert (answer.status_code, answer.headers.get("location")) == (303, "/tasks/audit"), act

            async def is_so(look: Look = look, wanted: object = wanted) -> bool:
                return await look(processor, things) == wanted

            await wait_until(is_so, what=f"{act}: {wanted}")
            entry, *others = await processor.get_audit()
            assert (entry.act, entry.target, entry.by, entry.tenant or "") == (act, target, "ann", tenant)
            assert others == before
            page = text_of((await client.get("/tasks/audit", headers=OPERATOR)).text)
            assert audit.WORDS[act] in page
            assert target in page


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_dead_letters_that_failed_alike(settings: MakeSettings) -> None:
    """Three of a group are retried on trial, those that died first; then all of it, and no others."""
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        async with running(processor):
            dead = [await die(processor, number) for number in range(5)]
            other = await die(processor, 0, word="of another kind, quite")
        page = (await client.get("/tasks/dead", params={"queue": "default"}, headers=OPERATOR)).text
        samples = re.findall(r'name="sample" value="([^"]+)"', page)
        assert set(samples) == {dead[-1], other}
        assert (await press(client, "retry-dead", {"queue": "default", "sample": dead[0]})).status_code == 303
        assert [await state_of(processor, id_) for id_ in dead] == ["ready"] * 3 + ["dead"] * 2
        assert (await press(client, "retry-dead", {"queue": "default", "sample": dead[0]})).status_code == 409
        all_of_it = {"queue": "default", "sample": dead[3], "confirmed": "yes"}
        assert (await press(client, "retry-all-dead", all_of_it)).status_code == 303
        assert [await state_of(processor, id_) for id_ in [*dead, other]] == ["ready"] * 5 + ["dead"]
        assert (await press(client, "retry-dead", {"queue": "default"})).status_code == 409
        assert (await press(client, "retry-dead", {"queue": "default", "all": "yes"})).status_code == 409
        details = [entry.detail for entry in await processor.get_audit()]
        assert details[1] == "3 tasks on trial, of 5 tasks of queue default that failed with ValueError: 3"


async def die(processor: TaskProcessor, number: int, word: str = "parcel") -> str:
    """A task that has failed for good."""
    id_ = await processor.on(tenant="acme").enqueue(fail, f"{word} {number}")

    async def is_dead() -> bool:
        return await state_of(processor, id_) == "dead"

    await wait_until(is_dead)
    return id_


async def test_a_reader_does_not_lose_the_place(settings: MakeSettings) -> None:
    """What a browser's reader asks for in vain is said in red on the page that it was asked from, once."""
    app = guarded_app(settings())
    async with served(app) as client:
        browser = WHO | {"Sec-Fetch-Mode": "navigate"}
        form = {"queue": "default", "back": "/tasks/queue?name=default&state=dead"}
        for act in ("retry-dead", "discard-dead"):
            answer = await client.post(f"/tasks/act/{act}", data=form, headers=browser)
            assert (answer.status_code, answer.headers["location"]) == (303, form["back"])
            page = (await client.get(form["back"], headers=OPERATOR)).text
            assert '<p class="said wrong" role="alert">Nothing was done: No task was chosen' in page
            assert "No task was chosen" not in (await client.get(form["back"], headers=OPERATOR)).text
        elsewhere = await client.post("/tasks/act/retry-dead", data={**form, "back": "/other"}, headers=browser)
        assert elsewhere.status_code == 409
        assert (await press(client, "retry-dead", form)).status_code == 409, "a script is told by the status"


def test_acts_have_words() -> None:
    """In the audit list."""
    assert audit.WORDS.keys() == ACTS.keys()


async def test_what_has_gone_is_not_done(settings: MakeSettings) -> None:
    """An act on what is no longer there, or without what it needs, says so and is not noted."""
    app = guarded_app(settings())
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        sure = {"confirmed": "yes"}
        for act in ("retry-task", "cancel-task", "discard-task", "cancel-batch", "retry-batch", "drain-worker"):
            assert (await press(client, act, {"id": "gone"} | sure)).status_code == 409, act
            assert (await press(client, act, sure)).status_code == 422, act
        for act in ("trigger-schedule", "pause-schedule", "resume-schedule", "cancel-schedule"):
            assert (await press(client, act, {"id": "gone", "tenant": "acme"} | sure)).status_code == 409, act
        for form in ({"queue": "a:b"}, {"tenant": "a b"}, {"queue": "success"}):
            assert (await press(client, "pause", form)).status_code == 422, form
        assert await processor.get_audit() == []


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example/",
        "//evil.example/",
        "/tasks\\..\\..\\evil",
        "/tasksevil",
        "/elsewhere",
        "/tasks/\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "",
    ],
)
async def test_it_leads_back_to_itself_only(settings: MakeSettings, back: str) -> None:
    """Where an act leads to cannot be another place than the dashboard."""
    app = guarded_app(settings())
    async with served(app) as client:
        answer = await press(client, "resume", {"back": back})
        assert (answer.status_code, answer.headers["location"]) == (303, "/tasks")
        assert "a" not in answer.cookies


async def test_a_forged_message_is_only_text(settings: MakeSettings) -> None:
    """What stands in the cookie of the message is shown as text, or not at all."""
    app = guarded_app(settings())
    async with served(app) as client:
        for value in ("PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==", "%%%", "////", "gICA"):
            page = await client.get("/tasks/audit", headers=OPERATOR | {"cookie": f"taskproc_said={value}"})
            assert page.status_code == 200
            assert "<script>alert" not in page.text


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_an_act_that_breaks_off_is_noted(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """When Redis goes away half way, the list says that it may have been carried out in part."""
    app = guarded_app(settings())
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        async with processor.batch("idle", tenant="acme") as batch:
            batch.enqueue(work, 1)

        async def broken(*_args: object, **_options: object) -> bool:
            raise StorageUnavailable("Redis did not answer", maybe_accepted=True)

        monkeypatch.setattr(TaskProcessor, "cancel_batch", broken)
        answer = await press(client, "cancel-batch", {"id": batch.id, "confirmed": "yes"})
        assert answer.status_code == 503
        (entry,) = await processor.get_audit()
        assert (entry.act, entry.by) == ("cancel-batch", "ann")
        assert batch.id in entry.target
        assert "in part" in entry.detail
