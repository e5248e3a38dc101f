"""Payloads that are signed or encrypted."""

import secrets
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from taskproc import TaskProcessorSettings
from taskproc.errors import ConfigurationError, MalformedTask
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
    [("ab12", "ab12.0.7"), ("ab12", "ab12.0.c0"), ("nightly", "nightly:1750000000000"), ("nightly", "nightly:t1f")],
)
def test_what_has_no_id_yet_belongs_to_its_batch_or_schedule(origin: str, id_: str) -> None:
    """Tasks and continuations of a batch, cycles and triggered ones of a schedule."""
    task = new_task()
    closed = seal([OLD]).close(task, DATA, origin)
    assert seal([OLD]).open(attempt(closed, task, id_)) == DATA


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
    with pytest.raises(MalformedTask):
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


def test_encryption_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says which."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ConfigurationError, match=r"taskproc\[crypto\]"):
        seal([], [OLD])
