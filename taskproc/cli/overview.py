"""`taskproc status` and what `taskproc watch` repeats: everything in one look."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.console import Group, RenderableType
from rich.text import Text

from taskproc.cli.commands import Desk
from taskproc.cli.output import Column, Output, spaced
from taskproc.cli.rows import PAUSES, QUEUES, WORKERS, state_of
from taskproc.cli.target import address
from taskproc.cli.words import NOTHING, cell, count, length, noun, rate
from taskproc.models import PauseInfo, QueueInfo, WorkerInfo
from taskproc.processor import TaskProcessor
from taskproc.statistics import Durations, StatisticsPoint, emptying

__all__ = ["Overview", "Recent", "look", "show_status", "shown"]

SPAN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """What the last five minutes saw."""

    seconds: float
    done: int
    failed: int
    retried: int
    canceled: int
    released: int
    run_median: float | None
    run_95: float | None
    wait_median: float | None
    wait_95: float | None

    @property
    def per_second(self) -> float:
        """Tasks that ended."""
        return (self.done + self.failed + self.canceled) / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All in one look."""

    at: datetime
    server: str
    prefix: str
    paused: bool
    pauses: list[PauseInfo]
    recent: Recent
    rates: dict[str, float]
    """By queue: how many tasks ended per second."""
    empty_in: dict[str, float]
    """By queue: seconds until nothing is ready, where that can be told."""
    queues: list[QueueInfo]
    workers: list[WorkerInfo]


async def look(tasks: TaskProcessor) -> Overview:
    """How everything is now."""
    queues, workers, pauses, points, by_queue = await asyncio.gather(
        tasks.get_queues(),
        tasks.get_workers(),
        tasks.get_pauses(),
        tasks.get_statistics(SPAN),
        tasks.get_statistics_of_queues(SPAN),
    )
    at = datetime.now(UTC)
    return Overview(
        at=at,
        server=address(tasks.settings),
        prefix=tasks.settings.prefix,
        paused=any(pause.queue is None and pause.tenant is None for pause in pauses),
        pauses=pauses,
        recent=_recent(points, at),
        rates={queue.name: _recent(by_queue.get(queue.name, points[:0]), at).per_second for queue in queues},
        empty_in=_empty_in(queues, by_queue, at),
        queues=queues,
        workers=workers,
    )


def _empty_in(
    queues: Sequence[QueueInfo], by_queue: Mapping[str, Sequence[StatisticsPoint]], at: datetime
) -> dict[str, float]:
    moving = [queue for queue in queues if not queue.paused]
    found = {queue.name: emptying(by_queue.get(queue.name, ()), queue.length, at) for queue in moving}
    return {name: each.seconds for name, each in found.items() if each is not None}


def _recent(points: Sequence[StatisticsPoint], now: datetime) -> Recent:
    run = sum((point.run for point in points), Durations())
    wait = sum((point.wait for point in points), Durations())
    return Recent(
        seconds=max((now - points[0].at).total_seconds(), 1) if points else 1,
        done=sum(point.done for point in points),
        failed=sum(point.failed for point in points),
        retried=sum(point.retried for point in points),
        canceled=sum(point.canceled for point in points),
        released=sum(point.released for point in points),
        run_median=run.quantile(0.5),
        run_95=run.quantile(0.95),
        wait_median=wait.quantile(0.5),
        wait_95=wait.quantile(0.95),
    )


async def show_status(desk: Desk) -> None:
    """Shows queues, workers, pauses, and what the last five minutes saw."""
    found = await look(desk.processor)
    if desk.out.as_json:
        desk.out.json(found)
    else:
        desk.out.print(shown(found, desk.out))


def shown(overview: Overview, out: Output) -> RenderableType:
    """An overview for people."""
    served = {name for worker in overview.workers for name in worker.queues}
    return spaced(
        Group(_server(overview), *_recent_lines(overview.recent)),
        out.table(overview.pauses, PAUSES) if overview.pauses else None,
        out.table(overview.queues, [*QUEUES[:-1], *_flow(overview), _remark(served)]),
        out.table(overview.workers, WORKERS) if overview.workers else Text("No worker runs.", style="yellow"),
    )


def _server(overview: Overview) -> Text:
    slots = sum(worker.max_workers for worker in overview.workers)
    busy = sum(worker.running for worker in overview.workers)
    line = cell(overview.server, "bold").append_text(cell(f"  {overview.prefix}  ", "not bold dim"))
    line.append(f"{noun(len(overview.workers), 'worker')}, {count(busy)} of {noun(slots, 'slot')} busy", "not bold")
    return line.append("  everything is paused", "yellow") if overview.paused else line


def _recent_lines(recent: Recent) -> list[Text]:
    line = Text().append(f"last {length(SPAN)}", "dim")
    for number, word, style in (
        (recent.done, "done", "green"),
        (recent.failed, "failed", "red"),
        (recent.retried, "retried", "yellow"),
    ):
        line.append(f"  {count(number)} {word}", style if number else "dim")
    if recent.run_median is None:
        return [line]
    return [
        line,
        _spread("run", recent.run_median, recent.run_95).append_text(
            _spread("  waited", recent.wait_median, recent.wait_95)
        ),
    ]


def _spread(word: str, median: float | None, most: float | None) -> Text:
    """`run 12 ms median, 1.2 s 95 %`."""
    said = Text().append(f"{word} ", "dim").append(length(median)).append(" median, ", "dim")
    return said.append(length(most)).append(" 95 %", "dim")


def _flow(overview: Overview) -> list[Column[QueueInfo]]:
    """How fast each queue is worked off, and when it is empty."""

    def empty_in(queue: QueueInfo) -> str:
        return length(overview.empty_in.get(queue.name))

    def rate_of(queue: QueueInfo) -> str:
        per_second = overview.rates.get(queue.name)
        return rate(per_second) if per_second else NOTHING

    return [
        Column(head="rate", value=rate_of, number=True),
        Column(head="empty in", value=empty_in, number=True, extra=True),
    ]


def _remark(served: set[str]) -> Column[QueueInfo]:
    """What holds a queue up."""

    def remark(queue: QueueInfo) -> Text:
        if queue.paused:
            return state_of("paused")
        return Text("no worker", style="yellow") if queue.length and queue.name not in served else Text()

    return Column(head="", value=remark)
