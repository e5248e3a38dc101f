"""What an application calls: enqueue, batches, cancel, pause, dead letters, looking; and `run()`, a worker."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, Unpack

from taskproc.batch import Batch, BatchContext, Build, fill
from taskproc.blocking import Blocking
from taskproc.calls import Aliases, Calls
from taskproc.connection import Connection, connect
from taskproc.context import TaskContext, is_below_task_of
from taskproc.doctor import Finding, check_server, examine
from taskproc.errors import ConfigurationError, NotConnected, StorageUnavailable, TaskProcessorError, UnknownTask
from taskproc.executor import Executor, JsonExecutor
from taskproc.failure import message_of, one_line
from taskproc.looking import Looking
from taskproc.models import ScheduleData, TaskData
from taskproc.names import id_text, queue_name, scope_text, tenant_name
from taskproc.observing import Observer
from taskproc.options import OnOptions, Options
from taskproc.schedules import Declared, Schedules, cron_of_valid
from taskproc.scopes import Scopes, as_scopes
from taskproc.sealing import seal_of
from taskproc.sending import Sender
from taskproc.settings import TaskProcessorSettings
from taskproc.steering import Steering
from taskproc.storage import OPEN_FOR_MS, Storage
from taskproc.threads import Threads
from taskproc.together import Together
from taskproc.tracing import Tracing
from taskproc.upload import OpenBatches, Upload
from taskproc.worker import Worker

if TYPE_CHECKING:
    from taskproc.attempt import Execute

__all__ = ["On", "TaskProcessor"]

P = ParamSpec("P")
logger = logging.getLogger(__name__)

PLAIN = Options()


@dataclass(frozen=True, slots=True)
class On:
    """Options for one task: `tasks.on("high", delay=…).enqueue(…)`."""

    _processor: TaskProcessor
    _options: Options

    async def enqueue(self, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> str:
        """As `TaskProcessor.enqueue`, with these options."""
        return await self._processor.enqueue_with(self._options, method, args, kwargs)


@dataclass(frozen=True, slots=True)
class _Open:
    """What there is while the processor is connected."""

    loop: asyncio.AbstractEventLoop
    connection: Connection
    storage: Storage
    together: Together
    looking: Looking
    open_batches: OpenBatches
    schedules: Schedules


class TaskProcessor(Steering):
    """Hands method calls to workers, and is one itself during `run()`. Connected inside `async with processor`.

    `scopes` give the services whose methods tasks call: `factories({…})`, a dishka container, or what a plugin makes
    of another. `aliases` lead from names that code had when tasks were enqueued to what it is now:
    `{"app.mail:Mailer.send": ref(Postman).deliver, "app.mail:Mailer": Postman}`; only what may be run anyway is run.
    """

    def __init__(
        self,
        settings: TaskProcessorSettings | None = None,
        *,
        scopes: object | None = None,
        executor: Executor | None = None,
        aliases: Aliases | None = None,
    ) -> None:
        given: object = settings
        if not isinstance(given, TaskProcessorSettings | None):
            kind = type(settings).__name__
            raise ConfigurationError(f"settings is a {kind}: pass TaskProcessorSettings(redis=…, …), or nothing")
        self.settings = TaskProcessorSettings() if settings is None else settings
        self.execute: Execute = self._execute
        """What a worker does with a task: opens a scope, lets the executor call the method. May be replaced."""
        self.observers: list[Observer] = []
        """Who is told what this processor sends and runs; add yours before it connects."""
        self.tracing: Tracing | None = None
        """Who traces tasks, see `taskproc.otel`."""
        self._given_executor = executor
        self._aliases = aliases
        self._threads: Threads | None = None
        self._declared: dict[str, Declared] = {}
        self._open: _Open | None = None
        self._worker: Worker | None = None
        self._worker_ended: asyncio.Event | None = None
        self._seal = seal_of(self.settings)
        self.scopes = None if scopes is None else as_scopes(scopes)

    # Life

    @property
    def scopes(self) -> Scopes | None:
        """Where services come from; may be set before a task is enqueued or run."""
        return self._scopes

    @scopes.setter
    def scopes(self, scopes: Scopes | None) -> None:
        self._scopes = scopes
        provides = None if scopes is None else scopes.provides
        calls = Calls(provides, self.settings.allowed_modules, self._aliases)
        self.executor: Executor = self._given_executor or JsonExecutor(calls)
        self._sender = Sender(self.settings, calls, self.executor, self._seal, self._carried)

    def _carried(self) -> str | None:
        return None if self.tracing is None else self.tracing.carried()

    async def __aenter__(self) -> Self:
        if self._open is not None:
            raise ConfigurationError("the processor is connected already: one `async with processor` at a time")
        self._check_declared()
        connection = await connect(self.settings)
        patience = self.settings.command_timeout.total_seconds()
        storage = Storage(connection, self.settings.prefix, patience, self.observers)
        try:
            await storage.open_store()
        except BaseException as error:
            await connection.close()
            if not isinstance(error, StorageUnavailable):
                raise
            why = str(error.__cause__ or error).rstrip(".")
            said = f"Redis at {connection.address} cannot be reached: {why}. Is it running?"
            raise StorageUnavailable(said) from error
        open_batches = OpenBatches(storage, OPEN_FOR_MS / 4000)
        looking = Looking(storage)
        schedules = Schedules(self.settings, storage, looking, lambda: self._sender)
        loop, together = asyncio.get_running_loop(), Together(storage)
        self._open = _Open(loop, connection, storage, together, looking, open_batches, schedules)
        return self

    def _check_declared(self) -> None:
        for id_, said in self._declared.items():
            try:
                self._sender.call(said.method, said.args, said.kwargs, PLAIN)
            except TaskProcessorError as error:
                raise ConfigurationError(f"schedule {id_!r} cannot be declared: {error}") from error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened = self._opened()
        try:
            await self.stop()
        finally:
            self._open = None
            await opened.together.close()
            await opened.open_batches.close()
            await opened.connection.close()

    @property
    def connected(self) -> bool:
        """Whether the processor may be used now."""
        return self._open is not None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop in which the processor is connected."""
        return None if self._open is None else self._open.loop

    async def examine(self) -> list[Finding]:
        """What will lose or hold up tasks, as `taskproc doctor` shows it."""
        return await examine(self, self._opened().storage)

    def _opened(self) -> _Open:
        if self._open is None:
            raise NotConnected(
                "the processor is not connected: use it inside `async with processor`, or while its app runs"
            )
        return self._open

    async def run(self) -> None:
        """Runs tasks of `settings.queues` until cancelled or `stop()`. Running ones may then end within
        `shutdown_grace`; the rest is cancelled and handed back.
        """
        opened = self._opened()
        if self._worker is not None:
            raise ConfigurationError("run() is running already: one worker for each processor")
        self._worker = worker = Worker(self, opened.connection, opened.storage, opened.looking, opened.schedules)
        self._worker_ended = asyncio.Event()
        running = asyncio.create_task(self._work(opened, worker))
        running.add_done_callback(self._after_work)
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            worker.stop()
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError:
                worker.hurry()  # cancelled again: what runs is handed back now
                raise
            raise

    def _after_work(self, running: asyncio.Task[None]) -> None:
        self._worker = None
        if self._worker_ended is not None:
            self._worker_ended.set()
        if not running.cancelled():
            running.exception()  # run() has raised it, unless it was cancelled

    async def _work(self, opened: _Open, worker: Worker) -> None:
        while not worker.is_stopping:
            try:
                await check_server(self.settings, opened.storage)
                await opened.storage.check_access()
                await opened.schedules.reconcile(list(self._declared.values()))
                break
            except StorageUnavailable as error:  # it was there when the processor connected, and will be again
                logger.warning("%s", one_line(message_of(error)))
        await worker.run()

    @property
    def running(self) -> bool:
        """Whether `run()` is running."""
        return self._worker is not None

    async def ended(self) -> None:
        """Returns when `run()` has ended, at once if it is not running."""
        if self._worker_ended is not None and self._worker is not None:
            await self._worker_ended.wait()
            await asyncio.sleep(0)  # run() returns a step later

    def request_stop(self) -> None:
        """Begins what `stop()` does and returns at once, as a signal handler must."""
        if self._worker is not None:
            self._worker.stop()

    async def stop(self) -> None:
        """Ends `run()`, and returns when it has ended; at once inside a task of its own, which has to end first."""
        await asyncio.sleep(0)  # a run() that was made a task a moment ago gets its first step
        self.request_stop()
        if not is_below_task_of(self):
            await self.ended()

    @property
    def attend(self) -> Execute:
        """`execute`, on payloads that are unsealed first, and traced."""
        return self.execute if self._seal is None and self.tracing is None else self._attend

    async def _attend(self, ctx: TaskContext) -> None:
        with nullcontext() if self.tracing is None else self.tracing.running(ctx):
            if self._seal is not None:
                ctx.unseal(self._seal.open)
            await self.execute(ctx)

    async def _execute(self, ctx: TaskContext) -> None:
        if self._scopes is None:
            await self.executor.invoke(ctx, _no_services)
            return
        async with self._scopes() as scope:
            await self.executor.invoke(ctx, scope.get)

    async def in_thread(self, ctx: TaskContext, function: Callable[[], Any]) -> Any:
        """What `function` returns, run for the task `ctx` in a thread of the processor."""
        if self._threads is None:
            self._threads = Threads(self.settings.max_workers)
        with ctx.leaving_loop():
            return await self._threads.submit(function)

    # Enqueue

    async def enqueue(self, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Hands the call to the background; the task's id. EnqueueError when it is refused, StorageUnavailable when
        Redis is away for longer than `command_timeout`.
        """
        return await self.enqueue_with(PLAIN, method, args, kwargs)

    async def enqueue_with(
        self, options: Options, method: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> str:
        """`on(…).enqueue(…)` without its types."""
        together, id_ = self._opened().together, uuid.uuid4().hex
        queue = "" if self.tracing is None else self._sender.queue_of(method, options)
        with nullcontext() if self.tracing is None else self.tracing.sending(queue, task=id_):
            await together.enqueue(self._sender.call(method, args, kwargs, options, id_))
        return id_

    def on(self, queue: str | None = None, **options: Unpack[OnOptions]) -> On:
        """Options for one task: `delay` or `delay_until` (aware; the past means now), `tenant`, `retries` (failures
        allowed), `invisibility`, `auto_extend`. They win over those of `@background`.
        """
        return On(self, Options.said(queue, options))

    @property
    def blocking(self) -> Blocking:
        """The calls for `def` routes and `def` tasks."""
        return Blocking(self)

    async def enqueue_task(self, queue: str | None, tenant: str | None, task: TaskData) -> str:
        """Hands a topic and bytes to `processor.execute` of a worker; the task's id."""
        together = self._opened().together
        id_ = uuid.uuid4().hex
        await together.enqueue(self._sender.data(task, Options(queue=queue, tenant=tenant), id_))
        return id_

    # Batches

    def batch(self, queue: str | None = None, *, tenant: str | None = None, scope: str = "") -> BatchContext:
        """`async with tasks.batch(…) as batch`: what is collected in the block is sent at its end, whole."""
        return BatchContext(*self.new_batch(queue, tenant, scope))

    async def enqueue_batch(self, queue: str | None, tenant: str | None, build: Build, *, scope: str = "") -> str:
        """Lets `build(batch)` fill a batch, and sends it; the batch's id."""
        batch, upload = self.new_batch(queue, tenant, scope)
        await fill(batch, upload, build)
        return batch.id

    async def append_batch(self, queue: str | None, tenant: str | None, batch_id: str, build: Build) -> bool:
        """Adds what `build(batch)` collects to a batch, which runs again if it had ended. False: no such batch, or it
        was canceled.
        """
        batch, upload = self.more_of_batch(queue, tenant, batch_id)
        return await fill(batch, upload, build)

    def new_batch(self, queue: str | None, tenant: str | None, scope: str) -> tuple[Batch, Upload]:
        """A batch to be filled, and what sends it."""
        queue = None if queue is None else queue_name(queue)
        scope = scope_text(scope)
        create = {"queue": queue or self.settings.default_queue, "scope": scope}
        return self._part_of_batch(queue, tenant, uuid.uuid4().hex, create)

    def more_of_batch(self, queue: str | None, tenant: str | None, batch_id: str) -> tuple[Batch, Upload]:
        """More of an existing batch, to be filled, and what sends it."""
        return self._part_of_batch(None if queue is None else queue_name(queue), tenant, id_text(batch_id), None)

    def _part_of_batch(
        self, queue: str | None, tenant: str | None, batch_id: str, create: dict[str, str] | None
    ) -> tuple[Batch, Upload]:
        opened = self._opened()
        tenant = tenant_name(tenant if tenant is not None else self.settings.tenant)
        upload = Upload(opened.storage, opened.open_batches, batch_id, tenant, create, tracing=self.tracing)
        return Batch(upload, self._sender, queue, tenant), upload

    # Schedules

    async def upsert_schedule(
        self, schedule: ScheduleData, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Calls `method` at each instant of `schedule.cron`; changes the schedule if it is there. With the same cron
        and time zone its next instant stays. TaskProcessorError when the id is another tenant's.
        """
        await self._opened().schedules.upsert(schedule, method, args, kwargs)

    def add_schedule(
        self, schedule: ScheduleData, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Declares a schedule, before the start. A worker that starts brings Redis up to date: declared schedules are
        added or changed, those that `settings.app_name` no longer declares are removed, all others stay as they are. A
        process that declares none removes none, unless its settings say `app_name`.
        """
        cron_of_valid(schedule, self.settings)
        if self.running:
            raise ConfigurationError(
                f"schedule {schedule.id!r} is declared while the worker runs: declare it before, or upsert_schedule()"
            )
        if schedule.id in self._declared:
            raise ConfigurationError(f"schedule {schedule.id!r} is declared twice: give each an id of its own")
        self._declared[schedule.id] = Declared(schedule, method, args, kwargs)

    async def trigger_schedule(self, schedule_id: str, tenant: str | None = None) -> bool:
        """Runs a schedule's task now; `next` stays. False: unknown, another tenant's, or unique and busy."""
        return await self._opened().schedules.trigger(schedule_id, tenant)

    async def cancel_schedule(self, schedule_id: str, tenant: str | None = None) -> bool:
        """Removes a schedule; a task that it started goes on. False: unknown or another tenant's."""
        return await self._opened().schedules.cancel(schedule_id, tenant)

    def _storage(self) -> Storage:
        return self._opened().storage

    def _looking(self) -> Looking:
        return self._opened().looking


def _no_services(service: type) -> Any:
    raise UnknownTask(f"this worker has no services, so none of type {service.__name__}: give the processor scopes=…")
