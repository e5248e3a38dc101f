"""What is going on, in one look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from taskproc import BatchInfo, WorkerInfo
from taskproc.doctor import Finding, Level
from taskproc.statistics import Durations, StatisticsPoint
from taskproc_fastapi.dashboard.bounded import Amount, Counts, queues_of
from taskproc_fastapi.dashboard.charts import Chart, axis_of, charts_of, merged
from taskproc_fastapi.dashboard.view import Page, View

__all__ = ["LATELY", "Speed", "alive", "findings_of", "show", "speed"]

SPANS = {"1h": timedelta(hours=1), "3h": timedelta(hours=3), "24h": timedelta(hours=24), "72h": timedelta(hours=72)}
LATELY = timedelta(minutes=15)
MINUTES = 5
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
    slots: int
    queues: list[Counts]
    more_queues: int
    charts: list[Chart]
    axis: list[datetime]
    points: list[StatisticsPoint]
    findings: list[Finding]
    batches: list[BatchInfo]


async def show(view: View) -> Page:
    span = view.one_of("span", tuple(SPANS))
    queues = sorted(await queues_of(view), key=lambda each: -each.ready.number)
    whole = view.tenant is None
    points = merged(await view.processor.get_statistics(SPANS[span])) if whole else []
    workers = alive(await view.processor.get_workers())
    data = Overview(
        span=span,
        spans=list(SPANS),
        ready=_total([each.ready for each in queues]),
        running=_total([each.running for each in queues]),
        delayed=_total([each.delayed for each in queues]),
        dead=_total([each.dead for each in queues]),
        oldest=min((each.oldest for each in queues if each.oldest), default=None),
        speed=speed(await view.processor.get_statistics(LATELY)) if whole else None,
        workers=workers,
        slots=sum(worker.max_workers for worker in workers if not worker.draining),
        queues=queues[:MOST_QUEUES],
        more_queues=max(len(queues) - MOST_QUEUES, 0),
        charts=charts_of(points) if points else [],
        axis=axis_of(points),
        points=points[::-1],
        findings=await _complaints(view) if whole else [],
        batches=[] if view.tenant is None else await view.processor.get_batches(view.tenant, 0, MOST_BATCHES),
    )
    return Page(template="overview.html", title="Overview", data=data)


def alive(workers: Sequence[WorkerInfo]) -> list[WorkerInfo]:
    now = datetime.now(UTC)
    return [worker for worker in workers if worker.alive_until > now]


def _total(amounts: Sequence[Amount]) -> Amount:
    return sum(amounts, Amount(0))


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
