"""Consents and payee accounts: what is refused, and the second person after the waiting time."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from liandong.households.v1 import accounts_pb2, consents_pb2, evidence_pb2, people_pb2

from services.households.rules import accounts as rules
from services.kernel import ids
from services.kernel.status import reason_of
from tests.households.builders import COUNTY, TODAY, an_identity
from tests.households.conftest import PAYEE_WAITING_DAYS, Door, Registry
from tests.households.village import (
    BANK,
    CENTRE,
    HEAD,
    OTHER_STATION,
    SCAN,
    SECOND,
    STATION,
    a_member,
    after,
    day,
    head,
    paper,
    settle,
)

needs_postgres = pytest.mark.postgres
IN_FORCE = accounts_pb2.PAYEE_ACCOUNT_STATE_IN_FORCE
PROPOSED = accounts_pb2.PAYEE_ACCOUNT_STATE_PROPOSED
REPLACED = accounts_pb2.PAYEE_ACCOUNT_STATE_REPLACED
REFUSED = accounts_pb2.PAYEE_ACCOUNT_STATE_REFUSED


@given(st.from_regex(r"[0-9]{8,32}", fullmatch=True))
def test_a_masked_account_keeps_its_length_and_its_last_four(number: str) -> None:
    masked = rules.mask_account(number)

    assert (len(masked), masked[-4:]) == (len(number), number[-4:])
    assert set(masked[:-4]) == {"*"}


def an_account(home: Any, holder: int = 0, **fields: Any) -> Any:
    right: dict[str, Any] = {
        "household_id": home.household_id,
        "holder_id": home.members[holder].person_id,
        "bank_id": "rcb-0001",
        "account_number": "6222000011112222",
        "account_name": "王建国",
        "evidence": paper(),
    }
    return accounts_pb2.RegisterPayeeAccountRequest(**head(), **right | fields)


def deciding(account_id: str, *, confirmed: bool = True) -> Any:
    return accounts_pb2.DecidePayeeAccountRequest(
        **head(), account_id=account_id, confirmed=confirmed, evidence=paper()
    )


async def states(door: Door, home: Any, **fields: Any) -> list[tuple[str, int]]:
    request = accounts_pb2.ListPayeeAccountsRequest(
        county_code=COUNTY, household_id=home.household_id, **fields
    )
    answer = await door.call("ListPayeeAccounts", request, who=BANK)
    return [(account.account_number, account.state) for account in answer.accounts]


@needs_postgres
async def test_an_account_is_changed_by_a_second_person_after_the_waiting_time(
    door: Door, registry: Registry
) -> None:
    home = await settle(door)
    first = await door.call("RegisterPayeeAccount", an_account(home), who=STATION)
    change = an_account(home, 1, account_name="李 芳", account_number="6222000011113333")
    second = await door.call("RegisterPayeeAccount", change, who=STATION)
    early = await door.refuses("DecidePayeeAccount", deciding(second.account_id), who=SECOND)
    await registry.on(after(PAYEE_WAITING_DAYS))
    same = await door.refuses("DecidePayeeAccount", deciding(second.account_id), who=STATION)
    before = await states(door, home)
    await door.call("DecidePayeeAccount", deciding(second.account_id), who=SECOND)
    twice = await door.refuses("DecidePayeeAccount", deciding(second.account_id), who=CENTRE)

    assert (first.state, second.state) == (IN_FORCE, PROPOSED)
    assert second.earliest_on == day(after(PAYEE_WAITING_DAYS))
    assert [reason_of(error) for error in (early, same, twice)] == [
        "PAYEE_WAITING",
        "SECOND_PERSON_NEEDED",
        "PAYEE_DECIDED",
    ]
    assert before == [("*" * 12 + "2222", IN_FORCE), ("*" * 12 + "3333", PROPOSED)]
    assert [state for _, state in await states(door, home)] == [REPLACED, IN_FORCE]
    assert [state for _, state in await states(door, home, as_of=day(TODAY))] == [
        IN_FORCE,
        PROPOSED,
    ]
    assert await registry.said("payee_account_changed") == [
        (home.household_id, 1),
        (home.household_id, 2),
    ]
    stored = await registry.ask("SELECT to_jsonb(payee_account)::text FROM payee_account")
    assert not any("6222" in row[0] for row in stored)


@needs_postgres
async def test_an_account_of_another_name_or_a_second_change_is_refused(door: Door) -> None:
    home = await settle(door)
    wrong = an_account(home, account_name="李芳")
    stranger = an_account(home)
    stranger.holder_id = str(ids.new_id())

    error = await door.refuses("RegisterPayeeAccount", wrong, who=STATION)
    assert reason_of(error) == "PAYEE_NAME_DIFFERS"
    assert "李芳" not in repr(error)
    assert "王建国" not in repr(error)
    assert reason_of(await door.refuses("RegisterPayeeAccount", stranger, who=STATION)) == (
        "HOLDER_NOT_A_MEMBER"
    )
    short = an_account(home, account_number="1234567")
    malformed = await door.refuses("RegisterPayeeAccount", short, who=STATION)
    assert reason_of(malformed) == "FIELD_RULE_BROKEN"
    assert "1234567" not in repr(malformed)
    await door.call("RegisterPayeeAccount", an_account(home), who=STATION)
    change = await door.call("RegisterPayeeAccount", an_account(home), who=STATION)
    third = await door.refuses("RegisterPayeeAccount", an_account(home), who=STATION)
    assert reason_of(third) == "PAYEE_CHANGE_OPEN"
    refused = deciding(change.account_id, confirmed=False)
    assert (await door.call("DecidePayeeAccount", refused, who=SECOND)).state == REFUSED
    assert [state for _, state in await states(door, home)] == [IN_FORCE, REFUSED]


@needs_postgres
async def test_a_holder_who_left_is_paid_no_more(door: Door, registry: Registry) -> None:
    home = await settle(door)
    await door.call("RegisterPayeeAccount", an_account(home), who=STATION)
    change = an_account(home, 2, account_name="王小明")
    second = await door.call("RegisterPayeeAccount", change, who=STATION)
    leave = people_pb2.RemoveMemberRequest(
        **head(),
        household_id=home.household_id,
        person_id=home.members[2].person_id,
        reason=people_pb2.LEAVE_REASON_MOVED,
        left_on=day(TODAY),
        evidence=paper(),
    )
    await door.call("RemoveMember", leave, who=STATION)
    await registry.on(after(5))

    error = await door.refuses("DecidePayeeAccount", deciding(second.account_id), who=SECOND)
    assert reason_of(error) == "HOLDER_NOT_A_MEMBER"


@needs_postgres
async def test_an_account_of_another_village_is_as_good_as_none(
    door: Door, registry: Registry
) -> None:
    home = await settle(door)
    await door.call("RegisterPayeeAccount", an_account(home), who=STATION)
    change = await door.call("RegisterPayeeAccount", an_account(home), who=STATION)
    await registry.on(after(PAYEE_WAITING_DAYS))

    foreign = await door.refuses(
        "DecidePayeeAccount", deciding(change.account_id), who=OTHER_STATION
    )
    unknown = await door.refuses(
        "DecidePayeeAccount", deciding(str(ids.new_id())), who=OTHER_STATION
    )

    assert reason_of(foreign) == reason_of(unknown) == "ACCOUNT_NOT_FOUND"
    # Nothing about the household leaks either.
    assert home.household_id not in repr(foreign)
    assert [state for _, state in await states(door, home)] == [IN_FORCE, PROPOSED]


# --- consents -------------------------------------------------------------------------------------


def a_consent(home: Any, **fields: Any) -> consents_pb2.GiveConsentRequest:
    right: dict[str, Any] = {
        "household_id": home.household_id,
        "person_id": home.members[0].person_id,
        "receiver_id": "rcb-0001",
        "purpose": "lending",
        "categories": [evidence_pb2.DATA_CATEGORY_IDENTITY],
        "valid_from": day(TODAY),
        "valid_to": day(after(365)),
        "wording_version": "2018-1",
        "medium": consents_pb2.CONSENT_MEDIUM_STATION_THUMB_PRINT,
        "evidence": paper("THUMB_PRINT", SCAN),
    }
    return consents_pb2.GiveConsentRequest(**head(), **right | fields)


@needs_postgres
async def test_a_consent_is_given_at_a_station_and_kept_with_its_wording(
    door: Door, registry: Registry
) -> None:
    home = await settle(door)
    given = await door.call("GiveConsent", a_consent(home), who=STATION)
    await registry.on(after(1))
    withdraw = consents_pb2.WithdrawConsentRequest(
        **head(),
        consent_id=given.consent_id,
        medium=consents_pb2.CONSENT_MEDIUM_STATION_SIGNATURE,
        evidence=paper("SIGNATURE", SCAN),
    )
    await door.call("WithdrawConsent", withdraw, who=STATION)
    withdraw.request_id = str(ids.new_id())
    twice = await door.refuses("WithdrawConsent", withdraw, who=STATION)

    request = consents_pb2.ListConsentsRequest(county_code=COUNTY, household_id=home.household_id)
    (kept,) = (await door.call("ListConsents", request, who=CENTRE)).consents
    request.as_of.CopyFrom(day(TODAY))
    (then,) = (await door.call("ListConsents", request, who=CENTRE)).consents
    assert (kept.wording_version, kept.live, kept.withdrawal.source_id) == (
        "2018-1",
        False,
        "village_department-1",
    )
    assert kept.provenance.evidence.sha256 == SCAN
    assert not then.HasField("withdrawal")
    assert reason_of(twice) == "CONSENT_WITHDRAWN"
    assert await registry.said("consent_given") == [(given.consent_id, 1)]
    assert await registry.said("consent_withdrawn") == [(given.consent_id, 2)]


@needs_postgres
async def test_another_village_withdraws_no_consent(door: Door, registry: Registry) -> None:
    home = await settle(door)
    given = await door.call("GiveConsent", a_consent(home), who=STATION)
    withdraw = consents_pb2.WithdrawConsentRequest(
        **head(),
        consent_id=given.consent_id,
        medium=consents_pb2.CONSENT_MEDIUM_STATION_SIGNATURE,
        evidence=paper("SIGNATURE", SCAN),
    )

    foreign = await door.refuses("WithdrawConsent", withdraw, who=OTHER_STATION)

    assert reason_of(foreign) == "CONSENT_NOT_FOUND"
    assert home.household_id not in repr(foreign)
    request = consents_pb2.ListConsentsRequest(county_code=COUNTY, household_id=home.household_id)
    (kept,) = (await door.call("ListConsents", request, who=CENTRE)).consents
    assert kept.live
    assert await registry.said("consent_withdrawn") == []


@needs_postgres
async def test_a_consent_that_is_none_is_refused(door: Door) -> None:
    child = a_member(an_identity(907, "20050101"), "子", "王小小")
    home = await settle(door, members=[a_member(HEAD, "户主", "王建国"), child])
    wrong = (
        (a_consent(home, person_id=home.members[1].person_id), "GIVER_NOT_ADULT"),
        (a_consent(home, person_id=str(ids.new_id())), "GIVER_NOT_A_MEMBER"),
        (a_consent(home, evidence=paper("THUMB_PRINT")), "EVIDENCE_HASH_NEEDED"),
        (a_consent(home, evidence=paper("SIGNATURE", SCAN)), "EVIDENCE_KIND"),
        (a_consent(home, valid_from=day(after(-1))), "CONSENT_PERIOD"),
        (a_consent(home, valid_to=day(after(-1))), "CONSENT_PERIOD"),
        (a_consent(home, valid_to=day(after(6 * 366))), "CONSENT_PERIOD"),
        (a_consent(home, household_id=str(ids.new_id())), "HOUSEHOLD_NOT_FOUND"),
        (a_consent(home, categories=[]), "FIELD_RULE_BROKEN"),
    )
    for request, reason in wrong:
        assert reason_of(await door.refuses("GiveConsent", request, who=STATION)) == reason
    assert reason_of(await door.refuses("GiveConsent", a_consent(home), who=BANK)) == (
        "ROLE_NOT_ALLOWED"
    )
