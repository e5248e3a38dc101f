"""Cancels: nothing more is handed out, whatever ends counts as canceled, and all is counted in bounded steps."""

import pytest

from tests.storage.store import START, TIMEOUT, Store, done, new_chunk, new_task

# Batches


def test_cancel_marks_the_batch(store: Store) -> None:
    """From then on nothing of it is handed out, though its tasks are still in their queues."""
    store.add_batch("b1", 2)
    store.add("t1")
    store.start_worker()
    assert done(store.storage.cancel_batch("b1"))
    assert store.batch("b1")["cancel"] == str(START)
    assert done(store.storage.canceled()) == ["b1"]
    assert [one.id for one in store.fetch()] == ["t1"]


def test_walk_counts_queued_tasks(store: Store) -> None:
    """Ready and delayed ones are counted and gone; the batch ends when no task of it runs."""
    store.add_batch("b1", [new_task(), new_task(), new_task(after=5_000)])
    store.start_worker()
    attempt = store.fetch_one()
    done(store.storage.cancel_batch("b1"))
    store.walk("b1")
    assert store.counts("b1") == (3, 0, 0, 2)
    assert "end" not in store.batch("b1")
    assert (store.length(), store.index("default", "delayed")) == (0, {})
    assert store.settle("done", attempt) == ["canceled"]
    assert store.counts("b1") == (3, 0, 0, 3)
    assert store.batch("b1")["end"] == str(START)
    assert done(store.storage.canceled()) == []


@pytest.mark.parametrize("outcome", ["done", "retry", "dead", "discard", "release"])
def test_whatever_ends_counts_as_canceled(store: Store, outcome: str) -> None:
    """However an attempt of a canceled batch ended, its task is canceled, and its run time counts."""
    store.add_batch("b1", 1)
    store.start_worker()
    attempt = store.fetch_one()
    done(store.storage.cancel_batch("b1"))
    assert store.settle(outcome, attempt, us=70) == ["canceled"]
    assert (store.counts("b1"), store.batch("b1")["duration"]) == ((1, 0, 0, 1), "70")
    assert store.task("b1.0.0") == {}


def test_lost_attempts_of_a_canceled_batch_are_counted(store: Store) -> None:
    """Those of a dead worker, of one that ended, of a lost reply, and those that ran too long."""
    store.add_batch("b1", [new_task()] * 3 + [new_task(invisibility=1_000)])
    for worker in ("dead", "ended", "unsure", "w0"):
        store.start_worker(worker)
        store.fetch_one(worker)
    done(store.storage.cancel_batch("b1"))
    done(store.storage.leave("ended"))
    done(store.storage.resync("unsure", 1, []))
    store.let_live(2 * TIMEOUT, "w0", "unsure")
    store.reap()
    store.tend()
    assert store.counts("b1") == (4, 0, 0, 4)


def test_delayed_tasks_of_a_canceled_batch_do_not_start(store: Store) -> None:
    """When they fall due before the walk has come to them, they are counted."""
    store.add_batch("b1", [new_task(after=1_000)])
    done(store.storage.cancel_batch("b1"))
    store.start_worker()
    store.later(1_000)
    assert store.fetch() == []
    assert store.counts("b1") == (1, 0, 0, 1)


def test_dead_tasks_stay_failed(store: Store) -> None:
    """What had ended before the cancel stays as it is, and cannot run again."""
    store.add_batch("b1", 2)
    store.start_worker()
    store.settle("dead", store.fetch_one())
    done(store.storage.cancel_batch("b1"))
    store.walk("b1")
    assert store.counts("b1") == (2, 0, 1, 1)
    assert done(store.storage.retry_dead("default", ["b1.0.0"], None, None)) == []


