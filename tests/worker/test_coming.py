"""Tasks that are fetched and not started yet are held like those that run."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from taskproc.records import Request, Settlement
from taskproc.storage import Exchange, Storage
from taskproc.worker import Worker
from tests.conftest import MakeSettings
from tests.worker.kit import Jobs, ended, processor_of, running

TASKS = 200


async def test_a_channel_that_is_lost_during_a_fetch_gives_nothing_back(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker then compares with Redis what it holds: what has just been fetched is of it, and runs once."""
    jobs = Jobs()
    workers: set[Worker] = set()
    on_connected, exchange = Worker.on_connected, Storage.exchange

    def connected(self: Worker) -> None:
        workers.add(self)
        on_connected(self)

    async def exchange_and_reconnect(self: Storage, request: Request, settlements: Sequence[Settlement]) -> Exchange:
        reply = await exchange(self, request, settlements)
        for worker in workers:
            if worker.id == request.worker and reply.fetched:
                on_connected(worker)
        return reply

    monkeypatch.setattr(Worker, "on_connected", connected)
    monkeypatch.setattr(Storage, "exchange", exchange_and_reconnect)
    made = settings(max_workers=4)
    async with processor_of(made, jobs) as first, processor_of(made, jobs) as second:
        async with first.batch() as batch:
            for number in range(TASKS):
                batch.enqueue(jobs.note, str(number))
        async with running(first), running(second):
            outcome = await ended(first, batch.id, 20)
            await asyncio.sleep(0.1)
    assert len(workers) == 2
    assert outcome.done == TASKS
    assert Counter(jobs.notes) == {str(number): 1 for number in range(TASKS)}
