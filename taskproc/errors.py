"""Every error that taskproc raises.

TaskProcessorError
├── ConfigurationError          settings, container or server do not fit; raised at start or when a method is named
├── NotConnected                the processor was used before `async with processor` (or after its end)
├── StorageUnavailable          Redis did not answer within `command_timeout`
├── EnqueueError                a call was refused; nothing was sent
│   ├── NotAllowed              … because workers may not run it
│   ├── InvalidArguments        … because the arguments do not fit the signature
│   ├── PayloadTooLarge         … because its arguments are larger than `max_payload`
│   └── BatchCanceled           … because its batch was canceled meanwhile
├── InvalidName                 a queue, tenant or schedule name with forbidden characters
├── InvalidSchedule             a cron expression or time zone that cannot be used
├── InvalidFilter               a filter of a list of tasks with a term that means nothing
├── WorkerSilent                a worker did not say in time what it is doing
├── UnknownTask                 a worker does not know the method that a task names
├── MalformedTask               a task's call or payload can never be run by anybody
├── ArgumentsMismatch           a task's payload does not fit the method's signature of this worker
├── TaskTimeoutError            an attempt ran longer than its `invisibility`
└── WorkerLost                  the workers that ran a task died, `max_recoveries` times
"""

from __future__ import annotations

__all__ = [
    "ArgumentsMismatch",
    "BatchCanceled",
    "ConfigurationError",
    "EnqueueError",
    "InvalidArguments",
    "InvalidFilter",
    "InvalidName",
    "InvalidSchedule",
    "MalformedTask",
    "NotAllowed",
    "NotConnected",
    "PayloadTooLarge",
    "StorageUnavailable",
    "TaskProcessorError",
    "TaskTimeoutError",
    "UnknownTask",
    "WorkerLost",
    "WorkerSilent",
]


class TaskProcessorError(Exception):
    """The root of all errors of taskproc."""


class ConfigurationError(TaskProcessorError):
    """Settings, container or server do not fit together; the message says what to change."""


class NotConnected(TaskProcessorError):
    """The processor is not connected: use it inside `async with processor` or between an app's startup and shutdown."""


class StorageUnavailable(TaskProcessorError):
    """Redis did not answer within `command_timeout`.

    `maybe_accepted` is True when the request may have been carried out all the same; `task_id` is the id of the
    task or batch that was being sent, if any. Repeating an enqueue is safe only if running it twice is.
    """

    def __init__(self, message: str, *, maybe_accepted: bool = False, task_id: str | None = None) -> None:
        super().__init__(message)
        self.maybe_accepted = maybe_accepted
        self.task_id = task_id

    def about(self, task_id: str | None) -> StorageUnavailable:
        """The same about another task that was sent with it."""
        error = StorageUnavailable(str(self), maybe_accepted=self.maybe_accepted, task_id=task_id)
        error.__cause__ = self.__cause__
        return error


class EnqueueError(TaskProcessorError):
    """A call was refused when it was enqueued; nothing was sent."""


class NotAllowed(EnqueueError):
    """The callable is not one that workers may run; the message says how to make it one."""


class InvalidArguments(EnqueueError, TypeError):
    """The arguments do not fit the signature, or would not come back as they are; or an annotation is of no use."""


class PayloadTooLarge(EnqueueError):
    """The encoded arguments are larger than `max_payload`."""


class BatchCanceled(EnqueueError):
    """The batch was canceled while its tasks were still being sent; the rest was not."""


class InvalidName(TaskProcessorError, ValueError):
    """A name of a queue, tenant or schedule, or a topic, that is not allowed."""


class InvalidSchedule(TaskProcessorError, ValueError):
    """A cron expression or time zone that cannot be used."""


class InvalidFilter(TaskProcessorError, ValueError):
    """A filter of tasks that means nothing; the message names the term, and what is allowed."""


class WorkerSilent(TaskProcessorError, TimeoutError):
    """A worker did not say in time what it is doing."""


class UnknownTask(TaskProcessorError):
    """This worker does not know the method that a task names; another one may."""


class MalformedTask(TaskProcessorError):
    """The call or the payload of a task is broken or private: no worker may run it."""


class ArgumentsMismatch(TaskProcessorError):
    """The payload of a task does not fit the signature that this worker knows."""


class TaskTimeoutError(TaskProcessorError, TimeoutError):
    """The attempt ran longer than its `invisibility` and was cancelled."""


class WorkerLost(TaskProcessorError):
    """The task's workers died `max_recoveries` times while they ran it."""
