"""A server's directory, and the users of its server."""

import contextlib
import os
import re
from collections.abc import Generator
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from taskproc import embedded, embedded_server
from tests.kit.processes import Process, process
from tests.kit.waiting import block_until

GONE_LIMIT = 5.0
"""Seconds in which the server ends after its last user."""


USER = """
import sys, time, redis
from taskproc import embedded

used = embedded.start(sys.argv[1])
with redis.Redis(unix_socket_path=used.socket) as client:
    print("server", client.info("server")["run_id"], flush=True)
"""


@contextlib.contextmanager
def user_of(directory: Path, then: str = "time.sleep(60)") -> Generator[Process]:
    """A process of its own that uses the server."""
    with process(["-c", f"{USER}{then}", url(directory)]) as started:
        yield started


def seen_by(user: Process) -> str:
    """The run of the server that the process uses; waits until it does."""
    [seen] = block_until(lambda: re.findall(r"server (\w+)\n", user.log), 20)
    return str(seen)


def url(directory: Path) -> str:
    """The directory as a setting."""
    return f"embedded://{directory}"


@contextlib.contextmanager
def using(directory: Path) -> Generator[redis.Redis]:
    """A client of the server; this process is one of its users meanwhile."""
    used = embedded.start(url(directory))
    with contextlib.closing(used), client_at(used.socket) as client:
        yield client


def client_at(path: str) -> redis.Redis:
    """A client that does not try twice."""
    return redis.Redis(unix_socket_path=path, decode_responses=True, retry=Retry(NoBackoff(), 0))


def run_id(client: redis.Redis) -> str:
    """Which run of the server this is."""
    return str(client.info("server")["run_id"])


def server_pid(client: redis.Redis) -> int:
    """Its process."""
    return int(client.info("server")["process_id"])


def supervisor_pid(directory: Path) -> int:
    """Its parent."""
    return int((directory / embedded_server.SUPERVISOR_LOCK).read_text() or "0")


def answers(client: redis.Redis) -> bool:
    """Whether the server is there."""
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def alive(directory: Path) -> bool:
    """Whether a supervisor or a server lives: each holds its lock."""
    return any(locked(directory / name) for name in (embedded_server.SUPERVISOR_LOCK, embedded_server.SERVER_LOCK))


def locked(file: Path) -> bool:
    """Whether anybody holds the lock."""
    if not file.exists():
        return False
    lock = embedded_server.open_lock(file)
    try:
        return not embedded_server.try_lock(lock, exclusive=True)
    finally:
        os.close(lock)
