"""Leases: what a worker is given, how it hands it in, and that nobody else can."""

import pytest

from taskproc.records import Attempt
from tests.storage.store import ABOUT, START, TIMEOUT, Store, done, new_task, settlement

OUTCOMES = ["done", "retry", "dead", "discard", "release"]


def test_fetched_task_is_leased(store: Store) -> None:
    """The worker gets the record and a token; the lease ends after `invisibility`."""
    store.enqueue(new_task("t1", invisibility=7_000, auto_extend=1))
    store.start_worker()
    attempt = store.fetch_one()
    assert attempt == Attempt(
        id="t1", queue="default", scope="", tenant="acme", call="mail.send", data=b'{"args":[]}', topic="call.v1",
        enqueued_at=START, retries=3, invisibility=7_000, failures=0, auto_extend=True, awaited=None,
        scheduled_for=None, unknown_since=None, unique=False, token="w1:1",
    )  # fmt: skip
    assert store.index("default", "leased") == {"t1": START + 7_000}
    assert store.dump()["worker:w1:tasks"] == {"t1"}
    assert store.length() == 0


def test_first_queue_with_tasks_wins(store: Store) -> None:
    """Queues are served from left to right, each as far as slots are free."""
    store.add("l1", "l2", queue="low")
    store.add("d1", "d2")
    store.start_worker()
    assert [one.id for one in store.fetch(slots=3, queues=("default", "low"))] == ["d1", "d2", "l1"]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_lost_lease_changes_nothing(store: Store, outcome: str) -> None:
    """Whoever hands in an attempt that was given to another changes nothing, and is told."""
    store.add("t1", "t2")
    store.start_worker("w1")
    store.start_worker("w2")
    lost = store.fetch_one("w1")
    store.settle("release", lost)
    assert store.fetch_one("w2").id == lost.id
    before = store.dump()
    assert store.settle(outcome, lost) == ["stale"]
    assert done(store.storage.extend([(lost.id, lost.token, 600_000)])) == [False]
    assert store.dump() == before


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_attempt_is_settled_once(store: Store, outcome: str) -> None:
    """Sent again, alone or twice in one request, a settlement is stale."""
    store.add_batch("b1", 2)
    store.start_worker()
    attempt = store.fetch_one()
    assert store.settle(outcome, attempt, attempt)[1] == "stale"
    before = store.dump()
    assert store.settle(outcome, attempt) == ["stale"]
    assert store.dump() == before


def test_retry_waits_and_counts(store: Store) -> None:
    """A failed attempt is one of those allowed; the next one may have to wait."""
    store.add("t1", "t2")
    store.start_worker()
    first, second = store.fetch()
    assert store.settle("retry", first, delay=2_000) == ["failed"]
    assert store.settle("retry", second) == ["failed"]
    assert store.index("default", "delayed") == {"t1": START + 2_000}
    assert store.ready() == ["t2"]
    assert (store.fetch_one().attempt, store.task("t2")["f"]) == (2, "1")


def test_retry_goes_to_the_end_and_release_to_the_head(store: Store) -> None:
    """What failed lets others go first; what was given back unstarted was first, and is again."""
    store.add("t1", "t2", "t3")
    store.start_worker()
    first, second = store.fetch(slots=2)
    store.settle("retry", first)
    assert store.settle("release", second) == ["released"]
    assert store.ready() == ["t2", "t3", "t1"]
    assert store.fetch_one().attempt == 1


def test_unknown_task_waits_for_another_worker(store: Store) -> None:
    """It is put back with a delay and no attempt used, and keeps since when nobody knew it."""
    store.add("t1")
    store.start_worker()
    store.settle("release", store.fetch_one(), unknown=True, delay=1_000)
    store.later(1_000)
    attempt = store.fetch_one()
    assert (attempt.unknown_since, attempt.failures) == (START, 0)
    store.settle("release", attempt, unknown=True, delay=1_000)
    assert store.task("t1")["u"] == str(START)


def test_dead_task_says_of_what(store: Store) -> None:
    """Its record has what went wrong, when, and all failures."""
    store.add("t1")
    store.start_worker()
    store.later(5)
    store.settle("dead", store.fetch_one(), type="OSError", message="disk full", traceback="line 7")
    record = store.task("t1")
    told = {name: record[name] for name in ("s", "f", "died", "error_type", "error_message", "traceback")}
    assert told == {
        "s": "x", "f": "1", "died": str(START + 5), "error_type": "OSError", "error_message": "disk full",
        "traceback": "line 7",
    }  # fmt: skip
    assert store.index("default", "dead") == {"t1": START + 5}


