"""What a close look shows: attempts, arguments, dead tasks that failed alike, statistics, what a worker runs."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from taskproc.codec import plain_arguments
from taskproc.errors import TaskProcessorError
from taskproc.executor import Executor, JsonExecutor
from taskproc.models import AttemptInfo, DeadGroup, QueueInfo, TaskInfo
from taskproc.names import is_fair
from taskproc.records import CALL
from taskproc.rows import attempt_infos
from taskproc.statistics import StatisticsPoint, Tier, points_by_queue, points_from, tier_for

if TYPE_CHECKING:
    from taskproc.looking import Listing, Looking, Wanted
    from taskproc.sealing import Seal

__all__ = [
    "arguments",
    "attempts",
    "dead_groups",
    "dead_of_batch",
    "pattern_of",
    "queue_of",
    "statistics",
    "statistics_of_queues",
    "tasks_of_worker",
]

PAGE = 500
MOST_IDS = 1_000
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_VARYING = re.compile(r"[0-9@/\\]")
_PUNCTUATION = ".,:;!?()[]{}<>"


async def attempts(looking: Looking, task: TaskInfo) -> list[AttemptInfo]:
    """The last attempts to run a task, and the one under way."""
    found = attempt_infos(await looking.attempts_field(task.task_id))
    if task.state == "leased" and task.started_at is not None:
        number = found[-1].number + 1 if found else 1
        running = AttemptInfo(
            number=number, outcome="running", worker=task.worker or "", started=task.started_at, ended=None,
            error_type=None, error_message=None,
        )  # fmt: skip
        return [*found, running]
    return found


async def arguments(looking: Looking, task: TaskInfo, executor: Executor, seal: Seal | None) -> dict[str, Any] | None:
    """The arguments of a method call by name, as plain JSON values; None where they cannot be read."""
    attempt = await looking.attempt_of(task)
    if attempt is None or task.topic != CALL:
        return None
    try:
        positional, keyword = plain_arguments(attempt.data if seal is None else seal.open(attempt))
    except (TaskProcessorError, msgspec.MsgspecError):
        return None
    names = _parameter_names(executor, task.call, len(positional))
    return dict(zip(names, positional, strict=True)) | keyword


def _parameter_names(executor: Executor, call: str, count: int) -> list[str]:
    """The names that the call's parameters have here; numbers where it is not known here."""
    names: list[str] = []
    if isinstance(executor, JsonExecutor):
        with suppress(TaskProcessorError):
            names = executor.parameter_names(call)
    return [names[place] if place < len(names) else f"{place + 1}" for place in range(count)]


async def dead_groups(
    looking: Looking, queue: str, tenant: str | None, most: int, wanted: Wanted | None
) -> list[DeadGroup]:
    """Dead tasks that failed alike, of those `most` that died last; the largest group first."""
    found: dict[str, TaskInfo] = {}  # one comes twice when others die meanwhile
    for skip in range(0, most, PAGE):
        page = await looking.dead(queue, skip, min(PAGE, most - skip), None)
        meant = [task for task in page if tenant in (None, task.tenant) and (wanted is None or wanted(task))]
        found |= {task.task_id: task for task in meant}
        if not page:
            break
    groups: defaultdict[tuple[str, str, str], list[TaskInfo]] = defaultdict(list)
    for task in found.values():
        groups[task.call or task.topic, task.error_type or "", pattern_of(task.error_message or "")].append(task)
    return sorted((_group(tasks) for tasks in groups.values()), key=lambda group: -group.count)


def pattern_of(message: str) -> str:
    """An error's message without what varies: what is quoted in it, and words with digits, of paths, hosts, files."""
    words = _QUOTED.sub("…", message).split()
    return " ".join("…" if _varies(word) else word for word in words)


def _varies(word: str) -> bool:
    return _VARYING.search(word) is not None or "." in word.strip(_PUNCTUATION)


def _group(tasks: Sequence[TaskInfo]) -> DeadGroup:
    died = [task.died_at or task.enqueued_at for task in tasks]
    newest = tasks[0]
    return DeadGroup(
        call=newest.call or newest.topic,
        error_type=newest.error_type or "",
        error_message=newest.error_message or "",
        count=len(tasks),
        first=min(died),
        last=max(died),
        task_ids=[task.task_id for task in tasks],
    )


async def tasks_of_worker(looking: Looking, worker: str) -> list[TaskInfo]:
    """What a worker runs, longest first."""
    found = [task for task in await looking.tasks(await looking.held_by(worker)) if task.worker == worker]
    return sorted(found, key=lambda task: task.started_at or task.enqueued_at)


async def queue_of(looking: Looking, name: str, tenant: str) -> QueueInfo:
    """What a tenant has in a queue, counted task by task."""

    async def count(of: Listing) -> int:
        ids: set[str] = set()

        def note(task: TaskInfo) -> bool:
            ids.add(task.task_id)
            return False  # only counted

        await of(name, 0, sys.maxsize, tenant, note)
        return len(ids)

    ready = await (looking.ready_count(name, tenant) if is_fair(name) else count(looking.ready))
    running, delayed, dead = [await count(of) for of in (looking.running, looking.delayed, looking.dead)]
    return QueueInfo(name=name, length=ready, running=running, delayed=delayed, deadletter=dead)


async def dead_of_batch(looking: Looking, batch: str) -> dict[str, list[str]]:
    """The ids of a batch's dead tasks, by queue."""
    dead: defaultdict[str, list[str]] = defaultdict(list)
    async for ids in looking.ids_of_batch(batch):
        for first in range(0, len(ids), MOST_IDS):
            for task in await looking.tasks(ids[first : first + MOST_IDS]):
                if task.state == "dead":
                    dead[task.queue].append(task.task_id)
    return dead


async def statistics(looking: Looking, span: timedelta, queue: str | None) -> list[StatisticsPoint]:
    """One point for each stretch of the span, the oldest first; the last one is not over yet."""
    tier = tier_for(span)
    rows, starts = await _stretches(looking, span, tier)
    return points_from(rows, starts, tier, queue)


async def statistics_of_queues(looking: Looking, span: timedelta) -> dict[str, list[StatisticsPoint]]:
    """The same of each queue, read once."""
    tier = tier_for(span)
    rows, starts = await _stretches(looking, span, tier)
    return points_by_queue(rows, starts, tier)


async def _stretches(looking: Looking, span: timedelta, tier: Tier) -> tuple[list[dict[str, int]], list[int]]:
    """What stands in the hashes of a span, and when each begins (epoch seconds)."""
    now = await looking.now() // 1000
    last = now // tier.seconds
    count = int(min(span, tier.kept).total_seconds()) // tier.seconds
    numbers = range(last - max(count, 1) + 1, last + 1)
    rows = await looking.statistics(tier.seconds, numbers)
    return rows, [number * tier.seconds for number in numbers]
