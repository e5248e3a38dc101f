"""A signup that does not wait for its e-mail."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from dependency_injector import containers, providers

from taskproc import TaskProcessorSettings, ref
from taskproc_fastapi import FastAPI, Tasks


class Connection:
    """Stands for one to a mail server."""

    async def send(self, to: str, text: str) -> None:
        print(f"to {to}: {text}", flush=True)


@asynccontextmanager
async def open_connection() -> AsyncGenerator[Connection]:
    """Opened when a task needs it, and closed at the task's end, also when that fails."""
    print("connected", flush=True)
    yield Connection()
    print("closed", flush=True)


class Mailer:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def send_welcome(self, email: str) -> None:
        await self._connection.send(email, "Welcome!")


class Container(containers.DeclarativeContainer):
    connection = providers.ContextLocalResource(open_connection)  # one per task
    mailer = providers.Factory(Mailer, connection)


app = FastAPI()
app.add_task_processor(TaskProcessorSettings(redis="embedded"), container=Container())
app.add_task_processor_executor()  # runs tasks in this process


@app.post("/signup")
async def signup(email: str, tasks: Tasks) -> dict[str, str]:
    """Answers at once; the e-mail is sent in the background."""
    return {"task": await tasks.enqueue(ref(Mailer).send_welcome, email)}
