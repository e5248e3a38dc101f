"""Every key name that Python uses; the scripts derive the same names from `P:meta`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Keys"]


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys under one prefix, all in one hash slot because of its braces."""

    prefix: str

    @property
    def meta(self) -> str:
        return f"{self.prefix}:meta"

    @property
    def none(self) -> str:
        """Never exists: the last key of every script, see `_prelude.lua`."""
        return f"{self.prefix}:none"

    @property
    def queues(self) -> str:
        return f"{self.prefix}:queues"

    @property
    def pauses(self) -> str:
        return f"{self.prefix}:pauses"

    @property
    def audit(self) -> str:
        return f"{self.prefix}:audit"

    @property
    def tenants(self) -> str:
        return f"{self.prefix}:tenants"

    @property
    def workers(self) -> str:
        return f"{self.prefix}:workers"

    @property
    def canceled(self) -> str:
        return f"{self.prefix}:canceled"

    @property
    def schedules(self) -> str:
        return f"{self.prefix}:schedules"

    def declared(self, owner: str) -> str:
        return f"{self.prefix}:declared:{owner}"

    @property
    def all_schedules(self) -> str:
        return f"{self.prefix}:schedules:all"

    @property
    def ended(self) -> str:
        return f"{self.prefix}:ended"

    @property
    def open(self) -> str:
        return f"{self.prefix}:open"

    @property
    def events(self) -> str:
        return f"{self.prefix}:events"

    def task(self, task_id: str) -> str:
        return f"{self.prefix}:task:{task_id}"

    def batch(self, batch_id: str) -> str:
        return f"{self.prefix}:batch:{batch_id}"

    def batches(self, tenant: str) -> str:
        return f"{self.prefix}:batches:{tenant}"

    def worker(self, worker: str) -> str:
        return f"{self.prefix}:worker:{worker}"

    def worker_tasks(self, worker: str) -> str:
        return f"{self.prefix}:worker:{worker}:tasks"

    def stacks(self, worker: str) -> str:
        return f"{self.prefix}:worker:{worker}:stacks"

    def counts(self, queue: str) -> str:
        return f"{self.prefix}:queue:{queue}"

    def ready(self, queue: str, tenant: str | None = None) -> str:
        lane = f":{tenant}" if tenant is not None else ""
        return f"{self.prefix}:queue:{queue}:ready{lane}"

    def turns(self, queue: str) -> str:
        return f"{self.prefix}:queue:{queue}:turns"

    def leased(self, queue: str) -> str:
        return f"{self.prefix}:queue:{queue}:leased"

    def delayed(self, queue: str) -> str:
        return f"{self.prefix}:queue:{queue}:delayed"

    def dead(self, queue: str) -> str:
        return f"{self.prefix}:queue:{queue}:dead"

    def statistics(self, seconds: int, number: int) -> str:
        return f"{self.prefix}:statistics:{seconds}:{number}"

    def wake(self, queue: str) -> str:
        return f"{self.prefix}:queue:{queue}:wake"
