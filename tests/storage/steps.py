"""What the rules of the state machine have in common: the scripts and the model do the same, and are compared."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant
from msgspec import structs

from taskproc.records import Chunk, NewTask, Request, Settlement
from taskproc.storage import Exchange
from tests.storage.comparing import differences
from tests.storage.model import Task
from tests.storage.protocol import Protocol
from tests.storage.store import Dump, Store, done, new_chunk, new_task, settlement

T = TypeVar("T")

FAIR = "jobs[fair]"
QUEUES = ("default", "low", FAIR)
TENANTS = ("acme", "bolt", "core")
MAX_RECOVERIES = 2
RETENTION = 100_000

KINDS = (
    new_task(),
    new_task(retries=1),
    new_task(retries=2, invisibility=3_000),
    new_task(after=1_000),
    new_task(after=30_000, retries=1),
    new_task(queue="low"),
    new_task(queue="low", after=1_000, topic="raw"),
    new_task(queue=FAIR),
    new_task(queue=FAIR, tenant="bolt"),
    new_task(queue=FAIR, tenant="core", retries=1),
    new_task(queue=FAIR, tenant="bolt", after=1_000),
)
"""The tasks that are enqueued; those of a batch have its tenant."""

WAITING = (
    new_task(awaited="success"),
    new_task(awaited="failed", queue="low"),
    new_task(awaited="canceled", queue=FAIR),
    new_task(awaited="complete", wait=1_000),
    new_task(awaited="complete", retries=1),
)

kinds = st.lists(st.sampled_from(KINDS), max_size=4)
waiting = st.lists(st.sampled_from(WAITING), max_size=2)
picks = st.integers(0, 99)
outcomes = st.sampled_from(["done", "done", "retry", "dead", "discard", "release", "unknown"])


def pick(items: Sequence[T], number: int) -> T | None:
    """One of the items, if there are any; what can be drawn does not depend on how many there are."""
    return items[number % len(items)] if items else None


class Steps(RuleBasedStateMachine):
    """The scripts, the model, and what producers and workers know."""

    @staticmethod
    def make_store() -> Store:
        """An empty store."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.store = type(self).make_store()
        self.storage = self.store.storage
        self.model = Protocol()
        self.model.now = self.store.now
        self.singles: dict[str, NewTask] = {}
        self.sent: dict[tuple[str, str], int] = {}
        """How many chunks each producer of a batch has sent."""
        self.leases: list[tuple[str, str]] = []
        """Ids and tokens of all leases there ever were."""
        self.numbers = 0
        self.put_back = 0
        """How far the clock was put back, in all."""
        self._seen: tuple[int, Dump] = (0, {})
        self._checked = 0

    # What rules use

    def look(self) -> Dump:
        """What is stored; read once, as long as no script runs."""
        if self._seen[0] != self.store.driver.calls:
            self._seen = self.store.driver.calls, self.store.dump()
        return self._seen[1]

    @invariant()
    def check(self) -> None:
        """What is stored obeys the laws, and is what the model says."""
        if self._checked != self.store.driver.calls:
            self._checked = self.store.driver.calls
            wrong = differences(self.model, self.look())
            assert not wrong, "\n".join(wrong)

    def same(self, real: T, expected: T) -> T:
        assert real == expected, f"{real!r}, not {expected!r}"
        return real

    def repeat(self, call: Callable[[], Any]) -> None:
        """Sends a request again, as after a lost reply: nothing changes."""
        self.check()
        before = self.look()
        call()
        self.same(self.look(), before)
        self._checked = self.store.driver.calls

    def name(self, kind: str) -> str:
        self.numbers += 1
        return f"{kind}{self.numbers}"

    def wait(self, milliseconds: int) -> None:
        self.store.later(milliseconds)
        self.model.now = self.store.now

    def workers(self) -> list[str]:
        """Those that do not know yet that they are dead, if they are."""
        return sorted(self.model.workers)

    def a_worker(self, number: int) -> str:
        return pick(self.workers(), number) or self.start_worker()

    def ids(self, state: Any = None) -> list[str]:
        return sorted(task.id for task in self.model.tasks.values() if state in (None, task.state))

    def exchange(
        self,
        worker: str,
        slots: int,
        queues: Sequence[str],
        settlements: Sequence[Settlement] = (),
        *,
        nonce: int | None = None,
        known: int = 0,
    ) -> list[Task]:
        """One round trip of a worker; what it has fetched."""
        request = Request(
            worker=worker,
            nonce=self.store.next_nonce(worker) if nonce is None else nonce,
            known=known or self.model.workers[worker].nonce,
            slots=slots,
            queues=queues,
            max_recoveries=MAX_RECOVERIES,
        )
        reply = done(self.storage.exchange(request, settlements))
        self.same(reply.settled, self.model.settle(settlements))
        if self.same(reply.status, self.model.standing(request)) != "ok" or not slots:
            self.same(reply.fetched, [])
            return []
        self.same(reply.more, False)
        return self._received(request, reply)

    def _received(self, request: Request, reply: Exchange) -> list[Task]:
        """The tasks that were fetched, if they are the right ones."""
        fetched = [one.id for one in reply.fetched]
        left = {key.removeprefix("task:") for key in self.look() if key.startswith("task:")}
        self.same(fetched, self.model.fetch(request, fetched, left))
        tasks = [self.model.tasks[id_] for id_ in fetched]
        self.same([one.token for one in reply.fetched], [task.token for task in tasks])
        self.same([one.id for one in reply.fetched if one.failures >= one.retries], [])
        self.same({(task.id, task.token) for task in tasks}.intersection(self.leases), set())
        self.leases += [(task.id, task.token) for task in tasks]
        delayed = [self.model.in_state("d", queue) for queue in request.queues]
        self.same(reply.dues, [min((task.due for task in tasks), default=None) for tasks in delayed])
        self.check()
        return tasks

    def settlement(self, id_: str, token: str, outcome: str) -> Settlement:
        """What a worker hands in; it retries only what has retries left."""
        task = self.model.tasks.get(id_)
        if outcome == "retry" and (task is None or task.failures + 1 >= task.retries):
            outcome = "dead"
        if outcome == "unknown":
            return settlement(id_, token, "release", unknown=True, delay=1_000)
        delay = 1_000 if outcome == "retry" and int(token[-1]) % 2 else None
        return settlement(id_, token, outcome, us=1_500 if outcome == "done" else 0, delay=delay)

    def settle(self, leases: Sequence[tuple[str, str]], *outcomes: str) -> None:
        """Hands in attempts, with these outcomes in turn, and again."""
        settlements = [
            self.settlement(id_, token, outcome)
            for (id_, token), outcome in zip(leases, itertools.cycle(outcomes), strict=False)
        ]
        worker = leases[0][1].partition(":")[0] if leases else "none"
        self.same(done(self.storage.settle(worker, settlements)), self.model.settle(settlements))
        self.repeat(lambda: done(self.storage.settle(worker, settlements)))

    def add(self, *tasks: NewTask) -> None:
        """Enqueues single tasks, and again."""
        named = [structs.replace(task, id=self.name("t")) for task in tasks]
        if named:
            self.singles |= {task.id or "": task for task in named}
            self.same(self.store.enqueue(*named), self.model.enqueue(named))
            self.repeat(lambda: self.store.enqueue(*named))

    def add_chunk(self, chunk: Chunk, tasks: Sequence[NewTask], continuations: Sequence[NewTask]) -> str:
        owned = [structs.replace(task, tenant=chunk.tenant) for task in tasks]
        owned_waiting = [structs.replace(task, tenant=chunk.tenant) for task in continuations]
        expected = self.model.add_to_batch(chunk, owned, owned_waiting)
        self.same(self.store.add_chunk(chunk, owned, owned_waiting), expected)
        self.repeat(lambda: self.store.add_chunk(chunk, owned, owned_waiting))
        return expected

    def start_worker(self) -> str:
        worker = self.name("w")
        self.store.start_worker(worker)
        self.model.register(worker)
        return worker

    def start_batch(
        self, tasks: Sequence[NewTask], continuations: Sequence[NewTask], tenant: str, *, last: bool
    ) -> str:
        batch = self.name("b")
        self.sent[batch, ""] = 1
        self.add_chunk(new_chunk(batch, tenant=tenant, last=last), tasks, continuations)
        return batch

    def cancel_batch(self, batch: str, tenant: str | None = None) -> None:
        self.same(done(self.storage.cancel_batch(batch, tenant)), self.model.cancel_batch(batch, tenant))
        self.repeat(lambda: done(self.storage.cancel_batch(batch, tenant)))

    def cancel_task(self, id_: str, tenant: str | None = None) -> None:
        self.same(done(self.storage.cancel_task(id_, tenant)), self.model.cancel_task(id_, tenant))
        self.repeat(lambda: done(self.storage.cancel_task(id_, tenant)))

    def walk(self, batch: str, limit: int) -> bool:
        """One step of counting the queued tasks of a canceled batch."""
        self.store.driver.limits["cancel_queued"] = limit
        more = self.same(done(self.storage.cancel_queued(batch)), self.model.cancel_queued(batch, limit))
        self.check()
        return more

    def retry_dead(self, queue: str, ids: Sequence[str], retries: int | None = None, tenant: str | None = None) -> None:
        revived = done(self.storage.retry_dead(queue, ids, retries, tenant))
        self.same(revived, self.model.retry_dead(queue, ids, retries, tenant))
        self.repeat(lambda: done(self.storage.retry_dead(queue, ids, retries, tenant)))
