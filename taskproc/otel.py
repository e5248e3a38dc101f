"""Traces and metrics of a processor by OpenTelemetry: `instrument(processor)`. Needs `taskproc[otel]`.

One trace leads from whoever enqueues a task, over its attempts, to what these enqueue in turn, and to the continuations
of batches. A task of a batch begins a trace of its own, linked to the one that made the batch: a trace of a million
spans would help nobody. Names are those of OpenTelemetry's conventions for messaging.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

try:
    from opentelemetry import context as contexts
    from opentelemetry import metrics, trace
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError as error:
    said = "taskproc.otel needs opentelemetry-api, which is not installed: pip install 'taskproc[otel]'"
    raise ModuleNotFoundError(said, name=error.name) from error

from taskproc.errors import ConfigurationError
from taskproc.failure import describe
from taskproc.observing import Observer

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

    from taskproc.context import TaskContext
    from taskproc.processor import TaskProcessor
    from taskproc.records import Attempt, Settled

__all__ = ["instrument"]

SYSTEM = "taskproc"
LONGEST = 512  # characters of a trace context that is heeded
_PROPAGATOR = TraceContextTextMapPropagator()


def instrument(
    processor: TaskProcessor,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Lets OpenTelemetry see what the processor sends and runs, with its global providers unless others are given.
    Call it before the processor connects; ConfigurationError when it is connected, or instrumented already.
    """
    if processor.tracing is not None or processor.connected:
        raise ConfigurationError("instrument() a processor once, before it connects: where it is made")
    processor.tracing = _Tracing(trace.get_tracer("taskproc", tracer_provider=tracer_provider))
    processor.observers.append(_Metrics(metrics.get_meter("taskproc", meter_provider=meter_provider)))


class _Tracing:
    """Spans around sending and running, and what leads from one to the other."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def carried(self) -> str | None:
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier.get("traceparent")

    @contextmanager
    def sending(self, queue: str, *, task: str | None = None, batch: str | None = None) -> Generator[None]:
        said = {"messaging.message.id": task, "taskproc.batch.id": batch}
        about = {**_sending(queue), **{name: value for name, value in said.items() if value is not None}}
        named = f"send {queue}".rstrip()  # what is appended to a batch goes where its tasks say
        with self._tracer.start_as_current_span(named, kind=SpanKind.PRODUCER, attributes=about):
            yield

    @contextmanager
    def running(self, ctx: TaskContext) -> Generator[None]:
        sender = _sender_of(ctx)
        of_batch = ctx.batch_id is not None and not ctx.is_continuation
        with self._tracer.start_as_current_span(
            f"process {ctx.queue}",
            context=contexts.Context() if of_batch or sender is None else sender,
            kind=SpanKind.CONSUMER,
            attributes=_about(ctx),
            links=_links(sender) if of_batch else (),
            record_exception=False,  # a message or traceback may have any length: _record bounds them
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                _record(span, error)
                raise


class _Metrics(Observer):
    """Counters and histograms."""

    def __init__(self, meter: metrics.Meter) -> None:
        self._sent = meter.create_counter(
            "messaging.client.sent.messages", unit="{message}", description="Tasks that Redis accepted"
        )
        self._ended = meter.create_counter(
            "messaging.client.consumed.messages", unit="{message}", description="Attempts that ended"
        )
        self._run = meter.create_histogram("messaging.process.duration", unit="s", description="How long attempts ran")
        self._wait = meter.create_histogram(
            "taskproc.task.wait.duration", unit="s", description="How long tasks had been ready when an attempt began"
        )

    def sent(self, queue: str, count: int) -> None:
        self._sent.add(count, _sending(queue))

    def ended(self, attempt: Attempt, settled: Settled, *, retried: bool, seconds: float, waited: float) -> None:
        outcome = "retried" if retried else settled
        of_queue = {"messaging.system": SYSTEM, "messaging.destination.name": attempt.queue}
        of_outcome = {**of_queue, "messaging.operation.name": "process", "taskproc.outcome": outcome}
        self._ended.add(1, of_outcome)
        self._run.record(seconds, of_outcome)
        self._wait.record(waited, of_queue)


def _sending(queue: str) -> Mapping[str, AttributeValue]:
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": queue,
    }


def _about(ctx: TaskContext) -> Mapping[str, AttributeValue]:
    said: dict[str, AttributeValue] = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": ctx.queue,
        "messaging.message.id": ctx.task_id,
        "taskproc.call": ctx.call or ctx.topic,
        "taskproc.tenant": ctx.tenant,
        "taskproc.attempt": ctx.attempt,
    }
    if ctx.batch_id is not None:
        said["taskproc.batch.id"] = ctx.batch_id
    if ctx.schedule_id is not None:
        said["taskproc.schedule.id"] = ctx.schedule_id
    return said


def _record(span: trace.Span, error: BaseException) -> None:
    failure = describe(error)
    span.set_attribute("error.type", failure.type)
    span.set_status(Status(StatusCode.ERROR, failure.message))
    said = {"type": failure.type, "message": failure.message, "stacktrace": failure.traceback}
    span.add_event("exception", {f"exception.{name}": text for name, text in said.items()})


def _sender_of(ctx: TaskContext) -> Context | None:
    """The context of who enqueued the task; None where that was not traced."""
    if ctx.trace is None or len(ctx.trace) > LONGEST:
        return None
    found = _PROPAGATOR.extract({"traceparent": ctx.trace}, context=contexts.Context())
    return found if trace.get_current_span(found).get_span_context().is_valid else None


def _links(sender: Context | None) -> list[Link]:
    return [] if sender is None else [Link(trace.get_current_span(sender).get_span_context())]
