"""Metrics of a processor for Prometheus: `instrument(processor)`. Needs `taskproc[prometheus]`.

Counters and histograms are of this process; what stands in Redis (`taskproc_queue_tasks`, …) is the same wherever it is
asked for: take its maximum. Labels are bounded: no tenant, no task, and of queues the first hundred.
With PROMETHEUS_MULTIPROC_DIR the client's collector tells the counts of all processes; register `in_redis` beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
    from prometheus_client.core import GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    said = "taskproc.prometheus needs prometheus-client, which is not installed: pip install 'taskproc[prometheus]'"
    raise ModuleNotFoundError(said, name=error.name) from error

from taskproc.errors import ConfigurationError, TaskProcessorError
from taskproc.observing import Observer

if TYPE_CHECKING:
    from taskproc.models import QueueInfo, WorkerInfo
    from taskproc.processor import TaskProcessor
    from taskproc.records import Attempt, Settled

__all__ = ["PrometheusMetrics", "instrument"]

MOST_QUEUES = 100
OTHERS = "(others)"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Seconds."""


def instrument(processor: TaskProcessor, registry: CollectorRegistry = REGISTRY) -> PrometheusMetrics:
    """Counts in `registry` what the processor sends and runs. ConfigurationError when it is connected already, or the
    registry has metrics of another processor.
    """
    if processor.connected:
        raise ConfigurationError("instrument() a processor before it connects: where it is made")
    try:
        made = PrometheusMetrics(processor, registry)
    except ValueError as error:
        raise ConfigurationError(
            "this registry has the metrics of a processor already: pass another registry=CollectorRegistry()"
        ) from error
    processor.observers.append(made)
    return made


class PrometheusMetrics(Observer):
    """The metrics of one processor."""

    def __init__(self, processor: TaskProcessor, registry: CollectorRegistry) -> None:
        self._processor = processor
        self._queues: set[str] = set()
        self._sent = Counter("taskproc_tasks_sent", "Tasks that Redis accepted", ["queue"], registry=registry)
        self._attempts = Counter("taskproc_attempts", "Attempts that ended", ["queue", "outcome"], registry=registry)
        self._run = Histogram(
            "taskproc_attempt_seconds", "How long attempts ran", ["queue"], registry=registry, buckets=BUCKETS
        )
        self._wait = Histogram(
            "taskproc_wait_seconds",
            "How long tasks had been ready when an attempt began",
            ["queue"],
            registry=registry,
            buckets=BUCKETS,
        )
        self._in_redis = _InRedis()
        registry.register(self._in_redis)

    @property
    def in_redis(self) -> Collector:
        """What the last look has found; it is in the registry already."""
        return self._in_redis

    def sent(self, queue: str, count: int) -> None:
        self._sent.labels(self._label(queue)).inc(count)

    def ended(self, attempt: Attempt, settled: Settled, *, retried: bool, seconds: float, waited: float) -> None:
        queue = self._label(attempt.queue)
        self._attempts.labels(queue, "retried" if retried else settled).inc()
        self._run.labels(queue).observe(seconds)
        self._wait.labels(queue).observe(waited)

    async def look(self) -> None:
        """Brings what stands in Redis up to date, as before each scrape. StorageUnavailable when Redis is away: then
        nothing is told of it.
        """
        processor = self._processor
        try:
            queues, workers = await processor.get_queues(), await processor.get_workers()
            self._in_redis.note(queues[:MOST_QUEUES], workers, paused=await processor.is_paused())
        except (TaskProcessorError, RedisError):
            self._in_redis.forget()
            raise

    def _label(self, queue: str) -> str:
        if queue not in self._queues:
            if len(self._queues) >= MOST_QUEUES:
                return OTHERS
            self._queues.add(queue)
        return queue


class _InRedis(Collector):
    """Without the client's gauges, whose files for several processes would keep what is long gone."""

    def __init__(self) -> None:
        self._found: list[Metric] = []

    def collect(self) -> Iterable[Metric]:
        return self._found

    def forget(self) -> None:
        """Nobody knows."""
        self._found = []

    def note(self, queues: Sequence[QueueInfo], workers: Sequence[WorkerInfo], *, paused: bool) -> None:
        """What there is now."""
        slots = sum(worker.max_workers for worker in workers)
        lag = max((worker.lag or 0 for worker in workers), default=0)
        self._found = [
            *_of_queues(queues),
            GaugeMetricFamily("taskproc_paused", "1: everything is paused", value=paused),
            GaugeMetricFamily("taskproc_workers", "Workers that show signs of life", value=len(workers)),
            GaugeMetricFamily("taskproc_worker_slots", "Tasks that these can run at a time", value=slots),
            GaugeMetricFamily(
                "taskproc_event_loop_lag_seconds", "By how much the event loop of a worker was late, at most", value=lag
            ),
        ]


def _of_queues(queues: Sequence[QueueInfo]) -> list[Metric]:
    tasks = GaugeMetricFamily("taskproc_queue_tasks", "Tasks in Redis, by state", labels=["queue", "state"])
    oldest = GaugeMetricFamily(
        "taskproc_queue_oldest_seconds", "How long the task next in line has been ready", labels=["queue"]
    )
    paused = GaugeMetricFamily("taskproc_queue_paused", "1: the queue is paused", labels=["queue"])
    for queue in queues:
        counts = {
            "ready": queue.length, "running": queue.running, "delayed": queue.delayed, "dead": queue.deadletter,
        }  # fmt: skip
        for state, count in counts.items():
            tasks.add_metric([queue.name, state], count)
        waits = (datetime.now(UTC) - queue.oldest).total_seconds() if queue.oldest else 0
        oldest.add_metric([queue.name], max(waits, 0))
        paused.add_metric([queue.name], queue.paused)
    return [tasks, oldest, paused]
