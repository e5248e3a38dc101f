"""The filter field of the dead letters: what is shown, and what the buttons then do."""

import asyncio
import html
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from taskproc import TaskProcessor
from taskproc_fastapi.dashboard.pages import dead as dead_page
from tests.conftest import MakeSettings
from tests.fastapi.dashboard_kit import (
    HOSTILE,
    OPERATOR,
    READER,
    SAME_SITE,
    TENANT,
    fail,
    guarded_app,
    links,
    running,
    served,
    state_of,
    text_of,
)
from tests.kit import wait_until

LEFT = "the test ends while tasks are queued"


@dataclass(frozen=True, slots=True)
class Desk:
    """A dashboard, and the tasks that are dead behind it."""

    client: httpx.AsyncClient
    processor: TaskProcessor
    parcels: list[str]
    letters: list[str]

    async def shown(self, which: str, who: dict[str, str] = OPERATOR, status: int = 200) -> str:
        """The page with a filter."""
        answer = await self.client.get("/tasks/dead", params={"queue": "default", "filter": which}, headers=who)
        assert answer.status_code == status, answer.text
        return answer.text

    async def act(self, name: str, who: dict[str, str] = OPERATOR, /, **form: str) -> httpx.Response:
        """Presses a button, with all that is in its form."""
        data = {"queue": "default", "back": "/tasks/dead", **form}
        return await self.client.post(f"/tasks/act/{name}", data=data, headers=who | SAME_SITE)

    async def states(self, ids: list[str]) -> list[str | None]:
        return [await state_of(self.processor, id_) for id_ in ids]


async def die(processor: TaskProcessor, tenant: str, word: str) -> str:
    """A task that is dead: one after the other, so that it is known which died first."""
    id_ = await processor.on(tenant=tenant).enqueue(fail, word)

    async def is_dead() -> bool:
        return await state_of(processor, id_) == "dead"

    await wait_until(is_dead)
    return id_


@asynccontextmanager
async def desk(settings: MakeSettings) -> AsyncGenerator[Desk]:
    """Five parcels of acme and two letters of bob have failed."""
    app = guarded_app(settings(shutdown_grace=0))
    processor: TaskProcessor = app.state.task_processor
    async with served(app) as client:
        async with running(processor):
            parcels = [await die(processor, "acme", f"parcel {number}") for number in range(5)]
            letters = [await die(processor, "bob", f"letter {number}") for number in range(2)]
        yield Desk(client, processor, parcels, letters)


@pytest.mark.leaves_keys(LEFT)
async def test_what_matches_is_shown(settings: MakeSettings) -> None:
    """Groups and numbers are of what matches; the field keeps what was typed, and links and forms carry it."""
    async with desk(settings) as at:
        page = await at.shown('message:"parcel 3" -tenant:bob')
        assert re.search(r"1 task of default matches, 1 kind of failure ", text_of(page))
        assert at.parcels[3] in page
        assert not any(id_ in page for id_ in [*at.parcels[:3], *at.letters])
        field = 'value="message:&#34;parcel 3&#34; -tenant:bob"'
        assert re.search(rf'<input id="filter" name="filter" {field}', page)
        assert page.count(f'<input type="hidden" name="filter" {field}') == 4
        assert "/tasks/dead?queue=default&filter=message%3A%22parcel+3%22+-tenant%3Abob" in links(page)
        assert re.search("5 tasks of default match, 1 kind of failure ", text_of(await at.shown("PARCEL")))
        none = await at.shown("call:nothing")
        assert "No dead task of default matches." in text_of(none)
        assert "act/" not in none
        whole = await at.shown("  ")
        assert re.search("7 tasks of default ?, 2 kinds of failure ", text_of(whole))
        assert '<input type="hidden" name="filter"' not in whole
        assert 'action="/tasks/act/' not in await at.shown("parcel", READER)


@pytest.mark.leaves_keys(LEFT)
async def test_a_wrong_filter_is_said_beside_the_field(settings: MakeSettings) -> None:
    """It stays there to be mended, as text whatever it is; nothing is shown that could be taken for its matches."""
    async with desk(settings) as at:
        for wrong, said in {
            f"call:fail x:{HOSTILE.split()[0]}": 'filter term `x:<script>alert(1)</script>">',
            "died:2h": "filter term `died:2h`: write how long ago",
            "a" * 1001: "is not a str of at most 1,000 characters",
        }.items():
            page = await at.shown(wrong, status=422)
            told = re.search(r'<p id="filter-wrong" class="wrong" role="alert">(.*?)</p>', page, re.DOTALL)
            assert told is not None
            assert said.partition('"')[0] in html.unescape(told[1])
            assert f'value="{html.escape(wrong).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")}"' in page
            assert "<script>alert" not in page
            assert "act/" not in page
            assert 'id="alive"' not in page
            answer = await at.act("discard-dead", all="yes", filter=wrong, confirmed="yes")
            assert answer.status_code == 422
            assert "That is no filter" in answer.text
        assert (await at.processor.get_queue("default")).deadletter == 7
        assert await at.processor.get_audit() == []


