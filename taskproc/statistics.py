"""How much was done, how fast, over the last three days: what the hashes that workers add to tell."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate

__all__ = [
    "BOUNDS",
    "TIERS",
    "Durations",
    "Emptying",
    "StatisticsPoint",
    "Tier",
    "emptying",
    "points_by_queue",
    "points_from",
    "tier_for",
]

BOUNDS = tuple(0.001 * 2 ** (step / 2) for step in range(47))
"""Upper bounds of the buckets of durations, in seconds: from a millisecond, by the square root of two, to two hours."""


@dataclass(frozen=True, slots=True)
class Tier:
    """How fine statistics are, and for how long they are kept so."""

    seconds: int
    kept: timedelta


TIERS = (Tier(60, timedelta(hours=3)), Tier(900, timedelta(hours=72)))


def tier_for(span: timedelta) -> Tier:
    """The finest one that goes back as far."""
    return next((tier for tier in TIERS if span <= tier.kept), TIERS[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """How long many things took."""

    count: int = 0
    total: float = 0.0
    """Seconds."""
    buckets: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    """How many took up to each of 1 ms, 1.4 ms, 2 ms, … two hours; the last: longer."""

    def __add__(self, other: Durations) -> Durations:
        return Durations(
            count=self.count + other.count,
            total=self.total + other.total,
            buckets=tuple(map(sum, zip(self.buckets, other.buckets, strict=True))),
        )

    def quantile(self, share: float) -> float | None:
        """Seconds within which that share of them was over, to within a fifth; None if there were none."""
        if not self.count:
            return None
        wanted = share * sum(self.buckets)
        reached = [0, *accumulate(self.buckets)]
        place = max(bisect_left(reached, wanted) - 1, 0)
        if place >= len(BOUNDS):
            return BOUNDS[-1]
        low, high = BOUNDS[place - 1] if place else 0.0, BOUNDS[place]
        return low + (high - low) * (wanted - reached[place]) / max(self.buckets[place], 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsPoint:
    """What a stretch of time saw."""

    at: datetime
    """Its begin."""
    seconds: int
    """Its length."""
    done: int
    """Attempts that ended well."""
    failed: int
    """… that failed, with no retries left."""
    retried: int
    """… that failed, and whose tasks run again."""
    canceled: int
    released: int
    """… that were given back: their worker stopped, or did not know the method."""
    run: Durations
    """How long attempts ran."""
    wait: Durations
    """How long tasks had been ready when an attempt began."""
    ready: int | None
    """How many tasks were so, when that was looked at in this stretch."""
    running: int | None
    delayed: int | None
    dead: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Emptying:
    """When a queue will be empty."""

    seconds: float
    shrinks: bool
    """It has become shorter of late; if not, this is so if nothing is added."""


LATELY = 6  # points
NOTABLE = 0.05  # the share by which a queue has become shorter when that is no chance


def emptying(points: Sequence[StatisticsPoint], ready: int, now: datetime) -> Emptying | None:
    """When none of `ready` tasks will be left: as fast as they became fewer since there were most of them of late, or
    else as fast as tasks end. None if none is ready, or none ends.
    """
    if not ready:
        return None
    most, since = max(((point.ready, point.at) for point in points[-LATELY:] if point.ready), default=(0, now))
    if most - ready > most * NOTABLE:
        return Emptying(seconds=ready * max((now - since).total_seconds(), 1) / (most - ready), shrinks=True)
    per_second = _ended(points[-2:], now) or _ended(points[-LATELY:], now)
    return Emptying(seconds=ready / per_second, shrinks=False) if per_second else None


def _ended(points: Sequence[StatisticsPoint], now: datetime) -> float:
    """Tasks a second that ended."""
    if not points:
        return 0.0
    ended = sum(point.done + point.failed + point.canceled for point in points)
    return ended / max((now - points[0].at).total_seconds(), 1)


def points_from(
    rows: Sequence[Mapping[str, int]], starts: Sequence[int], tier: Tier, queue: str | None
) -> list[StatisticsPoint]:
    """What stood in the hash of each stretch, by its begin (epoch seconds); of one queue, or added up."""
    return [_point(_sums(row, queue), start, tier) for row, start in zip(rows, starts, strict=True)]


def points_by_queue(
    rows: Sequence[Mapping[str, int]], starts: Sequence[int], tier: Tier
) -> dict[str, list[StatisticsPoint]]:
    """The same, of each queue that stands in any of them."""
    split = [_by_queue(row) for row in rows]
    queues = dict.fromkeys(queue for each in split for queue in each)
    return {
        queue: [_point(each.get(queue, {}), start, tier) for each, start in zip(split, starts, strict=True)]
        for queue in queues
    }


def _sums(row: Mapping[str, int], queue: str | None) -> dict[str, int]:
    sums: dict[str, int] = {}
    for name, count in row.items():
        of, _, what = name.rpartition(" ")
        if queue in (None, of):
            sums[what] = sums.get(what, 0) + count
    return sums


def _by_queue(row: Mapping[str, int]) -> dict[str, dict[str, int]]:
    split: dict[str, dict[str, int]] = {}
    for name, count in row.items():
        queue, _, what = name.rpartition(" ")
        split.setdefault(queue, {})[what] = count
    return split


def _point(sums: Mapping[str, int], start: int, tier: Tier) -> StatisticsPoint:
    return StatisticsPoint(
        at=datetime.fromtimestamp(start, UTC),
        seconds=tier.seconds,
        run=_durations(sums, "run"),
        wait=_durations(sums, "wait"),
        done=sums.get("done", 0),
        failed=sums.get("failed", 0),
        retried=sums.get("retried", 0),
        canceled=sums.get("canceled", 0),
        released=sums.get("released", 0),
        ready=sums.get("#ready"),
        running=sums.get("#running"),
        delayed=sums.get("#delayed"),
        dead=sums.get("#dead"),
    )


def _durations(sums: Mapping[str, int], what: str) -> Durations:
    buckets = tuple(sums.get(f"{what}.{place}", 0) for place in range(len(BOUNDS) + 1))
    return Durations(count=sum(buckets), total=sums.get(what, 0) / 1000, buckets=buckets)
