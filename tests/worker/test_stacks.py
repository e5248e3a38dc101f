"""What a worker is doing, asked from elsewhere: also while a task blocks its event loop."""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import redis

from taskproc import TaskProcessor, TaskProcessorSettings, TaskStack, WorkerSilent, WorkerStacks, ref
from taskproc.frames import MOST_FRAMES
from taskproc.stacks import MOST_BYTES, MOST_TASKS
from tests.conftest import MakeSettings
from tests.faults.kit import Journal, worker
from tests.kit import wait_until
from tests.worker.kit import MS, Jobs, working

HERE = "test_stacks.py"
SECRET = "a value of a variable"


class OwnAwaitable:
    """What is awaited by way of a method of its own."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, None, None]:
        return self._work().__await__()


class Deep(Jobs):
    """Waits below all kinds of things that can be awaited, or holds up everything."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    async def outer(self, secret: str) -> None:
        self.notes.append(secret)
        async with self.opened():
            self.notes.append("opened")

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        async for _ in self.several():
            yield

    async def several(self) -> AsyncGenerator[int]:
        await asyncio.create_task(self.in_task())
        yield 1

    async def in_task(self) -> None:
        await OwnAwaitable(self.innermost)

    async def innermost(self) -> None:
        self.notes.append("deep")
        await self.go_on.wait()

    async def block(self, secret: str) -> None:
        """Holds up the event loop."""
        self._block(secret)

    def _block(self, secret: str) -> None:
        self.notes.append(secret)
        assert self.release.wait(20)

    def in_thread(self, secret: str) -> None:
        self._block(secret)

    async def block_in_child(self) -> None:
        async def child() -> None:
            self._block("child")

        await asyncio.gather(child(), self.wait("other"))

    async def block_in_callback(self) -> None:
        asyncio.get_running_loop().call_soon(self._block, "callback")
        await self.wait("callback waits")

    async def block_deeply(self) -> None:
        self._deeper(5_000)

    def _deeper(self, depth: int) -> None:
        if depth:
            self._deeper(depth - 1)
        else:
            self._block("deeper")

    async def recurse(self, depth: int) -> None:
        if depth:
            await self.recurse(depth - 1)
        else:
            await self.wait("deep")


@asynccontextmanager
async def asking(settings: TaskProcessorSettings, jobs: Deep, *noted: str) -> AsyncGenerator[list[WorkerStacks]]:
    """Has the stacks of the only worker when the block is left: a thread asks when all that was noted, since what is
    enqueued in the block may hold up the event loop, and releases the jobs then.
    """

    async def ask() -> WorkerStacks | None:
        async with TaskProcessor(settings) as other:
            await wait_until(lambda: set(noted) <= set(jobs.notes), 10, f"{noted} in {jobs.notes}")
            time.sleep(0.2)  # so that it is late, whoever holds it
            [known] = await other.get_workers()
            return await other.get_stacks(known.id)

    def ask_in_thread() -> WorkerStacks | None:
        try:
            return asyncio.run(ask())
        finally:
            jobs.release.set()

    found: list[WorkerStacks] = []
    asked = asyncio.get_running_loop().run_in_executor(None, ask_in_thread)
    try:
        yield found
    finally:
        stacks = await asked
        jobs.go_on.set()
    assert stacks is not None
    found.append(stacks)


def shown(task: TaskStack) -> list[str]:
    """Where it is in this file, as `function: line`."""
    return [f"{frame.function}: {frame.source}" for frame in task.frames if frame.file.endswith(HERE)]


