"""Tasks that this worker does not know, and those that nobody may ever run."""

import sys
from datetime import timedelta
from typing import Annotated

import pytest
import redis
from pydantic import AfterValidator

from taskproc import TaskProcessor, ref
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import MS, Jobs, died, gone, processor_of, running, working

SECRET = {"touched": False}


class Unknown:
    """A service that only some workers have."""

    async def work(self, word: str) -> None: ...


class Private:
    """What must not be called."""

    def _hidden(self) -> None:
        SECRET["touched"] = True


async def test_an_unknown_task_waits_for_a_worker_that_knows_it(settings: MakeSettings) -> None:
    """It is put back, uncounted, with a delay that grows; once such a worker is there it runs at its first attempt."""
    jobs = Jobs()
    made = settings(retries=1)
    async with processor_of(made, jobs) as knowing, working(made, Unknown()) as other:
        task_id = await knowing.enqueue(jobs.note, "at last")
        [task] = await wait_until(lambda: other.get_delayed_tasks("default"))
        assert (task.task_id, task.attempt, task.error_type) == (task_id, 1, None)
        await other.stop()
        async with running(knowing):
            await gone(knowing, task_id)
    assert jobs.notes == ["at last"]


async def test_an_unknown_task_is_dead_after_its_grace(settings: MakeSettings) -> None:
    """Nobody knew it for `unknown_task_grace`: it is a dead letter that says why, also where failures are discarded."""
    jobs = Jobs()
    made = settings(unknown_task_grace=500 * MS, deadletter=False)
    async with processor_of(made, jobs) as producer, working(made, Unknown()) as tasks:
        task_id = await producer.enqueue(jobs.note, "never")
        task = await died(tasks, task_id)
    assert task.error_type == "taskproc.errors.UnknownTask"
    assert f"does not know {Jobs.__module__}:Jobs.note" in (task.error_message or "")
    assert jobs.notes == []


async def test_an_unknown_task_that_is_retried_has_its_grace_again(settings: MakeSettings) -> None:
    """Once deployed, `retry_dead_tasks` is enough."""
    jobs = Jobs()
    made = settings(unknown_task_grace=timedelta(0))
    async with processor_of(made, jobs) as knowing, working(made, Unknown()) as other:
        task_id = await knowing.enqueue(jobs.note, "at last")
        await died(other, task_id)
        await other.stop()
        async with running(knowing):
            assert await knowing.retry_dead_tasks("default") == 1
            await gone(knowing, task_id)


async def test_arguments_that_do_not_fit_wait_likewise(
    settings: MakeSettings, client: redis.Redis, prefix: str
) -> None:
    """An older worker cannot read a newer signature: the task is put back for others, its attempt not counted."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.note, "word")
        client.hset(f"{prefix}:task:{task_id}", "d", b'[["a","b","c"],{}]')
        async with running(tasks):
            [task] = await wait_until(lambda: tasks.get_delayed_tasks("default"))
            assert (task.task_id, task.attempt, task.error_type) == (task_id, 1, None)
        await tasks.cancel_task(task_id)
    assert jobs.notes == []


def _known(account: str) -> str:
    if account != "old":
        raise ValueError(f"{account} is no account")
    return account


class Payments:
    async def pay(self, account: Annotated[str, AfterValidator(_known)]) -> None: ...


async def test_no_argument_gets_into_the_log(
    settings: MakeSettings, client: redis.Redis, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own type says what is wrong with it, and quotes it: that is for the dead letter."""
    async with processor_of(settings(unknown_task_grace=300 * MS), Payments()) as tasks:
        task_id = await tasks.enqueue(ref(Payments).pay, "old")
        client.hset(f"{prefix}:task:{task_id}", "d", b'[["secret-7"],{}]')
        async with running(tasks):
            dead = await died(tasks, task_id)
        await tasks.discard_dead_tasks("default")
    assert "secret-7 is no account" in (dead.error_message or "")
    assert f"task {task_id} goes back for other workers: taskproc.errors.ArgumentsMismatch" in caplog.text
    assert f"task {task_id} is dead: taskproc.errors.ArgumentsMismatch" in caplog.text
    assert "secret-7" not in caplog.text


@pytest.mark.parametrize(
    "call",
    [
        "",
        "note",
        "tests.worker.kit",
        "tests.worker.kit:",
        "tests.worker.kit:Jobs.__init__",
        "tests.worker.kit:Jobs._note",
        "tests.worker.kit:Jobs..note",
        "tests.worker.kit:Jobs.note.__func__",
        "tests.worker.test_unknown:Private._hidden",
        "../etc:passwd",
        "os:system\n",
        "a:b c",
        "x" * 100_000,
    ],
)
async def test_a_malformed_or_private_name_is_dead_at_once(
    settings: MakeSettings, client: redis.Redis, prefix: str, call: str
) -> None:
    """No worker may ever run it, so none is waited for; nothing is imported or called."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.note, "never")
        client.hset(f"{prefix}:task:{task_id}", "c", call)
        async with running(tasks):
            task = await died(tasks, task_id)
    assert task.error_type == "taskproc.errors.MalformedTask"
    assert (jobs.notes, SECRET["touched"]) == ([], False)


@pytest.mark.parametrize("call", ["os:system", "builtins:eval", "subprocess:run", "tests.worker.kit:Jobs", "this:s"])
async def test_what_is_not_meant_to_be_run_is_not_known(
    settings: MakeSettings, client: redis.Redis, prefix: str, call: str
) -> None:
    """The name of any other function is that of an unknown task; no module is imported for it."""
    jobs = Jobs()
    async with processor_of(settings(unknown_task_grace=timedelta(0)), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.note, "never")
        client.hset(f"{prefix}:task:{task_id}", mapping={"c": call, "d": b'[["true"],{}]'})
        async with running(tasks):
            task = await died(tasks, task_id)
    assert task.error_type == "taskproc.errors.UnknownTask"
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x04", b"[", b"null", b"\xff" * 100, b"[[1],{}]", b'{"v": 99}', b"[" * 10_000]
)
async def test_a_payload_that_cannot_be_read_does_no_harm(
    settings: MakeSettings, client: redis.Redis, prefix: str, data: bytes
) -> None:
    """It ends in the dead letters, now or after its grace, and the worker goes on."""
    jobs = Jobs()
    async with processor_of(settings(unknown_task_grace=timedelta(0)), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.note, "never")
        client.hset(f"{prefix}:task:{task_id}", "d", data)
        async with running(tasks):
            await died(tasks, task_id)
            await gone(tasks, await tasks.enqueue(jobs.note, "after"))
    assert jobs.notes == ["after"]


async def test_a_missing_record_does_not_block_its_queue(
    settings: MakeSettings, client: redis.Redis, prefix: str
) -> None:
    """Tasks whose records were deleted by hand are skipped, those behind them run."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        ids = [await tasks.enqueue(jobs.note, str(number)) for number in range(20)]
        for task_id in ids[:10]:
            client.delete(f"{prefix}:task:{task_id}")
        async with running(tasks):
            await jobs.noted(*map(str, range(10, 20)))
    assert len(jobs.notes) == 10


async def test_a_worker_without_services_says_so(settings: MakeSettings) -> None:
    """The dead letter of a service's method names the missing `scopes=`."""
    jobs = Jobs()
    made = settings(unknown_task_grace=timedelta(0))
    async with processor_of(made, jobs) as producer, TaskProcessor(made) as bare, running(bare):
        task = await died(bare, await producer.enqueue(jobs.note, "never"))
    assert "no service of that type is provided" in (task.error_message or "")
