"""Signs tokens for the persons behind an institution, as its own system would."""

import base64
import hashlib
import secrets
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from joserfc import jwt
from joserfc.jwk import OKPKey

REPLAYED = "PERSON_TOKEN_REPLAYED"
LIFETIME_SECONDS = 300
RENEW_SECONDS = 30


class PersonSigner:
    """One institution's signing key and certificate; a token serves until it is nearly old."""

    def __init__(self, institution_id: str, *, key: Path, certificate: Path, env: str) -> None:
        self._institution_id = institution_id
        self._key = OKPKey.import_key(key.read_bytes())
        self._key_id = self._key.thumbprint()
        cert = x509.load_pem_x509_certificate(certificate.read_bytes())
        der = hashlib.sha256(cert.public_bytes(serialization.Encoding.DER)).digest()
        self._thumbprint = base64.urlsafe_b64encode(der).decode().rstrip("=")
        self._audience = f"spiffe://liandong/{env}/svc/gateway"
        self._made: dict[str, tuple[float, str]] = {}

    def token(self, person_id: str) -> str:
        """A token that names a person."""
        now = time.time()
        until, made = self._made.get(person_id, (0.0, ""))
        if now > until - RENEW_SECONDS:
            until, made = now + LIFETIME_SECONDS, self._sign(person_id, int(now))
            self._made[person_id] = (until, made)
        return made

    def forget(self) -> None:
        """Sign anew from now on: another connection needs other tokens."""
        self._made.clear()

    def _sign(self, person_id: str, now: int) -> str:
        claims = {
            "iss": self._institution_id,
            "sub": person_id,
            "aud": self._audience,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
            "jti": secrets.token_urlsafe(16),
            "cnf": {"x5t#S256": self._thumbprint},
        }
        header = {"alg": "Ed25519", "typ": "JWT", "kid": self._key_id}
        return jwt.encode(header, claims, self._key, algorithms=["Ed25519"])
