"""What worker processes run: functions that leave a line in a journal for all that happens to them."""

import asyncio
import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

from taskproc import TaskContext, TaskProcessor, TaskProcessorSettings, background, current_task
from tests.kit.clocks import set_wall_clock

JOURNAL = "TEST_JOURNAL"
"""The environment variable that names the journal's file."""


def note(what: str, name: str) -> None:
    """Appends a line, whole, whatever happens to the process next."""
    descriptor = os.open(os.environ[JOURNAL], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{time.time():.3f} {os.getpid()} {what} {name}\n".encode())
    os.close(descriptor)


def may_go_on() -> bool:
    """Whether the test lets end what waits."""
    return Path(os.environ[JOURNAL] + ".go").exists()


@background
async def run(name: str) -> None:
    """Is done at once."""
    note(f"run:{current_task().attempt}", name)


@background
async def nothing(number: int) -> None:
    """Likewise, without a line."""


@background
async def wait(name: str) -> None:
    """Runs until the test lets it end."""
    note("begins", name)
    try:
        while not may_go_on():
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        note("cancelled", name)
        raise
    note("ends", name)


@background
def wait_in_thread(name: str) -> None:
    """Likewise."""
    note("begins", name)
    while not may_go_on():
        if current_task().cancel_requested:
            note("cancelled", name)
            return
        time.sleep(0.02)
    note("ends", name)


@background
async def sleep(name: str, seconds: float) -> None:
    """Takes a while."""
    note("begins", name)
    await asyncio.sleep(seconds)
    note("ends", name)


@background
async def block(name: str, seconds: float) -> None:
    """Holds up the event loop."""
    note("begins", name)
    time.sleep(seconds)
    note("ends", name)


@background
def hold_gil(name: str, seconds: float) -> None:
    """Lets no other thread of its process run, as some code in C does; but only the first time."""
    note("begins", name)
    with contextlib.suppress(FileExistsError):
        Path(os.environ[JOURNAL] + ".held").touch(exist_ok=False)
        ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
    note("ends", name)


@background
async def set_clock(name: str, ahead: float) -> None:
    """Sets the wall clock of its process."""
    set_wall_clock(ahead)
    note("set", name)


@background
async def kill(name: str) -> None:
    """Kills its process."""
    note("begins", name)
    os.kill(os.getpid(), signal.SIGKILL)


async def on_task_error(_ctx: TaskContext, error: BaseException) -> None:
    """Notes what hooks are told."""
    note("error", type(error).__name__)


async def work() -> None:
    """A worker with the settings of the environment, until SIGTERM."""
    processor = TaskProcessor(TaskProcessorSettings(on_task_error=on_task_error, on_task_failed_delay=None))
    async with processor:
        await stop_on_sigterm(processor)


async def stop_on_sigterm(processor: TaskProcessor) -> None:
    """Runs tasks until the signal comes."""
    worker = asyncio.create_task(processor.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.cancel)
    await asyncio.wait([worker])


if __name__ == "__main__":
    from tests.faults import jobs  # under the name by which tasks call it

    asyncio.run(jobs.work())
