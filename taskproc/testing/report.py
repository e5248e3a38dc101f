"""What ran."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskproc.errors import ArgumentsMismatch, MalformedTask, UnknownTask, WorkerLost
from taskproc.hooks import call_hook
from taskproc.testing.saying import Reader, short_call

if TYPE_CHECKING:
    from taskproc.context import AttemptOutcome, TaskContext
    from taskproc.processor import TaskProcessor

__all__ = ["RanAttempt", "Recorder", "Report", "TasksFailed", "recording"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RanAttempt:
    """One attempt at a task."""

    task_id: str
    call: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    queue: str
    tenant: str
    attempt: int
    """Which it was, from 1; attempts that went back uncounted do not count."""
    outcome: AttemptOutcome
    """`released`: it went back, as after the loss of its worker."""
    error: BaseException | None
    """Of a failed one."""
    will_retry: bool
    """It has failed, and the task gets another attempt."""

    def __str__(self) -> str:
        error = f": {self.error!r}" if self.error is not None else ""
        retried = ", to be tried again" if self.will_retry else ""
        shown = short_call(self.call, self.args, self.kwargs)
        return f"{shown} in queue {self.queue}, attempt {self.attempt} {self.outcome}{retried}{error}"


@dataclass(frozen=True, slots=True)
class Report:
    """The attempts that ended, in that order."""

    attempts: list[RanAttempt] = field(default_factory=list[RanAttempt])

    @property
    def done(self) -> list[RanAttempt]:
        return [one for one in self.attempts if one.outcome == "done"]

    @property
    def failed(self) -> list[RanAttempt]:
        """Those that failed for the last time."""
        return [one for one in self.attempts if one.outcome == "failed" and not one.will_retry]

    @property
    def retried(self) -> list[RanAttempt]:
        """Those that failed, and were to be tried again."""
        return [one for one in self.attempts if one.will_retry]

    def calls_of(self, method: Callable[..., object], processor: TaskProcessor) -> list[RanAttempt]:
        """The attempts to call a method."""
        name = Reader(processor).name(method)
        return [one for one in self.attempts if one.call == name]

    def raise_failures(self) -> None:
        """TasksFailed, from the first error, if a task has failed for the last time."""
        if self.failed:
            raise TasksFailed(self) from self.failed[0].error

    def __str__(self) -> str:
        return "\n".join(map(str, self.attempts)) or "nothing ran"


class TasksFailed(AssertionError):
    """Tasks failed for the last time; the first error is its cause, the rest is in `report`."""

    def __init__(self, report: Report) -> None:
        self.report = report
        lines = "".join(f"\n  {one}" for one in report.failed)
        super().__init__(f"{len(report.failed)} failed (pass raise_failures=False if they should):{lines}")


class Recorder:
    """Listens in on the hooks of the settings, in front of those that are set."""

    def __init__(self, processor: TaskProcessor) -> None:
        self.report = Report()
        self.open: set[int] = set()
        self._reader = Reader(processor)
        self._errors: dict[int, BaseException] = {}

    def started(self, ctx: TaskContext) -> None:
        self.open.add(id(ctx))

    def failed(self, ctx: TaskContext, error: BaseException) -> None:
        if isinstance(error, WorkerLost):  # nobody ends an attempt of a dead worker
            self._add(ctx, "failed", error)
        else:
            self._errors[id(ctx)] = error

    def ended(self, ctx: TaskContext) -> None:
        self.open.discard(id(ctx))
        self._add(ctx, ctx.outcome or "released", self._errors.pop(id(ctx), None))

    def _add(self, ctx: TaskContext, outcome: AttemptOutcome, error: BaseException | None) -> None:
        said = self._reader.read(ctx.call, ctx.topic, ctx.data)
        is_last = isinstance(error, WorkerLost) or _is_final(error) or ctx.retries_left == 0
        self.report.attempts.append(
            RanAttempt(
                task_id=ctx.task_id, call=said.call, args=said.args, kwargs=said.kwargs, queue=ctx.queue,
                tenant=ctx.tenant, attempt=ctx.attempt, outcome=outcome, error=error,
                will_retry=outcome == "failed" and not is_last,
            )
        )  # fmt: skip


def _is_final(error: BaseException | None) -> bool:
    """What no other attempt would change."""
    return isinstance(error, UnknownTask | ArgumentsMismatch | MalformedTask)


@contextmanager
def recording(processor: TaskProcessor) -> Generator[Recorder]:
    """Takes down what ends in the block."""
    recorder, settings = Recorder(processor), processor.settings
    start, error, end = settings.on_task_start, settings.on_task_error, settings.on_task_end

    async def on_start(ctx: TaskContext) -> None:
        recorder.started(ctx)
        await _go_on(processor, start, ctx)

    async def on_error(ctx: TaskContext, raised: BaseException) -> None:
        recorder.failed(ctx, raised)
        await _go_on(processor, error, ctx, raised)

    async def on_end(ctx: TaskContext) -> None:
        try:
            await _go_on(processor, end, ctx)
        finally:
            recorder.ended(ctx)

    settings.on_task_start, settings.on_task_error, settings.on_task_end = on_start, on_error, on_end
    try:
        yield recorder
    finally:
        settings.on_task_start, settings.on_task_error, settings.on_task_end = start, error, end


async def _go_on(processor: TaskProcessor, hook: Callable[..., Awaitable[object] | object] | None, *args: Any) -> None:
    """The hook that was set before, called as a worker would."""
    if hook is not None:
        await call_hook(hook, processor.settings.hook_timeout, *args)
