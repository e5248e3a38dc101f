"""What the workers of a soak run: tasks that write down when they begin and end, for which attempt."""

import asyncio
import sys

from taskproc import TaskContext, TaskProcessor, TaskProcessorSettings, background, current_task
from tests.faults.jobs import note, stop_on_sigterm


@background
async def step(name: str, seconds: float) -> None:
    """Takes its time; a name that ends in `?` fails at its first attempt."""
    note("begins", name)
    await asyncio.sleep(seconds)
    if name.endswith("?") and current_task().attempt == 1:
        note("fails", name)
        raise ValueError(name)
    note("ends", name)


@background
async def cycle(context: TaskContext) -> None:
    """Of a schedule: notes its instant."""
    instant = context.scheduled_for
    note("cycle", f"{0 if instant is None else instant.timestamp():.0f}@{context.task_id}")


async def work() -> None:
    """A worker with the settings of the environment, until SIGTERM."""
    async with TaskProcessor(TaskProcessorSettings(on_task_failed_delay=None)) as processor:
        await stop_on_sigterm(processor)


if __name__ == "__main__":
    from tests.soak import jobs  # under the name by which tasks call it

    sys.exit(asyncio.run(jobs.work()))
