"""A Hypothesis state machine: it does at random what producers, workers and maintenance do, and asks the model."""

import sys
from collections.abc import Sequence
from typing import Literal

from hypothesis import strategies as st
from hypothesis.stateful import rule

from taskproc.records import NewTask
from tests.storage.producing import Producing
from tests.storage.steps import (
    FAIR,
    KINDS,
    MAX_RECOVERIES,
    QUEUES,
    RETENTION,
    WAITING,
    kinds,
    outcomes,
    pick,
    picks,
    waiting,
)
from tests.storage.store import TIMEOUT, done, new_chunk, new_task

Disturbance = Literal["late", "rewound", "settle", "extend", "resync", "beat", "leave", "register"]
Twist = Literal["append", "cancel", "cancel task", "extend", "settle", "resync", "overdue"]
Duty = Literal["reap", "tend", "overdue", "open", "abandon", "clean"]

twists: st.SearchStrategy[Twist] = st.sampled_from(
    ["append", "cancel", "cancel", "cancel task", "extend", "settle", "resync", "overdue"]
)
queues = st.sampled_from([QUEUES, QUEUES, (FAIR,), ("low", FAIR), ("default",)])


class StorageMachine(Producing):
    """All rules, and the end: what is not dead ends, and nothing is left of it."""

    # Workers

    @rule(number=picks, slots=st.integers(0, 4), queues=queues, results=st.lists(outcomes, max_size=3))
    def work(self, number: int, slots: int, queues: tuple[str, ...], results: list[str]) -> None:
        """A worker hands in what it holds, and fetches."""
        worker = self.a_worker(number)
        attempts = zip(self.model.held_by(worker), results, strict=False)
        settlements = [self.settlement(task.id, task.token, outcome) for task, outcome in attempts]
        self.exchange(worker, slots, queues, settlements)

    @rule(numbers=st.lists(picks, min_size=1, max_size=3), outcome=outcomes)
    def settle_some(self, numbers: list[int], outcome: str) -> None:
        """Attempts are handed in, one of them perhaps twice in one request."""
        held = [(task.id, task.token) for task in self.model.in_state("l")]
        self.settle([pick(held, number) or ("t0", "w0:1") for number in numbers], outcome)

    @rule(
        what=st.sampled_from(["late", "rewound", "settle", "extend", "resync", "beat", "leave", "register"]),
        number=picks,
        outcome=outcomes,
    )
    def disturb(self, what: Disturbance, number: int, outcome: str) -> None:
        """What happens when replies are lost, or come late, or a worker starts or ends."""
        worker = self.a_worker(number)
        nonce = self.model.workers[worker].nonce
        match what:
            case "late":  # a request that comes after a later one, or after a resync
                self.exchange(worker, 4, QUEUES, nonce=max(nonce - number % 2, 1))
            case "rewound":  # Redis does not know of an exchange that it had answered
                self.exchange(worker, 4, QUEUES, known=self.store.next_nonce(worker))
            case "settle":
                self.settle([pick(self.stale(), number) or ("t0", "w0:1")], outcome)
            case "extend":
                self.extend(number, 1_000 if number % 2 else 90_000)
            case "resync":
                self.resync(worker, number % 4, max(nonce + (0, 0, 1, -1)[number % 4], 0))
            case "beat":
                self.beat(pick([worker, "nobody"], number) or worker)
            case "leave":
                self.leave(worker)
            case "register":
                self.store.start_worker(worker)
                self.model.register(worker)

    def stale(self) -> list[tuple[str, str]]:
        """Lost leases: those of tasks that are leased again, if there are any."""
        tasks = self.model.tasks
        lost = [lease for lease in self.leases if lease[0] not in tasks or tasks[lease[0]].token != lease[1]]
        return [lease for lease in lost if lease[0] in tasks and tasks[lease[0]].state == "l"] or lost

    def extend(self, number: int, milliseconds: int) -> None:
        held = [(task.id, task.token) for task in self.model.in_state("l")]
        leases = [(*lease, milliseconds) for lease in (pick(held, number), pick(self.stale(), number)) if lease]
        self.same(done(self.storage.extend(leases)), self.model.extend(leases))
        self.repeat(lambda: done(self.storage.extend(leases)))

    def resync(self, worker: str, forgotten: int, nonce: int) -> None:
        """A worker asks what it holds; of what it has fetched last, the reply was lost."""
        held = [(task.id, task.token) for task in self.model.held_by(worker)]
        known = held[: max(len(held) - forgotten, 0)] + self.stale()[:1]
        self.same(done(self.storage.resync(worker, nonce, known)), self.model.resync(worker, nonce, known))
        self.repeat(lambda: done(self.storage.resync(worker, nonce, known)))
        while self.store.next_nonce(worker) <= nonce:
            pass

    def beat(self, *workers: str) -> None:
        for worker in workers:
            self.same(done(self.storage.beat(worker, TIMEOUT)), self.model.beat(worker))

    def leave(self, worker: str) -> None:
        done(self.storage.leave(worker))
        self.model.leave(worker)
        self.check()

    # Time and maintenance

    @rule(milliseconds=st.sampled_from([1, 600, 1_000, 4_000, 8_000, 70_000]))
    def let_time_pass(self, milliseconds: int) -> None:
        self.wait(milliseconds)

    @rule(milliseconds=st.sampled_from([-3_600_000, -60_000, -4_000, 3_600_000]))
    def set_the_clock(self, milliseconds: int) -> None:
        """Redis's clock is set, or a failover went to a host with another one."""
        self.put_back += max(-milliseconds, 0)
        self.wait(milliseconds)

    def let_live(self, milliseconds: int, *silent: str) -> None:
        """Time passes, while all workers beat but the silent ones."""
        for _ in range(0, milliseconds, 5_000):
            self.wait(5_000)
            self.beat(*(worker for worker in self.workers() if worker not in silent))

    @rule(number=picks, limit=st.integers(1, 2), outcome=outcomes)
    def freeze_worker(self, number: int, limit: int, outcome: str) -> None:
        """It fetches, freezes, is taken for dead while another lives and gets its tasks; then it hands them in."""
        victim = self.a_worker(number)
        lost = [(task.id, task.token) for task in self.exchange(victim, 3, QUEUES)]
        other = self.start_worker()
        self.let_live(TIMEOUT + 5_000, victim)
        while self.reap(limit) and number % 2:
            pass
        self.beat(victim)
        self.exchange(other, 4, QUEUES)
        self.settle(lost, outcome)

    @rule(
        what=st.sampled_from(["reap", "tend", "overdue", "open", "abandon", "clean"]),
        queues=queues,
        limit=st.integers(1, 3),
        deadletter=st.booleans(),
    )
    def maintain(self, what: Duty, queues: tuple[str, ...], limit: int, deadletter: bool) -> None:  # noqa: FBT001
        match what:
            case "reap":
                self.reap(limit)
            case "tend":
                self.tend(queues, limit, deadletter=deadletter)
            case "overdue":  # leases run out while their workers live
                self.beat(*self.workers())
                self.let_live(15_000)
                self.tend(QUEUES, limit, deadletter=deadletter)
            case "open":
                self.cancel_abandoned(limit)
            case "abandon":  # producers give no sign for a minute, while workers live
                self.wait(70_000)
                self.beat(*self.workers())
                self.let_live(70_000)
                self.cancel_abandoned(limit)
            case "clean":
                self.clean_up(RETENTION if deadletter else 0)

    def reap(self, limit: int) -> bool:
        before = {task.id: task.worker for task in self.model.in_state("l")}
        self.store.driver.limits["reap"] = limit
        more, lost = self.store.reap(MAX_RECOVERIES)
        dump = self.look()
        held = [ids for key, ids in dump.items() if key.startswith("worker:") and key.endswith(":tasks")]
        taken = before.keys() - {id_ for ids in held for id_ in ids}
        self.same((more, {one.id for one in lost}), self.model.reap(MAX_RECOVERIES, taken))
        for worker in {before[id_] for id_ in taken}:
            self.same(len(taken), min(limit, list(before.values()).count(worker)))
        return more

    def tend(self, queues: Sequence[str], limit: int, *, deadletter: bool) -> bool:
        self.store.driver.limits["tend"] = limit
        more = self.store.tend(*queues, deadletter=deadletter)
        return self.same(more, self.model.tend(queues, limit, deadletter=deadletter))

    def cancel_abandoned(self, limit: int) -> bool:
        self.store.driver.limits["cancel_abandoned"] = limit
        return self.same(done(self.storage.cancel_abandoned(TIMEOUT)), self.model.cancel_abandoned(limit))

    def clean_up(self, retention: int) -> None:
        self.same(done(self.storage.clean_up(retention)), False)
        self.model.clean_up(retention)

    # Whole batches

    @rule(
        tasks=kinds,
        continuations=waiting,
        results=st.lists(outcomes, min_size=1, max_size=4),
        twists=st.lists(twists, max_size=3),
        number=picks,
    )
    def run_batch(
        self,
        tasks: list[NewTask],
        continuations: list[NewTask],
        results: list[str],
        twists: list[Twist],
        number: int,
    ) -> None:
        """A batch from its start to its end, with something that happens while its tasks run; dead ones run again."""
        worker = self.start_worker()
        batch = self.start_batch(tasks, continuations, "acme", last=True)
        for step in range(len(tasks) + 1):
            fetched = [(task.id, task.token) for task in self.exchange(worker, 2, QUEUES)]
            if step < len(twists):
                self.twist(twists[step], worker, batch, number)
            self.settle([*fetched, *fetched[:1]], *results)
            self.wait(600)
        for id_ in self.ids("x"):
            self.retry_dead(self.model.tasks[id_].queue, [id_])
        self.clean_up(1_000)
        self.settle([(task.id, task.token) for task in self.exchange(worker, 4, QUEUES)], "done")
        self.leave(worker)

    def twist(self, what: Twist, worker: str, batch: str, number: int) -> None:
        """What happens while a worker runs tasks of a batch and others."""
        match what:
            case "append":
                self.add_chunk(new_chunk(batch, producer=self.name("a"), new=False), KINDS[:1], WAITING[:1])
            case "cancel":
                self.add(new_task(queue=FAIR), new_task(queue=FAIR, tenant="bolt"))
                self.cancel_batch(batch)
                self.exchange(worker, 2, QUEUES)
                self.walk(batch, 2)
                self.exchange(worker, 1, (FAIR,))
            case "cancel task":
                self.cancel_task(pick(self.ids("l"), number) or batch)
            case "extend":
                self.extend(number, 1_000 if number % 2 else 90_000)
            case "settle":
                self.settle([pick(self.stale(), number) or ("t0", "w0:1")], "done")
            case "resync":
                self.add(new_task())
                nonce = self.model.workers[worker].nonce
                self.resync(worker, 2, nonce - 1)
                self.resync(worker, number % 3, nonce)
            case "overdue":
                self.wait(70_000)
                self.beat(*self.workers())
                self.let_live(TIMEOUT)
                self.tend(QUEUES, 3, deadletter=number % 2 == 0)

    # The end

    def teardown(self) -> None:
        if sys.exception() is None:  # no step has failed
            self.store.driver.limits.clear()
            self._drain()
            self._clean()

    def _drain(self) -> None:
        """One worker stays; everything that is not dead ends."""
        for what in list(self.model.pauses):
            self.pause(what, paused=False, length=None)
        self.wait(100_000 + self.put_back)
        worker = self.start_worker()
        for _ in range(14):
            self.let_live(5_000, *set(self.workers()) - {worker})
            self._maintain_all()
            while tasks := self.exchange(worker, 20, QUEUES):
                self.settle([(task.id, task.token) for task in tasks], "done")
        self.leave(worker)
        self.same({task.state for task in self.model.tasks.values()} - {"x", "h"}, set())
        self.same([id_ for id_, batch in self.model.batches.items() if batch.end is None], [])

    def _maintain_all(self) -> None:
        """What the maintenance of a worker does."""
        while self.reap(200):
            pass
        while self.tend(QUEUES, 200, deadletter=True):
            pass
        while self.cancel_abandoned(20):
            pass
        for batch in done(self.storage.canceled()):
            while self.walk(batch, 1_000):
                pass
        self.check()

    def _clean(self) -> None:
        """When all is old, dead tasks are left, and when they are discarded, nothing."""
        self.wait(RETENTION)  # after the time that the clock was put back, which has passed
        self.clean_up(RETENTION)
        self.check()
        for queue in QUEUES:
            done(self.storage.forget_queue(queue))
        dead = {f"queue:{task.queue}:dead" for task in self.model.tasks.values()}
        records = {f"task:{id_}" for id_ in self.model.tasks}
        self.same(set(self.look()), {"meta"} | dead | records | ({"queues"} if dead else set()))
        for queue in QUEUES:
            done(self.storage.discard_dead(queue, self.ids("x"), None))
            self.same(done(self.storage.forget_queue(queue)), True)
        self.same(set(self.look()), {"meta"})
