"""For tests of code that uses taskproc: on a real server, with real workers, in the test's own process.

With pytest there are fixtures beside, see `taskproc.testing.plugin`; nothing here needs it.
"""

from taskproc.testing.clock import travel
from taskproc.testing.crashing import Trap, crash, fail, lose_worker
from taskproc.testing.idle import NotIdle, run_until_idle
from taskproc.testing.report import RanAttempt, Report, TasksFailed
from taskproc.testing.sent import EnqueuedTask, Expectation, assert_enqueued, enqueued, expect
from taskproc.testing.settings import delete_keys, make_settings, override_settings

__all__ = [
    "EnqueuedTask",
    "Expectation",
    "NotIdle",
    "RanAttempt",
    "Report",
    "TasksFailed",
    "Trap",
    "assert_enqueued",
    "crash",
    "delete_keys",
    "enqueued",
    "expect",
    "fail",
    "lose_worker",
    "make_settings",
    "override_settings",
    "run_until_idle",
    "travel",
]
