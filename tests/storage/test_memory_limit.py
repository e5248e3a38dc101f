"""A server that is full takes nothing new; whatever ends, moves or removes tasks goes on."""

from collections.abc import Callable, Generator

import pytest
from redis.exceptions import OutOfMemoryError

from tests.kit import Server
from tests.storage.store import TIMEOUT, Store, done, new_chunk, new_task, settlement


@pytest.fixture(scope="module")
def small_server() -> Generator[Server]:
    """A server whose memory limit may be changed."""
    with Server() as started:
        yield started


@pytest.fixture
def full_store(small_server: Server) -> Generator[Store]:
    """A store with something in every state, on a server that is over its limit."""
    with small_server.client() as client:
        client.config_set("maxmemory", 0)
        client.flushdb()
        store = Store(client, "{t}")
        _fill(store)
        client.config_set("maxmemory", "1mb")
        yield store


def _fill(store: Store) -> None:
    """Tasks t0…t9 (leased: t0, t1, t2; dead: t3), a batch b1 that has ended, b2 that runs, b3 that is still sent."""
    store.add(*(f"t{number}" for number in range(10)))
    store.add("late", after=1_000)
    store.start_worker()
    attempts = store.fetch(slots=4)
    store.settle("dead", attempts[3])
    store.add_batch("b1", tasks=0)
    store.add_batch("b2", when=["complete"])
    store.add_batch("b3", last=False)
    store.add_batch("b4")
    done(store.storage.cancel_batch("b4"))
    store.later(2_000)


def test_new_tasks_are_refused(full_store: Store) -> None:
    """Single tasks and chunks of batches are refused, and nothing of them is stored."""
    before = full_store.dump()
    with pytest.raises(OutOfMemoryError):
        full_store.enqueue(new_task("new"))
    with pytest.raises(OutOfMemoryError):
        full_store.add_batch("b9")
    with pytest.raises(OutOfMemoryError):
        full_store.add_chunk(new_chunk("b3", 1))
    assert full_store.dump() == before


MOVES: dict[str, Callable[[Store], object]] = {
    "open_store": lambda store: done(store.storage.open_store()),
    "register": lambda store: store.start_worker("w2"),
    "beat": lambda store: store.beat("w1"),
    "fetch": lambda store: store.fetch(slots=20),
    "settle": lambda store: done(
        store.storage.settle("w1", [settlement("t0", "w1:1", "done"), settlement("t1", "w1:1", "dead")])
    ),
    "retry": lambda store: done(store.storage.settle("w1", [settlement("t0", "w1:1", "retry", delay=1_000)])),
    "extend": lambda store: done(store.storage.extend([("t0", "w1:1", 90_000)])),
    "resync": lambda store: done(store.storage.resync("w1", 5, [])),
    "leave": lambda store: done(store.storage.leave("w1")),
    "wake": lambda store: done(store.storage.wake("default")),
    "keep_open": lambda store: done(store.storage.keep_open(["b3/"])),
    "cancel_batch": lambda store: done(store.storage.cancel_batch("b2")),
    "cancel_queued": lambda store: done(store.storage.cancel_queued("b4")),
    "cancel_task": lambda store: done(store.storage.cancel_task("t0")),
    "pause": lambda store: done(store.storage.pause(paused=True)),
    "drain": lambda store: done(store.storage.drain("w1", drain=True)),
    "record_act": lambda store: done(store.storage.record_act("pause", "*", "ann", None, "")),
    "retry_dead": lambda store: done(store.storage.retry_dead("default", ["t3"], None, None)),
    "discard_dead": lambda store: done(store.storage.discard_dead("default", ["t3"], None)),
    "forget_queue": lambda store: done(store.storage.forget_queue("unused")),
}


@pytest.mark.parametrize("name", MOVES)
def test_everything_else_goes_on(full_store: Store, name: str) -> None:
    """Each move of what is stored already works, though it may need some memory itself."""
    before = full_store.dump()
    MOVES[name](full_store)
    assert full_store.dump() != before or name in {"beat", "wake", "forget_queue"}


def test_maintenance_goes_on(full_store: Store) -> None:
    """Dead workers are taken back, leases end, abandoned batches are canceled, old ones and tenants removed."""
    full_store.later(70_000)
    assert full_store.reap() == (False, [])  # everybody gets time to beat
    full_store.start_worker("w2")
    full_store.later(TIMEOUT // 2)
    full_store.beat("w2")
    full_store.later(TIMEOUT // 2)
    assert full_store.reap() == (True, [])
    full_store.fetch("w2", slots=1)
    assert full_store.task("t4")["s"] == "l"
    full_store.beat("w2")
    full_store.let_live(50_000, "w2")
    assert not done(full_store.storage.cancel_abandoned(TIMEOUT))
    assert full_store.batch("b3")["cancel"]
    full_store.tend()
    assert full_store.index("default", "delayed") == {}


def test_cleaning_up_goes_on(full_store: Store) -> None:
    """An old batch is removed; then the tenant is noted as seen, because it has others."""
    full_store.later(100_000)
    assert not done(full_store.storage.clean_up(100_000))
    assert full_store.batch("b1") == {}
    assert not done(full_store.storage.clean_up(100_000))
    assert full_store.dump()["tenants"] == {"acme": full_store.now}
