"""A Hypothesis state machine: does at random what producers, workers and maintenance do, and compares with the model."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import structs

from taskproc.records import Chunk, NewTask, Request, Settlement
from tests.storage.comparing import differences
from tests.storage.model import Task
from tests.storage.protocol import Protocol
from tests.storage.store import TIMEOUT, Store, done, new_chunk, new_task, settlement

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


class StorageMachine(RuleBasedStateMachine):
    """The scripts, the model, and what producers and workers know. `make_store` gives an empty store."""

    make_store: ClassVar[Callable[[], Store]]

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
        self.is_broken = False

    # What rules use

    @invariant()
    def check(self) -> None:
        """What is stored obeys the laws, and is what the model says."""
        for wrong in differences(self.model, self.store.dump()):
            self.same(wrong, "")

    def same(self, real: T, expected: T) -> T:
        if real != expected:
            self.is_broken = True
        assert real == expected
        return real

    def repeat(self, call: Callable[[], Any]) -> None:
        """Sends a request again, as after a lost reply: nothing changes."""
        before = self.store.dump()
        call()
        self.same(self.store.dump(), before)

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
        self, worker: str, slots: int, queues: Sequence[str], settlements: Sequence[Settlement] = (), *, late: int = 0
    ) -> list[Task]:
        """One round trip of a worker; what it has fetched."""
        nonce = self.store.next_nonce(worker) - late
        request = Request(worker=worker, nonce=nonce, slots=slots, queues=queues, max_recoveries=MAX_RECOVERIES)
        reply = done(self.storage.exchange(request, settlements))
        self.same(reply.settled, self.model.settle(settlements))
        status = self.same(reply.status, self.model.standing(request))
        fetched = [one.id for one in reply.fetched]
        if status != "ok":
            self.same(fetched, [])
            return []
        left = {key.removeprefix("task:") for key in self.store.dump() if key.startswith("task:")}
        self.same(fetched, self.model.fetch(request, fetched, left))
        tasks = [self.model.tasks[id_] for id_ in fetched]
        self.same([one.token for one in reply.fetched], [task.token for task in tasks])
        self.same([one.failures < one.retries for one in reply.fetched], [True] * len(tasks))
        self.same({(task.id, task.token) for task in tasks}.intersection(self.leases), set())
        self.leases += [(task.id, task.token) for task in tasks]
        self.same(reply.dues, [min((task.due for task in self.model.in_state("d", one)), default=None) for one in queues])
        self.same(reply.more, False)
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

    def settle(self, leases: Sequence[tuple[str, str]], outcome: str) -> None:
        """Hands in attempts, and again."""
        settlements = [self.settlement(id_, token, outcome) for id_, token in leases]
        worker = leases[0][1].partition(":")[0] if leases else "none"
        self.same(done(self.storage.settle(worker, settlements)), self.model.settle(settlements))
        self.repeat(lambda: done(self.storage.settle(worker, settlements)))
        self.check()

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

    # Producers

    @rule(tasks=kinds)
    def enqueue(self, tasks: list[NewTask]) -> None:
        named = [structs.replace(task, id=self.name("t")) for task in tasks[:3]] or [new_task(self.name("t"))]
        self.singles |= {task.id or "": task for task in named}
        self.same(self.store.enqueue(*named), self.model.enqueue(named))
        self.repeat(lambda: self.store.enqueue(*named))

    @rule(number=picks)
    def enqueue_again(self, number: int) -> None:
        """A late copy of an old request: the task runs again if it has ended."""
        task = pick(list(self.singles.values()), number)
        if task is not None:
            self.same(self.store.enqueue(task), self.model.enqueue([task]))

    @rule(tasks=kinds, continuations=waiting, tenant=st.sampled_from(TENANTS), last=st.booleans())
    def new_batch(self, tasks: list[NewTask], continuations: list[NewTask], tenant: str, last: bool) -> str:  # noqa: FBT001
        batch = self.name("b")
        self.sent[batch, ""] = 1
        self.add_chunk(new_chunk(batch, tenant=tenant, last=last), tasks, continuations)
        return batch

    @rule(
        number=picks,
        tasks=kinds,
        continuations=waiting,
        last=st.booleans(),
        slip=st.sampled_from(["", "", "", "", "tenant", "lost"]),
    )
    def add_to_batch(self, number: int, tasks: list[NewTask], continuations: list[NewTask], last: bool, slip: str) -> None:  # noqa: FBT001
        """The next chunk of a producer that has begun, or the first of one that appends."""
        id_ = pick(sorted(self.model.batches), number)
        if id_ is None:
            return
        batch = self.model.batches[id_]
        producer = pick(sorted(batch.producers), number) if number % 3 else None
        producer = self.name("a") if producer is None else producer
        at = self.sent.get((id_, producer), 0) + (slip == "lost")
        tenant = "nobody" if slip == "tenant" else batch.tenant
        chunk = new_chunk(id_, at, producer=producer, new=False, tenant=tenant, last=last)
        if self.add_chunk(chunk, tasks, continuations) == "ok":
            self.sent[id_, producer] = at + 1

    @rule(number=picks, tenant=st.sampled_from([None, None, "acme"]))
    def cancel_batch(self, number: int, tenant: str | None) -> None:
        batch = pick(sorted(self.model.batches), number)
        if batch is not None:
            self.same(done(self.storage.cancel_batch(batch, tenant)), self.model.cancel_batch(batch, tenant))
            self.repeat(lambda: done(self.storage.cancel_batch(batch, tenant)))

    @rule(number=picks, limit=st.integers(1, 3))
    def cancel_queued(self, number: int, limit: int) -> None:
        batches = sorted(self.model.batches)
        canceled = [one for one in batches if self.model.batches[one].canceled_at is not None]
        batch = pick(canceled or batches, number)
        if batch is not None:
            self.store.driver.limits["cancel_queued"] = limit
            self.same(done(self.storage.cancel_queued(batch)), self.model.cancel_queued(batch, limit))

    @rule(number=picks, tenant=st.sampled_from([None, None, "acme"]))
    def cancel_task(self, number: int, tenant: str | None) -> None:
        id_ = pick(self.ids(), number)
        if id_ is not None:
            self.same(done(self.storage.cancel_task(id_, tenant)), self.model.cancel_task(id_, tenant))
            self.repeat(lambda: done(self.storage.cancel_task(id_, tenant)))

    @rule(number=picks)
    def keep_open(self, number: int) -> None:
        entries = [pick([*self.model.open, "b0/"], number) or "", "b0/gone"]
        self.same(done(self.storage.keep_open(entries)), self.model.keep_open(entries))
        self.repeat(lambda: done(self.storage.keep_open(entries)))

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:  # noqa: FBT001
        done(self.storage.pause(paused=paused))
        self.model.paused_at = (self.model.paused_at or self.model.now) if paused else None
        self.repeat(lambda: done(self.storage.pause(paused=paused)))

    @rule(number=picks, count=st.integers(1, 3), retries=st.sampled_from([None, 2]), tenant=st.sampled_from([None, "acme"]))
    def retry_dead(self, number: int, count: int, retries: int | None, tenant: str | None) -> None:
        queue, ids = self._dead(number, count)
        real = done(self.storage.retry_dead(queue, ids, retries, tenant))
        self.same(real, self.model.retry_dead(queue, ids, retries, tenant))
        self.repeat(lambda: done(self.storage.retry_dead(queue, ids, retries, tenant)))

    @rule(number=picks, count=st.integers(1, 3), tenant=st.sampled_from([None, "acme"]))
    def discard_dead(self, number: int, count: int, tenant: str | None) -> None:
        queue, ids = self._dead(number, count)
        self.same(done(self.storage.discard_dead(queue, ids, tenant)), self.model.discard_dead(queue, ids, tenant))
        self.repeat(lambda: done(self.storage.discard_dead(queue, ids, tenant)))

    def _dead(self, number: int, count: int) -> tuple[str, list[str]]:
        """The queue of a dead task and some ids, that one first."""
        dead = self.ids("x")
        first = pick(dead, number)
        if first is None:
            return "default", self.ids()[:1]
        others = [pick(self.ids(), number + at) or "" for at in range(1, count)]
        return self.model.tasks[first].queue, [first, *others, first]
