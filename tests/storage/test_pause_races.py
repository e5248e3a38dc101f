"""Several workers in lock step while pauses come and go, tasks are canceled and workers die: each task ends once.

Beside what the state machine asks of its model, this keeps a plain account of what was handed out and what came of it.
The scripts' limits are small here, so that each of them is reached.
"""

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis

from taskproc.records import Attempt
from taskproc.scripts import scripts
from tests.storage.laws import Record, Stored, broken_laws
from tests.storage.store import Store, done, new_task, repeatable, settlement

QUEUES = ("default", "low", "jobs[fair]")
TENANTS = ("acme", "bolt", "core", "dune", "echo")
PAUSABLE = ("*", *(f"queue:{queue}" for queue in QUEUES), *(f"tenant:{tenant}" for tenant in TENANTS))
OUTCOMES = ("done", "done", "done", "retry", "later", "dead", "discard", "release", "unknown")
MAX_RECOVERIES = 2
INVISIBILITY = 20_000
GRACE = 2_000
STEPS = 70
SEEDS = 25

LIMITS = {
    "MOST_SKIPPED = 1000": "MOST_SKIPPED = 2",
    "MOST_LANES = 100": "MOST_LANES = 2",
    "MOST_ENDED, MOST_PLACES = 20, 500": "MOST_ENDED, MOST_PLACES = 1, 2",
}


def _with_small_limits() -> Mapping[str, str]:
    sources = {name: script.source for name, script in scripts().items()}
    for old, new in LIMITS.items():
        assert old in sources["exchange"], f"{old} is no limit any more"
        sources = {name: source.replace(old, new) for name, source in sources.items()}
    return repeatable(sources)


SOURCES = _with_small_limits()


@dataclass(slots=True, kw_only=True)
class Told:
    """What is known of a task from outside."""

    queue: str
    tenant: str
    batch: str | None = None
    place: int | None = None
    """Its place in the order of those that were ready at once."""
    cancel: bool = False
    expires: float = math.inf
    handed_out: int = 0
    token: str = ""
    lease_end: int = 0
    outcomes: list[str] = field(default_factory=list[str])
    """What came of it, once and for all; a dead one may be retried."""


