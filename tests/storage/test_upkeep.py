"""Dead letters, retention, and what is removed when nothing needs it any more."""

import pytest

from taskproc.errors import ConfigurationError
from tests.storage.store import Store, done, new_task


def _bury(store: Store, **options: object) -> None:
    """Enqueues t1 and lets it die."""
    store.enqueue(new_task("t1", **options))  # type: ignore[arg-type]
    store.start_worker()
    store.settle("dead", store.fetch_one())


# Dead letters


@pytest.mark.parametrize("retries, expected", [(None, "3"), (7, "7")])
def test_retried_task_is_as_new(store: Store, retries: int | None, expected: str) -> None:
    """Its failures are forgotten, and how it died; the allowed attempts may be others."""
    store.add("t1")
    before = store.task("t1")
    store.start_worker()
    store.settle("retry", store.fetch_one())
    store.settle("dead", store.fetch_one())
    assert done(store.storage.retry_dead("default", ["t1"], retries, None)) == ["t1"]
    assert store.task("t1") == before | {"n": expected}
    assert store.ready() == ["t1"]
    assert store.index("default", "dead") == {}


def test_batch_of_a_retried_task_runs_again(store: Store) -> None:
    """The failure is taken back, the batch is open, and may end well."""
    store.add_batch("b1", 2)
    store.start_worker()
    store.settle("dead", *store.fetch())
    store.later(10)
    assert done(store.storage.retry_dead("default", ["b1.0.0", "b1.0.1"], None, None)) == ["b1.0.0", "b1.0.1"]
    assert (store.counts("b1"), "end" in store.batch("b1"), "ended" in store.dump()) == ((2, 0, 0, 0), False, False)
    store.settle("done", *store.fetch())
    assert (store.counts("b1"), store.batch("b1")["end"]) == ((2, 2, 0, 0), str(store.now))


def test_task_of_a_forgotten_batch_runs_again(store: Store) -> None:
    """When the batch was cleaned up, there is nothing to count, and nothing comes back of it."""
    store.add_batch("b1", 1)
    store.start_worker()
    store.settle("dead", store.fetch_one())
    done(store.storage.clean_up(0))
    assert done(store.storage.retry_dead("default", ["b1.0.0"], None, None)) == ["b1.0.0"]
    assert store.settle("done", store.fetch_one()) == ["done"]
    assert store.batch("b1") == {}


def test_dead_task_of_a_canceled_batch_that_is_forgotten(store: Store) -> None:
    """It stays dead: nothing runs of what was canceled."""
    store.add_batch("b1", 2)
    store.start_worker()
    store.settle("dead", store.fetch_one())
    assert done(store.storage.cancel_batch("b1"))
    store.walk("b1")
    assert done(store.storage.retry_dead("default", ["b1.0.0"], None, None)) == []
    done(store.storage.clean_up(0))
    assert store.batch("b1") == {}
    assert done(store.storage.retry_dead("default", ["b1.0.0"], None, None)) == []
    assert done(store.storage.discard_dead("default", ["b1.0.0"], None)) == ["b1.0.0"]


def test_discarded_task_stays_failed(store: Store) -> None:
    """It is gone, and its batch counts it as before."""
    store.add_batch("b1", 1)
    store.start_worker()
    store.settle("dead", store.fetch_one())
    before = store.batch("b1")
    assert done(store.storage.discard_dead("default", ["b1.0.0", "b1.0.0"], None)) == ["b1.0.0"]
    assert (store.task("b1.0.0"), store.batch("b1")) == ({}, before)


@pytest.mark.parametrize("named", [("low", ["t1"], None), ("default", ["t2", "t9"], None), ("default", ["t1"], "bolt")])
def test_only_dead_tasks_of_the_queue_and_tenant(store: Store, named: tuple[str, list[str], str | None]) -> None:
    """In another queue, alive, unknown or another tenant's: nothing happens."""
    _bury(store)
    store.add("t2")
    queue, ids, tenant = named
    before = store.dump()
    assert done(store.storage.retry_dead(queue, ids, None, tenant)) == []
    assert done(store.storage.discard_dead(queue, ids, tenant)) == []
    assert store.dump() == before


# Retention


def test_ended_batch_stays_for_its_retention(store: Store) -> None:
    """It counts from the end, not from the start; a batch that runs is never removed."""
    store.add_batch("b1", 1)
    store.add_batch("b2", 1)
    store.start_worker()
    store.later(5_000)
    store.settle("done", store.fetch_one())
    store.later(999)
    assert not done(store.storage.clean_up(1_000))
    assert store.batch("b1") != {}
    store.later(1)
    assert not done(store.storage.clean_up(1_000))
    assert store.batch("b1") == {}
    assert [key for key in store.dump() if ":b1" in key] == []
    store.later(10**9)
    done(store.storage.clean_up(1_000))
    assert store.batch("b2") != {}


def test_cleaning_up_goes_in_steps(store: Store) -> None:
    """A hundred batches a step."""
    for number in range(150):
        store.add_batch(f"b{number:x}", 0)
    assert done(store.storage.clean_up(0))
    assert not done(store.storage.clean_up(0))
    assert "batches:acme" not in store.dump()


def test_tenant_without_batches_is_forgotten(store: Store) -> None:
    """After it has sent nothing for as long as batches are kept; one that has batches stays."""
    store.add("t1", tenant="acme")
    store.add_batch("b1", 1, tenant="bolt")
    store.later(1_000)
    done(store.storage.clean_up(1_000))
    assert store.dump()["tenants"] == {"bolt": store.now}


def test_empty_queue_is_forgotten(store: Store) -> None:
    """A queue stays on the list while it has ready, delayed, leased or dead tasks."""
    _bury(store)
    assert not done(store.storage.forget_queue("default"))
    done(store.storage.discard_dead("default", ["t1"], None))
    assert done(store.storage.forget_queue("default"))
    assert "queues" not in store.dump()


@pytest.mark.parametrize("options", [{}, {"after": 1_000}])
def test_used_queue_is_not_forgotten(store: Store, options: dict[str, int]) -> None:
    """Neither while a task waits in it, nor while one runs."""
    store.add("t1", **options)
    assert not done(store.storage.forget_queue("default"))
    store.later(1_000)
    store.start_worker()
    store.fetch_one()
    assert not done(store.storage.forget_queue("default"))
    assert store.dump()["queues"] == {"default"}


# The layout


def test_prefix_is_marked_with_its_layout(store: Store) -> None:
    """An unused prefix gets this version's; data of another one are refused."""
    done(store.storage.open_store())
    done(store.storage.open_store())
    store.client.hset(store.keys.meta, "schema", "99")
    with pytest.raises(ConfigurationError, match="layout 99"):
        done(store.storage.open_store())
