"""Which task a log record is about, as fields for formatters and log stores."""

from __future__ import annotations

import logging

from taskproc.context import running_task

__all__ = ["TaskLogFilter"]

_FIELDS = ("task_id", "batch_id", "tenant", "queue", "call")


class TaskLogFilter(logging.Filter):
    """Gives each record `task_id`, `batch_id`, `tenant`, `queue` and `call` of the task that is running where it is
    logged; they are None outside of tasks. Add it to a handler: `handler.addFilter(TaskLogFilter())`.

    Records of taskproc itself that are about a task have these fields without it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        task = running_task()
        fields = {} if task is None else task.log_fields
        for name in _FIELDS:
            if not hasattr(record, name):
                setattr(record, name, fields.get(name))
        return True
