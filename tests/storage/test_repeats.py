"""Requests whose first reply was lost: the driver sends the same bytes again, and the answer is the same."""

from typing import Any

import msgspec
import pytest

from taskproc.records import ScheduleRecord
from tests.storage.store import Store, done

SCHEDULE = ScheduleRecord(
    tenant="acme", queue="default", scope="", cron="* * * * *", timezone="UTC", seconds=0, retries=1,
    invisibility=60_000, call="mail.send",
)  # fmt: skip
MINUTE = 60_000


@pytest.mark.parametrize("options", [{}, {"after": 1_000}, {"queue": "jobs[fair]"}])
def test_cancel_of_a_queued_task(store: Store, options: dict[str, Any]) -> None:
    """It was canceled, though it is gone at the second time; whoever asks anew learns that it is unknown."""
    store.add("t1", **options)
    store.lose_reply()
    assert done(store.storage.cancel_task("t1"))
    assert not done(store.storage.cancel_task("t1"))


def test_cancel_of_a_running_task(store: Store) -> None:
    """It ends in between."""
    store.add("t1")
    store.start_worker()
    attempt = store.fetch_one()
    store.lose_reply(lambda: store.settle("done", attempt))
    assert done(store.storage.cancel_task("t1"))


def test_cancel_of_a_held_continuation(store: Store) -> None:
    """Likewise."""
    store.add_batch("b1", 1, when=["success"])
    store.lose_reply()
    assert done(store.storage.cancel_task("b1.0.c0"))


def test_cancel_of_a_task_that_comes_back(store: Store) -> None:
    """A task of the same id that was enqueued in between is not canceled."""
    store.add("t1")
    store.lose_reply(lambda: store.add("t1"))
    assert done(store.storage.cancel_task("t1"))
    assert store.ready() == ["t1"]


def test_retry_of_a_dead_task(store: Store) -> None:
    """It died again in between, and is not revived twice."""
    store.add("t1")
    store.start_worker()
    store.settle("dead", store.fetch_one())
    store.lose_reply(lambda: store.settle("dead", store.fetch_one()))
    assert done(store.storage.retry_dead("default", ["t1"], None, None)) == []
    assert store.task("t1")["s"] == "x"


def test_cancel_of_a_schedule(store: Store) -> None:
    """It was removed, though it is unknown at the second time."""
    done(store.storage.upsert_schedule("s1", SCHEDULE, b"", store.now + MINUTE, None))
    store.lose_reply()
    assert done(store.storage.cancel_schedule("s1", None))
    assert not done(store.storage.cancel_schedule("s1", None))


def test_upsert_of_a_schedule(store: Store) -> None:
    """It was changed in between, or removed: what came later holds."""
    other = msgspec.structs.replace(SCHEDULE, cron="0 * * * *")

    def upsert(said: ScheduleRecord) -> int | None:
        return done(store.storage.upsert_schedule("s1", said, b"", store.now + MINUTE, None))

    store.lose_reply(lambda: upsert(other))
    assert upsert(SCHEDULE) == store.now + MINUTE
    assert store.dump()["schedule:s1"]["cron"] == "0 * * * *"
    store.lose_reply(lambda: done(store.storage.cancel_schedule("s1", None)))
    upsert(SCHEDULE)
    assert "schedule:s1" not in store.dump()


def test_trigger_of_a_schedule(store: Store) -> None:
    """The task of its cycle ended in between, as did that of another one; it is not started again."""
    done(store.storage.upsert_schedule("s1", SCHEDULE, b"", store.now + MINUTE, None))
    store.start_worker()

    def run_both() -> None:
        store.settle("done", store.fetch_one())
        assert done(store.storage.trigger_schedule("s1", None, "t2", dead_is_busy=False))
        store.settle("done", store.fetch_one())

    store.lose_reply(run_both)
    assert done(store.storage.trigger_schedule("s1", None, "t1", dead_is_busy=False))
    assert store.ready() == []


def test_what_was_done_is_forgotten(store: Store) -> None:
    """A minute later, by the next such request or by cleaning up; nothing is left of it."""
    store.add(*(f"t{number}" for number in range(600)))
    for number in range(600):
        assert done(store.storage.cancel_task(f"t{number}"))
    assert len(store.dump()["done"]) == 600
    store.later(MINUTE)
    assert done(store.storage.clean_up(MINUTE))
    assert not done(store.storage.clean_up(MINUTE))
    assert "done" not in store.dump()
