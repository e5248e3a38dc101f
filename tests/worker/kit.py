"""What the tests of the worker share: a processor whose worker runs, and a service that notes what it does."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from taskproc import BatchInfo, Scopes, TaskInfo, TaskProcessor, TaskProcessorSettings, current_task, factories
from tests.kit import wait_until

MS = timedelta(milliseconds=1)


class Jobs:
    """The service that most tests call; one instance serves all tasks of a test."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.go_on = asyncio.Event()
        """Ends what waits."""

    async def note(self, word: str) -> None:
        self.notes.append(word)

    def note_in_thread(self, word: str) -> None:
        self.notes.append(word)

    async def fail(self, message: str) -> None:
        self.notes.append(f"fails {message}")
        raise ValueError(message)

    async def wait(self, word: str) -> None:
        """Notes its begin and its end, or that it was cancelled."""
        self.notes.append(f"{word} begins")
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.notes.append(f"{word} cancelled")
            raise
        self.notes.append(f"{word} ends")

    def wait_in_thread(self, word: str) -> None:
        """Likewise; it returns when it is asked to."""
        self.notes.append(f"{word} begins")
        while not self.go_on.is_set():
            if current_task().cancel_requested:
                self.notes.append(f"{word} asked to stop")
                return
            time.sleep(0.005)
        self.notes.append(f"{word} ends")

    async def noted(self, *words: str, seconds: float = 5) -> None:
        """Waits until all these words are noted."""
        await wait_until(lambda: set(words) <= set(self.notes), seconds, f"{words} in {self.notes}")


@asynccontextmanager
async def processor_of(settings: TaskProcessorSettings, *services: object) -> AsyncGenerator[TaskProcessor]:
    """A connected processor with these objects, or these scopes, as services; no worker runs yet."""
    async with nothing_unexpected(), TaskProcessor(settings, scopes=_scopes(services)) as processor:
        yield processor


@asynccontextmanager
async def working(settings: TaskProcessorSettings, *services: object) -> AsyncGenerator[TaskProcessor]:
    """A connected processor whose worker runs until the block is left."""
    async with processor_of(settings, *services) as processor, running(processor):
        yield processor


@asynccontextmanager
async def running(processor: TaskProcessor) -> AsyncGenerator[asyncio.Task[None]]:
    """Runs the worker of the processor until the block is left."""
    before = len(await processor.get_workers())
    worker = asyncio.create_task(processor.run())

    async def is_known() -> bool:
        return len(await processor.get_workers()) > before

    try:
        await wait_until(is_known, what="a worker")
        yield worker
    except BaseException:
        processor.settings.shutdown_grace = 0 * MS  # what still waits need not be waited for
        raise
    finally:
        await processor.stop()
        await worker


@asynccontextmanager
async def nothing_unexpected() -> AsyncGenerator[None]:
    """Fails when the event loop is told of an error that nobody handles, or a duty of the worker fails."""
    problems: list[str] = []
    handler = _Problems(problems)
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(str(context)))
    logging.getLogger("taskproc").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("taskproc").removeHandler(handler)
    assert problems == []


class _Problems(logging.Handler):
    def __init__(self, problems: list[str]) -> None:
        super().__init__()
        self._problems = problems

    def emit(self, record: logging.LogRecord) -> None:
        if "goes on" in record.getMessage():
            self._problems.append(logging.Formatter().format(record))


def _scopes(services: tuple[object, ...]) -> Scopes:
    if len(services) == 1 and isinstance(services[0], Scopes):
        return services[0]
    return factories({type(service): _giving(service) for service in services})


def _giving(service: object) -> Callable[[], object]:
    return lambda: service


async def ended(processor: TaskProcessor, batch_id: str, seconds: float = 5) -> BatchInfo:
    """The batch once it has ended."""

    async def look() -> BatchInfo | None:
        batch = await processor.get_batch(batch_id)
        assert batch is not None
        assert batch.total == batch.done + batch.failed + batch.canceled + batch.remaining
        assert (batch.end is not None) == (batch.state in ("done", "failed", "canceled"))
        return batch if batch.end is not None else None

    found = await wait_until(look, seconds, f"the end of batch {batch_id}")
    assert found is not None
    return found


async def gone(processor: TaskProcessor, task_id: str, seconds: float = 5) -> None:
    """Waits until a task has ended."""

    async def look() -> bool:
        return await processor.get_task(task_id) is None

    await wait_until(look, seconds, f"the end of task {task_id}")


async def died(processor: TaskProcessor, task_id: str, seconds: float = 5) -> TaskInfo:
    """The task once it is a dead letter."""

    async def look() -> TaskInfo | None:
        task = await processor.get_task(task_id)
        assert task is not None, "the task has ended"
        return task if task.state == "dead" else None

    found = await wait_until(look, seconds, f"the death of task {task_id}")
    assert found is not None
    return found
