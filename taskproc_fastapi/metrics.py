"""A page for Prometheus: `app.include_router(metrics(processor))`. Needs `taskproc[prometheus]`."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Response
from redis.exceptions import RedisError

from taskproc import TaskProcessor
from taskproc.errors import ConfigurationError, TaskProcessorError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.registry import Collector

__all__ = ["metrics"]


def metrics(
    processor: TaskProcessor, *, path: str = "/metrics", registry: CollectorRegistry | None = None
) -> APIRouter:
    """A router with one page, the metrics of `taskproc.prometheus` and all others in the registry, by default that of
    the process. Protect it as other pages: `include_router(metrics(processor), dependencies=[…])`.

    Counts of what this process does, and what stands in Redis. A registry shows one processor, the last that was given
    to `metrics` or has started; ConfigurationError, here or when the app starts, while another is connected.

    With several processes behind one port set PROMETHEUS_MULTIPROC_DIR, as the official client asks for: then a page
    has the counts of all.
    """
    try:
        from prometheus_client import REGISTRY  # noqa: PLC0415
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

        from taskproc.prometheus import instrument  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError("metrics() needs the Prometheus client: pip install 'taskproc[prometheus]'") from error
    shown = registry or REGISTRY
    instruments = instrument(processor, shown)

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncGenerator[None]:
        instruments.show()
        yield

    router = APIRouter(include_in_schema=False, lifespan=lifespan)

    @router.get(path)
    async def show(accept: Annotated[str, Header()] = "") -> Response:
        instruments.show()
        with suppress(TaskProcessorError, RedisError):  # what this process has counted is still told
            await instruments.look()
        encode, content_type = choose_encoder(accept)
        return Response(encode(_collected(shown, instruments.in_redis)), media_type=content_type)

    return router


def _collected(registry: CollectorRegistry, in_redis: Collector) -> CollectorRegistry:
    """Of all processes that share the folder, where there is one."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return registry
    from prometheus_client import CollectorRegistry, multiprocess  # noqa: PLC0415

    together = CollectorRegistry()
    collector: Any = multiprocess.MultiProcessCollector
    collector(together)
    together.register(in_redis)
    return together
