"""Workers that died, froze, ended or lost a reply: what they held goes back, counted for what it was."""

from collections.abc import Callable

import pytest

from taskproc.records import Attempt
from tests.storage.store import START, TIMEOUT, Store, done, new_task

FAIR = "jobs[fair]"


def _let_others_die(store: Store) -> None:
    """Of all workers only w0 gives signs of life."""
    store.start_worker("w0")
    store.let_live(TIMEOUT + 5_000, "w0")


def _lose(store: Store, times: int, *ids: str) -> None:
    """So many workers die while they run these tasks alone."""
    for number in range(times):
        store.start_worker(f"lost{number}")
        assert {one.id for one in store.fetch(f"lost{number}", max_recoveries=9)} == set(ids)
        _let_others_die(store)
        while store.reap(max_recoveries=9)[0]:
            pass


def test_dead_workers_tasks_go_back(store: Store) -> None:
    """To the end of their queue, with no attempt used; the worker is forgotten."""
    store.add("t1", "t2", "t3")
    store.start_worker()
    store.fetch(slots=2)
    _let_others_die(store)
    assert store.reap() == (True, [])
    assert store.ready()[0] == "t3"
    assert sorted(store.ready()) == ["t1", "t2", "t3"]
    assert {(store.task(id_).get("f"), store.task(id_)["o"]) for id_ in ("t1", "t2")} == {(None, "1")}
    assert "worker:w1" not in store.dump()
    assert store.reap() == (False, [])


def test_worker_that_beats_is_left_alone(store: Store) -> None:
    """Its tasks stay its own, however long they run."""
    store.add("t1")
    store.start_worker()
    attempt = store.fetch_one()
    store.let_live(6 * TIMEOUT, "w1")
    assert store.reap() == (False, [])
    assert store.settle("done", attempt) == ["done"]


def test_dead_worker_that_wakes_up_changes_nothing(store: Store) -> None:
    """It cannot hand in what was taken back, nor beat, nor fetch: it must begin anew."""
    store.add("t1")
    store.start_worker()
    lost = store.fetch_one()
    _let_others_die(store)
    store.reap()
    assert not done(store.storage.beat("w1", TIMEOUT))
    assert store.exchange("w1").status == "gone"
    assert store.settle("done", lost) == ["stale"]
    assert done(store.storage.resync("w1", 9, [(lost.id, lost.token)])) == (False, [0])
    assert store.ready() == ["t1"]


def test_many_tasks_go_back_in_steps(store: Store) -> None:
    """Two hundred a step; meanwhile the worker is dead already, and what it still holds may be settled."""
    store.add(*(f"t{number}" for number in range(450)))
    store.start_worker()
    attempts = store.fetch(slots=450)
    _let_others_die(store)
    assert store.reap() == (True, [])
    assert store.length() == 200
    assert not done(store.storage.beat("w1", TIMEOUT))
    kept = [one for one in attempts if store.task(one.id)["s"] == "l"]
    assert store.settle("done", *kept[:50]) == ["done"] * 50
    assert store.reap() == (True, [])
    assert store.reap() == (False, [])
    assert store.length() == 400


def test_task_that_kills_its_workers_is_buried(store: Store) -> None:
    """The third take-back is the last; who decides it learns what was lost."""
    store.add_batch("b1", 1, when=["failed"])
    _lose(store, 2, "b1.0.0")
    store.start_worker()
    store.fetch_one()
    _let_others_die(store)
    more, lost = store.reap()
    assert (more, [(one.id, one.scope, one.attempt) for one in lost]) == (True, [("b1.0.0", "scope of b1", 1)])
    assert store.task("b1.0.0")["error_type"] == "WorkerLost"
    assert store.counts("b1") == (1, 0, 1, 0)
    assert store.ready() == ["b1.0.c0"]


def test_retry_forgets_take_backs(store: Store) -> None:
    """A dead task that is made ready again may be taken back as often as a new one."""
    store.add("t1")
    _lose(store, 1, "t1")
    store.start_worker()
    store.settle("dead", store.fetch_one())
    done(store.storage.retry_dead("default", ["t1"], None, None))
    assert "o" not in store.task("t1")


