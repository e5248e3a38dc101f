"""Metrics of a processor for Prometheus: `instrument(processor)`. Needs `taskproc[prometheus]`.

Counters and histograms are of this process; what stands in Redis (`taskproc_queue_tasks`, …) is the same wherever it is
asked for: take its maximum. Labels are bounded: no tenant, no task, and of queues the first hundred.
With PROMETHEUS_MULTIPROC_DIR the client's collector tells the counts of all processes; register `in_redis` beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

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

logger = logging.getLogger(__name__)

MOST_QUEUES = 100
OTHERS = "(others)"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Seconds."""


def instrument(processor: TaskProcessor, registry: CollectorRegistry = REGISTRY) -> PrometheusMetrics:
    """Counts in `registry` what the processor sends and runs. Called again, it returns the same.

    A registry shows one processor: the last that was instrumented or has started. ConfigurationError when another is
    connected, or this one is already.
    """
    for observer in processor.observers:
        if isinstance(observer, PrometheusMetrics) and observer.registry is registry:
            return observer
    if processor.connected:
        raise ConfigurationError("instrument() a processor before it connects: where it is made")
    made = PrometheusMetrics(processor, registry)
    processor.observers.append(made)
    return made


class PrometheusMetrics(Observer):
    """The metrics of one processor."""

    def __init__(self, processor: TaskProcessor, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._processor = processor
        self._queues: set[str] = set()
        self._sent = Counter("taskproc_tasks_sent", "Tasks that Redis accepted", ["queue"], registry=None)
        self._attempts = Counter("taskproc_attempts", "Attempts that ended", ["queue", "outcome"], registry=None)
        self._run = Histogram(
            "taskproc_attempt_seconds", "How long attempts ran", ["queue"], registry=None, buckets=BUCKETS
        )
        self._wait = Histogram(
            "taskproc_wait_seconds",
            "How long tasks had been ready when an attempt began",
            ["queue"],
            registry=None,
            buckets=BUCKETS,
        )
        self._in_redis = _InRedis()
        self._shown = _Shown(processor, [self._sent, self._attempts, self._run, self._wait], self._in_redis)
        self._told = False
        self.show()

    def show(self) -> None:
        """Puts them into the registry, if those of another processor have taken their place there. ConfigurationError
        when that processor is connected.
        """
        if self._shown.is_in_registry:
            return
        before = _in_registries.get(self.registry)
        if before is not None and before.is_connected:
            raise ConfigurationError(
                "this registry has the metrics of another processor, which is connected: give each a registry of its "
                "own, registry=CollectorRegistry()"
            )
        if before is not None:
            before.is_in_registry = False
            with suppress(KeyError):  # somebody has emptied the registry
                self.registry.unregister(before)
        try:
            self.registry.register(self._shown)
        except ValueError as error:
            raise ConfigurationError(
                f"this registry has other metrics of these names, {error}: pass another registry=CollectorRegistry()"
            ) from error
        _in_registries[self.registry] = self._shown
        self._shown.is_in_registry = True

    @property
    def in_redis(self) -> Collector:
        """What the last look has found; it is in the registry already."""
        return self._in_redis

    def sent(self, queue: str, count: int) -> None:
        self._sent.labels(self._label(queue)).inc(count)
        self._show_or_tell()

    def ended(self, attempt: Attempt, settled: Settled, *, retried: bool, seconds: float, waited: float) -> None:
        queue = self._label(attempt.queue)
        self._attempts.labels(queue, "retried" if retried else settled).inc()
        self._run.labels(queue).observe(seconds)
        self._wait.labels(queue).observe(waited)
        self._show_or_tell()

    def _show_or_tell(self) -> None:
        try:
            self.show()
        except ConfigurationError as error:
            if not self._told:
                logger.error("the metrics of a processor are not shown: %s", error)  # noqa: TRY400 - says all
            self._told = True

    async def look(self) -> None:
        """Brings what stands in Redis up to date, as before each scrape. StorageUnavailable when Redis is away: then
        nothing is told of it. ConfigurationError as `show()`.
        """
        self.show()
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


class _Shown(Collector):
    """What stands in a registry. It does not keep the processor alive, as registries live as long as the process."""

    def __init__(self, processor: TaskProcessor, counts: Sequence[Counter | Histogram], in_redis: _InRedis) -> None:
        self.is_in_registry = False
        self._processor = ref(processor)
        self._counts = counts
        self._in_redis = in_redis

    @property
    def is_connected(self) -> bool:
        processor = self._processor()
        return processor is not None and processor.connected

    def describe(self) -> Iterable[Metric]:
        """So that the registry knows their names."""
        return [metric for each in self._counts for metric in each.describe()]

    def collect(self) -> Iterable[Metric]:
        counts = [metric for each in self._counts for metric in each.collect()]
        return [*counts, *self._in_redis.collect()]


_in_registries: WeakKeyDictionary[CollectorRegistry, _Shown] = WeakKeyDictionary()


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
