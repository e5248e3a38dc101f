"""`taskproc embedded`: a development server in the foreground."""

import json
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
import redis

from tests.cli.commands import TASKPROC, Commands
from tests.embedded.users import GONE_LIMIT, alive, using
from tests.kit import Process, block_until, free_port


@pytest.fixture
def directory() -> Generator[Path]:
    """For the server's data, with a short name; its server ends in the end."""
    with tempfile.TemporaryDirectory(prefix="tp-") as temporary:
        directory = Path(temporary).resolve() / "my data"
        yield directory
        block_until(lambda: not alive(directory), GONE_LIMIT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_until_it_is_ended(directory: Path, number: signal.Signals) -> None:
    """It prints its address, under which other commands find it, and ends well."""
    started = Process([str(TASKPROC), "embedded", str(directory)], env={"COLUMNS": "200", "PYTHONUNBUFFERED": "1"})
    try:
        block_until(lambda: "Ctrl-C ends it." in started.log, 20)
        url = f"embedded://{str(directory).replace(' ', '%20')}"
        assert f"TASKPROC_REDIS={url}" in started.log
        look = Process([str(TASKPROC), "status", "--redis", url])
        try:
            assert look.wait(20) == 0
            assert look.log.startswith(url)
        finally:
            look.close()
        started._signal(number)
        assert started.wait() == 0
        assert "Traceback" not in started.log
    finally:
        started.close()


LOOKS = ["status", "watch", "queues", "dead retry default", "pause", "doctor"]


@pytest.mark.parametrize("words", LOOKS)
async def test_looking_starts_no_server(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder where none runs, which is rather the wrong one: that is said, and nothing is made there."""
    monkeypatch.chdir(tmp_path)
    ran = await Commands({"TASKPROC_REDIS": "embedded"}).run(*words.split())
    assert ran.exit_code == 2
    assert (
        f"no embedded server runs in {tmp_path}/.taskproc: start the app there, or name another with "
        "--redis embedded:///path" in ran.output
    )
    assert list(tmp_path.iterdir()) == []


async def test_looking_at_a_server_that_has_gone(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs, `status` shows where in full; afterwards it does not come back for a look."""
    directory = directory.with_name(".taskproc")
    directory.parent.mkdir(exist_ok=True)
    monkeypatch.chdir(directory.parent)
    cli = Commands({"TASKPROC_REDIS": "embedded"})
    with using(directory):
        assert (await cli.said("status")).startswith(f"embedded://{directory}  ")
        assert (await cli.json("status"))["server"] == f"embedded://{directory}"
    block_until(lambda: not alive(directory), GONE_LIMIT)
    assert f"no embedded server runs in {directory}" in await cli.refused("status", code=2)
    assert not alive(directory)


def test_a_port(directory: Path) -> None:
    """Of this machine, for programs that know no sockets; it is closed in the end."""
    port = free_port()
    command = [str(TASKPROC), "embedded", str(directory), "--port", str(port), "--json"]
    started = Process(command, env={"PYTHONUNBUFFERED": "1"})
    try:
        block_until(lambda: "\n" in started.log, 20)
        said = json.loads(started.log)
        assert said["port"] == port
        with redis.Redis(port=port) as client, redis.Redis(unix_socket_path=said["socket"]) as other:
            assert client.ping()
            assert client.info("server")["run_id"] == other.info("server")["run_id"]
            assert client.config_get("bind")["bind"] == "127.0.0.1"
        with using(directory) as other:
            assert started.interrupt() == 0
            assert other.config_get("port")["port"] == "0"
    finally:
        started.close()


def test_a_port_that_is_taken(directory: Path, redis_url: str) -> None:
    """Is said, and the server ends."""
    port = redis_url.rpartition(":")[2].partition("/")[0]
    started = Process([str(TASKPROC), "embedded", str(directory), "--port", port])
    try:
        assert started.wait(20) == 2
        assert f"taskproc: the server cannot listen on port {port}" in started.log
        assert "Traceback" not in started.log
    finally:
        started.close()


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    """Is one message and exit code 2."""
    (tmp_path / "file").touch()
    started = Process([str(TASKPROC), "embedded", str(tmp_path / "file" / "below")])
    try:
        assert started.wait(20) == 2
        assert "the embedded server cannot use its directory" in started.log
    finally:
        started.close()
