"""
Person tokens: who acts for an institution, signed by it and bound to its certificate.

A JWT (EdDSA over Ed25519, no other algorithm) that the institution signs with a key that was
registered for it: `iss` the institution, `sub` the person, `aud` the gateway's SPIFFE id, `iat`,
`exp` at most ten minutes later, `jti`, and `cnf.x5t#S256`, the thumbprint of the client certificate
(RFC 8705). Another certificate's token is worth nothing.

A token belongs to the connection that showed it first: there it may name the person of many calls
and costs each a look into memory; on any other it is a replay and refused. What was shown is kept
until the token ends, within bounds for each institution and for all. Each gateway process keeps its
own; whoever would replay a token at another needs the client certificate's private key as well.
"""

import heapq
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.util import urlsafe_b64encode

from gateway.identity import Claim, Institution, Registered
from services.kernel.errors import Exhausted, Unauthenticated

# RFC 9864 renames the algorithm to Ed25519; most libraries still write the older word for it.
ALGORITHMS = ["EdDSA", "Ed25519"]
warnings.filterwarnings("ignore", message="EdDSA is deprecated")

LIFETIME_SECONDS_MAX = 600
SKEW_SECONDS = 60
"""How far the institution's clock may be from ours."""
TOKEN_CHARACTERS_MAX = 2_048
ID_CHARACTERS = range(8, 65)
KEPT_MAX = 100_000
KEPT_OF_ONE_MAX = 10_000


@dataclass(frozen=True, slots=True)
class _Kept:
    institution_id: str
    person_id: str
    jti: str
    key_id: str
    thumbprint: str
    connection: str
    expires: float


def public_key(raw: bytes) -> OKPKey:
    """An Ed25519 public key from its 32 bytes."""
    x = urlsafe_b64encode(raw).decode()
    return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": x})


def key_id(raw: bytes) -> str:
    """How a token's header names the key: its JWK thumbprint (RFC 7638)."""
    return public_key(raw).thumbprint()


