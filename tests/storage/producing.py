"""The rules of what producers, and those who look after dead letters, do."""

from typing import Literal

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from msgspec import structs

from taskproc.records import NewTask
from tests.storage.steps import FAIR, KINDS, QUEUES, TENANTS, Steps, kinds, pick, picks, waiting
from tests.storage.store import done, new_chunk

Cancel = Literal["batch", "walk", "task"]
pauses = st.sampled_from(["*", "tenant:acme", "tenant:acme", "tenant:bolt", "queue:default", f"queue:{FAIR}"])


class Producing(Steps):
    """Most requests are sent twice: the second time nothing changes."""

    @initialize(singles=kinds, tasks=kinds, continuations=waiting, last=st.booleans())
    def begin(self, singles: list[NewTask], tasks: list[NewTask], continuations: list[NewTask], last: bool) -> None:  # noqa: FBT001
        self.start_worker()
        self.enqueue(singles, again=False, number=0)
        self.start_batch(tasks, continuations, "acme", last=last)

    @rule(tasks=kinds, again=st.booleans(), number=picks)
    def enqueue(self, tasks: list[NewTask], again: bool, number: int) -> None:  # noqa: FBT001
        """New tasks; or a late copy of an old request: the task runs again if it has ended."""
        self.add(*tasks[:3])
        old = pick(list(self.singles.values()), number)
        if again and old is not None:
            self.same(self.store.enqueue(old), self.model.enqueue([old]))

    @rule(tasks=kinds, continuations=waiting, tenant=st.sampled_from(TENANTS), last=st.booleans())
    def new_batch(self, tasks: list[NewTask], continuations: list[NewTask], tenant: str, last: bool) -> None:  # noqa: FBT001
        self.start_batch(tasks, continuations, tenant, last=last)

    @rule(
        number=picks,
        tasks=kinds,
        continuations=waiting,
        last=st.booleans(),
        slip=st.sampled_from(["", "", "tenant", "lost"]),
    )
    def add_to_batch(
        self,
        number: int,
        tasks: list[NewTask],
        continuations: list[NewTask],
        last: bool,  # noqa: FBT001
        slip: str,
    ) -> None:
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

    @rule(what=st.sampled_from(["batch", "walk", "task"]), number=picks, tenant=st.sampled_from([None, None, "acme"]))
    def cancel(self, what: Cancel, number: int, tenant: str | None) -> None:
        batches = sorted(self.model.batches)
        canceled = [one for one in batches if self.model.batches[one].canceled_at is not None]
        id_ = pick({"batch": batches, "walk": canceled or batches, "task": self.ids()}[what], number)
        if id_ is None:
            return
        match what:
            case "batch":
                self.cancel_batch(id_, tenant)
            case "walk":
                self.walk(id_, number % 3 + 1)
            case "task":
                self.cancel_task(id_, tenant)

    @rule(number=picks)
    def keep_open(self, number: int) -> None:
        entries = [pick([*self.model.open, "b0/"], number) or "", "b0/gone"]
        self.same(done(self.storage.keep_open(entries)), self.model.keep_open(entries))
        self.repeat(lambda: done(self.storage.keep_open(entries)))

    @rule(what=pauses, paused=st.booleans(), length=st.sampled_from([None, None, 3_000]))
    def pause(self, what: str, paused: bool, length: int | None) -> None:  # noqa: FBT001
        until = self.model.now + length if length is not None and paused else None
        done(self.storage.pause(what, paused=paused, until=until))
        self.model.pause(what, paused=paused, length=length)
        self.repeat(lambda: done(self.storage.pause(what, paused=paused, until=until)))

    @rule(tenant=st.sampled_from(TENANTS), kind=st.sampled_from(KINDS), number=picks)
    def set_aside(self, tenant: str, kind: NewTask, number: int) -> None:
        """A tenant is paused for a while, its tasks come to the head, and others are served; then it goes on."""
        worker, what = self.start_worker(), f"tenant:{tenant}"
        self.add(*(structs.replace(kind, tenant=of) for of in (tenant, TENANTS[number % 3], tenant)))
        held = self.exchange(worker, number % 2, QUEUES)
        self.pause(what, paused=True, length=None)
        self.exchange(worker, 1 + number % 5, QUEUES)
        self.settle([(task.id, task.token) for task in held], "release")
        if number % 4 == 0:
            self.cancel_task(pick(self.ids("r"), number) or "t0")
        self.exchange(worker, 1, QUEUES)
        self.pause(what, paused=number % 7 == 0, length=1_000)
        self.add(structs.replace(kind, tenant=tenant))
        self.settle([(task.id, task.token) for task in self.exchange(worker, 2, QUEUES)], "done", "release")

    @rule(number=picks, drain=st.booleans())
    def drain(self, number: int, drain: bool) -> None:  # noqa: FBT001
        worker = self.a_worker(number)
        self.same(done(self.storage.drain(worker, drain=drain)), self.model.drain(worker, drain=drain))

    @rule(
        number=picks,
        retry=st.booleans(),
        retries=st.sampled_from([None, 2]),
        tenant=st.sampled_from([None, None, "acme"]),
    )
    def handle_dead(self, number: int, retry: bool, retries: int | None, tenant: str | None) -> None:  # noqa: FBT001
        """A dead task, named twice, another one, and one that is perhaps not dead at all."""
        first = pick(self.ids("x"), number)
        queue = self.model.tasks[first].queue if first else "default"
        named = (first, pick(self.ids("x"), number + 1), pick(self.ids(), number), first)
        ids = [id_ for id_ in named if id_ is not None]
        if retry:
            self.retry_dead(queue, ids, retries, tenant)
        else:
            self.same(done(self.storage.discard_dead(queue, ids, tenant)), self.model.discard_dead(queue, ids, tenant))
            self.repeat(lambda: done(self.storage.discard_dead(queue, ids, tenant)))
