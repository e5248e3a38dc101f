"""Hands method calls to the background, alone and in batches, through Redis or Valkey; nothing accepted is lost."""

from taskproc.batch import Batch
from taskproc.calls import background, ref
from taskproc.context import CURRENT, TaskContext, current_task
from taskproc.errors import (
    BatchCanceled,
    ConfigurationError,
    EnqueueError,
    InvalidArguments,
    InvalidFilter,
    InvalidName,
    InvalidSchedule,
    NotAllowed,
    NotConnected,
    PayloadTooLarge,
    StorageUnavailable,
    TaskProcessorError,
    TaskTimeoutError,
    UnknownTask,
    WorkerLost,
    WorkerSilent,
)
from taskproc.executor import Executor
from taskproc.health import ProcessorStatus
from taskproc.logs import TaskLogFilter
from taskproc.models import (
    AttemptInfo,
    AuditEntry,
    BatchInfo,
    DeadGroup,
    PauseInfo,
    QueueInfo,
    ScheduleData,
    ScheduleInfo,
    StackFrame,
    TaskData,
    TaskInfo,
    TaskStack,
    WorkerInfo,
    WorkerStacks,
)
from taskproc.observing import Observer
from taskproc.processor import TaskProcessor
from taskproc.scopes import Scope, Scopes, factories
from taskproc.settings import TaskProcessorSettings, backoff
from taskproc.statistics import Durations, StatisticsPoint

__all__ = [
    "CURRENT",
    "AttemptInfo",
    "AuditEntry",
    "Batch",
    "BatchCanceled",
    "BatchInfo",
    "ConfigurationError",
    "DeadGroup",
    "Durations",
    "EnqueueError",
    "Executor",
    "InvalidArguments",
    "InvalidFilter",
    "InvalidName",
    "InvalidSchedule",
    "NotAllowed",
    "NotConnected",
    "Observer",
    "PauseInfo",
    "PayloadTooLarge",
    "ProcessorStatus",
    "QueueInfo",
    "ScheduleData",
    "ScheduleInfo",
    "Scope",
    "Scopes",
    "StackFrame",
    "StatisticsPoint",
    "StorageUnavailable",
    "TaskContext",
    "TaskData",
    "TaskInfo",
    "TaskLogFilter",
    "TaskProcessor",
    "TaskProcessorError",
    "TaskProcessorSettings",
    "TaskStack",
    "TaskTimeoutError",
    "UnknownTask",
    "WorkerInfo",
    "WorkerLost",
    "WorkerSilent",
    "WorkerStacks",
    "background",
    "backoff",
    "current_task",
    "factories",
    "ref",
]
