"""Programs that a test starts and may stop, kill or freeze; none outlives the test."""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]

_LOG_SHOWN = 4_000  # characters of a log that go into an error

_running: set["Process"] = set()


class Process:
    """A running program, with what it has printed so far. It leads a process group: its children end with it."""

    def __init__(self, arguments: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> None:
        # Appended to, so that reading it here moves nothing there.
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed by `close`
        self._popen = subprocess.Popen(
            arguments,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.pid = self._popen.pid
        _running.add(self)

    @property
    def log(self) -> str:
        """All that it has printed, errors included."""
        descriptor = self._log.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")

    @property
    def log_end(self) -> str:
        """The end of the log, for a message."""
        return self.log[-_LOG_SHOWN:] or "(nothing printed)"

    @property
    def running(self) -> bool:
        """Whether it has not ended; a frozen one runs."""
        return self._popen.poll() is None

    def wait(self, seconds: float = 10) -> int:
        """Its exit code, negative for a signal; AssertionError with its log when it does not end in time."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"process {self.pid} did not end within {seconds:g} s:\n{self.log_end}") from None

    def terminate(self, seconds: float = 10) -> int:
        """Asks it to end (SIGTERM) and waits; its exit code."""
        self._signal(signal.SIGTERM)
        return self.wait(seconds)

    def interrupt(self, seconds: float = 10) -> int:
        """Presses Ctrl-C (SIGINT) and waits; its exit code."""
        self._signal(signal.SIGINT)
        return self.wait(seconds)

    def kill(self) -> None:
        """Ends it at once (SIGKILL), frozen or not, but not its children."""
        self._signal(signal.SIGKILL)
        self.wait()

    def freeze(self) -> None:
        """Stops it where it is (SIGSTOP), as a paused machine would; its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen one go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Kills it and all children in its group, and forgets the log."""
        if self not in _running:
            return
        _running.discard(self)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # all of the group have ended already
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()
        self._log.close()

    def _signal(self, number: signal.Signals) -> None:
        if self.running:  # else its number may be another's by now
            os.kill(self.pid, number)


@contextmanager
def process(code_or_args: str | Sequence[str], env: Mapping[str, str] | None = None) -> Generator[Process]:
    """Runs Python on a piece of code, or with arguments (`["-m", "uvicorn", …]`), until the block is left.

    It can import the packages, `tests` and `examples`. An exception in the block gets the program's log as a note.
    """
    arguments = ["-c", textwrap.dedent(code_or_args)] if isinstance(code_or_args, str) else code_or_args
    started = Process(
        [sys.executable, *arguments], env={"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(env or {})}
    )
    try:
        yield started
    except BaseException as error:
        error.add_note(f"process {started.pid} printed:\n{started.log_end}")
        raise
    finally:
        started.close()


@atexit.register
def _close_all() -> None:
    for started in list(_running):
        started.close()
