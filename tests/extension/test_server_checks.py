"""How the server is set up is looked at by the doctor, and by a worker that starts."""

import asyncio
import logging
import time
from collections.abc import Sequence

import pytest
from redis.crc import key_slot

from taskproc import ConfigurationError, TaskProcessor
from taskproc.doctor import worst
from taskproc.server_checks import about_info
from tests.conftest import MakeSettings
from tests.extension.doctor_kit import PREFIX, found, on
from tests.kit import Server, wait_until
from tests.kit.acl import PASSWORD, documented, login
from tests.kit.acl import PREFIX as DOCUMENTED_PREFIX
from tests.kit.topologies import cluster3, command, info, sentinel3
from tests.worker.kit import Jobs, processor_of, running


async def test_a_good_server_has_nothing_wrong() -> None:
    """With appendonly, and a worker."""
    with Server(appendonly="yes") as server:
        async with on(server) as tasks:
            assert "no worker runs" in await found(tasks, "warning")
            async with running(tasks):
                assert await found(tasks, "warning") + await found(tasks, "error") == ""
                assert "the clocks agree" in await found(tasks, "ok")


# Eviction and memory


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
async def test_no_worker_starts_where_tasks_are_deleted(policy: str) -> None:
    """With a limit and a policy that takes any key; without a limit it is a warning."""
    with Server(maxmemory_policy=policy) as server:
        async with on(server) as tasks:
            assert f"maxmemory-policy is {policy}: set maxmemory-policy noeviction" in await found(tasks, "warning")
            command(server, "CONFIG", "SET", "maxmemory", "100mb")
            assert f"maxmemory-policy is {policy}" in await found(tasks, "error")
            with pytest.raises(ConfigurationError, match=r"set maxmemory-policy noeviction.*No worker starts"):
                async with asyncio.timeout(5):
                    await tasks.run()
            command(server, "CONFIG", "SET", "maxmemory-policy", "volatile-lru")
            assert await found(tasks, "error") == ""
            assert "volatile-lru, which takes no tasks" in await found(tasks, "ok")
            async with running(tasks):
                pass


async def test_memory() -> None:
    """Nearly full is a warning."""
    with Server(appendonly="yes") as server:
        async with on(server) as tasks:
            assert "memory has no limit of its own" in await found(tasks, "ok")
            used = int(info(server, "memory")["used_memory"])
            command(server, "CONFIG", "SET", "maxmemory", used * 4)
            assert "% full" in await found(tasks, "ok")
            command(server, "CONFIG", "SET", "maxmemory", int(used * 1.02))
            assert "full: give it more" in await found(tasks, "warning")


# Persistence


async def test_what_outlives_a_restart() -> None:
    """Nothing, snapshots, or all but what the system has not written."""
    with Server(appendonly="no") as server:
        async with on(server) as tasks:
            assert "appendonly is off, and there are no snapshots: set appendonly yes" in await found(tasks, "warning")
            command(server, "CONFIG", "SET", "save", "3600 1")
            assert "there are only snapshots (3600 1): set appendonly yes" in await found(tasks, "warning")
            command(server, "CONFIG", "SET", "appendonly", "yes")
            assert "appendonly is on, appendfsync everysec" in await found(tasks, "ok")
            command(server, "CONFIG", "SET", "appendfsync", "no")
            assert "appendonly is on, but appendfsync is no" in await found(tasks, "warning")


async def test_a_snapshot_that_failed() -> None:
    """Its folder cannot be written; where snapshots are wanted the server takes no tasks then, which is said too."""
    with Server(appendonly="no", save="3600 1") as server:
        async with on(server, command_timeout=0.3) as tasks:
            assert "snapshot failed" not in await found(tasks, "error")
            server.directory.joinpath("dump.rdb").mkdir()
            command(server, "BGSAVE")
            await wait_until(lambda: info(server, "persistence")["rdb_last_bgsave_status"] == "err", 10)
            errors = await found(tasks, "error")
            assert "its last snapshot failed: look at its log and its disk" in errors
            assert "nothing can be written: " in errors
            assert "MISCONF" in errors


@pytest.mark.parametrize(
    "name, level, what",
    [
        ("aof_last_write_status", "error", "cannot write its appendonly file: look at its log and its disk"),
        ("aof_last_bgrewrite_status", "warning", "could not shorten its appendonly file: look at its log"),
    ],
)
def test_an_appendonly_file_that_cannot_be_written(name: str, level: str, what: str) -> None:
    """A disk that is full."""
    said = {"aof_enabled": "1", name: "err", "maxmemory_policy": "noeviction"}
    assert [what in str(finding) for finding in about_info(said, {}) if finding.level == level] == [True]


