"""The directory by itself: certificates that end, posts that are filled on some days."""

from dataclasses import replace
from datetime import date
from typing import Any, cast

import pytest

from gateway.identity import (
    Admission,
    Certificate,
    Claim,
    Directory,
    Institution,
    Period,
    Post,
    Registered,
    day_begins,
    day_ends,
    read_claim,
)
from services.kernel.errors import Denied, LiandongError
from services.kernel.rpc import Context

CERTIFICATE = Certificate("f" * 64, "thumb-1", "1", not_after=1_000.0)
CLAIM = Claim("spiffe://liandong/local/inst/bank-1", "", "", "", "", certificate=CERTIFICATE)
OFFICER = Post(Period(begins=100.0, ends=200.0), "maker", "monitoring_officer", "bank-1-p2")
DEPUTY = Post(Period(), "checker", "", "")


def a_bank(**changes: Any) -> Institution:
    values: dict[str, Any] = {
        "institution_id": "bank-1",
        "name": "",
        "name_zh": "",
        "role": "bank",
        "county_code": "123456",
        "areas": (),
        "active": True,
        "version": 1,
        "persons": {"bank-1-p1": OFFICER, "bank-1-p2": DEPUTY},
        "contracts": (Period(),),
        "certificates": {CERTIFICATE.fingerprint: Registered(Period(), revoked=False)},
    }
    return Institution(**(values | changes))


def reason(bank: Institution, claim: Claim, *, now: float, **admission: bool) -> str:
    directory = Directory(
        env="local", clock=lambda: 0.0, admission=Admission(**admission), now=lambda: now
    )
    directory.replace(1, {bank.institution_id: bank})
    try:
        found = directory.identify(claim)
        directory.require_person(found, claim, lambda _one, _claim: "bank-1-p1")
    except LiandongError as error:
        return error.reason
    return ""


def test_a_connection_that_outlives_its_certificate_ends_with_it() -> None:
    assert reason(a_bank(), CLAIM, now=999.0) == ""
    assert reason(a_bank(), CLAIM, now=1_000.0) == "CERTIFICATE_EXPIRED"


class Shown:
    """What gRPC tells of a peer whose certificate it took and that we cannot read."""

    def auth_context(self) -> dict[str, list[bytes]]:
        return {
            "peer_spiffe_id": [CLAIM.peer.encode()],
            "x509_pem_cert": [b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"],
        }

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()


def test_a_certificate_that_cannot_be_read_is_held_for_none() -> None:
    claim = read_claim(cast(Context, Shown()))

    assert (claim.peer, claim.certificate) == (CLAIM.peer, None)
    assert reason(a_bank(), claim, now=1.0) == "CERTIFICATE_NOT_REGISTERED"
    # Read once: it is as unreadable on the next call.
    assert read_claim(cast(Context, Shown())) == claim


def test_what_an_environment_lets_pass_it_must_say() -> None:
    bare = a_bank(certificates={}, contracts=())
    assert reason(bare, CLAIM, now=1.0) == "CERTIFICATE_NOT_REGISTERED"
    assert reason(bare, CLAIM, now=1.0, unregistered_certificates=True) == "CONTRACT_NOT_IN_FORCE"
    lenient = {"unregistered_certificates": True, "without_contract": True}
    assert reason(bare, CLAIM, now=1.0, **lenient) == ""
    named = replace(CLAIM, person_id="bank-1-p2")
    assert reason(bare, named, now=1.0, **lenient) == "PERSON_TOKEN_NEEDED"
    assert reason(bare, named, now=1.0, person_metadata=True, **lenient) == ""
    # A contract that is over is over, needed or not.
    over = a_bank(contracts=(Period(ends=0.5),))
    assert reason(over, CLAIM, now=1.0, **lenient) == "CONTRACT_NOT_IN_FORCE"
    revoked = a_bank(certificates={CERTIFICATE.fingerprint: Registered(Period(), revoked=True)})
    assert reason(revoked, CLAIM, now=1.0, **lenient) == "CERTIFICATE_REVOKED"


@pytest.mark.parametrize(("now", "wanted"), [(99.0, False), (100.0, True), (200.0, False)])
def test_an_officer_acts_in_office_and_the_deputy_is_named_otherwise(
    now: float, wanted: bool
) -> None:
    token = replace(CLAIM, token="any")
    found = reason(a_bank(), token, now=now)
    assert found == ("" if wanted else "PERSON_NOT_IN_OFFICE")
    if not wanted:
        with pytest.raises(Denied) as refusal:
            a_bank().require_post("bank-1-p1", now)
        assert refusal.value.facts == {"deputy": "bank-1-p2"}


def test_days_are_chinas() -> None:
    day = date(2030, 5, 6)
    assert day_ends(day) - day_begins(day) == 86_400
    assert day_begins(day) % 86_400 == 16 * 3_600
    assert Period(day_begins(None), day_ends(None)).holds(0.0)
