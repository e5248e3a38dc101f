"""How much memory what is stored takes, by kind of key."""

import pytest

from taskproc import TaskProcessor, background
from taskproc import keyspace as module
from tests.conftest import MakeSettings
from tests.kit import Server, acl


@background
async def work(number: int) -> None:
    """Nothing."""


async def fill(tasks: TaskProcessor, count: int) -> None:
    """A batch of so many tasks that nobody runs."""
    async with tasks.batch("idle") as batch:
        for number in range(count):
            batch.enqueue(work, number)


@pytest.mark.leaves_keys("its tasks are not run")
async def test_kinds_are_counted_and_measured(settings: MakeSettings) -> None:
    """Each key counts in one kind; with few keys the numbers are exact."""
    async with TaskProcessor(settings()) as tasks:
        await fill(tasks, 40)
        found = await tasks.get_keyspace()
        kinds = {kind.name: kind for kind in found.kinds}
        assert kinds["tasks"].keys == 40
        assert (kinds["ready lists"].keys, kinds["batches"].keys, kinds["queues"].keys) == (1, 2, 2)
        assert found.memory is not None
        assert found.memory > (kinds["tasks"].memory or 0) > 40 * 50
        assert (found.exact, found.note) == (True, "")
        assert "redis_version" in found.info


@pytest.mark.leaves_keys("its tasks are not run")
async def test_of_many_keys_a_part_is_looked_at(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers are estimated from it, to within a good deal."""
    monkeypatch.setattr(module, "STEP", 50)
    monkeypatch.setattr(module, "MOST_STEPS", 6)
    with Server() as own:
        async with TaskProcessor(settings().model_copy(update={"redis": own.url})) as tasks:
            await fill(tasks, 2_000)
            found = await tasks.get_keyspace()
    (kind,) = [kind for kind in found.kinds if kind.name == "tasks"]
    assert not found.exact
    assert 1_500 < kind.keys < 2_500


async def test_a_user_who_may_not_look(settings: MakeSettings) -> None:
    """One note says so, nothing is raised; the page shows what is left."""
    with Server() as own, own.client() as client:
        url = acl.as_user(own.url, acl.create_user(client, "worker", "{*}"))
        async with TaskProcessor(settings().model_copy(update={"redis": url})) as tasks:
            found = await tasks.get_keyspace()
    assert found.kinds == []
    assert "may not" in found.note
    assert found.memory is None
