"""The supervisor of the embedded server: a process of its own that lasts as long as the server has users.

`taskproc.embedded` starts this file as a script, in the directory of the data. It imports nothing of the package, so
that it is up within milliseconds and stays small. Three locks say everything; the kernel drops them with the process
that holds them, so none can be stale:

    users.lock        shared by every user; the supervisor ends when it gets it for itself alone
    supervisor.lock   held for as long as there is a supervisor; taken by the user who starts one, and handed over
    server.lock       inherited by the server, so that two never write the same data
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType

if sys.platform != "win32":
    import fcntl

__all__ = ["ANSWER_LIMIT", "LOAD_LIMIT", "LOG", "READY", "SERVER_LOCK", "SOCKET", "SUPERVISOR_LOCK", "USERS_LOCK"]

USERS_LOCK, SUPERVISOR_LOCK, SERVER_LOCK = "users.lock", "supervisor.lock", "server.lock"
SOCKET, LOG = "server.sock", "server.log"

READY = "ready"
"""What the supervisor prints when the server answers; anything else it prints says why it does not."""

ANSWER_LIMIT, LOAD_LIMIT = 10.0, 300.0
"""Seconds to wait for a server that says nothing, and for one that says it is still loading its data."""

POLL, STOP_LIMIT, RESTART_PAUSE = 0.2, 3.0, 1.0
"""Seconds from one look at users and server to the next, for the server to end, from one start to the next."""

TERMINATED_LIMIT = 30.0
"""Seconds that a terminated supervisor goes on: a service manager terminates all processes of a service at once, and
the users among them still have tasks to hand back. Users outside of that service start a new supervisor then."""

LOG_LIMIT = 1 << 20
LOG_TAIL = 8

PR_SET_PDEATHSIG = 1


def supervise(binary: str) -> None:
    """Starts the server in the current directory and ends it with its last user."""
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    Path(SUPERVISOR_LOCK).write_text(f"{os.getpid()}\n", encoding="ascii")
    users = open_lock(USERS_LOCK)
    server = Server(binary)
    try:
        server.take_over()
        server.start()
        server.wait_ready()
        _report_ready(server.log)
        _serve(server, users)
    finally:
        server.stop()


def _report_ready(log: int) -> None:
    """The user waits for the end of our output, so from here on it goes to the log."""
    print(READY, flush=True)  # noqa: T201
    os.dup2(log, 1)
    os.dup2(log, 2)


def _serve(server: Server, users: int) -> None:
    ends = [math.inf]

    def terminated(_signal: int, _frame: FrameType | None) -> None:
        ends.append(time.monotonic() + TERMINATED_LIMIT)

    signal.signal(signal.SIGTERM, terminated)
    while time.monotonic() < min(ends) and not try_lock(users, exclusive=True):
        server.keep_running()
        time.sleep(POLL)


class StartError(Exception):
    """The server cannot be started; the message says why."""


class Server:
    """The valkey-server of the current directory."""

    def __init__(self, binary: str) -> None:
        self._binary = binary
        self._lock = open_lock(SERVER_LOCK)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        if Path(LOG).exists() and Path(LOG).stat().st_size > LOG_LIMIT:
            Path(LOG).replace(LOG + ".1")
        self.log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._log_start = os.fstat(self.log).st_size

    def take_over(self) -> None:
        """Ends what a supervisor that was killed may have left behind (on Linux nothing: it goes with its parent)."""
        deadline = time.monotonic() + ANSWER_LIMIT
        while not try_lock(self._lock, exclusive=True):
            if time.monotonic() > deadline:
                raise StartError("an older valkey-server of this directory does not end: kill it")
            ask(SOCKET, b"SHUTDOWN NOSAVE\r\n")
            time.sleep(POLL / 2)

    def start(self) -> None:
        self._started = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603
            [self._binary, *_options()],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            pass_fds=[self._lock],
            preexec_fn=partial(_bind_to, os.getpid()),  # noqa: PLW1509  # there is but one thread
        )

    def wait_ready(self) -> None:
        deadline = time.monotonic() + ANSWER_LIMIT
        while True:
            code = self._process.poll() if self._process else None
            if code is not None:
                raise StartError(f"valkey-server ended with code {code}{self._log_tail()}")
            answer = ask(SOCKET, b"PING\r\n")
            if is_ready(answer):
                return
            if is_loading(answer):
                deadline = self._started + LOAD_LIMIT
            if time.monotonic() > deadline:
                raise StartError(f"valkey-server {described(answer)}{self._log_tail()}")
            time.sleep(0.02)

    def keep_running(self) -> None:
        """Starts a server that was killed again, at most once in `RESTART_PAUSE`."""
        code = self._process.poll() if self._process else None
        if code is None or time.monotonic() < self._started + RESTART_PAUSE:
            return
        self._say(f"valkey-server ended with code {code}, starting it again")
        try:
            self.start()
        except OSError as error:
            self._say(f"{error}")

    def stop(self) -> None:
        """Ends the server, its name first: nobody can reach one that is about to end."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            Path(SOCKET).unlink()
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _log_tail(self) -> str:
        lines = Path(LOG).read_bytes()[self._log_start :].decode(errors="replace").splitlines()
        return "".join(f"\n    {line}" for line in lines[-LOG_TAIL:])

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self.log, f"{os.getpid()}:supervisor {time.strftime('%d %b %Y %H:%M:%S')} {text}\n".encode())


def _options() -> list[str]:
    settings = {
        "port": "0",
        "unixsocket": SOCKET,
        "unixsocketperm": "700",
        "appendonly": "yes",
        "appenddirname": "data",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def _bind_to(supervisor: int) -> None:
    """In the server before it runs: it leaves SIGTERM to the supervisor, and on Linux it dies with it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)


def open_lock(name: str | Path) -> int:
    """A descriptor of the lock file, which a program that is executed does not inherit."""
    return os.open(name, os.O_RDWR | os.O_CREAT, 0o600)


def try_lock(lock: int, *, exclusive: bool) -> bool:
    """Whether the lock is ours now; never waits."""
    try:
        fcntl.flock(lock, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def ask(path: str, command: bytes) -> bytes:
    """The first bytes of the server's answer, or none if it does not answer within a second."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        connection.connect(path)
        connection.sendall(command)
        return connection.recv(256)
    return b""


def is_ready(answer: bytes) -> bool:
    return answer.startswith(b"+PONG")


def is_loading(answer: bytes) -> bool:
    return answer.startswith(b"-LOADING")


def described(answer: bytes) -> str:
    """An answer other than the one that is waited for, for a message; a full disk, for instance, is told this way."""
    return f"says {answer.decode(errors='replace').strip()!r}" if answer else "does not answer"


def main(binary: str) -> None:
    """Leaves the user who called: a child of it would have to be waited for."""
    if os.fork() == 0:
        try:
            supervise(binary)
        except (OSError, StartError) as error:
            print(error, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[2])
