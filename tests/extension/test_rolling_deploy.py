"""Two versions of the package, and of the application, on one server: nothing is lost, and each does what it can."""

import os
import shutil
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import redis

from taskproc import TaskProcessor, TaskProcessorSettings
from taskproc.records import NewTask
from tests.conftest import MakeSettings
from tests.extension import deploy
from tests.faults.kit import environment, workers
from tests.kit import Process, process, wait_until
from tests.kit.processes import ROOT
from tests.worker.kit import died, ended

NEWER = "99.0.0"
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def other_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with another version of the package, all of whose scripts differ in their text."""
    folder = tmp_path_factory.mktemp("newer")
    shutil.copytree(ROOT / "taskproc", folder / "taskproc", ignore=shutil.ignore_patterns("__pycache__"))
    prelude = folder / "taskproc" / "lua" / "_prelude.lua"
    prelude.write_text(f"-- version {NEWER}\n{prelude.read_text()}")
    metadata = folder / f"taskproc-{NEWER}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: taskproc\nVersion: {NEWER}\n")
    return folder


class Deploys:
    """Starts processes of both versions."""

    def __init__(self, made: TaskProcessorSettings, journal: Path, newer: Path) -> None:
        self._env = environment(made) | {deploy.JOURNAL: str(journal)}
        self._newer = newer
        self.journal = journal

    @contextmanager
    def worker(self, *, newer: bool) -> Generator[Process]:
        """A worker, which ends in an orderly way."""
        with self._process(newer=newer) as started:
            yield started
            assert started.terminate() == 0, started.log_end

    def produce(self, count: int, *, newer: bool) -> None:
        """Lets a producer enqueue, and waits for it."""
        with self._process(str(count), newer=newer) as started:
            assert started.wait(20) == 0, started.log_end

    def _process(self, *arguments: str, newer: bool) -> Any:
        first = f"{self._newer}{os.pathsep}" if newer else ""
        path = {"PYTHONPATH": f"{first}{HERE}{os.pathsep}{ROOT}", "TEST_VERSION": "newer" if newer else "older"}
        return process([str(HERE / "deploy.py"), *arguments], self._env | path | ({"TEST_NEWER": "1"} if newer else {}))

    @property
    def lines(self) -> list[tuple[str, str, str]]:
        """Version, attempt and word of all that ran."""
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return [(version, attempt, word) for version, attempt, word in map(str.split, lines)]


async def test_old_and_new_workers_side_by_side(settings: MakeSettings, other_version: Path, tmp_path: Path) -> None:
    """Producers and workers of both versions share everything: each task runs once, at its first attempt, somewhere."""
    made = settings(max_workers=2)
    deploys = Deploys(made, tmp_path / "journal", other_version)
    async with TaskProcessor(made) as tasks:
        with deploys.worker(newer=False), deploys.worker(newer=True):
            await workers(tasks, 2)
            assert {worker.version for worker in await tasks.get_workers()} == {version("taskproc"), NEWER}
            deploys.produce(100, newer=False)
            deploys.produce(100, newer=True)
            await wait_until(lambda: len(deploys.lines) >= 402, 20, "402 tasks")
            for batch in await tasks.get_batches("default"):
                assert (await ended(tasks, batch.id)).done == 100
    ran = Counter(word for _, _, word in deploys.lines)
    names = [f"{kind}-{number}" for kind in ("single", "batched") for number in range(100)]
    assert ran == Counter(names * 2 + ["then"] * 2)
    assert {attempt for _, attempt, _ in deploys.lines} == {"1"}
    by_version = Counter(version for version, _, _ in deploys.lines)
    assert min(by_version["older"], by_version["newer"]) > 20


@pytest.mark.slow
async def test_what_the_old_version_does_not_know_waits_for_the_new(
    settings: MakeSettings, other_version: Path, tmp_path: Path
) -> None:
    """The old worker puts it back again and again, ever later; the new one runs it, at its first attempt."""
    made = settings(retries=1)
    deploys = Deploys(made, tmp_path / "journal", other_version)
    waits: list[float] = []
    async with TaskProcessor(made) as tasks:
        with deploys.worker(newer=False):
            await _enqueue(tasks, "deploy_newer:newer")
            dues: list[float] = []
            waits += [await wait_until(lambda: _put_back(tasks, dues), 10) for _ in range(3)]
            assert "knows deploy_newer:newer" in await tasks.explain("task")
            with deploys.worker(newer=True):
                await wait_until(lambda: len(deploys.lines) == 1, 20, "the new worker's run")
    assert deploys.lines == [("newer", "1", "hello")]
    assert 0 < waits[0] <= 1
    assert 1.5 < waits[2] <= 3


async def test_what_nobody_knows_is_kept_as_it_was(
    settings: MakeSettings, client: redis.Redis, prefix: str, other_version: Path, tmp_path: Path
) -> None:
    """After its grace it is dead, though failures are discarded, with the call and the bytes; a retry runs it."""
    made = settings(unknown_task_grace=timedelta(milliseconds=500), deadletter=False)
    deploys = Deploys(made, tmp_path / "journal", other_version)
    async with TaskProcessor(made) as tasks:
        with deploys.worker(newer=False):
            await _enqueue(tasks, "deploy_newer:newer")
            dead = await died(tasks, "task", 10)
        assert (dead.call, dead.error_type) == ("deploy_newer:newer", "taskproc.errors.UnknownTask")
        assert client.hget(f"{prefix}:task:task", "d") == b'[["hello"]]'
        with deploys.worker(newer=True):
            await workers(tasks, 1)
            assert await tasks.retry_dead_tasks("default") == 1
            await wait_until(lambda: deploys.lines == [("newer", "1", "hello")], 10)


async def _enqueue(tasks: TaskProcessor, call: str) -> None:
    """As a producer of the new version would."""
    task = NewTask(id="task", queue="default", tenant="default", call=call, retries=1, invisibility=60_000)
    await tasks._opened().storage.enqueue([(task, b'[["hello"]]')])


async def _put_back(tasks: TaskProcessor, dues: list[float]) -> float:
    """In how many seconds the task falls due again, if that is another time than those before; 0 otherwise."""
    found = await tasks.get_delayed_tasks("default")
    due = found[0].due_at.timestamp() if found and found[0].due_at else 0
    if not due or due in dues:
        return 0
    dues.append(due)
    return due - await tasks._looking().now() / 1000
