"""Counts what a worker does, and lets Redis add that up every few seconds.

A worker that is killed takes the counts of its last seconds with it: what must be exact stands in batches.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from taskproc.errors import TaskProcessorError
from taskproc.failure import message_of, one_line
from taskproc.observing import Observer
from taskproc.statistics import BOUNDS

if TYPE_CHECKING:
    from taskproc.records import Attempt, Settled
    from taskproc.storage import Storage

__all__ = ["Recorder"]

logger = logging.getLogger(__name__)

SENT_EVERY = 2.0  # seconds
SAMPLED_EVERY = 30.0  # seconds, between two looks at how much waits when nothing has ended
MOST_OUTCOMES = 500  # of schedules, told at a time


@dataclass(slots=True)
class _Counted:
    """What has ended in one queue and is not sent yet."""

    outcomes: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    run: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    wait: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    run_time: float = 0.0
    wait_time: float = 0.0

    def named(self) -> dict[str, int]:
        """As fields of a hash; times in milliseconds."""
        times = {"run": int(self.run_time * 1000), "wait": int(self.wait_time * 1000)}
        run = {f"run.{place}": count for place, count in enumerate(self.run) if count}
        wait = {f"wait.{place}": count for place, count in enumerate(self.wait) if count}
        return self.outcomes | times | run | wait


class Recorder(Observer):
    """Counts what one worker does."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._counted: defaultdict[str, _Counted] = defaultdict(_Counted)
        self._outcomes: dict[str, tuple[str, int]] = {}
        self._waited = 0.0

    def ended(self, attempt: Attempt, settled: Settled, *, retried: bool, seconds: float, waited: float) -> None:
        if settled == "stale":
            return
        counted = self._counted[attempt.queue]
        counted.outcomes["retried" if retried else settled] += 1
        counted.run[bisect_left(BOUNDS, seconds)] += 1
        counted.wait[bisect_left(BOUNDS, waited)] += 1
        counted.run_time += seconds
        counted.wait_time += waited
        if attempt.scheduled_for is not None and not retried and settled != "released":
            self._note_cycle(attempt.schedule_id or "", settled)

    def _note_cycle(self, schedule: str, settled: str) -> None:
        if len(self._outcomes) < MOST_OUTCOMES:
            self._outcomes[schedule] = settled, int(datetime.now(UTC).timestamp() * 1000)

    async def run(self) -> None:
        """A turn of the duty that sends what was counted."""
        await asyncio.sleep(SENT_EVERY)
        self._waited += SENT_EVERY
        if self._counted or self._waited >= SAMPLED_EVERY:
            await self.send()

    async def send(self) -> None:
        """Sends what was counted; what Redis does not take within `command_timeout` is lost."""
        self._waited = 0.0
        counts = {queue: counted.named() for queue, counted in self._counted.items()}
        outcomes = [[id_, settled, ended] for id_, (settled, ended) in self._outcomes.items()]
        self._counted, self._outcomes = defaultdict(_Counted), {}
        await self._storage.note_statistics(uuid.uuid4().hex[:16], counts, outcomes)

    async def close(self) -> None:
        """Sends the rest, if Redis takes it at once."""
        try:
            async with asyncio.timeout(SENT_EVERY):
                await self.send()
        except (RedisError, OSError, TaskProcessorError) as error:  # a TimeoutError is an OSError
            said = one_line(message_of(error))
            logger.warning("the last statistics of a worker are lost (%s: %s)", type(error).__name__, said)
