"""Schedules fired by several processes: one task a cycle, whoever of them is frozen when."""

import asyncio
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from taskproc import ScheduleData, TaskProcessor, TaskProcessorSettings
from tests.conftest import MakeSettings
from tests.faults.kit import environment, workers
from tests.kit import Process, process, wait_until
from tests.schedules import jobs
from tests.schedules.kit import SELDOM, Clock, scheduled


@contextmanager
def worker(made: TaskProcessorSettings, journal: Path, **env: str) -> Generator[Process]:
    """A worker process, which ends in an orderly way."""
    variables = environment(made) | {jobs.JOURNAL: str(journal)} | env
    with process(["-m", "tests.schedules.jobs"], variables) as started:
        yield started
        assert started.terminate() == 0, started.log_end


def runs(journal: Path) -> list[tuple[int, int]]:
    """Of all cycles that ran: their instants, and when they ran, in milliseconds."""
    lines = [line.split() for line in journal.read_text().splitlines()] if journal.exists() else []
    return [(int(instant), int(at)) for what, instant, at, _pid in lines if what == "run"]


async def test_one_task_a_cycle_over_three_processes(settings: MakeSettings, tmp_path: Path) -> None:
    """Ten seconds of a schedule that fires every second: no cycle twice, none left out, each soon after its time."""
    made, journal = settings(use_cron_seconds=True), tmp_path / "journal"
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(worker(made, journal))
        async with TaskProcessor(made) as tasks:
            await workers(tasks, 3)
            async with scheduled(tasks, ScheduleData(id="tick", cron="* * * * * *"), jobs.cycle):
                await wait_until(lambda: len(runs(journal)) >= 10, 15, "ten cycles")
            await wait_until(lambda: _is_empty(tasks))
    ran = runs(journal)
    instants = [instant for instant, _ in ran]
    assert instants == list(range(instants[0], instants[0] + len(ran) * 1000, 1000))
    late = [at - instant for instant, at in ran]
    assert min(late) >= 0
    assert median(late) < 150
    assert max(late) < 1000


async def test_a_process_frozen_in_between_starts_nothing_late(
    settings: MakeSettings, clock: Clock, tmp_path: Path
) -> None:
    """It is stopped when it has read what is due; another starts that cycle, and it none of them when it goes on."""
    made, journal = settings(), tmp_path / "journal"
    async with TaskProcessor(made) as tasks, scheduled(tasks, ScheduleData(id="tick", cron=SELDOM), jobs.cycle):
        with worker(made, journal, **{jobs.FREEZE: "1"}) as frozen:
            await workers(tasks, 1)
            first = clock.fall_due("tick")
            await wait_until(lambda: _is_stopped(frozen), 10, "the process that stops itself")
            with worker(made, journal):
                await wait_until(lambda: len(runs(journal)) == 1, 15)
                second = clock.fall_due("tick")
                await wait_until(lambda: len(runs(journal)) == 2)
                frozen.thaw()
                third = clock.fall_due("tick")
                await wait_until(lambda: len(runs(journal)) == 3, 10)
                await asyncio.sleep(0.3)
                await wait_until(lambda: _is_empty(tasks))
    assert [instant for instant, _ in runs(journal)] == [first, second, third]


def _is_stopped(started: Process) -> bool:
    return Path(f"/proc/{started.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def _is_empty(tasks: TaskProcessor) -> bool:
    queue = await tasks.get_queue("default")
    return queue.length + queue.running == 0
