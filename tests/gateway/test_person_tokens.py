"""Persons' tokens: what is good for a call, and everything that is not."""

import base64
import json
import secrets
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey

from gateway import person_tokens
from gateway.identity import Certificate, Claim, Institution, Period, Post, Registered
from gateway.person_tokens import PersonTokens, key_id
from services.kernel.errors import Exhausted, LiandongError

AUDIENCE = "spiffe://liandong/local/svc/gateway"
NOW = 1_800_000_000
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")

KEY = OKPKey.generate_key("Ed25519")
CERTIFICATE = Certificate("f" * 64, "thumb-1", "1", float("inf"))


def raw(key: OKPKey) -> bytes:
    x = str(key.as_dict(private=False)["x"])
    return base64.urlsafe_b64decode(x + "=")


KID = key_id(raw(KEY))


def an_institution(**changes: Any) -> Institution:
    values: dict[str, Any] = {
        "institution_id": "bank-1",
        "name": "",
        "name_zh": "",
        "role": "bank",
        "county_code": "123456",
        "areas": (),
        "active": True,
        "version": 1,
        "persons": {"bank-1-p1": Post(Period(), "maker", "", "")},
        "person_keys": {KID: Registered(Period(), False, raw(KEY))},
    }
    return Institution(**(values | changes))


def claims(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "iss": "bank-1",
        "sub": "bank-1-p1",
        "aud": AUDIENCE,
        "iat": NOW,
        "exp": NOW + 300,
        "jti": secrets.token_urlsafe(12),
        "cnf": {"x5t#S256": "thumb-1"},
    }
    return {name: value for name, value in (values | changes).items() if value is not None}


def signed(given: dict[str, Any], *, alg: str = "EdDSA", key: Any = KEY, kid: str = KID) -> str:
    return jwt.encode({"alg": alg, "kid": kid}, given, key, algorithms=[alg])


def encoded(part: Any) -> str:
    text = part if isinstance(part, str) else json.dumps(part)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def shown(token: str, *, connection: str = "ipv4:1", certificate: Any = CERTIFICATE) -> Claim:
    peer = "spiffe://liandong/local/inst/bank-1"
    return Claim(peer, "", "", "", "", token=token, connection=connection, certificate=certificate)


def at(seconds: float) -> PersonTokens:
    return PersonTokens(AUDIENCE, now=lambda: NOW + seconds)


def reason(tokens: PersonTokens, claim: Claim, institution: Institution | None = None) -> str:
    try:
        tokens.person_of(institution or an_institution(), claim)
    except LiandongError as error:
        return error.reason
    return ""


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
def test_a_token_names_the_person_of_many_calls_of_its_connection(alg: str) -> None:
    tokens, token = at(0), signed(claims(), alg=alg)

    for _ in range(3):
        assert tokens.person_of(an_institution(), shown(token)) == "bank-1-p1"
    assert len(tokens) == 1


def test_a_token_that_was_shown_is_worth_nothing_on_another_connection() -> None:
    tokens = at(0)
    given = claims(jti="the-same-jti")
    token = signed(given)
    assert reason(tokens, shown(token)) == ""

    assert reason(tokens, shown(token, connection="ipv4:2")) == "PERSON_TOKEN_REPLAYED"
    again = signed(given | {"exp": NOW + 301})
    assert reason(tokens, shown(again)) == "PERSON_TOKEN_REPLAYED"
    assert reason(tokens, shown(token)) == ""


def test_another_certificates_token_is_refused_seen_before_or_not() -> None:
    tokens, token = at(0), signed(claims())
    other = Certificate("e" * 64, "thumb-2", "2", float("inf"))

    assert reason(tokens, shown(token, certificate=other)) == (
        "PERSON_TOKEN_OF_ANOTHER_CERTIFICATE"
    )
    assert reason(tokens, shown(token)) == ""
    for stranger in (other, None):
        assert reason(tokens, shown(token, certificate=stranger)) == (
            "PERSON_TOKEN_OF_ANOTHER_CERTIFICATE"
        )
    bank_2 = an_institution(institution_id="bank-2")
    assert reason(tokens, shown(token), bank_2) == "PERSON_TOKEN_OF_ANOTHER_CERTIFICATE"


