"""Whether this process is well: what it knows itself, and whether Redis answers. No look here waits for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from taskproc.errors import TaskProcessorError

if TYPE_CHECKING:
    from taskproc.looking import Looking
    from taskproc.settings import TaskProcessorSettings
    from taskproc.worker import Worker

__all__ = ["ProcessorStatus", "VitalSigns", "status_of"]

PATIENCE = 1.0  # seconds in which Redis has to answer


@dataclass(slots=True)
class VitalSigns:
    """What the parts of a worker note as they go: `time.monotonic()`, None before it has begun to fetch."""

    turned_at: float | None = None
    """The main loop."""
    swept_at: float | None = None
    """Maintenance, when it has looked for all that there is to do."""
    beaten_at: float | None = None
    """The heartbeat, when Redis has answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorStatus:
    """How a process is. Ages are seconds, None while no tasks are fetched."""

    live: bool
    """False when only a restart helps: what fetches tasks stands still or has ended. Redis may be away meanwhile."""
    ready: bool
    """There is no problem."""
    connected: bool
    redis: bool | None
    """Whether Redis answered within a second; None when it was not asked."""
    executes: bool
    """Whether this process is to run tasks."""
    running: bool
    """Whether it does."""
    turned: float | None
    """Since the loop that fetches tasks last turned."""
    swept: float | None
    """Since maintenance last looked for dead workers, overdue attempts and due tasks to the end."""
    beaten: float | None
    """Since Redis last answered a heartbeat."""
    stopping: bool
    """What runs may end; no more is fetched."""
    draining: bool | None
    """Somebody told this worker to fetch no more, which is no problem; None when Redis did not say."""
    paused: bool | None
    """Everything is paused, which is no problem; None when Redis did not say."""
    problems: list[str]
    """What is wrong, in words."""


async def status_of(
    settings: TaskProcessorSettings,
    worker: Worker | None,
    looking: Looking | None,
    *,
    executes: bool,
    ask_redis: bool,
) -> ProcessorStatus:
    """The status of a process with this worker, if it runs, which is connected, if it can look."""
    redis = paused = draining = None
    if looking is not None and ask_redis:
        redis = await looking.answers(PATIENCE)
        paused, draining = await _told(looking, worker) if redis else (None, None)
    ages = _Ages(settings, None if worker is None else worker.signs)
    problems = ["the processor is not connected: its app has not started, or has ended"] if looking is None else []
    if redis is False:
        problems.append(f"Redis does not answer within {PATIENCE:g} s")
    problems += _problems_of(worker, ages) if worker is not None else _MISSING if executes else []
    return ProcessorStatus(
        live=not (executes and (worker is None or ages.stands_still)),
        ready=not problems,
        connected=looking is not None,
        redis=redis,
        executes=executes,
        running=worker is not None,
        turned=ages.turned,
        swept=ages.swept,
        beaten=ages.beaten,
        stopping=worker is not None and worker.is_stopping,
        draining=draining,
        paused=paused,
        problems=problems,
    )


async def _told(looking: Looking, worker: Worker | None) -> tuple[bool | None, bool | None]:
    """Whether everything is paused, and whether the worker is drained."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await looking.is_paused(), worker is not None and await looking.is_drained(worker.id)
    except (TaskProcessorError, RedisError, OSError):
        return None, None


class _Ages:
    """How long ago each sign of life was, and how long is too long."""

    def __init__(self, settings: TaskProcessorSettings, signs: VitalSigns | None) -> None:
        signs, now = signs or VitalSigns(), time.monotonic()
        self.turned = _since(signs.turned_at, now)
        self.swept = _since(signs.swept_at, now)
        self.beaten = _since(signs.beaten_at, now)
        timeout = settings.worker_timeout.total_seconds()
        one_turn = 2 * settings.command_timeout.total_seconds()  # while Redis is away: all in it ends by itself
        self._longest_turn = settings.base_frequency.total_seconds() + one_turn + timeout
        self._longest_sweep = one_turn + 3 * timeout
        self._longest_beat = timeout

    @property
    def stands_still(self) -> bool:
        return self.turned is not None and self.turned > self._longest_turn

    @property
    def has_not_swept(self) -> bool:
        return self.swept is not None and self.swept > self._longest_sweep

    @property
    def is_mute(self) -> bool:
        """Others take it for dead."""
        return self.beaten is not None and self.beaten > self._longest_beat


def _since(then: float | None, now: float) -> float | None:
    return None if then is None else round(max(now - then, 0.0), 3)


_MISSING = ["this process should run tasks, and does not: the log says why"]


def _problems_of(worker: Worker, ages: _Ages) -> Iterator[str]:
    if worker.is_stopping:
        yield "the worker is stopping"
    if ages.stands_still:
        yield f"the worker has not looked for tasks for {ages.turned:.0f} s: restart it"
    if ages.is_mute:
        yield f"no heartbeat was answered for {ages.beaten:.0f} s: others take this worker for dead"
    if ages.has_not_swept:
        yield f"maintenance has failed for {ages.swept:.0f} s: the log says why"
