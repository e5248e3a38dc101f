"""A Hypothesis state machine: does at random what producers, workers and maintenance do, and compares with the model."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from taskproc.records import NewTask
from tests.storage.producing import Producing
from tests.storage.steps import FAIR, MAX_RECOVERIES, QUEUES, RETENTION, kinds, outcomes, pick, picks, waiting
from tests.storage.store import TIMEOUT, done, new_chunk

queues = st.sampled_from([QUEUES, (FAIR,), ("low", FAIR), ("default",)])
slots = st.integers(1, 4)


class StorageMachine(Producing):
    """All rules, and the end: what is not dead ends, and nothing is left of it."""

    # Workers

    @rule()
    def register(self) -> None:
        worker = self.start_worker() if len(self.model.workers) < 3 else self.workers()[0]
        self.store.start_worker(worker)
        self.model.register(worker)

    @rule(number=picks)
    def beat(self, number: int) -> None:
        worker = pick([*self.workers(), "nobody"], number) or ""
        self.same(done(self.storage.beat(worker, TIMEOUT)), self.model.beat(worker))
        self.repeat(lambda: done(self.storage.beat(worker, TIMEOUT)))

    @rule(number=picks, slots=slots, queues=queues)
    def fetch(self, number: int, slots: int, queues: tuple[str, ...]) -> None:
        self.exchange(self.a_worker(number), slots, queues)

    @rule(number=picks, late=st.integers(1, 2))
    def late_fetch(self, number: int, late: int) -> None:
        """A request that comes after a later one, or after a resync, gets nothing."""
        worker = self.a_worker(number)
        self.exchange(worker, 4, QUEUES, nonce=max(self.model.workers[worker].nonce + 1 - late, 1))

    @rule(number=picks)
    def fetch_after_loss(self, number: int) -> None:
        """Redis does not know of an exchange that it had answered: the worker must look what it holds."""
        worker = self.a_worker(number)
        known = self.store.next_nonce(worker)
        self.exchange(worker, 4, QUEUES, known=known)

    @rule(number=picks, held=st.lists(outcomes, max_size=3), slots=slots, queues=queues)
    def settle_and_fetch(self, number: int, held: list[str], slots: int, queues: tuple[str, ...]) -> None:
        worker = self.a_worker(number)
        attempts = zip(self.model.held_by(worker), held, strict=False)
        settlements = [self.settlement(task.id, task.token, outcome) for task, outcome in attempts]
        self.exchange(worker, slots, queues, settlements)

    @rule(numbers=st.lists(picks, min_size=1, max_size=3), outcome=outcomes)
    def settle_some(self, numbers: list[int], outcome: str) -> None:
        held = [(task.id, task.token) for task in self.model.in_state("l")]
        self.settle([pick(held, number) or ("t0", "w0:1") for number in numbers], outcome)

    @rule(number=picks, outcome=outcomes)
    def settle_stale(self, number: int, outcome: str) -> None:
        """An attempt whose lease is lost changes nothing."""
        self.settle([pick(self.stale(), number) or ("t0", "w0:1")], outcome)

    def stale(self) -> list[tuple[str, str]]:
        """Lost leases: those of tasks that are leased again, if there are any."""
        tasks = self.model.tasks
        lost = [lease for lease in self.leases if lease[0] not in tasks or tasks[lease[0]].token != lease[1]]
        return [lease for lease in lost if lease[0] in tasks and tasks[lease[0]].state == "l"] or lost

    @rule(number=picks, milliseconds=st.sampled_from([1_000, 90_000]))
    def extend(self, number: int, milliseconds: int) -> None:
        held = [(task.id, task.token) for task in self.model.in_state("l")]
        leases = [(*lease, milliseconds) for lease in (pick(held, number), pick(self.stale(), number)) if lease]
        self.same(done(self.storage.extend(leases)), self.model.extend(leases))
        self.repeat(lambda: done(self.storage.extend(leases)))

    @rule(number=picks, forgotten=st.integers(0, 3), ahead=st.sampled_from([0, 0, 1, -1]))
    def resync(self, number: int, forgotten: int, ahead: int) -> None:
        """A worker asks what it holds; `forgotten`: of what it has fetched last, the reply was lost."""
        worker = self.a_worker(number)
        held = [(task.id, task.token) for task in self.model.held_by(worker)]
        known = held[: len(held) - forgotten] + [lease for lease in self.leases[:1] if lease not in held]
        about = self.model.workers[worker]
        nonce = max(about.nonce + ahead, 0)
        self.same(done(self.storage.resync(worker, nonce, known)), self.model.resync(worker, nonce, known))
        if ahead == 1:
            self.store.next_nonce(worker)
        self.repeat(lambda: done(self.storage.resync(worker, nonce, known)))

    @rule(number=picks)
    def leave(self, number: int) -> None:
        worker = self.a_worker(number)
        self._leave(worker)
        self.repeat(lambda: done(self.storage.leave(worker)))

    # Time and maintenance

    @rule(milliseconds=st.sampled_from([1, 1_000, 4_000, 8_000, 70_000]))
    def let_time_pass(self, milliseconds: int) -> None:
        self.wait(milliseconds)

    def beat_all(self, *silent: str) -> None:
        for worker in self.workers():
            if worker not in silent:
                self.same(done(self.storage.beat(worker, TIMEOUT)), self.model.beat(worker))

    def let_live(self, milliseconds: int, *silent: str) -> None:
        """Time passes, while all workers beat but the silent ones."""
        for _ in range(0, milliseconds, 5_000):
            self.wait(5_000)
            self.beat_all(*silent)

    @rule(number=picks, limit=st.integers(1, 2), outcome=outcomes)
    def freeze_worker(self, number: int, limit: int, outcome: str) -> None:
        """It fetches, freezes, is taken for dead while another lives and gets its tasks; then it hands them in."""
        victim = self.a_worker(number)
        lost = [(task.id, task.token) for task in self.exchange(victim, 3, QUEUES)]
        other = self.start_worker()
        self.let_live(TIMEOUT + 5_000, victim)
        while self._reap(limit) and number % 2:
            pass
        self.exchange(other, 4, QUEUES)
        self.settle(lost, outcome)

    @rule(limit=st.integers(1, 2))
    def reap(self, limit: int) -> None:
        self._reap(limit)

    def _reap(self, limit: int) -> bool:
        before = {task.id: task.worker for task in self.model.in_state("l")}
        self.store.driver.limits["reap"] = limit
        more, lost = self.store.reap(MAX_RECOVERIES)
        taken = before.keys() - {id_ for ids in self._sets() for id_ in ids}
        expected_more, expected_lost = self.model.reap(MAX_RECOVERIES, taken)
        self.same((more, {one.id for one in lost}), (expected_more, expected_lost))
        for worker in {before[id_] for id_ in taken}:
            self.same(len(taken), min(limit, list(before.values()).count(worker)))
        return more

    def _sets(self) -> list[set[str]]:
        return [value for key, value in self.store.dump().items() if key.startswith("worker:") and key.endswith(":tasks")]

    @rule(queues=queues, limit=st.integers(1, 3), deadletter=st.booleans())
    def tend(self, queues: tuple[str, ...], limit: int, deadletter: bool) -> None:  # noqa: FBT001
        self._tend(queues, limit, deadletter=deadletter)

    def _tend(self, queues: tuple[str, ...], limit: int, *, deadletter: bool) -> bool:
        self.store.driver.limits["tend"] = limit
        more = self.store.tend(*queues, deadletter=deadletter)
        return self.same(more, self.model.tend(queues, limit, deadletter=deadletter))

    @rule(deadletter=st.booleans())
    def end_overdue(self, deadletter: bool) -> None:  # noqa: FBT001
        """Leases run out while their workers live."""
        self.beat_all()
        self.let_live(15_000)
        self._tend(QUEUES, 5, deadletter=deadletter)

    @rule(limit=st.integers(1, 2))
    def cancel_abandoned(self, limit: int) -> None:
        self._cancel_abandoned(limit)

    def _cancel_abandoned(self, limit: int) -> bool:
        self.store.driver.limits["cancel_abandoned"] = limit
        return self.same(done(self.storage.cancel_abandoned(TIMEOUT)), self.model.cancel_abandoned(limit))

    @rule()
    def abandon(self) -> None:
        """Producers give no sign for a minute, while workers live."""
        self.wait(70_000)
        self.beat_all()
        self.let_live(TIMEOUT)
        self._cancel_abandoned(2)

    @rule(retention=st.sampled_from([0, RETENTION]))
    def clean_up(self, retention: int) -> None:
        self._clean_up(retention)

    def _clean_up(self, retention: int) -> None:
        self.same(done(self.storage.clean_up(retention)), False)
        self.model.clean_up(retention)

    # Whole batches

    @rule(tasks=kinds, continuations=waiting, results=st.lists(outcomes, min_size=1, max_size=4), cancel_at=st.integers(0, 6))
    def run_batch(
        self, tasks: list[NewTask], continuations: list[NewTask], results: list[str], cancel_at: int
    ) -> None:
        """A batch from its start to its end, or to its cancel; one task more is appended on the way."""
        worker = self.start_worker()
        batch = self._new_batch(tasks, continuations, "acme", last=True)
        for step in range(len(tasks) + 2):
            if step == 1:
                self.add_chunk(new_chunk(batch, producer="more", new=False), tasks[:1], continuations[:1])
            if step == cancel_at:
                self.same(done(self.storage.cancel_batch(batch)), self.model.cancel_batch(batch, None))
                self._cancel_queued(batch, 2)
            for task in self.exchange(worker, 2, QUEUES):
                self.settle([(task.id, task.token)], results[step % len(results)])
            self.wait(1_000)
        self._leave(worker)

    def _leave(self, worker: str) -> None:
        done(self.storage.leave(worker))
        self.model.leave(worker)
        self.check()

    # The end

    def teardown(self) -> None:
        if not self.is_broken:
            self.store.driver.limits.clear()
            self._drain()
            self._clean()

    def _drain(self) -> None:
        """One worker stays; everything that is not dead ends."""
        self.pause(paused=False)
        self.wait(100_000)
        worker = self.start_worker()
        for _ in range(4):
            self.let_live(5_000, *set(self.workers()) - {worker})
            self.maintain()
            while tasks := self.exchange(worker, 20, QUEUES):
                self.settle([(task.id, task.token) for task in tasks], "done")
        self._leave(worker)
        self.same({task.state for task in self.model.tasks.values()} - {"x", "h"}, set())
        self.same([id_ for id_, batch in self.model.batches.items() if batch.end is None], [])

    def maintain(self) -> None:
        """What the maintenance of a worker does."""
        while self._reap(200):
            pass
        while self._tend(QUEUES, 200, deadletter=True):
            pass
        while self._cancel_abandoned(20):
            pass
        for batch in done(self.storage.canceled()):
            while self._cancel_queued(batch, 1_000):
                pass
        self.check()

    def _clean(self) -> None:
        """When all is old, dead tasks are left, and when they are discarded, nothing."""
        self.wait(RETENTION)
        self._clean_up(RETENTION)
        self.check()
        for queue in QUEUES:
            done(self.storage.forget_queue(queue))
        dead = {f"queue:{task.queue}:dead" for task in self.model.tasks.values()}
        records = {f"task:{id_}" for id_ in self.model.tasks}
        self.same(set(self.store.dump()), {"meta"} | dead | records | ({"queues"} if dead else set()))
        for queue in QUEUES:
            done(self.storage.discard_dead(queue, self.ids("x"), None))
            self.same(done(self.storage.forget_queue(queue)), True)
        self.same(set(self.store.dump()), {"meta"})
