"""Who may know of an event, of every type and for every role, without a server."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from types import MappingProxyType
from uuid import UUID

import pytest
from google.protobuf.message import Message
from liandong.claims.v1 import events_pb2 as claims
from liandong.households.v1 import events_pb2 as households
from liandong.loans.v1 import events_pb2 as loans

from gateway import feed_rules, feed_ties, find_names
from gateway.event_types import MESSAGES
from gateway.feed_rules import NO_GROUNDS, ORGANS, Fact, Grounds
from gateway.feed_ties import Tie
from gateway.identity import Institution
from gateway.rules import TOLD
from gateway.tie_store import Standing
from services.programmes.schema.deployment import InstitutionRole as Role
from tests.builders import an_envelope

COUNTY, VILLAGE = "123456", "123456001001"
HOUSEHOLD = "0190c8a0-0000-7000-8000-000000000001"


def an_institution(role: str, **changes: object) -> Institution:
    made = Institution(
        institution_id="one-1",
        name="One",
        name_zh="一",
        role=role,
        county_code=COUNTY,
        areas=(COUNTY,),
        active=True,
        version=1,
        persons=MappingProxyType({}),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def a_fact(event_type: str, *parties: str, county: str = COUNTY, area: str = VILLAGE) -> Fact:
    return Fact(event_type, county, Tie(area, HOUSEHOLD, frozenset(parties)))


@pytest.mark.parametrize(
    "traceparent",
    ["", "00", "00-1234-1-01", f"00-{'g' * 32}-{'1' * 16}-01", f"00-{'0' * 32}-{'1' * 16}-01"],
)
def test_an_event_without_a_readable_trace_is_found_by_what_it_names(traceparent: str) -> None:
    message = loans.LoanSettled(loan_id=HOUSEHOLD)
    event = an_envelope(
        event_type="liandong.loans.v1.loan_settled",
        aggregate_type="loans.loan",
        aggregate_id=HOUSEHOLD,
        traceparent=traceparent,
    )
    traced = replace(event, traceparent=f"00-{'a' * 32}-{'1' * 16}-01")

    assert find_names.rows(7, event, message) == [(UUID(HOUSEHOLD), 7, "loan")]
    assert (UUID("a" * 32), 7, find_names.TRACE) in find_names.rows(7, traced, message)


@pytest.mark.parametrize("role", sorted(Role))
def test_no_role_is_told_what_its_proto_does_not_say(role: Role) -> None:
    reader = an_institution(role, county_code="000000", areas=())

    for event_type, told in TOLD.items():
        if role not in told.roles:
            assert not feed_rules.may_know(reader, a_fact(event_type, "one-1"))
    assert not feed_rules.may_know(reader, a_fact("liandong.loans.v1.never_said", "one-1"))


@pytest.mark.parametrize("event_type", sorted(TOLD))
def test_an_event_is_told_to_its_parties_and_organs_of_the_place_alone(event_type: str) -> None:
    told = TOLD[event_type]
    for role in told.roles:
        reader = an_institution(role)
        elsewhere = a_fact(event_type, "two-2", county="123457", area="123457001001")
        assert not feed_rules.may_know(reader, elsewhere), role
        if role in ORGANS and told.ownership in {"party", "household", "area"}:
            assert feed_rules.may_know(reader, a_fact(event_type))
            station = replace(reader, areas=("123456002",))
            assert not feed_rules.may_know(station, a_fact(event_type))
            assert not feed_rules.may_know(station, a_fact(event_type, area=""))
        elif told.ownership == "party":
            assert not feed_rules.may_know(reader, a_fact(event_type, "two-2"))
            assert feed_rules.may_know(reader, a_fact(event_type, "two-2", "one-1"))


def test_a_household_is_known_to_a_lender_that_it_owes_and_to_one_it_lets_know() -> None:
    fact = a_fact("liandong.credit.v1.household_graded")
    bank = an_institution(Role.BANK)

    assert not feed_rules.may_know(bank, fact, NO_GROUNDS)
    for kinds in ({"application"}, {"debt"}):
        assert feed_rules.may_know(bank, fact, Grounds(Standing(kinds=frozenset(kinds))))
    consented = Standing(categories=frozenset({"credit_records"}))
    assert feed_rules.may_know(bank, fact, Grounds(consented))
    assert not feed_rules.may_know(
        bank, fact, Grounds(Standing(categories=frozenset({"accounts"})))
    )
    nobodys = replace(fact, tie=replace(fact.tie, household_id=""))
    assert not feed_rules.may_know(bank, nobodys, Grounds(consented))


def test_an_aggregate_learns_of_its_own_events_and_lends_to_those_that_name_it() -> None:
    known: dict[feed_ties.Key, Tie] = {}
    applied = loans.LoanApplied(
        loan_id="l-1", household_id=HOUSEHOLD, lender_id="bank-1", area_code=VILLAGE
    )
    loan = an_envelope(aggregate_type="loans.loan", aggregate_id="l-1")
    assert feed_ties.learn(loan, applied, known)[1]
    assert not feed_ties.learn(loan, applied, known)[1]

    repaid, _ = feed_ties.learn(loan, loans.LoanRepaid(loan_id="l-1"), known)
    assert repaid == Tie(VILLAGE, HOUSEHOLD, frozenset({"bank-1"}))
    insured = claims.HouseholdInsured(insured_id="i-1", loan_id="l-1", insurer_id="ins-1")
    entry = an_envelope(aggregate_type="claims.insured", aggregate_id="i-1")
    assert feed_ties.learn(entry, insured, known)[0].parties == {"bank-1", "ins-1"}
    # Whoever covers a loan is no party to it.
    again, _ = feed_ties.learn(loan, loans.LoanRepaid(loan_id="l-1"), known)
    assert again.parties == {"bank-1"}


def test_a_household_lends_its_place_and_not_its_bank() -> None:
    known: dict[feed_ties.Key, Tie] = {}
    home = an_envelope(aggregate_type="households.household", aggregate_id=HOUSEHOLD)
    registered = households.HouseholdRegistered(household_id=HOUSEHOLD, area_code=VILLAGE)
    feed_ties.learn(home, registered, known)
    account = households.PayeeAccountChanged(household_id=HOUSEHOLD, bank_id="bank-1")
    feed_ties.learn(home, account, known)

    claim = an_envelope(aggregate_type="claims.claim", aggregate_id="c-1")
    reported = claims.ClaimReported(claim_id="c-1", household_id=HOUSEHOLD)
    assert feed_ties.learn(claim, reported, known)[0] == Tie(VILLAGE, HOUSEHOLD, frozenset())


def test_what_is_no_id_is_nobodys_name() -> None:
    odd = loans.LoanApplied(lender_id="bank 1\0", area_code="; --", household_id="x" * 70)

    tie, _ = feed_ties.learn(an_envelope(), odd, {})

    assert tie == Tie()


def named_all_through(message: Message, number: Iterator[int]) -> set[str]:
    """Give every institution that a message can name a name of its own, lists have two of each."""
    found = set()
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is not None:
            inner = getattr(message, field.name)
            parts = [inner.add(), inner.add()] if field.is_repeated else [inner]
            found |= {name for part in parts for name in named_all_through(part, number)}
        elif field.name in feed_ties.PARTY_FIELDS | feed_ties.ROLE_FIELDS and not field.is_repeated:
            name = f"one-{next(number)}"
            setattr(message, field.name, name)
            found.add(f"{feed_ties.ROLE if field.name in feed_ties.ROLE_FIELDS else ''}{name}")
    return found


@pytest.mark.parametrize("event_type", sorted(TOLD))
def test_whoever_an_event_names_at_any_depth_is_party_to_it(event_type: str) -> None:
    message = MESSAGES[event_type]()
    nobodys, _ = feed_ties.learn(an_envelope(event_type=event_type), message, {})
    assert nobodys == Tie()

    named = named_all_through(message, count())

    tie, _ = feed_ties.learn(an_envelope(event_type=event_type), message, {})
    assert tie.parties == named


@pytest.mark.parametrize("event_type", sorted(TOLD))
def test_an_events_ties_come_of_every_aggregate_that_it_names(event_type: str) -> None:
    event = an_envelope(event_type=event_type)
    message = MESSAGES[event_type]()
    assert feed_ties.keys(event, message) == [event.aggregate]
    kinds = {**feed_ties.REFERENCES, "household_id": feed_ties.HOUSEHOLD}
    fields = [f.name for f in message.DESCRIPTOR.fields if f.name in kinds and not f.is_repeated]

    for name in fields:
        setattr(message, name, f"the-{name}")

    asked = feed_ties.keys(event, message)
    assert asked[0] == event.aggregate
    assert set(asked[1:]) == {(kinds[name], f"the-{name}") for name in fields}


def test_every_event_that_is_told_has_its_message() -> None:
    assert set(MESSAGES) == set(TOLD)
