"""Sealing: personal data is stored encrypted, and found by a keyed hash of it."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

KEY_BYTES = 32

_FORM = b"\x01"
"""AES-256-GCM, 12 bytes of nonce; another algorithm gets another number."""
_KEY_ID_BYTES = 4
_NONCE_BYTES = 12
_HEAD_BYTES = len(_FORM) + _KEY_ID_BYTES + _NONCE_BYTES


class SealBroken(Exception):
    """What was stored does not open: another key, another place, or it was changed."""


def read_key(path: Path) -> bytes:
    """A key of 32 bytes; a file of another length ends the process with its path."""
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise SystemExit(f"{path} holds {len(key)} bytes, a key has {KEY_BYTES}")
    return key


class Sealer:
    """
    Encrypts values for storage. The first key seals; every key opens what it sealed.

    `place` (table, column, row) is bound to the value: sealed bytes that were moved to another row
    do not open there.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        assert keys, "a sealer needs a key"
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._head = _FORM + _key_id(keys[0])
        self._seal = AESGCM(keys[0]).encrypt

    def seal(self, value: bytes, place: bytes) -> bytes:
        """Encrypt a value for its place."""
        return self.seal_many((value,), (place,))[0]

    def seal_many(self, values: Sequence[bytes], places: Sequence[bytes]) -> list[bytes]:
        """Encrypt values, each for its place; the nonces of all are drawn in one call."""
        nonces = os.urandom(_NONCE_BYTES * len(values))
        head, seal = self._head, self._seal
        starts = range(0, len(nonces), _NONCE_BYTES)
        return [
            head + (nonce := nonces[at : at + _NONCE_BYTES]) + seal(nonce, value, place)
            for at, value, place in zip(starts, values, places, strict=True)
        ]

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """The value again; SealBroken when it is not what was sealed here."""
        key_id = sealed[len(_FORM) : len(_FORM) + _KEY_ID_BYTES]
        cipher = self._ciphers.get(key_id)
        if sealed[: len(_FORM)] != _FORM or cipher is None:
            raise SealBroken("sealed in an unknown form or with an unknown key")
        nonce = sealed[_HEAD_BYTES - _NONCE_BYTES : _HEAD_BYTES]
        try:
            return cipher.decrypt(nonce, sealed[_HEAD_BYTES:], place)
        except (InvalidTag, ValueError):
            raise SealBroken("the sealed value was changed or moved") from None


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"liandong-sealing-key-id" + key).digest()[:_KEY_ID_BYTES]


class Finder:
    """
    HMAC-SHA-256 of a value within a scope: equal values are found, and nothing else is told.

    The scope is hashed too, so that two scopes (two counties) cannot be joined by it.
    """

    def __init__(self, key: bytes) -> None:
        # The key is taken in once; a copy of that costs a third of a new one.
        self._begun = HMAC(key, SHA256())

    def find_key(self, scope: str, value: str) -> bytes:
        """The 32 bytes under which a value of a scope is stored."""
        return self.find_keys(scope, (value,))[0]

    def find_keys(self, scope: str, values: Iterable[str]) -> list[bytes]:
        """Those of many values of one scope, which is taken in once."""
        within = self._begun.copy()
        within.update(f"{scope}:".encode())
        found = []
        for value in values:
            made = within.copy()
            made.update(value.encode())
            found.append(made.finalize())
        return found
