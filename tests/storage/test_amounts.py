"""How much one reply holds: the scripts stop when they have told of so many bytes, and say that there is more."""

import pytest

from taskproc.storage import Sending
from tests.storage.store import Store, done, new_task

MEGABYTE = 1024 * 1024


def _add(store: Store, count: int, size: int, queue: str = "default") -> None:
    for number in range(count):
        tenant = f"tenant{number % 3}"
        task: Sending = new_task(f"t{number}", queue, tenant=tenant), bytes(size)
        assert done(store.storage.enqueue([task])) == 1


@pytest.mark.parametrize("queue", ["default", "jobs[fair]"])
def test_fetch_of_large_tasks_goes_in_steps(store: Store, queue: str) -> None:
    """About eight megabytes a time; the worker knows that there is more, and another one is woken."""
    _add(store, 20, MEGABYTE, queue)
    store.start_worker()
    fetched: list[str] = []
    for count, more, left in ((8, True, 12), (8, True, 4), (4, False, 0)):
        reply = store.exchange(slots=20, queues=(queue, "low"))
        assert (len(reply.fetched), reply.more, store.length(queue)) == (count, more, left)
        fetched += [one.id for one in reply.fetched]
    assert sorted(fetched) == sorted(f"t{number}" for number in range(20))


def test_huge_task_comes_alone(store: Store) -> None:
    """However large it is: one that somebody put in by hand holds nothing up."""
    _add(store, 1, 20 * MEGABYTE)
    store.add("small")
    store.start_worker()
    assert [one.id for one in store.fetch()] == ["t0"]
    assert [one.id for one in store.fetch()] == ["small"]


def test_what_is_behind_in_other_queues_waits(store: Store) -> None:
    """The first queue fills the reply; what is delayed in the second one is told all the same."""
    _add(store, 9, MEGABYTE)
    store.add("low1", queue="low")
    store.add("low2", queue="low", after=1_000)
    store.start_worker()
    reply = store.exchange(slots=20, queues=("default", "low"))
    assert (len(reply.fetched), reply.more, reply.dues) == (8, True, [None, store.now + 1_000])
    assert [one.id for one in store.fetch(queues=("default", "low"))] == ["t8", "low1"]


def test_large_tasks_of_a_dead_worker_are_reported_in_steps(store: Store) -> None:
    """What was lost for good is told with its data."""
    _add(store, 12, MEGABYTE)
    store.start_worker("w1")
    assert len(store.fetch("w1", 20) + store.fetch("w1", 20)) == 12
    store.start_worker("w2")
    store.let_live(15_000, "w2")
    counts: list[int] = []
    more = True
    while more:
        more, lost = store.reap(max_recoveries=1)
        counts.append(len(lost))
    assert counts == [8, 4, 0]
