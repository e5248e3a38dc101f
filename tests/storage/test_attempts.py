"""What a record tells of the attempts so far, and since when a task is ready."""

import time
from typing import cast

import msgspec
import pytest

from taskproc.models import AttemptInfo
from taskproc.rows import attempt_infos
from tests.storage.store import START, TIMEOUT, Store, done


def attempts(store: Store, task_id: str) -> list[AttemptInfo]:
    """What the record of a task tells."""
    return attempt_infos(told(store, task_id, "a"))


def told(store: Store, task_id: str, field: str) -> bytes | None:
    """A field of a record, as it stands there."""
    return cast("bytes | None", store.client.hget(store.keys.task(task_id), field))


def ms(attempt: AttemptInfo) -> tuple[int, int]:
    """Begin and end, in milliseconds since the clock of the tests began."""
    assert attempt.ended is not None
    return round(attempt.started.timestamp() * 1000) - START, round(attempt.ended.timestamp() * 1000) - START


def test_failed_attempts_are_told_of(store: Store) -> None:
    """Each with its worker, begin, end and error, in order; the one that lets the task die is the last."""
    store.add("t1", retries=2)
    for worker in ("w1", "w2"):
        store.start_worker(worker)
    first = store.fetch_one("w1")
    store.later(1_000)
    store.settle("retry", first, us=400_000, type="OSError", message="away")
    store.later(2_000)
    store.settle("dead", store.fetch_one("w2"), us=1_000_000, type="ValueError", message="no")
    found = attempts(store, "t1")
    assert [(one.number, one.outcome, one.worker, one.error_type, one.error_message) for one in found] == [
        (1, "failed", "w1", "OSError", "away"),
        (2, "failed", "w2", "ValueError", "no"),
    ]
    assert [ms(one) for one in found] == [(600, 1_000), (2_000, 3_000)]


def test_attempts_that_do_not_count_are_told_of(store: Store) -> None:
    """One that was given back, one that its worker did not know, one whose worker died, one that nobody ended."""
    store.add("t1", invisibility=5_000)
    store.start_worker("w1")
    store.settle("release", store.fetch_one("w1"))
    store.settle("release", store.fetch_one("w1"), unknown=True, delay=0)
    store.fetch_one("w1")
    store.start_worker("w2")
    store.let_live(TIMEOUT + 1, "w2")
    assert store.reap() == (True, [])
    began = store.now - START
    store.fetch_one("w2")
    store.let_live(8_000, "w2")
    store.tend()
    outcomes = ["released", "released", "lost", "failed"]
    found = attempts(store, "t1")
    assert [one.outcome for one in found] == outcomes
    assert ms(found[2])[0] == 0
    assert ms(found[3])[0] == began
    assert found[3].error_type == "TaskTimeoutError"


def test_begin_of_an_extended_lease_is_known(store: Store) -> None:
    """However often it is extended; the next attempt begins anew."""
    store.add("t1", invisibility=5_000)
    store.start_worker()
    attempt = store.fetch_one()
    for _ in range(2):
        store.later(1_000)
        assert done(store.storage.extend([("t1", attempt.token, 60_000)])) == [True]
    assert told(store, "t1", "h") == str(START).encode()
    store.settle("retry", attempt)
    assert told(store, "t1", "h") is None


def test_many_attempts_take_bounded_room(store: Store) -> None:
    """The last ones are kept, with their numbers; a long message is cut between characters."""
    store.add("t1", retries=100)
    store.start_worker()
    for _ in range(50):
        store.settle("retry", store.fetch_one(), type="ValueError", message="x" + "ü" * 1_000)
    found = attempts(store, "t1")
    assert [one.number for one in found] == list(range(51 - len(found), 51))
    assert len(found) >= 10
    assert found[-1].error_message == "x" + "ü" * 149
    assert len(told(store, "t1", "a") or b"") < 7_000


ENDLESS = msgspec.msgpack.encode(["failed", "w1", 1e300, 1e300, "", ""])


@pytest.mark.parametrize(
    "damaged",
    [b"nothing", b"3 5:abc", b"1 -3:abc", b"x 9999999999:a", b"1 2:\xc1\xc1", b"1 %d:%s" % (len(ENDLESS), ENDLESS)],
)
def test_damaged_attempts_stop_nothing(store: Store, damaged: bytes) -> None:
    """They are not told of, and the next attempt begins the list anew."""
    store.add("t1")
    store.client.hset(store.keys.task("t1"), "a", damaged)
    assert attempts(store, "t1") == []
    store.start_worker()
    store.settle("retry", store.fetch_one())
    assert (told(store, "t1", "s"), told(store, "t1", "f")) == (b"r", b"1")


def test_huge_list_of_attempts_is_dropped(store: Store) -> None:
    """Cut down entry by entry it would hold Redis up for minutes."""
    store.add("t1")
    store.client.hset(store.keys.task("t1"), "a", b"9 " + b"0:" * 500_000)
    store.start_worker()
    began = time.monotonic()
    store.settle("retry", store.fetch_one(), type="T", message="m")
    assert time.monotonic() - began < 5
    assert [one.number for one in attempts(store, "t1")] == [1]


def test_worker_is_not_told_of_attempts(store: Store) -> None:
    """They would only make the reply longer; but since when the task is ready."""
    store.add("t1", after=3_000)
    store.start_worker()
    assert store.fetch() == []
    store.later(3_500)
    attempt = store.fetch_one()
    assert (attempt.enqueued_at, attempt.ready_since) == (START, START + 3_500)
    store.later(1_000)
    store.settle("retry", attempt, type="T", message="m")
    keys, arg = (store.keys.workers,), {"slots": 1, "queues": ["default"], "max_recoveries": 3}
    request = arg | {"worker": "w1", "nonce": store.next_nonce("w1"), "known": 0}
    reply = done(store.driver.run("exchange", keys, {"request": request, "done": [], "others": []}))
    record = msgspec.msgpack.decode(reply[5][0])
    assert ("a" in record, int(record["r"])) == (False, START + 4_500)


def test_oldest_task_of_a_queue(store: Store) -> None:
    """Since when the next in line is ready: tombstones do not count, in a fair queue the oldest of the lanes does."""
    store.add_batch("b1", 1)
    store.later(1_000)
    store.add("t2")
    store.add("f1", queue="q[fair]", tenant="late")
    store.later(1_000)
    store.add("f2", queue="q[fair]", tenant="later")
    done(store.storage.cancel_batch("b1"))
    store.walk("b1")
    rows = done(store.storage.driver.run("read_queues", arg={"queues": ["default", "q[fair]", "no"], "tenants": 10}))
    assert [int(row[5]) for row in rows] == [START + 1_000, START + 1_000, 0]
