"""The tables that several commands print."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.text import Text

from taskproc.cli.output import Column
from taskproc.cli.words import ago, cell, count, length, since
from taskproc.models import BatchInfo, PauseInfo, QueueInfo, TaskInfo, WorkerInfo

__all__ = [
    "BATCHES",
    "LATE",
    "PAUSES",
    "QUEUES",
    "WORKERS",
    "call_of",
    "error_of",
    "path_of",
    "paused",
    "some",
    "state_of",
    "tasks_of",
    "took",
]

STYLES = {
    "ready": "",
    "running": "cyan",
    "leased": "cyan",
    "delayed": "blue",
    "held": "blue",
    "done": "green",
    "canceling": "yellow",
    "canceled": "yellow",
    "released": "yellow",
    "paused": "yellow",
    "draining": "yellow",
    "failed": "red",
    "lost": "red",
    "dead": "red",
}
LATE = 0.1  # seconds by which an event loop is late when that is worth a look


def some(number: int, style: str = "") -> Text:
    """A number; nothing much if it is 0."""
    return Text(count(number), style=style if number else "dim")


def state_of(state: str | None) -> Text:
    """The word for a state, in its colour. A task that is leased runs, people say."""
    said = {"leased": "running", None: "–"}.get(state, state)
    return cell(said, STYLES.get(state or "", "dim"))


def call_of(task: TaskInfo) -> Text:
    """What it calls, or its topic."""
    return cell(task.call or task.topic)


def path_of(task: TaskInfo) -> Text:
    """The same without its module."""
    return cell(task.call.partition(":")[2] or task.topic)


def error_of(kind: str | None, message: str | None) -> Text:
    """`ValueError: the file is broken`."""
    if kind is None:
        return Text()
    return cell(kind.rpartition(".")[2], "red").append_text(cell(f": {message}" if message else "", "default"))


def paused(pause: PauseInfo) -> Text:
    """What is paused, in words."""
    if pause.queue is not None:
        return cell(f"queue {pause.queue}", "yellow")
    return cell("everything" if pause.tenant is None else f"tenant {pause.tenant}", "yellow")


def took(batch: BatchInfo) -> str:
    """From its start to its end, or until now."""
    return length((batch.end or datetime.now(UTC)) - batch.start)


QUEUES: list[Column[QueueInfo]] = [
    Column(head="queue", value=lambda queue: cell(queue.name), flexible=True),
    Column(head="ready", value=lambda queue: some(queue.length), number=True),
    Column(head="running", value=lambda queue: some(queue.running, "cyan"), number=True),
    Column(head="delayed", value=lambda queue: some(queue.delayed, "blue"), number=True),
    Column(head="dead", value=lambda queue: some(queue.deadletter, "red"), number=True),
    Column(head="oldest", value=lambda queue: since(queue.oldest), number=True),
    Column(head="", value=lambda queue: state_of("paused") if queue.paused else ""),
]

_TASK: Column[TaskInfo] = Column(head="task", value=lambda task: cell(task.task_id))
_CALL: Column[TaskInfo] = Column(head="call", value=path_of, flexible=True)
_TENANT: Column[TaskInfo] = Column(head="tenant", value=lambda task: cell(task.tenant), extra=True)
_ATTEMPT: Column[TaskInfo] = Column(
    head="attempt", value=lambda task: f"{task.attempt}/{task.retries}", number=True, extra=True
)
_OF_STATE: dict[str, list[Column[TaskInfo]]] = {
    "ready": [Column(head="enqueued", value=lambda task: ago(task.enqueued_at), number=True)],
    "running": [
        Column(head="for", value=lambda task: since(task.started_at), number=True),
        Column(head="worker", value=lambda task: cell(task.worker or ""), extra=True),
    ],
    "delayed": [Column(head="due", value=lambda task: ago(task.due_at), number=True)],
    "dead": [
        Column(head="died", value=lambda task: ago(task.died_at), number=True),
        Column(head="error", value=lambda task: error_of(task.error_type, task.error_message), flexible=True),
    ],
}


def tasks_of(state: str) -> list[Column[TaskInfo]]:
    """What a table tells of tasks in a state."""
    return [_TASK, _CALL, *([] if state == "dead" else [_TENANT, _ATTEMPT]), *_OF_STATE[state]]


BATCHES: list[Column[BatchInfo]] = [
    Column(head="batch", value=lambda batch: cell(batch.id)),
    Column(head="state", value=lambda batch: state_of(batch.state)),
    Column(head="done", value=lambda batch: f"{count(batch.done)}/{count(batch.total)}", number=True),
    Column(head="failed", value=lambda batch: some(batch.failed, "red"), number=True),
    Column(head="started", value=lambda batch: ago(batch.start), number=True),
    Column(head="took", value=took, number=True, extra=True),
    Column(head="scope", value=lambda batch: cell(batch.scope), flexible=True),
]

WORKERS: list[Column[WorkerInfo]] = [
    Column(head="worker", value=lambda worker: cell(worker.id)),
    Column(head="host", value=lambda worker: cell(f"{worker.host}:{worker.pid}"), flexible=True),
    Column(head="runs", value=lambda worker: f"{worker.running}/{worker.max_workers}", number=True),
    Column(head="up", value=lambda worker: since(worker.since), number=True),
    Column(head="seen", value=lambda worker: ago(worker.seen), number=True, extra=True),
    Column(
        head="lag",
        value=lambda worker: Text(length(worker.lag), style="red" if (worker.lag or 0) >= LATE else ""),
        number=True,
    ),
    Column(head="queues", value=lambda worker: cell(",".join(worker.queues)), flexible=True),
    Column(head="", value=lambda worker: state_of("draining") if worker.draining else ""),
]

PAUSES: list[Column[PauseInfo]] = [
    Column(head="paused", value=paused),
    Column(head="since", value=lambda pause: ago(pause.since), number=True),
    Column(head="ends", value=lambda pause: ago(pause.until), number=True),
    Column(head="by", value=lambda pause: cell(pause.by)),
    Column(head="reason", value=lambda pause: cell(pause.reason), flexible=True),
]
