"""Damaged records: a script that fails changes nothing, or it leaves the bad record aside, and the rest goes on."""

from collections.abc import Callable, Iterator

import pytest
import redis

from tests.storage.store import TIMEOUT, Dump, Store, done, new_chunk, new_task, settlement

Damage = Callable[[redis.Redis, str], object]


def _without(name: str) -> Damage:
    return lambda client, key: client.hdel(key, name)


def _with_bad(name: str) -> Damage:
    return lambda client, key: client.hset(key, name, "?")


DAMAGES: dict[str, Damage] = {
    "gone": lambda client, key: client.delete(key),
    "a string": lambda client, key: client.set(key, "?"),
    "a list": lambda client, key: (client.delete(key), client.rpush(key, "?")),
    "in no state": _with_bad("s"),
    **{f"without {name}": _without(name) for name in "sqtcdenil"},
    **{f"with a bad {name}": _with_bad(name) for name in "neiflo"},
}

IN_STATE = {"r": "b1.a0.1", "d": "b1.a0.0", "l": "b1.0.0", "x": "b1.0.2"}
"""The task of each state that is damaged."""


def _fill(store: Store) -> None:
    """Of each batch two tasks are leased to w1, two dead, one delayed and due, and two ready. The leases are over."""
    store.start_worker("w1")
    store.start_worker("w2")
    for batch in ("b1", "b2"):
        store.add_batch(batch, 4, when=["complete"])
        store.settle("dead", *store.fetch("w1")[2:])
    for batch in ("b1", "b2"):
        store.add_chunk(new_chunk(batch, producer="a", new=False), [new_task(after=1_000), new_task(), new_task()])
    for _ in range(15):
        store.later(TIMEOUT // 2)
        store.beat("w2")


def _all(store: Store) -> list[str]:
    return sorted(key.removeprefix("task:") for key in store.dump() if key.startswith("task:"))


def _settlements(store: Store, outcome: str) -> Callable[[], object]:
    leases = [(id_, token) for id_ in _all(store) for token in ("w1:1", "w1:2")]
    settlements = [settlement(id_, token, outcome) for id_, token in leases]
    return lambda: done(store.storage.settle("w1", settlements))


SCRIPTS: dict[str, tuple[str, Callable[[Store], Callable[[], object]]]] = {
    "fetch": ("rd", lambda store: lambda: store.settle("done", *store.fetch("w2", 20), worker="w2")),
    "done": ("l", lambda store: _settlements(store, "done")),
    "retry": ("l", lambda store: _settlements(store, "retry")),
    "dead": ("l", lambda store: _settlements(store, "dead")),
    "release": ("l", lambda store: _settlements(store, "release")),
    "extend": ("l", lambda store: lambda: done(store.storage.extend([(id_, "w1:1", 1) for id_ in _all(store)]))),
    "resync": ("l", lambda store: lambda: done(store.storage.resync("w1", 9, []))),
    "leave": ("l", lambda store: lambda: done(store.storage.leave("w1"))),
    "reap": ("l", lambda store: store.reap),
    "tend": ("ld", lambda store: store.tend),
    "cancel_queued": ("rdlx", lambda store: lambda: done(store.storage.cancel_queued("b1"))),
    "cancel_task": ("rdlx", lambda store: lambda: [done(store.storage.cancel_task(id_)) for id_ in IN_STATE.values()]),
    "retry_dead": ("x", lambda store: lambda: done(store.storage.retry_dead("default", _all(store), None, None))),
    "discard_dead": ("x", lambda store: lambda: done(store.storage.discard_dead("default", _all(store), None))),
}
"""Each script, with the states of the records that it touches."""


@pytest.mark.parametrize("script", SCRIPTS)
def test_damaged_record(raw_store: Store, script: str) -> None:
    """Whatever is wrong with one record, all other tasks end."""
    states, prepare = SCRIPTS[script]
    for state, name in [(state, name) for state in states for name in DAMAGES]:
        _check(raw_store, state, name, prepare, script)


def _check(store: Store, state: str, name: str, prepare: Callable[[Store], Callable[[], object]], script: str) -> None:
    store = Store(store.client, store.keys.prefix)
    store.client.flushdb()
    _fill(store)
    if script == "cancel_queued":
        done(store.storage.cancel_batch("b1"))
    DAMAGES[name](store.client, store.keys.task(IN_STATE[state]))
    run, before = prepare(store), store.dump()
    try:
        run()
    except redis.ResponseError:
        assert _of_tasks(store.dump()) == _of_tasks(before), f"a record {name}, {state}"
    _drain(store)
    left = [(id_, record) for id_, record in _unfinished(store.dump()) if id_ != IN_STATE[state]]
    assert left == [], f"a record {name}, {state}"


def _of_tasks(dump: Dump) -> Dump:
    """What is stored, but for signs of life."""
    return {key: value for key, value in dump.items() if key != "meta"}


def _unfinished(dump: Dump) -> Iterator[tuple[str, dict[str, str]]]:
    for key, record in dump.items():
        if key.startswith("task:") and not (isinstance(record, dict) and record.get("s") in {"x", "h"}):
            yield key.removeprefix("task:"), record


def _drain(store: Store, *, cancel: bool = True) -> None:
    """A worker takes back, fetches and settles until there is nothing to do."""
    store.beat("w2")
    while store.reap()[0]:
        pass
    store.tend()
    if cancel:
        done(store.storage.cancel_batch("b1"))
        store.walk("b1")
    while attempts := store.exchange("w2", 20).fetched:
        store.settle("done", *attempts, worker="w2")


@pytest.mark.parametrize(
    "name", [*(f"without {name}" for name in "qtcdeni"), *(f"with a bad {name}" for name in "neif")]
)
def test_damaged_ready_task_is_buried(raw_store: Store, name: str) -> None:
    """A ready task that cannot be run is dead-lettered where it stands, counted as failed, and may be discarded."""
    raw_store.add_batch("b1", 1)
    raw_store.start_worker()
    DAMAGES[name](raw_store.client, raw_store.keys.task("b1.0.0"))
    assert raw_store.fetch() == []
    assert raw_store.task("b1.0.0")["error_type"] == "MalformedTask"
    assert raw_store.counts("b1") == (1, 0, 1, 0)
    assert done(raw_store.storage.discard_dead("default", ["b1.0.0"], None)) == ["b1.0.0"]


BATCH_DAMAGES: dict[str, Damage] = {
    "gone": DAMAGES["gone"],
    "a string": DAMAGES["a string"],
    **{
        f"without {name}": _without(name)
        for name in ("tenant", "scope", "start", "total", "done", "failed", "canceled", "duration")
    },
}


@pytest.mark.parametrize("name", BATCH_DAMAGES)
def test_damaged_batch(raw_store: Store, name: str) -> None:
    """Whatever is wrong with one batch, its tasks can be run, and others end and are cleaned up."""
    _fill(raw_store)
    BATCH_DAMAGES[name](raw_store.client, raw_store.keys.batch("b1"))
    for call in (
        lambda: done(raw_store.storage.cancel_batch("b1")),
        lambda: done(raw_store.storage.cancel_queued("b1")),
        lambda: raw_store.add_chunk(new_chunk("b1", producer="c", new=False)),
        lambda: done(raw_store.storage.retry_dead("default", ["b1.0.2"], None, None)),
    ):
        before = raw_store.dump()
        try:
            call()
        except redis.ResponseError:
            assert raw_store.dump() == before
    _drain(raw_store, cancel=False)
    assert dict(_unfinished(raw_store.dump())) == {}
    assert "end" in raw_store.batch("b2")
    done(raw_store.storage.clean_up(0))
    assert raw_store.batch("b2") == {}
