"""Records that somebody has written to have something else run, and looks that ask for too much: in vain."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from taskproc import TaskProcessor
from tests.conftest import MakeSettings
from tests.worker.kit import Jobs, died, processor_of, running


class Opens:
    """What, once it is unpickled, leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Any, ...]]:
        return open, (str(self._path), "w")


CALLS = (
    "os:system", "os:open", "posix:system", "subprocess:run", "subprocess:Popen", "pickle:loads", "pathlib:Path.touch",
    "builtins:eval", "builtins:exec", "builtins:open", "tests.worker.kit:time.sleep", "tests.worker.kit:Jobs.__init__",
    "tests.worker.kit:Jobs.note.__globals__", "tests.worker.kit:processor_of", "os.system", "../os:system",
)  # fmt: skip


async def _is_dead(tasks: TaskProcessor, task_id: str) -> str:
    letter = await died(tasks, task_id)
    assert await tasks.discard_dead_tasks("default") == 1
    return letter.error_type or ""


@pytest.mark.parametrize("call", CALLS)
async def test_a_name_of_something_else(
    settings: MakeSettings, client: redis.Redis, prefix: str, tmp_path: Path, call: str
) -> None:
    """Whatever a record names that is not meant to be run is a dead letter, unrun."""
    jobs, left = Jobs(), tmp_path / "left"
    async with processor_of(settings(unknown_task_grace=0), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.note, f"touch {left}")
        client.hset(f"{prefix}:task:{task_id}", "c", call)
        async with running(tasks):
            assert await _is_dead(tasks, task_id) in {"taskproc.errors.UnknownTask", "taskproc.errors.MalformedTask"}
    assert not left.exists()
    assert jobs.notes == []


@pytest.mark.parametrize("where", ["d", "t", "b", "p", "c"])
async def test_a_pickle(settings: MakeSettings, client: redis.Redis, prefix: str, tmp_path: Path, where: str) -> None:
    """It is never read as one, wherever it stands."""
    jobs, left = Jobs(), tmp_path / "left"
    dumped = pickle.dumps(Opens(left))
    pickle.loads(dumped).close()  # noqa: S301 - that is the point
    left.unlink()  # so it would
    async with processor_of(settings(unknown_task_grace=0), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.note, "never")
        client.hset(f"{prefix}:task:{task_id}", where, dumped)
        async with running(tasks):
            assert await _is_dead(tasks, task_id)
    assert not left.exists()
    assert jobs.notes == []


async def test_looks_that_ask_for_too_much(settings: MakeSettings) -> None:
    """No look takes more than a thousand, whatever is asked for."""
    jobs = Jobs()
    async with processor_of(settings(), jobs) as tasks:
        async with tasks.batch() as batch:
            for number in range(1_200):
                batch.enqueue(jobs.note, f"{number}")
        assert len(await tasks.get_tasks_in_queue("default", take=10**9)) == 1_000
        assert len(await tasks.get_tasks_in_queue("default", skip=1_100, take=10**9)) == 100
        assert await tasks.get_tasks_in_queue("default", skip=10**15, take=10**15) == []
        await tasks.cancel_batch(batch.id)
