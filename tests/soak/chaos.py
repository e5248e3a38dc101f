"""A soak: producers and workers, and everything that can happen to them; then peace, and a look at what is left."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

from taskproc import CURRENT, BatchInfo, ScheduleData, TaskProcessor, TaskProcessorSettings
from tests.faults.kit import environment, workers
from tests.kit.processes import ROOT
from tests.soak import history, jobs, producer
from tests.soak.books import PAUSES
from tests.soak.faults import Faults, Place
from tests.soak.plan import PRODUCERS, WORKERS, Step
from tests.soak.site import PREFIX, Site

WORKER_TIMEOUT = 2.0  # seconds
SCHEDULES = {"each-second": (1, 0.0), "every-third": (3, 0.0), "alone": (1, 1.4)}
"""Seconds from one cycle to the next, and how long each takes; one that takes long is unique."""
SETTLED = 100.0  # seconds in which everything has to end, a batch in parts of a killed producer too
LONG = 130.0  # seconds; only a soak as long as that has batches in parts: an open one is canceled after a minute
STALL = 0.5  # seconds by which this process is late when the machine has too much to do


class Chaos:
    """Runs for a while, and leaves a history in its folder."""

    def __init__(self, site: Site, directory: Path, seed: int, seconds: float, rows: Sequence[Sequence[Step]]) -> None:
        self.directory = directory
        self.old: Path | None = None
        """Where another revision of the package is, if every second process is to run that one."""
        self.printed: list[str] = []
        self._site = site
        self._rows = rows
        self._seed = seed
        self._seconds = seconds
        directory.mkdir(exist_ok=True)
        self._writer = history.Writer(directory)

    async def run(self) -> None:
        """All of it."""
        with ExitStack() as stack:
            places = [stack.enter_context(self._place(number)) for number in range(WORKERS + PRODUCERS)]
            async with TaskProcessor(self._settings(command_timeout=timedelta(seconds=30))) as tasks:
                for place in places:
                    place.start()
                    stack.callback(place.end)
                await workers(tasks, WORKERS)
                await self._schedule(tasks)
                async with self._watched():
                    await self._trouble(tasks, places)
                    await self._end(tasks, places)
        self._writer.close()

    def _settings(self, **more: object) -> TaskProcessorSettings:
        named = {"redis": self._site.url, "prefix": PREFIX, "use_cron_seconds": True, **more}
        return TaskProcessorSettings.model_validate(named)

    @contextmanager
    def _place(self, number: int) -> Generator[Place]:
        module = "tests.soak.jobs" if number < WORKERS else "tests.soak.producer"
        with self._site.proxy() or nullcontext() as proxy:
            url = self._site.url if proxy is None else proxy.url
            yield Place(module, self._environment(number, url), proxy)

    def _environment(self, number: int, url: str) -> dict[str, str]:
        """Of a process: settings, and where the package is."""
        dead, quick = timedelta(seconds=WORKER_TIMEOUT), timedelta(seconds=2)
        made = self._settings(
            redis=url, queues=list(jobs.QUEUES[:: 1 if number % 2 else -1]), max_workers=20, max_recoveries=1000,
            worker_timeout=dead, command_timeout=quick, base_frequency=quick / 2, pushback_frequency=quick / 2,
            shutdown_grace=quick / 4,
        )  # fmt: skip
        old = [str(self.old)] if self.old is not None and number % 2 else []
        return environment(made) | {
            history.DIRECTORY: str(self.directory),
            producer.SEED: f"{self._seed}.{number}",
            producer.PARTS: "1" if self._seconds >= LONG else "",
            "PYTHONPATH": os.pathsep.join([*old, str(ROOT)]),
        }

    async def _schedule(self, tasks: TaskProcessor) -> None:
        for id_, (period, takes) in SCHEDULES.items():
            schedule = ScheduleData(id=id_, cron=f"*/{period} * * * * *", unique=takes > 0)
            self._writer.note("scheduled", id=id_)
            await tasks.upsert_schedule(schedule, jobs.cycle, CURRENT, takes)
        self._began = time.time()

    async def _trouble(self, tasks: TaskProcessor, places: list[Place]) -> None:
        faults = Faults(self._site, places, self._writer, tasks)
        end = time.monotonic() + self._seconds

        async def go_through(row: Sequence[Step]) -> None:
            for step in row:
                if time.monotonic() < end and self._is_possible(step):  # some take longer than was planned
                    await faults.strike(step)

        async with asyncio.TaskGroup() as group:
            for row in self._rows:
                group.create_task(go_through(row))

    def _is_possible(self, step: Step) -> bool:
        """Revisions that know no pauses but those of everything do not heed them."""
        knows = self.old is None or (self.old / "taskproc" / "lua" / "_pause.lua").exists()
        return knows or step.kind not in PAUSES or step.kind == "pause"

    async def _settle(self, tasks: TaskProcessor, sent: list[str]) -> None:
        """Returns when everything has ended, and what was kept open by producers that are gone is forgotten."""
        end = time.monotonic() + SETTLED
        with self._site.client() as client:
            while left := await _unsettled(tasks, sent) or client.zrange(f"{PREFIX}:open", 0, -1):
                assert time.monotonic() < end, f"not within {SETTLED:g} s after all faults: the end of {left}"
                await asyncio.sleep(0.5)

    @asynccontextmanager
    async def _watched(self) -> AsyncGenerator[None]:
        """Writes down when the machine has so much to do that this process stands still."""

        async def watch() -> None:
            while True:
                before = history.now()
                await asyncio.sleep(0.1)
                if history.now() - before > 0.1 + STALL:
                    self._writer.note("fault", at=before, until=history.now(), pid=0, how="stall")

        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()

    async def _end(self, tasks: TaskProcessor, places: list[Place]) -> None:
        """Lets everything end, looks at all batches, and tidies up as an operator would."""
        for place in places[WORKERS:]:
            await asyncio.to_thread(place.stop)
        for id_, (period, takes) in SCHEDULES.items():
            how = "unique" if takes else ""
            self._writer.note("scheduled", at=self._began, until=time.time(), id=id_, attempt=period, how=how)
            await tasks.cancel_schedule(id_)
        sending = [event for event in history.read(self.directory) if event.what == "sending" and event.batch]
        sent = list(dict.fromkeys(event.batch for event in sending))
        await self._settle(tasks, sent)
        for id_ in sent:
            self._writer.note("looked", batch=id_, **_seen(await tasks.get_batch(id_)))
        for queue in jobs.QUEUES:
            await tasks.discard_dead_tasks(queue)
        for place in places[:WORKERS]:
            await asyncio.to_thread(place.stop)
        for place in places:
            place.end()
            self.printed.append(place.printed)


async def _unsettled(tasks: TaskProcessor, sent: list[str]) -> str:
    """What has not ended yet."""
    for name in jobs.QUEUES:
        queue = await tasks.get_queue(name)
        if queue.length + queue.running + queue.delayed:
            return str(queue)
    for id_ in sent:
        found = await tasks.get_batch(id_)
        if found is not None and found.end is None:
            return str(found)
    return ""


def _seen(info: BatchInfo | None) -> dict[str, object]:
    if info is None:
        return {}
    return {"how": info.state, "counts": [info.total, info.done, info.failed, info.canceled, info.remaining]}
