"""The rules of what producers, and those who look after dead letters, do."""

from hypothesis import strategies as st
from hypothesis.stateful import rule
from msgspec import structs

from taskproc.records import NewTask
from tests.storage.steps import TENANTS, Steps, kinds, pick, picks, waiting
from tests.storage.store import done, new_chunk, new_task


class Producing(Steps):
    """Each request is sent twice: the second time nothing changes."""

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
    def new_batch(self, tasks: list[NewTask], continuations: list[NewTask], tenant: str, last: bool) -> None:  # noqa: FBT001
        self._new_batch(tasks, continuations, tenant, last=last)

    def _new_batch(
        self, tasks: list[NewTask], continuations: list[NewTask], tenant: str, *, last: bool
    ) -> str:
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
            self._cancel_queued(batch, limit)

    def _cancel_queued(self, batch: str, limit: int) -> bool:
        self.store.driver.limits["cancel_queued"] = limit
        return self.same(done(self.storage.cancel_queued(batch)), self.model.cancel_queued(batch, limit))

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
