"""Payloads that are signed or encrypted."""

import hmac
import json
import secrets
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from taskproc import TaskProcessorSettings
from taskproc.errors import ConfigurationError, MalformedTask, UnknownTask
from taskproc.records import CALL, Attempt, NewTask
from taskproc.sealing import Seal, is_sealed, seal_of
from tests.storage.store import new_task

OLD, NEW, OTHER = (secrets.token_bytes(32) for _ in range(3))
DATA = b'[["bob",42]]'


def seal(signing: list[bytes] | None = None, encryption: list[bytes] | None = None, *, lax: bool = False) -> Seal:
    """What these keys make."""
    return Seal(signing or [], encryption or [], accept_unsealed=lax)


def attempt(data: bytes, task: NewTask, id_: str, **changed: Any) -> Attempt:
    """The task as a worker gets it."""
    fields: dict[str, Any] = {"tenant": task.tenant, "call": task.call, "topic": task.topic or CALL, **changed}
    return Attempt(id=id_, queue="default", data=data, enqueued_at=0, retries=1, invisibility=1, **fields)


Keys = tuple[list[bytes], list[bytes]]
SEALS: dict[str, Keys] = {"signed": ([OLD], []), "encrypted": ([], [OLD]), "both": ([OLD], [OLD])}


@pytest.mark.parametrize("keys", SEALS.values(), ids=SEALS)
def test_what_was_sealed_is_opened(keys: Keys) -> None:
    """And does not look like what it was, if it is encrypted."""
    task = new_task("t1")
    closed = seal(*keys).close(task, DATA, "t1")
    assert is_sealed(closed)
    assert seal(*keys).open(attempt(closed, task, "t1")) == DATA
    assert (DATA in closed) == (not keys[1])
    assert not is_sealed(DATA)


@pytest.mark.parametrize("keys", SEALS.values(), ids=SEALS)
@pytest.mark.parametrize("changed", [{"tenant": "evil"}, {"call": "a:B.c"}, {"topic": "raw"}, {"id_": "t2"}], ids=str)
def test_it_belongs_to_its_task(keys: Keys, changed: dict[str, str]) -> None:
    """The payload of another tenant, method, topic or task is refused."""
    task = new_task("t1")
    closed = seal(*keys).close(task, DATA, "t1")
    moved = attempt(closed, task, **({"id_": "t1"} | changed))
    with pytest.raises(MalformedTask, match="belongs to another task"):
        seal(*keys).open(moved)


@pytest.mark.parametrize(
    "origin, id_",
    [
        ("ab12.", "ab12.0.7"),
        ("ab12.", "ab12.0.c0"),
        ("nightly:", "nightly:1750000000000"),
        ("nightly:", "nightly:t1f"),
        ("a.b:", "a.b:1750000000000"),
    ],
)
def test_what_has_no_id_yet_belongs_to_its_batch_or_schedule(origin: str, id_: str) -> None:
    """Tasks and continuations of a batch, cycles and triggered ones of a schedule."""
    task = new_task()
    closed = seal([OLD]).close(task, DATA, origin)
    assert seal([OLD]).open(attempt(closed, task, id_)) == DATA


@pytest.mark.parametrize("origin", ["ab12", "ab12.", "ab12:"])
@pytest.mark.parametrize("id_", ["ab12", "ab12.0.7", "ab12.x", "ab12:1750000000000", "ab12.0:17", "cd34", "cd34.0.7"])
def test_where_it_belongs_is_of_one_kind(origin: str, id_: str) -> None:
    """A single task cannot be repeated as one of a batch or schedule that has its id as name, nor the other way."""
    task = new_task()
    closed = seal([OLD], [OLD]).close(task, DATA, origin)
    fits = {"ab12": ["ab12"], "ab12.": ["ab12.0.7", "ab12.x"], "ab12:": ["ab12:1750000000000"]}[origin]
    if id_ in fits:
        assert seal([OLD], [OLD]).open(attempt(closed, task, id_)) == DATA
    else:
        with pytest.raises(MalformedTask, match="belongs to another task"):
            seal([OLD], [OLD]).open(attempt(closed, task, id_))


SEALED_BEFORE = {
    "signed": (
        "ff7470015d00ce5fcb17e57862907355cc8106f92241eb9d3c3323d285c131086b9801ce08ff6c355b5b22626f62222c34325d5d"
    ),
    "encrypted": ("ff747002abd1cce04afb586e22edb47da4fc72fe1b2e6975e13427c3bbc960fd74514639c6c525a55a5915ae00feea0e"),
}


@pytest.mark.parametrize("how", SEALED_BEFORE)
def test_what_earlier_versions_sealed_is_opened(how: str) -> None:
    """The layout is what programs of different versions have in common."""
    key = b"a key that never leaves the tests"
    made = seal([key] if how == "signed" else [], [key] if how == "encrypted" else [])
    closed = bytes.fromhex(SEALED_BEFORE[how])
    assert made.open(attempt(closed, new_task("t1"), "t1")) == DATA


