"""Pauses of everything, of a queue, of a tenant: what they hold up, and that nothing is left of them."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.storage.store import Store, done, new_chunk, new_task

FAIR = "jobs[fair]"
ENDLESS = 1e15
MOST_SKIPPED = 1_000  # ids that one fetch looks at in vain
QUEUES = pytest.mark.parametrize("queue", ["default", FAIR])


def _pause(store: Store, what: str = "tenant:acme", **said: object) -> None:
    done(store.storage.pause(what, paused=True, **said))  # type: ignore[arg-type]


def _resume(store: Store, what: str = "tenant:acme") -> None:
    done(store.storage.pause(what, paused=False))


def _fetch(store: Store, queue: str = "default", slots: int = 10) -> list[str]:
    return [one.id for one in store.fetch(slots=slots, queues=(queue,))]


def _left_of_pauses(store: Store) -> set[str]:
    dump = store.dump()
    words = {key for key in dump if key.startswith(("pause", "parked"))}
    return words | {f"meta {name}" for name in dump["meta"] if name.startswith("pause")}


def test_paused_queue_is_passed_over(store: Store) -> None:
    """Its tasks wait, due ones become ready, and other queues go on."""
    store.add("a", queue="low")
    store.add("b", queue="low", after=1_000)
    store.add("c")
    store.start_worker()
    _pause(store, "queue:low")
    store.later(1_000)
    assert [one.id for one in store.fetch(queues=("low", "default"))] == ["c"]
    assert store.ready("low") == ["a", "b"]
    _resume(store, "queue:low")
    assert _fetch(store, "low") == ["a", "b"]
    assert _left_of_pauses(store) == set()


@QUEUES
def test_paused_tenant_blocks_nobody(store: Store, queue: str) -> None:
    """Whatever stands in front of the others: they are served, and after the pause it is, in its order."""
    store.add("a1", "a2", queue=queue)
    store.add("b1", queue=queue, tenant="bolt")
    store.add("a3", queue=queue)
    store.start_worker()
    _pause(store)
    assert _fetch(store, queue) == ["b1"]
    store.add("a4", queue=queue)
    assert _fetch(store, queue) == []
    store.add("b2", queue=queue, tenant="bolt")
    assert _fetch(store, queue, slots=1) == ["b2"]
    assert store.length(queue) == 4
    _resume(store)
    assert _fetch(store, queue, slots=3) == ["a1", "a2", "a3"]
    assert _fetch(store, queue) == ["a4"]
    assert _left_of_pauses(store) == set()
    assert [key for key in store.dump() if key.startswith("queue:")] == [f"queue:{queue}:leased"]


@pytest.mark.parametrize("slots", [1, 5])
def test_thousands_of_a_paused_tenant_are_moved_once(store: Store, slots: int) -> None:
    """10,000 in front of a plain queue: each fetch looks at a thousand at most, and then at none of them again."""
    for first in range(0, 10_000, 500):
        assert store.enqueue(*(new_task(f"a{first + number}") for number in range(500))) == 500
    store.add("b1", "b2", tenant="bolt")
    store.start_worker()
    _pause(store)
    fetches = 1
    while not (reply := store.exchange(slots=slots)).fetched:
        assert reply.more
        fetches += 1
    assert fetches <= 10_000 // MOST_SKIPPED + 1
    before = _commands(store)
    assert not store.exchange(slots=slots).more
    assert sum(_commands(store).values()) - sum(before.values()) < 40 + slots
    _resume(store)
    assert _fetch(store, slots=3) == ["a0", "a1", "a2"]
    done(store.storage.leave("w1"))
    store.client.flushdb()


def _commands(store: Store) -> Mapping[str, int]:
    stats = store.client.info("commandstats")
    return {name: int(stat["calls"]) for name, stat in stats.items() if name != "cmdstat_info"}


def test_fetch_of_a_fair_queue_parks_each_paused_tenant_once(store: Store) -> None:
    """Of a hundred paused tenants none is looked at again by the next fetch."""
    for number in range(100):
        store.add(f"a{number}", queue=FAIR, tenant=f"t{number}")
        _pause(store, f"tenant:t{number}")
    store.add("b1", "b2", queue=FAIR, tenant="bolt")
    store.start_worker()
    assert _fetch(store, FAIR, slots=1) == ["b1"]
    before = _commands(store)
    assert _fetch(store, FAIR, slots=1) == ["b2"]
    assert sum(_commands(store).values()) - sum(before.values()) < 40
    for number in range(100):
        _resume(store, f"tenant:t{number}")
    assert _fetch(store, FAIR, slots=200) == [f"a{number}" for number in range(100)]


@QUEUES
@pytest.mark.parametrize("what", ["*", "tenant:acme", "queue:{queue}"])
def test_pause_ends_by_itself(store: Store, queue: str, what: str) -> None:
    """At its end, by Redis's clock: the next fetch gets the tasks, in order, and nothing is left of the pause."""
    store.add("a1", "a2", "a3", queue=queue)
    store.start_worker()
    _pause(store, what.format(queue=queue), length=5_000)
    assert store.exchange(queues=(queue,)).fetched == []
    store.later(4_999)
    assert store.exchange(queues=(queue,)).fetched == []
    store.later(1)
    assert _fetch(store, queue, slots=2) == ["a1", "a2"]
    assert _fetch(store, queue) == ["a3"]
    assert _left_of_pauses(store) == set()


