"""Where what is stored differs from what the model says."""

from collections.abc import Iterator
from typing import Any

from tests.storage.laws import PARKED, broken_laws
from tests.storage.model import Batch, Model, Task
from tests.storage.store import Dump


def differences(model: Model, dump: Dump) -> list[str]:
    """What is wrong with what is stored, one sentence each. The order of ready tasks, if right, is learned."""
    wrong = broken_laws(dump, tokens_taken=False)
    if not wrong:
        wrong += _records(model, dump)
        wrong += _scores(model, dump)
        wrong += _batches(model, dump)
        wrong += _workers(model, dump)
    if not wrong:
        wrong += model.learn(*_standing(dump))
    return wrong


def _differ(what: str, real: Any, expected: Any) -> Iterator[str]:
    if real != expected:
        yield f"{what}: {real}, not {expected}"


def _records(model: Model, dump: Dump) -> Iterator[str]:
    stored = {key.removeprefix("task:"): record for key, record in dump.items() if key.startswith("task:")}
    yield from _differ("tasks", sorted(stored), sorted(model.tasks))
    for id_ in stored.keys() & model.tasks.keys():
        record = {name: value for name, value in stored[id_].items() if name not in {"error_message", "traceback"}}
        yield from _differ(f"record of {id_}", record, _record(model.tasks[id_]))


def _record(task: Task) -> dict[str, str]:
    new = task.new
    died, error = task.died or (None, None)
    fields: dict[str, Any] = {
        "s": task.state, "q": new.queue, "t": new.tenant, "c": new.call, "d": '{"args":[]}', "e": task.enqueued_at,
        "n": task.retries, "i": new.invisibility, "w": new.awaited, "p": new.topic, "x": new.auto_extend,
        "y": new.wait if task.state == "h" else None, "z": new.wait_until if task.state == "h" else None,
        "f": task.failures or None, "o": task.recoveries or None, "u": task.unknown_since, "l": task.token or None,
        "k": 1 if task.cancel_requested else None, "canceled": 1 if task.stays_dead else None,
        "died": died, "error_type": error,
    }  # fmt: skip
    return {name: str(value) for name, value in fields.items() if value is not None}


def _scores(model: Model, dump: Dump) -> Iterator[str]:
    """When tasks fall due, leases end, and dead tasks died."""
    expected: dict[str, dict[str, int]] = {}
    for task in model.tasks.values():
        match task.state:
            case "d":
                expected.setdefault(f"queue:{task.queue}:delayed", {})[task.id] = task.due
            case "l":
                expected.setdefault(f"queue:{task.queue}:leased", {})[task.id] = task.lease_end
            case "x" if task.died:
                expected.setdefault(f"queue:{task.queue}:dead", {})[task.id] = task.died[0]
            case _:
                pass
    stored = {key: value for key, value in dump.items() if key.endswith((":delayed", ":leased", ":dead"))}
    yield from _differ("indexes", stored, expected)


def _batches(model: Model, dump: Dump) -> Iterator[str]:
    stored = {key.split(":")[1] for key in dump if key.startswith("batch:")}
    yield from _differ("batches", stored, set(model.batches))
    for id_, batch in model.batches.items():
        record = {name: value for name, value in dump[f"batch:{id_}"].items() if name not in {"queue", "scope", "hold"}}
        yield from _differ(f"batch {id_}", record, _batch_record(batch))
        yield from _differ(f"held of {id_}", dump.get(f"batch:{id_}:then", []), batch.held)
        yield from _differ(f"chunks of {id_}", dump.get(f"batch:{id_}:chunks", {}), batch.chunks)
        started = dump.get(f"batches:{batch.tenant}", {}).get(id_)
        yield from _differ(f"start of {id_}", started is not None and int(started) >= batch.start, True)
    yield from _differ("open", dump.get("open", {}), model.open)


def _batch_record(batch: Batch) -> dict[str, str]:
    fields = {
        "tenant": batch.tenant, "start": batch.start, "total": batch.total, "done": batch.done,
        "failed": batch.failed, "canceled": batch.canceled, "duration": batch.duration,
        "cancel": batch.canceled_at, "end": batch.end,
    }  # fmt: skip
    return {name: str(value) for name, value in fields.items() if value is not None}


def _workers(model: Model, dump: Dump) -> Iterator[str]:
    stored = {worker: _about(dump.get(f"worker:{worker}", {})) for worker in dump.get("workers", {})}
    expected = {worker: (one.nonce, one.suspect, one.is_dead, one.is_drained) for worker, one in model.workers.items()}
    yield from _differ("workers", stored, expected)
    alive = {worker: one.alive_until for worker, one in model.workers.items()}
    yield from _differ("alive until", dump.get("workers", {}), alive)
    meta = {name: int(dump.get("meta", {}).get(name, 0)) for name in ("beaten", "hold", "paused")}
    paused_since = model.pauses["*"][0] if "*" in model.pauses else 0
    yield from _differ("meta", meta, {"beaten": model.beaten, "hold": model.hold, "paused": paused_since})
    since = {what: int(dump.get(f"pause:{what}", {}).get("since", 0)) for what in dump.get("pauses", {})}
    pauses = {what: (since[what], until) for what, until in dump.get("pauses", {}).items()}
    yield from _differ("pauses", pauses, model.pauses)


def _about(record: dict[str, str]) -> tuple[int, str, bool, bool]:
    return int(record.get("nonce", 0)), record.get("suspect", ""), "dead" in record, "drain" in record


def _standing(
    dump: Dump,
) -> tuple[dict[tuple[str, str], list[str]], dict[str, list[str]], set[tuple[str, str]]]:
    """The ready tasks of each list, and the tenants of each ring, in their order; and who is parked where."""
    lanes: dict[tuple[str, str], list[str]] = {}
    rings: dict[str, list[str]] = {}
    parked: set[tuple[str, str]] = set()
    for key, value in dump.items():
        match key.split(":"):
            case ["queue", queue, "ready", *tenant]:
                live = [id_ for id_ in dict.fromkeys(value) if dump.get(f"task:{id_}", {}).get("s") == "r"]
                lanes[queue, tenant[0] if tenant else ""] = live
            case ["queue", queue, "turns"]:
                rings[queue] = list(value)
                parked |= {(queue, tenant) for tenant, turn in value.items() if turn >= PARKED}
            case _:
                pass
    aside = {id_ for (_, owner), ids in lanes.items() if owner for id_ in ids}
    for (_, owner), ids in lanes.items():
        if not owner:  # what stands here too is a tombstone that its id, enqueued again, has made alive
            ids[:] = [id_ for id_ in ids if id_ not in aside]
    return lanes, rings, parked
