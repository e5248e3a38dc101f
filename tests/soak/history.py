"""What each process of a soak writes down: a JSON line for each thing that happened, in a file of its own."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

DIRECTORY = "SOAK_HISTORY"
"""The environment variable that names the folder."""

What = Literal[
    "began",  # a process: by `how` it is known which revision of the package it runs
    "sending", "accepted", "maybe", "refused",  # of a producer: a task, or a batch with its tasks, or more of it
    "canceling", "canceled", "not canceled",  # of a producer: asked, and what it was told
    "retrying", "retried",  # of dead tasks, by a producer or the conductor: asked, and how many it was told
    "started", "ended", "outcome",  # of a worker: an attempt, its end, and what Redis made of it
    "fault", "looked",  # of the conductor
    "scheduled",  # likewise; with `until` it says from when to when there was a schedule
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A line. `at` and `until` are epoch seconds."""

    what: What
    at: float
    pid: int
    """Who wrote it; of a fault: whom it struck, 0 for the server and so for everybody."""
    names: list[str] = field(default_factory=list[str])
    """Of the tasks, as their producer calls them; `?` at the end fails once, `!` always, `~` until it is mended."""
    id: str = ""
    batch: str = ""
    queue: str = ""
    tenant: str = ""
    """Of an attempt, of a pause, or of what is retried; "" where it does not matter."""
    token: str = ""
    attempt: int = 0
    how: str = ""
    """What happened; of a batch that is being sent: `parts`, if it may come in several."""
    until: float = 0.0
    counts: list[int] | None = None
    """Of a batch: total, done, failed, canceled, remaining. Of a retry: how many tasks."""

    @property
    def name(self) -> str:
        return self.names[0] if self.names else ""


def now() -> float:
    """Epoch seconds, by the clock that all processes share."""
    return time.time()


class Writer:
    """Appends whole lines, whatever happens to the process next."""

    def __init__(self, directory: Path) -> None:
        self._pid = os.getpid()
        path = directory / f"{self._pid}.jsonl"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, what: What, *names: str, **more: object) -> None:
        """Writes an event down, of now and of this process unless `at` and `pid` say otherwise."""
        line = {"what": what, "at": now(), "pid": self._pid, "names": names, **more}
        os.write(self._descriptor, msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        os.close(self._descriptor)


def here() -> Writer:
    """The writer of a process that was told the folder."""
    return Writer(Path(os.environ[DIRECTORY]))


def mend(name: str) -> None:
    """From now on a task that has failed until now succeeds."""
    _mended(name).touch()


def is_mended(name: str) -> bool:
    """Whether it does."""
    return _mended(name).exists()


def _mended(name: str) -> Path:
    return Path(os.environ[DIRECTORY]) / f"{name}.mended"


def read(directory: Path) -> list[Event]:
    """What all have written, in the order of time."""
    decoder = msgspec.json.Decoder(Event)
    lines = [line for path in directory.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    return sorted((decoder.decode(line) for line in lines), key=lambda event: event.at)