def test_maintenance_ends_pauses(store: Store) -> None:
    """So workers that wait hear of it at once, as after `resume`, and schedules go on though nobody fetches."""
    store.start_worker()
    _pause(store, until=store.now + 5_000)
    _pause(store, "*", length=5_000)
    store.tend()
    assert set(store.dump()["pauses"]) == {"tenant:acme", "*"}
    store.later(5_000)
    client: Any = store.client
    heard = client.pubsub()
    heard.subscribe(store.keys.events)
    assert heard.get_message(timeout=1) is not None
    store.tend()
    assert heard.get_message(timeout=1) == {
        "type": "message", "pattern": None, "channel": store.keys.events.encode(), "data": b"resume",
    }  # fmt: skip
    heard.close()
    assert _left_of_pauses(store) == set()


def test_pausing_twice_replaces_what_is_said(store: Store) -> None:
    """Reason and end are those of the last call; since when it is paused stays."""
    _pause(store, reason="unpaid", by="ann", length=5_000)
    store.later(1_000)
    _pause(store, reason="gone", by="bob")
    assert store.dump()["pause:tenant:acme"] == {"since": str(store.now - 1_000), "reason": "gone", "by": "bob"}
    assert store.dump()["pauses"] == {"tenant:acme": ENDLESS}
    _resume(store)
    _resume(store)
    assert _left_of_pauses(store) == set()


def test_pause_after_one_that_is_over_begins_anew(store: Store) -> None:
    """Though nobody has ended it yet."""
    _pause(store, length=1_000)
    store.later(5_000)
    _pause(store)
    assert store.dump()["pause:tenant:acme"]["since"] == str(store.now)


def test_repeated_and_late_pauses_do_nothing(store: Store) -> None:
    """A copy of a request that comes after the next change, and a reply that is lost."""
    late = {"what": "tenant:acme", "paused": True, "change": 0, "reason": "", "by": ""}
    store.lose_reply()
    _pause(store)
    _resume(store)
    before = store.dump()
    assert done(store.driver.run("pause", (store.keys.pauses,), late)) == [2, b""]
    assert store.dump() == before
    _pause(store)
    late |= {"paused": False, "change": 1}
    assert done(store.driver.run("pause", (store.keys.pauses,), late)) == [3, b""]
    assert set(store.dump()["pauses"]) == {"tenant:acme"}


def test_pauses_are_of_their_own(store: Store) -> None:
    """To resume everything does not resume a queue, nor the other way round."""
    store.add("a1")
    store.start_worker()
    for what in ("*", "queue:default", "tenant:acme"):
        _pause(store, what)
    for what in ("queue:default", "*"):
        _resume(store, what)
        assert store.exchange().fetched == []
    _resume(store)
    assert _fetch(store) == ["a1"]