class PersonTokens:
    """Verifies tokens once and remembers them until they end."""

    def __init__(self, audience: str, *, now: Callable[[], float] = time.time) -> None:
        self._audience = audience
        self._now = now
        self._kept: dict[str, _Kept] = {}
        self._of_id: dict[tuple[str, str], str] = {}
        self._ending: list[tuple[float, str]] = []
        self._count: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._kept)

    def person_of(self, institution: Institution, claim: Claim) -> str:
        """The person that a call's token names; refused when it is not good for this call."""
        now = self._now()
        kept = self._kept.get(claim.token)
        if kept is None:
            kept = self._read(institution, claim, now)
            self._keep(kept, claim.token, now)
        self._require(kept, institution, claim, now)
        return kept.person_id

    def _require(self, kept: _Kept, institution: Institution, claim: Claim, now: float) -> None:
        shown = claim.certificate
        mine = kept.institution_id == institution.institution_id
        if not mine or shown is None or shown.thumbprint != kept.thumbprint:
            raise Unauthenticated(
                "PERSON_TOKEN_OF_ANOTHER_CERTIFICATE",
                "the token was signed for another client certificate",
                message_zh="令牌与证书不符",
            )
        if now >= kept.expires + SKEW_SECONDS:
            raise _expired()
        _require_key(institution, kept.key_id, now)
        if kept.connection != claim.connection:
            raise _replayed()

    def _read(self, institution: Institution, claim: Claim, now: float) -> _Kept:
        """Verify a token that was not seen before."""
        if len(claim.token) > TOKEN_CHARACTERS_MAX:
            raise _invalid("it is too long")
        named = ""

        def key(token: Any) -> OKPKey:
            nonlocal named
            found = token.headers().get("kid")
            named = found if isinstance(found, str) else ""
            return public_key(_require_key(institution, named, now).public_key)

        try:
            claims = jwt.decode(claim.token, key, algorithms=ALGORITHMS).claims
        except (JoseError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise _invalid("it is not signed as it must be") from error
        return self._claimed(claims, institution, claim, named, now)

    def _claimed(
        self,
        claims: dict[str, Any],
        institution: Institution,
        claim: Claim,
        named: str,
        now: float,
    ) -> _Kept:
        if claims.get("iss") != institution.institution_id:
            raise _invalid("iss is not the institution of the certificate")
        if claims.get("aud") != self._audience:
            raise _invalid("aud is not this gateway")
        person_id, jti = claims.get("sub"), claims.get("jti")
        if not isinstance(person_id, str) or not person_id:
            raise _invalid("sub names nobody")
        if not isinstance(jti, str) or len(jti) not in ID_CHARACTERS:
            raise _invalid("jti must have 8 to 64 characters")
        issued, expires = claims.get("iat"), claims.get("exp")
        # A bool is an int to Python, and no moment.
        if type(issued) is not int or type(expires) is not int:
            raise _invalid("iat and exp must be whole seconds")
        if issued > now + SKEW_SECONDS or not 0 < expires - issued <= LIFETIME_SECONDS_MAX:
            raise _invalid(f"it must live at most {LIFETIME_SECONDS_MAX} seconds from now")
        if now >= expires + SKEW_SECONDS:
            raise _expired()
        bound = claims.get("cnf")
        thumbprint = bound.get("x5t#S256") if isinstance(bound, dict) else None
        if not isinstance(thumbprint, str):
            raise _invalid("cnf names no certificate")
        if claim.certificate is None or thumbprint != claim.certificate.thumbprint:
            raise Unauthenticated(
                "PERSON_TOKEN_OF_ANOTHER_CERTIFICATE",
                "the token was signed for another client certificate",
                message_zh="令牌与证书不符",
            )
        return _Kept(
            institution_id=institution.institution_id,
            person_id=person_id,
            jti=jti,
            key_id=named,
            thumbprint=thumbprint,
            connection=claim.connection,
            expires=expires,
        )

    def _keep(self, kept: _Kept, token: str, now: float) -> None:
        self._forget(now)
        own = kept.institution_id
        if (own, kept.jti) in self._of_id:
            raise _replayed()
        # To forget one would let it be replayed.
        if self._count[own] >= KEPT_OF_ONE_MAX or len(self._kept) >= KEPT_MAX:
            raise Exhausted(
                "TOO_MANY_PERSON_TOKENS",
                "use a token for many calls of its connection instead of one for each",
                message_zh="令牌过多,请在同一连接内重复使用令牌",
                retry_seconds=max(1.0, self._ending[0][0] - now),
            )
        self._kept[token] = kept
        self._of_id[own, kept.jti] = token
        self._count[own] += 1
        heapq.heappush(self._ending, (kept.expires + SKEW_SECONDS, token))

    def _forget(self, now: float) -> None:
        while self._ending and self._ending[0][0] <= now:
            _, token = heapq.heappop(self._ending)
            kept = self._kept.pop(token)
            del self._of_id[kept.institution_id, kept.jti]
            self._count[kept.institution_id] -= 1


def _require_key(institution: Institution, named: str, now: float) -> Registered:
    found = institution.person_keys.get(named)
    if found is None or found.revoked or not found.period.holds(now):
        raise _invalid("kid names no key of the institution that is in force")
    return found


def _invalid(why: str) -> Unauthenticated:
    return Unauthenticated(
        "PERSON_TOKEN_INVALID",
        f"the person's token is not valid: {why}",
        message_zh="经办人令牌无效",
    )


def _expired() -> Unauthenticated:
    return Unauthenticated(
        "PERSON_TOKEN_EXPIRED", "the person's token is too old", message_zh="经办人令牌已过期"
    )


def _replayed() -> Unauthenticated:
    return Unauthenticated(
        "PERSON_TOKEN_REPLAYED",
        "the token was shown before on another connection; sign a new one",
        message_zh="令牌已在其他连接使用,请重新签发",
    )