async def test_a_task_that_blocks_the_event_loop(settings: MakeSettings, client: redis.Redis, prefix: str) -> None:
    """It is named first, with the line that blocks, and for how long; what waits beside it is told too. No value of a
    variable is, and the answer is kept for a minute.
    """
    jobs = Deep()
    async with working(settings(), jobs) as tasks:
        waiting = await tasks.on(tenant="acme").enqueue(ref(Deep).wait, "beside")
        await jobs.noted("beside begins")
        begun = datetime.now(UTC)
        async with asking(settings(), jobs, SECRET) as answers:
            blocking = await tasks.enqueue(ref(Deep).block, SECRET)
        [found] = answers
        [known] = await tasks.get_workers()
        key = f"{prefix}:worker:{known.id}:stacks"
        packed, seconds = client.hget(key, "stacks"), client.ttl(key)
        assert await tasks.get_stacks(known.id, anew=False) == found
    first, second = found.tasks
    assert (found.worker, found.loop, found.more) == (known.id, [], 0)
    assert begun - timedelta(seconds=1) < found.taken < datetime.now(UTC) + timedelta(seconds=1)
    assert (first.task_id, first.call, first.tenant) == (blocking, "tests.worker.test_stacks:Deep.block", "default")
    assert (first.holds_loop, first.in_thread, first.left_out) == (True, False, 0)
    assert 0.1 < found.late <= first.seconds < 20
    assert shown(first) == ["Deep.block: self._block(secret)", "Deep._block: assert self.release.wait(20)"]
    assert first.frames[-1].file == "threading.py"
    assert first.frames[0].file == f"tests/worker/{HERE}"
    line = first.frames[0].line
    assert str(first.frames[0]) == f"tests/worker/{HERE}:{line} Deep.block\n    self._block(secret)"
    assert Path(__file__).read_text().splitlines()[line - 1].strip() == "self._block(secret)"
    assert (second.task_id, second.tenant, second.holds_loop) == (waiting, "acme", False)
    assert second.seconds > first.seconds
    assert isinstance(packed, bytes)
    assert SECRET.encode() not in packed
    assert 0 < seconds <= 60


async def test_a_coroutine_that_awaits_deeply(settings: MakeSettings) -> None:
    """Its stack leads through context managers, async generators, tasks that it awaits and objects with `__await__`."""
    jobs = Deep()
    async with working(settings(), jobs) as tasks:
        async with asking(settings(), jobs, "deep") as answers:
            await tasks.enqueue(ref(Deep).outer, SECRET)
        [only] = answers[0].tasks
        assert not only.holds_loop
        assert shown(only) == [
            "Deep.outer: async with self.opened():",
            "Deep.opened: async for _ in self.several():",
            "Deep.several: await asyncio.create_task(self.in_task())",
            "Deep.in_task: await OwnAwaitable(self.innermost)",
            "Deep.innermost: await self.go_on.wait()",
        ]
        assert only.frames[-1].function == "Event.wait"
        assert only.frames[-1].file == "asyncio/locks.py"


async def test_a_task_in_a_thread(settings: MakeSettings) -> None:
    """The stack is that of its thread; two of them are not mixed up."""
    jobs = Deep()
    async with working(settings(), jobs) as tasks:
        async with asking(settings(), jobs, "two begins") as answers:
            first = await tasks.enqueue(ref(Deep).in_thread, "one")
            await jobs.noted("one")
            second = await tasks.enqueue(ref(Deep).wait_in_thread, "two")
        [found] = answers
    assert [(task.task_id, task.in_thread, task.holds_loop) for task in found.tasks] == [
        (first, True, False),
        (second, True, False),
    ]
    assert shown(found.tasks[0]) == ["Deep.in_thread: self._block(secret)", "Deep._block: assert self.release.wait(20)"]
    assert [frame.function for frame in found.tasks[1].frames] == ["Jobs.wait_in_thread"]
    assert found.late < 0.1


async def test_a_task_that_blocks_below_a_deep_recursion(settings: MakeSettings) -> None:
    """It is found though nobody walks that far, and so is what is innermost."""
    jobs, before = Deep(), sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        async with working(settings(), jobs) as tasks, asking(settings(), jobs, "deeper") as answers:
            await tasks.enqueue(ref(Deep).block_deeply)
    finally:
        sys.setrecursionlimit(before)
    [only] = answers[0].tasks
    assert only.holds_loop
    assert (len(only.frames), only.left_out) == (MOST_FRAMES, 2_000 - MOST_FRAMES)
    assert shown(only)[-1] == "Deep._block: assert self.release.wait(20)"