@QUEUES
def test_cancel_counts_what_is_set_aside(store: Store, queue: str) -> None:
    """A batch of a paused tenant ends when it is canceled, and a task is gone; nothing of them is left."""
    store.add_batch("ba", [new_task(queue=queue)] * 3, when=["canceled"])
    store.add("a1", queue=queue)
    store.add("b1", queue=queue, tenant="bolt")
    store.start_worker()
    _pause(store)
    assert _fetch(store, queue) == ["b1"]
    assert done(store.storage.cancel_batch("ba"))
    store.walk("ba")
    assert store.counts("ba") == (3, 0, 0, 3)
    assert "end" in store.batch("ba")
    assert done(store.storage.cancel_task("a1"))
    assert store.length(queue) == (queue == "default")
    _resume(store)
    assert _fetch(store) == ["ba.0.c0"]
    assert _left_of_pauses(store) == set()


@QUEUES
def test_canceled_batch_is_dropped_where_it_stands(store: Store, queue: str) -> None:
    """Fetch counts what it finds of a canceled batch, set aside or not, before the walk comes to it."""
    store.add_batch("ba", [new_task(queue=queue)] * 3)
    store.add("a1", queue=queue)
    store.start_worker()
    _pause(store)
    assert _fetch(store, queue) == []
    assert done(store.storage.cancel_batch("ba"))
    _resume(store)
    assert _fetch(store, queue) == ["a1"]
    assert store.counts("ba") == (3, 0, 0, 3)


@QUEUES
def test_what_is_given_back_keeps_its_place(store: Store, queue: str) -> None:
    """A task that runs when its tenant is paused and goes back unstarted is the first one after the pause."""
    store.add("a1", "a2", "a3", queue=queue)
    store.start_worker()
    [first] = store.fetch(slots=1, queues=(queue,))
    _pause(store)
    assert _fetch(store, queue) == []
    store.settle("release", first)
    assert _fetch(store, queue) == []
    _resume(store)
    assert _fetch(store, queue, slots=2) == ["a1", "a2"]
    assert _fetch(store, queue) == ["a3"]


def test_tenant_is_paused_again_before_all_was_served(store: Store) -> None:
    """The rest is set aside again, before what came later, and nobody is blocked."""
    store.add("a1", "a2", "a3")
    store.start_worker()
    _pause(store)
    assert _fetch(store) == []
    _resume(store)
    store.add("a4")
    store.add("b1", tenant="bolt")
    assert _fetch(store, slots=1) == ["a1"]
    _pause(store)
    assert _fetch(store) == ["b1"]
    _resume(store)
    assert _fetch(store) == ["a2", "a3", "a4"]
    assert _left_of_pauses(store) == set()


def test_lane_of_tombstones_goes_with_its_queue(store: Store) -> None:
    """When nothing is ready any more, what was set aside and canceled leaves no list behind, paused or not."""
    store.add("a1", "a2")
    store.start_worker()
    _pause(store)
    assert _fetch(store) == []
    for id_ in ("a1", "a2"):
        done(store.storage.cancel_task(id_))
    assert not [key for key in store.dump() if key.startswith(("queue:", "parked"))]
    assert set(store.dump()["pauses"]) == {"tenant:acme"}


def test_same_id_enqueued_again(store: Store) -> None:
    """A task canceled while it was set aside, and enqueued again under its id, runs once."""
    store.add("a1", "a2")
    store.start_worker()
    _pause(store)
    assert _fetch(store) == []
    done(store.storage.cancel_task("a1"))
    store.add("a1")
    assert _fetch(store) == []
    _resume(store)
    fetched = store.fetch()
    assert sorted(one.id for one in fetched) == ["a1", "a2"]
    assert store.length() == 0