@pytest.mark.leaves_keys(LEFT)
@pytest.mark.parametrize("form", [{"all": "yes"}, {"sample": "parcel"}], ids=["all", "a group"])
async def test_what_dies_after_the_question_is_not_meant(settings: MakeSettings, form: dict[str, str]) -> None:
    """The question says how many; more die alike before it is answered, and stay."""
    async with desk(settings) as at:
        form = {name: at.parcels[0] if name == "sample" else value for name, value in form.items()}
        asked = await at.act("discard-dead", **form)
        assert ("(7 now)" if "all" in form else "5 tasks of queue default") in text_of(asked.text)
        when = re.search(r'name="asked" value="([0-9.]+)"', asked.text)
        assert when is not None
        await asyncio.sleep(1.2)
        async with running(at.processor):
            late = await die(at.processor, "acme", "parcel 9")
        assert (await at.act("discard-dead", **form, asked=when[1], confirmed="yes")).status_code == 303
        assert await at.states([*at.parcels, late]) == [None] * 5 + ["dead"]


@pytest.mark.leaves_keys(LEFT)
async def test_acts_on_what_matches(settings: MakeSettings) -> None:
    """All buttons ask about what matches, do it to that alone, and say so in the audit list."""
    async with desk(settings) as at:
        asked = await at.act("retry-all-dead", all="yes", filter="message:letter")
        assert "All dead tasks of queue default that match “message:letter” (2 now) will run again" in text_of(
            asked.text
        )
        assert '<input type="hidden" name="filter" value="message:letter">' in asked.text
        assert (await at.act("retry-all-dead", all="yes", filter="message:letter", confirmed="yes")).status_code == 303
        assert await at.states([*at.letters, *at.parcels]) == ["ready"] * 2 + ["dead"] * 5
        group = {"sample": at.parcels[0], "filter": "-message:4"}
        asked = await at.act("discard-dead", **group)
        words = "4 tasks of queue default that failed with ValueError that match “-message:4”"
        assert f"{words} will be forgotten" in text_of(asked.text)
        assert (await at.act("retry-dead", **group)).status_code == 303
        assert await at.states(at.parcels) == ["ready"] * 3 + ["dead"] * 2
        nothing = {"all": "yes", "filter": "message:letter", "confirmed": "yes"}
        assert (await at.act("discard-dead", **nothing)).status_code == 409
        chosen = {"id": at.parcels[3], "filter": "message:4", "confirmed": "yes"}
        assert (await at.act("discard-dead", **chosen)).status_code == 409
        assert (await at.act("discard-dead", all="yes", filter="died:<1h", confirmed="yes")).status_code == 303
        assert await at.states(at.parcels) == ["ready"] * 3 + [None] * 2
        details = [entry.detail for entry in reversed(await at.processor.get_audit())]
        assert details == [
            "all dead tasks of queue default that match “message:letter”: 2",
            f"3 tasks on trial, of {words}: 3",
            "all dead tasks of queue default that match “died:<1h”: 2",
        ]


@pytest.mark.leaves_keys(LEFT)
async def test_a_filter_shows_a_tenant_nothing_of_others(settings: MakeSettings) -> None:
    """Whatever it says: neither tasks, nor how many there are; and it acts on its own alone."""
    async with desk(settings) as at:
        for which in ("fail", "tenant:acme", f"id:{at.parcels[0]}", "-tenant:bob"):
            page = await at.shown(which, TENANT)
            assert not any(f"task?id={id_}" in page for id_ in at.parcels), which
            assert "parcel" not in page
            assert ("No dead task of default matches." in text_of(page)) == (which != "fail")
        assert "2 tasks of default match" in text_of(await at.shown("fail", TENANT))
        form = {"all": "yes", "filter": "tenant:acme", "confirmed": "yes"}
        assert (await at.act("discard-dead", TENANT, **form)).status_code == 409
        assert "(2 now)" in text_of((await at.act("discard-dead", TENANT, all="yes", filter="fail")).text)
        assert (await at.act("discard-dead", TENANT, **form | {"filter": "fail"})).status_code == 303
        assert await at.states([*at.letters, *at.parcels]) == [None] * 2 + ["dead"] * 5


@pytest.mark.leaves_keys(LEFT)
async def test_more_than_a_page_looks_at(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says among how many it has looked; what is not shown is acted on all the same."""
    monkeypatch.setattr(dead_page, "MOST_FILTERED", 4)
    async with desk(settings) as at:
        oldest = (await at.processor.get_dead_tasks("default", 6))[0]
        which = f"id:{oldest.task_id}"
        page = await at.shown(which)
        assert "0 tasks of default match, 0 kinds of failure, among the 4 that died last" in text_of(page)
        assert "Those that died before are not looked at here, but acted on too if they match." in text_of(page)
        asked = await at.act("discard-dead", all="yes", filter=which)
        assert "(0 now among the 4 that died last) will be forgotten" in text_of(asked.text)
        assert (await at.act("discard-dead", all="yes", filter=which, confirmed="yes")).status_code == 303
        assert await at.states([oldest.task_id]) == [None]


@pytest.mark.leaves_keys(LEFT)
async def test_a_tenant_is_told_that_not_all_was_looked_at(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own dead tasks may stand behind many of others: the page does not say that there are none."""
    monkeypatch.setattr(dead_page, "MOST_FILTERED", 1)
    async with desk(settings) as at:
        async with running(at.processor):
            await die(at.processor, "acme", "parcel 9")
        page = text_of((await at.client.get("/tasks/dead", params={"queue": "default"}, headers=TENANT)).text)
        assert "Those that died before are not looked at here, but acted on too" in page
        assert "Whatever fails for good is kept" not in page
