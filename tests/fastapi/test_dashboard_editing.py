"""The form on the page of a dead task by which it runs again with other arguments."""

import html
import json
import re

import pytest

from taskproc import TaskProcessor
from taskproc_fastapi import FastAPI
from tests.conftest import MakeSettings
from tests.fastapi.dashboard_kit import (
    OPERATOR,
    READER,
    SAME_SITE,
    TENANT,
    fail,
    guarded_app,
    running,
    served,
    state_of,
    text_of,
    work,
)
from tests.kit import wait_until

LEFT = "the test ends while tasks are queued"


def written(page: str) -> str | None:
    """What stands in the form; None: there is none."""
    found = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)
    return None if found is None else html.unescape(found[1])


async def dies(processor: TaskProcessor, word: str, tenant: str = "acme") -> str:
    """A dead task."""
    id_ = await processor.on(tenant=tenant).enqueue(fail, word)

    async def is_dead() -> bool:
        return await state_of(processor, id_) == "dead"

    await wait_until(is_dead)
    return id_


@pytest.mark.leaves_keys(LEFT)
async def test_it_runs_with_what_was_written(settings: MakeSettings) -> None:
    """The form begins with what there is; it is noted who did it to which arguments, not what they are."""
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        async with running(processor):
            id_ = await dies(processor, "</textarea><script>'\"")
        page = await client.get("/tasks/task", params={"id": id_}, headers=OPERATOR)
        assert json.loads(written(page.text) or "") == {"word": "</textarea><script>'\""}
        assert "</textarea><script>" not in page.text
        form = {"id": id_, "arguments": '{"word": "hush-hush"}', "back": f"/tasks/task?id={id_}"}
        answer = await client.post("/tasks/act/retry-task-with", data=form, headers=OPERATOR | SAME_SITE)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/tasks/task?id={id_}")
        assert await state_of(processor, id_) == "ready"
        assert await processor.get_arguments(id_) == {"word": "hush-hush"}
        (entry,) = await processor.get_audit()
        expected = ("retry-task-with", id_, "ann", "acme", "tests.fastapi.dashboard_kit:fail, with other word")
        assert (entry.act, entry.target, entry.by, entry.tenant, entry.detail) == expected
        again = await client.post("/tasks/act/retry-task-with", data=form, headers=OPERATOR | SAME_SITE)
        assert again.status_code == 409
        assert len(await processor.get_audit()) == 1


WRONG = {
    '{"word": ': "The arguments cannot be read",
    "[" * 20_000: "The arguments cannot be read",
    '["word"]': "Arguments are an object of JSON",
    "{}": "missing a required argument: 'word'",
    '{"word": 5}': "argument word does not fit str",
    '{"word": "a", "more": 1}': "the method has no parameter 'more'",
    '{"word": NaN}': "argument word does not fit str",
}


@pytest.mark.leaves_keys(LEFT)
async def test_what_does_not_fit_is_said(settings: MakeSettings) -> None:
    """On a page that names it; nothing is done, and nothing noted."""
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        async with running(processor):
            id_ = await dies(processor, "parcel")
        for arguments, said in WRONG.items():
            form = {"id": id_, "arguments": arguments}
            answer = await client.post("/tasks/act/retry-task-with", data=form, headers=OPERATOR | SAME_SITE)
            assert answer.status_code == 422, arguments[:50]
            assert said in html.unescape(text_of(answer.text)), arguments[:50]
        assert await state_of(processor, id_) == "dead"
        assert await processor.get_arguments(id_) == {"word": "parcel"}
        assert await processor.get_audit() == []


@pytest.mark.leaves_keys(LEFT)
async def test_who_has_the_form(settings: MakeSettings) -> None:
    """Operators of all tenants, while a task is dead, and no longer than fits."""
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:

        async def form_of(id_: str, who: dict[str, str]) -> str | None:
            page = await client.get("/tasks/task", params={"id": id_}, headers=who)
            assert page.status_code == 200
            return written(page.text)

        async with running(processor):
            dead, long = await dies(processor, "parcel", "bob"), await dies(processor, "é" * 5_000)
        ready = await processor.on("idle").enqueue(work, 1)
        assert await form_of(dead, OPERATOR) is not None
        assert [await form_of(dead, who) for who in (READER, TENANT)] == [None, None]
        assert [await form_of(id_, OPERATOR) for id_ in (long, ready)] == [None, None]


@pytest.mark.leaves_keys(LEFT)
async def test_what_is_hidden_is_not_written(settings: MakeSettings) -> None:
    """Where an argument is not shown there is no form, and what is sent all the same does nothing."""
    app = FastAPI()
    app.add_task_processor(settings(shutdown_grace=0))
    app.add_task_processor_dashboard("/tasks", allow_anonymous=True, redact=lambda _, name: name == "word")
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        async with running(processor):
            id_ = await dies(processor, "hush")
        page = await client.get("/tasks/task", params={"id": id_})
        assert (written(page.text), "&#34;hush&#34;" in page.text, "hidden" in page.text) == (None, False, True)
        form = {"id": id_, "arguments": '{"word": "x"}'}
        answer = await client.post("/tasks/act/retry-task-with", data=form, headers=SAME_SITE)
        assert answer.status_code == 409
        assert await processor.get_arguments(id_) == {"word": "hush"}