# Replicas, Sentinels, clusters


async def test_replicas() -> None:
    """A master should not work on without them; a replica is no place for tasks."""
    with Server(appendonly="yes") as server, Server(appendonly="yes") as other:
        async with on(server) as tasks:
            command(other, "REPLICAOF", "127.0.0.1", server.port)
            await wait_until(lambda: info(server, "replication")["connected_slaves"] == "1", 10)
            assert "it has replicas, and accepts writes without them: set min-replicas" in await found(tasks, "advice")
            command(server, "CONFIG", "SET", "min-replicas-to-write", 1)
            assert "replicas" not in await found(tasks, "advice")
            command(server, "CONFIG", "SET", "min-replicas-to-write", 0)
            command(other, "REPLICAOF", "NO", "ONE")
            command(server, "REPLICAOF", "127.0.0.1", other.port)
            started = time.monotonic()
            assert await found(tasks, "error") == REPLICA
            assert time.monotonic() - started < 2, "it tried what a replica refuses, until command_timeout"


REPLICA = "the server is a replica: connect to the master, or to Sentinels by redis+sentinel://…"


async def test_a_worker_on_a_replica_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """Before it tries what a replica refuses; it waits until it is a master."""
    with Server(appendonly="yes") as server, Server() as other:
        async with on(server, command_timeout=0.3) as tasks:
            command(server, "REPLICAOF", "127.0.0.1", other.port)
            worker = asyncio.create_task(tasks.run())
            await wait_until(lambda: REPLICA in caplog.messages, 5, "a warning")
            command(server, "REPLICAOF", "NO", "ONE")
            await wait_until(lambda: _has_workers(tasks), 5, "a worker")
            await tasks.stop()
            await worker


async def _has_workers(tasks: TaskProcessor) -> bool:
    return bool(await tasks.get_workers())


async def test_sentinels() -> None:
    """As a worker with few rights; a master without replicas has nothing to fail over to."""
    with sentinel3(appendonly="yes") as watched:
        as_worker = _with_login(watched.url, _create_users(watched.servers, "+info"))
        async with on(as_worker) as tasks:
            assert await found(tasks, "warning") == NO_WORKER
            assert "the user may do all that a worker does" in await found(tasks, "ok")
            master = watched.master
            for replica in watched.replicas:
                replica.kill()
            await wait_until(lambda: info(master, "replication")["connected_slaves"] == "0", 10)
            assert "the master that the Sentinels name has no replica: let one" in await found(tasks, "warning")


NO_WORKER = "no worker runs: start one: taskproc worker myapp:app, or add_task_processor_executor()"


async def test_a_cluster() -> None:
    """As a worker with few rights; the node has no replica, slots may lack a node."""
    with cluster3(appendonly="yes", cluster_require_full_coverage="no") as cluster:
        user = _create_users(cluster.nodes, "+cluster|slots", "+info")
        async with on(_with_login(cluster.url, user)) as tasks:
            assert "every hash slot has a node" in await found(tasks, "ok")
            assert "the node that has this prefix has no replica" in await found(tasks, "warning")
            lost = next(slot for slot in range(16_384) if slot != key_slot(PREFIX.encode()))
            for node in cluster.nodes:
                command(node, "CLUSTER", "DELSLOTS", lost)
            assert "1 of 16384 hash slots have no node: assign them" in await found(tasks, "warning")
        async with on(cluster.owner(PREFIX)) as tasks:
            assert "the address names one node of a cluster: use redis+cluster://" in await found(tasks, "warning")


async def test_a_cluster_that_does_not_tell_of_its_slots() -> None:
    """To one who connects to a node alone, and may do no more than a worker."""
    with cluster3(appendonly="yes") as cluster:
        user = _create_users(cluster.nodes, "+info")
        async with on(_with_login(cluster.owner(PREFIX).url, user)) as tasks:
            [finding] = [finding for finding in await tasks.examine() if finding.what.startswith("this could not")]
    assert (finding.level, finding.about) == ("advice", "cluster")
    assert "cluster" in finding.what.partition("refuses this user")[2]


def _create_users(servers: Sequence[Server], *more: str) -> str:
    """The documented worker on all of them; its login in a URL."""
    rules = [
        word.replace(DOCUMENTED_PREFIX, PREFIX).replace(">secret", f">{PASSWORD}") for word in documented("worker")
    ]
    for server in servers:
        command(server, "ACL", "SETUSER", "few", "reset", *rules, *more)
    return login("few")