def test_extension_prolongs(store: Store) -> None:
    """A lease ends later when it is extended, and never earlier."""
    store.enqueue(new_task("t1", invisibility=5_000))
    store.start_worker()
    attempt = store.fetch_one()
    assert done(store.storage.extend([(attempt.id, attempt.token, 9_000), ("t9", attempt.token, 1)])) == [True, False]
    assert done(store.storage.extend([(attempt.id, attempt.token, 1_000)])) == [True]
    assert store.index("default", "leased") == {"t1": START + 9_000}


@pytest.mark.parametrize("deadletter, error", [(True, "TaskTimeoutError"), (False, "gone")])
def test_attempt_that_is_over_time_has_failed(store: Store, deadletter: bool, error: str) -> None:  # noqa: FBT001
    """Two seconds after the lease the sweep ends it: first a retry, at last a dead letter or nothing."""
    store.enqueue(new_task("t1", retries=2, invisibility=3_000))
    store.start_worker()
    store.let_live(TIMEOUT, "w1")
    lost = store.fetch_one()
    store.let_live(4_999, "w1")
    store.tend(deadletter=deadletter)
    assert store.task("t1")["s"] == "l"
    store.let_live(1, "w1")
    store.tend(deadletter=deadletter)
    assert store.settle("done", lost) == ["stale"]
    assert store.fetch_one().attempt == 2
    store.let_live(5_000, "w1")
    store.tend(deadletter=deadletter)
    assert (store.task("t1") or {"error_type": "gone"})["error_type"] == error


def test_one_step_ends_so_many_leases(store: Store) -> None:
    """The sweep touches 200 of a queue at once, and says that there are more."""
    store.add(*(f"t{number}" for number in range(300)), invisibility=1_000)
    store.start_worker()
    store.fetch(slots=300)
    store.let_live(TIMEOUT, "w1")
    assert store.tend()
    assert not store.tend()
    assert store.length() == 300


# Who may be given work


def test_late_fetch_gets_nothing(store: Store) -> None:
    """A request that arrives after a later one, or twice, was given up by its worker."""
    store.add("t1")
    store.start_worker()
    store.fetch(nonce=5, slots=0)
    assert store.exchange(nonce=5).status == "late"
    assert store.exchange(nonce=4).status == "late"
    assert store.ready() == ["t1"]
    assert [one.id for one in store.fetch(nonce=6)] == ["t1"]


def test_worker_notices_that_redis_lost_an_exchange(store: Store) -> None:
    """When Redis knows only an earlier one than was answered, the worker must look what it holds."""
    store.add("t1", "t2")
    store.start_worker()
    store.fetch(slots=1)
    before = store.dump()
    store.fetch(slots=1)
    store.client.hset(store.keys.worker("w1"), "nonce", before["worker:w1"]["nonce"])
    assert store.exchange().status == "rewound"


def test_silent_worker_gets_nothing(store: Store) -> None:
    """Not after its time is over; a beat in the meantime makes it alive again."""
    store.add("t1")
    store.start_worker()
    store.later(TIMEOUT)
    assert store.exchange().status == "silent"
    store.beat("w1")
    assert store.exchange().status == "ok"


def test_unknown_worker_gets_nothing(store: Store) -> None:
    """One that never registered, or was taken for dead, must register."""
    store.add("t1")
    assert store.exchange("w9").status == "gone"
    assert "worker:w9" not in store.dump()


def test_paused_system_hands_out_nothing(store: Store) -> None:
    """What runs is settled; nothing is leased until it goes on."""
    store.add("t1", "t2")
    store.start_worker()
    attempt = store.fetch_one()
    done(store.storage.pause(paused=True))
    reply = store.exchange(settlements=[settlement(attempt.id, attempt.token, "done")])
    assert (reply.status, reply.settled, reply.fetched) == ("paused", ["done"], [])
    done(store.storage.pause(paused=False))
    assert [one.id for one in store.fetch()] == ["t2"]


def test_late_copy_of_a_pause_does_nothing(store: Store) -> None:
    """A request to pause that arrives after the next change, from a connection that was slow, changes nothing."""
    done(store.storage.pause(paused=True))
    done(store.storage.pause(paused=False))
    before = store.dump()
    late = {"what": "*", "paused": True, "change": 0, "reason": "", "by": ""}
    assert done(store.driver.run("pause", (store.keys.pauses,), late)) == [2, b""]
    assert store.dump() == before


def test_worker_is_registered_with_what_it_is(store: Store) -> None:
    """Its record tells who it is; a repeated request changes nothing."""
    store.start_worker()
    before = store.dump()
    assert before["worker:w1"] == {name: str(value) for name, value in ABOUT.items()} | {
        "since": str(START),
        "seen": str(START),
    }
    assert before["workers"] == {"w1": START + TIMEOUT}
    store.start_worker()
    assert store.dump() == before
