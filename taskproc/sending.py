"""From a call with options to what is sent to Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec import structs

from taskproc.calls import PLAIN, Background, Calls
from taskproc.errors import EnqueueError, PayloadTooLarge
from taskproc.executor import Executor, JsonExecutor
from taskproc.models import TaskData
from taskproc.names import topic_text
from taskproc.options import Options, When, milliseconds
from taskproc.records import CALL, Attempt, NewTask
from taskproc.sealing import is_sealed

if TYPE_CHECKING:
    from taskproc.sealing import Seal
    from taskproc.settings import TaskProcessorSettings
    from taskproc.storage import Sending

__all__ = ["Sender"]


class Sender:
    """Names methods, encodes arguments and fills in defaults, for one processor."""

    def __init__(
        self,
        settings: TaskProcessorSettings,
        calls: Calls,
        executor: Executor,
        seal: Seal | None = None,
        trace: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._trace = trace
        self._settings = settings
        self._calls = calls
        self._executor = executor
        self._seal = seal
        self._own = isinstance(executor, JsonExecutor)
        topic = getattr(executor, "topic", CALL)
        self._topic = None if topic == CALL else topic_text(topic)

    def call(
        self,
        method: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options,
        id_: str | None = None,
        *,
        origin: str = "",
    ) -> Sending:
        """A task that calls `method`; without an id it is of the `origin` that `Attempt` knows. NotAllowed,
        InvalidArguments or PayloadTooLarge when it is refused.
        """
        name, background = self._describe(method)
        data = self._executor.serialize(method, args, kwargs)
        self._check_size(name, data)
        return self._sealed(self._task(name, options, background, id_), data, origin)

    def queue_of(self, method: Callable[..., object], options: Options) -> str:
        """The queue that a call of `method` goes to."""
        return self._queue(options, self._describe(method)[1])

    def _queue(self, options: Options, background: Background) -> str:
        return options.queue or background.queue or self._settings.default_queue

    def continuation(
        self,
        when: When,
        method: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options,
        *,
        origin: str,
    ) -> Sending:
        """A task that waits for the outcome of its batch; its delay counts from there."""
        task, data = self.call(method, args, kwargs, replace(options, delay=None, delay_until=None), origin=origin)
        return structs.replace(task, awaited=when, wait=options.after, wait_until=options.at), data

    def data(self, task: TaskData, options: Options, id_: str | None = None, *, origin: str = "") -> Sending:
        """A task that is not a method call."""
        if not isinstance(task, TaskData) or not isinstance(task.data, bytes) or not task.topic:
            raise EnqueueError(f"{repr(task)[:200]} is not a TaskData(topic='…', data=b'…') with a topic and bytes")
        topic = topic_text(task.topic)
        self._check_size(f"topic {topic!r}", task.data)
        named = structs.replace(self._task("", options, PLAIN, id_), topic=topic)
        return self._sealed(named, task.data, origin)

    def payload(self, attempt: Attempt, arguments: Mapping[str, Any]) -> bytes:
        """What a task that is there already is to be sent with instead; as `call`, and UnknownTask when its method is
        not known here.
        """
        if not isinstance(self._executor, JsonExecutor) or attempt.topic != CALL:
            raise EnqueueError(f"task {attempt.id} is no method call: it has no arguments that could be others")
        if self._seal is None and is_sealed(attempt.data):
            raise EnqueueError(
                f"the payload of task {attempt.id} is sealed, and workers would refuse one that is not: set "
                "signing_keys and encryption_keys as where it was enqueued"
            )
        data = self._executor.payload(attempt.call, arguments)
        self._check_size(attempt.call, data)
        task = NewTask(
            queue=attempt.queue, tenant=attempt.tenant, call=attempt.call, retries=attempt.retries,
            invisibility=attempt.invisibility,
        )  # fmt: skip
        return self._sealed(task, data, attempt.origin)[1]

    def _sealed(self, task: NewTask, data: bytes, origin: str) -> Sending:
        return task, data if self._seal is None else self._seal.close(task, data, task.id or origin)

    def _check_size(self, what: str, data: bytes) -> None:
        if len(data) > self._settings.max_payload:
            raise PayloadTooLarge(
                f"the payload of {what} takes {len(data):,} bytes, more than max_payload "
                f"({self._settings.max_payload:,}): store what is large elsewhere and pass its key"
            )

    def _describe(self, method: Callable[..., object]) -> tuple[str, Background]:
        target = self._calls.name(method) if self._own else self._calls.describe(method)
        return target.written, target.options

    def _task(self, call: str, options: Options, background: Background, id_: str | None) -> NewTask:
        settings = self._settings
        invisibility = options.invisibility or background.invisibility or settings.invisibility
        auto_extend = _first(options.auto_extend, background.auto_extend, settings.auto_extend)
        return NewTask(
            id=id_,
            queue=self._queue(options, background),
            tenant=options.tenant or settings.tenant,
            call=call,
            topic=self._topic,
            retries=options.retries or background.retries or settings.retries,
            invisibility=milliseconds(invisibility),
            auto_extend=1 if auto_extend else None,
            after=options.after,
            at=options.at,
            trace=self._trace(),
        )


def _first(*choices: bool | None) -> bool:
    return next((choice for choice in choices if choice is not None), False)
