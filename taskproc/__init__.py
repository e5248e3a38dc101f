"""Hands method calls to the background, alone and in batches, through Redis or Valkey; nothing accepted is lost."""

from taskproc.batch import Batch
from taskproc.calls import background, ref
from taskproc.context import CURRENT, TaskContext, current_task
from taskproc.errors import (
    BatchCanceled,
    ConfigurationError,
    EnqueueError,
    InvalidArguments,
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
)
from taskproc.executor import Executor
from taskproc.models import BatchInfo, QueueInfo, ScheduleData, ScheduleInfo, TaskData, TaskInfo, WorkerInfo
from taskproc.processor import TaskProcessor
from taskproc.scopes import Scope, Scopes, factories
from taskproc.settings import TaskProcessorSettings, backoff

__all__ = [
    "CURRENT",
    "Batch",
    "BatchCanceled",
    "BatchInfo",
    "ConfigurationError",
    "EnqueueError",
    "Executor",
    "InvalidArguments",
    "InvalidName",
    "InvalidSchedule",
    "NotAllowed",
    "NotConnected",
    "PayloadTooLarge",
    "QueueInfo",
    "ScheduleData",
    "ScheduleInfo",
    "Scope",
    "Scopes",
    "StorageUnavailable",
    "TaskContext",
    "TaskData",
    "TaskInfo",
    "TaskProcessor",
    "TaskProcessorError",
    "TaskProcessorSettings",
    "TaskTimeoutError",
    "UnknownTask",
    "WorkerInfo",
    "WorkerLost",
    "background",
    "backoff",
    "current_task",
    "factories",
    "ref",
]
