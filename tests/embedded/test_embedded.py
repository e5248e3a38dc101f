"""The embedded server: shared by its users, there for as long as one of them lives, and no longer."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from taskproc import embedded, embedded_server
from tests.embedded.users import (
    GONE_LIMIT,
    alive,
    answers,
    client_at,
    run_id,
    seen_by,
    server_pid,
    supervisor_pid,
    url,
    user_of,
    using,
)
from tests.kit.waiting import block_until


def test_users_share_one_server(directory: Path) -> None:
    """The first user starts the server, and another process gets the same one."""
    with using(directory) as client, user_of(directory) as other:
        assert seen_by(other) == run_id(client)


def test_the_server_ends_with_its_last_user(directory: Path) -> None:
    """It outlives the user who started it, and is gone within 5 s of the last one's SIGKILL."""
    with user_of(directory) as first, user_of(directory) as last:
        seen_by(first)
        seen_by(last)
        first.kill()
        time.sleep(3 * embedded_server.POLL)
        assert alive(directory)
        last.kill()
        block_until(lambda: not alive(directory), GONE_LIMIT)
        assert not (directory / embedded_server.SOCKET).exists()


def test_data_are_kept(directory: Path) -> None:
    """What was written is there when the server runs again."""
    with using(directory) as client:
        first = run_id(client)
        client.set("greeting", "hello")
    block_until(lambda: not alive(directory), GONE_LIMIT)
    with using(directory) as client:
        assert run_id(client) != first
        assert client.get("greeting") == "hello"
        assert client.config_get("appendonly", "appendfsync", "maxmemory-policy") == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }


def test_what_a_power_loss_leaves_behind_does_no_harm(directory: Path) -> None:
    """Lock files, a socket without a server and half a command at the end of the data do not keep it from starting."""
    with using(directory) as client:
        client.set("greeting", "hello")
    block_until(lambda: not alive(directory), GONE_LIMIT)
    for name in (embedded_server.USERS_LOCK, embedded_server.SUPERVISOR_LOCK, embedded_server.SERVER_LOCK):
        (directory / name).write_text(f"{os.getpid()}\n")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(directory / embedded_server.SOCKET))
    [log] = (directory / "data").glob("*.incr.aof")
    with log.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$8\r\ngreet")
    with using(directory) as client:
        assert client.get("greeting") == "hello"


def test_many_first_users_start_one_server(directory: Path) -> None:
    """Eight processes that start at once share one server, started once."""
    with contextlib.ExitStack() as stack:
        users = [stack.enter_context(user_of(directory)) for _ in range(8)]
        assert len({seen_by(user) for user in users}) == 1
    assert (directory / embedded_server.LOG).read_text().count("Server initialized") == 1


def test_a_killed_server_comes_back(directory: Path) -> None:
    """While it has users, a server that was killed is started again, with its data and at the same socket."""
    with using(directory) as client:
        client.set("greeting", "hello")
        first, supervisor = run_id(client), supervisor_pid(directory)
        os.kill(server_pid(client), signal.SIGKILL)
        block_until(lambda: not answers(client), 1)
        block_until(lambda: answers(client), GONE_LIMIT)
        assert run_id(client) != first
        assert client.get("greeting") == "hello"
        assert supervisor_pid(directory) == supervisor


def test_a_killed_supervisor_is_replaced(directory: Path) -> None:
    """Its server goes with it; a user that still lives starts both again, and they end with the last user."""
    with user_of(directory) as user:
        seen_by(user)
        with using(directory) as client:
            client.set("greeting", "hello")
            first, supervisor = run_id(client), supervisor_pid(directory)
            os.kill(supervisor, signal.SIGKILL)
            block_until(lambda: supervisor_pid(directory) != supervisor and answers(client), GONE_LIMIT)
            assert run_id(client) != first
            assert client.get("greeting") == "hello"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_nothing_survives_the_death_of_users_and_supervisor(directory: Path) -> None:
    """Killed one right after the other, user and supervisor leave no server behind."""
    with user_of(directory) as user:
        seen_by(user)
        supervisor = supervisor_pid(directory)
        user.kill()
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGKILL)
        block_until(lambda: not alive(directory), GONE_LIMIT)


