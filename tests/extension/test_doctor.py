"""What will lose or hold up tasks is found, and said with its remedy."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from taskproc import ConfigurationError, TaskProcessor, TaskProcessorSettings
from taskproc.cli.app import app
from taskproc.doctor import Finding, worst
from tests.conftest import MakeSettings
from tests.kit import Server
from tests.kit.acl import as_user, create_user
from tests.kit.topologies import command
from tests.worker.kit import Jobs, processor_of, working


@asynccontextmanager
async def on(server: Server, **settings: Any) -> AsyncGenerator[TaskProcessor]:
    """A processor on a server of its own."""
    async with TaskProcessor(TaskProcessorSettings(redis=server.url, prefix="{doctor}", **settings)) as processor:
        yield processor


async def found(processor: TaskProcessor, level: str) -> str:
    """All of that level."""
    return "\n".join(str(finding) for finding in await processor.examine() if finding.level == level)


async def test_a_good_server_has_nothing_wrong() -> None:
    """With appendonly, and a worker."""
    with Server(appendonly="yes") as server:
        async with on(server) as tasks:
            assert "no worker runs" in await found(tasks, "warning")
            running = asyncio.create_task(tasks.run())
            while not await tasks.get_workers():
                await asyncio.sleep(0.01)
            assert await found(tasks, "warning") + await found(tasks, "error") == ""
            assert "the clocks agree" in await found(tasks, "ok")
            await tasks.stop()
            await running


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
async def test_no_worker_starts_where_tasks_are_deleted(policy: str) -> None:
    """With a limit and a policy that takes any key; without a limit it is a warning."""
    with Server(maxmemory_policy=policy) as server:
        async with on(server) as tasks:
            assert f"maxmemory-policy is {policy}: set maxmemory-policy noeviction" in await found(tasks, "warning")
            command(server, "CONFIG", "SET", "maxmemory", "100mb")
            assert f"maxmemory-policy is {policy}" in await found(tasks, "error")
            with pytest.raises(ConfigurationError, match=r"set maxmemory-policy noeviction.*No worker starts"):
                await tasks.run()
            command(server, "CONFIG", "SET", "maxmemory-policy", "volatile-lru")
            assert await found(tasks, "error") == ""


async def test_what_a_worker_logs_at_its_start(caplog: pytest.LogCaptureFixture) -> None:
    """What is wrong with the server, each with its remedy."""
    with Server(appendonly="no") as server:
        async with on(server) as tasks:
            with caplog.at_level(logging.WARNING, "taskproc.doctor"):
                running = asyncio.create_task(tasks.run())
                while not await tasks.get_workers():
                    await asyncio.sleep(0.01)
                await tasks.stop()
                await running
    assert [record.getMessage().partition(":")[0] for record in caplog.records if record.name == "taskproc.doctor"] == [
        "appendonly is off"
    ]


async def test_memory_and_replicas() -> None:
    """Nearly full; a replica is no place for tasks."""
    with Server(appendonly="yes") as server, Server(appendonly="yes") as other:
        async with on(server) as tasks:
            used = redis.Redis(port=server.port).info("memory")["used_memory"]
            command(server, "CONFIG", "SET", "maxmemory", int(used * 1.02))
            assert "full: give it more" in await found(tasks, "warning")
            command(server, "CONFIG", "SET", "maxmemory", 0)
            command(server, "REPLICAOF", "127.0.0.1", other.port)
            assert "the server is a replica: connect to the master" in await found(tasks, "error")


async def test_clocks(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the server and of this machine."""
    async with processor_of(settings(), Jobs()) as tasks:
        now = time.time()
        monkeypatch.setattr("taskproc.doctor.time.time", lambda: now - 60)
        assert "s ahead: set both by NTP" in await found(tasks, "warning")


async def test_what_stands_still(settings: MakeSettings) -> None:
    """Queues that nobody serves, dead tasks, a pause."""
    jobs = Jobs()
    async with working(settings(queues=["default"], retries=1), jobs) as tasks:
        lonely = await tasks.on("lonely").enqueue(jobs.note, "x")
        await tasks.enqueue(jobs.fail, "no")
        while not (await tasks.get_queue("default")).deadletter:
            await asyncio.sleep(0.01)
        await tasks.pause()
        assert "everything is paused" in await found(tasks, "warning")
        assert "1 tasks of queue 'lonely' wait for nobody: let a worker serve it" in await found(tasks, "warning")
        assert "queue 'default' has 1 dead tasks" in await found(tasks, "advice")
        await tasks.resume()
        assert "paused" not in await found(tasks, "warning")
        assert await tasks.cancel_task(lonely)
        assert await tasks.discard_dead_tasks("default") == 1


async def test_a_user_with_few_rights(settings: MakeSettings, client: redis.Redis) -> None:
    """What may not be asked is said, and holds up no worker."""
    made = settings()
    made.redis = as_user(made.redis, create_user(client, "worker", made.prefix))
    async with working(made, Jobs()) as tasks:
        assert "could not be looked at: allow the user +info" in await found(tasks, "advice")
        assert "the user may do all" in await found(tasks, "ok")


def test_the_worst_counts() -> None:
    """Of nothing, nothing."""
    assert worst([]) == "ok"
    assert worst([Finding("warning", "a"), Finding("ok", "b")]) == "warning"


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words or as JSON; its exit code says how bad it is."""
    with Server(appendonly="yes") as server:
        tmp_path.joinpath("mine.py").write_text(
            "from taskproc import TaskProcessor, TaskProcessorSettings\n"
            f"tasks = TaskProcessor(TaskProcessorSettings(redis={server.url!r}))\n"
        )
        monkeypatch.chdir(tmp_path)
        shown = CliRunner().invoke(app, ["doctor", "mine:tasks"])
        assert (shown.exit_code, "warning no worker runs: start one" in shown.output) == (1, True)
        command(server, "CONFIG", "SET", "maxmemory", "100mb")
        command(server, "CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        shown = CliRunner().invoke(app, ["doctor", "mine:tasks", "--json"])
        assert shown.exit_code == 2
        assert "error" in {finding["level"] for finding in json.loads(shown.output)}
        assert CliRunner().invoke(app, ["doctor", "nowhere:tasks"]).exit_code == 1
