"""What the storage must do, said once more in Python, without indexes: tasks, batches and workers as plain objects."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from taskproc.records import NewTask
from tests.storage.store import TIMEOUT

State = Literal["r", "d", "l", "x", "h"]


@dataclass(slots=True, kw_only=True)
class Task:
    """A task that has not ended."""

    id: str
    new: NewTask
    retries: int
    enqueued_at: int
    state: State = "r"
    due: int = 0
    """When a delayed one becomes ready."""
    token: str = ""
    lease_end: int = 0
    failures: int = 0
    recoveries: int = 0
    unknown_since: int | None = None
    cancel_requested: bool = False
    aside: bool = False
    """In a plain queue: it stands in the list of its tenant, which is, or was until lately, paused."""
    died: tuple[int, str] | None = None
    """When and of what."""
    stays_dead: bool = False
    """Its batch was canceled since."""

    @property
    def queue(self) -> str:
        return self.new.queue

    @property
    def tenant(self) -> str:
        return self.new.tenant

    @property
    def lane(self) -> tuple[str, str]:
        """The list that it stands in while it is ready."""
        return self.queue, self.tenant if self.queue.endswith("[fair]") or self.aside else ""

    @property
    def batch(self) -> str | None:
        """The batch that counts it."""
        return self.id.split(".")[0] if "." in self.id and self.new.awaited is None else None

    @property
    def worker(self) -> str:
        return self.token.rpartition(":")[0]


@dataclass(slots=True, kw_only=True)
class Batch:
    """A batch, until it is cleaned up."""

    tenant: str
    start: int
    total: int = 0
    done: int = 0
    failed: int = 0
    canceled: int = 0
    duration: int = 0
    producers: set[str] = field(default_factory=set[str])
    """Those that still send."""
    canceled_at: int | None = None
    end: int | None = None
    held: list[str] = field(default_factory=list[str])
    chunks: dict[str, int] = field(default_factory=dict[str, int])
    """How many tasks each chunk has that no cancel has walked yet."""

    @property
    def is_settled(self) -> bool:
        return not self.producers and self.total == self.done + self.failed + self.canceled


@dataclass(slots=True, kw_only=True)
class Worker:
    """A worker that is known."""

    alive_until: int = 0
    nonce: int = 0
    is_dead: bool = False
    is_drained: bool = False
    suspect: str = ""


@dataclass(slots=True)
class Lane:
    """The ready tasks of one list, in order; what this step has put at its ends may stand there in any order."""

    head: list[str] = field(default_factory=list[str])
    middle: list[str] = field(default_factory=list[str])
    tail: list[str] = field(default_factory=list[str])

    @property
    def ids(self) -> list[str]:
        return self.head + self.middle + self.tail

    def remove(self, id_: str) -> None:
        for part in (self.head, self.middle, self.tail):
            if id_ in part:
                part.remove(id_)


class Model:
    """The state, and the moves that scripts make together."""

    def __init__(self) -> None:
        self.now = 0
        self.tasks: dict[str, Task] = {}
        self.batches: dict[str, Batch] = {}
        self.workers: dict[str, Worker] = {}
        self.open: dict[str, int] = {}
        self.pauses: dict[str, tuple[int, float]] = {}
        """What is paused: since when, and until when."""
        self.parked: set[tuple[str, str]] = set()
        """Queues and tenants that fetch passes over until the tenant is resumed."""
        self.beaten = self.hold = 0
        self.lanes: dict[tuple[str, str], Lane] = {}
        self.rings: dict[str, list[str]] = {}
        """Of each queue the tenants with a list of their own, the next one first, those that are parked last."""
        self.twice: set[str] = set()
        """Ids that may stand in their list twice: as a tombstone, and again."""
        self.pushed: list[str] = []
        """What has become ready in this step."""
        self.new_in_ring: set[tuple[str, str]] = set()
        """Tenants that have begun to wait in this step."""
        self.any_order = False
        """In this step more than one order of lists and tenants was right."""
        self._settled: set[str] = set()

    # Moves

    def is_canceled(self, batch: str | None) -> bool:
        return batch in self.batches and self.batches[batch].canceled_at is not None

    def is_withdrawn(self, task: Task) -> bool:
        return task.cancel_requested or self.is_canceled(task.batch)

    def held_by(self, worker: str) -> list[Task]:
        return [task for task in self.tasks.values() if task.state == "l" and task.worker == worker]

    def in_state(self, state: State, queue: str | None = None) -> list[Task]:
        return [task for task in self.tasks.values() if task.state == state and queue in (None, task.queue)]

    def add(self, id_: str, new: NewTask) -> Task:
        task = Task(id=id_, new=new, retries=new.retries, enqueued_at=self.now)
        self.tasks[id_] = task
        return task

    def is_paused(self, what: str) -> bool:
        return what in self.pauses and self.pauses[what][1] > self.now

    def make_ready(self, task: Task, *, at_head: bool = False) -> None:
        is_plain = not task.queue.endswith("[fair]")
        task.state, task.token = "r", ""
        task.aside = is_plain and at_head and task.tenant in self.rings.get(task.queue, [])
        lane = self.lanes.setdefault(task.lane, Lane())
        if not lane.ids and task.lane[1] and not is_plain:
            self.join(task.queue, task.tenant)
        (lane.head if at_head else lane.tail).append(task.id)
        self.pushed.append(task.id)

    def join(self, queue: str, tenant: str) -> None:
        """The tenant waits for its turn behind the others, but before those that are parked."""
        ring = self.rings.setdefault(queue, [])
        waiting = sum((queue, other) not in self.parked for other in ring)
        ring.insert(waiting, tenant)
        self.new_in_ring.add((queue, tenant))

    def park(self, queue: str, tenant: str) -> None:
        ring = self.rings.setdefault(queue, [])
        if tenant in ring:
            ring.remove(tenant)
        ring.append(tenant)
        self.parked.add((queue, tenant))

    def end_pause(self, what: str) -> None:
        del self.pauses[what]
        kind, _, name = what.partition(":")
        for queue, tenant in sorted(self.parked):
            if kind == "tenant" and tenant == name:
                self.parked.remove((queue, tenant))
                self.rings[queue].remove(tenant)
                self.join(queue, tenant)

    def end_lapsed(self) -> None:
        for what in [what for what, (_, until) in self.pauses.items() if until <= self.now]:
            self.end_pause(what)

    def place(self, task: Task, due: int) -> None:
        if due > self.now:
            task.state, task.due, task.token = "d", due, ""
        else:
            self.make_ready(task)

    def put_back(self, task: Task, wait: int = 0, *, at_head: bool = False) -> None:
        task.unknown_since = None
        if wait > 0:
            self.place(task, self.now + wait)
        else:
            self.make_ready(task, at_head=at_head)

    def unready(self, task: Task) -> None:
        """Takes a task out of its list."""
        lane = self.lanes[task.lane]
        lane.remove(task.id)
        if not lane.ids:
            del self.lanes[task.lane]
            if task.queue.endswith("[fair]"):
                self.rings[task.queue].remove(task.tenant)
                self.parked.discard((task.queue, task.tenant))

    def forget(self, task: Task, counter: str = "", us: int = 0) -> None:
        """The task is gone; its batch counts it."""
        if task.state == "r":
            self.unready(task)
        del self.tasks[task.id]
        self.count(task, counter, us)

    def bury(self, task: Task, error: str) -> None:
        if task.state == "r":
            self.unready(task)
        task.state, task.token, task.unknown_since, task.died = "x", "", None, (self.now, error)
        self.count(task, "failed")

    def count(self, task: Task, counter: str, us: int = 0) -> None:
        batch = self.batches.get(task.batch or "")
        if batch is None:
            return
        if counter:
            setattr(batch, counter, getattr(batch, counter) + 1)
        batch.duration += us
        self._settled.add(task.batch or "")

    def end_batches(self) -> None:
        """Ends the batches whose last task this step has settled."""
        for id_ in sorted(self._settled):
            self.end_if_settled(id_)
        self._settled.clear()

    def end_if_settled(self, id_: str) -> None:
        batch = self.batches[id_]
        if not batch.is_settled or batch.end is not None:
            return
        batch.end = self.now
        canceled = batch.canceled_at is not None
        outcome = "canceled" if canceled else "failed" if batch.failed else "success"
        for held in [self.tasks[one] for one in batch.held]:
            if held.new.awaited in (outcome, "complete"):
                batch.held.remove(held.id)
                self._start_continuation(held)
            elif canceled:
                batch.held.remove(held.id)
                del self.tasks[held.id]

    def _start_continuation(self, task: Task) -> None:
        due = self.now + (task.new.wait or 0) if task.new.wait_until is None else task.new.wait_until
        task.enqueued_at = self.now
        self.place(task, due)

    def cancel(self, id_: str) -> None:
        batch = self.batches[id_]
        batch.canceled_at = self.now
        batch.producers.clear()
        self.end_if_settled(id_)

    def nobody_can_be_blamed(self) -> bool:
        """After a time without any beats, or a step of the clock, everybody gets `TIMEOUT` to show a sign of life."""
        step = self.beaten - self.now
        if step > TIMEOUT / 2:
            for worker in self.workers.values():
                worker.alive_until -= step
            self.beaten = self.now
        if (self.hold <= self.now and abs(step) > TIMEOUT / 2) or self.hold > self.now + TIMEOUT:
            self.hold = self.now + TIMEOUT
        return self.now < self.hold

    @property
    def spared_since(self) -> int:
        """When the last such time began."""
        return self.hold - TIMEOUT

    # Comparing

    def learn(
        self, lanes: dict[tuple[str, str], list[str]], rings: dict[str, list[str]], parked: set[tuple[str, str]]
    ) -> Iterator[str]:
        """What is wrong with the order in which tasks and tenants really stand; it is taken over."""
        yield from self._learn_what_is_aside(lanes)
        for name in lanes.keys() | self.lanes.keys():
            lane, real = self.lanes.get(name, Lane()), lanes.get(name, [])
            if not self._may_stand_so(lane, real):
                yield f"{name} has {real}, not {lane.head} + {lane.middle} + {lane.tail}"
        for queue in rings.keys() | self.rings.keys():
            ring, real = self.rings.get(queue, []), rings.get(queue, [])
            if not self._may_wait_so(queue, ring, real):
                yield f"the tenants of {queue} take turns in the order {real}, not {ring}"
        expected = {(queue, tenant) for queue, tenant in self.parked if tenant in rings.get(queue, [])}
        if not self.any_order and parked != expected:
            yield f"parked are {parked}, not {expected}"
        self.parked = parked
        self.lanes = {name: Lane(middle=ids) for name, ids in lanes.items()}
        self.rings = rings
        self.pushed.clear()
        self.new_in_ring.clear()
        self.any_order = False

    def _learn_what_is_aside(self, lanes: dict[tuple[str, str], list[str]]) -> Iterator[str]:
        """Where more than one order was right, fetch may have set aside other tasks of paused tenants."""
        for (queue, tenant), ids in lanes.items():
            for task in [self.tasks[id_] for id_ in ids if not queue.endswith("[fair]")]:
                if task.aside == bool(tenant):
                    continue
                if task.id not in self.twice and not (self.any_order and self.is_paused(f"tenant:{task.tenant}")):
                    yield f"{task.id} stands in the list of {(queue, tenant)}"
                self.lanes[task.lane].remove(task.id)
                task.aside = bool(tenant)
                self.lanes.setdefault(task.lane, Lane()).tail.append(task.id)

    def _may_wait_so(self, queue: str, ring: list[str], real: list[str]) -> bool:
        if not queue.endswith("[fair]"):  # its lists may hold nothing but tombstones
            needed = {tenant for (of, tenant), lane in self.lanes.items() if of == queue and tenant and lane.ids}
            return needed <= set(real) and (self.any_order or set(real) <= set(ring))
        waited = [tenant for tenant in ring if not self.any_order and (queue, tenant) not in self.new_in_ring]
        return sorted(ring) == sorted(real) and [one for one in real if one in waited] == waited

    def _may_stand_so(self, lane: Lane, real: list[str]) -> bool:
        if self.any_order or self.twice.intersection(lane.ids):
            return sorted(real) == sorted(lane.ids)
        head, middle = len(lane.head), len(lane.head) + len(lane.middle)
        return (
            sorted(real[:head]) == sorted(lane.head)
            and real[head:middle] == lane.middle
            and sorted(real[middle:]) == sorted(lane.tail)
        )
