"""What is collected for a batch, and in which chunks it is sent."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from typing import Any, cast

import hypothesis
import pytest
from hypothesis import strategies as st

from taskproc import Batch, TaskData
from taskproc.batch import BatchOn, ContinueOn
from taskproc.records import Chunk, NewTask
from taskproc.upload import MOST_BYTES, MOST_TASKS
from tests.unit.batch_kit import SECOND, Notes, Part, all_at_once, job, marked


async def test_a_small_batch_is_one_step() -> None:
    """Created, filled and sealed in one, at the end of the block; its id is known from the start."""
    notes = Notes()
    part = Part(notes, "low")
    async with part.context() as batch:
        assert batch.id == "b1"
        batch.enqueue(job, 1)
        batch.on("high").enqueue(job, 2)
        batch.continue_with(job, 3)
        assert notes.chunks == []
    assert notes.chunks == [
        Chunk(
            batch="b1", tenant="acme", name="0", producer="", create={"queue": "low", "scope": "Import 42"}, last=True
        )
    ]
    assert notes.payloads == [b"[[1]]", b"[[2]]"]
    assert [(task.queue, task.tenant) for task, _ in notes.sent[0]] == [("low", "acme"), ("high", "acme")]
    assert notes.continuations[0][0][1] == b"[[3]]"


async def test_an_empty_batch_is_sent_too() -> None:
    """It ends at once, and can be looked at."""
    notes = Notes()
    async with Part(notes).context():
        pass
    assert [(chunk.last, chunk.name) for chunk in notes.chunks] == [(True, "0")]
    assert notes.sizes == [0]


@pytest.mark.parametrize(
    "count, sizes",
    [(1, [1]), (500, [500]), (501, [500, 1]), (1000, [500, 500]), (1001, [500, 500, 1])],
)
async def test_chunks_by_number(count: int, sizes: list[int]) -> None:
    """At most 500 tasks each, in order; only the last one seals, each names the one before it."""
    notes = Notes()
    part = Part(notes)
    async with part.context() as batch:
        for number in range(count):
            batch.enqueue(job, number)
    await part.open.close()
    assert notes.sizes == sizes
    assert notes.payloads == [b"[[%d]]" % number for number in range(count)]
    assert [chunk.last for chunk in notes.chunks] == [False] * (len(sizes) - 1) + [True]
    assert [chunk.previous for chunk in notes.chunks] == [None, *(chunk.name for chunk in notes.chunks[:-1])]
    assert len({chunk.name for chunk in notes.chunks}) == len(sizes)


@hypothesis.given(st.lists(st.sampled_from([1, 1000, 90_000, 400_000, 700_000, 1_000_000]), max_size=14))
@hypothesis.settings(max_examples=30)
def test_chunks_by_size(sizes: list[int]) -> None:
    """At most 1 MB each, unless a single task is larger; all are sent, in order."""
    notes = Notes()
    part = Part(notes, max_payload=2_000_000)

    async def run() -> None:
        async with part.context() as batch:
            for number, size in enumerate(sizes):
                batch.enqueue(job, number, "x" * size)
        await part.open.close()

    asyncio.run(run())
    assert [data.partition(b",")[0] for data in notes.payloads] == [b"[[%d" % number for number in range(len(sizes))]
    for tasks in notes.sent:
        assert len(tasks) <= 1 or sum(len(data) for _, data in tasks) <= MOST_BYTES


async def test_flush_sends_what_is_there_and_leaves_the_batch_open() -> None:
    """Twice in a row sends nothing twice; the end seals."""
    notes = Notes()
    part = Part(notes)
    async with part.context() as batch:
        batch.enqueue(job, 1)
        await batch.flush()
        await batch.flush()
        assert (notes.sizes, [chunk.last for chunk in notes.chunks]) == ([1], [False])
        batch.continue_with(job, 2)
        await batch.flush()
        batch.enqueue(job, 3)
    await part.open.close()
    assert notes.sizes == [1, 0, 1]
    assert [chunk.last for chunk in notes.chunks] == [False, False, True]


async def slowly(batch: Batch) -> None:
    """An async one."""
    for number in range(1200):
        batch.enqueue(job, number)
        if number % 400 == 0:
            await asyncio.sleep(0)


def as_it_goes(batch: Batch) -> Iterator[None]:
    """A generator."""
    for number in range(1200):
        batch.enqueue(job, number)
        yield


async def as_it_comes(batch: Batch) -> AsyncIterator[None]:
    """An async generator."""
    for number in range(1200):
        batch.enqueue(job, number)
        yield


def handed_on(batch: Batch) -> object:
    """A function that returns what is to be awaited."""
    return slowly(batch)


@pytest.mark.parametrize("build", [all_at_once, slowly, as_it_goes, as_it_comes, handed_on])
async def test_any_kind_of_function_fills_a_batch(build: Any) -> None:
    """Functions and generators, sync and async, and functions that return something to be awaited."""
    notes = Notes()
    assert await Part(notes).fill(build)
    assert notes.sizes == [500, 500, 200]
    assert notes.payloads == [b"[[%d]]" % number for number in range(1200)]
    assert [chunk.last for chunk in notes.chunks] == [False, False, True]


async def test_generators_are_sent_as_they_go() -> None:
    """A million tasks never are in memory at a time: a full chunk is sent at the next `yield`."""
    notes = Notes()
    part, most = Part(notes), 0

    async def build(batch: Batch) -> AsyncIterator[None]:
        nonlocal most
        for number in range(5 * MOST_TASKS):
            batch.enqueue(job, number)
            most = max(most, len(part.upload._tasks))
            yield

    assert await part.fill(build)
    assert most == MOST_TASKS
    assert sum(notes.sizes) == 5 * MOST_TASKS


async def test_tasks_that_are_no_calls() -> None:
    """A list of them is a batch; one by one they can be mixed with calls."""
    notes = Notes()
    assert await Part(notes).fill([TaskData(topic="a", data=b"1"), TaskData(topic="b", data=b"2")])
    assert [(task.topic, data) for task, data in notes.sent[0]] == [("a", b"1"), ("b", b"2")]
    async with (part := Part(notes)).context() as batch:
        batch.on("high").enqueue_task(TaskData(topic="c", data=b"3"))
        batch.enqueue(job, 1)
    assert [(task.queue, task.topic) for task, _ in notes.sent[1]] == [("high", "c"), ("default", None)]
    assert part.batch.id == "b1"


# Options


async def only_task(fill_it: Callable[[Batch], None], queue: str | None = None, **settings: Any) -> NewTask:
    """What is sent for a batch of one task, or of one continuation."""
    notes = Notes()
    async with Part(notes, queue, **settings).context() as batch:
        fill_it(batch)
    (((task, _),),) = [each for each in (*notes.sent, *notes.continuations) if each]
    return task


async def test_defaults_come_from_the_batch_the_mark_and_the_settings() -> None:
    """What is said in on() wins, then what the batch says, then @background, then the settings."""
    plain = await only_task(lambda batch: batch.enqueue(job), default_queue="d", retries=4, invisibility=5 * SECOND)
    assert (plain.queue, plain.retries, plain.invisibility, plain.auto_extend) == ("d", 4, 5000, None)
    by_mark = await only_task(lambda batch: batch.enqueue(marked))
    assert (by_mark.queue, by_mark.retries, by_mark.invisibility, by_mark.auto_extend) == ("marked", 7, 2000, 1)
    assert (await only_task(lambda batch: batch.enqueue(marked), "low")).queue == "low"
    said = await only_task(
        lambda batch: batch.on("high", retries=1, invisibility=SECOND, auto_extend=False).enqueue(marked), "low"
    )
    assert (said.queue, said.retries, said.invisibility, said.auto_extend) == ("high", 1, 1000, None)


async def test_delays() -> None:
    """Of a task they count from now, of a continuation from its firing."""
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    assert (await only_task(lambda batch: batch.on(delay=SECOND).enqueue(job))).after == 1000
    assert (await only_task(lambda batch: batch.on(delay_until=moment).enqueue(job))).at == 1_893_456_000_000
    later = await only_task(lambda batch: batch.on(delay=SECOND).continue_with(job))
    assert (later.after, later.at, later.wait, later.wait_until) == (None, None, 1000, None)
    then = await only_task(lambda batch: batch.on(when="failed", delay_until=moment).continue_with(job))
    assert (then.after, then.at, then.wait, then.wait_until) == (None, None, None, 1_893_456_000_000)


@pytest.mark.parametrize("when", ["success", "failed", "canceled", "complete"])
async def test_continuations_wait_for_an_outcome(when: Any) -> None:
    """For the one that is named; for success when none is."""
    task = await only_task(lambda batch: batch.on("high", when=when).continue_with(marked))
    assert (task.awaited, task.queue, task.retries) == (when, "high", 7)
    assert (await only_task(lambda batch: batch.continue_with(job))).awaited == "success"
    assert (await only_task(lambda batch: batch.on("high").continue_with(job))).awaited == "success"


async def test_what_on_offers() -> None:
    """With `when` a continuation only; what was said cannot be changed, and serves again."""
    notes = Notes()
    async with Part(notes).context() as batch:
        waiting, low = batch.on(when="failed"), batch.on("low")
        assert type(waiting) is ContinueOn
        assert not hasattr(waiting, "enqueue")
        assert not hasattr(waiting, "enqueue_task")
        assert type(low) is BatchOn
        low.enqueue(job, 1)
        low.enqueue(job, 2)
        with pytest.raises(FrozenInstanceError):
            cast("Any", low)._options = None
    assert notes.sizes == [2]
