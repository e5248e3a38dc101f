"""Without FastAPI: a program that enqueues tasks, and runs them until it is told to end."""

import asyncio
import signal

from taskproc import TaskProcessor, TaskProcessorSettings, background, current_task, factories, ref


class Mailer:
    async def send(self, to: str, text: str) -> None:
        print(f"to {to}: {text}", flush=True)


def make_mailer() -> Mailer:
    """Called once for each task that needs a mailer."""
    return Mailer()


@background  # a function may be run once it is marked; methods of services need no mark
def resize(path: str, width: int = 800) -> None:
    """A `def` task: it runs in a thread, and may block."""
    print(f"{path}: {width} pixels wide, attempt {current_task().attempt}", flush=True)


async def main() -> None:
    """Runs tasks until the program is told to end (Ctrl-C, SIGTERM); those that run then may finish."""
    told_to_end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)

    processor = TaskProcessor(TaskProcessorSettings(redis="embedded"), scopes=factories({Mailer: make_mailer}))
    async with processor, asyncio.TaskGroup() as group:
        async with processor.batch(scope="Holiday pictures") as batch:
            for name in ("beach.png", "boat.png", "bar.png"):
                batch.enqueue(resize, name, width=1024)
            batch.continue_with(ref(Mailer).send, "bob@example.com", "Your pictures are ready.")
        group.create_task(processor.run())
        await told_to_end.wait()
        await processor.stop()


if __name__ == "__main__":
    asyncio.run(main())
