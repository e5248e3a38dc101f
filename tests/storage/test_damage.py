"""Damaged records: a script that fails changes nothing, or it leaves the bad record aside, and the rest goes on."""

from collections.abc import Callable, Iterator

import pytest
import redis

from tests.storage.store import TIMEOUT, Dump, Store, done, new_chunk, new_task, settlement

Damage = Callable[[redis.Redis, str], object]


def _without(name: str) -> Damage:
    return lambda client, key: client.hdel(key, name)


def _with_bad(name: str, value: str = "?") -> Damage:
    return lambda client, key: client.hset(key, name, value)


DAMAGES: dict[str, Damage] = {
    "gone": lambda client, key: client.delete(key),
    "a string": lambda client, key: client.set(key, "?"),
    "a list": lambda client, key: (client.delete(key), client.rpush(key, "?")),
    "in no state": _with_bad("s"),
    **{f"without {name}": _without(name) for name in "sqtcdenil"},
    **{f"with a bad {name}": _with_bad(name) for name in "neiflo"},
    **{f"with an endless {name}": _with_bad(name, "9" * 400) for name in "neifmuov"},
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
    "name",
    [
        *(f"without {name}" for name in "qtcdeni"),
        *(f"with a bad {name}" for name in "neif"),
        *(f"with an endless {name}" for name in "neifmuov"),
    ],
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


FAIR = "jobs[fair]"


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_records_of_a_fair_queue(raw_store: Store, name: str) -> None:
    """In each state there is a damaged one, perhaps without a tenant; the healthy ones beside them end."""
    store = raw_store
    bad, good = ([f"{kind}{number}" for number in range(5)] for kind in ("bad", "good"))
    store.start_worker("w1")
    store.start_worker("w2")
    store.add(*[id_ for pair in zip(bad, good, strict=True) for id_ in pair][:6], queue=FAIR)
    lost = store.fetch("w1", 2, queues=(FAIR,))
    retried = store.fetch("w2", 2, queues=(FAIR,))
    store.settle("dead", *store.fetch("w2", 2, queues=(FAIR,)), worker="w2")
    store.add(bad[3], good[3], queue=FAIR)
    store.add(bad[4], good[4], queue=FAIR, after=1_000)
    for id_ in bad:
        DAMAGES[name](store.client, store.keys.task(id_))
    store.settle("retry", *retried, worker="w2")
    store.let_live(2 * TIMEOUT, "w2")
    store.reap()
    store.tend(FAIR)
    done(store.storage.retry_dead(FAIR, [bad[2], good[2]], None, None))
    ended: list[str] = []
    while attempts := store.exchange("w2", 20, (FAIR,)).fetched:
        assert store.settle("done", *attempts, worker="w2") == ["done"] * len(attempts)
        ended += [one.id for one in attempts]
    assert {one.id for one in lost} == {bad[0], good[0]}
    assert set(good) <= set(ended)


CONTINUATION_DAMAGES = DAMAGES | {
    f"with {kind} {name}": _with_bad(name, value)
    for name in "wyz"
    for kind, value in (("a bad", "?"), ("an endless", "9" * 400), ("an infinite", "inf"), ("a senseless", "nan"))
}


@pytest.mark.parametrize("name", CONTINUATION_DAMAGES)
def test_damaged_continuation(raw_store: Store, name: str) -> None:
    """It is dead or gone when its batch ends; what is settled in the same step, and what waits beside it, goes on."""
    store = raw_store
    store.add("solo")
    store.add_batch("b1", 1, when=["success", "complete", "success"])
    store.add_batch("b2", 1, when=["complete"])
    store.start_worker()
    solo, first, second = store.fetch(slots=3)
    CONTINUATION_DAMAGES[name](store.client, store.keys.task("b1.0.c1"))
    settlements = [settlement(solo.id, solo.token, "retry"), settlement(first.id, first.token, "done")]
    settlements.append(settlement(second.id, second.token, "done"))
    assert done(store.storage.settle("w1", settlements)) == ["failed", "done", "done"]
    assert (store.counts("b1"), store.counts("b2")) == ((1, 1, 0, 0), (1, 1, 0, 0))
    ended = [one.id for one in store.fetch()]
    assert {"solo", "b1.0.c0", "b1.0.c2", "b2.0.c0"} <= set(ended)
    dump = store.dump()
    assert "batch:b1:then" not in dump
    if "b1.0.c1" not in ended:
        assert dump.get("task:b1.0.c1", {"s": "x"})["s"] == "x"
        done(store.storage.discard_dead("default", ["b1.0.c1"], None))
        assert "task:b1.0.c1" not in store.dump()


def test_dead_continuation_never_counts(raw_store: Store) -> None:
    """Neither when a damaged one is left aside, nor when it is made ready again."""
    store = raw_store
    store.add_batch("b1", 1, when=["success"])
    store.start_worker()
    attempt = store.fetch_one()
    store.client.hdel(store.keys.task("b1.0.c0"), "w")
    store.settle("done", attempt)
    assert store.index("default", "dead") == {"b1.0.c0": store.now}
    assert done(store.storage.retry_dead("default", ["b1.0.c0"], None, None)) == ["b1.0.c0"]
    store.settle("done", *store.fetch())
    assert store.counts("b1") == (1, 1, 0, 0)
    assert "end" in store.batch("b1")


def test_end_of_a_batch_whose_continuations_are_no_list(raw_store: Store) -> None:
    """It ends; what else is settled in this step is settled."""
    raw_store.add_batch("b1", 1, when=["success"])
    raw_store.add_batch("b2", 1, when=["success"])
    raw_store.start_worker()
    attempts = raw_store.fetch()
    raw_store.client.set(raw_store.keys.batch("b1") + ":then", "?")
    assert raw_store.settle("done", *attempts) == ["done", "done"]
    assert [one.id for one in raw_store.fetch()] == ["b2.0.c0"]


BATCH_DAMAGES: dict[str, Damage] = {
    "gone": DAMAGES["gone"],
    "a string": DAMAGES["a string"],
    **{
        f"without {name}": _without(name)
        for name in ("tenant", "scope", "start", "total", "done", "failed", "canceled", "duration")
    },
    **{
        f"with {kind} {name}": _with_bad(name, value)
        for name in ("total", "done", "failed", "canceled", "duration", "hold")
        for kind, value in (("a bad", "?"), ("a full", str(2**63 - 1)))
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


def test_cleaning_up_passes_over_continuations_that_are_no_list(raw_store: Store) -> None:
    """The batch goes with them, and those that ended after it are not held up."""
    raw_store.start_worker()
    for batch in ("b1", "b2"):
        raw_store.add_batch(batch, 1)
        raw_store.settle("done", *raw_store.fetch())
        raw_store.later(1)
    raw_store.client.set(raw_store.keys.batch("b1") + ":then", "?")
    raw_store.later(1_000)
    done(raw_store.storage.clean_up(1_000))
    assert [key for key in raw_store.dump() if key.startswith("batch")] == []


def test_a_dead_worker_whose_record_is_no_hash(raw_store: Store) -> None:
    """What it ran goes back, and so does what another dead one ran."""
    raw_store.add_batch("b1", 2)
    for worker in ("w1", "w2"):
        raw_store.start_worker(worker)
        raw_store.fetch(worker, 1)
    raw_store.client.set(f"{raw_store.keys.prefix}:worker:w1", "?")
    for _ in range(15):
        raw_store.later(TIMEOUT // 2)
        done(raw_store.storage.beat("w3", TIMEOUT))
    while raw_store.reap()[0]:
        pass
    raw_store.start_worker("w3")
    assert [one.id for one in raw_store.fetch("w3")] == ["b1.0.0", "b1.0.1"]
