"""Time travel."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from taskproc.errors import ConfigurationError
from taskproc.options import milliseconds
from taskproc.testing import ahead
from taskproc.testing.inside import bring_schedules, check_loop, keys_of, run_script, storage_of

if TYPE_CHECKING:
    from taskproc.processor import TaskProcessor

__all__ = ["travel"]


async def travel(processor: TaskProcessor, by: timedelta) -> None:
    """Makes it later by so much, for all that is under the processor's prefix; further travels add up.

    Redis's time, as taskproc asks for it, is later: delays and retries fall due, schedules, pauses and retention run
    out, `ctx.scheduled_for` and all times that are written down are those of then. It is as if nobody had run tasks
    meanwhile: of a schedule that has missed several cycles only the latest runs. Travel in steps, with
    `run_until_idle()` after each, to see every cycle. What runs already keeps the time that it has, from now on.

    What does not travel: `datetime.now()` and `time` of your code (use time-machine or freezegun beside it, if a task
    asks), `ctx.deadline`, a `delay_until` that was computed from the present, hooks' and drivers' time limits, and
    workers of other processes: they stay in the present. There is no way back but another prefix.
    """
    if by < timedelta(0):
        raise ConfigurationError(
            f"travel({by}): time only goes forward; a prefix of its own takes a test to the present"
        )
    check_loop(processor, "travel")
    await bring_schedules(processor)
    ahead.install()
    before = await storage_of(processor).driver.command("HGET", keys_of(processor).meta, ahead.AHEAD)
    await run_script(processor, "travel", [], ahead=int(before or 0) + milliseconds(by))
