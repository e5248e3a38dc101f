"""Batches: whole or canceled, counted exactly, ended once."""

import pytest

from tests.storage.store import START, Store, done, new_chunk, new_task


def test_batch_is_stored_whole(store: Store) -> None:
    """Its record, its tasks by their number, and its place among the batches of its tenant."""
    assert store.add_batch("b1", 2) == ["b1.0.0", "b1.0.1"]
    assert store.batch("b1") == {
        "tenant": "acme", "queue": "default", "scope": "scope of b1", "start": str(START), "total": "2", "done": "0",
        "failed": "0", "canceled": "0", "duration": "0",
    }  # fmt: skip
    assert store.ready() == ["b1.0.0", "b1.0.1"]
    assert store.dump()["batches:acme"] == {"b1": START}


def test_batch_ends_with_its_last_task(store: Store) -> None:
    """Not before, and at that time; the run times of all attempts are added."""
    store.add_batch("b1", 2)
    store.start_worker()
    first, second = store.fetch()
    store.settle("done", first, us=1_000)
    assert "end" not in store.batch("b1")
    store.later(50)
    store.settle("done", second, us=500)
    assert store.batch("b1")["end"] == str(START + 50)
    assert store.dump()["ended"] == {"b1": START + 50}
    assert (store.counts("b1"), store.batch("b1")["duration"]) == ((2, 2, 0, 0), "1500")


def test_attempt_without_run_time_is_settled(store: Store) -> None:
    """One that ended before it began, as at a shutdown, has no run time to be added."""
    store.add_batch("b1", 1)
    store.start_worker()
    assert store.settle("release", store.fetch_one()) == ["released"]
    assert store.ready() == ["b1.0.0"]


@pytest.mark.parametrize("outcome, counts", [("done", (1, 1, 0, 0)), ("dead", (1, 0, 1, 0)), ("discard", (1, 0, 1, 0))])
def test_each_end_is_counted(store: Store, outcome: str, counts: tuple[int, int, int, int]) -> None:
    """A dead or discarded task has failed, and its batch does not wait for it."""
    store.add_batch("b1", 1)
    store.start_worker()
    store.settle(outcome, store.fetch_one())
    assert store.counts("b1") == counts
    assert "end" in store.batch("b1")


@pytest.mark.parametrize("outcome", ["retry", "release"])
def test_what_is_tried_again_is_not_counted(store: Store, outcome: str) -> None:
    """A task that runs again remains."""
    store.add_batch("b1", 1)
    store.start_worker()
    store.settle(outcome, store.fetch_one())
    assert store.counts("b1") == (1, 0, 0, 0)


def test_empty_batch_ends_at_once(store: Store) -> None:
    """There is nothing to wait for."""
    store.add_batch("b1", 0)
    assert store.batch("b1")["end"] == str(START)


def test_batch_of_several_chunks_ends_when_it_is_whole(store: Store) -> None:
    """While its producer sends, it does not end, though all of its tasks have."""
    store.add_batch("b1", 1, last=False)
    store.start_worker()
    store.settle("done", store.fetch_one())
    assert "end" not in store.batch("b1")
    assert store.add_chunk(new_chunk("b1", 1)) == "ok"
    assert "end" in store.batch("b1")
    assert "open" not in store.dump()


def test_batch_waits_for_all_producers(store: Store) -> None:
    """Each of those that append at the same time seals its own part."""
    store.add_batch("b1", 0, last=False)
    assert store.add_chunk(new_chunk("b1", producer="a", new=False, last=False)) == "ok"
    assert store.add_chunk(new_chunk("b1", 1)) == "ok"
    assert "end" not in store.batch("b1")
    assert store.add_chunk(new_chunk("b1", 1, producer="a")) == "ok"
    assert "end" in store.batch("b1")


def test_chunk_is_added_once(store: Store) -> None:
    """A repeated request changes nothing, also when the batch has gone on meanwhile."""
    store.add_batch("b1", 2, when=["success"], last=False)
    store.add_chunk(new_chunk("b1", 1), [new_task()])
    before = store.dump()
    assert store.add_chunk(new_chunk("b1", last=False), [new_task()] * 2, [new_task(awaited="success")]) == "ok"
    assert store.add_chunk(new_chunk("b1", 1), [new_task()]) == "ok"
    assert store.dump() == before


def test_chunk_after_a_lost_one_is_refused(store: Store) -> None:
    """A batch with a gap cannot be made whole: its producer must know."""
    store.add_batch("b1", 1, last=False)
    before = store.dump()
    assert store.add_chunk(new_chunk("b1", 2), [new_task()]) == "broken"
    assert store.dump() == before


@pytest.mark.parametrize("chunk", [new_chunk("b2", new=False), new_chunk("b1", producer="a", new=False, tenant="bolt")])
def test_append_to_an_unknown_batch_is_refused(store: Store, chunk: object) -> None:
    """A batch that is not there, or another tenant's, is missing."""
    store.add_batch("b1", 1)
    before = store.dump()
    assert store.add_chunk(chunk, [new_task()]) == "missing"  # type: ignore[arg-type]
    assert store.dump() == before


def test_append_to_a_canceled_batch_is_refused(store: Store) -> None:
    """Nothing comes to a canceled batch any more."""
    store.add_batch("b1", 1)
    done(store.storage.cancel_batch("b1"))
    before = store.dump()
    assert store.add_chunk(new_chunk("b1", producer="a", new=False), [new_task()]) == "canceled"
    assert store.dump() == before


def test_batch_has_at_most_a_hundred_continuations(store: Store) -> None:
    """What is one too many is refused with all of its chunk."""
    store.add_batch("b1", 1, when=["success"] * 60)
    more = new_chunk("b1", producer="a", new=False)
    assert store.add_chunk(more, [], [new_task(awaited="failed")] * 41) == "full"
    assert store.add_chunk(more, [], [new_task(awaited="failed")] * 40) == "ok"


def test_append_opens_an_ended_batch(store: Store) -> None:
    """It runs again, is not cleaned up meanwhile, and ends again."""
    store.add_batch("b1", 0)
    store.later(1_000)
    assert store.add_chunk(new_chunk("b1", producer="a", new=False), [new_task()]) == "ok"
    assert "end" not in store.batch("b1")
    assert "ended" not in store.dump()
    store.start_worker()
    store.settle("done", store.fetch_one())
    assert store.batch("b1")["end"] == str(START + 1_000)


def test_tasks_of_a_batch_go_their_own_ways(store: Store) -> None:
    """Each has its queue and delay; all know the scope of their batch."""
    store.add_batch("b1", [new_task(queue="low"), new_task(after=1_000), new_task(queue="jobs[fair]")])
    store.start_worker()
    store.later(1_000)
    fetched = store.fetch(queues=("default", "low", "jobs[fair]"))
    assert [one.id for one in fetched] == ["b1.0.1", "b1.0.0", "b1.0.2"]
    assert {(one.batch_id, one.scope) for one in fetched} == {("b1", "scope of b1")}
