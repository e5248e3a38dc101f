"""A hook that raises what forges lines of the log, in an object that cannot be shown."""

import logging

import pytest

from taskproc import TaskContext
from tests.conftest import MakeSettings
from tests.worker.kit import Jobs, gone, working


class Unshowable:
    """Its hook is a method of something whose repr explodes."""

    def __repr__(self) -> str:
        raise SystemExit

    def start(self, _ctx: TaskContext) -> None:
        raise ValueError("oh\n2030-01-01 CRITICAL forged\x1b[2J" + "x" * 100_000_000)


async def test_what_a_hook_raises_is_logged_bounded(settings: MakeSettings, caplog: pytest.LogCaptureFixture) -> None:
    """The task runs all the same; no line of what is logged passes for another entry."""
    jobs, hooks = Jobs(), Unshowable()
    async with working(settings(on_task_start=hooks.start), jobs) as tasks:
        await gone(tasks, await tasks.enqueue(jobs.note, "task"))
    assert jobs.notes == ["task"]
    [record] = [record for record in caplog.records if "Unshowable.start raised" in record.message]
    first, *others = logging.Formatter().format(record).split("\n")
    assert first.isprintable()
    assert all(line.startswith("  | ") and line.isprintable() and len(line) < 20_000 for line in others)
    assert "  | 2030-01-01 CRITICAL forged" in "\n".join(others)