# Outages: when nobody beats, nobody is dead


def test_nobody_is_dead_after_an_outage(store: Store) -> None:
    """When Redis was away all seem dead: each gets a whole time-out to beat, and then it counts again."""
    store.add("t1", "t2")
    store.start_worker("w1")
    store.start_worker("w2")
    store.fetch_one("w1")
    store.fetch_one("w2")
    store.later(3 * TIMEOUT)
    assert store.reap() == (False, [])
    store.tend()
    store.let_live(TIMEOUT - 1, "w1")
    assert store.reap() == (False, [])
    store.later(1)
    assert store.reap() == (True, [])
    assert store.ready() == ["t2"]


def test_overdue_attempts_are_spared_after_an_outage(store: Store) -> None:
    """Their workers could not say what came of them."""
    store.add("t1", invisibility=1_000)
    store.start_worker()
    store.fetch_one()
    store.later(3 * TIMEOUT)
    store.tend()
    assert store.task("t1")["s"] == "l"
    store.let_live(TIMEOUT, "w1")
    store.tend()
    assert store.task("t1")["s"] == "r"


def test_clock_that_was_put_back_kills_nobody(store: Store) -> None:
    """After a jump of Redis's clock into the past the wait for signs of life begins anew, and ends."""
    store.start_worker()
    store.later(-100 * TIMEOUT)
    assert store.reap() == (False, [])
    assert int(store.dump()["meta"]["hold"]) == store.now + TIMEOUT


HOUR = 3_600_000


def test_clock_that_is_put_forward_fails_no_attempt(store: Store) -> None:
    """Its worker lives, and says itself when its time is over; only when it does not, its whole time later."""
    store.add("t1")
    store.start_worker()
    attempt = store.fetch_one()
    store.let_live(30_000, "w1")
    store.later(HOUR)
    store.beat("w1")
    for _ in range(12):
        store.let_live(5_000, "w1")
        store.reap()
        store.tend()
        assert store.task("t1")["l"] == attempt.token
    assert store.index("default", "leased") == {"t1": store.now}
    store.let_live(2_000, "w1")
    store.tend()
    assert store.task("t1")["f"] == "1"


