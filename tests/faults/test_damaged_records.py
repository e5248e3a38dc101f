"""Records that somebody has damaged in Redis, seen from outside: the tasks beside them run, they are dead letters."""

from collections.abc import Awaitable, Callable

import pytest
import redis

from taskproc import InvalidName, TaskContext, TaskData, TaskProcessor
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import Jobs, died, processor_of, running

NOT_UTF8 = b"\xff\xfe"
DAMAGES: dict[str, tuple[str, str | bytes | None]] = {
    **{f"{name} of 5,000 digits": (name, "9" * 5_000) for name in "enf"},
    "i of 400 digits": ("i", "9" * 400),
    "i of 15 digits": ("i", "9" * 15),
    "e of 15 digits": ("e", "9" * 15),
    **{f"{name} is no text": (name, NOT_UTF8) for name in "tcbp"},
    **{f"odd {name}": (name, "perhaps") for name in "xg"},
    **{f"no {name}": (name, None) for name in "tcdeni"},
}


@pytest.mark.parametrize("name", DAMAGES)
async def test_a_damaged_task_is_a_dead_letter(
    settings: MakeSettings, client: redis.Redis, prefix: str, name: str
) -> None:
    """All others of its fetch run; it can be looked at, and discarded."""
    jobs = Jobs()
    async with processor_of(settings(max_workers=20), jobs) as tasks:
        ids = [await tasks.enqueue(jobs.note, str(number)) for number in range(8)]
        field, value = DAMAGES[name]
        if value is None:
            client.hdel(f"{prefix}:task:{ids[3]}", field)
        else:
            client.hset(f"{prefix}:task:{ids[3]}", field, value)
        async with running(tasks):
            await jobs.noted(*(str(number) for number in range(8) if number != 3))
            letter = await died(tasks, ids[3])
            assert letter.error_type
            assert await tasks.get_dead_tasks("default") == [letter]
            assert await tasks.get_task(ids[3]) == letter
            assert await tasks.explain(ids[3])
            assert await tasks.discard_dead_tasks("default") == 1
    assert sorted(jobs.notes) == sorted(str(number) for number in range(8) if number != 3)


@pytest.mark.parametrize("field", ["t", "c", "p"])
async def test_ones_own_execute_is_not_called_for_what_cannot_be_read(
    settings: MakeSettings, client: redis.Redis, prefix: str, field: str
) -> None:
    """Nobody knows what it says to do: it is a dead letter, and the hooks are told why."""
    seen: list[bytes] = []
    told: list[str] = []

    async def execute(ctx: TaskContext) -> None:
        seen.append(ctx.data)

    def error(_ctx: TaskContext, error: BaseException) -> None:
        told.append(type(error).__name__)

    async with processor_of(settings(on_task_error=error)) as tasks:
        tasks.execute = execute
        ids = [await tasks.enqueue_task(None, None, TaskData("resize", b"%d" % number)) for number in range(3)]
        client.hset(f"{prefix}:task:{ids[1]}", field, NOT_UTF8)
        async with running(tasks):
            letter = await died(tasks, ids[1])
            await wait_until(lambda: len(seen) == 2)
        assert await tasks.discard_dead_tasks("default") == 1
    assert (letter.error_type, letter.error_message) == (
        "taskproc.errors.MalformedTask",
        "its record in Redis is damaged",
    )
    assert sorted(seen) == [b"0", b"2"]
    assert told == ["MalformedTask"]


@pytest.mark.parametrize("kind", ["a string", "a list"])
async def test_a_record_that_is_none(settings: MakeSettings, client: redis.Redis, prefix: str, kind: str) -> None:
    """There is nothing left of its task; the others run, and looks pass over it."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        ids = [await tasks.enqueue(jobs.note, str(number)) for number in range(3)]
        key = f"{prefix}:task:{ids[1]}"
        client.delete(key)
        if kind == "a string":
            client.set(key, "?")
        else:
            client.rpush(key, "?")
        async with running(tasks):
            await jobs.noted("0", "2")
            assert await tasks.get_task(ids[1]) is None
        client.delete(key)
        client.delete(f"{prefix}:queue:default", f"{prefix}:queue:default:wake")
    assert jobs.notes == ["0", "2"]


async def test_a_damaged_continuation_holds_nothing_up(
    settings: MakeSettings, client: redis.Redis, prefix: str
) -> None:
    """It is a dead letter when its batch ends; the other one runs, as does what is settled together with the batch."""
    jobs = Jobs()
    async with processor_of(settings(on_task_failed_delay=None), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.note, "task")
            batch.continue_with(jobs.note, "bad")
            batch.continue_with(jobs.note, "good")
        client.hdel(f"{prefix}:task:{batch.id}.0.c0", "q")
        failing = await tasks.on(retries=2).enqueue(jobs.fail, "again")
        async with running(tasks):
            await jobs.noted("task", "good", "fails again")
            letter = await died(tasks, f"{batch.id}.0.c0")
            await died(tasks, failing)
            assert await tasks.discard_dead_tasks("default") == 2
    assert letter.error_type == "MalformedTask"
    assert jobs.notes.count("fails again") == 2
    assert "bad" not in jobs.notes


CALLS: dict[str, Callable[[TaskProcessor, str], Awaitable[object]]] = {
    "get_task": lambda tasks, id_: tasks.get_task(id_),
    "explain": lambda tasks, id_: tasks.explain(id_),
    "get_batch": lambda tasks, id_: tasks.get_batch(id_),
    "cancel_task": lambda tasks, id_: tasks.cancel_task(id_),
    "cancel_batch": lambda tasks, id_: tasks.cancel_batch(id_),
    "append_batch": lambda tasks, id_: tasks.append_batch(None, None, id_, lambda _batch: None),
    "retry_dead_tasks": lambda tasks, id_: tasks.retry_dead_tasks("default", task_ids=[id_]),
    "discard_dead_tasks": lambda tasks, id_: tasks.discard_dead_tasks("default", task_ids=[id_]),
    "get_dead_tasks": lambda tasks, id_: tasks.get_dead_tasks("default", batch_id=id_),
    "queue of retry_dead_tasks": lambda tasks, id_: tasks.retry_dead_tasks(id_),
    "queue of discard_dead_tasks": lambda tasks, id_: tasks.discard_dead_tasks(id_),
    "tenant of retry_dead_tasks": lambda tasks, id_: tasks.retry_dead_tasks("default", tenant=id_),
    "tenant of cancel_task": lambda tasks, id_: tasks.cancel_task("t1", tenant=id_),
    "tenant of get_tasks_in_queue": lambda tasks, id_: tasks.get_tasks_in_queue("jobs[fair]", tenant=id_),
    "tenant of get_queue": lambda tasks, id_: tasks.get_queue("jobs[fair]", tenant=id_),
    "trigger_schedule": lambda tasks, id_: tasks.trigger_schedule(id_),
    "cancel_schedule": lambda tasks, id_: tasks.cancel_schedule(id_),
}


@pytest.mark.parametrize("name", CALLS)
async def test_ids_that_can_be_none_are_refused(settings: MakeSettings, name: str) -> None:
    """Half a character, a megabyte, what is not printable: nothing is sent, the message shows it shortened."""
    async with processor_of(settings()) as tasks:
        for id_ in ("\ud800", "x" * 1_000_000, "a\x00b", "a\nb", "ä"):
            with pytest.raises(InvalidName) as caught:
                await CALLS[name](tasks, id_)
            assert repr(id_)[:100] in str(caught.value)
            assert len(str(caught.value)) < 500