def test_a_server_without_a_supervisor_is_replaced(directory: Path) -> None:
    """One that was left behind is ended before another is started, so that two never write the same data."""
    with using(directory) as client:
        client.set("greeting", "hello")
    block_until(lambda: not alive(directory), GONE_LIMIT)
    lock = embedded_server.open_lock(directory / embedded_server.SERVER_LOCK)
    assert embedded_server.try_lock(lock, exclusive=True)
    binary = embedded._binary("embedded")
    orphan = subprocess.Popen([binary, *embedded_server._options()], cwd=directory, pass_fds=[lock], stdout=-3)
    os.close(lock)
    with orphan, client_at(str(directory / embedded_server.SOCKET)) as old, contextlib.ExitStack() as stack:
        stack.callback(orphan.kill)
        block_until(lambda: answers(old), GONE_LIMIT)
        old.set("greeting", "goodbye")
        with using(directory) as client:
            assert orphan.wait(1) == 0
            assert server_pid(client) != orphan.pid
            assert client.get("greeting") == "goodbye"


def test_signals_of_a_terminal_or_service_manager_leave_it_alone(directory: Path) -> None:
    """Ctrl-C reaches neither server nor supervisor, and terminating both does not take the server from its users."""
    with using(directory) as client, user_of(directory) as user:
        seen_by(user)
        first, server, supervisor = run_id(client), server_pid(client), supervisor_pid(directory)
        assert os.getsid(server) == os.getsid(supervisor) not in {os.getsid(0), os.getsid(user.pid)}
        os.killpg(user.pid, signal.SIGINT)
        user.wait()
        for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.kill(supervisor, signum)
        os.kill(server, signal.SIGTERM)
        time.sleep(4 * embedded_server.POLL)
        assert run_id(client) == first


@pytest.mark.slow
def test_a_terminated_supervisor_is_replaced_in_the_end(directory: Path) -> None:
    """Users who stay after the service that it belonged to has ended get a supervisor of their own."""
    with using(directory) as client:
        client.set("greeting", "hello")
        supervisor = supervisor_pid(directory)
        os.kill(supervisor, signal.SIGTERM)
        block_until(lambda: supervisor_pid(directory) != supervisor, embedded_server.TERMINATED_LIMIT + GONE_LIMIT)
        block_until(lambda: answers(client), GONE_LIMIT)
        assert client.get("greeting") == "hello"


FORK = """
import os, subprocess
subprocess.Popen(["sleep", "60"])
if os.fork() == 0:
    print("child", os.getpid(), flush=True)
time.sleep(60)
"""


def test_forked_and_executed_children_are_no_users(directory: Path) -> None:
    """Neither a fork that outlives its parent nor a program that a user has started keeps the server."""
    with user_of(directory, FORK) as user:
        [child] = block_until(lambda: re.findall(r"child (\d+)\n", user.log), 20)
        user.kill()
        block_until(lambda: not alive(directory), GONE_LIMIT)
        assert os.getpgid(int(child)) == user.pid, "the child still lives"


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")  # from Python 3.12 on
def test_a_fork_does_not_take_the_lock_from_its_parent(directory: Path) -> None:
    """A child that closes what it inherited leaves the parent a user."""
    with using(directory) as client:
        first = run_id(client)
        child = os.fork()
        if child == 0:
            os._exit(len(embedded._Lock.everyone))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        time.sleep(3 * embedded_server.POLL)
        assert run_id(client) == first


def test_each_start_is_a_user(directory: Path) -> None:
    """A process that started twice is a user until it has closed twice; to close again does nothing."""
    first, second = embedded.start(url(directory)), embedded.start(url(directory))
    assert first.socket == second.socket
    assert first.path == directory
    with client_at(second.socket) as client:
        first.close()
        first.close()
        time.sleep(3 * embedded_server.POLL)
        assert answers(client)
        second.close()
        block_until(lambda: not answers(client), GONE_LIMIT)


def test_close_leaves_no_thread(directory: Path) -> None:
    """The thread that looks after the supervisor ends with the use."""
    with using(directory):
        assert "taskproc-embedded" in {thread.name for thread in threading.enumerate()}
    block_until(lambda: "taskproc-embedded" not in {thread.name for thread in threading.enumerate()}, 1)


@pytest.mark.slow
def test_whoever_comes_when_the_last_user_leaves_gets_a_working_server(directory: Path) -> None:
    """Never one that is about to end, nor a second one beside it: 30 users arrive while the server is ending."""
    for turn in range(30):
        with using(directory) as client:
            assert client.incr("turns") == 2 * turn + 1
        time.sleep(random.uniform(0, 0.5))
        with using(directory) as client:
            first = run_id(client)
            assert client.incr("turns") == 2 * turn + 2
            time.sleep(3 * embedded_server.POLL)
            assert run_id(client) == first
