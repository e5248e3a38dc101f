"""Routes that tell those who restart processes, or send them requests, how this one is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fastapi import APIRouter, Response

from taskproc import TaskProcessor
from taskproc.health import ProcessorStatus

__all__ = ["Liveness", "health"]

SECOND_LOOK = 0.2  # seconds: after the event loop, or the whole process, stood still, the worker comes next


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """What `/live` answers."""

    live: bool
    turned: float | None
    """Seconds since the loop that fetches tasks last turned; None while none are fetched."""


def health(processor: TaskProcessor) -> APIRouter:
    """`/live` and `/ready`, each 200 or 503: `app.include_router(health(processor), prefix="/health")`.

    `/live` fails when only a restart helps: the loop that should fetch tasks stands still, or has ended. It asks
    nobody, so it does not fail while Redis is away. `/ready` fails while there is any problem: the processor is not
    connected, Redis does not answer within a second, the worker does not run as it should, or is stopping. It answers
    a `ProcessorStatus`, which says what is wrong; there are no addresses or names in it.
    """
    router = APIRouter(tags=["health"])

    @router.get("/live", responses={503: {"model": Liveness}})
    async def live(response: Response) -> Liveness:
        """Whether this process should be left running."""
        status = await processor.status(ask_redis=False)
        if not status.live:
            await asyncio.sleep(SECOND_LOOK)
            status = await processor.status(ask_redis=False)
        _answer(response, good=status.live)
        return Liveness(live=status.live, turned=status.turned)

    @router.get("/ready", responses={503: {"model": ProcessorStatus}})
    async def ready(response: Response) -> ProcessorStatus:
        """Whether this process should be sent requests."""
        status = await processor.status()
        _answer(response, good=status.ready)
        return status

    return router


def _answer(response: Response, *, good: bool) -> None:
    response.status_code = 200 if good else 503
    response.headers["Cache-Control"] = "no-store"
