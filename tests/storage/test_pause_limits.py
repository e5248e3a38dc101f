"""Pauses where the limits of one fetch are reached, and where what they set aside meets suspects and empty queues."""

from collections.abc import Mapping

from tests.storage.store import TIMEOUT, Store, done

FAIR = "jobs[fair]"
MOST_SKIPPED = 1_000  # tenants that one fetch parks, ids that it looks at in vain


def _pause(store: Store, what: str = "tenant:acme") -> None:
    done(store.storage.pause(what, paused=True))


def _resume(store: Store, what: str = "tenant:acme") -> None:
    done(store.storage.pause(what, paused=False))


def _fetch(store: Store, queue: str = "default", slots: int = 10) -> list[str]:
    return [one.id for one in store.fetch(slots=slots, queues=(queue,))]


def _commands(store: Store) -> Mapping[str, int]:
    stats = store.client.info("commandstats")
    return {name: int(stat["calls"]) for name, stat in stats.items() if name != "cmdstat_info"}


def _lose(store: Store, worker: str) -> None:
    """`w1` dies, `worker` lives, and gets back what that one held: all of it suspect."""
    store.start_worker(worker)
    store.let_live(2 * TIMEOUT, worker)
    while store.reap(max_recoveries=2)[0]:
        pass


def test_more_paused_tenants_than_one_fetch_parks(store: Store) -> None:
    """The worker is told to look again, and then gets what stands behind them, instead of waiting for its poll."""
    tenants = [f"t{number}" for number in range(MOST_SKIPPED + 100)]
    for tenant in tenants:
        store.driver.calls = 0
        store.add(f"a-{tenant}", queue=FAIR, tenant=tenant)
        _pause(store, f"tenant:{tenant}")
    store.add("b1", queue=FAIR, tenant="bolt")
    store.start_worker()
    assert store.exchange(queues=(FAIR,)).more
    assert _fetch(store, FAIR) == ["b1"]
    assert not store.exchange(queues=(FAIR,)).more
    store.client.flushdb()


def test_lane_of_tombstones_is_not_parked_when_its_queue_is_empty(store: Store) -> None:
    """The fetch that takes the last live task, from another lane, leaves nothing of a tenant that is paused again."""
    store.add("a1")
    store.add("b1", tenant="bolt")
    store.start_worker()
    for tenant in ("acme", "bolt"):
        _pause(store, f"tenant:{tenant}")
    assert _fetch(store) == []
    for tenant in ("acme", "bolt"):
        _resume(store, f"tenant:{tenant}")
    done(store.storage.cancel_task("b1"))
    _pause(store, "tenant:bolt")
    assert _fetch(store) == ["a1"]
    assert [key for key in store.dump() if key.startswith(("queue:", "parked"))] == ["queue:default:leased"]


def test_queue_forgotten_by_a_worker_without_lanes(store: Store) -> None:
    """Workers of a version before lanes take a queue for empty when its list is: what stands in a lane is found again
    when the tenant is resumed.
    """
    store.add("a1", "a2", "a3")
    store.start_worker()
    _pause(store)
    assert _fetch(store) == []
    queue = store.keys.counts("default")
    store.client.unlink(queue, f"{queue}:wake", f"{queue}:turns", f"{queue}:ready")
    _resume(store)
    store.add("b1", tenant="bolt")
    assert _fetch(store, slots=2) == ["a1", "a2"]
    assert store.length() == 2
    assert _fetch(store) == ["a3", "b1"]
    assert "pauses" not in store.dump()["meta"]


def test_lanes_of_suspects_hold_up_nobody(store: Store) -> None:
    """There are more than one fetch looks at, and this worker has a suspect already: it gets what stands behind."""
    tenants = [f"t{number}" for number in range(120)]
    for tenant in tenants:
        store.add(f"a-{tenant}", tenant=tenant)
    store.start_worker()
    store.fetch(slots=120)
    _lose(store, "w9")
    for tenant in tenants:
        _pause(store, f"tenant:{tenant}")
    assert store.exchange("w9", 120, max_recoveries=2).fetched == []
    for tenant in tenants:
        _resume(store, f"tenant:{tenant}")
    store.add("b1", tenant="bolt")
    assert [one.id for one in store.fetch("w9", 1, max_recoveries=2)] == ["a-t0"]
    reply = store.exchange("w9", 10, max_recoveries=2)
    reply = store.exchange("w9", 10, max_recoveries=2) if reply.more else reply
    assert ([one.id for one in reply.fetched], reply.more) == (["b1"], False)


def test_parked_tenants_are_counted_once_for_all_suspects(store: Store) -> None:
    """A fetch that finds many suspects in a fair queue does not count for each what hundreds of tenants have."""
    store.add(*(f"s{number}" for number in range(50)), queue=FAIR, tenant="bolt")
    store.start_worker()
    store.fetch(slots=50, queues=(FAIR,))
    _lose(store, "w9")
    for number in range(300):
        store.add(f"a{number}", queue=FAIR, tenant=f"t{number}")
        _pause(store, f"tenant:t{number}")
    assert len(store.fetch("w9", 1, queues=(FAIR,), max_recoveries=2)) == 1
    store.exchange("w9", 1, (FAIR,), max_recoveries=2)  # parks them all
    before = _commands(store)
    assert not store.exchange("w9", 1, (FAIR,), max_recoveries=2).more
    assert sum(_commands(store).values()) - sum(before.values()) < 300 + 50 * 20
    store.client.flushdb()


def test_suspects_of_others_wait_while_tenants_are_parked(store: Store) -> None:
    """A worker that may have none of what is left is not told to look again at once."""
    store.add("a1", "a2", queue=FAIR)
    store.add("b1", "b2", queue=FAIR, tenant="bolt")
    _pause(store)
    for worker in ("w1", "w2"):
        store.start_worker(worker)
        store.fetch(worker, queues=(FAIR,))
        store.later(TIMEOUT)
        store.reap()
        store.start_worker("w9")
        store.let_live(TIMEOUT, "w9")
        while store.reap()[0]:
            pass
    store.start_worker("w3")
    reply = store.exchange("w3", queues=(FAIR,))
    assert (len(reply.fetched), reply.more) == (1, False)
    _resume(store)
