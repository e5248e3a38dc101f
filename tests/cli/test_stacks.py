"""`taskproc workers stacks`: what a worker is doing right now."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from taskproc import StackFrame, TaskProcessor, TaskStack, WorkerSilent, WorkerStacks, ref
from tests.cli.commands import Commands
from tests.conftest import MakeSettings
from tests.kit import block_until
from tests.worker.kit import Jobs, working

HOSTILE = "[red]a\x1b[2J\n2030-01-01 all is lost\u2028"


class Holding(Jobs):
    """Holds up the event loop until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    async def hold_up(self) -> None:
        self.notes.append("held up")
        assert self.release.wait(20)


@asynccontextmanager
async def said_while_held_up(jobs: Holding, cli: Commands, *words: str) -> AsyncGenerator[list[str]]:
    """What the command prints, once a job that the block enqueues holds up the event loop."""

    def run() -> str:
        try:
            block_until(lambda: "held up" in jobs.notes, 10)
            threading.Event().wait(0.2)
            return asyncio.run(cli.said(*words))
        finally:
            jobs.release.set()

    said: list[str] = []
    ran = asyncio.get_running_loop().run_in_executor(None, run)
    try:
        yield said
    finally:
        said.append(await ran)
        jobs.go_on.set()


async def test_what_blocks_comes_first(settings: MakeSettings, cli: Commands) -> None:
    """With each place and its line; it is noted who has asked."""
    jobs = Holding()
    async with working(settings(), jobs) as tasks:
        [worker] = await tasks.get_workers()
        waiting = await tasks.on(tenant="acme").enqueue(ref(Holding).wait, "beside")
        await jobs.noted("beside begins")
        async with said_while_held_up(jobs, cli, "workers", "stacks", worker.id) as said:
            holding = await tasks.enqueue(ref(Holding).hold_up)
        lines = said[0].splitlines()
        [entry] = await tasks.get_audit()
    assert lines[0].split() == ["worker", worker.id]
    assert lines[1].split()[0] == "late"
    first, second = [part.splitlines() for part in said[0].split("\n\n")[1:]]
    assert first[0].startswith("tests.cli.test_stacks:Holding.hold_up  for ")
    assert "  has blocked the event loop for " in first[0]
    assert first[1] == f"{holding}  default"
    assert first[2].startswith("  tests/cli/test_stacks.py:")
    assert first[2].endswith(" Holding.hold_up")
    assert first[3] == "      assert self.release.wait(20)"
    assert second[0].startswith("tests.cli.test_stacks:Holding.wait  for ")
    assert "event loop" not in second[0]
    assert second[1] == f"{waiting}  acme"
    assert "      await self.go_on.wait()" in second
    assert (entry.act, entry.target, entry.detail) == ("stacks", worker.id, "command line")


async def test_as_json(settings: MakeSettings, cli: Commands) -> None:
    """The fields of what is returned; nothing of a worker that runs nothing."""
    async with working(settings()) as tasks:
        [worker] = await tasks.get_workers()
        found = await cli.json("workers", "stacks", worker.id)
        assert found.keys() == {"worker", "taken", "late", "loop", "tasks", "more"}
        assert (found["worker"], found["tasks"], found["loop"], found["more"]) == (worker.id, [], [], 0)
        assert "It runs nothing." in await cli.said("workers", "stacks", worker.id)


async def test_workers_that_do_not_answer(settings: MakeSettings, cli: Commands) -> None:
    """One that is not there, and one that stands still, are no misuse; they are not noted."""
    async with TaskProcessor(settings()) as tasks:
        assert "there is no worker nope" in await cli.refused("workers", "stacks", "nope")
        with answering(WorkerSilent("worker w did not say")):
            assert await cli.refused("workers", "stacks", "w") == "worker w did not say"
        assert await tasks.get_audit() == []


async def test_hostile_names(cli: Commands) -> None:
    """Whatever is in the answer, it cannot move the cursor, or begin a line of its own; what was left out is told."""
    frame = StackFrame(file=HOSTILE, line=7, function=HOSTILE, source=HOSTILE)
    names: dict[str, Any] = {"task_id": HOSTILE, "call": HOSTILE, "tenant": HOSTILE}
    task = TaskStack(**names, seconds=75.0, in_thread=True, holds_loop=False, frames=[frame], left_out=1)
    found = WorkerStacks(worker="w", taken=datetime.now(UTC), late=0.5, loop=[frame], tasks=[task], more=1_000)
    with answering(found):
        said = await cli.said("workers", "stacks", "w")
    assert "no task  has blocked the event loop for 500 ms" in said
    assert "  for 1 min 15 s  in a thread" in said
    assert "  … 1 outer frame\n" in said
    assert "1,000 more tasks" in said
    assert "[red]a\\x1b[2J\\n2030-01-01 all is lost\\u2028:7 [red]a" in said
    assert not any(line.startswith("2030") for line in said.splitlines())
    assert all(line.isprintable() for line in said.splitlines())


@contextmanager
def answering(answer: WorkerStacks | Exception) -> Generator[None]:
    """Workers give this answer."""

    async def get_stacks(*_args: object, **_options: object) -> WorkerStacks:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TaskProcessor, "get_stacks", get_stacks)
        yield
