"""Tasks that block the event loop are named in the log."""

import asyncio
import logging
import time
from typing import cast

import pytest

from taskproc import TaskProcessor, current_task, ref
from taskproc.attempts import Attempts
from taskproc.storage import Storage
from taskproc.watchdog import Watchdog
from tests.conftest import MakeSettings
from tests.worker.kit import Jobs, working

LOGGER = "taskproc.watchdog"


class Blocking(Jobs):
    """Holds up everything for a while."""

    async def block(self, seconds: float) -> None:
        await asyncio.sleep(0.1)
        self._sleep(seconds)
        await self.note(f"{current_task().task_id} blocked")

    def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the watchdog has logged."""
    return [record for record in caplog.records if record.name == LOGGER]


async def test_a_task_that_blocks_is_named_once(settings: MakeSettings, caplog: pytest.LogCaptureFixture) -> None:
    """While it does, with the line of user code, and when it is over, with how long it took; another time within a
    minute not again, and not at all if it is short.
    """
    jobs = Blocking()
    async with working(settings(), jobs) as tasks:
        await jobs.noted(f"{await tasks.enqueue(ref(Blocking).block, 0.5)} blocked")
        await asyncio.sleep(0.5)
        assert warnings(caplog) == []
        id_ = await tasks.on(tenant="acme").enqueue(ref(Blocking).block, 1.8)
        await jobs.noted(f"{id_} blocked", seconds=10)
        [begin] = warnings(caplog)
        await asyncio.sleep(0.5)
        [_, end] = warnings(caplog)
        await jobs.noted(f"{await tasks.enqueue(ref(Blocking).block, 1.6)} blocked", seconds=10)
        await asyncio.sleep(0.5)
        assert len(warnings(caplog)) == 2
    call = "tests.worker.test_watchdog:Blocking.block"
    line = Blocking._sleep.__code__.co_firstlineno + 1
    said = begin.getMessage()
    assert said.startswith(f"task {id_} ({call}) has blocked the event loop for 1.")
    assert said.endswith(
        f", at tests/worker/test_watchdog.py:{line} Blocking._sleep: nothing else runs there meanwhile"
    )
    assert end.getMessage().startswith(f"task {id_} ({call}) blocked the event loop for 1.")
    for record in (begin, end):
        fields = vars(record)
        assert record.levelno == logging.WARNING
        assert (fields["task_id"], fields["call"], fields["tenant"]) == (id_, call, "acme")
    assert 1.6 < float(end.getMessage().rpartition(" for ")[2].removesuffix(" s")) < 3


async def test_what_is_no_task_is_told_too(settings: MakeSettings, caplog: pytest.LogCaptureFixture) -> None:
    """Other code in the worker's event loop holds up its tasks as well."""
    async with working(settings()):
        await asyncio.sleep(0.2)
        time.sleep(1.6)
        await asyncio.sleep(0.5)
    begin, end = [record.getMessage() for record in warnings(caplog)]
    assert begin.startswith("what is no task has blocked the event loop for 1.")
    assert " at tests/worker/test_watchdog.py:" in begin
    assert end.startswith("what is no task blocked the event loop for 1.")


async def test_a_watchdog_that_fails(
    settings: MakeSettings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, once, and looks no more; the beats go on, and questions are answered."""

    def fail(_watchdog: Watchdog) -> None:
        raise ValueError

    monkeypatch.setattr(Watchdog, "look", fail)
    async with working(settings()) as tasks:
        [known] = await tasks.get_workers()
        assert await tasks.get_stacks(known.id) is not None
        assert await tasks.get_stacks(known.id) is not None
    assert [record.name for record in caplog.records if record.levelno == logging.ERROR] == ["taskproc.heartbeat"]
    assert "blocked event loops are told of no more" in caplog.text


async def test_nobody_waits_for_who_is_cancelled() -> None:
    """An event loop whose watch has ended is not late, whatever it does then."""
    attempts = Attempts(TaskProcessor(), cast("Storage", None), lambda: None, [])
    watching = asyncio.create_task(attempts.watch())
    await asyncio.sleep(0)
    assert attempts.lag.expected is not None
    watching.cancel()
    await asyncio.wait([watching])
    assert attempts.lag.expected is None
