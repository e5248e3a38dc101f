"""A close look: attempts, arguments, dead tasks that failed alike, what a worker runs."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from taskproc import TaskData, TaskProcessor, current_task
from taskproc.details import pattern_of
from tests.conftest import MakeSettings
from tests.worker.kit import Jobs, died, processor_of, working

KEY = "k" * 32


class Mail:
    async def send(self, to: str, /, body: str = "", *, password: str = "") -> None: ...

    async def lose(self, number: int, table: str) -> None:
        raise LookupError(f"no row {number} in table '{table}'")

    async def refuse(self) -> None:
        raise PermissionError("not yours")


async def test_attempts_of_a_task(settings: MakeSettings) -> None:
    """Those that failed, and the one that runs; none for another tenant, or of a task that has ended."""

    class Later(Jobs):
        async def fail_first(self) -> None:
            if current_task().attempt == 1:
                raise ValueError("first")
            await self.wait("second")

    later = Later()
    async with working(settings(), later) as tasks:
        task_id = await tasks.on(tenant="acme", retries=3).enqueue(later.fail_first)
        await later.noted("second begins")
        first, second = await tasks.get_attempts(task_id)
        (worker,) = await tasks.get_workers()
        assert (first.number, first.outcome, first.worker) == (1, "failed", worker.id)
        assert (first.error_type, first.error_message) == ("ValueError", "first")
        assert (second.number, second.outcome, second.worker, second.ended) == (2, "running", worker.id, None)
        assert first.ended is not None
        assert first.started <= first.ended <= second.started
        assert [task.task_id for task in await tasks.get_tasks_of_worker(worker.id)] == [task_id]
        task = await tasks.get_task(task_id)
        assert task is not None
        assert (task.worker, task.started_at) == (worker.id, second.started)
        assert task.lease_ends is not None
        assert task.lease_ends > datetime.now(UTC)
        assert await tasks.get_attempts(task_id, tenant="other") == []
        later.go_on.set()


@pytest.mark.leaves_keys("what was looked at is not run")
async def test_arguments_of_a_task(settings: MakeSettings) -> None:
    """By name, also where they are sealed; by place where the method is not known; none of what is no call."""
    mail = Mail()
    async with processor_of(settings(signing_keys=[KEY], encryption_keys=[KEY]), mail) as tasks:
        task_id = await tasks.on(tenant="acme").enqueue(mail.send, "bob", "hi", password="p")
        assert await tasks.get_arguments(task_id) == {"to": "bob", "body": "hi", "password": "p"}
        assert await tasks.get_arguments(task_id, tenant="other") is None
        assert await tasks.get_arguments(await tasks.enqueue_task(None, None, TaskData("topic", b"{}"))) is None
        async with TaskProcessor(tasks.settings) as elsewhere:
            assert await elsewhere.get_arguments(task_id) == {"1": "bob", "2": "hi", "password": "p"}
        async with TaskProcessor(tasks.settings.model_copy(update={"encryption_keys": []})) as keyless:
            assert await keyless.get_arguments(task_id) is None
        assert await tasks.get_arguments("nothing") is None


async def test_dead_tasks_that_failed_alike(settings: MakeSettings) -> None:
    """Numbers and quoted names in the message do not matter; the call, and the error's type, do."""
    mail = Mail()
    async with working(settings(), mail) as tasks:
        one = tasks.on(retries=1, tenant="acme")
        ids = [await one.enqueue(mail.lose, number, table) for number, table in enumerate("abc")]
        other = await tasks.on(retries=1).enqueue(mail.refuse)
        for task_id in (*ids, other):
            await died(tasks, task_id)
        first, second = await tasks.get_dead_groups("default")
        assert (first.count, first.error_type, sorted(first.task_ids)) == (3, "LookupError", sorted(ids))
        assert first.first <= first.last
        assert (second.count, second.error_message, second.task_ids) == (1, "not yours", [other])
        assert [group.count for group in await tasks.get_dead_groups("default", tenant="acme")] == [3]
        assert [group.count for group in await tasks.get_dead_groups("default", most=2)] in ([2], [1, 1])


@pytest.mark.parametrize(
    "message, pattern",
    [
        ("row 7 of 'books' at 3.5", "row … of … at …"),
        ('no user "ann", deadbeef-12ab-4', "no user …, …"),
        ("a cafe, abc and 12z", "a cafe, abc and …"),
        ("it's row-7", "it's …"),
        ("customers.csv, line 328: no number.", "… line … no number."),
        ("orders-2026-11.csv, line 1: no number.", "… line … no number."),
        ("ada@example.com at db.example.com, see /tmp/log", "… at … see …"),
    ],
)
def test_pattern_of_a_message(message: str, pattern: str) -> None:
    """Quoted text, and words with numbers, of files, paths and hosts do not matter; other words do."""
    assert pattern_of(message) == pattern


def test_pattern_of_a_hostile_message() -> None:
    """Takes no time that grows faster than the message."""
    began = time.process_time()
    for hostile in ("a-" * 20_000, "a" * 40_000 + "g", "'\"" * 20_000, "-" * 40_000):
        pattern_of(hostile)
    assert time.process_time() - began < 1


async def test_retry_of_what_failed_in_a_batch(settings: MakeSettings) -> None:
    """In whatever queue it lies dead; the batch runs again. Nothing of another tenant's, or of an unknown batch."""
    jobs = Jobs()
    async with working(settings(queues=["default", "low"]), jobs) as tasks:
        async with tasks.batch("default", tenant="acme") as batch:
            batch.on(retries=1).enqueue(jobs.fail, "a")
            batch.on("low", retries=1).enqueue(jobs.fail, "b")
            batch.enqueue(jobs.note, "fine")
        for number in (0, 1):
            await died(tasks, f"{batch.id}.0.{number}")
        outside = await tasks.on(retries=1).enqueue(jobs.fail, "outside")
        await died(tasks, outside)
        assert await tasks.retry_batch(batch.id, tenant="other") == 0
        assert await tasks.retry_batch("unknown") == 0
        assert await tasks.retry_batch(batch.id, tenant="acme") == 2
        assert (await tasks.get_task(outside)) is not None


@pytest.mark.leaves_keys("what was looked at is not run")
async def test_since_when_a_queue_waits(settings: MakeSettings) -> None:
    """As long as its next task is ready: a delayed one does not count."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        await tasks.on(delay=timedelta(hours=1)).enqueue(jobs.note, "later")
        assert (await tasks.get_queue("default")).oldest is None
        before = datetime.now(UTC) - timedelta(seconds=1)
        await tasks.enqueue(jobs.note, "now")
        oldest = (await tasks.get_queue("default")).oldest
        assert oldest is not None
        assert oldest > before
