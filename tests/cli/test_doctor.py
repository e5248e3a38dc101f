"""`taskproc doctor`: its table, its JSON and its exit codes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from taskproc.cli.app import app
from tests.cli.commands import TASKPROC
from tests.kit import Server, free_port
from tests.kit.topologies import command

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command for a processor on an address, `mine:tasks`, wide enough that no line is broken."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "mine", raising=False)

    def run(url: str, *options: str, target: str = "mine:tasks") -> Result:
        sys.modules.pop("mine", None)
        tmp_path.joinpath("mine.py").write_text(
            "from taskproc import TaskProcessor, TaskProcessorSettings\n"
            f"tasks = TaskProcessor(TaskProcessorSettings(redis={url!r}, command_timeout=0.5))\n"
        )
        return CliRunner(env={"COLUMNS": "300"}).invoke(app, ["doctor", *([target] if target else []), *options])

    return run


def test_it_is_told_where_to_look_like_all_others(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an app, positional or not, an address and a prefix, or the environment."""
    with Server(appendonly="yes") as server, Server(appendonly="yes") as other:
        command(server, "SET", "{mine}:something", "1")
        monkeypatch.setenv("TASKPROC_REDIS", other.url)
        shown = [run(server.url).output, run(server.url, "--app", "mine:tasks", target="").output]
        assert shown[0] == shown[1]
        for options in (["--redis", server.url, "--prefix", "{mine}"], []):
            found = json.loads(run(server.url, "--json", *options, target="").output)
            assert "connection" not in {each["about"] for each in found if each["level"] == "error"}
        other.kill()
        assert run(server.url, target="").exit_code == 2
        assert run(server.url, "--redis", server.url, target="").exit_code == 1


def test_an_app_is_named_once(run: Run) -> None:
    """Neither twice, nor with an address beside it."""
    twice = run("redis://localhost", "--app", "mine:tasks")
    assert (twice.exit_code, "name the app once" in twice.output) == (2, True)
    beside = run("redis://localhost", "--redis", "redis://localhost")
    assert (beside.exit_code, "leave out --redis, or --app" in beside.output) == (2, True)


def test_a_secret_setting_that_is_wrong(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is said, not its value."""
    monkeypatch.setenv("TASKPROC_SIGNING_KEYS", "tooshort")
    shown = run("redis://localhost", target="")
    assert shown.exit_code == 2
    assert "signing_keys.0: " in shown.output
    assert "tooshort" not in shown.output


def test_pipes_take_whole_lines() -> None:
    """However long; none ends with blanks."""
    with Server(appendonly="yes", maxmemory="100mb", maxmemory_policy="allkeys-lfu") as server:
        env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        ran = subprocess.run(
            [TASKPROC, "doctor", "--redis", server.url], env=env, capture_output=True, text=True, check=False
        )
    assert "set maxmemory-policy noeviction: with this one the server deletes tasks when memory is short" in ran.stdout
    assert [line for line in ran.stdout.splitlines() if line != line.rstrip()] == []


def test_a_warning_ends_with_1(run: Run) -> None:
    """Each thing has its line, its remedy stands below."""
    with Server(appendonly="yes") as server:
        shown = run(server.url)
    assert shown.exit_code == 1
    lines = [line.split() for line in shown.output.splitlines()]
    assert ["warning", "workers", "no", "worker", "runs"] in lines
    assert ["ok", "clock", "the", "clocks", "agree"] in lines
    below = lines[lines.index(["warning", "workers", "no", "worker", "runs"]) + 1]
    assert below[:4] == ["→", "start", "one:", "taskproc"]


def test_an_error_ends_with_2(run: Run) -> None:
    """As JSON it says what it is about, in words that stay."""
    with Server(appendonly="yes", maxmemory="100mb", maxmemory_policy="allkeys-lfu") as server:
        shown = run(server.url, "--json")
        assert shown.exit_code == 2
        [error] = [finding for finding in json.loads(shown.output) if finding["level"] == "error"]
        assert error == {
            "level": "error",
            "about": "eviction",
            "what": "maxmemory-policy is allkeys-lfu",
            "remedy": "set maxmemory-policy noeviction: with this one the server deletes tasks when memory is short",
        }


def test_nothing_wrong_ends_with_0(run: Run) -> None:
    """A worker runs, or so it seems."""
    with Server(appendonly="yes") as server:
        about = ("host", "here", "pid", 1, "since", 0, "queues", "default", "slots", 1, "version", 1)
        command(server, "HSET", "{taskproc}:worker:w", *about)
        command(server, "ZADD", "{taskproc}:workers", 9_000_000_000_000, "w")
        shown = run(server.url)
    assert (shown.exit_code, "warning" in shown.output) == (0, False), shown.output


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_server_that_cannot_be_reached(run: Run, options: tuple[str, ...]) -> None:
    """It is an error like others, and shows no password."""
    shown = run(f"redis://:secret@127.0.0.1:{free_port()}/0", *options)
    assert shown.exit_code == 2
    assert "cannot be reached" in shown.output
    assert "secret" not in shown.output
    assert isinstance(shown.exception, SystemExit)


def test_a_wrong_password(run: Run) -> None:
    """The server is there, but lets nobody in."""
    with Server(requirepass="right") as server:
        shown = run(server.url.replace("right", "wrong"), "--json")
    assert shown.exit_code == 2
    [error] = json.loads(shown.output)
    assert error["about"] == "connection"
    assert "Check user and password in `redis`" in error["what"]
    assert "wrong" not in error["what"]


@pytest.mark.parametrize(
    "target, said",
    [
        ("nowhere:tasks", "there is no module 'nowhere' here"),
        ("mine:nothing", "mine has no 'nothing'"),
        ("mine", "use module:name"),
        ("json:dumps", "has no task processor"),
    ],
)
def test_a_target_that_is_not_there(run: Run, target: str, said: str) -> None:
    """Nothing could be looked at: that is no mere warning."""
    shown = run("redis://localhost", "--json", target=target)
    [error] = json.loads(shown.stdout)
    assert (shown.exit_code, error["level"], error["about"]) == (2, "error", "target")
    assert said in error["what"]
    assert "Traceback" not in shown.stderr


def test_a_target_that_cannot_be_imported(run: Run, tmp_path: Path) -> None:
    """Its own error, and where: on stderr, so that what programs read stays JSON."""
    tmp_path.joinpath("broken.py").write_text("raise ValueError('not today')\n")
    shown = run("redis://localhost", "--json", target="broken:tasks")
    [error] = json.loads(shown.stdout)
    assert (shown.exit_code, error["about"]) == (2, "target")
    assert error["what"] == "broken:tasks cannot be imported: ValueError: not today"
    assert "broken.py" in shown.stderr


def test_control_characters_do_not_reach_the_terminal(run: Run) -> None:
    """Whoever writes to Redis could move the cursor, or forge lines."""
    with Server(appendonly="yes") as server:
        about = ("host", "a\x1b[2Jb\nc", "pid", 1, "since", 0, "queues", "default", "slots", 1, "version", 1)
        command(server, "HSET", "{taskproc}:worker:w", *about)
        command(server, "ZADD", "{taskproc}:workers", 1, "w")
        shown = run(server.url)
    assert r"(a\x1b[2Jb\nc)" in shown.output
    assert "\x1b[2J" not in shown.output