@pytest.mark.parametrize("name, word", [("block_in_child", "child"), ("block_in_callback", "callback")])
async def test_what_a_task_has_started(settings: MakeSettings, name: str, word: str) -> None:
    """An asyncio task, or a callback, that holds up the event loop is its task's."""
    jobs = Deep()
    async with working(settings(), jobs) as tasks, asking(settings(), jobs, word) as answers:
        await tasks.enqueue(getattr(ref(Deep), name))
    [found] = answers
    [only] = found.tasks
    assert only.holds_loop
    assert shown(only)[-1] == "Deep._block: assert self.release.wait(20)"
    assert found.loop == []


async def test_code_that_is_no_task(settings: MakeSettings) -> None:
    """What else holds up the event loop, as a route of the same process, is shown by itself."""
    jobs = Deep()
    async with working(settings(), jobs) as tasks:
        await tasks.enqueue(ref(Deep).wait, "beside")
        await jobs.noted("beside begins")
        async with asking(settings(), jobs, "nobody's") as answers:
            await jobs.block("nobody's")
        [found] = answers
    assert [task.holds_loop for task in found.tasks] == [False]
    assert found.late > 0.1
    assert [frame.function for frame in found.loop if frame.file.endswith(HERE)][-2:] == ["Deep.block", "Deep._block"]


async def test_an_idle_worker(settings: MakeSettings, client: redis.Redis, prefix: str) -> None:
    """It runs nothing; several who ask at a time are all answered, at once, and when nobody asks nothing is written."""
    async with working(settings()) as tasks:
        [known] = await tasks.get_workers()
        begun = time.monotonic()
        found = await asyncio.gather(*(tasks.get_stacks(known.id) for _ in range(5)))
        assert time.monotonic() - begun < 5
        for one in found:
            assert one is not None
            assert (one.tasks, one.loop, one.more) == ([], [], 0)
            assert one.late < 1
        key = f"{prefix}:worker:{known.id}:stacks"
        await wait_until(lambda: client.hget(key, "asked") == b"5")
        written = client.hget(key, "at")
        await asyncio.sleep(2.2)
        assert client.hget(key, "at") == written


async def test_unknown_workers(settings: MakeSettings) -> None:
    """None, also of one that has ended; nothing of the last minute is None too."""
    async with working(settings()) as tasks:
        assert await tasks.get_stacks("nobody") is None
        [known] = await tasks.get_workers()
        assert await tasks.get_stacks(known.id, anew=False) is None
    async with TaskProcessor(settings()) as other:
        assert await other.get_stacks(known.id) is None


async def test_a_frozen_worker(settings: MakeSettings, tmp_path: Path) -> None:
    """It does not answer, which is said after the time given; once it goes on it answers again."""
    made = settings()
    async with TaskProcessor(made) as tasks:
        with worker(made, Journal(tmp_path)) as process:
            await wait_until(tasks.get_workers, 20)
            [known] = await tasks.get_workers()
            process.freeze()
            with pytest.raises(WorkerSilent, match=f"worker {known.id} did not say within 1.5 s .*stands still"):
                await tasks.get_stacks(known.id, timeout=1500 * MS)
            process.thaw()
            assert await tasks.get_stacks(known.id) is not None
            process.terminate()


@pytest.mark.parametrize("asked", ["nan", "inf", "-5", "99999999999999999999", "oh no"])
async def test_a_damaged_count_of_questions(
    settings: MakeSettings, client: redis.Redis, prefix: str, asked: str
) -> None:
    """It begins anew; an answer that cannot be read is none."""
    async with working(settings()) as tasks:
        [known] = await tasks.get_workers()
        client.hset(f"{prefix}:worker:{known.id}", "asked", asked)
        assert await tasks.get_stacks(known.id) is not None
        assert client.hget(f"{prefix}:worker:{known.id}", "asked") == b"1"
        client.hset(f"{prefix}:worker:{known.id}:stacks", "stacks", b"\xc1")
        assert await tasks.get_stacks(known.id, anew=False) is None


