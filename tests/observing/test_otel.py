"""Traces and metrics by OpenTelemetry."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id, get_current_span

from taskproc import ConfigurationError, TaskProcessor, TaskProcessorSettings, background, current_task, factories
from taskproc.otel import instrument
from tests.conftest import MakeSettings
from tests.kit import wait_until

KEY = "k" * 32


class Jobs:
    def __init__(self) -> None:
        self.traces: list[str] = []
        self.again: TaskProcessor | None = None

    def _note(self) -> None:
        self.traces.append(format_trace_id(get_current_span().get_span_context().trace_id))

    async def run(self) -> None:
        self._note()

    @background(queue="low")
    async def run_low(self) -> None:
        self._note()

    def run_in_thread(self) -> None:
        self._note()

    async def fail_first(self) -> None:
        self._note()
        if current_task().attempt == 1:
            raise ValueError("x" * 10_000)

    async def hand_on(self) -> None:
        self._note()
        await current_task().processor.enqueue(self.run)


class Traced:
    """A processor with one worker, and what was exported."""

    def __init__(self, settings: TaskProcessorSettings) -> None:
        self.jobs = Jobs()
        self.tasks = TaskProcessor(settings, scopes=factories({Jobs: lambda: self.jobs}))
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("app")
        self.reader = InMemoryMetricReader()
        meters = MeterProvider([self.reader], shutdown_on_exit=False)
        instrument(self.tasks, tracer_provider=provider, meter_provider=meters)

    async def processed(self, count: int) -> list[ReadableSpan]:
        """The spans of so many attempts."""
        await wait_until(lambda: len(self.spans("process")) == count, 10, f"{count} attempts")
        return self.spans("process")

    def spans(self, kind: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name.startswith(kind)]


def trace_of(span: ReadableSpan) -> int:
    """The id of its trace."""
    assert span.context is not None
    trace_id: int = span.context.trace_id
    return trace_id


def parents(spans: Sequence[ReadableSpan]) -> list[int | None]:
    """The ids of the spans that they are below of."""
    return [None if span.parent is None else span.parent.span_id for span in spans]


async def test_one_trace_from_request_to_attempt(settings: MakeSettings) -> None:
    """Sent within the request, run below what sent it; retries, threads and what a task enqueues are in it too."""
    traced = Traced(settings(signing_keys=[KEY]))
    async with traced.tasks as tasks:
        worker = asyncio.create_task(tasks.run())
        with traced.tracer.start_as_current_span("request") as request:
            for method in (traced.jobs.run_in_thread, traced.jobs.fail_first, traced.jobs.hand_on):
                await tasks.enqueue(method)
        spans = await traced.processed(5)
        await tasks.stop()
        await worker
    trace_id = request.get_span_context().trace_id
    assert {trace_of(span) for span in spans} == {trace_id}
    assert set(traced.jobs.traces) == {format_trace_id(trace_id)}
    sent = {span.context.span_id for span in traced.spans("send") if span.context is not None}
    assert set(parents(spans)) == sent
    assert {span.kind for span in spans} == {SpanKind.CONSUMER}
    about = [dict(span.attributes or {}) for span in spans]
    assert {(each["messaging.destination.name"], each["taskproc.tenant"]) for each in about} == {("default", "default")}
    called = {str(each["taskproc.call"]).rpartition(".")[2] for each in about}
    assert called == {"run_in_thread", "fail_first", "hand_on", "run"}


async def test_sending_names_the_queue(settings: MakeSettings) -> None:
    """That the task goes to, whoever said which: the call, the method, or the settings."""
    traced = Traced(settings())
    async with traced.tasks as tasks:
        sent = [
            await tasks.enqueue(traced.jobs.run),
            await tasks.enqueue(traced.jobs.run_low),
            await tasks.on("high").enqueue(traced.jobs.run_low),
        ]
        for task_id in sent:
            await tasks.cancel_task(task_id)
    spans = traced.spans("send")
    assert [span.name for span in spans] == ["send default", "send low", "send high"]
    named = [dict(span.attributes or {})["messaging.destination.name"] for span in spans]
    assert named == ["default", "low", "high"]


async def test_failed_attempt_is_an_error(settings: MakeSettings) -> None:
    """With its type, and a message of bounded length; the next attempt says that it is the second."""
    traced = Traced(settings())
    async with traced.tasks as tasks:
        worker = asyncio.create_task(tasks.run())
        await tasks.enqueue(traced.jobs.fail_first)
        first, second = await traced.processed(2)
        await tasks.stop()
        await worker
    assert (first.status.status_code, second.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    assert dict(first.attributes or {})["error.type"] == "ValueError"
    assert 0 < len(first.status.description or "") < 3_000
    assert [event.name for event in first.events] == ["exception"]
    assert dict(second.attributes or {})["taskproc.attempt"] == 2


async def test_tasks_of_a_batch_are_linked(settings: MakeSettings) -> None:
    """Each is a trace of its own, linked to the one that made the batch, in which the continuation is."""
    traced = Traced(settings())
    async with traced.tasks as tasks:
        worker = asyncio.create_task(tasks.run())
        with traced.tracer.start_as_current_span("request") as request:
            async with tasks.batch() as batch:
                batch.enqueue(traced.jobs.run)
                batch.enqueue(traced.jobs.run)
                batch.continue_with(traced.jobs.run_in_thread)
        spans = await traced.processed(3)
        await tasks.stop()
        await worker
    made = request.get_span_context()
    (sent,) = traced.spans("send")
    assert sent.context is not None
    assert (trace_of(sent), parents([sent])) == (made.trace_id, [made.span_id])
    assert dict(sent.attributes or {})["taskproc.batch.id"] == batch.id
    *members, continuation = spans
    assert len({trace_of(span) for span in members} | {made.trace_id}) == 3
    assert [[link.context.span_id for link in span.links] for span in members] == [[sent.context.span_id]] * 2
    assert (trace_of(continuation), parents([continuation])) == (made.trace_id, [sent.context.span_id])


@pytest.mark.parametrize("said", ["00-zz", "x" * 600, "", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
async def test_damaged_context_begins_a_trace(settings: MakeSettings, said: str) -> None:
    """Whatever stands in a record in its place, the task runs."""
    traced = Traced(settings())
    traced.tasks.tracing.carried = lambda: said  # type: ignore[union-attr, method-assign]
    async with traced.tasks as tasks:
        worker = asyncio.create_task(tasks.run())
        await tasks.enqueue(traced.jobs.run)
        (span,) = await traced.processed(1)
        await tasks.stop()
        await worker
    assert span.parent is None


async def test_batch_that_is_not_sent_is_an_error(settings: MakeSettings) -> None:
    """Its span ends whatever happens in the block, and nothing below it is left current."""
    traced = Traced(settings())
    async with traced.tasks as tasks:
        with suppress(LookupError):
            async with tasks.batch() as batch:
                batch.enqueue(traced.jobs.run)
                raise LookupError("no")
        await tasks.enqueue_batch("default", None, lambda batch: None)
    failed, sent = traced.spans("send")
    assert (failed.status.status_code, sent.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    assert parents([failed, sent]) == [None, None]
    assert not get_current_span().get_span_context().is_valid


async def test_metrics(settings: MakeSettings) -> None:
    """What was sent, what came of it, how long it ran and waited: by queue, without tenants."""
    traced = Traced(settings())
    async with traced.tasks as tasks:
        worker = asyncio.create_task(tasks.run())
        await tasks.on(tenant="acme").enqueue(traced.jobs.fail_first)
        await traced.processed(2)
        await tasks.stop()
        await worker
    found = traced.reader.get_metrics_data()
    assert found is not None
    (scope,) = found.resource_metrics[0].scope_metrics
    points = {metric.name: list(metric.data.data_points) for metric in scope.metrics}
    assert set(points) == {
        "messaging.client.sent.messages", "messaging.client.consumed.messages", "messaging.process.duration",
        "taskproc.task.wait.duration",
    }  # fmt: skip
    consumed: list[NumberDataPoint] = points["messaging.client.consumed.messages"]  # type: ignore[assignment]
    assert sorted(str((point.attributes or {})["taskproc.outcome"]) for point in consumed) == ["done", "retried"]
    assert "acme" not in str(points)


async def test_instrumented_once(settings: MakeSettings) -> None:
    """A second time, or too late, is an error that says where to do it."""
    traced = Traced(settings())
    with pytest.raises(ConfigurationError, match="once, before it connects"):
        instrument(traced.tasks)
    async with TaskProcessor(settings()) as connected:
        with pytest.raises(ConfigurationError, match="once, before it connects"):
            instrument(connected)
