"""The functions of the kit for tests that are not async, such as those with a `TestClient`.

They wait while the event loop of the processor does the work; it must run, in another thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, ParamSpec

from taskproc import testing
from taskproc.testing.idle import NOTHING

if TYPE_CHECKING:
    from taskproc.processor import TaskProcessor
    from taskproc.testing.report import Report
    from taskproc.testing.sent import EnqueuedTask, Expectation

__all__ = ["BlockingExpectation", "assert_enqueued", "enqueued", "expect", "lose_worker", "run_until_idle", "travel"]

P = ParamSpec("P")


def run_until_idle(
    processor: TaskProcessor,
    *,
    seconds: float = 10,
    queues: Sequence[str] | None = None,
    due_within: timedelta = NOTHING,
    raise_failures: bool = True,
) -> Report:
    """As `taskproc.testing.run_until_idle`."""
    __tracebackhide__ = True
    return processor.blocking.wait(
        testing.run_until_idle(
            processor, seconds=seconds, queues=queues, due_within=due_within, raise_failures=raise_failures
        )
    )


def enqueued(processor: TaskProcessor, *, queue: str | None = None, tenant: str | None = None) -> list[EnqueuedTask]:
    """As `taskproc.testing.enqueued`."""
    return processor.blocking.wait(testing.enqueued(processor, queue=queue, tenant=tenant))


def assert_enqueued(
    processor: TaskProcessor, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
) -> EnqueuedTask:
    """As `taskproc.testing.assert_enqueued`."""
    __tracebackhide__ = True
    return processor.blocking.wait(testing.assert_enqueued(processor, method, *args, **kwargs))


def expect(
    processor: TaskProcessor,
    queue: str | None = None,
    *,
    tenant: str | None = None,
    delay: timedelta | None = None,
    batch_id: str | None = None,
    count: int | None = None,
) -> BlockingExpectation:
    """As `taskproc.testing.expect`."""
    expectation = testing.expect(processor, queue, tenant=tenant, delay=delay, batch_id=batch_id, count=count)
    return BlockingExpectation(processor, expectation)


class BlockingExpectation:
    """What `expect` gives."""

    def __init__(self, processor: TaskProcessor, expectation: Expectation) -> None:
        self._processor = processor
        self._expectation = expectation

    def enqueued(self, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> list[EnqueuedTask]:
        """As `Expectation.enqueued`."""
        __tracebackhide__ = True
        return self._processor.blocking.wait(self._expectation.enqueued(method, *args, **kwargs))

    def enqueued_with_any(self, method: Callable[..., object], /) -> list[EnqueuedTask]:
        """As `Expectation.enqueued_with_any`."""
        __tracebackhide__ = True
        return self._processor.blocking.wait(self._expectation.enqueued_with_any(method))


def travel(processor: TaskProcessor, by: timedelta) -> None:
    """As `taskproc.testing.travel`."""
    processor.blocking.wait(testing.travel(processor, by))


def lose_worker(processor: TaskProcessor) -> None:
    """As `taskproc.testing.lose_worker`; also for `def` tasks."""
    processor.blocking.wait(testing.lose_worker(processor))
