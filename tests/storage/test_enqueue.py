"""Single tasks on their way in: stored whole, once, in order, now or later."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from tests.storage.store import START, Store, done, new_task


@contextmanager
def events(store: Store) -> Generator[list[str]]:
    """What is published while the block runs."""
    heard: list[str] = []
    channel = cast("Any", store.client).pubsub()
    with channel:
        channel.subscribe(store.keys.events)
        assert channel.get_message(timeout=5)["type"] == "subscribe"
        yield heard
        store.client.publish(store.keys.events, "end")
        while (data := channel.get_message(timeout=5)["data"]) != b"end":
            heard.append(data.decode())


def test_task_is_stored_whole(store: Store) -> None:
    """The record holds all that a worker needs; queue and tenant are known, and one worker is woken."""
    task = new_task("t1", topic="raw", auto_extend=1)
    assert store.enqueue(task) == 1
    assert store.task("t1") == {
        "s": "r", "q": "default", "t": "acme", "c": "mail.send", "d": '{"args":[]}', "e": str(START), "n": "3",
        "i": "60000", "p": "raw", "x": "1",
    }  # fmt: skip
    dump = store.dump()
    assert dump["queues"] == {"default"}
    assert dump["tenants"] == {"acme": START}
    assert dump["queue:default:wake"] == ["1"]
    assert store.length() == 1


def test_task_is_enqueued_once(store: Store) -> None:
    """A second request with the same id changes nothing, whatever it says, until the task has ended."""
    store.add("t1")
    before = store.dump()
    assert store.enqueue(new_task("t1", queue="low", after=5)) == 0
    assert store.dump() == before
    store.start_worker()
    store.settle("done", store.fetch_one())
    assert store.enqueue(new_task("t1")) == 1


def test_only_new_ones_of_several_are_added(store: Store) -> None:
    """Tasks of one request keep their order; what is there already stays where it is."""
    store.add("t2")
    assert store.enqueue(*(new_task(f"t{number}") for number in range(4))) == 3
    assert store.ready() == ["t2", "t0", "t1", "t3"]


@pytest.mark.parametrize("when", [{"after": 5_000}, {"at": START + 5_000}])
def test_delayed_task_starts_when_it_is_due(store: Store, when: dict[str, int]) -> None:
    """A millisecond before its time it is not handed out; at its time it is."""
    store.add("t1", **when)
    store.start_worker()
    assert store.index("default", "delayed") == {"t1": START + 5_000}
    store.later(4_999)
    reply = store.exchange()
    assert (reply.fetched, reply.dues) == ([], [START + 5_000])
    store.later(1)
    reply = store.exchange()
    assert ([one.id for one in reply.fetched], reply.dues) == (["t1"], [None])


@pytest.mark.parametrize("when", [{"after": 0}, {"at": START}, {"at": START - 1_000}])
def test_past_means_now(store: Store, when: dict[str, int]) -> None:
    """A time that has come does not delay a task."""
    store.add("t1", **when)
    assert store.ready() == ["t1"]


def test_due_tasks_start_in_order(store: Store) -> None:
    """Those due first come first, behind what was ready before."""
    store.add("t3", after=30)
    store.add("t1", after=10)
    store.add("t2", after=20)
    store.add("t0")
    store.start_worker()
    store.later(1_000)
    assert [one.id for one in store.fetch()] == ["t0", "t1", "t2", "t3"]


def test_many_due_tasks_start_in_steps(store: Store) -> None:
    """A fetch starts 200 of those that are due at once, and says that more are due."""
    store.add(*(f"t{number:03}" for number in range(450)), after=1_000)
    store.start_worker()
    store.later(1_000)
    reply = store.exchange(slots=1)
    assert (len(reply.fetched), store.length(), reply.dues) == (1, 199, [START + 1_000])
    assert store.tend()
    assert not store.tend()
    assert store.length() == 449


def test_sweep_of_many_queues_goes_in_steps(store: Store) -> None:
    """It touches 200 tasks a step, whatever number of queues it looks after."""
    queues = [f"queue{number}" for number in range(5)]
    for queue in queues:
        store.add(*(f"{queue}-{number}" for number in range(90)), queue=queue, after=1_000)
    store.later(1_000)
    assert store.tend(*queues)
    assert sum(map(store.length, queues)) == 200
    assert store.tend(*queues)
    assert not store.tend(*queues)
    assert sum(map(store.length, queues)) == 450


def test_idle_workers_hear_what_is_due_first(store: Store) -> None:
    """A delayed task is announced when it is due before all others of its queue."""
    with events(store) as heard:
        store.add("t1", after=5_000)
        store.add("t2", after=9_000)
        store.add("t3", after=1_000)
    assert heard == [f"due {START + 5_000} default", f"due {START + 1_000} default"]


def test_when_due_tasks_have_started_the_next_time_is_announced(store: Store) -> None:
    """So that no idle worker waits for a time that has passed; 0 means that nothing is delayed."""
    store.add("t1", after=1_000)
    store.start_worker()
    store.later(1_000)
    with events(store) as heard:
        store.fetch()
    assert heard == ["due 0 default"]


def test_one_task_wakes_one_worker(store: Store) -> None:
    """A token for each new task, at most 64; those that nobody took are gone with the last task."""
    store.add(*(f"t{number}" for number in range(100)))
    assert len(store.dump()["queue:default:wake"]) == 64
    store.start_worker()
    store.fetch(slots=100)
    assert "queue:default:wake" not in store.dump()


def test_full_worker_passes_a_token_on(store: Store) -> None:
    """A worker that takes what it can leaves a token for others, if there is more and no token left."""
    store.add("t1", "t2")
    store.start_worker()
    store.client.delete(store.keys.wake("default"))
    store.fetch(slots=1)
    assert store.dump()["queue:default:wake"] == ["1"]


def test_wake_passes_a_token_on(store: Store) -> None:
    """A token that came to a full worker goes back, unless there is nothing to do any more."""
    store.add("t1")
    store.client.delete(store.keys.wake("default"))
    done(store.storage.wake("default"))
    done(store.storage.wake("empty"))
    dump = store.dump()
    assert dump["queue:default:wake"] == ["1"]
    assert "queue:empty:wake" not in dump
