"""Records that a script takes and Python cannot read: others are fetched beside them, and they can be ended."""

from typing import cast

import pytest

from taskproc.records import CALL
from tests.storage.store import Store

NOT_UTF8 = b"\xff\xfe"
Fields = dict[str | bytes, str | bytes]

UNREADABLE: dict[str, Fields] = {
    **{f"{name} is no text": {name: NOT_UTF8} for name in "tcbp"},
    "x is odd": {"x": "perhaps"},
    "g is odd": {"g": "perhaps"},
    "g is empty": {"g": ""},
    "n has a zero in front": {"n": "03"},
    "a text and an unknown field are none": {"t": NOT_UTF8, NOT_UTF8: NOT_UTF8},
}


def _damage(store: Store, id_: str, fields: Fields) -> None:
    for name, value in fields.items():
        store.client.hset(store.keys.task(id_), name, value)


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_record(raw_store: Store, name: str) -> None:
    """Its task is fetched as one that names nothing to call, and its worker can hand it in."""
    raw_store.add("before", "bad", "after")
    _damage(raw_store, "bad", UNREADABLE[name])
    raw_store.start_worker()
    before, bad, after = raw_store.fetch()
    assert [one.id for one in (before, bad, after)] == ["before", "bad", "after"]
    assert (bad.call, bad.topic, bad.data) == ("", CALL, b'{"args":[]}')
    assert raw_store.settle("dead", bad) == ["failed"]
    assert raw_store.settle("done", before, after) == ["done", "done"]


@pytest.mark.parametrize("fields", [{NOT_UTF8: NOT_UTF8}, {"id": "other"}, {"k": NOT_UTF8}])
def test_fields_that_nobody_knows(raw_store: Store, fields: Fields) -> None:
    """They are passed over, whatever they are called."""
    raw_store.add("t1", "t2")
    _damage(raw_store, "t1", fields)
    raw_store.start_worker()
    assert [(one.id, one.call) for one in raw_store.fetch()] == [("t1", "mail.send"), ("t2", "mail.send")]


def test_id_that_is_no_text(raw_store: Store) -> None:
    """Put in by hand: nothing can be said of it; those beside it are fetched, and its lease runs out."""
    raw_store.add("t1", "t2")
    key = raw_store.keys.task("").encode()
    fields = cast("dict[bytes, bytes]", raw_store.client.hgetall(raw_store.keys.task("t1")))
    for name, value in fields.items():
        raw_store.client.hset(key + NOT_UTF8, name, value)
    raw_store.client.lpush(raw_store.keys.ready("default"), NOT_UTF8)
    raw_store.client.hincrby(raw_store.keys.counts("default"), "*", 1)
    raw_store.start_worker()
    assert [one.id for one in raw_store.fetch()] == ["t1", "t2"]
    raw_store.let_live(65_000, "w1")
    raw_store.tend()
    assert raw_store.client.hget(key + NOT_UTF8, "f") == b"1"


def test_lost_task_without_data(raw_store: Store) -> None:
    """Whoever takes back the tasks of a dead worker learns of each one that is lost, also if its record is damaged."""
    raw_store.add("t1", "t2")
    raw_store.start_worker("w1")
    raw_store.fetch()
    raw_store.client.hdel(raw_store.keys.task("t1"), "d")
    raw_store.client.hset(raw_store.keys.task("t2"), "e", "9" * 5_000)
    raw_store.start_worker("w2")
    raw_store.let_live(15_000, "w2")
    more, lost = raw_store.reap(max_recoveries=1)
    assert (more, sorted((one.id, one.data) for one in lost)) == (True, [("t1", b""), ("t2", b'{"args":[]}')])
