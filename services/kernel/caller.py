"""The caller: who is asking, signed by the gateway, verified by every service."""

import base64
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry
from joserfc.util import json_b64encode, urlsafe_b64encode

from services.kernel.errors import Denied, NotFound, Unauthenticated, Unavailable

METADATA_KEY = "liandong-caller-bin"
ISSUER = "liandong-gateway"
ALGORITHM = "Ed25519"
LIFETIME_SECONDS = 60
LEEWAY_SECONDS = 5
STREAM_HASH = "stream"
"""Stands for the body's hash where the body is a stream of messages."""

# An encoder made once: `json.dumps` with separators makes one for every token.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking, for what, with which body."""

    institution_id: str
    role: str
    person_id: str
    county_code: str
    """The institution's county; `000000` stands above counties."""
    areas: tuple[str, ...]
    """Areas it may act in, a prefix means containment; empty for the whole county."""
    purpose: str
    method: str
    body_hash: str

    def may_act_in(self, area_code: str) -> bool:
        """Whether an area is within the caller's county and areas."""
        if self.county_code != "000000" and not area_code.startswith(self.county_code):
            return False
        return not self.areas or any(area_code.startswith(area) for area in self.areas)

    def areas_in(self, county_code: str) -> tuple[str, ...]:
        """The areas that bound the caller within a county; none where it acts in all of it."""
        return () if set(self.areas) <= {county_code} else self.areas

    def require_area(self, area_code: str) -> None:
        """Refuse an area that is not the caller's."""
        if not self.may_act_in(area_code):
            raise Denied(
                "AREA_NOT_YOURS",
                f"{self.institution_id} may not act in {area_code}",
                message_zh="超出本机构辖区",
            )

    def require_sight(self, area_code: str, missing: NotFound) -> None:
        """Refuse what lies in an area that is not the caller's as if it were not there."""
        if not self.may_act_in(area_code):
            raise missing

    def require_person(self) -> str:
        """The person who acts; refused when the call names none."""
        if not self.person_id:
            raise Denied(
                "PERSON_NEEDED", "this call must name the person", message_zh="须指明经办人"
            )
        return self.person_id


def body_hash(body: bytes) -> str:
    """The hash that binds a signed caller to one body."""
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode().rstrip("=")


class Signer:
    """Signs callers; only the gateway holds the private key."""

    def __init__(self, private_key_path: Path) -> None:
        self._key = OKPKey.import_key(private_key_path.read_bytes())
        # What `jwt.encode` looks up, checks and writes for every token, once.
        self._algorithm = JWSRegistry(algorithms=[ALGORITHM]).get_alg(ALGORITHM)
        self._algorithm.check_key(self._key)
        self._header = json_b64encode({"typ": "JWT", "alg": ALGORITHM}) + b"."

    def sign(self, caller: Caller) -> bytes:
        """A short-lived token for one call."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
            "sub": caller.institution_id,
            "role": caller.role,
            "person": caller.person_id,
            "county": caller.county_code,
            "areas": list(caller.areas),
            "purpose": caller.purpose,
            "method": caller.method,
            "body": caller.body_hash,
        }
        signed = self._header + urlsafe_b64encode(_encode(claims).encode())
        return signed + b"." + urlsafe_b64encode(self._algorithm.sign(signed, self._key))


class Verifier:
    """Verifies callers with the gateway's public key."""

    def __init__(self, public_key_path: Path) -> None:
        self._key = OKPKey.import_key(public_key_path.read_bytes())
        self._claims = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": ISSUER},
            exp={"essential": True},
            sub={"essential": True},
        )

    def verify(self, token: bytes, *, method: str, body: bytes | None) -> Caller:
        """
        Read a token that was signed for this method and body, and is not too old.

        The gateway signs each call as it sends it: one that is old here, or signed later than now,
        says that clocks differ or that one jumped. That is our fault and not the institution's, who
        may ask again.
        """
        try:
            decoded = jwt.decode(token.decode(), self._key, algorithms=[ALGORITHM])
            self._claims.validate(decoded.claims)
            caller = _read(decoded.claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            if _is_of_another_time(error):
                raise Unavailable(
                    "CALLER_OF_ANOTHER_TIME", "the call was signed at another time: clocks differ"
                ) from error
            raise Unauthenticated("CALLER_INVALID", "the caller's token is not valid") from error
        expected = STREAM_HASH if body is None else body_hash(body)
        if caller.method != method or caller.body_hash != expected:
            raise Unauthenticated("CALLER_OF_ANOTHER_CALL", "the token was signed for another call")
        return caller


def _is_of_another_time(error: Exception) -> bool:
    """Whether a token of ours is too old, or was signed later than now."""
    return isinstance(error, ExpiredTokenError) or (
        isinstance(error, ClaimError) and error.claim == "iat"
    )


def _read(claims: Mapping[str, Any]) -> Caller:
    return Caller(
        institution_id=claims["sub"],
        role=claims["role"],
        person_id=claims["person"],
        county_code=claims["county"],
        areas=tuple(claims["areas"]),
        purpose=claims["purpose"],
        method=claims["method"],
        body_hash=claims["body"],
    )


def require_role(caller: Caller, roles: Sequence[str]) -> None:
    """Refuse a caller whose role is none of these."""
    if caller.role not in roles:
        raise Denied(
            "ROLE_NOT_ALLOWED",
            f"role {caller.role} may not call {caller.method}",
            message_zh="本角色无此权限",
        )
