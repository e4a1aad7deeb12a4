"""From the application to the approval: every check with its numbers, every kind of chain."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from liandong.loans.v1 import events_pb2, loans_pb2

from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import Denied, NotFound, Refused
from services.loans.events_in import handlers
from services.loans.rules import chain, clock
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from services.programmes.terms import Terms
from tests.loans import plenty, steps
from tests.loans.builders import YUAN
from tests.loans.county import (
    APPROVER,
    CASHIER,
    CENTRE,
    COUNTY,
    LENDER,
    OPENED,
    OTHER_LENDER,
    VILLAGE_DEPARTMENT,
    Fund,
    House,
    a_caller,
    calling,
    day,
)
from tests.loans.plenty import Entity, an_application, ask, command, particulars

pytestmark = pytest.mark.postgres

IN_REVIEW = loans_pb2.LOAN_STATE_IN_REVIEW
AWAITING = loans_pb2.LOAN_STATE_AWAITING_COVER
APPROVED = loans_pb2.LOAN_STATE_APPROVED
REFUSED = loans_pb2.LOAN_STATE_REFUSED
SECOND_CENTRE = a_caller("county_centre", institution_id="cfc-1", post=2)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return plenty.a_catalogue()


@pytest.fixture(scope="module")
def terms(catalogue: Catalogue) -> Terms:
    return catalogue.terms(COUNTY, plenty.REF)


@pytest.fixture
def servicer(db: Database, catalogue: Catalogue) -> LoansServicer:
    return LoansServicer(db, catalogue)


@pytest.fixture
def consumer(db: Database, catalogue: Catalogue) -> Consumer:
    return Consumer(db, "loans", handlers(catalogue), batch_size_max=500)


def poor(**values: Any) -> House:
    return House(status="registered_poor", **values)


def reasons(response: loans_pb2.ApplyForLoanResponse) -> list[str]:
    assert list(response.loan.refusal_reasons) == list(
        dict.fromkeys(each.reason for each in response.findings)
    )
    return list(response.loan.refusal_reasons)


async def outlet(
    servicer: LoansServicer, house: House, *, caller: Any = LENDER, **changes: Any
) -> loans_pb2.ApplyForLoanResponse:
    stated = changes.pop("stated", None) or particulars()
    return await ask(servicer, caller, an_application(house, "outlet_credit", stated, **changes))


async def decide(
    servicer: LoansServicer, loan_id: str, step: str, caller: Any, **values: Any
) -> loans_pb2.Loan:
    values = {"approve": True, **values}
    request = command(loans_pb2.DecideApplicationRequest, loan_id, step=step, **values)
    return (await servicer.DecideApplication(request, calling(caller, request))).loan


# --- checks ---------------------------------------------------------------------------------------


FACTS = [loans_pb2.Fact(code="credit_bureau_ok", holds=True)]


@pytest.mark.parametrize(
    ("stated", "reason", "numbers"),
    [
        ({"documents": []}, "DOCUMENTS_MISSING", "0 of 2; missing: id_card, loan_certificate"),
        ({"signatories": []}, "SIGNATURES_MISSING", "0 of 1 signed; missing: borrower"),
        ({"identity_proof": "selfie"}, "IDENTITY_NOT_PROVEN", "selfie given"),
        ({"authorised_by": "adult_child"}, "REMOTE_AUTHORITY_INCOMPLETE", "recorded_call"),
        ({"authorised_by": "neighbour"}, "REMOTE_AUTHORITY_INCOMPLETE", "neighbour"),
        ({"use_mode": "enterprise_use"}, "PROHIBITED_MODE", "enterprise_use"),
        ({"user_id": steps.an_id()}, "USER_IS_NOT_BORROWER", "used by"),
        ({"repayer_id": steps.an_id()}, "REPAYER_IS_NOT_BORROWER", "repaid by"),
        ({"production_cycle_months": 0}, "PRODUCTION_CYCLE_UNKNOWN", "12 months of at most 36"),
        ({"production_cycle_months": 13}, "TERM_BELOW_PRODUCTION_CYCLE", "cycle 13"),
        ({"settlement": "monthly"}, "SETTLEMENT_NOT_OFFERED", "bullet, annual"),
        ({"funding": "lottery"}, "FUNDING_SOURCE_NOT_ALLOWED", "lottery"),
        # The benchmark of this product is the loan prime rate of its day, and a spread of 1,000.
        ({"proposed_rate_ppm": 40_001}, "LOAN_RATE_NOT_ALLOWED", "39000 and 40000"),
        (
            {"proposed_rate_ppm": 39_501, "funding": "poverty_relending"},
            "LOAN_RATE_NOT_ALLOWED",
            "at most 39500",
        ),
        (
            {"fees": [loans_pb2.Fee(code="handling", amount_fen=1)]},
            "FEE_NOT_ALLOWED",
            "handling 1 fen",
        ),
        (
            {"fees": [loans_pb2.Fee(code="appraisal", amount_fen=10_001)]},
            "FEE_TOO_HIGH",
            "appraisal 10001 fen",
        ),
        ({"facts": []}, "GATE_CREDIT_BUREAU_OK", "credit_bureau_ok"),
        (
            {"facts": [*FACTS, loans_pb2.Fact(code="wants_to_prosper", holds=False)]},
            "GATE_WANTS_TO_PROSPER",
            "stated: False",
        ),
        ({"birth_date": day(date(1960, 1, 4))}, "TOO_OLD", "61 full years"),
        ({"birth_date": None}, "AGE_UNKNOWN", "at most 60"),
        ({"channel": "online"}, "IDENTITY_NOT_PROVEN", "nothing given"),
        ({"member_ids": [steps.an_id()]}, "GROUP_NOT_OFFERED", "1 households"),
    ],
)
async def test_each_rule_refuses_alone_and_tells_its_numbers(
    servicer: LoansServicer,
    consumer: Consumer,
    stated: dict[str, Any],
    reason: str,
    numbers: str,
) -> None:
    house = poor()
    await steps.know(consumer, house)

    answer = await outlet(servicer, house, stated=particulars(**stated))

    assert reasons(answer) == [reason]
    assert numbers in answer.findings[0].working


async def test_all_reasons_come_at_once_and_the_file_keeps_them(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house = poor(limit_fen=2_000_000)
    await steps.know(consumer, house)
    await steps.take(consumer, plenty.listed(house, "evader", sequence=2))
    stated = particulars(documents=[], facts=[], proposed_rate_ppm=99_000, birth_date=None)

    answer = await outlet(servicer, house, stated=stated, purpose="house_purchase", term_months=37)

    assert answer.loan.state == REFUSED
    assert reasons(answer) == [
        "ABOVE_CREDIT_LIMIT",
        "PROHIBITED_PURPOSE",
        "TERM_TOO_LONG",
        "BENCHMARK_RATE_UNKNOWN",
        "DOCUMENTS_MISSING",
        "GATE_CREDIT_BUREAU_OK",
        "AGE_UNKNOWN",
        "SANCTIONED",
    ]
    kept = await plenty.file_of(servicer, answer.loan.loan_id, CENTRE)
    assert list(kept.findings) == list(answer.findings)
    assert kept.particulars == stated
    await steps.books_are_whole(db)


async def test_what_satisfies_every_rule_is_taken_in_with_all_that_was_stated(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    house = poor()
    await steps.know(consumer, house)
    stated = particulars(
        channel="counter",
        authorised_by="adult_child",
        authority_evidence=["authorisation_letter", "recorded_call"],
        settlement="annual",
        proposed_rate_ppm=39_500,
        funding="poverty_relending",
        fees=[loans_pb2.Fee(code="appraisal", amount_fen=10_000)],
    )

    answer = await outlet(servicer, house, stated=stated)

    assert reasons(answer) == []
    kept = await plenty.file_of(servicer, answer.loan.loan_id, LENDER)
    assert kept.particulars == stated
    assert kept.borrower_kind == "household"


@pytest.mark.parametrize(
    ("cause", "barred"),
    [
        ("evader", True),
        ("late_payer", False),
        # Credit lists by a sanction's id; several sanctions may share a cause.
        ("wilful_default", True),
        ("default_loans", True),
        ("default_subsidies", False),
        ("never_heard_of", True),
    ],
)
async def test_a_sanction_bars_credit_only_where_the_programme_says_so(
    servicer: LoansServicer, consumer: Consumer, cause: str, *, barred: bool
) -> None:
    house = poor()
    await steps.know(consumer, house)
    await steps.take(consumer, plenty.listed(house, cause, sequence=2))
    first = await outlet(servicer, house)
    await steps.take(consumer, plenty.released(house, sequence=3))

    assert reasons(first) == (["SANCTIONED"] if barred else [])
    if barred:
        assert reasons(await outlet(servicer, house)) == []


async def test_one_who_borrows_again_has_repaid_before(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    house = poor()
    await steps.know(consumer, house)

    first = await outlet(servicer, house, principal_fen=1_000 * YUAN)
    second = await outlet(servicer, house, principal_fen=1_000 * YUAN)

    assert reasons(first) == []
    assert reasons(second) == ["EARLIER_LOAN_OPEN"]


# --- groups and entities --------------------------------------------------------------------------


async def test_a_joint_guarantee_has_ten_to_twenty_households(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    houses = [poor() for _ in range(21)]
    await steps.know(consumer, *houses)

    async def asked(count: int) -> list[str]:
        members = [str(house.household_id) for house in houses[1:count]]
        stated = particulars(member_ids=members)
        request = an_application(houses[0], "joint_guarantee", stated, principal_fen=200_000 * YUAN)
        return reasons(await ask(servicer, CENTRE, request))

    assert await asked(9) == ["GROUP_TOO_SMALL"]
    assert await asked(21) == ["GROUP_TOO_LARGE"]
    assert await asked(10) == []
    # The first of the group now owes: what all of them owe counts for the next one.
    assert await asked(20) == ["ABOVE_PRODUCT_CAP"]


async def test_a_group_of_strangers_or_of_one_twice_is_none(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    lead = poor()
    await steps.know(consumer, lead)

    twice = particulars(member_ids=[str(lead.household_id)])
    strange = particulars(member_ids=[steps.an_id()])

    for stated in (twice, strange):
        request = an_application(lead, "mutual_help", stated, principal_fen=1_000 * YUAN)
        assert "MEMBER_UNKNOWN" in reasons(await ask(servicer, CENTRE, request))


# YY.loa.3: so much a person, the pair's people together.
async def test_a_mutual_help_pair_borrows_so_much_a_person(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    lead, old = poor(), poor()
    await steps.take(consumer, lead.registered(people=3), old.registered(people=2))
    await steps.take(consumer, lead.granted(), old.granted())
    stated = particulars(member_ids=[str(old.household_id)])

    at_most = an_application(lead, "mutual_help", stated, principal_fen=10_000 * YUAN)
    above = an_application(lead, "mutual_help", stated, principal_fen=10_000 * YUAN + 1)
    alone = an_application(lead, "mutual_help", particulars(), principal_fen=1_000 * YUAN)

    assert reasons(await ask(servicer, CENTRE, above)) == ["ABOVE_PRODUCT_CAP"]
    assert reasons(await ask(servicer, CENTRE, alone)) == ["GROUP_TOO_SMALL"]
    assert reasons(await ask(servicer, CENTRE, at_most)) == []


async def test_an_entity_goes_through_investigations_advice_and_a_joint_session(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    entity = Entity()
    await steps.take(consumer, entity.registered())
    stated = particulars(
        birth_date=None, facts=[loans_pb2.Fact(code="linkage_agreement", holds=True)]
    )
    request = an_application(entity, "entity_credit", stated, principal_fen=400_000 * YUAN)
    loan = (await ask(servicer, CENTRE, request)).loan
    assert (loan.state, loan.borrower_class) == (IN_REVIEW, "entity")
    # The bank's investigation starts the clock, not the village's word.
    assert not loan.HasField("sla_due_on")
    loan_id = loan.loan_id

    await decide(servicer, loan_id, "village_recommends", VILLAGE_DEPARTMENT)
    with pytest.raises(Refused, match="EVIDENCE_NEEDED"):
        await decide(servicer, loan_id, "group_advises", CENTRE)
    advised = await decide(servicer, loan_id, "group_advises", CENTRE, evidence="sha256:minutes")
    # Four working days after the 4th; the 6th is a holiday, a weekend follows.
    assert advised.sla_due_on == day(date(2021, 1, 11))

    with pytest.raises(Refused, match="EVIDENCE_NEEDED"):
        await decide(servicer, loan_id, "bank_investigates", LENDER)
    with pytest.raises(NotFound, match="LOAN_NOT_FOUND"):
        await decide(servicer, loan_id, "bank_investigates", OTHER_LENDER, evidence="sha256:r")
    report = {"evidence": "sha256:report"}
    with pytest.raises(Refused, match="LOAN_RATE_NOT_ALLOWED"):
        await decide(
            servicer, loan_id, "bank_investigates", LENDER, proposed_rate_ppm=39_601, **report
        )
    await decide(servicer, loan_id, "bank_investigates", LENDER, proposed_rate_ppm=39_600, **report)
    # In a joint session the order is free; the insurer sees the file while it is asked.
    assert (await plenty.file_of(servicer, loan_id, plenty.UNDERWRITER)).steps
    with pytest.raises(Denied, match="NOT_THE_LENDER"):
        await decide(servicer, loan_id, "county_approves", SECOND_CENTRE, proposed_rate_ppm=1)
    await decide(servicer, loan_id, "county_approves", SECOND_CENTRE)
    foreign = a_caller("insurer", institution_id="ins-9")
    with pytest.raises(Denied, match="NOT_THE_STEPS_ORGAN"):
        await decide(servicer, loan_id, "insurer_investigates", foreign, evidence="sha256:x")
    done = await decide(
        servicer, loan_id, "insurer_investigates", plenty.UNDERWRITER, evidence="sha256:insurer"
    )

    assert (done.state, done.rate_ppm) == (APPROVED, 39_600)
    kept = await plenty.file_of(servicer, loan_id, CENTRE)
    assert [step.step for step in kept.steps] == [
        "village_recommends",
        "group_advises",
        "bank_investigates",
        "county_approves",
        "insurer_investigates",
    ]
    assert (kept.steps[1].body, kept.steps[1].organ) == ("village_risk_group",) * 2
    assert kept.contract.reference_ppm == 36_000
    assert kept.contract.subsidised_rate_ppm == 30_000
    assert kept.contract.breaker_epochs
    with pytest.raises(NotFound, match="LOAN_NOT_FOUND"):
        await plenty.file_of(servicer, loan_id, plenty.UNDERWRITER)
    await steps.books_are_whole(db)


async def test_a_rate_above_the_cap_is_refused_with_the_cap(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    entity = Entity("leading_enterprise")
    await steps.take(consumer, entity.registered())
    stated = particulars(birth_date=None, proposed_rate_ppm=39_601)

    request = an_application(entity, "entity_credit", stated)
    answer = await ask(servicer, CENTRE, request)

    assert reasons(answer) == ["LOAN_RATE_NOT_ALLOWED"]
    assert "39600" in answer.findings[0].working


async def test_entities_that_the_product_does_not_list_are_refused(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    farm, house = Entity("family_farm"), poor()
    await steps.take(consumer, farm.registered())
    await steps.know(consumer, house)
    stated = particulars(birth_date=None)

    request = an_application(farm, "entity_credit", stated)
    assert reasons(await ask(servicer, CENTRE, request)) == ["ENTITY_TYPE_NOT_LISTED"]
    request = an_application(house, "entity_credit", particulars())
    assert reasons(await ask(servicer, CENTRE, request)) == ["PRODUCT_NOT_FOR_THIS_CLASS"]
    request = an_application(farm, "village_line", stated)
    assert reasons(await ask(servicer, CENTRE, request)) == ["PRODUCT_NOT_FOR_THIS_CLASS"]


async def test_an_insurer_lends_its_own_money_within_its_line(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    entities = [Entity() for _ in range(3)]
    await steps.take(consumer, *[each.registered() for each in entities])
    stated = particulars(birth_date=None, proposed_rate_ppm=55_000)

    async def asked(place: int, fen: int) -> loans_pb2.ApplyForLoanResponse:
        request = an_application(
            entities[place],
            "insurer_financing",
            stated,
            lender_id=plenty.INSURER,
            principal_fen=fen,
        )
        return await ask(servicer, plenty.UNDERWRITER, request)

    first = await asked(0, 20_000_000)
    over = await asked(1, 10_000_001)
    assert reasons(over) == ["OVER_LINE"]
    assert "20000000 + 10000001 of 30000000 fen" in over.findings[0].working
    assert reasons(await asked(2, 10_000_000)) == []

    loan_id = first.loan.loan_id
    with pytest.raises(Denied, match="NOT_THE_STEPS_ORGAN"):
        await decide(
            servicer,
            loan_id,
            "insurer_approves",
            a_caller("insurer", institution_id="ins-9"),
        )
    with pytest.raises(Refused, match="OWN_APPLICATION"):
        await decide(servicer, loan_id, "insurer_approves", plenty.UNDERWRITER)
    await decide(servicer, loan_id, "insurer_approves", plenty.SECOND_UNDERWRITER)
    paid = await steps.disburse(servicer, loan_id, caller=plenty.UNDERWRITER)
    assert paid.state == loans_pb2.LOAN_STATE_ACTIVE
    await steps.books_are_whole(db)


# --- one step, cover first ------------------------------------------------------------------------


async def test_an_outlet_alone_decides_once_the_fund_stands_behind_the_loan(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house, fund = poor(), Fund()
    await steps.know(consumer, house)
    loan = (await outlet(servicer, house, stated=particulars(proposed_rate_ppm=39_800))).loan
    assert (loan.state, loan.next_step) == (AWAITING, "outlet_approves")
    assert await steps.story(db, loan.loan_id) == ["loan_applied", "cover_requested"]
    with pytest.raises(Refused, match="WRONG_STEP"):
        await decide(servicer, loan.loan_id, "outlet_approves", APPROVER)
    await steps.take(consumer, fund.reserved(loan.loan_id))

    with pytest.raises(Refused, match="OWN_APPLICATION"):
        await decide(servicer, loan.loan_id, "outlet_approves", LENDER)
    approved = await decide(servicer, loan.loan_id, "outlet_approves", APPROVER)
    with pytest.raises(Refused, match="WRONG_STEP"):
        await decide(servicer, loan.loan_id, "outlet_approves", CASHIER)

    # The loan prime rate of June 2020 and the spread that was proposed.
    assert (approved.state, approved.rate_ppm) == (APPROVED, 39_800)
    kept = await plenty.file_of(servicer, loan.loan_id, LENDER)
    assert (kept.contract.reference_ppm, kept.contract.subsidised_rate_ppm) == (39_000, 30_000)
    assert kept.contract.approved_on == day(OPENED)


async def test_cover_that_was_released_is_asked_for_again_or_the_loan_is_withdrawn(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house, fund = poor(), Fund()
    await steps.know(consumer, house)
    loan_id = (
        await outlet(servicer, house, stated=particulars(proposed_rate_ppm=39_800))
    ).loan.loan_id
    again = command(loans_pb2.RequestCoverAgainRequest, loan_id)
    with pytest.raises(Refused, match="NO_COVER_WANTED"):
        await servicer.RequestCoverAgain(again, calling(LENDER, again))
    await steps.take(consumer, fund.reserved(loan_id))
    await decide(servicer, loan_id, "outlet_approves", APPROVER)
    await steps.take(consumer, fund.released(loan_id))
    with pytest.raises(Refused, match="FUND_COVER_RELEASED"):
        await steps.disburse(servicer, loan_id)

    again = command(loans_pb2.RequestCoverAgainRequest, loan_id)
    asked = await servicer.RequestCoverAgain(again, calling(LENDER, again))
    assert asked.loan.state == AWAITING
    await steps.take(consumer, fund.reserved(loan_id))
    assert (await steps.get(servicer, loan_id)).state == APPROVED

    cancel = command(loans_pb2.CancelApplicationRequest, loan_id)
    with pytest.raises(NotFound, match="LOAN_NOT_FOUND"):
        await servicer.CancelApplication(cancel, calling(OTHER_LENDER, cancel))
    gone = (await servicer.CancelApplication(cancel, calling(LENDER, cancel))).loan
    assert (gone.state, list(gone.refusal_reasons)) == (REFUSED, ["WITHDRAWN"])
    assert await steps.exposure(db, house) == 0
    assert await steps.story(db, loan_id) == [
        "loan_applied",
        "cover_requested",
        "loan_approved",
        "cover_requested",
        "loan_refused",
    ]
    cancel = command(loans_pb2.CancelApplicationRequest, loan_id)
    with pytest.raises(Refused, match="CANNOT_CANCEL"):
        await servicer.CancelApplication(cancel, calling(LENDER, cancel))
    await steps.books_are_whole(db)


# --- the clock ------------------------------------------------------------------------------------


async def test_the_clock_stands_while_the_household_must_supply_something(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    house, fund = poor(), Fund()
    await steps.know(consumer, house)
    loan = (await outlet(servicer, house, stated=particulars(proposed_rate_ppm=39_800))).loan
    await steps.take(consumer, fund.reserved(loan.loan_id))
    assert loan.sla_due_on == day(OPENED + timedelta(days=7))

    suspend = command(
        loans_pb2.SuspendApplicationRequest, loan.loan_id, wanted="income_certificate"
    )
    await servicer.SuspendApplication(suspend, calling(LENDER, suspend))
    with pytest.raises(Refused, match="APPLICATION_SUSPENDED"):
        await decide(servicer, loan.loan_id, "outlet_approves", APPROVER)
    suspend = command(loans_pb2.SuspendApplicationRequest, loan.loan_id, wanted="more")
    with pytest.raises(Refused, match="CANNOT_SUSPEND"):
        await servicer.SuspendApplication(suspend, calling(LENDER, suspend))
    await steps.advance(db, catalogue, 3)
    resume = command(loans_pb2.ResumeApplicationRequest, loan.loan_id)
    resumed = await servicer.ResumeApplication(resume, calling(LENDER, resume))
    # The 5th, the 6th and the 7th do not count.
    assert resumed.loan.sla_due_on == day(OPENED + timedelta(days=10))
    resume = command(loans_pb2.ResumeApplicationRequest, loan.loan_id)
    with pytest.raises(Refused, match="NOT_SUSPENDED"):
        await servicer.ResumeApplication(resume, calling(LENDER, resume))

    await decide(servicer, loan.loan_id, "outlet_approves", APPROVER)
    await steps.advance(db, catalogue, 8)
    await steps.disburse(servicer, loan.loan_id)
    kept = await plenty.file_of(servicer, loan.loan_id, LENDER)
    assert kept.late
    assert kept.done_on == day(OPENED + timedelta(days=11))
    assert [pause.wanted for pause in kept.pauses] == ["income_certificate"]
    (told,) = await steps.said(db, "application_resumed", events_pb2.ApplicationResumed)
    assert told.sla_due_on == resumed.loan.sla_due_on


def test_minutes_go_by_the_recorded_time(terms: Terms) -> None:
    at = datetime(2021, 1, 4, 15, 58, 30, tzinfo=UTC)
    product = terms.product("online_credit")

    def found(done: datetime | None = None) -> Any:
        return clock.deadline(
            product, terms, clock_on=OPENED, clock_at=at, done_on=OPENED, done_at=done
        )

    assert found().due_at == at + timedelta(minutes=3)
    assert found(at + timedelta(minutes=3)).breached is False
    assert found(at + timedelta(minutes=3, seconds=1)).breached is True


def test_a_machine_decides_only_online_at_once_and_alone(terms: Terms) -> None:
    assert chain.by_machine(terms.product("online_credit"), "online")
    assert not chain.by_machine(terms.product("online_credit"), "counter")
    assert not chain.by_machine(terms.product("outlet_credit"), "online")
    assert not chain.by_machine(terms.product("village_line"), "online")
