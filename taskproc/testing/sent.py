"""What is enqueued, and whether it is what it should be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol

from taskproc.errors import TaskProcessorError
from taskproc.names import queue_name, tenant_name
from taskproc.records import Attempt
from taskproc.sealing import is_sealed, seal_of
from taskproc.testing.inside import check_loop, keys_of, storage_of
from taskproc.testing.saying import Reader, Said, short_call

if TYPE_CHECKING:
    from taskproc.models import TaskInfo
    from taskproc.processor import TaskProcessor

__all__ = ["EnqueuedTask", "Expectation", "assert_enqueued", "enqueued", "expect"]

P = ParamSpec("P")

PAGE = 500
AT_ONCE = 50
MOST_SHOWN = 20
TOLERANCE = timedelta(seconds=1)  # between the delay that is expected and the one that was meant


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueuedTask:
    """A task that waits to be run, or is run now."""

    task_id: str
    call: str
    """The name of the method, `module:Class.method`; the topic of what is no method call."""
    args: tuple[Any, ...]
    """As they will be passed: by position what may be; the payload alone when this process cannot read it."""
    kwargs: dict[str, Any]
    queue: str
    tenant: str
    state: Literal["ready", "delayed", "leased", "held"]
    """`held`: a continuation of a batch that has not ended as it should."""
    batch_id: str | None
    retries: int
    """Failures allowed."""
    enqueued_at: datetime
    due_at: datetime | None
    delay: timedelta | None
    """While it is delayed, or held: that with which it was enqueued."""

    def __str__(self) -> str:
        state = f"delayed by {self.delay}" if self.state == "delayed" else self.state
        return f"{short_call(self.call, self.args, self.kwargs)} in queue {self.queue}, tenant {self.tenant}, {state}"


@dataclass(frozen=True, slots=True)
class _Found:
    task: EnqueuedTask
    said: Said


async def enqueued(
    processor: TaskProcessor, *, queue: str | None = None, tenant: str | None = None
) -> list[EnqueuedTask]:
    """All tasks that wait or run, of a queue and a tenant if named: ready ones in serving order, then those that run,
    those that are delayed, the first due first, and continuations that wait for their batch.

    What has ended, or is dead, is not among them: look before a worker does, as with `use_hosted_service=False`.
    """
    check_loop(processor, "enqueued")
    return [found.task for found in await _find(processor, Reader(processor), queue, tenant)]


async def assert_enqueued(
    processor: TaskProcessor, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
) -> EnqueuedTask:
    """The task that calls `method` with these arguments; AssertionError showing what is enqueued instead.

    Arguments are compared by `==` after a way through Redis, so `unittest.mock.ANY` stands for whatever it may be.
    What is left out has its default. More may be asked with `expect`.
    """
    __tracebackhide__ = True
    check_loop(processor, "assert_enqueued")
    return (await expect(processor).enqueued(method, *args, **kwargs))[0]


def expect(
    processor: TaskProcessor,
    queue: str | None = None,
    *,
    tenant: str | None = None,
    delay: timedelta | None = None,
    batch_id: str | None = None,
    count: int | None = None,
) -> Expectation:
    """What a task must be, beside the call.

    As in `await expect(tasks, "mail", count=1).enqueued(ref(Mailer).send, "bob")`. With `delay` it must be delayed so
    long, to the second; `timedelta(0)` is not at all. `count` is how many there must be, 0 that there is none; without
    it one or more.
    """
    queue = None if queue is None else queue_name(queue)
    tenant = None if tenant is None else tenant_name(tenant)
    return Expectation(processor, queue, tenant, delay, batch_id, count)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What `expect` gives."""

    _processor: TaskProcessor
    _queue: str | None
    _tenant: str | None
    _delay: timedelta | None
    _batch_id: str | None
    _count: int | None

    async def enqueued(self, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> list[EnqueuedTask]:
        """The tasks that call `method` with these arguments; AssertionError if they are not as many as expected."""
        __tracebackhide__ = True
        reader = Reader(self._processor)
        expected = reader.expected(method, args, kwargs)
        return await self._check(reader, str(expected), lambda said: reader.are_same(said, expected, method))

    async def enqueued_with_any(self, method: Callable[..., object], /) -> list[EnqueuedTask]:
        """The tasks that call `method`, whatever their arguments."""
        __tracebackhide__ = True
        reader = Reader(self._processor)
        name = reader.name(method)
        return await self._check(reader, f"{name}(…)", lambda said: said.call == name)

    async def _check(self, reader: Reader, shown: str, fits: Callable[[Said], bool]) -> list[EnqueuedTask]:
        __tracebackhide__ = True
        check_loop(self._processor, "expect")
        there = await _find(self._processor, reader, None, None)
        matching = [found.task for found in there if fits(found.said) and self._fits(found.task)]
        if len(matching) == self._count or (self._count is None and matching):
            return matching
        raise AssertionError(self._message(shown, matching, [found.task for found in there]))

    def _fits(self, task: EnqueuedTask) -> bool:
        return (
            self._queue in (None, task.queue)
            and self._tenant in (None, task.tenant)
            and self._batch_id in (None, task.batch_id)
            and (self._delay is None or abs((task.delay or timedelta(0)) - self._delay) <= TOLERANCE)
        )

    def _message(self, shown: str, matching: Sequence[EnqueuedTask], there: Sequence[EnqueuedTask]) -> str:
        options = {
            "queue": self._queue, "tenant": self._tenant, "delayed by": self._delay, "batch": self._batch_id,
        }  # fmt: skip
        said = "".join(f", {name} {value}" for name, value in options.items() if value is not None)
        times = f"{len(matching)} times, not {self._count}" if matching else "not found"
        listed = "".join(f"\n  {task}" for task in there[:MOST_SHOWN]) or "\n  nothing"
        more = f"\n  and {len(there) - MOST_SHOWN} more" if len(there) > MOST_SHOWN else ""
        return f"{shown}{said}: {times}. What is enqueued:{listed}{more}"


class _Look(Protocol):
    def __call__(self, queue: str, skip: int, take: int, /) -> Awaitable[list[TaskInfo]]: ...


async def _find(processor: TaskProcessor, reader: Reader, queue: str | None, tenant: str | None) -> list[_Found]:
    infos = [info async for info in _infos(processor, queue) if tenant in (None, info.tenant)]
    found: list[_Found] = []
    for first in range(0, len(infos), AT_ONCE):
        page = infos[first : first + AT_ONCE]
        found += filter(None, await asyncio.gather(*(_read(processor, reader, info) for info in page)))
    return found


async def _infos(processor: TaskProcessor, queue: str | None) -> AsyncGenerator[TaskInfo]:
    names = [info.name for info in await processor.get_queues()] if queue is None else [queue_name(queue)]
    looks: tuple[_Look, ...] = (
        processor.get_tasks_in_queue, processor.get_running_tasks, processor.get_delayed_tasks,
    )  # fmt: skip
    for look in looks:
        for name in names:
            skip = 0
            while page := await look(name, skip, PAGE):
                for info in page:
                    yield info
                skip += PAGE
    async for info in _held(processor):
        if queue in (None, info.queue):
            yield info


async def _held(processor: TaskProcessor) -> AsyncGenerator[TaskInfo]:
    """Continuations that nothing has started."""
    command, keys = storage_of(processor).driver.command, keys_of(processor)
    for tenant in await processor.get_tenants():
        skip = 0
        while batches := await processor.get_batches(tenant, skip, PAGE):
            for batch in batches:
                for id_ in await command("LRANGE", f"{keys.batch(batch.id)}:then", 0, -1):
                    info = await processor.get_task(id_.decode())
                    if info is not None and info.state == "held":
                        yield info
            skip += PAGE


async def _read(processor: TaskProcessor, reader: Reader, info: TaskInfo) -> _Found | None:
    """None if it has ended meanwhile."""
    command, key = storage_of(processor).driver.command, keys_of(processor).task(info.task_id)
    data, wait = await command("HMGET", key, "d", "y")
    if data is None or info.state == "dead":
        return None
    said = reader.read(info.call, info.topic, _opened(processor, info, data))
    return _Found(
        EnqueuedTask(
            task_id=info.task_id, call=said.call, args=said.args, kwargs=said.kwargs, queue=info.queue,
            tenant=info.tenant, state=info.state, batch_id=info.batch_id, retries=info.retries,
            enqueued_at=info.enqueued_at, due_at=info.due_at, delay=_delay(info, wait),
        ),
        said,
    )  # fmt: skip


def _delay(info: TaskInfo, wait: bytes | None) -> timedelta | None:
    if wait:
        return timedelta(milliseconds=int(wait))
    return None if info.due_at is None else info.due_at - info.enqueued_at


def _opened(processor: TaskProcessor, info: TaskInfo, data: bytes) -> bytes:
    """What was sealed, as it was before, if there are keys for it."""
    seal = seal_of(processor.settings) if is_sealed(data) else None
    if seal is None:
        return data
    attempt = Attempt(
        id=info.task_id, queue=info.queue, tenant=info.tenant, call=info.call, data=data, topic=info.topic,
        enqueued_at=0, retries=0, invisibility=0, scheduled_for=0 if ":" in info.task_id else None,
    )  # fmt: skip
    try:
        return seal.open(attempt)
    except TaskProcessorError:
        return data
