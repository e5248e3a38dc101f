"""Connects a task processor with the life of a FastAPI app."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, cast
from weakref import WeakKeyDictionary

import fastapi
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from taskproc import ScheduleData, TaskProcessor, TaskProcessorSettings
from taskproc.calls import Aliases
from taskproc.errors import ConfigurationError
from taskproc.scopes import as_scopes
from taskproc_fastapi.container import container_resources, container_scopes, satisfy
from taskproc_fastapi.dashboard.mount import Rights, add_task_processor_dashboard
from taskproc_fastapi.dashboard.redaction import Redact
from taskproc_fastapi.graph import AnyContainer, AnyProvider

__all__ = ["FastAPI", "add_schedule", "add_task_processor", "add_task_processor_executor", "extend_fastapi"]

logger = logging.getLogger(__name__)

P = ParamSpec("P")

Settings = TaskProcessorSettings | Callable[[Any], TaskProcessorSettings] | TaskProcessor
Services = Mapping[type[Any], AnyProvider | Callable[[], object]]
Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def add_task_processor(
    app: fastapi.FastAPI,
    settings: Settings | None = None,
    *,
    container: AnyContainer | None = None,
    scopes: object | None = None,
    services: Services | None = None,
    aliases: Aliases | None = None,
) -> TaskProcessor:
    """Gives the app a processor, which is connected from startup to shutdown; routes get it as `Tasks`.

    `settings` are those of the processor, or a function that is given the container and returns them, or nothing: they
    come from the environment then. It may be a processor too, that of another app for one that is mounted; whichever
    of its apps starts first connects it, and closes it when it stops. Nobody starts a mounted app, so it needs this.

    Tasks get their services from a dependency-injector `container`, see `container_scopes` (also for `services`), or
    from other `scopes`: `taskproc.factories(…)`, a dishka container. The `Resource`s of the container are opened at
    startup and closed at shutdown, and each `Dependency(instance_of=TaskProcessor)` in it gets the processor: that of
    the app which started last. An app does not start while the processor of another is connected there.

    At startup: the processor connects, the container's resources open, the lifespans of the app and of its routers
    start, then the executor does; at shutdown all that in reverse. Nothing happens before, when the module is imported.

    `aliases` lead from old names of code to what it is now, see `TaskProcessor`.

    ConfigurationError when the app has a processor already, has started, or what is given does not go together.
    """
    _check(app, container, scopes, services)
    processor = _processor(settings, container, aliases)
    _check_not_started(app, processor)
    if container is not None:
        scopes = container_scopes(container, services)
        satisfy(container, processor)
    if scopes is not None:
        _give_scopes(processor, scopes)
    _plugins[app] = plugin = _Plugin(processor, container, _shared.setdefault(processor, _Shared()))
    plugin.attach(app)
    app.state.task_processor = processor
    return processor


def _check(app: fastapi.FastAPI, container: object, scopes: object, services: object) -> None:
    if app in _plugins:
        raise ConfigurationError("this app has a task processor already: call add_task_processor() once for each app")
    if container is not None and scopes is not None:
        raise ConfigurationError("container= and scopes= both say where services come from: pass one of them")
    if services is not None and container is None:
        raise ConfigurationError("services= names providers of a dependency-injector container: pass container= too")


def _check_not_started(app: fastapi.FastAPI, processor: TaskProcessor) -> None:
    if app.middleware_stack is not None and not processor.connected:  # Starlette makes it at the first call
        raise ConfigurationError(
            "this app has started already, so nobody would connect its processor: call add_task_processor() where the "
            "app is made, before it starts or answers a request; not in its lifespan"
        )


def add_task_processor_executor(app: fastapi.FastAPI) -> None:
    """Runs tasks in this process while the app is up, unless the settings say `use_hosted_service=False`.

    Of apps that share a processor any may ask for it: they run while the one that connects the processor is up.

    At shutdown running tasks may end within `shutdown_grace`; the rest is cancelled and handed back. ConfigurationError
    when the app has no processor, has started, or runs tasks already.
    """
    plugin = _plugins.get(app)
    if plugin is None:
        raise ConfigurationError("this app has no task processor: call add_task_processor() first")
    if plugin.executes:
        raise ConfigurationError("this app runs tasks already: call add_task_processor_executor() once for each app")
    if plugin.shared.up and not plugin.shared.executes:
        raise ConfigurationError(
            "this app has started already, so nothing would run tasks: call add_task_processor_executor() where the "
            "app is made, before it starts"
        )
    plugin.executes = plugin.shared.executes = True


def add_schedule(
    app: fastapi.FastAPI, schedule: ScheduleData, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
) -> None:
    """Declares a schedule of the app, see `TaskProcessor.add_schedule`: an app that starts its executor brings Redis up
    to date with what its code declares. ConfigurationError when the app has no processor.
    """
    plugin = _plugins.get(app)
    if plugin is None:
        raise ConfigurationError("this app has no task processor: call add_task_processor() first")
    plugin.processor.add_schedule(schedule, method, *args, **kwargs)


class FastAPI(fastapi.FastAPI):
    """`fastapi.FastAPI` with these methods declared for type checkers; at run time every FastAPI app has them."""

    def add_task_processor(
        self,
        settings: Settings | None = None,
        *,
        container: AnyContainer | None = None,
        scopes: object | None = None,
        services: Services | None = None,
        aliases: Aliases | None = None,
    ) -> TaskProcessor:
        """See the function `add_task_processor`."""
        return add_task_processor(
            self, settings, container=container, scopes=scopes, services=services, aliases=aliases
        )

    def add_task_processor_executor(self) -> None:
        """See the function `add_task_processor_executor`."""
        add_task_processor_executor(self)

    def add_schedule(
        self, schedule: ScheduleData, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """See the function `add_schedule`."""
        add_schedule(self, schedule, method, *args, **kwargs)

    def add_task_processor_dashboard(
        self,
        path: str = "/tasks",
        *,
        dependencies: Sequence[Any] = (),
        rights: Rights | None = None,
        allow_anonymous: bool = False,
        redact: Redact = None,
    ) -> None:
        """See the function `add_task_processor_dashboard`."""
        add_task_processor_dashboard(
            self, path, dependencies=dependencies, rights=rights, allow_anonymous=allow_anonymous, redact=redact
        )


def extend_fastapi() -> None:
    """Gives these methods to the stock `fastapi.FastAPI`."""
    stock: Any = fastapi.FastAPI
    stock.add_task_processor = add_task_processor
    stock.add_task_processor_executor = add_task_processor_executor
    stock.add_schedule = add_schedule
    stock.add_task_processor_dashboard = add_task_processor_dashboard


@dataclass(slots=True)
class _Shared:
    """What the apps of a processor have in common."""

    executes: bool = False
    up: int = 0
    """How many of them have started, executor included."""

    @contextmanager
    def one_more(self) -> Generator[None]:
        self.up += 1
        try:
            yield
        finally:
            self.up -= 1


class _Plugin:
    """The part of an app's life that belongs to its processor."""

    def __init__(self, processor: TaskProcessor, container: AnyContainer | None, shared: _Shared) -> None:
        self.processor = processor
        self.shared = shared
        self._container = container
        self._started = False
        self.executes = False

    def attach(self, app: fastapi.FastAPI) -> None:
        """Lets the app's lifespan run within that of the processor.

        A router that is included later adds its lifespan around the one that the app has by then, so the wrapping is
        done again, for that time only, when the app starts. The one done here serves those that start the app by
        `app.router.lifespan_context(app)`; there the executor starts before the lifespans of such routers.
        """
        router = app.router
        lifespan_of_router = router.lifespan
        router.lifespan_context = self._around(router.lifespan_context)

        async def lifespan(scope: AsgiScope, receive: Receive, send: Send) -> None:
            inner = router.lifespan_context

            def outer(started: Any) -> AbstractAsyncContextManager[Any]:
                router.lifespan_context = inner
                return self._around(inner)(started)

            router.lifespan_context = outer
            try:
                await lifespan_of_router(scope, receive, send)
            finally:
                if router.lifespan_context is outer:  # it did not come to a start
                    router.lifespan_context = inner

        cast("Any", router).lifespan = lifespan  # a method, replaced for this router

    def _around(self, inner: Lifespan) -> Lifespan:
        return lambda app: inner(app) if self._started else self._lifespan(inner, app)

    @asynccontextmanager
    async def _lifespan(self, inner: Lifespan, app: fastapi.FastAPI) -> AsyncGenerator[Any]:
        self._started = True
        try:
            async with AsyncExitStack() as stack:
                if not self.processor.connected:
                    await stack.enter_async_context(self.processor)
                if self._container is not None:
                    satisfy(self._container, self.processor, starting=True)
                    await stack.enter_async_context(container_resources(self._container))
                state = await stack.enter_async_context(inner(app))
                stack.enter_context(self.shared.one_more())
                if self.shared.executes and not self.processor.running:  # by another app of the processor
                    await stack.enter_async_context(_executing(self.processor))
                yield state
        finally:
            self._started = False