@given(st.data())
def test_any_changed_bit_is_noticed(data: st.DataObject) -> None:
    """Of either kind, at any place."""
    keys = data.draw(st.sampled_from(list(SEALS.values())))
    task = new_task("t1")
    closed = bytearray(seal(*keys).close(task, DATA, "t1"))
    closed[data.draw(st.integers(0, len(closed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(MalformedTask):
        seal(*keys).open(attempt(bytes(closed), task, "t1"))


@given(st.binary(max_size=80), st.sampled_from(list(SEALS.values())))
def test_whatever_is_written_there_is_refused(data: bytes, keys: Keys) -> None:
    """Nothing that was not sealed is ever opened."""
    with pytest.raises((MalformedTask, UnknownTask)):
        seal(*keys).open(attempt(data, new_task("t1"), "t1"))


def test_keys_are_rotated() -> None:
    """The first one seals, each of them opens; one that was taken off does not."""
    task = new_task("t1")
    old = attempt(seal([OLD], [OLD]).close(task, DATA, "t1"), task, "t1")
    assert seal([NEW, OLD], [NEW, OLD]).open(old) == DATA
    new = attempt(seal([NEW, OLD], [NEW, OLD]).close(task, DATA, "t1"), task, "t1")
    assert seal([NEW], [NEW]).open(new) == DATA
    with pytest.raises(MalformedTask, match="not among signing_keys"):
        seal([OTHER], [OLD]).open(old)
    only_encrypted = attempt(seal([], [OLD]).close(task, DATA, "t1"), task, "t1")
    with pytest.raises(MalformedTask, match="not among encryption_keys"):
        seal([], [NEW]).open(only_encrypted)


def test_what_is_not_sealed_runs_if_it_may() -> None:
    """For the time after keys were set; a wrong seal is refused all the same."""
    task = new_task("t1")
    assert seal([OLD], lax=True).open(attempt(DATA, task, "t1")) == DATA
    with pytest.raises(MalformedTask, match=r"not signed.*accept_unsealed"):
        seal([OLD]).open(attempt(DATA, task, "t1"))
    with pytest.raises(MalformedTask, match="not encrypted"):
        seal([], [OLD]).open(attempt(DATA, task, "t1"))
    with pytest.raises(MalformedTask):
        seal([OLD], lax=True).open(attempt(seal([NEW]).close(task, DATA, "t1"), task, "t1"))


def test_each_of_the_two_may_be_introduced_later() -> None:
    """What is only encrypted, or only signed, runs if it may, and is checked as far as it goes."""
    task = new_task("t1")
    signed, encrypted = (
        attempt(seal(*keys).close(task, DATA, "t1"), task, "t1") for keys in (SEALS["signed"], SEALS["encrypted"])
    )
    both = seal([NEW, OLD], [NEW, OLD], lax=True)
    assert both.open(signed) == both.open(encrypted) == DATA
    with pytest.raises(MalformedTask, match=r"not encrypted.*accept_unsealed"):
        seal([OLD], [OLD]).open(signed)
    with pytest.raises(MalformedTask, match=r"not signed.*accept_unsealed"):
        seal([OLD], [OLD]).open(encrypted)
    signed.tenant = encrypted.tenant = "evil"
    for changed in (signed, encrypted):
        with pytest.raises(MalformedTask, match="belongs to another task"):
            both.open(changed)


def test_what_cannot_be_checked_here_is_left_to_others() -> None:
    """A worker that has keys of the other kind only."""
    task = new_task("t1")
    with pytest.raises(UnknownTask, match="no signing_keys"):
        seal([], [OLD]).open(attempt(seal([OLD], [OLD]).close(task, DATA, "t1"), task, "t1"))
    with pytest.raises(UnknownTask, match="no encryption_keys"):
        seal([OLD], []).open(attempt(seal([OLD], [OLD]).close(task, DATA, "t1"), task, "t1"))


@pytest.mark.parametrize("equal", [True, False])
def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, *, equal: bool) -> None:
    """By `hmac.compare_digest`, whose answer alone decides."""
    task = new_task("t1")
    sealed = seal([OLD]).close(task, DATA, "t1")
    given_ = attempt(sealed[:-1] + b"!" if equal else sealed, task, "t1")

    def compare(_one: bytes, _other: bytes) -> bool:
        return equal

    monkeypatch.setattr(hmac, "compare_digest", compare)
    if equal:
        assert seal([OLD]).open(given_) == DATA[:-1] + b"!"
    else:
        with pytest.raises(MalformedTask, match="signature"):
            seal([OLD]).open(given_)


def test_settings_hide_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come from the environment too, separated by commas, and are shown nowhere."""
    first, second = "a" * 32, "b" * 40
    monkeypatch.setenv("TASKPROC_SIGNING_KEYS", f"{first},{second}")
    settings = TaskProcessorSettings()
    assert [key.get_secret_value() for key in settings.signing_keys] == [first, second]
    assert first not in repr(settings) + str(settings) + str(settings.model_dump())
    assert isinstance(seal_of(settings), Seal)
    monkeypatch.delenv("TASKPROC_SIGNING_KEYS")
    assert seal_of(TaskProcessorSettings()) is None


def test_short_keys_are_refused() -> None:
    """With what to do, and without the key."""
    with pytest.raises(ValidationError, match=r"at least 32 bytes.*token_urlsafe") as caught:
        TaskProcessorSettings(signing_keys=[SecretStr("too short to be safe")])
    assert "too short to be safe" not in str(caught.value)


SECRET = "x-secret-" * 5
GIVEN: list[object] = [SECRET.encode(), {SECRET: None}, [[SECRET]], json.dumps([SECRET])[:-1]]


@pytest.mark.parametrize("given_", GIVEN, ids=["bytes", "dict", "list in a list", "broken JSON"])
def test_a_refusal_of_keys_does_not_show_them(given_: Any) -> None:
    """Whatever they were given as."""
    with pytest.raises(ValidationError) as caught:
        TaskProcessorSettings(signing_keys=given_)
    assert "secret-x" not in f"{caught.value!r} {caught.value} {caught.value.errors()}"


def test_encryption_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says which."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ConfigurationError, match=r"taskproc\[crypto\]"):
        seal([], [OLD])
