"""Sign-in links: for one person of one institution, signed, short-lived, good for once."""

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

KEY_BYTES = 32
_AUDIENCE = "liandong-console"
INSTITUTION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
PERSON = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Link:
    """Who comes in by it, and until when."""

    link_id: str
    institution_id: str
    person_id: str
    until: int


def key_at(path: Path) -> bytes:
    """The key, made once; whoever can read it can come in as anybody the console serves."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
    found = path.read_bytes()
    if len(found) < KEY_BYTES:
        raise ValueError(f"{path}: {len(found)} bytes, must be {KEY_BYTES}")
    return found


def make(key: bytes, institution_id: str, person_id: str, *, now: int, seconds: int) -> str:
    """A token for a link."""
    if not INSTITUTION.fullmatch(institution_id) or not PERSON.fullmatch(person_id):
        raise ValueError(f"institution {institution_id!r}, person {person_id!r}: not an id")
    claims: jwt.Claims = {
        "aud": _AUDIENCE,
        "iss": institution_id,
        "sub": person_id,
        "exp": now + seconds,
        "jti": secrets.token_urlsafe(16),
    }
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(key), algorithms=["HS256"])


def read(key: bytes, token: str, *, now: int) -> Link | None:
    """Whom a link is for; None for one that is not ours or too old."""
    if len(token) > 1_000:
        return None
    try:
        claims = jwt.decode(token, OctKey.import_key(key), algorithms=["HS256"]).claims
    except (JoseError, ValueError):
        return None
    institution_id, person_id = str(claims.get("iss", "")), str(claims.get("sub", ""))
    until = claims.get("exp")
    if claims.get("aud") != _AUDIENCE or not isinstance(until, int) or until < now:
        return None
    if not INSTITUTION.fullmatch(institution_id) or not PERSON.fullmatch(person_id):
        return None
    return Link(str(claims.get("jti", "")), institution_id, person_id, until)
