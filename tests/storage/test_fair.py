"""Fair queues: tenants are served in turn, whatever their backlog."""

import pytest

from tests.storage.store import Store, done, new_task

FAIR = "jobs[fair]"


def _add(store: Store, tenant: str, *ids: str, **options: int) -> None:
    store.add(*ids, queue=FAIR, tenant=tenant, **options)


def _fetch(store: Store, slots: int = 10) -> list[str]:
    return [one.id for one in store.fetch(slots=slots, queues=(FAIR,))]


@pytest.mark.parametrize("slots", [1, 2, 9])
def test_tenants_are_served_in_turn(store: Store, slots: int) -> None:
    """One task of each, in the order in which they began to wait, however many are fetched at once."""
    _add(store, "acme", "a1", "a2", "a3", "a4")
    _add(store, "bolt", "b1", "b2")
    _add(store, "core", "c1")
    store.start_worker()
    served: list[str] = []
    while fetched := _fetch(store, slots):
        served += fetched
    assert served == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


def test_new_tenant_waits_one_round(store: Store) -> None:
    """Behind those that wait already, not behind all of their tasks."""
    _add(store, "acme", *(f"a{number}" for number in range(50)))
    _add(store, "bolt", "b1")
    store.start_worker()
    assert _fetch(store, 3) == ["a0", "b1", "a1"]
    _add(store, "bolt", "b2")
    _add(store, "core", "c1")
    assert _fetch(store, 3) == ["a2", "b2", "c1"]


def test_what_comes_back_waits_its_turn(store: Store) -> None:
    """A tenant whose task is retried, falls due or is given back joins the ring again."""
    _add(store, "acme", "a1", "a2")
    _add(store, "bolt", "b1", after=1_000)
    store.start_worker()
    first, second = store.fetch(queues=(FAIR,))
    store.settle("retry", first)
    store.later(1_000)
    assert _fetch(store) == ["a1", "b1"]
    store.settle("release", second)
    assert _fetch(store) == ["a2"]


def test_canceled_tasks_cost_their_tenant_no_turn(store: Store) -> None:
    """A tenant that has canceled what stood first is served when its turn comes."""
    _add(store, "bolt", *(f"b{number}" for number in range(5)))
    store.add_batch("ba", [new_task(queue=FAIR)] * 3)
    _add(store, "acme", "a1")
    done(store.storage.cancel_batch("ba"))
    store.start_worker()
    assert _fetch(store, 2) == ["b0", "a1"]


def test_tombstones_cost_their_tenant_no_turn(store: Store) -> None:
    """Nor do the ids that the walk of a cancel has left in the list."""
    _add(store, "bolt", *(f"b{number}" for number in range(5)))
    store.add_batch("ba", [new_task(queue=FAIR)] * 3)
    _add(store, "acme", "a1")
    done(store.storage.cancel_batch("ba"))
    store.walk("ba")
    store.start_worker()
    assert _fetch(store, 1) == ["b0"]
    assert _fetch(store, 1) == ["a1"]


def test_tenant_without_tasks_is_not_in_the_ring(store: Store) -> None:
    """It leaves with its last ready task, and nothing of the queue is left after the last one of all."""
    _add(store, "acme", "a1")
    _add(store, "bolt", "b1")
    store.start_worker()
    _fetch(store, 1)
    assert set(store.dump()[f"queue:{FAIR}:turns"]) == {"bolt"}
    done(store.storage.cancel_task("b1"))
    assert [key for key in store.dump() if key.startswith(f"queue:{FAIR}")] == [f"queue:{FAIR}:leased"]


def test_many_tenants_are_served_in_turn(store: Store) -> None:
    """A thousand tenants with two tasks each: one of each, then the other."""
    for number in range(1_000):
        _add(store, f"tenant{number}", f"{number}-1", f"{number}-2")
    store.start_worker()
    served = _fetch(store, 2_000)
    assert served == [f"{number}-{turn}" for turn in (1, 2) for number in range(1_000)]


def test_tombstones_hold_up_nobody(store: Store) -> None:
    """A tenant's canceled backlog is passed over in few looks, however long it is; what comes after it is in order."""
    store.add_batch("b1", [new_task(queue=FAIR, tenant="a")] * 5_000)
    store.add("a1", "a2", queue=FAIR, tenant="a")
    store.add("b1x", queue=FAIR, tenant="b")
    done(store.storage.cancel_batch("b1"))
    store.walk("b1")
    store.start_worker()
    fetched = [one.id for one in store.fetch(slots=3, queues=(FAIR,))]
    assert fetched == ["a1", "b1x", "a2"]
    assert store.length(FAIR) == 0
