"""A dashboard whose user of Redis may only look, as the documentation gives it."""

import logging

import pytest
import redis

from taskproc import TaskProcessor, TaskProcessorSettings
from tests.conftest import MakeSettings
from tests.fastapi.dashboard_kit import OPERATOR, SAME_SITE, TENANT, guarded_app, served, things_of_acme
from tests.fastapi.test_dashboard_access import ENDS_IN_THE_MIDDLE, ask, decisions
from tests.kit import acl


def reading(settings: MakeSettings, client: redis.Redis, without: str = "") -> TaskProcessorSettings:
    """Settings with the documented reader, or one that lacks a command."""
    made = settings(use_hosted_service=False)
    made.redis = acl.as_user(made.redis, acl.create_user(client, "reader", made.prefix, without=without))
    return made


@pytest.mark.leaves_keys(ENDS_IN_THE_MIDDLE)
async def test_a_reader_opens_every_page(settings: MakeSettings, client: redis.Redis) -> None:
    """There is nothing on any page that this user may not look at."""
    async with (
        TaskProcessor(settings(shutdown_grace=0)) as full,
        things_of_acme(full) as things,
        served(guarded_app(reading(settings, client))) as browser,
    ):
        for route, (what, _) in decisions(things).items():
            if route.startswith("GET"):
                status = (await ask(browser, route, what, OPERATOR)).status_code
                assert status in (200, 303), route


@pytest.mark.parametrize("who", [OPERATOR, TENANT], ids=["operator", "tenant"])
async def test_what_redis_refuses_is_a_page(
    settings: MakeSettings, client: redis.Redis, caplog: pytest.LogCaptureFixture, who: dict[str, str]
) -> None:
    """An act, or a look without the right for it, is refused by a page that names no server; the log says why."""
    async with TaskProcessor(settings()):
        pass
    path = "/tasks/queue?name=default"
    async with served(guarded_app(reading(settings, client, without="LRANGE"))) as browser:
        with caplog.at_level(logging.ERROR):
            form = {} if who is OPERATOR else {"tenant": "bob"}
            answers = [
                await browser.post("/tasks/act/pause", data=form, headers=who | SAME_SITE),
                await browser.get(path, headers=who),
                await browser.get(path, headers=who | {"accept": "text/event-stream"}),
            ]
    for answer in answers:
        assert answer.status_code == 500
        assert "Redis refuses this" in answer.text
        assert 'aria-label="Pages"' in answer.text
        assert "127.0.0.1" not in answer.text
    assert "docs/connections.md" in caplog.text