def _with_login(url: str, user: str) -> str:
    return url.replace("://", f"://{user}@")


# Clocks


@pytest.mark.parametrize("ours, which", [(-60, "ahead of"), (60, "behind"), (-1.5, "ahead of")])
async def test_clocks(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, ours: float, which: str) -> None:
    """Of the server and of this machine."""
    async with processor_of(settings(), Jobs()) as tasks:
        real = time.time
        monkeypatch.setattr("taskproc.server_checks.time.time", lambda: real() + ours)
        warnings = await found(tasks, "warning")
        assert f"s {which} this machine's: set both by NTP" in warnings
        assert f"is {abs(ours):.1f} s" in warnings


async def test_a_slow_answer_is_no_wrong_clock(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours may have gone on for seconds when it comes."""
    async with processor_of(settings(), Jobs()) as tasks:
        real, looks = time.time, iter([-5, 5])
        monkeypatch.setattr("taskproc.server_checks.time.time", lambda: real() + next(looks, 0))
        assert "the clocks agree" in await found(tasks, "ok")


# Versions, and what a server says


@pytest.mark.parametrize(
    "said, level, update",
    [
        ({"redis_version": "6.0.16"}, "error", "run Redis 6.2 or newer"),
        ({"redis_version": "6.2.19"}, "advice", "update to 6.2.20 or newer"),
        ({"redis_version": "6.2.20"}, "ok", ""),
        ({"redis_version": "7.0.15"}, "advice", "update to 7.2.11 or newer"),
        ({"redis_version": "7.2.11"}, "ok", ""),
        ({"redis_version": "7.4.5"}, "advice", "update to 7.4.6 or newer"),
        ({"redis_version": "8.0.4"}, "ok", ""),
        ({"redis_version": "8.2.1"}, "advice", "update to 8.2.2 or newer"),
        ({"redis_version": "8.4.0"}, "ok", ""),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.10"}, "advice", "update to 7.2.11 or newer"),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.6"}, "ok", ""),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.3"}, "advice", "update to 8.1.4 or newer"),
        ({"redis_version": "7.2.4", "valkey_version": "9.0.0"}, "ok", ""),
        ({"redis_version": "unstable"}, "ok", ""),
        ({}, "ok", ""),
    ],
)
def test_versions(said: dict[str, str], level: str, update: str) -> None:
    """Too old, known to be bad, or nothing to say."""
    [finding] = [finding for finding in about_info(said, None) if finding.about == "version"]
    assert (finding.level, update in finding.remedy) == (level, True)


def test_a_server_that_says_odd_things() -> None:
    """It ends no worker, and what it does not tell is not made up."""
    odd = {"maxmemory": "²", "used_memory": "", "connected_slaves": "-", "redis_version": "\u0667.\u0660.\u0661"}
    findings = list(about_info(odd, None))
    assert worst(findings) == "advice"
    assert {finding.about for finding in findings if finding.level == "advice"} == {"eviction", "persistence"}


async def test_what_a_worker_logs_at_its_start(caplog: pytest.LogCaptureFixture) -> None:
    """What is wrong with the server, each with its remedy."""
    with Server(appendonly="no", maxmemory_policy="allkeys-lru") as server:
        async with on(server) as tasks:
            with caplog.at_level(logging.WARNING, "taskproc.doctor"):
                async with running(tasks):
                    pass
    messages = [record.getMessage() for record in caplog.records if record.name == "taskproc.doctor"]
    assert [message.partition(":")[0] for message in messages] == [
        "maxmemory-policy is allkeys-lru",
        "appendonly is off, and there are no snapshots",
    ]
    assert all(": set " in message for message in messages)


async def test_what_a_server_says_makes_no_second_line_of_a_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, settings: MakeSettings
) -> None:
    """However odd its words are."""
    async with processor_of(settings(), Jobs()) as tasks:

        async def odd(_storage: object) -> dict[str, str]:
            return {"maxmemory_policy": "allkeys-\x1b[2J\nERROR forged", "aof_enabled": "1"}

        monkeypatch.setattr("taskproc.doctor.server_info", odd)
        async with running(tasks):
            pass
    [message] = [record.getMessage() for record in caplog.records if record.name == "taskproc.doctor"]
    assert message.startswith(r"maxmemory-policy is allkeys-\x1b[2J\nERROR forged: set ")
