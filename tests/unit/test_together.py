"""Calls of the same moment share a round trip, and nothing else."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from taskproc.errors import StorageUnavailable
from taskproc.storage import Sending, Storage
from taskproc.together import MOST_BYTES, MOST_TASKS, Together
from tests.storage.store import new_task


class Recorder:
    """Stands where Redis does: what came together, and what it answers."""

    def __init__(self) -> None:
        self.sent: list[list[str | None]] = []
        self.failures: dict[str, Exception] = {}

    async def enqueue(self, sendings: Sequence[Sending]) -> int:
        ids = [task.id for task, _ in sendings]
        self.sent.append(ids)
        await asyncio.sleep(0.01)
        for id_ in ids:
            if id_ in self.failures:
                raise self.failures[id_]
        return len(ids)


def together() -> tuple[Together, Recorder]:
    """What sends, and what it sends to."""
    recorder = Recorder()
    return Together(cast("Storage", recorder)), recorder


def a_sending(id_: str, size: int = 4) -> Sending:
    """A task with so many bytes of data."""
    return new_task(id_), b"x" * size


async def test_calls_of_one_moment_go_together() -> None:
    """In the order in which they were made; later ones do not wait for an answer."""
    all_, recorder = together()
    first = asyncio.gather(*(all_.enqueue(a_sending(f"a{number}")) for number in range(3)))
    await asyncio.sleep(0.002)
    await asyncio.gather(first, all_.enqueue(a_sending("b")))
    assert recorder.sent == [["a0", "a1", "a2"], ["b"]]


async def test_a_group_is_bounded() -> None:
    """By number, and by the size of its data."""
    all_, recorder = together()
    await asyncio.gather(*(all_.enqueue(a_sending(str(number))) for number in range(MOST_TASKS + 1)))
    assert [len(group) for group in recorder.sent] == [MOST_TASKS, 1]
    recorder.sent.clear()
    await asyncio.gather(*(all_.enqueue(a_sending(str(number), MOST_BYTES // 2)) for number in range(3)))
    assert [len(group) for group in recorder.sent] == [2, 1]


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_who_is_cancelled_takes_nobody_along(cancelled: int) -> None:
    """Neither the one who came first, before anything is sent, nor one who joined."""
    all_, recorder = together()
    calls = [asyncio.create_task(all_.enqueue(a_sending(str(number)))) for number in range(3)]
    await asyncio.sleep(0)
    calls[cancelled].cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results].count(asyncio.CancelledError) == 1
    assert isinstance(results[cancelled], asyncio.CancelledError)
    others = {"0", "1", "2"} - {str(cancelled)}
    assert {id_ for group in recorder.sent for id_ in group} == others


async def test_each_is_told_of_its_own_task() -> None:
    """When Redis is away for all of them."""
    all_, recorder = together()
    recorder.failures["1"] = StorageUnavailable("away", maybe_accepted=True, task_id="1")
    results: list[Any] = await asyncio.gather(
        *(all_.enqueue(a_sending(str(number))) for number in range(3)), return_exceptions=True
    )
    assert [(result.task_id, result.maybe_accepted, str(result)) for result in results] == [
        (str(number), True, "away") for number in range(3)
    ]


async def test_one_that_cannot_be_sent_does_not_hold_up_the_rest() -> None:
    """They are sent once more, each alone: an id is accepted once."""
    all_, recorder = together()
    recorder.failures["1"] = ValueError("1 is odd")
    results = await asyncio.gather(
        *(all_.enqueue(a_sending(str(number))) for number in range(3)), return_exceptions=True
    )
    assert [str(result) for result in results] == ["None", "1 is odd", "None"]
    assert recorder.sent == [["0", "1", "2"], ["0"], ["1"], ["2"]]


async def test_closing_waits_for_what_is_under_way() -> None:
    """Whoever was told nothing yet still is."""
    all_, recorder = together()
    calls = [asyncio.create_task(all_.enqueue(a_sending(str(number)))) for number in range(2)]
    await asyncio.sleep(0.002)
    await all_.close()
    await asyncio.sleep(0)
    assert all(call.done() for call in calls)
    assert recorder.sent == [["0", "1"]]
