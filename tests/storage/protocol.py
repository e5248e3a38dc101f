"""What each script must do to the model: one method for each, by its name in `Storage`, that returns the same."""

from collections.abc import Sequence

from taskproc.records import Chunk, NewTask, Settlement
from taskproc.storage import OPEN_FOR_MS
from tests.storage.model import Batch, Task, Worker
from tests.storage.serving import Serving
from tests.storage.store import TIMEOUT

GRACE = 2_000  # ms after the end of a lease, before the sweep ends it
ENDLESS = 1e15
LOST = "WorkerLost"
OVERDUE = "TaskTimeoutError"


class Protocol(Serving):
    """The storage as it should be."""

    # Producing

    def enqueue(self, tasks: Sequence[NewTask]) -> int:
        new = [task for task in tasks if task.id not in self.tasks]
        for one in new:
            self._add_task(one.id or "", one)
        return len(new)

    def _add_task(self, id_: str, new: NewTask) -> None:
        self.place(self.add(id_, new), new.at if new.at is not None else self.now + (new.after or 0))

    def add_to_batch(self, chunk: Chunk, tasks: Sequence[NewTask], continuations: Sequence[NewTask]) -> str:
        refusal = self._refuses(chunk)
        if refusal:
            return refusal
        batch = self.batches.setdefault(chunk.batch, Batch(tenant=chunk.tenant, start=self.now))
        batch.chunks[chunk.name] = len(tasks)
        batch.total += len(tasks)
        batch.end = None
        for number, new in enumerate(tasks):
            self._add_task(f"{chunk.batch}.{chunk.name}.{number}", new)
        for number, new in enumerate(continuations):
            held = self.add(f"{chunk.batch}.{chunk.name}.c{number}", new)
            held.state = "h"
            batch.held.append(held.id)
        entry = f"{chunk.batch}/{chunk.producer}"
        if chunk.last:
            batch.producers.discard(chunk.producer)
            self.open.pop(entry, None)
        else:
            batch.producers.add(chunk.producer)
            self.open[entry] = self.now + OPEN_FOR_MS
        self.end_if_settled(chunk.batch)
        return "ok"

    def _refuses(self, chunk: Chunk) -> str:
        batch = self.batches.get(chunk.batch)
        if (batch is None and chunk.create is None) or (batch is not None and batch.tenant != chunk.tenant):
            return "missing"
        if batch is not None and chunk.name in batch.chunks:
            return "ok"
        if batch is not None and batch.canceled_at is not None:
            return "canceled"
        if chunk.previous is not None and (batch is None or chunk.previous not in batch.chunks):
            return "broken"
        return ""

    def keep_open(self, entries: Sequence[str]) -> list[bool]:
        kept = [entry in self.open for entry in entries]
        self.open.update({entry: self.now + OPEN_FOR_MS for entry in entries if entry in self.open})
        return kept

    # Canceling

    def cancel_batch(self, id_: str, tenant: str | None) -> bool:
        batch = self.batches.get(id_)
        if batch is None or tenant not in (None, batch.tenant):
            return False
        if batch.canceled_at is None and batch.end is None:
            self.cancel(id_)
        return batch.canceled_at is not None

    def cancel_queued(self, id_: str, limit: int) -> bool:
        if not self.is_canceled(id_):
            return False
        batch, room = self.batches[id_], limit
        while room > 0 and batch.chunks:
            size, name = min((size, name) for name, size in batch.chunks.items())
            if room < limit and size > room:
                break
            for number in range(batch.chunks.pop(name)):
                task = self.tasks.get(f"{id_}.{name}.{number}")
                if task is not None and task.state in "rd":
                    self.forget(task, "canceled")
                elif task is not None and task.state == "x":
                    task.stays_dead = True
            room -= max(size, 1)
        self.end_batches()
        return bool(batch.chunks)

    def cancel_task(self, id_: str, tenant: str | None) -> bool:
        task = self.tasks.get(id_)
        if task is None or task.state == "x" or tenant not in (None, task.tenant):
            return False
        if task.state == "l":
            task.cancel_requested = True
        elif task.state == "h":
            self.batches[id_.split(".", maxsplit=1)[0]].held.remove(id_)
            del self.tasks[id_]
        else:
            if task.state == "r":
                self.twice.add(id_)
            self.forget(task, "canceled")
        self.end_batches()
        return True

    # Pauses

    def pause(self, what: str, *, paused: bool, length: int | None) -> None:
        if paused:
            since = self.pauses[what][0] if self.is_paused(what) else self.now
            self.pauses[what] = (since, ENDLESS if length is None else self.now + length)
        elif what in self.pauses:
            self.end_pause(what)

    def drain(self, worker: str, *, drain: bool) -> bool:
        if worker in self.workers:
            self.workers[worker].is_drained = drain
        return worker in self.workers

    # Dead letters

    def _wanted(self, queue: str, ids: Sequence[str], tenant: str | None) -> list[Task]:
        found = [self.tasks[id_] for id_ in dict.fromkeys(ids) if id_ in self.tasks]
        return [one for one in found if one.state == "x" and one.queue == queue and tenant in (None, one.tenant)]

    def retry_dead(self, queue: str, ids: Sequence[str], retries: int | None, tenant: str | None) -> list[str]:
        wanted = self._wanted(queue, ids, tenant)
        revived = [one for one in wanted if not one.stays_dead and not self.is_canceled(one.batch)]
        for task in revived:
            task.failures = task.recoveries = 0
            task.died = None
            task.retries = retries or task.retries
            batch = self.batches.get(task.batch or "")
            if batch is not None:
                batch.failed -= 1
                batch.end = None
            self.make_ready(task)
        return [task.id for task in revived]

    def discard_dead(self, queue: str, ids: Sequence[str], tenant: str | None) -> list[str]:
        removed = self._wanted(queue, ids, tenant)
        for task in removed:
            del self.tasks[task.id]
        return [task.id for task in removed]

    # Workers

    def register(self, worker: str) -> None:
        self.nobody_can_be_blamed()
        self.beaten = self.now
        self.workers.setdefault(worker, Worker()).alive_until = self.now + TIMEOUT

    def beat(self, worker: str) -> bool:
        self.nobody_can_be_blamed()
        self.beaten = self.now
        known = worker in self.workers and not self.workers[worker].is_dead
        if known:
            self.workers[worker].alive_until = self.now + TIMEOUT
        return known

    def settle(self, settlements: Sequence[Settlement]) -> list[str]:
        """What is done comes first, as it is handed in."""
        settled = [""] * len(settlements)
        for position, one in sorted(enumerate(settlements), key=lambda each: each[1].outcome != "done"):
            task = self.tasks.get(one.id)
            settled[position] = "stale" if task is None or task.token != one.token else self._settle_one(task, one)
        self.end_batches()
        return settled

    def _settle_one(self, task: Task, one: Settlement) -> str:
        if self.is_withdrawn(task):
            self.forget(task, "canceled", one.us)
            return "canceled"
        self.count(task, "", one.us)
        match one.outcome:
            case "done":
                self.forget(task, "done")
                return "done"
            case "discard":
                self.forget(task, "failed")
            case "dead":
                task.failures += 1
                self.bury(task, str(one.type))
            case "retry":
                task.failures += 1
                self.put_back(task, one.delay or 0)
            case "release":
                since = (task.unknown_since or self.now) if one.unknown else None
                self.put_back(task, (one.delay or 0) if one.unknown else 0, at_head=not one.unknown)
                task.unknown_since = since
                return "released"
        return "failed"

    def extend(self, leases: Sequence[tuple[str, str, int]]) -> list[bool]:
        held: list[bool] = []
        for id_, token, milliseconds in leases:
            task = self.tasks.get(id_)
            held.append(task is not None and task.token == token)
            if task is not None and task.token == token:
                task.lease_end = max(task.lease_end, self.now + milliseconds)
        return held

    def resync(self, worker: str, nonce: int, known: Sequence[tuple[str, str]]) -> tuple[bool, list[int]]:
        """Whether the worker is still known; `late` answers as `ok` does."""
        about = self.workers.get(worker)
        if about is not None and about.nonce > nonce:
            return True, []
        held = {task.id: task for task in self.held_by(worker)}
        is_held = [id_ in self.tasks and self.tasks[id_].token == token for id_, token in known]
        for id_, task in held.items():
            if (id_, task.token) not in known and int(task.token.rpartition(":")[2]) <= nonce:
                self._revoke(task)
        self.end_batches()
        if about is not None and not about.is_dead:
            about.nonce = nonce
        return about is not None and not about.is_dead, [at for at, one in enumerate(is_held) if not one]

    def leave(self, worker: str) -> None:
        for task in self.held_by(worker):
            self._revoke(task)
        self.end_batches()
        self.workers.pop(worker, None)

    def _revoke(self, task: Task) -> None:
        if self.is_withdrawn(task):
            self.forget(task, "canceled")
        else:
            self.put_back(task, at_head=True)

    # Maintenance

    def reap(self, max_recoveries: int, taken: set[str]) -> tuple[bool, set[str]]:
        """Takes back `taken` from the worker that is dead for the longest time."""
        dead = [(about.alive_until, worker) for worker, about in self.workers.items() if about.alive_until <= self.now]
        if self.nobody_can_be_blamed() or not dead:
            assert not taken, f"{taken} were taken back, though nobody is dead"
            return False, set()
        worker = min(dead)[1]
        self.workers[worker].is_dead = True
        lost = {id_ for id_ in sorted(taken) if self._take_back(self.tasks[id_], worker, max_recoveries)}
        self.end_batches()
        if not self.held_by(worker):
            del self.workers[worker]
        return True, lost

    def _take_back(self, task: Task, worker: str, max_recoveries: int) -> bool:
        assert task.state == "l", f"{task} was taken back from {worker}"
        assert task.worker == worker, f"{task} was taken back from {worker}"
        if self.is_withdrawn(task):
            self.forget(task, "canceled")
            return False
        task.recoveries += 1
        if task.recoveries < max_recoveries:
            self.put_back(task)
            return False
        self.bury(task, LOST)
        return True

    def tend(self, queues: Sequence[str], limit: int, *, deadletter: bool) -> bool:
        self.end_lapsed()
        spared, room = self.nobody_can_be_blamed(), limit
        for queue in queues:
            due = self.due_in(queue)[:room]
            self.end_delays(due)
            room -= len(due)
            leased = sorted(self.in_state("l", queue), key=lambda one: (one.lease_end, one.id))
            ended = [one for one in leased if one.lease_end <= self.now - GRACE and not spared][:room]
            for task in ended:
                since_then = self.spared_since + task.new.invisibility
                if since_then > self.now - GRACE:
                    task.lease_end = since_then
                else:
                    self._overdue(task, deadletter=deadletter)
            room -= len(ended)
        self.end_batches()
        return room == 0

    def _overdue(self, task: Task, *, deadletter: bool) -> None:
        if self.is_withdrawn(task):
            self.forget(task, "canceled")
            return
        task.failures += 1
        if task.failures < task.retries:
            self.put_back(task)
        elif deadletter:
            self.bury(task, OVERDUE)
        else:
            self.forget(task, "failed")

    def cancel_abandoned(self, limit: int) -> bool:
        latest = self.now + OPEN_FOR_MS
        put_back = sorted((until, entry) for entry, until in self.open.items() if until > latest)[:limit]
        self.open.update({entry: latest for _, entry in put_back})
        if self.nobody_can_be_blamed() or self.now < self.spared_since + OPEN_FOR_MS:
            return False
        due = sorted((until, entry) for entry, until in self.open.items() if until <= self.now)[:limit]
        for _, entry in due:
            batch = entry.partition("/")[0]
            if batch in self.batches and self.batches[batch].canceled_at is None:
                self.cancel(batch)
            del self.open[entry]
        return len(due) == limit

    def clean_up(self, retention: int) -> None:
        for id_, batch in list(self.batches.items()):
            if batch.end is not None and batch.end <= self.now - retention:
                for held in batch.held:
                    del self.tasks[held]
                del self.batches[id_]
