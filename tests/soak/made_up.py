"""Made-up histories, for the tests of the checker."""

from dataclasses import replace

import msgspec

from tests.soak.checker import check
from tests.soak.history import Event, What
from tests.soak.verdict import Verdict

PRODUCER, FIRST, SECOND = 1, 2, 3
"""Processes."""
TIMEOUT = 2.0


def event(at: float, what: What, *names: str, **more: object) -> Event:
    """A line of a process."""
    return msgspec.convert({"what": what, "at": at, "pid": PRODUCER, "names": names, **more}, Event)


def ran(
    at: float, name: str, pid: int = FIRST, *, how: str = "done", seconds: float = 1, **more: object
) -> list[Event]:
    """An attempt, whose outcome is as it ended."""
    what = {"pid": pid, "id": f"id-{name}", "token": f"{pid}:{at}", "attempt": 1, **more}
    ended = event(at + seconds, "ended", name, how=how, **what)
    outcome = event(at + seconds + 0.1, "outcome", how="released" if how == "cancelled" else how, **what)
    return [event(at, "started", name, **what), ended, outcome]


def enqueued(at: float, name: str, answer: What = "accepted") -> list[Event]:
    """A single task."""
    told = "" if answer == "refused" else f"id-{name}"
    return [event(at, "sending", name), event(at + 0.1, answer, name, id=told)]


def batch(at: float, *names: str, state: str = "done", counts: list[int] | None = None) -> list[Event]:
    """A batch that ended well."""
    size = len(names)
    looked = event(at + 50, "looked", batch="b", how=state, counts=counts or [size, size, 0, 0, 0])
    return [event(at, "sending", *names, batch="b"), event(at + 0.1, "accepted", batch="b"), looked]


def fault(how: str, since: float, until: float, pid: int = 0) -> Event:
    """Something that was done to a process, or to the server."""
    return event(since, "fault", pid=pid, how=how, until=until)


def good() -> list[Event]:
    """Single tasks of each kind, a batch and its continuations, a schedule; nothing has gone wrong."""
    schedule = [one for at in range(10, 20) for one in ran(at, f"s@{at}", seconds=0.1)]
    return [
        *(event(5, "began", "worker", pid=pid) for pid in (FIRST, SECOND)), event(5, "began", "producer"),
        *enqueued(10, "a"), *ran(11, "a"),
        *enqueued(10, "b?"), *ran(11, "b?", how="failed"), *ran(13, "b?", SECOND, attempt=2),
        *enqueued(10, "c!"), *ran(11, "c!", how="failed"), *ran(13, "c!", SECOND, how="failed", attempt=2),
        *enqueued(10, "d", "refused"),
        *batch(10, "e", "f"), *ran(11, "e"), *ran(11, "f"), *ran(13, "b.success"), *ran(13, "b.complete"),
        *schedule, event(10, "scheduled", id="s", attempt=1, until=20),
    ]  # fmt: skip


def found(*events: Event) -> Verdict:
    """What the checker says of a history, in whatever order it comes."""
    return check(sorted(events, key=lambda one: one.at), TIMEOUT)


def without(name: str, what: str = "") -> list[Event]:
    """The good history without what is known of a name."""
    return [one for one in good() if (one.name != name and one.id != f"id-{name}") or what not in ("", one.what)]


def looking(state: str, *counts: int) -> list[Event]:
    """The good history with another last look at its batch."""
    return [replace(e, how=state, counts=list(counts)) if e.what == "looked" else e for e in good()]


def canceled(at: float, what: What = "canceled") -> list[Event]:
    """Of task a."""
    return [event(at - 0.1, "canceling", "a"), event(at, what, "a")]
