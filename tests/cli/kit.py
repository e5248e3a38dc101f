"""What the tests of the command line share: applications in a folder of their own, and the command that runs them."""

import sys
import textwrap
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit import Process

APP = """
import asyncio
import os
import time
from contextlib import asynccontextmanager
from datetime import timedelta

from taskproc import TaskProcessor, TaskProcessorSettings, background, factories
from taskproc_fastapi import FastAPI

VERSION = "one"


def note(*words):
    with open(os.environ["TEST_JOURNAL"], "a") as journal:
        journal.write(" ".join(map(str, words)) + "\\n")


class Mailer:
    async def send(self, to):
        note("sent", to, VERSION)


@background
async def work(word):
    note("begins", word)
    try:
        while not os.path.exists(os.environ["TEST_JOURNAL"] + ".go"):
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        note("cancelled", word)
        raise
    note("ends", word)


@background
async def stubborn(word):
    note("begins", word)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass


@asynccontextmanager
async def lifespan(app):
    note("up")
    yield
    note("down")


def make(**options):
    return TaskProcessor(TaskProcessorSettings(**options), scopes=factories({Mailer: Mailer}))


processor = make()
app = FastAPI(lifespan=lifespan)
app.add_task_processor(make())

executing = FastAPI(lifespan=lifespan)
executing.add_task_processor(make())
executing.add_task_processor_executor()

off = FastAPI(lifespan=lifespan)
off.add_task_processor(make(use_hosted_service=False))
off.add_task_processor_executor()

bare = FastAPI()
number = 7


@asynccontextmanager
async def failing_lifespan(app):
    raise RuntimeError("no disk left")
    yield


failing = FastAPI(lifespan=failing_lifespan)
failing.add_task_processor(make())


class Nested:
    processor = processor
"""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder with an application, and what its tasks have noted."""

    path: Path

    def write(self, code: str, name: str = "myapp.py") -> None:
        (self.path / name).write_text(textwrap.dedent(code))

    @property
    def notes(self) -> list[str]:
        """All that was noted."""
        journal = self.path / "journal"
        return journal.read_text().splitlines() if journal.exists() else []

    def let_go(self) -> None:
        """Ends what waits."""
        (self.path / "journal.go").touch()

    @contextmanager
    def run(self, *words: str, env: Mapping[str, str] | None = None) -> Generator[Process]:
        """`taskproc worker …`, started in this folder; killed when the block is left."""
        script = str(Path(sys.executable).with_name("taskproc"))
        command = ["sh", "-c", 'cd "$0" && exec "$@"', str(self.path), sys.executable, script, "worker", *words]
        journal = {"TEST_JOURNAL": str(self.path / "journal"), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
        started = Process(command, env={**journal, **(env or {})})
        try:
            yield started
        except BaseException as error:
            error.add_note(f"it printed:\n{started.log_end}")
            raise
        finally:
            started.close()