def test_cancel_is_repeated_safely_and_comes_too_late(store: Store) -> None:
    """True as long as the batch is canceling or canceled; False when it ended before."""
    store.add_batch("b1", 1)
    assert done(store.storage.cancel_batch("b1"))
    store.later(5)
    before = store.dump()
    assert done(store.storage.cancel_batch("b1"))
    assert store.dump() == before
    store.walk("b1")
    assert done(store.storage.cancel_batch("b1"))
    store.add_batch("b2", 0)
    assert not done(store.storage.cancel_batch("b2"))
    assert not done(store.storage.cancel_batch("b3"))


def test_tenant_cancels_only_its_own(store: Store) -> None:
    """Another tenant's batch or task is unknown."""
    store.add_batch("b1", 1)
    store.add("t1")
    before = store.dump()
    assert not done(store.storage.cancel_batch("b1", "bolt"))
    assert not done(store.storage.cancel_task("t1", "bolt"))
    assert store.dump() == before
    assert done(store.storage.cancel_batch("b1", "acme"))
    assert done(store.storage.cancel_task("t1", "acme"))


def test_walk_takes_whole_chunks_in_steps(store: Store) -> None:
    """One chunk of five hundred a step, or smaller ones that make up as much."""
    store.add_batch("b1", 500, last=False)
    for number in range(1, 5):
        store.add_chunk(new_chunk("b1", number, last=number == 4), [new_task()] * 500)
    done(store.storage.cancel_batch("b1"))
    assert done(store.storage.cancel_queued("b1"))
    assert store.counts("b1") == (2_500, 0, 0, 500)
    for _ in range(3):
        assert done(store.storage.cancel_queued("b1"))
    assert not done(store.storage.cancel_queued("b1"))
    assert store.counts("b1") == (2_500, 0, 0, 2_500)


def test_walk_takes_no_large_chunk_after_a_small_one(store: Store) -> None:
    """So that no step takes long: up to four hundred tasks, or the five hundred of one chunk."""
    store.add_batch("b1", 300, last=False)
    store.add_chunk(new_chunk("b1", 1, last=False), [new_task()] * 100)
    store.add_chunk(new_chunk("b1", 2, last=False), [new_task()] * 399)
    store.add_chunk(new_chunk("b1", 3), [new_task()] * 500)
    done(store.storage.cancel_batch("b1"))
    counts: list[int] = []
    more = True
    while more:
        more = done(store.storage.cancel_queued("b1"))
        counts.append(store.counts("b1")[3])
    assert counts == [400, 799, 1_299]


def test_fetch_passes_over_canceled_tasks_in_steps(store: Store) -> None:
    """Ids of dropped tasks stay in the list; a fetch looks at a thousand of them, and says that there is more."""
    store.add_batch("b1", 500, last=False)
    for number in range(1, 3):
        store.add_chunk(new_chunk("b1", number, last=number == 2), [new_task()] * 500)
    store.add("t1")
    done(store.storage.cancel_batch("b1"))
    store.walk("b1")
    assert store.length() == 1
    store.start_worker()
    reply = store.exchange(slots=5)
    assert (reply.fetched, reply.more) == ([], True)
    assert [one.id for one in store.fetch(slots=5)] == ["t1"]
    assert "queue:default:ready" not in store.dump()


def test_cancel_of_what_is_gone_is_forgotten(store: Store) -> None:
    """After a loss of data nothing waits for the end of a batch that is not there."""
    store.client.zadd(store.keys.canceled, {"b9": START, "t9": START})
    store.walk("b9")
    store.walk("t9")
    assert done(store.storage.canceled()) == []


# Tasks


@pytest.mark.parametrize("options", [{}, {"after": 5_000}, {"queue": "jobs[fair]"}])
def test_queued_task_is_dropped(store: Store, options: dict[str, object]) -> None:
    """A ready or delayed task is gone at once."""
    store.add("t1", **options)
    assert done(store.storage.cancel_task("t1"))
    assert set(store.dump()) <= {"meta", "queues", "tenants", "done"}
    assert not done(store.storage.cancel_task("t1"))


