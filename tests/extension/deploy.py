"""A worker, or a producer, of one version of an application, on whichever version of the package its path leads to."""

import asyncio
import importlib
import os
import signal
import sys

from taskproc import TaskProcessor, TaskProcessorSettings, background, current_task

JOURNAL = "TEST_JOURNAL"


def note(word: str) -> None:
    """Appends what ran, by which version, at which attempt."""
    with open(os.environ[JOURNAL], "a", encoding="utf-8") as journal:  # noqa: PTH123 - a short line is written whole
        journal.write(f"{os.environ['TEST_VERSION']} {current_task().attempt} {word}\n")


@background
async def both(word: str) -> None:
    """Known to all."""
    await asyncio.sleep(0.002)
    note(word)


async def work() -> None:
    """Until SIGTERM."""
    async with TaskProcessor(TaskProcessorSettings()) as processor:
        worker = asyncio.create_task(processor.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.cancel)
        await asyncio.wait([worker])


async def produce(count: int) -> None:
    """Enqueues tasks that both versions know, and a batch of them with a continuation."""
    deploy = importlib.import_module("deploy")
    async with TaskProcessor(TaskProcessorSettings()) as processor:
        for number in range(count):
            await processor.enqueue(deploy.both, f"single-{number}")
        async with processor.batch(scope=os.environ["TEST_VERSION"]) as batch:
            for number in range(count):
                batch.enqueue(deploy.both, f"batched-{number}")
            batch.continue_with(deploy.both, "then")


if __name__ == "__main__":
    deploy = importlib.import_module("deploy")
    if os.environ.get("TEST_NEWER"):
        importlib.import_module("deploy_newer")
    asyncio.run(deploy.produce(int(sys.argv[1])) if len(sys.argv) > 1 else deploy.work())
