"""When the log is told that something blocks the event loop, and when not."""

import logging
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from taskproc import TaskContext, TaskProcessor
from taskproc.lag import Lag
from taskproc.records import Attempt
from taskproc.stacks import Holder, Stacks
from taskproc.watchdog import MOST_CALLS, Watchdog

FORGED = "oh\n2030-01-01 CRITICAL all is lost\x1b[2J\u2028" + "x" * 1_000


def work(_number: int) -> None:
    """What holds the event loop."""


class Loop:
    """An event loop that comes back when it is told to, looked at by a watchdog, at times set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.used = 1_000.0, 5.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "process_time", lambda: self.used)
        self.lag = Lag()
        self.call: str | None = None
        self.idle = False
        self.when_looked_at: Callable[[], None] = lambda: None
        self.watchdog = Watchdog(cast("Stacks", self))
        self.lag.expect(0.0)

    def holder(self) -> Holder | None:
        self.when_looked_at()
        return None if self.idle else Holder(spots=[(work.__code__, 7)], ctx=self._ctx())

    def _ctx(self) -> TaskContext | None:
        if self.call is None:
            return None
        attempt = Attempt(
            id=self.call, queue="q", tenant="acme", call=self.call, enqueued_at=0, retries=1, invisibility=1
        )
        return TaskContext(cast("TaskProcessor", None), attempt, None)

    def passes(self, seconds: float, *, used: float = 0.0) -> None:
        self.now += seconds
        self.used += used

    def looks(self, seconds: float) -> None:
        """For so long, a quarter of a second apart."""
        for _ in range(int(seconds * 4)):
            self.passes(0.25)
            self.watchdog.look()

    def comes_back(self) -> None:
        self.lag.arrive()
        self.lag.expect(0.0)

    def blocked(self, seconds: float) -> None:
        """It is held up for so long, and then no more."""
        self.looks(seconds)
        self.comes_back()
        self.watchdog.look()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """All that was logged since the last time."""
    texts = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return texts


def test_begin_and_end(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """One warning after more than a second, one at the end."""
    loop = Loop(monkeypatch)
    loop.looks(0.75)
    assert said(caplog) == []
    loop.looks(5.25)
    [begin] = said(caplog)
    assert "what is no task has blocked the event loop for 1.0 s, at " in begin
    assert begin.endswith("test_watchdog.py:7 work: nothing else runs there meanwhile")
    loop.comes_back()
    loop.watchdog.look()
    assert said(caplog) == ["what is no task blocked the event loop for 6.0 s"]
    loop.looks(0.25)
    assert said(caplog) == []


def test_once_a_minute_for_each_call(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Neither its begin nor its end is told more often; another call is another matter."""
    loop = Loop(monkeypatch)
    loop.call = "app:work"
    loop.blocked(2)
    assert len(said(caplog)) == 2
    loop.blocked(2)
    assert said(caplog) == []
    loop.call = "app:other"
    loop.blocked(2)
    assert said(caplog)[0].startswith("task app:other (app:other) has blocked")
    loop.call = "app:work"
    for _ in range(84):
        loop.blocked(0.75)
    said(caplog)
    loop.blocked(2)
    assert len(said(caplog)) == 2


def test_a_process_that_stood_still(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """As a machine does that was paused: no task is to blame. One that has used the processor meanwhile, is: it held
    all threads up.
    """
    loop = Loop(monkeypatch)
    loop.passes(30)
    loop.watchdog.look()
    loop.comes_back()
    loop.watchdog.look()
    assert said(caplog) == []
    loop.passes(30, used=29)
    loop.watchdog.look()
    assert len(said(caplog)) == 1


def test_nobody_innocent_is_named(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What runs when it is over already, or nothing, since the loop only waits, has blocked nothing."""
    loop = Loop(monkeypatch)
    loop.when_looked_at = loop.comes_back
    loop.blocked(2)
    loop.when_looked_at, loop.idle = lambda: None, True
    loop.blocked(2)
    assert said(caplog) == []


def test_hostile_names(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Each line of the log is one, and bounded; however many calls there are, few are remembered."""
    loop = Loop(monkeypatch)
    loop.call = FORGED
    loop.blocked(2)
    for text in said(caplog):
        assert text.isprintable()
        assert len(text) < 2_000
    for number in range(MOST_CALLS + 10):
        loop.call = f"app:{number}"
        loop.blocked(1.5)
    assert len(cast("Any", loop.watchdog)._told_at) <= MOST_CALLS
    assert all(isinstance(record, logging.LogRecord) for record in caplog.records)
