"""What a program logs while everything goes wrong: neither the password nor the arguments of tasks."""

import asyncio
import logging

import pytest

from taskproc import TaskProcessor, TaskProcessorError
from tests.connections.kit import settings_for
from tests.kit import Proxy, Server, wait_until
from tests.worker.kit import Jobs, processor_of, running

PASSWORD = "hunter2hunter2"
ARGUMENT = "my-medical-record"


async def test_a_session_in_which_everything_fails(caplog: pytest.LogCaptureFixture) -> None:
    """Tasks that fail, silence, resets, a new password, a kill: many lines, and all errors, without a secret."""
    caplog.set_level(logging.DEBUG)
    jobs, raised = Jobs(), list[str]()
    with Server(requirepass=PASSWORD, appendonly="yes", appendfsync="always") as server, Proxy(server.port) as proxy:
        url = proxy.url.replace("redis://", f"redis://default:{PASSWORD}@")
        made = settings_for(url, command_timeout=0.3, worker_timeout=1, retries=1, shutdown_grace=0)
        async with processor_of(made, jobs) as tasks, running(tasks):
            await tasks.enqueue(jobs.fail, ARGUMENT)
            await jobs.noted(f"fails {ARGUMENT}")
            for trouble, remedy in (
                (proxy.blackhole, proxy.heal),
                (server.freeze, server.thaw),
                (lambda: _set_password(server, "another"), lambda: _set_password(server, PASSWORD)),
                (server.kill, server.start),
            ):
                await asyncio.to_thread(trouble)
                proxy.close_all()
                with pytest.raises(TaskProcessorError) as caught:
                    await tasks.enqueue(jobs.note, ARGUMENT)
                raised.append(f"{caught.getrepr(style='native')}")
                await asyncio.sleep(0.4)
                await asyncio.to_thread(remedy)
                await wait_until(lambda: _works(tasks), 10)
            await tasks.enqueue(jobs.note, "after")
            await jobs.noted("after", seconds=10)
    assert len(caplog.records) > 20
    formatter = logging.Formatter()
    for text in (*map(formatter.format, caplog.records), *raised, repr(made)):
        assert PASSWORD not in text
        assert ARGUMENT not in text


async def _works(tasks: TaskProcessor) -> bool:
    try:
        await tasks.get_queues()
    except TaskProcessorError:
        return False
    return True


def _set_password(server: Server, password: str) -> None:
    """Who has the old one is let in no more."""
    now = server.options["requirepass"]
    with server.client() as client:
        client.config_set("requirepass", password)
    server.options["requirepass"] = password
    assert now != password
