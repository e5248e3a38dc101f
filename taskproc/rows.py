"""Rows that scripts answer, as what an app gets."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

import msgspec

from taskproc.context import from_ms
from taskproc.models import (
    AttemptInfo,
    AttemptOutcome,
    AuditEntry,
    BatchInfo,
    BatchState,
    PauseInfo,
    QueueInfo,
    ScheduleInfo,
    StackFrame,
    TaskInfo,
    TaskStack,
    TaskState,
    WorkerInfo,
    WorkerStacks,
)
from taskproc.records import CALL, batch_of

__all__ = [
    "STATES",
    "attempt_infos",
    "audit_entry",
    "batch_info",
    "number",
    "pause_info",
    "queue_info",
    "schedule_info",
    "task_info",
    "text",
    "worker_info",
    "worker_stacks",
]

MOST_DIGITS = 14  # of a number in a record, as the scripts take it
ENDLESS = 1e15  # ms, of a pause: see `_pause.lua`
STATES: dict[bytes, TaskState] = {b"r": "ready", b"l": "leased", b"d": "delayed", b"x": "dead", b"h": "held"}


_Attempt = tuple[AttemptOutcome, str, float, float, str, str]
_read_attempt = msgspec.msgpack.Decoder(_Attempt).decode
_read_stacks = msgspec.msgpack.Decoder(tuple[float, list[StackFrame], list[TaskStack], int]).decode
_read_entry = msgspec.msgpack.Decoder(dict[str, str]).decode


def text(value: bytes | None) -> str:
    """What can be read of a text that may be damaged or missing."""
    return "" if value is None else value.decode(errors="replace")


def number(value: bytes | None) -> int:
    """The number of up to 14 digits that stands there; 0 if it is missing or damaged."""
    return int(value) if value is not None and len(value) <= MOST_DIGITS and value.isdigit() else 0


def batch_info(row: list[Any]) -> BatchInfo:
    id_, tenant, scope, start, end, *counts, duration, cancel = row
    total, done, failed, canceled = map(number, counts)
    return BatchInfo(
        id=id_.decode(),
        tenant=text(tenant),
        scope=text(scope),
        state=_batch_state(cancel, end, failed),
        start=from_ms(number(start)),
        end=None if end is None else from_ms(number(end)),
        total=total,
        done=done,
        failed=failed,
        canceled=canceled,
        remaining=total - done - failed - canceled,
        duration=number(duration) / 1_000_000,
    )


def _batch_state(cancel: bytes | None, end: bytes | None, failed: int) -> BatchState:
    if cancel is not None:
        return "canceling" if end is None else "canceled"
    if end is None:
        return "running"
    return "failed" if failed else "done"


def task_info(id_: str, row: list[Any]) -> TaskInfo:
    state, queue, tenant, call, topic, retries, failures, enqueued, died, *more = row
    *error, token, _unknown, length, began, awaits, at = more
    failed, allowed, shown = number(failures), number(retries), STATES[state]
    attempt = max(failed if shown == "dead" else failed + 1, 1)
    kind, message, trace = (None if part is None else text(part) for part in error)
    return TaskInfo(
        task_id=id_,
        tenant=text(tenant),
        queue=text(queue),
        batch_id=batch_of(id_),
        topic=CALL if topic is None else text(topic),
        call=text(call),
        state=shown,
        retries=allowed,
        attempt=attempt,
        retries_left=max(allowed - attempt, 0),
        enqueued_at=from_ms(number(enqueued)),
        due_at=from_ms(float(at)) if at is not None and shown == "delayed" else None,
        died_at=None if died is None else from_ms(number(died)),
        error_type=kind,
        error_message=message,
        traceback=trace,
        awaits=None if awaits is None else text(awaits),
        **(_lease(token, length, began, at) if shown == "leased" else {}),
    )


def _lease(token: bytes | None, length: bytes | None, began: bytes | None, ends: bytes | None) -> dict[str, Any]:
    """Who runs a task, since when, until when at most."""
    until = None if ends is None else float(ends)
    since = number(began) or (None if until is None else until - number(length))
    return {
        "worker": text(token).rpartition(":")[0],
        "started_at": None if since is None else from_ms(since),
        "lease_ends": None if until is None else from_ms(until),
    }


def attempt_infos(field: bytes | None) -> list[AttemptInfo]:
    """The attempts that a record tells of, see `with_attempt` in `_end.lua`; none of what is damaged."""
    count, _, rest = (field or b"").partition(b" ")
    entries: list[_Attempt] = []
    try:
        while rest:
            length, _, rest = rest.partition(b":")
            entries.append(_read_attempt(rest[: int(length)]))
            rest = rest[int(length) :]
        first = int(count or 0) - len(entries) + 1
        return [_attempt_info(first + place, entry) for place, entry in enumerate(entries)]
    except (ValueError, TypeError, OverflowError, msgspec.MsgspecError):
        return []


def _attempt_info(place: int, entry: _Attempt) -> AttemptInfo:
    outcome, worker, began, ended, kind, message = entry
    return AttemptInfo(
        number=place,
        outcome=outcome,
        worker=worker,
        started=from_ms(began),
        ended=from_ms(ended),
        error_type=kind or None,
        error_message=message or None,
    )


def queue_info(name: str, row: list[Any]) -> QueueInfo:
    ready, leased, delayed, dead, tenants, oldest, paused = row
    pairs = cast("list[bytes]", tenants)
    return QueueInfo(
        name=name,
        length=int(ready),
        running=leased,
        delayed=delayed,
        deadletter=dead,
        tenants={tenant.decode(): int(count) for tenant, count in zip(pairs[::2], pairs[1::2], strict=True)},
        oldest=from_ms(number(oldest)) if number(oldest) else None,
        paused=bool(paused),
    )


def schedule_info(row: list[Any]) -> ScheduleInfo:
    id_, tenant, queue, scope, cron, timezone, _seconds, unique, expire, following = row[:10]
    paused, last, started, outcome, ended, owner = row[10:]
    return ScheduleInfo(
        id=id_.decode(),
        tenant=text(tenant),
        queue=text(queue),
        scope=text(scope),
        cron=text(cron),
        timezone=text(timezone),
        next=from_ms(int(following)),
        unique=unique is not None,
        expire=None if expire is None else timedelta(milliseconds=int(expire)),
        paused=paused is not None,
        last=_instant(last),
        drift=None if last is None or started is None else (number(started) - number(last)) / 1000,
        outcome=None if outcome is None else text(outcome),
        ended=_instant(ended),
        declared_by=None if owner is None else text(owner),
    )


def worker_info(row: list[Any]) -> WorkerInfo:
    id_, alive_until, running, host, pid, since, queues, slots, version, seen, lag, drain = row
    return WorkerInfo(
        id=id_.decode(),
        host=host.decode(),
        pid=int(pid),
        since=from_ms(int(since)),
        queues=queues.decode().split(" "),
        max_workers=int(slots),
        running=running,
        version=version.decode(),
        alive_until=from_ms(float(alive_until)),
        seen=_instant(seen),
        lag=None if lag is None else number(lag) / 1000,
        draining=drain is not None,
    )


def worker_stacks(worker: str, at: bytes | None, packed: bytes) -> WorkerStacks | None:
    """What a worker says that it was doing, see `Stacks.take`; None of what is damaged."""
    try:
        late, loop, tasks, more = _read_stacks(packed)
    except (ValueError, msgspec.MsgspecError):
        return None
    return WorkerStacks(worker=worker, taken=from_ms(number(at)), late=late, loop=loop, tasks=tasks, more=more)


def pause_info(row: list[Any]) -> PauseInfo:
    what, until, since, reason, by = row
    kind, _, name = text(what).partition(":")
    return PauseInfo(
        queue=name if kind == "queue" else None,
        tenant=name if kind == "tenant" else None,
        since=from_ms(number(since)),
        until=from_ms(float(until)) if float(until) < ENDLESS else None,
        reason=text(reason),
        by=text(by),
    )


def audit_entry(packed: bytes) -> AuditEntry:
    entry = _read_entry(packed)
    return AuditEntry(
        at=from_ms(int(entry["at"])),
        by=entry["by"],
        act=entry["act"],
        target=entry["target"],
        tenant=entry.get("tenant"),
        detail=entry["detail"],
    )


def _instant(value: bytes | None) -> datetime | None:
    return None if value is None else from_ms(number(value))