@pytest.mark.parametrize("depth", [0, 70])
async def test_what_is_told_is_bounded(settings: MakeSettings, client: redis.Redis, prefix: str, depth: int) -> None:
    """At most fifty frames of a stack, the innermost, and a hundred tasks, those that have run longest; fewer of those
    if they take much room.
    """
    jobs = Deep()
    async with working(settings(max_workers=200), jobs) as tasks:
        [known] = await tasks.get_workers()
        first = await tasks.enqueue(ref(Deep).recurse, depth)
        await jobs.noted("deep begins")
        for _ in range(MOST_TASKS + 19):
            await tasks.enqueue(ref(Deep).recurse, depth)
        await wait_until(lambda: jobs.notes.count("deep begins") == MOST_TASKS + 20)
        async with asking(settings(), jobs) as answers:
            pass
        [found] = answers
        packed = client.hget(f"{prefix}:worker:{known.id}:stacks", "stacks")
    assert isinstance(packed, bytes)
    assert len(packed) < MOST_BYTES + 1_000
    assert len(found.tasks) + found.more == MOST_TASKS + 20
    assert (found.more > 20) == (depth > 0)
    assert found.more >= 20
    assert found.tasks[0].task_id == first
    assert [task.seconds for task in found.tasks] == sorted((task.seconds for task in found.tasks), reverse=True)
    for task in found.tasks:
        frames = depth + 3  # `recurse` itself, what it calls, and what that waits for
        assert (len(task.frames), task.left_out) == (min(frames, MOST_FRAMES), max(frames - MOST_FRAMES, 0))
        assert task.frames[-2].function == "Jobs.wait"


HOSTILE = "<b>\x1b[2J\n2030-01-01 CRITICAL all is lost\u2028\udcff" + "x" * 1_000


@pytest.mark.parametrize("file", ["/dev/zero", "/", HOSTILE, "no\0thing", ""])
async def test_hostile_names(settings: MakeSettings, file: str) -> None:
    """Names of files and functions are bounded text in one line, and no device is read to show a line of it."""
    jobs = Deep()
    namespace: dict[str, Any] = {}
    exec(compile("def hostile(block):\n    block('hostile')", "replaced", "exec"), namespace)  # noqa: S102
    made = namespace["hostile"]
    code = made.__code__.replace(co_filename=file, co_qualname=HOSTILE)
    hostile = FunctionType(code, {})
    async with working(settings(), jobs) as tasks:

        async def execute(_ctx: object) -> None:
            hostile(jobs._block)

        tasks.execute = execute
        async with asking(settings(), jobs, "hostile") as answers:
            await tasks.enqueue(ref(Deep).note, "")
    [only] = answers[0].tasks
    [frame] = [frame for frame in only.frames if frame.line == 2]
    for text in (frame.file, frame.function, frame.source):
        assert text.isprintable() or not text
        assert len(text) < 3_000
    assert frame.function.startswith("<b>\\x1b[2J\\n2030")
    assert frame.source == ""


async def test_a_worker_with_another_id(settings: MakeSettings, client: redis.Redis, prefix: str) -> None:
    """One that others took for dead goes on under another id, and answers under that."""
    async with working(settings()) as tasks:
        [old] = await tasks.get_workers()
        assert await tasks.get_stacks(old.id) is not None
        client.zrem(f"{prefix}:workers", old.id)
        client.unlink(f"{prefix}:worker:{old.id}")

        async def is_new() -> bool:
            return [each.id for each in await tasks.get_workers()] not in ([], [old.id])

        await wait_until(is_new, 20)
        [new] = await tasks.get_workers()
        found = await tasks.get_stacks(new.id)
        assert found is not None
        assert found.worker == new.id
        assert await tasks.get_stacks(old.id) is None
