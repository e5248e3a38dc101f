"""Signs and encrypts payloads, so that who can write to Redis, or read it, can do less.

A sealed payload is bound to the tenant, call and topic of its task, and to its origin: the batch, the schedule, or the
task itself. Layout: a magic number, a version (signed or encrypted), four bytes that name the key, then HMAC-SHA256 and
data, or nonce and AES-GCM's ciphertext. What is both encrypted and signed is encrypted first.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from taskproc.errors import ConfigurationError, MalformedTask, UnknownTask
from taskproc.records import CALL, Attempt, NewTask

if TYPE_CHECKING:
    from pydantic import SecretStr

    from taskproc.settings import TaskProcessorSettings

__all__ = ["Seal", "is_sealed", "seal_of"]

MAGIC = b"\xfftp"  # no JSON, and no text, begins like this
SIGNED, ENCRYPTED = MAGIC + b"\x01", MAGIC + b"\x02"
VERSION = len(SIGNED)
NAME = 4  # bytes that name a key
DIGEST = 32
NONCE = 12

_encode = msgspec.msgpack.Encoder().encode


class Seal:
    """What the keys of the settings make of payloads."""

    def __init__(self, signing: Sequence[bytes], encryption: Sequence[bytes], *, accept_unsealed: bool) -> None:
        self._signing = {_name(key, b"signing"): _derived(key, b"signing") for key in signing}
        self._ciphers: Mapping[bytes, Any] = {
            _name(key, b"encryption"): _cipher(_derived(key, b"encryption")) for key in encryption
        }
        self._accept_unsealed = accept_unsealed

    def close(self, task: NewTask, data: bytes, origin: str) -> bytes:
        """The payload, sealed with the first keys."""
        bound = _encode((task.tenant, task.call, task.topic or CALL, origin))
        if self._ciphers:
            name, cipher = next(iter(self._ciphers.items()))
            nonce = os.urandom(NONCE)
            data = ENCRYPTED + name + nonce + cipher.encrypt(nonce, data, bound)
        if self._signing:
            name, key = next(iter(self._signing.items()))
            data = SIGNED + name + _digest(key, bound, data) + data
        return data

    def open(self, attempt: Attempt) -> bytes:
        """The payload as it was before; MalformedTask when it was not sealed like this, UnknownTask when it is, in a
        way for which there are no keys here at all.
        """
        bound = _encode((attempt.tenant, attempt.call, attempt.topic, attempt.origin))
        return self._decrypted(self._verified(attempt.data, bound), bound)

    def _verified(self, data: bytes, bound: bytes) -> bytes:
        if not data.startswith(SIGNED):
            return self._lacking(data, self._signing, "signed", "signing_keys")
        name, rest = _parts(data, self._signing, "signed", "signing_keys")
        key = self._signing[name]
        if not hmac.compare_digest(rest[:DIGEST], _digest(key, bound, rest[DIGEST:])):
            raise MalformedTask("the signature of the payload is wrong: it was changed, or belongs to another task")
        return rest[DIGEST:]

    def _decrypted(self, data: bytes, bound: bytes) -> bytes:
        if not data.startswith(ENCRYPTED):
            return self._lacking(data, self._ciphers, "encrypted", "encryption_keys")
        name, rest = _parts(data, self._ciphers, "encrypted", "encryption_keys")
        try:
            opened: bytes = self._ciphers[name].decrypt(rest[:NONCE], rest[NONCE:], bound)
        except Exception as error:  # InvalidTag, or what a nonce that is too short brings
            raise MalformedTask(
                "the payload cannot be decrypted: it was changed, or belongs to another task"
            ) from error
        return opened

    def _lacking(self, data: bytes, keys: Mapping[bytes, object], how: str, setting: str) -> bytes:
        if keys and not self._accept_unsealed:
            raise MalformedTask(
                f"the payload is not {how}, and {setting} are set: it comes from a program without them, or was "
                "enqueued before they were set (accept_unsealed=True lets such tasks run)"
            )
        return data


def seal_of(settings: TaskProcessorSettings) -> Seal | None:
    """What seals payloads by these settings; None without keys."""
    signing, encryption = _secrets(settings.signing_keys), _secrets(settings.encryption_keys)
    if not signing and not encryption:
        return None
    return Seal(signing, encryption, accept_unsealed=settings.accept_unsealed)


def is_sealed(data: bytes) -> bool:
    """Whether the payload is signed or encrypted."""
    return data.startswith((SIGNED, ENCRYPTED))


def _secrets(keys: Sequence[SecretStr]) -> list[bytes]:
    return [key.get_secret_value().encode() for key in keys]


def _parts(data: bytes, keys: Mapping[bytes, object], how: str, setting: str) -> tuple[bytes, bytes]:
    """The name of a key that is there, and what follows it."""
    if not keys:
        raise UnknownTask(f"the payload is {how}, and this worker has no {setting}: set them as where it was enqueued")
    name = data[VERSION : VERSION + NAME]
    if name not in keys:
        raise MalformedTask(
            f"the payload is {how} with a key that is not among {setting} ({name.hex()}): was it taken off too early, "
            "or has this worker not got it yet? Add it, and retry the task"
        )
    return name, data[VERSION + NAME :]


def _digest(key: bytes, bound: bytes, data: bytes) -> bytes:
    return hmac.digest(key, len(bound).to_bytes(4, "big") + bound + data, "sha256")


def _derived(key: bytes, purpose: bytes) -> bytes:
    """A key for one purpose only: the same secret may be used for both."""
    return hmac.digest(key, b"taskproc " + purpose, "sha256")


def _name(key: bytes, purpose: bytes) -> bytes:
    return hashlib.sha256(_derived(key, b"name of a key for " + purpose)).digest()[:NAME]


def _cipher(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - few programs need it
    except ImportError:
        raise ConfigurationError(
            "encryption_keys need the package cryptography: pip install 'taskproc[crypto]'"
        ) from None
    return AESGCM(key)