_plugins: WeakKeyDictionary[fastapi.FastAPI, _Plugin] = WeakKeyDictionary()
_shared: WeakKeyDictionary[TaskProcessor, _Shared] = WeakKeyDictionary()


@asynccontextmanager
async def _executing(processor: TaskProcessor) -> AsyncGenerator[None]:
    if not processor.settings.use_hosted_service:
        logger.info("use_hosted_service is off: this process runs no tasks")
        yield
        return
    running = asyncio.create_task(_run(processor), name="taskproc executor")
    try:
        await asyncio.sleep(0)  # lets it begin, so that it can be stopped
        yield
    finally:
        try:
            await processor.stop()
        finally:
            running.cancel()
            await asyncio.wait([running])
            processor.executes = False


async def _run(processor: TaskProcessor) -> None:
    processor.executes = True
    try:
        await processor.run()
        processor.executes = False  # somebody told it to stop
    except Exception:
        logger.critical("the executor has ended with an error: this process runs no more tasks", exc_info=True)


def _processor(settings: Settings | None, container: AnyContainer | None, aliases: Aliases | None) -> TaskProcessor:
    if isinstance(settings, TaskProcessor):
        if aliases is not None:
            raise ConfigurationError("aliases= belong to a processor: pass them where it is made")
        return settings
    if settings is None or isinstance(settings, TaskProcessorSettings):
        return TaskProcessor(settings, aliases=aliases)
    given: object = settings
    if not callable(given):
        kind = type(settings).__name__
        raise ConfigurationError(
            f"settings is a {kind}: pass TaskProcessorSettings(redis=…), a function that returns it, or nothing"
        )
    made: object = settings(container)
    if not isinstance(made, TaskProcessorSettings):
        raise ConfigurationError(f"settings={settings!r} returned {made!r}: it must return TaskProcessorSettings")
    return TaskProcessor(made, aliases=aliases)


def _give_scopes(processor: TaskProcessor, scopes: object) -> None:
    if processor.scopes is not None:
        raise ConfigurationError(
            "this processor has scopes already: pass container= or scopes= to one of its apps only"
        )
    processor.scopes = as_scopes(scopes)