def test_very_many_queues_of_a_tenant_are_resumed_in_steps(store: Store) -> None:
    """If the caller dies in between, the pause is over all the same, and any fetch goes on with it."""
    queues = [f"q{number}" for number in range(1_200)]
    for queue in queues:
        store.add(f"a-{queue}", queue=queue)
    store.start_worker()
    _pause(store)
    for first in range(0, 1_200, 100):
        assert store.fetch(queues=queues[first : first + 100]) == []
    step = {"what": "tenant:acme", "paused": False, "change": 1}
    assert done(store.driver.run("pause", (store.keys.pauses,), step)) == [2, b""]
    parked = [one for one in store.dump()["parked"] if not one.startswith(":")]
    assert len(parked) == 700
    assert len(store.fetch(slots=1_200, queues=queues[:3])) == 3
    assert len(store.fetch(slots=1_200, queues=queues)) == 1_197
    assert _left_of_pauses(store) == set()


def test_unsealed_batch_of_a_paused_tenant_goes_on_growing(store: Store) -> None:
    """Chunks are added while their tenant is paused; all are served, in order, and the batch ends."""
    store.add_batch("ba", 2, last=False)
    store.start_worker()
    _pause(store)
    assert _fetch(store) == []
    assert store.add_chunk(new_chunk("ba", 1), [new_task(), new_task()]) == "ok"
    assert _fetch(store) == []
    _resume(store)
    attempts = store.fetch()
    assert [one.id for one in attempts] == ["ba.0.0", "ba.0.1", "ba.1.0", "ba.1.1"]
    store.settle("done", *attempts)
    assert "end" in store.batch("ba")


def test_drained_worker_gets_nothing_and_keeps_no_token(store: Store) -> None:
    """What it runs goes on; a token that woke it wakes another worker instead."""
    store.add("a1")
    store.start_worker("w1")
    store.start_worker("w2")
    running = store.fetch_one()
    assert done(store.storage.drain("w1", drain=True))
    store.add("a2")
    assert store.client.lpop(store.keys.wake("default")) == b"1"
    reply = store.exchange()
    assert (reply.status, reply.fetched) == ("paused", [])
    assert store.client.llen(store.keys.wake("default")) == 1
    assert store.settle("done", running) == ["done"]
    assert [one.id for one in store.fetch("w2")] == ["a2"]
    store.add("a3")
    assert done(store.storage.drain("w1", drain=False))
    assert [one.id for one in store.fetch()] == ["a3"]
    assert not done(store.storage.drain("w9", drain=True))


@QUEUES
def test_full_worker_wakes_nobody_for_what_is_paused(store: Store, queue: str) -> None:
    """Idle workers would look in vain each time; what others may get still wakes one."""
    store.add("a1", "a2", queue=queue)
    store.add("b1", "b2", queue=queue, tenant="bolt")
    store.start_worker()
    _pause(store)
    wake = store.keys.wake(queue)
    for expected in (["b1"], ["b2"]):
        store.client.delete(wake)
        assert _fetch(store, queue, slots=1) == expected
        assert store.client.llen(wake) == (expected == ["b1"])
    store.add("b3", queue=queue, tenant="bolt")
    store.add("c1", queue="other", tenant="core")
    _pause(store, f"queue:{queue}")
    store.client.delete(wake)
    assert [one.id for one in store.fetch(slots=1, queues=("other", queue))] == ["c1"]
    assert store.client.llen(wake) == 0


def test_late_copy_of_a_drain_does_nothing(store: Store) -> None:
    """A copy that comes after the worker was resumed leaves it as it is."""
    store.start_worker()
    store.lose_reply(lambda: done(store.storage.drain("w1", drain=False)))
    assert done(store.storage.drain("w1", drain=True))
    assert store.exchange().status == "ok"


def test_acts_are_kept_up_to_a_thousand(store: Store) -> None:
    """The last ones, each once however often its request comes."""
    for number in range(1_003):
        store.lose_reply()
        done(store.storage.record_act("pause", str(number), "ann", None, ""))
    assert store.client.llen(store.keys.audit) == 1_000
    store.client.delete(store.keys.audit, store.keys.prefix + ":done")
