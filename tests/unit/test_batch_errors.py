"""What a batch refuses, and what becomes of it when something fails while it is filled or sent."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from taskproc import (
    Batch,
    BatchCanceled,
    EnqueueError,
    InvalidArguments,
    InvalidName,
    NotAllowed,
    PayloadTooLarge,
    StorageUnavailable,
)
from taskproc.upload import MOST_TASKS
from tests.unit.batch_kit import SECOND, Notes, Part, all_at_once, job


def refused() -> list[tuple[Callable[[Batch], object], type[Exception], str]]:
    """What a batch refuses where it is said."""
    return [
        (lambda batch: batch.enqueue(lambda: None), NotAllowed, "lambda"),
        (lambda batch: batch.enqueue(job, cast("Any", "x")), InvalidArguments, "argument number='x'"),
        (lambda batch: batch.enqueue(job, 1, "x" * 2_000_000), PayloadTooLarge, "more than max_payload"),
        (lambda batch: batch.continue_with(cast("Any", print), 1), NotAllowed, "built in"),
        (lambda batch: batch.on("a b"), InvalidName, "queue name 'a b'"),
        (
            lambda batch: batch.on(when=cast("Any", "done")),
            EnqueueError,
            "when='done': a batch ends with one of success, ",
        ),
        (lambda batch: batch.on("failed"), InvalidName, r"on\(when='failed'\)"),
        (lambda batch: batch.on(retries=0), EnqueueError, "retries=0"),
        (lambda batch: batch.on(""), InvalidName, "queue name ''"),
        (lambda batch: cast("Any", batch).on(tenant="other"), EnqueueError, "all tasks of a batch have one tenant"),
        (lambda batch: batch.on(delay=SECOND, delay_until=datetime.now(UTC)), EnqueueError, "both given"),
        (lambda batch: batch.enqueue_task(cast("Any", b"x")), EnqueueError, "TaskData"),
    ]


@pytest.mark.parametrize("say, error, message", refused())
async def test_refused_calls_raise_where_they_are_said(say: Any, error: type[Exception], message: str) -> None:
    """The block ends by them, and nothing is sent; caught, the rest of the batch is."""
    notes = Notes()

    def build(batch: Batch) -> None:
        batch.enqueue(job, 1)
        say(batch)

    with pytest.raises(error, match=message):
        await Part(notes).fill(build)
    assert notes.chunks == []
    async with Part(notes).context() as batch:
        batch.enqueue(job, 1)
        with pytest.raises(error):
            say(batch)
    assert notes.payloads == [b"[[1]]"]
    assert notes.canceled == []


class Oops(Exception):
    pass


def fails(batch: Batch) -> None:
    """A builder that fails in the middle."""
    batch.enqueue(job, 1)
    raise Oops


def fails_late(batch: Batch) -> Iterator[None]:
    """One that fails when a part is sent."""
    for number in range(MOST_TASKS):
        batch.enqueue(job, number)
    yield
    raise Oops


async def fails_later(batch: Batch) -> AsyncIterator[None]:
    """Likewise, async."""
    for _ in fails_late(batch):
        yield


@pytest.mark.parametrize("build, canceled", [(fails, []), (fails_late, ["b1"]), (fails_later, ["b1"])])
async def test_an_error_while_filling(build: Any, canceled: list[str]) -> None:
    """Before anything is sent nothing is; after it the batch is canceled. The error is the builder's own."""
    notes = Notes()
    with pytest.raises(Oops):
        await Part(notes).fill(build)
    assert notes.canceled == canceled
    assert not any(chunk.last for chunk in notes.chunks)
    assert bool(notes.chunks) == bool(canceled)


@pytest.mark.parametrize("flushes", [False, True])
async def test_an_error_in_the_block(flushes: bool) -> None:  # noqa: FBT001
    """The same for `async with`; a cancelled task is no exception."""
    for error in (Oops(), asyncio.CancelledError(), KeyboardInterrupt()):
        notes = Notes()
        part = Part(notes)
        with pytest.raises(type(error)):  # noqa: PT012
            async with part.context() as batch:
                batch.enqueue(job, 1)
                if flushes:
                    await batch.flush()
                raise error
        await part.open.close()
        assert notes.canceled == (["b1"] if flushes else [])
        assert notes.sizes == ([1] if flushes else [])


@pytest.mark.parametrize(
    "answers, error, message",
    [
        (["canceled"], BatchCanceled, "batch b1 was canceled while it was sent"),
        (["ok", "canceled"], BatchCanceled, "not all of its tasks were"),
        (["full"], EnqueueError, "would have more than 100 continuations: let one of them enqueue the others"),
        (["ok", "missing"], StorageUnavailable, "Redis lost a part of batch b1"),
        (["ok", "broken"], StorageUnavailable, "Redis lost a part of batch b1"),
        (["ok", StorageUnavailable("away")], StorageUnavailable, "away"),
    ],
)
async def test_what_the_storage_may_answer(answers: list[Any], error: type[Exception], message: str) -> None:
    """A batch that cannot be completed is canceled, and its producer told why."""
    notes = Notes(*answers)
    with pytest.raises(error, match=message):
        await Part(notes).fill(all_at_once)
    assert notes.canceled == (["b1"] if len(answers) > 1 else [])


async def test_appending_to_what_is_not_there() -> None:
    """False, when there is no such batch, or it was canceled before; an error when that happens in between."""
    for answer in ("missing", "canceled"):
        notes = Notes(answer)
        assert not await Part(notes, append=True).fill(all_at_once)
        assert notes.sizes == [500]
    notes = Notes("ok", "canceled")
    with pytest.raises(BatchCanceled):
        await Part(notes, append=True).fill(all_at_once)


async def test_two_producers_of_one_batch_have_names_of_their_own() -> None:
    """Chunks are known by their names: those of an appender differ from the creator's and from another's."""
    notes = Notes()
    for append in (False, True, True):
        assert await Part(notes, append=append).fill(all_at_once)
    assert len({chunk.name for chunk in notes.chunks}) == 9
    assert len({chunk.producer for chunk in notes.chunks}) == 3
    assert [chunk.create is None for chunk in notes.chunks] == [False] * 3 + [True] * 6


async def test_a_batch_that_takes_long_is_kept_open() -> None:
    """From its first chunk to its last; then nothing is kept any more."""
    kept: list[list[str]] = []

    class Keeping(Notes):
        async def keep_open(self, entries: Sequence[str]) -> list[bool]:
            kept.append(list(entries))
            return [True]

    part = Part(Keeping())
    async with part.context() as batch:
        batch.enqueue(job, 1)
        await batch.flush()
        await asyncio.sleep(0.05)
        assert kept
        assert set(map(tuple, kept)) == {("b1/",)}
    count = len(kept)
    await asyncio.sleep(0.05)
    assert len(kept) <= count + 1
    await part.open.close()
