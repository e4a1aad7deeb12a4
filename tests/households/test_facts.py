"""Facts: in one's own name, corrected but never overwritten, contested and answered."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from liandong.households.v1 import accounts_pb2, consents_pb2, evidence_pb2, facts_pb2
from liandong.households.v1 import households_pb2 as pb

from services.households.model import FactKind
from services.households.rules import facts as rules
from services.kernel import ids
from services.kernel.status import reason_of
from services.programmes.schema.deployment import InstitutionRole
from tests.households.builders import COUNTY, TODAY, an_identity
from tests.households.conftest import Door, Registry, institution
from tests.households.village import (
    BANK,
    CENTRE,
    COURT,
    HEAD,
    OFFICE,
    OTHER_BANK,
    SCAN,
    STATION,
    a_fact,
    after,
    day,
    head,
    paper,
    record,
    seen,
    settle,
)

needs_postgres = pytest.mark.postgres
DEPARTMENTS = {
    "court": facts_pb2.FactContent(
        court=facts_pb2.CourtFact(judgment_defaulter=True, owed_fen=900)
    ),
    "police": facts_pb2.FactContent(police=facts_pb2.PoliceFact(gambling_or_drugs=True)),
    "social_insurance": facts_pb2.FactContent(
        social_insurance=facts_pb2.SocialInsuranceFact(scheme="pension", months_paid=12)
    ),
    "market_regulator": facts_pb2.FactContent(market=facts_pb2.MarketFact(position="owner")),
    "tax_bureau": facts_pb2.FactContent(tax=facts_pb2.TaxFact(year=2017, arrears_fen=5)),
    "credit_bureau": facts_pb2.FactContent(credit_bureau=facts_pb2.CreditBureauFact(overdue_fen=7)),
    "agriculture_bureau": facts_pb2.FactContent(
        agriculture=facts_pb2.AgricultureFact(year=2017, land_square_metres=2000)
    ),
}


# --- rules ----------------------------------------------------------------------------------------


def test_every_kind_has_its_sources_and_its_category_and_the_wire_its_name() -> None:
    wire_names = {field.name for field in facts_pb2.FactContent.DESCRIPTOR.fields}

    assert set(rules.SOURCES) == set(rules.CATEGORIES) == set(FactKind)
    assert {kind.value for kind in FactKind} == wire_names
    assert set().union(*rules.SOURCES.values()) <= {role.value for role in InstitutionRole}


@given(st.sampled_from(list(FactKind)), st.sampled_from(list(InstitutionRole)))
def test_nobody_supplies_in_anothers_name(kind: FactKind, role: InstitutionRole) -> None:
    assert (rules.source_fault(kind, role) is None) is (role in rules.SOURCES[kind])


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_an_answer_is_due_on_the_twentieth_day(opened_on: date) -> None:
    assert (rules.due_on(opened_on) - opened_on).days == 20


# --- supplying ------------------------------------------------------------------------------------


async def facts_of(door: Door, household_id: str, who: Any = CENTRE, **fields: Any) -> list[Any]:
    request = facts_pb2.ListFactsRequest(county_code=COUNTY, household_id=household_id, **fields)
    return list((await door.call("ListFacts", request, who=who)).facts)


@needs_postgres
async def test_each_department_supplies_its_facts_by_identity_number(
    door: Door, registry: Registry
) -> None:
    home = await settle(door)
    for role, content in DEPARTMENTS.items():
        who = institution(role)
        supplied = a_fact(identity_number=HEAD, content=content)
        (verdict,) = await record(door, supplied, who=who)
        assert verdict.accepted, verdict
        others = [each for name, each in DEPARTMENTS.items() if name != role]
        refused = await record(
            door, *(a_fact(identity_number=HEAD, content=each) for each in others), who=who
        )
        assert {each.reason for each in refused} == {"FACT_SOURCE_NOT_ENTITLED"}

    kept = await facts_of(door, home.household_id)
    own = await facts_of(door, home.household_id, who=COURT)

    assert [fact.provenance.source_id for fact in kept] == [f"{role}-1" for role in DEPARTMENTS]
    assert [fact.content for fact in kept] == list(DEPARTMENTS.values())
    assert {fact.person_id for fact in kept} == {home.members[0].person_id}
    assert [fact.content for fact in own] == [DEPARTMENTS["court"]]
    assert len(await registry.said("fact_recorded")) == len(DEPARTMENTS)
    stored = await registry.ask("SELECT to_jsonb(fact)::text FROM fact")
    assert not any("judgment" in row[0] for row in stored)


@needs_postgres
async def test_a_wrong_fact_is_refused_and_the_others_land(door: Door) -> None:
    home = await settle(door)
    house, man = home.household_id, home.members[0].person_id
    call = facts_pb2.FactContent(
        remote_authority=facts_pb2.RemoteAuthorityFact(
            agent_id=home.members[1].person_id, scope="sign"
        )
    )
    skill = facts_pb2.FactContent(skill=facts_pb2.SkillFact(skill="welding"))
    labour = facts_pb2.FactContent(labour=facts_pb2.LabourFact(labour="强劳动力"))
    next_year = facts_pb2.FactContent(
        income=facts_pb2.IncomeFact(year=2019, source="farming", amount_fen=1)
    )
    verdicts = await record(
        door,
        a_fact(house),
        a_fact(house, valid_from=day(after(1))),
        a_fact(house, valid_to=day(after(-1))),
        a_fact(house, content=skill),
        a_fact(str(ids.new_id())),
        a_fact(),
        a_fact(identity_number=an_identity(999)),
        a_fact(house, person_id=man, content=call),
        a_fact(house, person_id=man, content=call, evidence=paper("RECORDED_CALL")),
        a_fact(house, person_id=man, content=call, evidence=paper("RECORDED_CALL", SCAN)),
        a_fact(house, person_id=man, content=labour),
        a_fact(house, content=next_year),
    )

    assert [verdict.reason for verdict in verdicts] == [
        "",
        "FACT_DATES",
        "FACT_DATES",
        "PERSON_NEEDED",
        "HOUSEHOLD_NOT_FOUND",
        "SUBJECT_NEEDED",
        "PERSON_NOT_FOUND",
        "EVIDENCE_KIND",
        "EVIDENCE_HASH_NEEDED",
        "",
        "FACT_VALUE",
        "FACT_VALUE",
    ]
    assert verdicts[1].violations[0].field == "valid_from"
    assert len(await facts_of(door, house)) == 2


@needs_postgres
async def test_a_correction_replaces_and_the_day_before_remembers(
    door: Door, registry: Registry
) -> None:
    home = await settle(door)
    (first,) = await record(door, a_fact(home.household_id))
    await registry.on(after(3))
    right = facts_pb2.FactContent(
        income=facts_pb2.IncomeFact(year=2017, source="farming", amount_fen=1_500_000)
    )
    correct = facts_pb2.CorrectFactRequest(
        **head(), fact_id=first.id, content=right, evidence=paper()
    )
    stranger = await door.refuses("CorrectFact", correct, who=BANK)
    corrected = await door.call("CorrectFact", correct, who=STATION)
    correct.request_id = str(ids.new_id())
    again = await door.refuses("CorrectFact", correct, who=STATION)

    (now,) = await facts_of(door, home.household_id)
    (then,) = await facts_of(door, home.household_id, as_of=day(after(2)))
    both = await facts_of(door, home.household_id, replaced=True)
    assert (now.fact_id, now.replaces_id) == (corrected.fact_id, first.id)
    assert now.content.income.amount_fen == 1_500_000
    assert then.content.income.amount_fen == 1_200_000
    assert [fact.fact_id for fact in both] == [first.id, corrected.fact_id]
    assert (reason_of(stranger), reason_of(again)) == ("FACT_NOT_YOURS", "FACT_REPLACED")


@needs_postgres
async def test_an_honour_is_dated_and_withdrawn_and_labour_changes_the_member(
    door: Door, registry: Registry
) -> None:
    home = await settle(door)
    honest, model = (
        facts_pb2.FactContent(honour=facts_pb2.HonourFact(honour=honour))
        for honour in ("honest", "model")
    )
    weak = facts_pb2.FactContent(labour=facts_pb2.LabourFact(labour="弱劳动力或半劳动力"))
    await registry.on(after(1))
    _, second, _ = await record(
        door,
        a_fact(home.household_id, content=honest),
        a_fact(home.household_id, content=model),
        a_fact(home.household_id, person_id=home.members[0].person_id, content=weak),
    )
    held = await seen(door, home.household_id)
    await registry.on(after(2))
    end = facts_pb2.CorrectFactRequest(
        **head(), fact_id=second.id, valid_to=day(after(1)), evidence=paper()
    )
    await door.call("CorrectFact", end, who=STATION)

    withdrawn = await seen(door, home.household_id)
    assert (held.honour, withdrawn.honour) == ("model", "honest")
    assert held.members[0].labour == "弱劳动力或半劳动力"
    assert (await seen(door, home.household_id, as_of=TODAY)).members[0].labour == "普通劳动力"
    assert await registry.said("household_changed") == [
        (home.household_id, 2),
        (home.household_id, 3),
    ]


@needs_postgres
async def test_a_bank_reads_the_facts_that_a_consent_covers(door: Door) -> None:
    home = await settle(door)
    await record(door, a_fact(home.household_id))
    await record(door, a_fact(identity_number=HEAD, content=DEPARTMENTS["court"]), who=COURT)
    assert await facts_of(door, home.household_id, who=BANK) == []
    consent = consents_pb2.GiveConsentRequest(
        **head(),
        household_id=home.household_id,
        person_id=home.members[0].person_id,
        receiver_id="rcb-0001",
        purpose="lending",
        categories=[evidence_pb2.DATA_CATEGORY_INCOME],
        valid_from=day(TODAY),
        valid_to=day(after(30)),
        wording_version="2018-1",
        medium=consents_pb2.CONSENT_MEDIUM_STATION_SIGNATURE,
        evidence=paper("SIGNATURE", SCAN),
    )
    await door.call("GiveConsent", consent, who=STATION)

    (seen_fact,) = await facts_of(door, home.household_id, who=BANK)
    assert seen_fact.content.WhichOneof("content") == "income"
    assert await facts_of(door, home.household_id, who=OTHER_BANK) == []


# --- disputes -------------------------------------------------------------------------------------


def contesting(household_id: str, subject_id: str, **fields: Any) -> facts_pb2.OpenDisputeRequest:
    right: dict[str, Any] = {
        "household_id": household_id,
        "subject": facts_pb2.DISPUTE_SUBJECT_FACT,
        "subject_id": subject_id,
        "side": facts_pb2.DISPUTE_SIDE_HOUSEHOLD,
        "statement": "我家没有这笔收入",
        "evidence": paper(),
    }
    return facts_pb2.OpenDisputeRequest(**head(), **right | fields)


def answering(dispute_id: str, outcome: int) -> facts_pb2.AnswerDisputeRequest:
    return facts_pb2.AnswerDisputeRequest(
        **head(),
        dispute_id=dispute_id,
        outcome=facts_pb2.DisputeOutcome.ValueType(outcome),
        statement="已核实",
        evidence=paper(),
    )


async def disputes(door: Door, who: Any = CENTRE, **fields: Any) -> list[facts_pb2.Dispute]:
    request = facts_pb2.ListDisputesRequest(county_code=COUNTY, **fields)
    return list((await door.call("ListDisputes", request, who=who)).disputes)


@needs_postgres
async def test_a_contested_fact_is_marked_answered_and_both_sides_are_kept(
    door: Door, registry: Registry
) -> None:
    home = await settle(door)
    court = a_fact(identity_number=HEAD, content=DEPARTMENTS["court"])
    (fact,) = await record(door, court, who=COURT)
    opened = await door.call("OpenDispute", contesting(home.household_id, fact.id), who=STATION)
    (marked,) = await facts_of(door, home.household_id)
    await registry.on(after(21))
    (late,) = await disputes(door)
    stranger = await door.refuses(
        "AnswerDispute", answering(opened.dispute_id, 1), who=institution("police")
    )
    answer = await door.call("AnswerDispute", answering(opened.dispute_id, 2), who=COURT)
    twice = await door.refuses("AnswerDispute", answering(opened.dispute_id, 1), who=COURT)

    assert opened.due_on == day(after(20))
    assert marked.disputed
    assert (late.overdue, late.answer) == (True, "")
    assert answer.late
    (unmarked,) = await facts_of(door, home.household_id)
    (then,) = await facts_of(door, home.household_id, as_of=day(after(20)))
    assert (unmarked.disputed, then.disputed) == (False, True)
    assert await disputes(door) == []
    (kept,) = await disputes(door, answered=True)
    assert (kept.statement, kept.answer) == ("我家没有这笔收入", "已核实")
    assert kept.outcome == facts_pb2.DISPUTE_OUTCOME_REJECTED
    assert (kept.provenance.source_id, kept.answered.source_id) == (
        "village_department-1",
        "court-1",
    )
    assert (reason_of(stranger), reason_of(twice)) == ("DISPUTE_NOT_YOURS", "DISPUTE_ANSWERED")
    assert await registry.said("dispute_opened") == [(opened.dispute_id, 1)]
    assert await registry.said("dispute_answered") == [(opened.dispute_id, 2)]
    stored = await registry.ask("SELECT to_jsonb(dispute)::text FROM dispute")
    assert "收入" not in stored[0][0]


@needs_postgres
async def test_a_status_a_membership_and_an_account_can_be_contested_too(door: Door) -> None:
    home = await settle(door)
    house, wife = home.household_id, home.members[1].person_id
    account = await door.call(
        "RegisterPayeeAccount",
        accounts_pb2.RegisterPayeeAccountRequest(
            **head(),
            household_id=house,
            holder_id=wife,
            bank_id="rcb-0001",
            account_number="6222000011112222",
            account_name="李芳",
            evidence=paper(),
        ),
        who=STATION,
    )
    subjects = (
        (facts_pb2.DISPUTE_SUBJECT_STATUS, house),
        (facts_pb2.DISPUTE_SUBJECT_MEMBERSHIP, wife),
        (facts_pb2.DISPUTE_SUBJECT_PAYEE_ACCOUNT, account.account_id),
    )
    for subject, subject_id in subjects:
        request = contesting(house, subject_id, subject=subject)
        await door.call("OpenDispute", request, who=STATION)

    contested = await seen(door, house)
    asked = accounts_pb2.ListPayeeAccountsRequest(county_code=COUNTY, household_id=house)
    (marked,) = (await door.call("ListPayeeAccounts", asked, who=STATION)).accounts
    assert contested.disputed
    assert [member.disputed for member in contested.members] == [False, True, False]
    assert marked.disputed
    status = next(d for d in await disputes(door) if d.subject == subjects[0][0])
    centre = await door.refuses("AnswerDispute", answering(status.dispute_id, 1), who=CENTRE)
    assert reason_of(centre) == "DISPUTE_NOT_YOURS"
    await door.call("AnswerDispute", answering(status.dispute_id, 1), who=OFFICE)


@needs_postgres
async def test_a_dispute_that_cannot_be_opened_says_why(door: Door) -> None:
    home = await settle(door)
    (fact,) = await record(door, a_fact(home.household_id))
    right = contesting(home.household_id, fact.id)
    unknown = contesting(home.household_id, str(ids.new_id()))
    for_them = contesting(home.household_id, fact.id)
    own = contesting(home.household_id, fact.id, side=facts_pb2.DISPUTE_SIDE_INSTITUTION)

    assert reason_of(await door.refuses("OpenDispute", unknown, who=STATION)) == (
        "DISPUTE_SUBJECT_UNKNOWN"
    )
    assert reason_of(await door.refuses("OpenDispute", for_them, who=BANK)) == "ROLE_NOT_ALLOWED"
    opened = await door.call("OpenDispute", own, who=BANK)
    assert reason_of(await door.refuses("OpenDispute", right, who=STATION)) == "DISPUTE_OPEN"
    assert [each.dispute_id for each in await disputes(door, who=BANK)] == [opened.dispute_id]
    assert await disputes(door, who=OTHER_BANK) == []
    assert home.status == pb.REGISTRATION_STATUS_REGISTERED_POOR
