"""The part of the model that hands out tasks: which ones a fetch must get, and in which order."""

from collections.abc import Sequence

from taskproc.records import Request
from tests.storage.model import Lane, Model, Task


class Serving(Model):
    """Fetches by the rules, one task after the other."""

    def standing(self, request: Request) -> str:
        """Whether the worker may be given work, and why not; its request is the last one then."""
        about = self.workers.get(request.worker)
        if about is None or about.is_dead:
            return "gone"
        if about.alive_until <= self.now:
            return "silent"
        if about.nonce >= request.nonce:
            return "late"
        if about.nonce < request.known:
            return "rewound"
        about.nonce = request.nonce
        self.end_lapsed()
        return "paused" if "*" in self.pauses or about.is_drained else "ok"

    def fetch(self, request: Request, fetched: Sequence[str], left: set[str]) -> list[str]:
        """What should have been fetched; where more than one order is right, what really was, if it may be so.

        `left`: the ids of all tasks that are there afterwards.
        """
        for queue in request.queues:
            self.end_delays(self.due_in(queue))
        self.end_batches()
        if len(self.pushed) > 1 or any(self.twice.intersection(lane.ids) for lane in self.lanes.values()):
            served = self._accept(request, fetched, left)
        else:
            served = self._serve(request)
        self.end_batches()
        return served

    def due_in(self, queue: str) -> list[Task]:
        delayed = sorted(self.in_state("d", queue), key=lambda one: (one.due, one.id))
        return [one for one in delayed if one.due <= self.now]

    def end_delays(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            if self.is_withdrawn(task):
                self.forget(task, "canceled")
            else:
                self.make_ready(task)

    # One order

    def _serve(self, request: Request) -> list[str]:
        served: list[str] = []
        for queue in request.queues:
            if len(served) == request.slots or self.is_paused(f"queue:{queue}"):
                continue
            if queue.endswith("[fair]"):
                self._serve_in_turn(queue, request, served)
            else:
                self._serve_in_order(queue, request, served)
        return served

    def _serve_in_order(self, queue: str, request: Request, served: list[str]) -> None:
        """From left to right; first what was set aside of tenants that go on."""
        for tenant in [one for one in self.rings.get(queue, []) if (queue, one) not in self.parked]:
            if self.is_paused(f"tenant:{tenant}"):
                self.park(queue, tenant)
            else:
                self._serve_along(self._ready_in(queue, tenant), request, served)
        self._serve_along(self._ready_in(queue, ""), request, served)

    def _serve_along(self, tasks: Sequence[Task], request: Request, served: list[str]) -> None:
        for task in tasks:
            if len(served) == request.slots:
                return
            if self.is_paused(f"tenant:{task.tenant}") and not self.is_canceled(task.batch):
                self._set_aside(task)
            else:
                self._try(task, request, served)

    def _set_aside(self, task: Task) -> None:
        self.unready(task)
        task.aside = True
        self.lanes.setdefault(task.lane, Lane()).tail.append(task.id)
        if (task.queue, task.tenant) not in self.parked:
            self.park(task.queue, task.tenant)

    def _serve_in_turn(self, queue: str, request: Request, served: list[str]) -> None:
        """One of each tenant in turn, until nothing is left but tasks that must wait."""
        ring, waiting = self.rings.get(queue, []), set[str]()
        while len(served) < request.slots and self._in_turn(queue) - waiting:
            tenant = ring[0]
            if self.is_paused(f"tenant:{tenant}"):
                self.park(queue, tenant)
                continue
            task = self._ready_in(queue, tenant)[0]
            if not self._try(task, request, served):
                waiting.add(task.id)
            was_canceled = task.id not in self.tasks
            if tenant in ring and not was_canceled:
                ring.remove(tenant)
                self.join(queue, tenant)
                self.new_in_ring.discard((queue, tenant))
        self.any_order = self.any_order or bool(waiting)

    def _in_turn(self, queue: str) -> set[str]:
        """The tasks of a fair queue that are ready, but for those of tenants that are parked."""
        return {task.id for task in self.in_state("r", queue) if (queue, task.tenant) not in self.parked}

    def _ready_in(self, queue: str, tenant: str) -> list[Task]:
        lane = self.lanes.get((queue, tenant))
        return [self.tasks[id_] for id_ in lane.ids] if lane else []

    def _try(self, task: Task, request: Request, served: list[str]) -> bool:
        """Leases a task, or ends it if it is canceled; False when it must wait."""
        if self.is_canceled(task.batch):
            self.forget(task, "canceled")
        elif self._must_wait(task, request):
            lane = self.lanes[task.lane]
            lane.remove(task.id)
            lane.tail.append(task.id)
            return False
        else:
            self._lease(task, request)
            served.append(task.id)
        return True

    def _lease(self, task: Task, request: Request) -> None:
        self.unready(task)
        task.state, task.token = "l", f"{request.worker}:{request.nonce}"
        task.lease_end = self.now + task.new.invisibility
        if _is_suspect(task, request):
            self.workers[request.worker].suspect = task.id

    def _must_wait(self, task: Task, request: Request) -> bool:
        """A worker has one task at a time that may have killed others."""
        others = self.held_by(request.worker)
        return _is_suspect(task, request) and any(_is_suspect(other, request) for other in others)

    # More than one order

    def _accept(self, request: Request, fetched: Sequence[str], left: set[str]) -> list[str]:
        """Leases what was fetched, if these may be fetched and enough of them."""
        self.any_order = True
        want = request.slots
        for queue in request.queues:
            if self.is_paused(f"queue:{queue}"):
                continue
            here = [task for task in self.in_state("r", queue) if self._may_be_served(task)]
            taken = [task for task in here if task.id in fetched]
            suspects = [task for task in here if _is_suspect(task, request)]
            assert suspects or len(taken) == min(want, len(here)), f"{fetched} were fetched, {here} are in {queue}"
            want -= len(taken)
            for task in taken:
                assert not self._must_wait(task, request), f"{task} was fetched beside another suspect"
                self._lease(task, request)
            for task in self.in_state("r", queue):
                if task.id not in left and self.is_canceled(task.batch):
                    self.forget(task, "canceled")
        return [id_ for id_ in fetched if self.tasks[id_].state == "l"]

    def _may_be_served(self, task: Task) -> bool:
        return not self.is_canceled(task.batch) and not self.is_paused(f"tenant:{task.tenant}")


def _is_suspect(task: Task, request: Request) -> bool:
    """Its next take-back from a dead worker would be its last."""
    return task.recoveries >= max(request.max_recoveries - 1, 1)