class Race:
    """Draws what happens next, and keeps the account."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store, self.storage = store, store.storage
        self.random = random.Random(seed)
        self.tasks: dict[str, Told] = {}
        self.canceled: set[str] = set()
        """Batches."""
        self.batches: dict[str, str] = {}
        """The tenant of each."""
        self.pauses: dict[str, float] = {}
        self.alive: list[str] = []
        self.drained: set[str] = set()
        self.last_served: dict[tuple[str, str], int] = {}
        self.numbers = 0
        for _ in range(3):
            self.start_worker()

    def name(self, kind: str) -> str:
        self.numbers += 1
        return f"{kind}{self.numbers}"

    def is_paused(self, *names: str) -> bool:
        return any(self.pauses.get(name, 0) > self.store.now for name in names)

    # What happens

    def step(self) -> None:
        moves = {
            self.enqueue: 6, self.add_batch: 2, self.work: 12, self.pause: 5, self.resume: 4, self.cancel_task: 2,
            self.cancel_batch: 1, self.walk: 1, self.kill: 1, self.leave: 1, self.lose_reply: 1, self.wait: 5,
            self.maintain: 2, self.drain: 1, self.retry_dead: 1, self.expire: 1,
        }  # fmt: skip
        self.random.choices(list(moves), list(moves.values()))[0]()

    def enqueue(self) -> None:
        queue, tenant = self.random.choice(QUEUES), self.random.choice(TENANTS)
        for _ in range(self.random.choice((1, 1, 3, 8))):
            after = self.random.choice((None, None, None, 1_500))
            id_ = self.name("t")
            self.store.add(id_, queue=queue, tenant=tenant, invisibility=INVISIBILITY, after=after)
            self.tasks[id_] = Told(queue=queue, tenant=tenant, place=None if after else self.numbers)

    def add_batch(self) -> None:
        batch, tenant = self.name("b"), self.random.choice(TENANTS)
        queues = [self.random.choice(QUEUES) for _ in range(self.random.randint(1, 5))]
        members = [new_task(queue=queue, tenant=tenant, invisibility=INVISIBILITY) for queue in queues]
        for id_, queue in zip(self.store.add_batch(batch, members, tenant=tenant), queues, strict=True):
            self.tasks[id_] = Told(queue=queue, tenant=tenant, batch=batch, place=self.numbers)
            self.numbers += 1
        self.batches[batch] = tenant

    def work(self) -> None:
        worker = self.random.choice(self.alive)
        held = [id_ for id_ in self.held_by(worker) if self.random.random() < 0.6]
        self.settle(worker, held)
        queues = self.random.sample(QUEUES, self.random.randint(1, 3))
        self.fetch(worker, queues, self.random.choice((0, 1, 1, 2, 3, 9)))

    def pause(self) -> None:
        what = self.random.choice(PAUSABLE)
        length = self.random.choice((None, None, 500, 3_000))
        self.pauses[what] = math.inf if length is None else self.store.now + length
        done(self.storage.pause(what, paused=True, length=length))

    def resume(self) -> None:
        what = self.random.choice(list(self.pauses) or ["*"])
        self.pauses.pop(what, None)
        if self.random.random() < 0.3:  # of many steps only the first: its caller dies
            changes = int(self.store.dump()["meta"].get("changes", 0))
            arg = {"what": what, "paused": False, "change": changes}
            done(self.store.driver.run("pause", (self.store.keys.pauses,), arg))
        else:
            done(self.storage.pause(what, paused=False))

    def cancel_task(self) -> None:
        id_ = self.random.choice(list(self.tasks) or ["t0"])
        record = self.store.task(id_)
        if done(self.storage.cancel_task(id_)):
            self.tasks[id_].cancel = True
            if record["s"] != "l":
                self.end(id_, "canceled")

    def cancel_batch(self) -> None:
        batch = self.random.choice(list(self.batches) or ["b0"])
        if done(self.storage.cancel_batch(batch)):
            self.canceled.add(batch)

    def walk(self) -> None:
        self.store.driver.limits["cancel_queued"] = 2
        for batch in self.canceled:
            done(self.storage.cancel_queued(batch))

    def kill(self) -> None:
        if len(self.alive) > 1:
            self.drained.discard(self.alive.pop(self.random.randrange(len(self.alive))))
            self.start_worker()

    def start_worker(self) -> None:
        worker = self.name("w")
        self.store.start_worker(worker)
        self.alive.append(worker)

    def leave(self) -> None:
        worker = self.alive.pop(self.random.randrange(len(self.alive)))
        self.drained.discard(worker)
        done(self.storage.leave(worker))
        self.give_back(self.held_by(worker))
        self.start_worker()

    def lose_reply(self) -> None:
        """A worker has fetched without learning it: what it got goes back."""
        worker = self.random.choice(self.alive)
        known = [(id_, self.tasks[id_].token) for id_ in self.held_by(worker)]
        self.fetch(worker, QUEUES, 3)
        nonce = self.store.next_nonce(worker)
        alive, lost = done(self.storage.resync(worker, nonce, known))
        assert (alive, lost) == (True, [])
        self.give_back([id_ for id_ in self.held_by(worker) if id_ not in dict(known)])

    def give_back(self, ids: list[str]) -> None:
        for id_ in ids:
            told = self.tasks[id_]
            told.token = ""
            if told.cancel or told.batch in self.canceled:
                self.end(id_, "canceled")

    def wait(self) -> None:
        for _ in range(self.random.choice((1, 1, 2, 8))):
            self.store.later(self.random.choice((1, 400, 1_600, 3_000)))
            self.store.beat(*self.alive)

    def maintain(self) -> None:
        while self.store.reap(MAX_RECOVERIES)[0]:
            pass
        self.store.tend(*QUEUES)
        for queue in QUEUES:
            done(self.storage.forget_queue(queue))
        self.learn_what_was_taken()

    def learn_what_was_taken(self) -> None:
        """From dead workers, and for being too late."""
        for id_, told in self.tasks.items():
            if not told.token:
                continue
            record = self.store.task(id_)
            if record.get("l") == told.token:
                continue
            lives = told.token.partition(":")[0] in self.alive
            assert not lives or told.lease_end + GRACE <= self.store.now, f"{id_} was taken from one that lives"
            told.token = ""
            if record.get("s") == "x":
                self.end(id_, "dead")
            elif not record:
                assert told.cancel or told.batch in self.canceled, f"{id_} is gone, and was not canceled"
                self.end(id_, "canceled")

    def drain(self) -> None:
        worker, drain = self.random.choice(self.alive), self.random.random() < 0.5
        assert done(self.storage.drain(worker, drain=drain))
        (self.drained.add if drain else self.drained.discard)(worker)

    def retry_dead(self) -> None:
        for queue in QUEUES:
            dead = list(self.store.index(queue, "dead"))
            for id_ in done(self.storage.retry_dead(queue, dead[:2], None, None)):
                assert self.tasks[id_].outcomes.pop() == "dead"

    def expire(self) -> None:
        """A task that stands ready gets a time when it is too late for it, as cycles of schedules have."""
        ready = [id_ for id_ in self.tasks if "." not in id_ and self.store.task(id_).get("s") == "r"]
        for id_ in ready[:2]:
            self.tasks[id_].expires = self.store.now + 2_000
            self.store.client.hset(self.store.keys.task(id_), "v", str(self.store.now + 2_000))

    # Attempts

    def held_by(self, worker: str) -> list[str]:
        return [id_ for id_, told in self.tasks.items() if told.token.partition(":")[0] == worker]

    def fetch(self, worker: str, queues: Any, slots: int) -> int:
        """As a worker does: again while there may be more. How many it got."""
        got, more, is_told = 0, True, self.is_paused("*") or worker in self.drained
        for _ in range(60):
            reply = self.store.exchange(worker, slots - got, queues, max_recoveries=MAX_RECOVERIES)
            for attempt in reply.fetched:
                self.hand_out(worker, attempt)
            got += len(reply.fetched)
            more = reply.more or self.some_pause_is_over()
            assert more or reply.status == ("paused" if is_told else "ok")
            if not more or got == slots or self.holds_suspect(worker):
                break
        assert not more or got == slots or self.holds_suspect(worker), f"{worker} looks again and again"
        if not is_told and got < slots and not self.holds_suspect(worker):
            assert list(self.servable(queues)) == [], f"{worker} got {got} of {slots}"
        return got

    def some_pause_is_over(self) -> bool:
        """Something of it is still to be ended, and workers heard `resume`: they look again."""
        return any(end <= self.store.now for end in self.store.dump().get("pauses", {}).values())

    def servable(self, queues: Any) -> Iterator[str]:
        for id_, record in Stored(self.store.dump()).in_state("r"):
            told = self.tasks[id_]
            if record["q"] in queues and not self.is_paused(f"queue:{told.queue}", f"tenant:{told.tenant}"):
                yield id_

    def holds_suspect(self, worker: str) -> bool:
        return any(int(self.store.task(id_).get("o", 0)) >= MAX_RECOVERIES - 1 for id_ in self.held_by(worker))

    def hand_out(self, worker: str, attempt: Attempt) -> None:
        id_, told = attempt.id, self.tasks[attempt.id]
        assert attempt.token.partition(":")[0] == worker
        assert not told.outcomes, f"{id_} is {told.outcomes} and runs again"
        assert not told.token, f"{id_} runs as {told.token} and as {attempt.token}"
        assert not self.is_paused("*", f"queue:{told.queue}", f"tenant:{told.tenant}"), f"{id_} is paused"
        assert told.batch not in self.canceled, f"{id_} was canceled"
        assert told.expires >= self.store.now, f"{id_} has expired"
        told.expires = math.inf
        if not told.handed_out and told.place is not None and self.keeps_order(worker):
            lane = told.queue, told.tenant
            assert self.last_served.get(lane, -1) < told.place, f"{id_} was overtaken in {lane}"
            self.last_served[lane] = told.place
        told.handed_out += 1
        told.token, told.lease_end = attempt.token, self.store.now + INVISIBILITY

    def keeps_order(self, worker: str) -> bool:
        """Not while very many pauses end at once, nor if very many lanes hold only what this worker must leave."""
        return not self.some_pause_is_over() and not self.holds_suspect(worker)

    def settle(self, worker: str, ids: list[str], outcomes: Sequence[str] = OUTCOMES) -> None:
        self.learn_what_was_taken()
        for id_ in ids:
            told, outcome = self.tasks[id_], self.random.choice(outcomes)
            if not told.token:
                continue
            kind = {"later": "retry", "unknown": "release"}.get(outcome, outcome)
            delay = 700 if kind != outcome else None
            handed_in = settlement(id_, told.token, kind, delay=delay, unknown=outcome == "unknown")
            [settled] = done(self.storage.settle(worker, [handed_in]))
            is_canceled = told.cancel or told.batch in self.canceled
            end = "canceled" if is_canceled else {"discard": "discarded"}.get(outcome, outcome)
            assert settled == self.expected(end), f"{id_} is {settled}, not {end}"
            assert done(self.storage.settle(worker, [handed_in])) == ["stale"]
            told.token = ""
            if end in {"done", "dead", "discarded", "canceled"}:
                self.end(id_, end)

    @staticmethod
    def expected(end: str) -> str:
        if end in {"done", "canceled"}:
            return end
        return "released" if end in {"release", "unknown"} else "failed"

    def end(self, id_: str, outcome: str) -> None:
        self.tasks[id_].outcomes.append(outcome)
        assert len(self.tasks[id_].outcomes) == 1, f"{id_} ended as {self.tasks[id_].outcomes}"

    # The end

    def heal(self) -> None:
        """No pauses, no drains, no dead workers: everything ends."""
        for what in list(self.pauses):
            if self.random.random() < 0.7:
                done(self.storage.pause(what, paused=False))
        self.store.driver.limits.clear()
        for batch in self.canceled:
            self.store.walk(batch)
        for what, end in list(self.pauses.items()):
            if end == math.inf:
                done(self.storage.pause(what, paused=False))
        self.pauses.clear()
        self.alive = []
        self.start_worker()
        [worker] = self.alive
        for _ in range(16):
            self.store.let_live(5_000, worker)
            self.maintain()
            while self.fetch(worker, QUEUES, 9):
                self.settle(worker, self.held_by(worker), ["done"])

    def check_ends(self) -> None:
        """Each task has ended as it should have, once; nothing else is left."""
        records = Stored(self.store.dump()).tasks
        for id_, told in self.tasks.items():
            is_withdrawn = told.batch in self.canceled or told.expires < self.store.now
            record: Record = records.get(id_, {})
            if told.outcomes == ["dead"]:
                assert record["s"] == "x"
            else:
                assert not record, f"{id_} is stuck: {record}"
                assert told.outcomes or is_withdrawn, f"{id_} is lost"
        for batch in self.batches:
            self.check_batch(batch)
        left = [key for key in self.store.dump() if key.startswith(("queue:", "pause", "parked"))]
        assert [key for key in left if not key.endswith(":dead")] == []

    def check_batch(self, batch: str) -> None:
        members = [told for told in self.tasks.values() if told.batch == batch]
        ends = Counter(end for told in members for end in told.outcomes or ["canceled"])
        expected = (len(members), ends["done"], ends["dead"] + ends["discarded"], ends["canceled"])
        assert self.store.counts(batch) == expected
        assert "end" in self.store.batch(batch)


def run_race(database: redis.Redis, seed: int, steps: int = STEPS) -> None:
    """A race to its end; what goes wrong in it raises."""
    database.flushdb()
    race = Race(Store(database, "{r}", SOURCES), seed)
    for number in range(steps):
        race.step()
        race.store.driver.calls = 0
        if number % 5 == 0:
            assert broken_laws(race.store.dump()) == []
    race.heal()
    assert broken_laws(race.store.dump()) == []
    race.check_ends()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_each_task_ends_once_whatever_is_paused(database: redis.Redis, seed: int) -> None:
    """None is lost, stuck, overtaken, handed out twice or while it is paused; workers do not look in vain for ever."""
    run_race(database, seed)
