"""The caller: a token that serves for one call, one body and one minute, and cannot be forged."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from deploy.local.ca import LocalCA, SigningKeys
from services.kernel.caller import (
    ALGORITHM,
    ISSUER,
    LEEWAY_SECONDS,
    LIFETIME_SECONDS,
    STREAM_HASH,
    Signer,
    Verifier,
    body_hash,
    require_role,
)
from services.kernel.errors import Denied, Unauthenticated, Unavailable
from tests.builders import a_caller

METHOD = "/liandong.loans.v1.LoansService/RecordRepayment"
BODY = b"the body"


@pytest.fixture
def keys(certificates: LocalCA) -> SigningKeys:
    return certificates.caller_keys()


@pytest.fixture
def verifier(keys: SigningKeys) -> Verifier:
    return Verifier(keys.public)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(datetime.now(UTC).timestamp())
    made = {
        "iss": ISSUER,
        "iat": now,
        "exp": now + LIFETIME_SECONDS,
        "sub": "bank-1",
        "role": "bank",
        "person": "p1",
        "county": "411224",
        "areas": [],
        "purpose": "test",
        "method": METHOD,
        "body": body_hash(BODY),
    }
    return {name: value for name, value in (made | changes).items() if value is not None}


def signed(keys: SigningKeys, **changes: Any) -> bytes:
    key = OKPKey.import_key(keys.private.read_bytes())
    token = jwt.encode({"alg": ALGORITHM}, claims(**changes), key, algorithms=[ALGORITHM])
    return token.encode()


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def reason_of(verifier: Verifier, token: bytes, *, body: bytes | None = BODY) -> str:
    with pytest.raises(Unauthenticated) as refusal:
        verifier.verify(token, method=METHOD, body=body)
    return refusal.value.reason


def test_what_was_signed_is_what_is_verified(keys: SigningKeys, verifier: Verifier) -> None:
    who = a_caller(METHOD, body_hash=body_hash(BODY), areas=("411224100", "411224200"))

    token = Signer(keys.private).sign(who)

    assert verifier.verify(token, method=METHOD, body=BODY) == who


def test_a_token_is_the_librarys_to_the_letter(keys: SigningKeys) -> None:
    token = Signer(keys.private).sign(a_caller(METHOD, body_hash=body_hash(BODY), purpose="贷后"))

    key = OKPKey.import_key(keys.private.read_bytes())
    held = jwt.decode(token.decode(), key, algorithms=[ALGORITHM]).claims
    made = jwt.encode({"alg": ALGORITHM}, held, key, algorithms=[ALGORITHM])
    assert token == made.encode()
    assert held["exp"] - held["iat"] == LIFETIME_SECONDS


def test_a_token_serves_no_other_call(keys: SigningKeys, verifier: Verifier) -> None:
    token = signed(keys)

    verifier.verify(token, method=METHOD, body=BODY)
    assert reason_of(verifier, token, body=b"another body") == "CALLER_OF_ANOTHER_CALL"
    assert reason_of(verifier, token, body=None) == "CALLER_OF_ANOTHER_CALL"
    with pytest.raises(Unauthenticated, match="CALLER_OF_ANOTHER_CALL"):
        verifier.verify(token, method=METHOD + "s", body=BODY)


def test_a_stream_has_a_token_of_its_own(keys: SigningKeys, verifier: Verifier) -> None:
    token = signed(keys, body=STREAM_HASH)

    assert verifier.verify(token, method=METHOD, body=None).body_hash == STREAM_HASH
    assert reason_of(verifier, token) == "CALLER_OF_ANOTHER_CALL"


def test_a_token_of_another_time_is_refused_and_clocks_may_differ_a_little(
    keys: SigningKeys, verifier: Verifier
) -> None:
    now = int(datetime.now(UTC).timestamp())

    old, early = {"exp": now - LEEWAY_SECONDS - 5}, {"iat": now + 3_600}
    for times in (old, early):
        with pytest.raises(Unavailable, match="CALLER_OF_ANOTHER_TIME"):
            verifier.verify(signed(keys, **times), method=METHOD, body=BODY)
    verifier.verify(signed(keys, exp=now - LEEWAY_SECONDS + 3), method=METHOD, body=BODY)


@pytest.mark.parametrize("claim", ["iss", "exp", "sub", "role", "method", "body", "areas"])
def test_a_token_that_lacks_a_claim_is_refused(
    keys: SigningKeys, verifier: Verifier, claim: str
) -> None:
    assert reason_of(verifier, signed(keys, **{claim: None})) == "CALLER_INVALID"


def test_another_issuer_is_refused(keys: SigningKeys, verifier: Verifier) -> None:
    assert reason_of(verifier, signed(keys, iss="a-bank")) == "CALLER_INVALID"


def test_another_key_is_refused(verifier: Verifier, tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "key.pem").write_bytes(private)

    token = Signer(tmp_path / "key.pem").sign(a_caller(METHOD, body_hash=body_hash(BODY)))

    assert reason_of(verifier, token) == "CALLER_INVALID"


def test_a_token_without_signature_is_refused(keys: SigningKeys, verifier: Verifier) -> None:
    header, payload, signature = signed(keys).decode().split(".")

    assert reason_of(verifier, f"{part({'alg': 'none'})}.{payload}.".encode()) == "CALLER_INVALID"
    assert reason_of(verifier, f"{header}.{payload}.".encode()) == "CALLER_INVALID"
    richer = part(claims(role="operator"))
    assert reason_of(verifier, f"{header}.{richer}.{signature}".encode()) == "CALLER_INVALID"


def test_the_public_key_is_no_shared_secret(keys: SigningKeys, verifier: Verifier) -> None:
    secret = OctKey.import_key(base64.b64encode(keys.public.read_bytes()))
    token = jwt.encode({"alg": "HS256"}, claims(), secret, algorithms=["HS256"])

    assert reason_of(verifier, token.encode()) == "CALLER_INVALID"


@pytest.mark.parametrize("token", [b"", b"x", b"a.b.c", b"\xff\xfe", b"." * 1000, b"a." * 100_000])
def test_what_is_no_token_is_refused(verifier: Verifier, token: bytes) -> None:
    assert reason_of(verifier, token) == "CALLER_INVALID"


@pytest.mark.parametrize(
    ("county", "areas", "area", "may"),
    [
        ("411224", (), "411224100201", True),
        ("411224", (), "411225100201", False),
        ("411224", ("411224100",), "411224100201", True),
        ("411224", ("411224100",), "411224200201", False),
        ("411224", ("411224100", "411224200"), "411224200", True),
        ("411224", ("411224100",), "411224", False),
        ("000000", (), "411224100201", True),
        ("000000", ("411224",), "411225100", False),
    ],
)
def test_an_institution_acts_in_its_areas_only(
    county: str, areas: tuple[str, ...], area: str, *, may: bool
) -> None:
    who = a_caller(county_code=county, areas=areas)

    assert who.may_act_in(area) is may
    if may:
        who.require_area(area)
        return
    with pytest.raises(Denied, match="AREA_NOT_YOURS"):
        who.require_area(area)


def test_a_call_may_have_to_name_its_person_and_its_role() -> None:
    assert a_caller().require_person() == "bank-1-p1"
    with pytest.raises(Denied, match="PERSON_NEEDED"):
        a_caller(person_id="").require_person()

    require_role(a_caller(), ("bank", "insurer"))
    with pytest.raises(Denied, match="ROLE_NOT_ALLOWED"):
        require_role(a_caller(), ("insurer",))
