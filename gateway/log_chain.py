"""
Log chain: what follows from what in the access log, and what proves it. Pure.

A row's digest is sha256 over the digest before it and the row's text, which holds its position. A
checkpoint is a signed word of the gateway: at this position stood this digest. Checkpoints are
chained to one another and numbered without a gap; the last one of a day is that day's root, chained
to the root before it, and institutions keep it. A cut is a signed word that rows up to a checkpoint
went into an archive, so that the chain begins behind them.

Two versions of a row's text: 1 (rows of before) has no version; 2 begins with it and ends with what
the call touched and the break-glass that it was made under.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

GENESIS = bytes(32)
VERSION = 2
DAY_ZONE = timezone(timedelta(hours=8))
"""Whose midnight ends a day of the log."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_POSITION = re.compile(rb'\[(?:\d{1,9},)?(\d{1,18})(?=,")')
_KEY_ID_CHARS = 16

# An encoder made once: `json.dumps` with separators makes one for every row.
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Head:
    """The chain's digest at a position; kept elsewhere it proves what was before it."""

    position: int
    digest: bytes


BEGINNING = Head(0, GENESIS)


class Row(NamedTuple):
    """A row as the chain sees it."""

    position: int
    text: bytes
    digest: bytes


def row_text(version: int, position: int, values: Sequence[Any]) -> bytes:
    """What of a row is hashed; `values` are call id, time, texts, resources and break-glass."""
    call_id, called_at, *texts, resources, break_glass_id = values
    row = [position, call_id.hex, (called_at - _EPOCH) // _MICROSECOND, *texts]
    if version != 1 or resources or break_glass_id:
        row = [version, *row, list(resources), break_glass_id]
    return _encode(row).encode()


def link(previous: bytes, text: bytes) -> bytes:
    """The digest of a row after the one before it."""
    return hashlib.sha256(previous + text).digest()


def position_of(text: bytes) -> int:
    """The position that stands in a row's text; -1 when it is no row's text."""
    found = _POSITION.match(text)
    return int(found[1]) if found else -1


def moved(text: bytes, position: int) -> bytes:
    """A row's text as it would be at another position."""
    found = _POSITION.match(text)
    if found is None:
        return text
    return b"%b%d%b" % (text[: found.start(1)], position, text[found.end(1) :])


# --- signed words ---------------------------------------------------------------------------------


def key_id_of(public_key: bytes) -> str:
    """The name of a public key: the first half of its own digest."""
    return hashlib.sha256(public_key).hexdigest()[:_KEY_ID_CHARS]


Keys = Mapping[str, Ed25519PublicKey]
"""Key id to public key."""


def keys_of(raw: Iterable[bytes]) -> dict[str, Ed25519PublicKey]:
    """Public keys by their ids."""
    return {key_id_of(one): Ed25519PublicKey.from_public_bytes(one) for one in raw}


def read_public_keys(path: Path) -> dict[str, Ed25519PublicKey]:
    """The keys of a PEM file, which may hold several; ValueError when one is not Ed25519."""
    found = {}
    end = b"-----END PUBLIC KEY-----"
    for part in path.read_bytes().split(end)[:-1]:
        key = serialization.load_pem_public_key(part[part.index(b"-----BEGIN") :] + end + b"\n")
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError(f"{path} holds a key that is not Ed25519")  # noqa: TRY004
        found[key_id_of(key.public_bytes_raw())] = key
    if not found:
        raise ValueError(f"{path} holds no public key")
    return found


def pem_of(key: Ed25519PublicKey) -> bytes:
    """A public key for a file."""
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


class LogSigner:
    """Signs checkpoints, day roots and cuts; only the gateway holds the private key."""

    def __init__(self, private_key_path: Path) -> None:
        key = serialization.load_pem_private_key(private_key_path.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise SystemExit(f"{private_key_path} is not an Ed25519 key")
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()
        self.key_id = key_id_of(self.public_key)

    def sign(self, text: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What the gateway signs about the chain; `previous` is the digest of the one before."""

    position: int
    digest: bytes
    previous: bytes
    key_id: str
    signature: bytes = b""

    def _told(self) -> list[object]:
        raise NotImplementedError

    @property
    def text(self) -> bytes:
        """What is signed."""
        own = [self.position, self.digest.hex(), self.previous.hex(), self.key_id]
        return _encode([*self._told(), *own]).encode()

    @property
    def own_digest(self) -> bytes:
        """What the next one names as the one before it."""
        return hashlib.sha256(self.text).digest()

    @property
    def head(self) -> Head:
        """What it says of the chain."""
        return Head(self.position, self.digest)

    def is_signed(self, keys: Keys) -> bool:
        """Whether one of these keys signed it."""
        key = keys.get(self.key_id)
        if key is None:
            return False
        try:
            key.verify(self.signature, self.text)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(Signed):
    """At this time the chain's end was here."""

    number: int
    made_at: datetime

    def _told(self) -> list[object]:
        return ["liandong-access-log-checkpoint", self.number, _micros(self.made_at)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRoot(Signed):
    """A day's last checkpoint, after the root of the day before."""

    day: date
    checkpoint_number: int

    def _told(self) -> list[object]:
        return ["liandong-access-log-day-root", self.day.isoformat(), self.checkpoint_number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(Signed):
    """Rows up to a checkpoint went into an archive."""

    number: int
    cut_at: datetime
    first_position: int
    archive: str
    archive_sha256: str

    def _told(self) -> list[object]:
        cut = [self.number, _micros(self.cut_at), self.first_position]
        return ["liandong-access-log-cut", *cut, self.archive, self.archive_sha256]


def day_of(moment: datetime) -> date:
    """The day of the log that a moment falls into."""
    return moment.astimezone(DAY_ZONE).date()


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


_KINDS: Mapping[str, type[Signed]] = {"C": Checkpoint, "D": DayRoot, "X": Cut}


def letter_of(signed: Signed) -> str:
    """Which line of a file it is."""
    return next(letter for letter, kind in _KINDS.items() if type(signed) is kind)


def to_plain(signed: Signed) -> dict[str, object]:
    """A signed word for a file of JSON."""
    plain: dict[str, object] = {}
    for name in (*Signed.__slots__, *type(signed).__slots__):
        value = getattr(signed, name)
        if isinstance(value, bytes):
            value = base64.b64encode(value).decode()
        elif isinstance(value, date):
            value = value.isoformat()
        plain[name] = value
    return plain


def from_plain(letter: str, plain: Mapping[str, Any]) -> Signed:
    """The word again; ValueError when it is none."""
    try:
        values = dict(plain)
        for name in ("digest", "previous", "signature"):
            values[name] = base64.b64decode(values[name], validate=True)
        for name in ("made_at", "cut_at"):
            if name in values:
                values[name] = datetime.fromisoformat(values[name])
        if "day" in values:
            values["day"] = date.fromisoformat(values["day"])
        return _KINDS[letter](**values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a word of the log: {error}") from error
