"""A worker process that notes each cycle it runs, for the tests that need several."""

import asyncio
import os
import signal
import time

from taskproc import TaskProcessor, TaskProcessorSettings, background, current_task
from taskproc.storage import Storage

JOURNAL = "TEST_JOURNAL"
"""The environment variable that names the file of notes."""
FREEZE = "TEST_FREEZE"
"""Set: the process stops itself between its first look at what is due and the attempt to start it."""


def note(*words: object) -> None:
    """Appends a line, whole."""
    descriptor = os.open(os.environ[JOURNAL], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    os.close(descriptor)


@background
async def cycle() -> None:
    """Notes its instant, when it runs, and where."""
    ctx = current_task()
    assert ctx.scheduled_for is not None
    note("run", int(ctx.scheduled_for.timestamp() * 1000), int(time.time() * 1000), os.getpid())


def freeze_before_firing() -> None:
    """Stops this process once, when it is about to start a cycle."""
    fire = Storage.fire_schedule

    async def fire_later(self: Storage, *args: object, **kwargs: object) -> object:
        if os.environ.pop(FREEZE, ""):
            note("stops", 0, 0, os.getpid())
            os.kill(os.getpid(), signal.SIGSTOP)
        return await fire(self, *args, **kwargs)  # type: ignore[arg-type]

    Storage.fire_schedule = fire_later  # type: ignore[assignment,method-assign]


async def work() -> None:
    """Until SIGTERM."""
    freeze_before_firing()
    async with TaskProcessor(TaskProcessorSettings()) as processor:
        worker = asyncio.create_task(processor.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.cancel)
        await asyncio.wait([worker])


if __name__ == "__main__":
    from tests.schedules import jobs  # under the name by which tasks call it

    asyncio.run(jobs.work())
