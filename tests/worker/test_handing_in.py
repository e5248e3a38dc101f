"""What `on_task_end` is told when the answer to what was handed in is lost: what came of it all the same."""

import asyncio
import time
from collections.abc import Generator
from datetime import timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from taskproc import TaskContext
from taskproc.attempts import Pending
from taskproc.records import Settled, Settlement
from taskproc.running import Running
from taskproc.scripts import scripts
from taskproc.storage import Storage
from tests.conftest import MakeSettings
from tests.kit import Proxy, Server, wait_until
from tests.worker.kit import Jobs, died, ended, working


@pytest.fixture
def proxy(server: Server) -> Generator[Proxy]:
    """Stands between worker and server, which knows the script: what it answers, it has carried out."""
    with server.client() as client:
        client.script_load(scripts()["exchange"].source)
    with Proxy(server.port) as started:
        yield started


class Outcomes:
    """What the end hook is told."""

    def __init__(self) -> None:
        self.all: list[str | None] = []

    def end(self, ctx: TaskContext) -> None:
        self.all.append(ctx.outcome)


class Failing(Jobs):
    async def wait_and_fail(self) -> None:
        await self.wait("task")
        raise ValueError


@pytest.mark.parametrize("lost", [1, 3], ids=["once", "thrice"])
@pytest.mark.parametrize("method, outcomes", [("wait", ["done"]), ("wait_and_fail", ["failed", "failed"])])
async def test_the_end_hook_is_told_what_counts(
    settings: MakeSettings, proxy: Proxy, method: str, outcomes: list[str], lost: int
) -> None:
    """Done or failed as in the batch, though Redis takes what is handed in again for stale."""
    jobs, seen = Failing(), Outcomes()
    made = settings(max_workers=1, retries=2, on_task_end=seen.end, on_task_failed_delay=None)
    made.redis = proxy.url
    async with working(made, jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(getattr(jobs, method), *(["task"] if method == "wait" else []))
        await jobs.noted("task begins")
        proxy.drop_reply(scripts()["exchange"].sha, lost)
        jobs.go_on.set()
        outcome = await ended(tasks, batch.id, 10)
        await wait_until(lambda: len(seen.all) == len(outcomes))
        assert proxy.dropped == lost
    assert seen.all == outcomes
    assert (outcome.done, outcome.failed) == ((1, 0) if method == "wait" else (0, 1))


async def test_the_end_hook_is_told_of_a_cancel(settings: MakeSettings, proxy: Proxy) -> None:
    """A task that was canceled, and whose answer is lost, ended as canceled."""
    jobs, seen = Jobs(), Outcomes()
    made = settings(max_workers=1, on_task_end=seen.end)
    made.redis = proxy.url
    async with working(made, jobs) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(jobs.wait, "task")
        await jobs.noted("task begins")
        proxy.drop_reply(scripts()["exchange"].sha, 1)
        await tasks.cancel_batch(batch.id)
        await ended(tasks, batch.id)
        await wait_until(lambda: seen.all)
        assert proxy.dropped == 1
    assert seen.all == ["canceled"]


@pytest.mark.parametrize(
    "meant, repeated, known, left, told",
    [
        ("done", False, "worker", 60, "stale"),  # refused at first: somebody else has it
        ("done", True, "worker", 60, "done"),
        ("done", True, "worker", -1, "stale"),  # it may have been taken back before
        ("done", True, None, 60, "stale"),  # likewise, from a worker taken for dead
        ("done", True, "worker2", 60, "stale"),  # likewise, though it goes on under another id
        ("failed", True, "worker", -1, "failed"),  # whoever was first, it counts as a failure
        ("failed", True, None, 60, "stale"),
        ("canceled", True, "worker", 60, "canceled"),
        ("released", True, "worker", 60, "released"),
    ],
)
async def test_what_a_stale_answer_means(
    meant: Settled, *, repeated: bool, known: str | None, left: float, told: Settled
) -> None:
    """What was handed in, if it was before, and nobody can have taken the attempt from this worker."""
    future: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
    settlement = Settlement(id="id", token="worker:1", outcome="done")
    run = cast("Running", SimpleNamespace(attempt=None, waited=0.0, ends_at=time.monotonic() + left))
    pending = Pending(settlement, future, run, meant=meant, observers=())
    pending.repeated = repeated
    pending.deliver("stale", known)
    assert await future == told


async def test_a_failed_attempt_is_handed_in_whatever_becomes_of_its_lease(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is to be longer for the hooks; an error there, of whatever kind, costs neither them nor the settle."""
    jobs, seen, asked = Jobs(), Outcomes(), list[object]()

    async def broken(_storage: Storage, leases: object) -> list[bool]:
        asked.append(leases)
        raise RuntimeError("the transport is closed")

    monkeypatch.setattr(Storage, "extend", broken)
    async with working(settings(retries=1, on_task_end=seen.end), jobs) as tasks:
        task_id = await tasks.on(invisibility=timedelta(seconds=12)).enqueue(jobs.fail, "mine")
        dead = await died(tasks, task_id)
        await wait_until(lambda: seen.all == ["failed"])
        await tasks.discard_dead_tasks("default")
    assert (len(asked), dead.error_message) == (1, "mine")
