"""Programs that tests of the examples start, each in a folder of its own, which is where its embedded server is."""

import os
import re
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.kit import Process, block_until, free_port, process

START_LIMIT = 30.0  # seconds; two Python processes and a server on a busy machine

CANCELLED = {"asyncio.exceptions.CancelledError"}
"""What SQLAlchemy logs when a task is cancelled while its connection goes back to the pool."""


@contextmanager
def uvicorn(app: str, folder: Path, *, workers: int = 1, env: dict[str, str] | None = None) -> Generator["Site"]:
    """Serves an app, which may be a file of that folder. It has ended in an orderly way when the block is left."""
    port = free_port()
    served = f"{app!r}, app_dir={str(folder)!r}, port={port}, workers={workers}"
    code = f"import os, uvicorn; os.chdir({str(folder)!r}); uvicorn.run({served})"
    with process(code, env) as started, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        block_until(lambda: _is_up(started.log, workers), START_LIMIT, f"start of {app}")
        yield Site(started, client)
        assert started.terminate() in {0, -signal.SIGTERM}, started.log_end
        assert _errors(started.log) <= CANCELLED, started.log.partition("Traceback")[2][:4000]


class Site:
    """A served app, and a client of it."""

    def __init__(self, process_: Process, client: httpx.Client) -> None:
        self.process = process_
        self.client = client

    def wait_for_output(self, text: str, times: int = 1) -> None:
        """Returns when the app has printed the text so often."""
        block_until(lambda: self.process.log.count(text) >= times, 10, f"{text!r} in the log:\n{self.process.log_end}")

    def kill_worker(self) -> None:
        """Kills (SIGKILL) one of its processes; uvicorn starts another."""
        pids = re.findall(r"Started server process \[(\d+)\]", self.process.log)
        os.kill(int(pids[-1]), signal.SIGKILL)


@contextmanager
def script(file: Path, folder: Path) -> Generator[Process]:
    """Runs a file as `python file` does."""
    code = f"import os, runpy; os.chdir({str(folder)!r}); runpy.run_path({str(file)!r}, run_name='__main__')"
    with process(code) as started:
        yield started


def _is_up(log: str, workers: int) -> bool:
    return "Uvicorn running on" in log and log.count("startup complete") == workers


def _errors(log: str) -> set[str]:
    """The kinds of errors whose tracebacks are in the log."""
    return {error.partition(":")[0] for error in re.findall(r"^Traceback.*\n(?: .*\n)*(\S.*)$", log, re.MULTILINE)}
