"""The scope of a task: opened before its call, closed before it is settled, with services made once."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

from taskproc import TaskProcessor, current_task, factories
from tests.conftest import MakeSettings
from tests.worker.kit import Jobs, died, gone, processor_of, running, working


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


@pytest.mark.parametrize("method", [Store.save, Store.save_in_thread])
async def test_each_task_has_services_of_its_own_made_once(settings: MakeSettings, method: Any) -> None:
    """Store and mailer share the session of their task; it is closed while the task is still leased."""
    shop = Shop()
    async with working(settings(max_workers=1), shop.scopes) as tasks:
        method = getattr(Store(Session(0), Mailer(Session(0)), []) if False else ref_store(), method.__name__)
        for _ in range(2):
            await gone(tasks, await tasks.enqueue(method))
    assert shop.notes == [
        "opens 1", "saves in session 1", "closes 1, leased", "opens 2", "saves in session 2", "closes 2, leased"
    ]  # fmt: skip