def test_every_algorithm_but_eddsa_is_refused() -> None:
    ec = ECKey.generate_key("P-256")
    secret = OctKey.import_key(raw(KEY))
    none = f"{encoded({'alg': 'none', 'kid': KID})}.{encoded(claims())}."
    shouted = f"{encoded({'alg': 'NONE', 'kid': KID})}.{encoded(claims())}."
    unnamed = f"{encoded({'kid': KID})}.{encoded(claims())}.{encoded('x')}"
    for token in (
        none,
        shouted,
        unnamed,
        signed(claims(), alg="HS256", key=secret),
        signed(claims(), alg="ES256", key=ec),
        signed(claims(), key=OKPKey.generate_key("Ed25519")),
        signed(claims(), kid="nobody"),
        signed(claims())[:-4] + "AAAA",
    ):
        assert reason(at(0), shown(token)) == "PERSON_TOKEN_INVALID", token


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "bank-2"},
        {"aud": "https://elsewhere"},
        {"aud": [AUDIENCE]},
        {"sub": None},
        {"sub": 7},
        {"sub": ""},
        {"jti": None},
        {"jti": "short"},
        {"jti": "x" * 65},
        {"cnf": None},
        {"cnf": "thumb-1"},
        {"cnf": {"x5t#S256": 1}},
        {"exp": None},
        {"iat": None},
        {"exp": NOW + 601},
        {"exp": NOW},
        {"exp": NOW - 10},
        {"iat": True},
        {"exp": float(NOW + 300)},
        {"exp": float("inf")},
        {"exp": str(NOW + 300)},
        {"iat": NOW + 61, "exp": NOW + 200},
    ],
)
def test_a_claim_that_is_not_as_it_must_be_refuses_the_token(changes: dict[str, Any]) -> None:
    header = encoded({"alg": "EdDSA", "kid": KID})
    body = encoded(claims(**changes))
    signer: Any = KEY.get_op_key("sign")
    mark = signer.sign(f"{header}.{body}".encode())
    token = f"{header}.{body}.{base64.urlsafe_b64encode(mark).decode().rstrip('=')}"

    assert reason(at(0), shown(token)) == "PERSON_TOKEN_INVALID"


@pytest.mark.parametrize(
    "token",
    [
        "a",
        "..",
        "a.b.c",
        "....",
        "x" * 2_049,
        "\u0661.\uff11.\u202e",
        encoded("[" * 900) + "." + encoded("[" * 500) + ".x",
        encoded({"alg": "EdDSA", "kid": ["x"]}) + "." + encoded({}) + ".x",
        encoded({"alg": "EdDSA", "kid": KID, "crit": ["b64"]}) + "." + encoded({}) + ".x",
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    assert reason(at(0), shown(token)) == "PERSON_TOKEN_INVALID"


def test_the_clocks_may_differ_by_a_minute_and_no_more() -> None:
    ends = 300
    assert reason(at(-60), shown(signed(claims()))) == ""
    assert reason(at(-61), shown(signed(claims()))) == "PERSON_TOKEN_INVALID"
    assert reason(at(ends + 59), shown(signed(claims()))) == ""
    assert reason(at(ends + 61), shown(signed(claims()))) == "PERSON_TOKEN_EXPIRED"


def test_a_kept_token_ends_with_its_time_or_its_key() -> None:
    now = float(NOW)
    tokens = PersonTokens(AUDIENCE, now=lambda: now)
    token = signed(claims())
    assert reason(tokens, shown(token)) == ""

    ended = Registered(Period(ends=NOW - 1), False, raw(KEY))
    for key in (Registered(Period(), True, raw(KEY)), ended):
        without = an_institution(person_keys={KID: key})
        assert reason(tokens, shown(token), without) == "PERSON_TOKEN_INVALID"
    now += 361
    assert reason(tokens, shown(token)) == "PERSON_TOKEN_EXPIRED"
    # The next one that is kept clears what is over.
    assert reason(tokens, shown(signed(claims(iat=int(now), exp=int(now) + 300)))) == ""
    assert len(tokens) == 1


def test_what_is_kept_is_bounded_and_says_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(person_tokens, "KEPT_OF_ONE_MAX", 2)
    tokens = at(0)
    for _ in range(2):
        assert reason(tokens, shown(signed(claims()))) == ""

    with pytest.raises(Exhausted) as refusal:
        tokens.person_of(an_institution(), shown(signed(claims())))

    assert refusal.value.reason == "TOO_MANY_PERSON_TOKENS"
    assert refusal.value.retry_seconds == 360
    assert len(tokens) == 2