@pytest.mark.parametrize("step", [HOUR, -HOUR])
@pytest.mark.parametrize("first", ["beat", "reap", "tend", "abandoned", "register"])
def test_clock_that_is_set_lets_the_dead_rest(store: Store, step: int, first: str) -> None:
    """Whichever script notices it, a worker that died just before is taken back soon, and one that lives is not."""
    store.add("t1", "t2")
    store.start_worker("w1")
    store.start_worker("w2")
    store.fetch_one("w1")
    living = store.fetch_one("w2")
    store.let_live(TIMEOUT // 2, "w2")
    store.later(step)
    notices: dict[str, Callable[[], object]] = {
        "beat": lambda: store.beat("w2"),
        "reap": store.reap,
        "tend": store.tend,
        "abandoned": lambda: done(store.storage.cancel_abandoned(TIMEOUT)),
        "register": lambda: store.start_worker("w3"),
    }
    notices[first]()
    store.let_live(TIMEOUT, "w2")
    while store.reap()[0]:
        pass
    store.tend()
    assert store.ready() == ["t1"]
    assert store.settle("done", living, worker="w2") == ["done"]


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_clock_that_is_set_spares_producers(store: Store, step: int) -> None:
    """One that lives goes on sending; one that died has not got its batch canceled an hour late."""
    store.add_batch("b1", 1, last=False)
    store.add_batch("b2", 1, last=False)
    store.start_worker()
    store.later(step)
    for _ in range(4):
        store.let_live(15_000, "w1")
        done(store.storage.cancel_abandoned(TIMEOUT))
        assert "cancel" not in store.batch("b1")
        assert done(store.storage.keep_open(["b1/"])) == [True]
    store.let_live(15_000, "w1")
    done(store.storage.cancel_abandoned(TIMEOUT))
    assert "cancel" in store.batch("b2")
    assert "cancel" not in store.batch("b1")


# Suspects: a task whose next take-back would be its last


@pytest.mark.parametrize("queue", ["default", FAIR])
def test_worker_gets_one_suspect_at_a_time(store: Store, queue: str) -> None:
    """Of tasks that may kill their worker it gets one, and others beside it; the next one when that has ended."""
    for id_ in ("s1", "s2", "s3"):
        store.enqueue(new_task(id_, queue, tenant=f"tenant-{id_}"))
        store.client.hset(store.keys.task(id_), "o", 2)
    store.add("t1", "t2", queue=queue)
    store.start_worker()
    reply = store.exchange(queues=(queue,))
    assert ([one.id for one in reply.fetched], reply.more) == (["s1", "t1", "t2"], False)
    assert _ids(store.exchange(queues=(queue,)).fetched) == []
    store.settle("done", *reply.fetched[:1])
    assert len(store.fetch(queues=(queue,))) == 1
    store.start_worker("w2")
    assert len(store.fetch("w2", queues=(queue,))) == 1


def test_task_that_is_no_suspect_any_more_holds_nobody_up(store: Store) -> None:
    """A suspect that died and was made ready again is like any other task."""
    store.add("s1", "s2")
    for id_ in ("s1", "s2"):
        store.client.hset(store.keys.task(id_), "o", 2)
    store.start_worker()
    store.settle("dead", *store.fetch())
    done(store.storage.retry_dead("default", ["s1"], None, None))
    assert sorted(_ids(store.fetch())) == ["s1", "s2"]


def _ids(attempts: list[Attempt]) -> list[str]:
    return [one.id for one in attempts]


# Lost replies, and the end of a worker


def test_resync_gives_back_what_the_worker_does_not_know(store: Store) -> None:
    """The reply to a fetch was lost: its tasks go to the head, unused; the worker learns what it has lost itself."""
    store.add("t1", "t2", "t3", "t4")
    store.start_worker()
    known = store.fetch(slots=2)
    store.settle("release", known[1])
    store.fetch(slots=1)
    tokens = [(one.id, one.token) for one in known]
    assert done(store.storage.resync("w1", 2, tokens)) == (True, [1])
    assert store.ready() == ["t2", "t3", "t4"]
    assert "o" not in store.task("t2")
    assert store.settle("done", known[0]) == ["done"]


def test_fetch_that_comes_after_a_resync_gets_nothing(store: Store) -> None:
    """The request was on its way when its worker gave it up."""
    store.add("t1")
    store.start_worker()
    nonce = store.next_nonce("w1")
    done(store.storage.resync("w1", nonce, []))
    assert store.exchange(nonce=nonce).status == "late"
    assert [one.id for one in store.fetch()] == ["t1"]


def test_resync_that_comes_late_gives_nothing_back(store: Store) -> None:
    """A copy of it, after the next fetch, does not know what that has fetched."""
    store.add("t1")
    store.start_worker()
    done(store.storage.resync("w1", store.next_nonce("w1"), []))
    store.fetch_one()
    before = store.dump()
    assert done(store.storage.resync("w1", 1, [])) == (True, [])
    assert store.dump() == before


def test_worker_that_ends_leaves_nothing(store: Store) -> None:
    """What it holds goes back to the head, unused, and the worker is gone, however often it says goodbye."""
    store.add("t1", "t2")
    store.start_worker()
    store.fetch(slots=1)
    done(store.storage.leave("w1"))
    assert store.ready() == ["t1", "t2"]
    assert {"f", "o", "l"}.isdisjoint(store.task("t1"))
    before = store.dump()
    assert not [key for key in before if key.startswith("worker")]
    done(store.storage.leave("w1"))
    assert store.dump() == before


def test_many_tasks_of_a_worker_that_ends_go_back(store: Store) -> None:
    """More than one step can give back."""
    store.add(*(f"t{number}" for number in range(1_200)))
    store.start_worker()
    store.fetch(slots=1_200)
    done(store.storage.leave("w1"))
    assert store.length() == 1_200
    assert store.index("default", "leased") == {}
    assert store.now == START
