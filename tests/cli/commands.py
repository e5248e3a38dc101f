"""Commands of `taskproc`, run in this process, or at a terminal of their own."""

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from taskproc.cli.app import app
from tests.kit import block_until

TASKPROC = Path(sys.executable).with_name("taskproc")
AT_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs commands with these variables, on lines so long that nothing is cut."""

    env: Mapping[str, str]

    async def run(self, *words: str, columns: int = 400) -> Result:
        """What a command printed, and its exit code."""
        runner = CliRunner(env={**self.env, "COLUMNS": str(columns)})
        return await asyncio.to_thread(runner.invoke, app, words)

    async def said(self, *words: str, columns: int = 400) -> str:
        """What a command that went well printed."""
        ran = await self.run(*words, columns=columns)
        assert ran.exit_code == 0, ran.output
        assert ran.stderr == ""
        return str(ran.stdout)

    async def lines(self, *words: str, columns: int = 400) -> list[list[str]]:
        """The words of each line that it printed."""
        return [line.split() for line in (await self.said(*words, columns=columns)).splitlines()]

    async def json(self, *words: str) -> Any:
        """The JSON that it printed."""
        return json.loads(await self.said(*words, "--json"))

    async def refused(self, *words: str, code: int = 1) -> str:
        """The one message of a command that ended with this code, and printed nothing else."""
        ran = await self.run(*words)
        assert ran.exit_code == code, ran.output
        assert isinstance(ran.exception, SystemExit), ran.exception
        message = str(ran.stderr)
        assert message.startswith("taskproc: ")
        return message.removeprefix("taskproc: ").strip()


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, words: tuple[str, ...], env: Mapping[str, str], columns: int) -> None:
        self._ours, theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.modes = termios.tcgetattr(theirs)
        command = [sys.executable, "-c", AT_TERMINAL, str(TASKPROC), *words]
        self._popen = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=_environment(env)
        )
        self._theirs = theirs
        self._read = b""

    @property
    def raw(self) -> str:
        """All that was printed, with what moves the cursor."""
        with suppress(BlockingIOError, OSError):
            while more := os.read(self._ours, 65_536):
                self._read += more
        return self._read.decode(errors="replace")

    @property
    def shown(self) -> str:
        """All that was printed."""
        return ESCAPES.sub("", self.raw)

    def until(self, text: str) -> None:
        """Waits until something was printed."""
        block_until(lambda: text in self.shown, 20, f"{text!r} at the terminal, which shows {self.shown[-2000:]!r}")

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        block_until(lambda: (self.raw, self._popen.poll() is not None)[1], 20, "the end of the command")
        return self._popen.wait()

    @property
    def is_as_before(self) -> bool:
        """Whether the cursor is shown, the usual screen is back, and keys are read line by line."""
        raw = self.raw
        cursor = raw.rfind("\x1b[?25h") >= raw.rfind("\x1b[?25l")
        screen = raw.rfind("\x1b[?1049l") >= raw.rfind("\x1b[?1049h")
        return cursor and screen and termios.tcgetattr(self._theirs) == self.modes

    def close(self) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait()
        os.close(self._ours)
        os.close(self._theirs)


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    return {**kept, "TERM": "xterm-256color", **env}


@contextmanager
def terminal(*words: str, env: Mapping[str, str], columns: int = 100) -> Generator[Terminal]:
    """`taskproc …` at a terminal of so many columns; killed when the block is left."""
    started = Terminal(words, env, columns)
    try:
        yield started
    except BaseException as error:
        error.add_note(f"the terminal shows:\n{started.shown[-3000:]}")
        raise
    finally:
        started.close()
