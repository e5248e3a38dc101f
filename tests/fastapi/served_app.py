"""An app as a user writes it, for uvicorn: a container with a session per task, and a log of what happened."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from dependency_injector import containers, providers

from taskproc import QueueInfo, TaskProcessorSettings, ref
from taskproc_fastapi import FastAPI, Tasks


def note(*words: object) -> None:
    """Appends a line, whole, to the log."""
    line = " ".join(map(str, (os.getpid(), *words))) + "\n"
    with Path(os.environ["SERVED_LOG"]).open("ab", buffering=0) as log:
        log.write(line.encode())


class Session:
    count = 0

    def __init__(self) -> None:
        Session.count += 1
        self.number = Session.count


def open_session() -> Iterator[Session]:
    """One per task."""
    session = Session()
    note("open", session.number)
    yield session
    note("close", session.number)


class Mailer:
    def __init__(self, session: Session) -> None:
        self.session = session

    async def send(self, to: str) -> None:
        await asyncio.sleep(0.01)
        note("sent", self.session.number, to)

    def send_slowly(self, to: str) -> None:
        note("begun", to)
        time.sleep(0.5)
        note("ended", to)


class Container(containers.DeclarativeContainer):
    session = providers.ContextLocalResource(open_session)
    mailer = providers.Factory(Mailer, session)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
    """Notes the app's own start and end."""
    note("up")
    yield
    note("down")


app = FastAPI(lifespan=lifespan)
app.add_task_processor(TaskProcessorSettings(), container=Container())
app.add_task_processor_executor()


@app.post("/send/{number}")
async def send(number: int, tasks: Tasks) -> str:
    """Enqueues a mail."""
    return await tasks.enqueue(ref(Mailer).send, f"user-{number}")


@app.post("/slow")
def slow(tasks: Tasks) -> str:
    """Enqueues a mail that takes its time."""
    return tasks.blocking.enqueue(ref(Mailer).send_slowly, "somebody")


@app.get("/queue")
async def queue(tasks: Tasks) -> QueueInfo:
    """How much is left to do."""
    return await tasks.get_queue("default")
