"""The scope of a task: opened before its call, closed before it is settled, with services made once."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from taskproc import TaskProcessor, current_task, factories, ref
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import MS, Jobs, died, gone, running, working


class Session:
    """One for each task."""

    def __init__(self, number: int) -> None:
        self.number = number


class Mailer:
    """Needs a session."""

    def __init__(self, session: Session) -> None:
        self.session = session


class Store:
    """Needs the same session, and a mailer."""

    def __init__(self, session: Session, mailer: Mailer, notes: list[str]) -> None:
        assert mailer.session is session
        self.session = session
        self.notes = notes

    async def save(self) -> None:
        self.notes.append(f"saves in session {self.session.number}")

    def save_in_thread(self) -> None:
        self.notes.append(f"saves in session {self.session.number}")

    def save_later(self) -> object:
        return self.save()

    async def fail(self) -> None:
        raise ValueError

    async def hang(self) -> None:
        self.notes.append("hangs")
        await asyncio.Event().wait()


class Shop:
    """Scopes that give a store, and what became of their sessions."""

    def __init__(self, *, failing_closes: int = 0) -> None:
        self.notes: list[str] = []
        self.sessions = 0
        self.failing_closes = failing_closes
        self.scopes = factories({Session: self.session, Store: self.store, Mailer: self.mailer})

    async def session(self) -> AsyncGenerator[Session]:
        self.sessions += 1
        session = Session(self.sessions)
        self.notes.append(f"opens {session.number}")
        try:
            yield session
        finally:
            await asyncio.sleep(0.001)
            task = await current_task().processor.get_task(current_task().task_id)
            self.notes.append(f"closes {session.number}, {task and task.state}")
            if session.number <= self.failing_closes:
                raise OSError("the commit failed")

    async def mailer(self, scope: Any) -> Mailer:
        return Mailer(await scope.get(Session))

    async def store(self, scope: Any) -> Store:
        return Store(await scope.get(Session), await scope.get(Mailer), self.notes)


@pytest.mark.parametrize("method", ["save", "save_in_thread", "save_later"])
async def test_each_task_has_services_of_its_own_made_once(settings: MakeSettings, method: str) -> None:
    """Store and mailer share the session of their task; it is closed while the task is still leased."""
    shop = Shop()
    async with working(settings(max_workers=1), shop.scopes) as tasks:
        for _ in range(2):
            await gone(tasks, await tasks.enqueue(getattr(ref(Store), method)))
    assert shop.notes == [
        "opens 1", "saves in session 1", "closes 1, leased",
        "opens 2", "saves in session 2", "closes 2, leased",
    ]  # fmt: skip


async def test_a_failed_tasks_scope_is_closed_before_it_is_settled(settings: MakeSettings) -> None:
    """Each attempt has a scope, closed while the task is still leased."""
    shop = Shop()
    async with working(settings(retries=2, on_task_failed_delay=None), shop.scopes) as tasks:
        await died(tasks, await tasks.enqueue(ref(Store).fail))
    assert shop.notes == ["opens 1", "closes 1, leased", "opens 2", "closes 2, leased"]


async def test_a_scope_that_does_not_close_fails_the_attempt(settings: MakeSettings) -> None:
    """The call succeeded, its commit did not: the task runs again, or is dead with the error of the close."""
    shop = Shop(failing_closes=1)
    async with working(settings(on_task_failed_delay=None), shop.scopes) as tasks:
        await gone(tasks, await tasks.enqueue(ref(Store).save))
        assert shop.sessions == 2
        shop.failing_closes = 3
        task = await died(tasks, await tasks.on(retries=1).enqueue(ref(Store).save))
    assert (task.error_type, task.error_message) == ("OSError", "the commit failed")


async def test_a_canceled_tasks_scope_is_closed(settings: MakeSettings) -> None:
    """The close may await, and comes before the settle."""
    shop = Shop()
    async with working(settings(), shop.scopes) as tasks:
        task_id = await tasks.enqueue(ref(Store).hang)
        await wait_until(lambda: "hangs" in shop.notes)
        await tasks.cancel_task(task_id)
        await gone(tasks, task_id)
    assert shop.notes == ["opens 1", "hangs", "closes 1, leased"]


async def test_a_task_that_must_end_with_its_worker_closes_its_scope(settings: MakeSettings) -> None:
    """A shutdown, too, lets the scope close before the task is handed back."""
    shop = Shop()
    async with working(settings(shutdown_grace=1 * MS), shop.scopes) as tasks:
        task_id = await tasks.enqueue(ref(Store).hang)
        await wait_until(lambda: "hangs" in shop.notes)
        await tasks.stop()
        assert shop.notes == ["opens 1", "hangs", "closes 1, leased"]
        await tasks.cancel_task(task_id)


async def test_a_service_that_cannot_be_made_fails_the_attempt(settings: MakeSettings) -> None:
    """What a factory raises is the task's error; the next attempt asks for the service again."""
    asked: list[int] = []
    jobs = Jobs()

    def make() -> Jobs:
        asked.append(len(asked))
        if len(asked) == 1:
            raise OSError("no database")
        return jobs

    processor = TaskProcessor(settings(on_task_failed_delay=None), scopes=factories({Jobs: make}))
    async with processor, running(processor):
        await gone(processor, await processor.enqueue(ref(Jobs).note, "made"))
    assert (asked, jobs.notes) == ([0, 1], ["made"])
