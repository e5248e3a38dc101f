"""What is going on, in one look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from taskproc import BatchInfo, WorkerInfo
from taskproc.doctor import Finding, Level
from taskproc.statistics import Durations, StatisticsPoint
from taskproc_fastapi.dashboard.bounded import Amount, Counts, queues_of, total
from taskproc_fastapi.dashboard.charts import Chart, axis_of, charts_of, merged
from taskproc_fastapi.dashboard.view import Page, View

__all__ = ["LATELY", "Speed", "alive", "findings_of", "is_unserved", "now_of", "show", "speed"]

SPANS = {"1h": timedelta(hours=1), "3h": timedelta(hours=3), "24h": timedelta(hours=24), "72h": timedelta(hours=72)}
LATELY = timedelta(minutes=15)
MINUTES = 5
STATISTICS_LAST = 30.0  # seconds
FINDINGS_LAST = 30.0  # seconds: the doctor asks the server many things
MOST_QUEUES, MOST_BATCHES = 8, 8
WORST_FIRST: tuple[Level, ...] = ("error", "warning", "advice", "ok")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What the last minutes saw."""

    per_second: float
    """Tasks that left the queues: done, dead or canceled."""
    failed: float
    """The share of attempts that failed, from 0 to 1."""
    run: float | None
    wait: float | None
    """Seconds within which 95 % of attempts ran, and began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All that the page shows; without points for viewers of one tenant."""

    span: str
    spans: list[str]
    ready: Amount
    running: Amount
    delayed: Amount
    dead: Amount
    oldest: datetime | None
    speed: Speed | None
    workers: list[WorkerInfo]
    """Those that live; none are shown to viewers of one tenant."""
    slots: int
    draining: int
    """How many of those fetch nothing more."""
    queues: list[Counts]
    more_queues: int
    unserved: set[str]
    """Queues that have tasks, and no worker."""
    charts: list[Chart]
    axis: list[datetime]
    points: list[StatisticsPoint]
    findings: list[Finding]
    batches: list[BatchInfo]


async def show(view: View) -> Page:
    span = view.one_of("span", tuple(SPANS))
    queues = sorted(await queues_of(view), key=lambda each: -each.ready.number)
    whole = view.tenant is None
    points = await _points(view, SPANS[span]) if whole else []
    workers = alive(await view.processor.get_workers()) if whole else []
    data = Overview(
        span=span,
        spans=list(SPANS),
        ready=total([each.ready for each in queues]),
        running=total([each.running for each in queues]),
        delayed=total([each.delayed for each in queues]),
        dead=total([each.dead for each in queues]),
        oldest=min((each.oldest for each in queues if each.oldest), default=None),
        speed=speed(await view.processor.get_statistics(LATELY)) if whole else None,
        workers=workers,
        slots=sum(worker.max_workers for worker in workers),
        draining=sum(worker.draining for worker in workers),
        queues=queues[:MOST_QUEUES],
        more_queues=max(len(queues) - MOST_QUEUES, 0),
        unserved={each.name for each in queues if whole and is_unserved(each, workers)},
        charts=charts_of(points, now_of(queues)),
        axis=axis_of(points),
        points=points[::-1],
        findings=await _complaints(view) if whole else [],
        batches=[] if view.tenant is None else await view.processor.get_batches(view.tenant, 0, MOST_BATCHES),
    )
    return Page(template="overview.html", title="Overview", data=data)


async def _points(view: View, span: timedelta) -> list[StatisticsPoint]:
    """As many as a chart has; of a long span, which take a while to add up, at most half a minute old."""

    async def look() -> list[StatisticsPoint]:
        return merged(await view.processor.get_statistics(span))

    if span <= SPANS["1h"]:
        return await look()
    return await view.shared.remembered.get(f"statistics {span}", STATISTICS_LAST, look)


def alive(workers: Sequence[WorkerInfo]) -> list[WorkerInfo]:
    now = datetime.now(UTC)
    return [worker for worker in workers if worker.alive_until > now]


def now_of(queues: Sequence[Counts]) -> dict[str, int]:
    """How many tasks are in each state, for the charts."""
    return {
        "ready": sum(each.ready.number for each in queues),
        "running": sum(each.running.number for each in queues),
        "delayed": sum(each.delayed.number for each in queues),
        "dead": sum(each.dead.number for each in queues),
    }


def is_unserved(queue: Counts, workers: Sequence[WorkerInfo]) -> bool:
    """Whether it has tasks, and no worker that lives serves it."""
    return bool(queue.ready or queue.delayed) and not any(queue.name in each.queues for each in alive(workers))


def speed(points: Sequence[StatisticsPoint]) -> Speed:
    """Over the last five minutes and the one that is under way."""
    lately = points[-MINUTES - 1 :]
    lasted = (datetime.now(UTC) - lately[0].at).total_seconds() if lately else 1.0
    attempts = sum(point.done + point.failed + point.retried for point in lately)
    ended = sum(point.done + point.failed + point.canceled for point in lately)
    run, wait = Durations(), Durations()
    for point in lately:
        run, wait = run + point.run, wait + point.wait
    return Speed(
        per_second=ended / max(lasted, 1.0),
        failed=sum(point.failed + point.retried for point in lately) / max(attempts, 1),
        run=run.quantile(0.95),
        wait=wait.quantile(0.95),
    )


async def findings_of(view: View) -> list[Finding]:
    """What the doctor says, the worst first; asked now and then only."""
    found = await view.shared.remembered.get("findings", FINDINGS_LAST, view.processor.examine)
    return sorted(found, key=lambda finding: WORST_FIRST.index(finding.level))


async def _complaints(view: View) -> list[Finding]:
    return [finding for finding in await findings_of(view) if finding.level != "ok"]
