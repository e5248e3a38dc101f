"""What must hold of all that is stored, after every script, whatever has happened before."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.storage.store import Dump

MANDATORY = {"s", "q", "t", "c", "d", "e", "n", "i"}
INDEXES = {"delayed": "d", "leased": "l", "dead": "x"}
MOST_TOKENS = 64
PARKED = 2**52
"""Turns of tenants that are parked begin here."""

Record = dict[str, str]


@dataclass(frozen=True)
class Stored:
    """A dump by what its keys mean."""

    dump: Dump

    @cached_property
    def tasks(self) -> dict[str, Record]:
        return self._named(r"task:(.+)")

    @cached_property
    def batches(self) -> dict[str, Record]:
        return self._named(r"batch:([^:]+)")

    @cached_property
    def workers(self) -> dict[str, Record]:
        return self._named(r"worker:([^:]+)")

    @cached_property
    def held(self) -> dict[str, set[str]]:
        """Ids leased to each worker, as its set says."""
        return self._named(r"worker:([^:]+):tasks")

    @cached_property
    def queues(self) -> set[str]:
        """All queues that have any key."""
        return {match[1] for key in self.dump if (match := re.match(r"queue:([^:]+)", key))}

    @cached_property
    def ready(self) -> dict[str, dict[str, list[str]]]:
        """For each queue and tenant the ids of ready tasks, by their records."""
        found: dict[str, dict[str, list[str]]] = {}
        for id_, record in self.in_state("r"):
            found.setdefault(record["q"], {}).setdefault(record["t"], []).append(id_)
        return found

    def in_state(self, state: str) -> Iterator[tuple[str, Record]]:
        return ((id_, record) for id_, record in self.tasks.items() if record.get("s") == state)

    def lane(self, queue: str, tenant: str) -> list[str]:
        """What stands in the lists that a ready task may be in: in a plain queue it may have been set aside."""
        own: list[str] = self.dump.get(f"queue:{queue}:ready:{tenant}", [])
        return own if queue.endswith("[fair]") else [*self.dump.get(f"queue:{queue}:ready", []), *own]

    def turns(self, queue: str) -> dict[str, float]:
        found: dict[str, float] = self.dump.get(f"queue:{queue}:turns", {})
        return found

    def counted(self, batch: str) -> list[Record]:
        """The records of the tasks that a batch counts."""
        return [one for id_, one in self.tasks.items() if id_.startswith(f"{batch}.") and "w" not in one]

    def _named(self, pattern: str) -> dict[str, Any]:
        matches = ((re.fullmatch(pattern, key), value) for key, value in self.dump.items())
        return {match[1]: value for match, value in matches if match}


def broken_laws(dump: Dump, *, tokens_taken: bool = True) -> list[str]:
    """What does not hold, one sentence each; `tokens_taken`: somebody waits for wake tokens, and has got some."""
    stored = Stored(dump)
    laws: list[Callable[[Stored], Iterator[str]]] = [
        _records, _places, _leases, _ready_counts, _turns, _tokens, _batches, _ends, _cancels, _open, _lists,
        _pauses, _keys,
    ]  # fmt: skip
    found = [said for law in laws for said in law(stored)]
    return found if tokens_taken else [*found, *_tokens_of_ready(stored)]


def _records(stored: Stored) -> Iterator[str]:
    for id_, record in stored.tasks.items():
        if missing := MANDATORY - record.keys():
            yield f"the record of {id_} lacks {sorted(missing)}"
        if record.get("s") not in {"r", "d", "l", "x", "h"}:
            yield f"{id_} is in no state: {record}"


def _places(stored: Stored) -> Iterator[str]:
    """Each live task is in the one place that its state names, and nothing else is there."""
    for part, state in INDEXES.items():
        there = [(queue, id_) for queue in stored.queues for id_ in stored.dump.get(f"queue:{queue}:{part}", ())]
        by_record = [(record["q"], id_) for id_, record in stored.in_state(state)]
        yield from _differ(f"in {part}", there, by_record)
    held = [id_ for key, ids in stored.dump.items() if key.endswith(":then") for id_ in ids]
    yield from _differ("held", held, [id_ for id_, _ in stored.in_state("h")])
    for id_, record in stored.in_state("r"):
        if id_ not in stored.lane(record["q"], record["t"]):
            yield f"{id_} is ready, but not in the list of {record['q']}"


def _leases(stored: Stored) -> Iterator[str]:
    """Leased: has a token, and is in the set of the worker that the token names, and in no other."""
    by_token = [(record.get("l", ":").rpartition(":")[0], id_) for id_, record in stored.in_state("l")]
    yield from _differ("in sets of workers", [(w, id_) for w, ids in stored.held.items() for id_ in ids], by_token)
    for id_, record in stored.tasks.items():
        if ("l" in record) != (record["s"] == "l"):
            yield f"{id_} has state {record['s']} and token {record.get('l')}"
    for worker in stored.held.keys() - stored.workers.keys():
        yield f"worker {worker} holds tasks and is not known"
    yield from _differ("workers", list(stored.workers), list(stored.dump.get("workers", ())))


def _ready_counts(stored: Stored) -> Iterator[str]:
    for queue in stored.queues | stored.ready.keys():
        counts = {name: int(value) for name, value in stored.dump.get(f"queue:{queue}", {}).items() if name != "#"}
        tenants = {tenant: len(ids) for tenant, ids in stored.ready.get(queue, {}).items()}
        expected = {"*": sum(tenants.values())} | (tenants if queue.endswith("[fair]") else {}) if tenants else {}
        if counts != expected:
            yield f"{queue} counts {counts} ready tasks, it has {expected}"
        if not tenants and f"queue:{queue}:ready" in stored.dump:
            yield f"{queue} has a list of tombstones and no ready task"


def _turns(stored: Stored) -> Iterator[str]:
    """A tenant is in the ring while it has a list: in a fair queue while it has ready tasks, in a plain one while
    something is set aside.
    """
    for queue in stored.queues | stored.ready.keys():
        turns = stored.turns(queue)
        lists = {key.rpartition(":")[2] for key in stored.dump if key.startswith(f"queue:{queue}:ready:")}
        tenants = set(stored.ready.get(queue, ())) if queue.endswith("[fair]") else lists
        yield from _differ(f"in turn in {queue}", list(turns), list(tenants))
        yield from _differ(f"with a list in {queue}", list(lists), list(tenants))
        if len(set(turns.values())) < len(turns):
            yield f"two tenants have the same turn in {queue}: {turns}"


def _tokens(stored: Stored) -> Iterator[str]:
    for queue in stored.queues:
        tokens = len(stored.dump.get(f"queue:{queue}:wake", ()))
        if tokens > MOST_TOKENS or (tokens and queue not in stored.ready):
            yield f"{queue} has {tokens} wake tokens and {len(stored.ready.get(queue, ()))} tenants with ready tasks"


def _tokens_of_ready(stored: Stored) -> Iterator[str]:
    for queue in stored.ready:
        if not stored.dump.get(f"queue:{queue}:wake"):
            yield f"{queue} has ready tasks and wakes nobody"


def _batches(stored: Stored) -> Iterator[str]:
    """The total = done + failed + canceled + remaining; what remains is what is ready, delayed and leased."""
    for batch, record in stored.batches.items():
        total, done, failed, canceled = (int(record[name]) for name in ("total", "done", "failed", "canceled"))
        remaining = total - done - failed - canceled
        states = Counter(task["s"] for task in stored.counted(batch))
        if min(remaining, done, failed, canceled) < 0:
            yield f"batch {batch} counts below zero: {record}"
        if remaining != states["r"] + states["d"] + states["l"]:
            yield f"batch {batch} has {remaining} remaining, but {dict(states)}"
        if failed < states["x"]:
            yield f"batch {batch} has {failed} failed, but {states['x']} dead"


def _ends(stored: Stored) -> Iterator[str]:
    """A batch has ended just when it is sealed, or canceled, and nothing remains."""
    for batch, record in stored.batches.items():
        settled = int(record["total"]) == sum(int(record[name]) for name in ("done", "failed", "canceled"))
        if (settled and int(record.get("hold", 0)) == 0) != ("end" in record):
            yield f"batch {batch} has ended, or not: {record}"
        if "end" in record and "cancel" in record and stored.dump.get(f"batch:{batch}:then"):
            yield f"batch {batch} ended canceled and holds continuations"
    ended = {batch: float(record["end"]) for batch, record in stored.batches.items() if "end" in record}
    if stored.dump.get("ended", {}) != ended:
        yield f"ended: {stored.dump.get('ended')}, by their records: {ended}"


def _cancels(stored: Stored) -> Iterator[str]:
    """Under way is the cancel of batches that have not ended, and of leased tasks."""
    batches = [id_ for id_, record in stored.batches.items() if "cancel" in record and "end" not in record]
    tasks = [id_ for id_, record in stored.tasks.items() if "k" in record]
    yield from _differ("being canceled", list(stored.dump.get("canceled", ())), [*batches, *tasks])
    for id_ in tasks:
        if stored.tasks[id_]["s"] != "l":
            yield f"{id_} is to be canceled and has state {stored.tasks[id_]['s']}"


def _open(stored: Stored) -> Iterator[str]:
    """A batch is held by as many producers as have an entry; those of canceled ones are forgotten later."""
    entries = Counter(entry.partition("/")[0] for entry in stored.dump.get("open", ()))
    for batch, record in stored.batches.items():
        if ("cancel" in record and "hold" in record) or (
            "cancel" not in record and entries[batch] != int(record.get("hold", 0))
        ):
            yield f"batch {batch} is held by {entries[batch]} producers: {record}"


def _lists(stored: Stored) -> Iterator[str]:
    """Whoever holds something is on the list of its kind."""
    used = {key.split(":")[1] for key in stored.dump if re.fullmatch(r"queue:[^:]+(:delayed|:dead)?", key)}
    for queue in used - stored.dump.get("queues", set()):
        yield f"{queue} is not among the queues"
    listed = [
        (key.rpartition(":")[2], id_) for key, ids in stored.dump.items() if key.startswith("batches:") for id_ in ids
    ]
    yield from _differ("batches of tenants", listed, [(one["tenant"], id_) for id_, one in stored.batches.items()])


def _pauses(stored: Stored) -> Iterator[str]:
    """Whoever is parked is paused, or was until now; who is parked, or set aside, is listed, and meta tells of it."""
    pauses, listed, meta = stored.dump.get("pauses", {}), stored.dump.get("parked", {}), stored.dump.get("meta", {})
    for queue in stored.queues:
        for tenant, turn in stored.turns(queue).items():
            if turn >= PARKED and (f"{tenant}:{queue}" not in listed or f"tenant:{tenant}" not in pauses):
                yield f"{tenant} is parked in {queue}, of {list(listed)}, paused are {list(pauses)}"
            if turn < PARKED and not queue.endswith("[fair]") and f":{tenant}:{queue}" not in listed:
                yield f"{tenant} has something set aside in {queue}, and is not listed"
    for member in listed:
        tenant, queue = member.rsplit(":", 2)[-2:]
        if member.startswith(":") and tenant not in stored.turns(queue):
            yield f"nothing is set aside of {member}"
        if not member.startswith(":") and f"tenant:{tenant}" not in pauses:
            yield f"{member} is listed as parked, paused are {list(pauses)}"
    about = {key.removeprefix("pause:") for key in stored.dump if key.startswith("pause:")}
    yield from _differ("pauses", list(about), list(pauses))
    if ("pauses" in meta) != bool(pauses or listed) or ("*" in pauses) != ("paused" in meta):
        yield f"meta says {meta}, paused are {list(pauses)}, parked {list(listed)}"


def _keys(stored: Stored) -> Iterator[str]:
    """Nothing else is stored, and no part of what is gone."""
    for key in stored.dump:
        if match := re.fullmatch(r"batch:([^:]+):(chunks|then)", key):
            if match[1] not in stored.batches:
                yield f"{key} is left of a batch that is gone"
        elif not re.fullmatch(
            r"meta|queues|tenants|workers|ended|open|canceled|done|batches:[^:]+|batch:[^:]+|task:.+|worker:[^:]+(:tasks)?"
            r"|queue:[^:]+(:(ready(:[^:]+)?|turns|leased|delayed|dead|wake))?"
            r"|schedules(:all)?|schedule:.+|declared:.+|pauses|pause:.+|parked|audit|statistics:\d+:\d+",
            key,
        ):
            yield f"{key} is no key of ours"


def _differ(what: str, there: list[Any], expected: list[Any]) -> Iterator[str]:
    if sorted(there) != sorted(expected):
        yield f"{what}: {sorted(there)}, by the records: {sorted(expected)}"
