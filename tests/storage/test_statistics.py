"""Statistics in Redis: added up once a request, in two finenesses, and gone after their time."""

from typing import cast

from taskproc.statistics import TIERS
from tests.storage.store import START, Store, done


def note(store: Store, request: str, **counts: dict[str, int]) -> None:
    """A report of a worker."""
    done(store.storage.note_statistics(request, counts, []))


def stretch(store: Store, seconds: int) -> dict[str, str]:
    """What stands of the present stretch of time."""
    key = store.keys.statistics(seconds, store.now // 1000 // seconds)
    found = cast("dict[bytes, bytes]", store.client.hgetall(key))
    return {name.decode(): text.decode() for name, text in found.items()}


def test_counts_are_added_up(store: Store) -> None:
    """Of each queue by itself, in each fineness; a repeat of a request adds nothing."""
    note(store, "r1", default={"done": 2, "run.3": 2}, low={"failed": 1})
    note(store, "r1", default={"done": 2, "run.3": 2}, low={"failed": 1})
    note(store, "r2", default={"done": 5})
    for tier in TIERS:
        found = stretch(store, tier.seconds)
        counted = {name: text for name, text in found.items() if name.strip() and "#" not in name}
        assert counted == {"default done": "7", "default run.3": "2", "low failed": "1"}


def test_each_stretch_begins_with_a_look(store: Store) -> None:
    """At how much there is in each queue; what comes later in the same stretch does not change it."""
    store.add("t1", "t2")
    store.add("d1", after=60_000)
    store.start_worker()
    store.fetch_one()
    note(store, "r1")
    store.add("t3")
    note(store, "r2")
    found = stretch(store, 60)
    assert [found[f"default #{state}"] for state in ("ready", "running", "delayed", "dead")] == ["1", "1", "1", "0"]
    store.later(60_000)
    note(store, "r3")
    assert stretch(store, 60)["default #ready"] == "2"


def test_statistics_end(store: Store) -> None:
    """Each stretch is kept for its time only."""
    note(store, "r1", default={"done": 1})
    for tier in TIERS:
        key = store.keys.statistics(tier.seconds, START // 1000 // tier.seconds)
        left = store.client.ttl(key)
        assert 0 < left <= tier.kept.total_seconds()


def test_many_queues_take_bounded_room(store: Store) -> None:
    """Further ones are counted together."""
    store.client.hset(
        store.keys.statistics(60, START // 1000 // 60), mapping={f"q{number} done": 1 for number in range(2_500)}
    )
    note(store, "r1", late={"done": 3})
    found = stretch(store, 60)
    assert (found.get("late done"), found["* done"]) == (None, "3")


def test_queue_that_is_counted_goes_on_to_be(store: Store) -> None:
    """However many come after it; up to a limit."""
    key = store.keys.statistics(60, START // 1000 // 60)
    note(store, "r1", early={"run": 5, "done": 1})
    store.client.hset(key, mapping={f"q{number} done": 1 for number in range(2_500)})
    note(store, "r2", early={"run": 5, "done": 1})
    store.client.hset(key, mapping={f"q{number} done": 1 for number in range(5_000)})
    note(store, "r3", early={"run": 5, "done": 1})
    assert (stretch(store, 60)["early done"], stretch(store, 60)["* done"]) == ("2", "1")


def test_damaged_counter_stops_no_other(store: Store) -> None:
    """It stays as it is."""
    key = store.keys.statistics(60, START // 1000 // 60)
    store.client.hset(key, mapping={"default done": "?", "default failed": str(2**63 - 1)})
    note(store, "r1", default={"done": 1, "failed": 1, "run": 5}, low={"done": 1})
    found = stretch(store, 60)
    assert [found[f"default {name}"] for name in ("done", "failed", "run")] == ["?", str(2**63 - 1), "5"]
    assert found["low done"] == "1"


def test_outcome_of_a_cycle_goes_to_its_schedule(store: Store) -> None:
    """If that is still there: a schedule that was removed stays so."""
    key = f"{store.keys.prefix}:schedule:"  # a part of one, which is removed below
    store.client.hset(f"{key}there", mapping={"tenant": "acme"})
    done(store.storage.note_statistics("r1", {}, [["there", "failed", START], ["gone", "done", START]]))
    assert store.client.hmget(f"{key}there", "outcome", "ended") == [b"failed", str(START).encode()]
    assert not store.client.exists(f"{key}gone")
    store.client.delete(f"{key}there")