@pytest.mark.parametrize("outcome", ["done", "retry", "dead", "release"])
def test_running_task_is_told(store: Store, outcome: str) -> None:
    """Its worker hears of it; however the attempt ends, it is canceled."""
    store.add("t1")
    store.start_worker()
    attempt = store.fetch_one()
    assert done(store.storage.cancel_task("t1"))
    assert done(store.storage.canceled()) == ["t1"]
    assert store.settle(outcome, attempt) == ["canceled"]
    assert done(store.storage.canceled()) == []
    assert store.task("t1") == {}


def test_task_of_a_batch_is_counted(store: Store) -> None:
    """Its batch goes on without it, and ends as if it had succeeded."""
    store.add_batch("b1", 2, when=["success"])
    store.start_worker()
    done(store.storage.cancel_task("b1.0.0"))
    store.settle("done", *store.fetch())
    assert store.counts("b1") == (2, 1, 0, 1)
    assert store.ready() == ["b1.0.c0"]


def test_held_continuation_is_dropped(store: Store) -> None:
    """It does not start any more, and its batch does not count it."""
    store.add_batch("b1", 1, when=["success", "complete"])
    assert done(store.storage.cancel_task("b1.0.c0"))
    store.start_worker()
    store.settle("done", store.fetch_one())
    assert store.ready() == ["b1.0.c1"]


def test_dead_task_cannot_be_canceled(store: Store) -> None:
    """It has ended; it may be discarded."""
    store.add("t1")
    store.start_worker()
    store.settle("dead", store.fetch_one())
    assert not done(store.storage.cancel_task("t1"))


def test_canceled_task_may_be_enqueued_again(store: Store) -> None:
    """Its id stands in the list twice then, and it is handed out once."""
    store.add("t1", "t2")
    done(store.storage.cancel_task("t1"))
    store.add("t1")
    store.start_worker()
    assert [one.id for one in store.fetch()] == ["t1", "t2"]
    assert "queue:default:ready" not in store.dump()


# Producers that died


def test_abandoned_batch_is_canceled(store: Store) -> None:
    """A minute after the last sign of its producer, not before; then the producer learns it."""
    store.start_worker()
    store.add_batch("b1", 2, last=False)
    store.let_live(59_999, "w1")
    assert not done(store.storage.cancel_abandoned(TIMEOUT))
    assert "cancel" not in store.batch("b1")
    store.later(1)
    assert not done(store.storage.cancel_abandoned(TIMEOUT))
    assert store.batch("b1")["cancel"] == str(store.now)
    assert done(store.storage.keep_open(["b1/"])) == [False]
    assert store.add_chunk(new_chunk("b1", 1), [new_task()]) == "canceled"


def test_batch_is_kept_open(store: Store) -> None:
    """Each sign of its producer gives it another minute."""
    store.start_worker()
    store.add_batch("b1", 1, last=False)
    store.let_live(50_000, "w1")
    assert done(store.storage.keep_open(["b1/", "b1/other"])) == [True, False]
    store.let_live(50_000, "w1")
    done(store.storage.cancel_abandoned(TIMEOUT))
    assert "cancel" not in store.batch("b1")


def test_producers_are_spared_after_an_outage(store: Store) -> None:
    """They could not give a sign either."""
    store.add_batch("b1", 1, last=False)
    store.start_worker()
    store.later(90_000)
    done(store.storage.cancel_abandoned(TIMEOUT))
    assert "cancel" not in store.batch("b1")
    assert done(store.storage.keep_open(["b1/"])) == [True]


def test_abandoned_batches_are_canceled_in_steps(store: Store) -> None:
    """Twenty a step."""
    for number in range(30):
        store.add_batch(f"b{number}", 1, last=False)
    store.start_worker()
    store.let_live(60_000, "w1")
    assert done(store.storage.cancel_abandoned(TIMEOUT))
    assert not done(store.storage.cancel_abandoned(TIMEOUT))
    assert len(done(store.storage.canceled())) == 30
