"""Metrics of a processor for Prometheus: `instrument(processor)`. Needs `taskproc[prometheus]`.

Counters and histograms are of this process; what stands in Redis (`taskproc_queue_tasks`, …) is the same wherever it is
asked for: take its maximum. Labels are bounded: no tenant, no task, and of queues the first hundred.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from taskproc.errors import ConfigurationError
from taskproc.observing import Observer

if TYPE_CHECKING:
    from taskproc.models import QueueInfo
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
        self._tasks = _gauge("taskproc_queue_tasks", "Tasks in Redis, by state", registry, "queue", "state")
        self._oldest = _gauge(
            "taskproc_queue_oldest_seconds", "How long the task next in line has been ready", registry, "queue"
        )
        self._paused = _gauge("taskproc_queue_paused", "1: the queue is paused", registry, "queue")
        self._workers = _gauge("taskproc_workers", "Workers that show signs of life", registry)
        self._slots = _gauge("taskproc_worker_slots", "Tasks that these can run at a time", registry)
        self._all_paused = _gauge("taskproc_paused", "1: everything is paused", registry)
        self._lag = _gauge(
            "taskproc_event_loop_lag_seconds", "By how much the event loop of a worker was late, at most", registry
        )

    def sent(self, queue: str, count: int) -> None:
        self._sent.labels(self._label(queue)).inc(count)

    def ended(self, attempt: Attempt, settled: Settled, *, retried: bool, seconds: float, waited: float) -> None:
        queue = self._label(attempt.queue)
        self._attempts.labels(queue, "retried" if retried else settled).inc()
        self._run.labels(queue).observe(seconds)
        self._wait.labels(queue).observe(waited)

    async def look(self) -> None:
        """Brings what stands in Redis up to date, as before each scrape. StorageUnavailable when Redis is away."""
        processor = self._processor
        queues, workers = await processor.get_queues(), await processor.get_workers()
        self._all_paused.set(await processor.is_paused())
        self._workers.set(len(workers))
        self._slots.set(sum(worker.max_workers for worker in workers))
        self._lag.set(max((worker.lag or 0 for worker in workers), default=0))
        self.forget()
        for queue in queues[:MOST_QUEUES]:
            self._show(queue)

    def forget(self) -> None:
        """Takes back what is said of queues."""
        for gauge in (self._tasks, self._oldest, self._paused):
            gauge.clear()

    def _show(self, queue: QueueInfo) -> None:
        counts = {"ready": queue.length, "running": queue.running, "delayed": queue.delayed, "dead": queue.deadletter}
        for state, count in counts.items():
            self._tasks.labels(queue.name, state).set(count)
        waits = (datetime.now(UTC) - queue.oldest).total_seconds() if queue.oldest else 0
        self._oldest.labels(queue.name).set(max(waits, 0))
        self._paused.labels(queue.name).set(queue.paused)

    def _label(self, queue: str) -> str:
        if queue not in self._queues:
            if len(self._queues) >= MOST_QUEUES:
                return OTHERS
            self._queues.add(queue)
        return queue


def _gauge(name: str, says: str, registry: CollectorRegistry, *labels: str) -> Gauge:
    """Of several processes of one host that share it, the one that looked last is right."""
    return Gauge(name, says, labels, registry=registry, multiprocess_mode="mostrecent")
