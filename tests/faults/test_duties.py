"""The duties of a worker go on, whatever user code or hostile messages do to them."""

import asyncio
import logging
from datetime import timedelta

import pytest
import redis

from taskproc import TaskContext, TaskProcessor, current_task
from tests.conftest import MakeSettings
from tests.faults.kit import lose
from tests.kit import wait_until
from tests.worker.kit import MS, Jobs, died, gone, processor_of, running, working

SECOND = timedelta(seconds=1)


def duties() -> dict[str, asyncio.Task[object]]:
    """The running ones by name."""
    return {task.get_name(): task for task in asyncio.all_tasks() if task.get_name().startswith("taskproc ")}


async def test_duties_that_user_code_cancels_begin_anew(
    settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """All of them, twice: tasks are still woken for, cancelled and timed out; none is left when the worker ends."""
    jobs = Jobs()
    async with working(settings(base_frequency=timedelta(minutes=1), retries=1), jobs) as tasks:
        before = duties()
        assert len(before) >= 8
        for _ in range(2):
            for duty in duties().values():
                duty.cancel()
            await asyncio.sleep(0)
            await wait_until(lambda: duties().keys() == before.keys())
        assert not set(duties().values()) & set(before.values())
        await wait_until(lambda: _subscribed(tasks), what="the event channel")
        await gone(tasks, await tasks.enqueue(jobs.note, "woken"))
        late = await tasks.on(invisibility=200 * MS).enqueue(jobs.wait, "late")
        assert (await died(tasks, late)).error_type == "taskproc.errors.TaskTimeoutError"
        canceled = await tasks.enqueue(jobs.wait, "canceled")
        await jobs.noted("canceled begins")
        await tasks.cancel_task(canceled)
        await jobs.noted("canceled cancelled", seconds=1)
    assert duties() == {}
    assert caplog.text.count("was cancelled by code that does not own it") == 2 * len(before)


async def _subscribed(tasks: TaskProcessor) -> bool:
    with redis.Redis.from_url(tasks.settings.redis) as client:
        return dict(client.pubsub_numsub(f"{tasks.settings.prefix}:events")) == {
            f"{tasks.settings.prefix}:events".encode(): 1
        }


async def test_what_cancels_a_duty_while_the_worker_ends_begins_nothing(settings: MakeSettings) -> None:
    """Duties that end because the worker does are not begun anew."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        async with running(tasks):
            await gone(tasks, await tasks.enqueue(jobs.note, "task"))
            stopping = asyncio.create_task(tasks.stop())
            for duty in duties().values():
                duty.cancel()
            await stopping
        await asyncio.sleep(0.1)
        assert duties() == {}


# Hooks that are told of lost tasks


class Swallowing:
    """A hook that does what hooks should not do."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.told: list[str] = []
        self.go_on = asyncio.Event()

    async def error(self, ctx: TaskContext, error: BaseException) -> None:
        assert current_task() is ctx
        self.told.append(f"{type(error).__name__} {ctx.task_id}")
        task = asyncio.current_task()
        assert task is not None
        match self.how:
            case "cancels itself":
                task.cancel()
                await asyncio.sleep(1)
            case "exits":
                raise SystemExit
            case _:
                while not self.go_on.is_set():
                    try:
                        await self.go_on.wait()
                    except asyncio.CancelledError:
                        continue


@pytest.mark.parametrize("how", ["swallows its cancel", "cancels itself", "exits"])
async def test_a_hook_does_not_end_the_take_back(settings: MakeSettings, how: str) -> None:
    """The hook is told of each lost task, in the context of that task, whatever it did when it was told of another."""
    jobs, hook = Jobs(), Swallowing(how)
    made = settings(worker_timeout=SECOND, max_recoveries=1, hook_timeout=50 * MS, on_task_error=hook.error)
    async with processor_of(made, jobs) as tasks:
        ids: list[str] = []
        async with running(tasks):
            for number in range(3):
                ids.append(await tasks.on("elsewhere").enqueue(jobs.note, "never"))
                await lose(made, f"dead{number}", "elsewhere")
                assert (await died(tasks, ids[-1])).error_type == "WorkerLost"
                await wait_until(lambda: len(hook.told) == len(ids), what="a told hook")
            await gone(tasks, await tasks.enqueue(jobs.note, "after"))
        hook.go_on.set()
    assert hook.told == [f"WorkerLost {id_}" for id_ in ids]
    assert jobs.notes == ["after"]


async def test_the_call_of_a_lost_task_forges_no_line(
    settings: MakeSettings, client: redis.Redis, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log shows one line, whatever stands for the call in Redis."""
    jobs = Jobs()
    made = settings(worker_timeout=SECOND, max_recoveries=1)
    async with processor_of(made, jobs) as tasks:
        task_id = await tasks.on("elsewhere").enqueue(jobs.note, "never")
        client.hset(f"{prefix}:task:{task_id}", "c", "m:f\n2030-01-01 CRITICAL forged\x1b[2J")
        async with running(tasks):
            await lose(made, "dead", "elsewhere")
            await died(tasks, task_id)
            await wait_until(lambda: "its workers died" in caplog.text)
    [said] = [record.message for record in caplog.records if "its workers died" in record.message]
    assert "CRITICAL" in said
    assert said.isprintable()


# Messages


async def test_messages_of_nobody_are_ignored(
    settings: MakeSettings, client: redis.Redis, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes that are no text, instants that no clock will show, words of others: the channel stays, nobody pauses."""
    jobs = Jobs()
    caplog.set_level(logging.DEBUG, "taskproc")
    async with working(settings(), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.wait, "task")
        await jobs.noted("task begins")
        before = len(caplog.records)
        for message in (
            b"\xff\xfe", b"", b" ", b"due", b"due  default", b"due -1 default", b"due 1e9 default", b"cancel now",
            "due ٣ default".encode(), b"due " + b"9" * 400 + b" default", b"due " + b"9" * 5000 + b" default",
            b"x\n2030-01-01 CRITICAL forged", b"\x00" * 100_000,
        ):  # fmt: skip
            client.publish(f"{prefix}:events", message)
        await tasks.cancel_task(task_id)
        await jobs.noted("task cancelled", seconds=1)
        said = caplog.records[before:]
    assert {record.levelno for record in said if "event of another" in record.message} == {logging.DEBUG}
    assert [record.message for record in said if record.levelno > logging.INFO] == []
    assert all("\n" not in record.message and len(record.message) < 5_000 for record in said)
