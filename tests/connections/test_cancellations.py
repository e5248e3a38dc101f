"""Callers that are cancelled at any moment: no connection is handed on with a reply in it, none is lost to others."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from typing import Any

from taskproc import TaskProcessor
from taskproc.connection import send
from taskproc.records import Request, Settlement
from tests.conftest import MakeSettings
from tests.kit import Proxy, Server, wait_until
from tests.worker.kit import Jobs, processor_of, running

SEED = 42
CONNECTIONS = 3
CALLERS = 10
CANCELS = 2_000
LEASES = 1_500


class Asking:
    """Questions whose answers tell whether they belong to them; each may be cancelled at any moment."""

    def __init__(self, tasks: TaskProcessor, jobs: Jobs, chance: random.Random) -> None:
        assert tasks._open is not None
        self.pool: Any = tasks._open.connection.commands.connection_pool
        self.commands = tasks._open.connection.commands
        self.storage = tasks._open.storage
        self.chance = chance
        self.accepted: set[str] = set()
        self.leases: list[tuple[str, str]] = []
        self.known: list[str] = []
        self._tasks = tasks
        self._jobs = jobs
        self._numbers = count()

    async def prepare(self) -> str:
        """Tasks to look at, and a batch of tasks leased to a worker that is this test; the id of the batch."""
        later = self._tasks.on(delay=timedelta(hours=1))
        self.known = [await later.enqueue(self._jobs.note, str(number)) for number in range(20)]
        async with self._tasks.batch("leased") as batch:
            for number in range(LEASES):
                batch.enqueue(self._jobs.note, str(number))
        about = {"host": "h", "pid": 1, "queues": "leased", "slots": LEASES, "version": "1"}
        await self.storage.register("w1", 600_000, about)
        request = Request(worker="w1", nonce=1, slots=LEASES, queues=["leased"])
        self.leases = [(one.id, one.token) for one in (await self.storage.exchange(request, [])).fetched]
        assert len(self.leases) == LEASES
        return batch.id

    async def echo(self) -> None:
        """A word."""
        word = self.chance.randbytes(self.chance.choice([4, 5_000])).hex().encode()
        assert await send(self.commands, 5, "ECHO", word) == word

    async def look(self) -> None:
        """A task."""
        id_ = self.chance.choice(self.known)
        task = await self._tasks.get_task(id_)
        assert task is not None
        assert task.task_id == id_

    async def enqueue(self) -> None:
        """A new one, which is to be found if the call was not cancelled."""
        word = f"new {next(self._numbers)}"
        id_ = await self._tasks.enqueue(self._jobs.note, word)
        self.accepted.add(word)
        task = await self._tasks.get_task(id_)
        assert task is not None
        assert task.task_id == id_

    async def extend(self) -> None:
        """Leases that are held, and others, in an order that the answer has to show."""
        held = [self.chance.random() < 0.5 for _ in range(self.chance.randint(1, 9))]
        leases = [(self.leases[0][0], self.leases[0][1] if one else "w1:7", 1_000) for one in held]
        assert await self.storage.extend(leases) == held

    async def settle(self) -> None:
        """A lease among others that are not held: done where it stands."""
        if len(self.leases) < 2:
            return
        lease = self.leases.pop()
        strangers = [("unknown", "w1:7")] * self.chance.randint(0, 5)
        place = self.chance.randint(0, len(strangers))
        asked = [*strangers[:place], lease, *strangers[place:]]
        settlements = [Settlement(id=id_, token=token, outcome="done") for id_, token in asked]
        answer = await self.storage.settle("w1", settlements)
        assert answer == ["done" if one is lease else "stale" for one in asked]

    @property
    def questions(self) -> list[Callable[[], Awaitable[None]]]:
        return [self.echo, self.look, self.enqueue, self.extend, self.settle]


@asynccontextmanager
async def asking(settings: MakeSettings, proxy: Proxy, jobs: Jobs) -> AsyncGenerator[tuple[TaskProcessor, Asking]]:
    """A processor with few connections, whose replies come late, and in pieces."""
    made = settings(command_timeout=timedelta(seconds=10))
    made.redis = f"{proxy.url}?max_connections={CONNECTIONS}"
    async with processor_of(made, jobs) as tasks:
        yield tasks, Asking(tasks, jobs, random.Random(SEED))


async def _cancel_sometimes(asked: Asking, outcomes: Counter[str]) -> None:
    """One question after the other, most of them cancelled: before they begin, or somewhere on their way."""
    chance = asked.chance
    while outcomes["cancelled"] < CANCELS:
        call = asyncio.ensure_future(chance.choice(asked.questions)())
        if chance.random() < 0.8:
            for _ in range(chance.randint(0, 6)):
                await asyncio.sleep(0)
            if chance.random() < 0.9:
                await asyncio.sleep(chance.uniform(0, 0.015))
            call.cancel()
        [result] = await asyncio.gather(call, return_exceptions=True)
        if result is not None and not isinstance(result, asyncio.CancelledError):
            raise result
        outcomes["cancelled" if result else "answered"] += 1


async def test_two_thousand_cancels(settings: MakeSettings, server: Server, parser: str) -> None:
    """Each later answer belongs to its question, all connections are there again, and what was accepted runs once."""
    jobs, outcomes = Jobs(), Counter[str]()
    with Proxy(server.port) as proxy:
        async with asking(settings, proxy, jobs) as (tasks, asked):
            batch_id = await asked.prepare()
            proxy.delay(1)
            proxy.split(2_000, SEED)
            before = _connections_made(server)
            async with asyncio.TaskGroup() as callers:
                for _ in range(CALLERS):
                    callers.create_task(_cancel_sometimes(asked, outcomes))
            assert outcomes["answered"] > CANCELS / 8, outcomes
            assert _connections_made(server) - before > CANCELS / 4, "few were cancelled in the middle of a request"
            await _check_connections(asked)
            proxy.delay(0)
            await _drain(tasks, asked, jobs)
            batch = await tasks.get_batch(batch_id)
    assert batch is not None
    assert (batch.total, batch.done, batch.remaining) == (LEASES, LEASES, 0), parser


def _connections_made(server: Server) -> int:
    with server.client() as client:
        return int(client.info("stats")["total_connections_received"])


async def _check_connections(asked: Asking) -> None:
    """All may be used again, and none holds a reply that nobody waits for."""
    await wait_until(lambda: asked.pool._turns._value == CONNECTIONS, what="connections that are given back")
    assert not asked.pool._in_use_connections
    for connection in asked.pool._available_connections:
        assert not (connection.is_connected and await connection.can_read())
    async with asyncio.TaskGroup() as group:
        for question in [asked.echo, asked.look, asked.extend] * 30:
            group.create_task(question())


async def _drain(tasks: TaskProcessor, asked: Asking, jobs: Jobs) -> None:
    """Hands in what is left, and runs what was enqueued."""
    for id_ in asked.known:
        assert await tasks.cancel_task(id_)
    await asked.storage.leave("w1")
    tasks.settings.queues = ["default", "leased"]
    async with running(tasks):

        async def idle() -> bool:
            queues = [await tasks.get_queue(name) for name in ("default", "leased")]
            return not any(queue.length or queue.running for queue in queues)

        await wait_until(idle, 10)
    ran = Counter(word for word in jobs.notes if word.startswith("new"))
    assert asked.accepted <= ran.keys()
    assert set(ran.values()) == {1}
