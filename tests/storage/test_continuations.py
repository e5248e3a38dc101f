"""Continuations: held until their batch ends with the outcome that they wait for, started once, in the same step."""

from typing import Any

import pytest

from tests.storage.store import START, Store, done, new_chunk, new_task

ALL = ["success", "failed", "canceled", "complete"]


def _end(store: Store, outcome: str) -> None:
    """Ends the batch b1, whose only task is ready."""
    if outcome == "canceled":
        done(store.storage.cancel_batch("b1"))
        store.walk("b1")
    else:
        store.start_worker()
        store.settle("done" if outcome == "success" else "dead", *store.fetch())


def _states(store: Store) -> dict[str, str]:
    return {when: store.task(f"b1.0.c{number}").get("s", "gone") for number, when in enumerate(ALL)}


@pytest.mark.parametrize(
    "outcome, states",
    [
        ("success", {"success": "r", "failed": "h", "canceled": "h", "complete": "r"}),
        ("failed", {"success": "h", "failed": "r", "canceled": "h", "complete": "r"}),
        ("canceled", {"success": "gone", "failed": "gone", "canceled": "r", "complete": "r"}),
    ],
)
def test_outcome_starts_those_that_wait_for_it(store: Store, outcome: str, states: dict[str, str]) -> None:
    """The others wait on, unless the batch was canceled: it can never end in another way."""
    store.add_batch("b1", 1, when=ALL)
    assert _states(store) == dict.fromkeys(ALL, "h")
    _end(store, outcome)
    assert _states(store) == states


def test_empty_batch_starts_its_continuations(store: Store) -> None:
    """It has succeeded."""
    store.add_batch("b1", 0, when=["success", "failed"])
    assert store.ready() == ["b1.0.c0"]


def test_batch_that_is_sent_starts_nothing(store: Store) -> None:
    """Its continuations start when it is whole."""
    store.add_batch("b1", 0, when=["success"], last=False)
    assert store.ready() == []
    store.add_chunk(new_chunk("b1", 1))
    assert store.ready() == ["b1.0.c0"]


def test_each_starts_once(store: Store) -> None:
    """A batch that runs again, and ends again, starts only what is held still or was added."""
    store.add_batch("b1", 1, when=["complete", "success"])
    _end(store, "failed")
    store.settle("done", *store.fetch())
    assert done(store.storage.retry_dead("default", ["b1.0.0"], None, None)) == ["b1.0.0"]
    store.add_chunk(new_chunk("b1", producer="a", new=False), [], [new_task(awaited="complete")])
    store.settle("done", *store.fetch())
    assert store.ready() == ["b1.0.c1", "b1.a0.c0"]


@pytest.mark.parametrize(
    "when, due", [({"wait": 5_000}, START + 15_000), ({"wait_until": START + 12_000}, START + 12_000)]
)
def test_delay_counts_from_the_end(store: Store, when: dict[str, Any], due: int) -> None:
    """A delay begins when the batch ends; an instant stays what it is."""
    store.add_chunk(new_chunk("b1"), [new_task()], [new_task(awaited="success", **when)])
    store.later(10_000)
    _end(store, "success")
    assert store.index("default", "delayed") == {"b1.0.c0": due}
    assert {"y", "z"}.isdisjoint(store.task("b1.0.c0"))
    store.later(5_000)
    store.beat("w1")
    assert [one.id for one in store.fetch()] == ["b1.0.c0"]


def test_delay_that_ends_in_a_fetch_is_in_its_answer(store: Store) -> None:
    """A fetch that ends a batch, by passing over its last canceled task, tells when the continuation falls due."""
    store.add_chunk(new_chunk("b1"), [new_task()], [new_task(awaited="canceled", wait=700)])
    done(store.storage.cancel_batch("b1"))
    store.start_worker()
    reply = store.exchange()
    assert (reply.fetched, reply.dues) == ([], [START + 700])


def test_continuation_is_of_its_batch_and_not_counted(store: Store) -> None:
    """It carries the batch's id and scope; however it ends, the batch stays as it was."""
    store.add_batch("b1", 1, when=["success"])
    _end(store, "success")
    attempt = store.fetch_one()
    assert (attempt.batch_id, attempt.counted_in, attempt.scope) == ("b1", None, "scope of b1")
    before = store.batch("b1")
    store.settle("dead", attempt, us=5)
    assert store.batch("b1") == before
    assert done(store.storage.retry_dead("default", [attempt.id], None, None)) == [attempt.id]
    assert store.batch("b1") == before


def test_continuation_of_a_canceled_batch_runs(store: Store) -> None:
    """The cancel is for the tasks of the batch, not for what waited for it."""
    store.add_batch("b1", 1, when=["canceled"])
    _end(store, "canceled")
    store.start_worker()
    assert store.settle("done", store.fetch_one()) == ["done"]


def test_held_continuation_goes_with_its_batch(store: Store) -> None:
    """When the batch is cleaned up, nothing of it is left."""
    store.add_batch("b1", 0, when=["failed"])
    done(store.storage.clean_up(0))
    assert store.dump().keys() == {"meta", "queues"} & store.dump().keys()


def test_many_batches_start_theirs_in_one_step(store: Store) -> None:
    """One settle of the last tasks of several batches starts the continuations of all."""
    for number in range(5):
        store.add_batch(f"b{number}", 1, when=["success"])
    store.start_worker()
    store.settle("done", *store.fetch())
    assert sorted(store.ready()) == [f"b{number}.0.c0" for number in range(5)]
