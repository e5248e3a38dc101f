"""A dead task that is run again with other arguments."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskproc import (
    CURRENT,
    EnqueueError,
    InvalidArguments,
    PayloadTooLarge,
    TaskContext,
    TaskData,
    TaskProcessor,
    UnknownTask,
)
from tests.conftest import MakeSettings
from tests.worker.kit import Jobs, died, ended, gone, processor_of, working

KEY = "k" * 32
AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Importer:
    """Refuses what is no row, and keeps what it is given."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    async def load(
        self, row: int, /, at: datetime, *more: timedelta, ctx: TaskContext, table: str = "books", **rest: int
    ) -> None:
        self.given.append((row, at, more, ctx.task_id, table, rest))
        if row < 0:
            raise ValueError("not a row")

    async def copy(self, row: int, ctx: TaskContext, table: str = "books") -> None:
        self.given.append((row, ctx.task_id, table))
        if row < 0:
            raise ValueError("not a row")


@pytest.mark.parametrize("keys", [{}, {"signing_keys": [KEY], "encryption_keys": [KEY]}], ids=["plain", "sealed"])
async def test_it_runs_with_them(settings: MakeSettings, keys: dict[str, Any]) -> None:
    """As the method's annotations have them, once, and sealed as before; its batch is done after all."""
    importer = Importer()
    async with working(settings(**keys), importer) as tasks:
        async with tasks.batch(tenant="acme") as batch:
            batch.on(retries=1).enqueue(importer.load, -1, AT, timedelta(1), ctx=CURRENT, table="rows", extra=1)
        assert (await ended(tasks, batch.id)).failed == 1
        id_ = f"{batch.id}.0.0"
        told = await tasks.get_arguments(id_)
        assert told == {"row": -1, "at": "2026-01-31T12:00:00Z", "3": "P1D", "ctx": None, "table": "rows", "extra": 1}
        others = {"row": 7, "at": "2026-02-01T00:00:00Z", "3": "PT1H", "4": "PT2H", "ctx": None, "extra": 2, "n": 3}
        assert await tasks.retry_dead_task(id_, others, tenant="acme", retries=2)
        await gone(tasks, id_)
        batch_info = await ended(tasks, batch.id)
        assert (batch_info.state, batch_info.done) == ("done", 1)
    hours = timedelta(hours=1), timedelta(hours=2)
    expected = (7, datetime(2026, 2, 1, tzinfo=UTC), hours, id_, "books", {"extra": 2, "n": 3})
    assert importer.given[1:] == [expected]


async def test_it_keeps_them(settings: MakeSettings) -> None:
    """When it dies again, and is retried as it is."""
    importer = Importer()
    async with working(settings(), importer) as tasks:
        id_ = await tasks.on(retries=1).enqueue(importer.copy, -1, CURRENT)
        await died(tasks, id_)
        assert await tasks.retry_dead_task(id_, {"table": "rows", "row": -2})
        await died(tasks, id_)
        assert await tasks.get_arguments(id_) == {"row": -2, "table": "rows", "ctx": None}
        assert await tasks.retry_dead_tasks("default") == 1
        await died(tasks, id_)
        assert [each[0] for each in importer.given] == [-1, -2, -2]
        assert importer.given[-1] == (-2, id_, "rows")
        await tasks.discard_dead_tasks("default")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "too few": ({"table": "rows"}, "missing a required argument: 'row'"),
    "too many": ({"row": 1, "colour": "red"}, "the method has no parameter 'colour': it takes (row: int"),
    "of another type": ({"row": "seven"}, "argument row does not fit int"),
    "a fraction": ({"row": 1.5}, "argument row does not fit int"),
    "no JSON": ({"row": {1, 2}}, "argument row does not fit int"),
    "cannot be written": ({"row": object()}, "object"),
    "by place": ({"1": 1}, "the method has no parameter '1'"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_does_not_fit(settings: MakeSettings, case: str) -> None:
    """Is refused by a message that names it, and the task is dead as before."""
    arguments, message = WRONG[case]
    importer = Importer()
    async with working(settings(), importer) as tasks:
        id_ = await tasks.on(retries=1).enqueue(importer.copy, -1, CURRENT)
        before = await died(tasks, id_)
        with pytest.raises(InvalidArguments) as refused:
            await tasks.retry_dead_task(id_, arguments)
        assert message in str(refused.value)
        assert await tasks.get_task(id_) == before
        assert await tasks.get_arguments(id_) == {"row": -1, "ctx": None}
        await tasks.discard_dead_tasks("default")


async def test_what_cannot_be_retried_so(settings: MakeSettings) -> None:
    """What is not dead, or another tenant's, is not there; a method that is not known here, what is no call, and what
    is too large, are refused.
    """
    jobs, fails = Jobs(), {"message": "again"}
    made = settings(max_payload=1000, unknown_task_grace=timedelta(0))
    async with working(made, jobs) as tasks, TaskProcessor(made) as elsewhere:
        id_ = await tasks.on(retries=1, tenant="acme").enqueue(jobs.fail, "first")
        await died(tasks, id_)
        assert not await tasks.retry_dead_task(id_, fails, tenant="other")
        assert not await tasks.retry_dead_task("nothing", fails)
        waiting = await tasks.on("unserved").enqueue(jobs.fail, "waits")
        assert not await tasks.retry_dead_task(waiting, fails)
        with pytest.raises(PayloadTooLarge, match="1,000"):
            await tasks.retry_dead_task(id_, {"message": "x" * 1000})
        with pytest.raises(UnknownTask, match="fail"):
            await elsewhere.retry_dead_task(id_, fails)
        topic = await tasks.enqueue_task(None, None, TaskData("topic", b"{}"))
        await died(tasks, topic)
        with pytest.raises(EnqueueError, match="is no method call"):
            await tasks.retry_dead_task(topic, fails)
        assert await tasks.discard_dead_tasks("default") == 2
        await tasks.cancel_task(waiting)
        assert jobs.notes == ["fails first"]


async def test_without_the_keys(settings: MakeSettings) -> None:
    """A task that was sealed is not given arguments that no worker would take."""
    jobs = Jobs()
    async with working(settings(signing_keys=[KEY]), jobs) as tasks, processor_of(settings(), jobs) as keyless:
        id_ = await tasks.on(retries=1).enqueue(jobs.fail, "first")
        before = await died(tasks, id_)
        with pytest.raises(EnqueueError, match="is sealed, and workers would refuse one that is not: set signing_keys"):
            await keyless.retry_dead_task(id_, {"message": "again"})
        assert await tasks.get_task(id_) == before
        await tasks.discard_dead_tasks("default")


async def test_of_a_canceled_batch(settings: MakeSettings) -> None:
    """It stays dead, with the arguments that it had."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.on(retries=1).enqueue(jobs.fail, "first")
            batch.enqueue(jobs.wait, "second")
        await died(tasks, f"{batch.id}.0.0")
        await jobs.noted("second begins")
        assert await tasks.cancel_batch(batch.id)
        assert not await tasks.retry_dead_task(f"{batch.id}.0.0", {"message": "again"})
        assert await tasks.get_arguments(f"{batch.id}.0.0") == {"message": "first"}
        await ended(tasks, batch.id)
        await tasks.discard_dead_tasks("default")
