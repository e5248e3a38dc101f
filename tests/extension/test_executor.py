"""Calls written in another way: a MessagePack executor does everything that the built-in one does."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from taskproc import PayloadTooLarge, ScheduleData, TaskProcessor, current_task, factories
from tests.conftest import MakeSettings
from tests.extension.kit import PackedExecutor
from tests.kit import wait_until
from tests.worker.kit import died, ended, gone, running

NOTES: list[Any] = []


@dataclass
class Book:
    """A service."""

    notes: list[Any] = field(default_factory=list[Any])

    async def write(self, what: Any, *, times: int = 1) -> None:
        self.notes += [what] * times

    async def fail(self) -> None:
        raise ValueError("no")


def note(*words: str) -> None:
    """A function."""
    NOTES.extend(words)


def processor(settings: MakeSettings, book: Book, **overrides: Any) -> TaskProcessor:
    """With the executor, and the book as service."""
    made = settings(retries=1, **overrides)
    return TaskProcessor(made, executor=PackedExecutor(Book, note), scopes=factories({Book: lambda: book}))


async def test_calls_end_to_end(settings: MakeSettings) -> None:
    """A method of a service and a plain function; values that JSON lacks come through as the executor writes them."""
    book = Book()
    NOTES.clear()
    async with processor(settings, book) as tasks, running(tasks):
        await gone(tasks, await tasks.enqueue(book.write, {1: b"\x00", 2: [1.5, None]}, times=2))
        await gone(tasks, await tasks.on(delay=timedelta(milliseconds=20)).enqueue(note, "a", "b"))
    assert book.notes == [{1: b"\x00", 2: [1.5, None]}] * 2
    assert NOTES == ["a", "b"]


async def test_batches_and_continuations(settings: MakeSettings) -> None:
    """Both are written by the executor too."""
    book = Book()
    async with processor(settings, book) as tasks, running(tasks):
        async with tasks.batch(scope="packed") as batch:
            for number in range(20):
                batch.enqueue(book.write, number)
            batch.continue_with(book.write, "then")
        assert (await ended(tasks, batch.id)).done == 20
        await wait_until(lambda: "then" in book.notes)
    assert sorted(book.notes[:20]) == list(range(20))


async def test_schedules(settings: MakeSettings) -> None:
    """As are those of schedules."""
    book = Book()
    async with processor(settings, book) as tasks, running(tasks):
        await tasks.upsert_schedule(ScheduleData(id="a", cron="0 0 1 1 *"), book.write, "scheduled")
        assert await tasks.trigger_schedule("a")
        await wait_until(lambda: book.notes == ["scheduled"])
        await tasks.cancel_schedule("a")


async def test_failures_and_looks(settings: MakeSettings) -> None:
    """A dead task shows the method's name and the executor's topic; a retry runs what was written."""
    book = Book()
    async with processor(settings, book) as tasks, running(tasks):
        dead = await died(tasks, await tasks.enqueue(book.fail))
        assert (dead.topic, dead.error_type, dead.error_message) == ("packed.v1", "ValueError", "no")
        assert dead.call.endswith("Book.fail")
        assert await tasks.discard_dead_tasks("default") == 1


async def test_its_tasks_are_nothing_to_other_workers(settings: MakeSettings) -> None:
    """A worker with the built-in executor puts such a task back, whatever its bytes say."""
    book = Book()
    plain = TaskProcessor(settings(), scopes=factories({Book: lambda: book}))
    async with processor(settings, book) as tasks, plain:
        task_id = await tasks.enqueue(book.write, "late")
        async with running(plain):
            await wait_until(lambda: tasks.get_delayed_tasks("default"))
        async with running(tasks):
            await gone(tasks, task_id)
    assert book.notes == ["late"]


async def test_its_payloads_are_limited_too(settings: MakeSettings) -> None:
    """By `max_payload`, at enqueue."""
    book = Book()
    async with processor(settings, book, max_payload=1000) as tasks:
        with pytest.raises(PayloadTooLarge, match=r"Book\.write takes 1,0\d\d bytes"):
            await tasks.enqueue(book.write, "x" * 1000)


async def test_the_context_has_the_payload_as_written(settings: MakeSettings) -> None:
    """`ctx.data` and `ctx.topic` for whoever replaces `execute` as well."""
    book = Book()
    seen: list[tuple[str, Any]] = []
    tasks = processor(settings, book)

    async def execute(ctx: Any) -> None:
        assert ctx is current_task()
        seen.append((ctx.topic, msgspec.msgpack.decode(ctx.data)))

    tasks.execute = execute
    async with tasks, running(tasks):
        await gone(tasks, await tasks.enqueue(book.write, 1))
    assert seen == [("packed.v1", ["Book.write", [1], {}])]
    assert book.notes == []
