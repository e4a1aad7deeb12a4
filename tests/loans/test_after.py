"""After disbursement on a real database: standing, new terms, collection, collateral, subsidy."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from google.protobuf.message import Message
from liandong.claims.v1 import events_pb2 as claims_events
from liandong.loans.v1 import events_pb2, loans_pb2

from services.kernel import wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import Denied, LiandongError, Refused
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.loans import steps
from tests.loans.builders import YUAN
from tests.loans.county import (
    APPROVER,
    CENTRE,
    COUNTY,
    LENDER,
    OPENED,
    OPERATOR,
    OTHER_LENDER,
    PACK,
    PROGRAMME,
    VILLAGE,
    Fund,
    House,
    a_caller,
    a_catalogue,
    authorised,
    calling,
    day,
    told,
)

pytestmark = pytest.mark.postgres

FINANCE = a_caller("finance_bureau", institution_id="fin-1")
OTHER_STATION = a_caller("township_station", institution_id="tst-2", areas=(f"{COUNTY}002",))

LOANS = """  maturity_notice:
    lead_months: 2
    to: [township_station]
    to_borrower: true
    channels: [sms, phone]
    at_maturity: true
  overdue_actions: [remind, daily_report]
  npl_actions: [stop_subsidy, collect, lower_grade, blacklist, court]
  escalation: [village_department, township_station]
  collection_discount:
    stages:
      - {id: stage_1, discount_pct: 10, from: 2022-01-01, to: 2022-06-30}
      - {id: stage_2, discount_pct: 5, from: 2022-07-01, to: 2022-12-31}
  dispositions:
    - {id: sound, actions: [repayment_plan, notice]}
    - {id: temporary_difficulty, actions: [funding_help]}
    - {id: sound_still_in_need, actions: [renewal]}
    - {id: malicious, actions: [forced_collection], plan_per_case: true}
    - {id: force_majeure, actions: [compensation]}
  hardship_relief: {requires: [hardship], interest_reduction_pct: 50, flexible_repayment: true}
  subsidy_budget: {min_yearly_fen: 100000}
loan_products:
"""

AGREED = """    renewal:
      principal: carried
      conditions: [project_good, still_needs_funds]
      rechecks: [age, blacklist]
    extension: {max_months: 6, conditions: [harvest_late]}
"""

PLEDGED = """  - id: pledged
    title: {zh: 质押贷款, en: Pledged}
    borrower_classes: [poor_household, non_poor_household]
    max_term_months: 36
    security:
      collateral: required
      guarantor: required
      guarantor_parties: [guarantee]
      cover: {more_than_pct: 100}
      pledges:
        - {id: live_animals, type: advance, assets: [livestock], advance_pct: 50,
           price_source: price_bulletin, revalued_every: quarter}
        - {id: sheep, type: deposit, asset: tan_sheep, keeper: guarantee, deposit_pct: 80,
           monthly_rate_ppm: 5000, price_source: price_bulletin,
           refund: {when: sold_to_keeper, requires: [proof_of_sale, no_arrears]}}
        - {id: forest_right, type: advance, assets: [forest_right], valued_at: appraisal,
           advance_pct: 60}
    pricing: {mode: benchmark}
    subsidy: {mode: none}
    interest_settlement: bullet
    approval_chain:
      - {step: county_checks, kind: check, organ: county_centre}
      - {step: bank_approves, kind: approval, organ: lender}
  - id: partly
    title: {zh: 部分贴息, en: Partly subsidised}
    borrower_classes: [poor_household, non_poor_household]
    max_term_months: 60
    pricing: {mode: benchmark}
    subsidy: {mode: capped_rate, rate_ppm: 30000, max_months: 3}
    interest_settlement: bullet
    renewal: {principal: carried, conditions: [], rechecks: []}
    approval_chain:
      - {step: county_checks, kind: check, organ: county_centre}
      - {step: bank_approves, kind: approval, organ: lender}
insurance:
"""


def a_pack() -> str:
    pack = PACK.replace("  maturity_notice: {lead_months: 2, to: [township_station]}\n", "")
    pack = pack.replace("loan_products:\n", LOANS)
    pack = pack.replace(
        "    interest_settlement: bullet\n",
        f"    interest_settlement: [bullet, equal_principal]\n{AGREED}",
    )
    pack = pack.replace("insurance:\n", PLEDGED, 1)
    return pack.replace(
        "monitoring:\n",
        "monitoring:\n  reopening: {month_ends_below: 2, decided_by: county_centre}\n",
    )


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return a_catalogue(a_pack())


async def ask(servicer: LoansServicer, name: str, caller: Caller = LENDER, **values: Any) -> Any:
    """Call a method with a body of these values."""
    request_type: Callable[..., Message] = getattr(loans_pb2, f"{name}Request")
    known = request_type.DESCRIPTOR.fields_by_name  # type: ignore[attr-defined]
    if "request_id" in known:
        values["request_id"] = steps.an_id()
    request = request_type(county_code=COUNTY, **values)
    return await getattr(servicer, name)(request, calling(caller, request))


async def refused(reason: str, work: Any) -> LiandongError:
    with pytest.raises(LiandongError) as refusal:
        await work
    assert refusal.value.reason == reason
    return refusal.value


async def a_loan(servicer: LoansServicer, consumer: Consumer, **changes: Any) -> str:
    return (await steps.active(servicer, consumer, House(), **changes)).loan_id


async def actions(db: Database) -> list[tuple[str, int, str]]:
    found = await steps.said(db, "loan_action_taken", events_pb2.LoanActionTaken)
    return [(each.cause, each.place, each.action) for each in found]


# --- standing -------------------------------------------------------------------------------------


async def test_what_follows_on_overdue_and_on_non_performing_comes_in_the_packs_order(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan_id = await a_loan(servicer, consumer, term_months=1)
    await steps.advance(db, catalogue, 31 + 71)
    assert await actions(db) == [("overdue", 1, "remind"), ("overdue", 2, "daily_report")]

    await steps.advance(db, catalogue, 1)

    assert (await actions(db))[2:] == [
        ("non_performing", place, action)
        for place, action in enumerate(
            ["stop_subsidy", "collect", "lower_grade", "blacklist", "court"], 1
        )
    ]
    [bad] = await steps.said(db, "loan_non_performing", events_pb2.LoanNonPerforming)
    assert (bad.overdue_days, bad.rule_version) == (71, "plain@1")
    assert (await steps.get(servicer, loan_id)).non_performing
    cases = (await ask(servicer, "ListCollectionCases", loan_id=loan_id)).cases
    assert [case.cause for case in cases] == ["non_performing"]
    found = await ask(servicer, "GetLoanHistory", loan_id=loan_id)
    assert [change.now for change in found.classes] == [loans_pb2.FIVE_TIER_CLASS_SPECIAL_MENTION]
    assert len(found.actions) == 7

    await steps.repay(servicer, loan_id, 40_000 * YUAN, on=OPENED)
    await steps.advance(db, catalogue, 1)
    assert not (await ask(servicer, "ListCollectionCases", open_only=True)).cases
    await steps.books_are_whole(db)


async def test_a_class_is_judged_worse_and_never_better_than_the_days(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan_id = await a_loan(servicer, consumer, term_months=1)
    doubtful, normal = loans_pb2.FIVE_TIER_CLASS_DOUBTFUL, loans_pb2.FIVE_TIER_CLASS_NORMAL
    judged = await ask(
        servicer, "ReclassifyLoan", loan_id=loan_id, five_tier_class=doubtful, reason="失联"
    )
    assert judged.loan.five_tier_class == doubtful
    await steps.advance(db, catalogue, 40)
    assert (await steps.get(servicer, loan_id)).five_tier_class == doubtful

    await refused(
        "CLASS_BETTER_THAN_DAYS",
        ask(servicer, "ReclassifyLoan", loan_id=loan_id, five_tier_class=normal, reason="x"),
    )
    await refused(
        "LOAN_NOT_FOUND",
        ask(servicer, "ReclassifyLoan", OTHER_LENDER, loan_id=loan_id, five_tier_class=doubtful,
            reason="x"),
    )  # fmt: skip


async def test_a_cured_loan_is_normal_again_at_the_day_close(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan_id = await a_loan(servicer, consumer, term_months=1)
    await steps.advance(db, catalogue, 110)
    extended = await ask(
        servicer,
        "ExtendLoan",
        loan_id=loan_id,
        months=6,
        conditions=["harvest_late"],
        reason="晚收",
    )
    assert extended.loan.overdue_days == 0
    await steps.advance(db, catalogue, 1)

    loan = await steps.get(servicer, loan_id)
    assert (loan.five_tier_class, loan.non_performing) == (loans_pb2.FIVE_TIER_CLASS_NORMAL, False)
    assert len(await steps.said(db, "loan_performing", events_pb2.LoanPerforming)) == 1
    await steps.books_are_whole(db)


async def test_the_maturity_is_told_ahead_and_on_its_day_by_the_packs_channels(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan_id = await a_loan(servicer, consumer, term_months=3)
    before = await steps.get(servicer, loan_id)
    await steps.advance(db, catalogue, 95)
    after = await steps.get(servicer, loan_id)

    assert wire.date_from_proto("notice_on", before.notice_on) < wire.date_from_proto(
        "matures_on", before.matures_on
    )
    assert not after.HasField("notice_on")
    told_ = await steps.said(db, "loan_due_soon", events_pb2.LoanDueSoon)
    assert [each.at_maturity for each in told_] == [False, True]
    assert list(told_[0].channels) == ["sms", "phone"]
    assert list(told_[0].to) == ["township_station"]
    assert told_[0].to_borrower


async def test_loans_of_a_household_that_died_are_frozen_until_they_are_reviewed(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    house = House()
    paid = (await steps.active(servicer, consumer, house)).loan_id
    waiting = (await steps.approved(servicer, house)).loan_id
    await steps.take(consumer, house.changed(area_code=VILLAGE, status="deceased"))

    await refused("LOAN_FROZEN", steps.disburse(servicer, waiting))
    extension: dict[str, Any] = {
        "loan_id": paid,
        "months": 1,
        "conditions": ["harvest_late"],
        "reason": "x",
    }
    await refused("LOAN_FROZEN", ask(servicer, "ExtendLoan", **extension))
    warnings = (await ask(servicer, "ListEarlyWarnings")).warnings
    assert {w.kind for w in warnings} == {"household_deceased"}
    reviews = (await ask(servicer, "ListLoanReviews", CENTRE, open_only=True)).reviews
    assert {review.loan_id for review in reviews} == {paid, waiting}

    for review in reviews:
        await ask(
            servicer, "CloseLoanReview", CENTRE, review_id=review.review_id,
            outcome=loans_pb2.REVIEW_OUTCOME_COLLECT, reason="继承人无力偿还",
        )  # fmt: skip
    again = ask(
        servicer, "CloseLoanReview", CENTRE, review_id=reviews[0].review_id,
        outcome=loans_pb2.REVIEW_OUTCOME_CONTINUE, reason="x",
    )  # fmt: skip
    await refused("REVIEW_CLOSED", again)

    cases = (await ask(servicer, "ListCollectionCases")).cases
    assert [(case.loan_id, case.cause) for case in cases] == [(paid, "review")]
    assert (await ask(servicer, "ExtendLoan", **extension)).loan.loan_id == paid
    frozen = await steps.said(db, "loan_frozen", events_pb2.LoanFrozen)
    assert len(frozen) == 2
    # A person may freeze a loan too, once at a time.
    await ask(servicer, "FreezeLoan", loan_id=paid, cause="misuse_suspected")
    await refused("LOAN_FROZEN", ask(servicer, "FreezeLoan", loan_id=paid, cause="again"))
    await steps.books_are_whole(db)


async def test_a_payout_that_nobody_confirms_is_warned_of_once(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    house = House()
    late = (await steps.active(servicer, consumer, house)).loan_id
    event = authorised(house.household_id, 100 * YUAN, [late])
    other = authorised(house.household_id, 100 * YUAN, [late])
    await steps.take(consumer, event, other)
    confirmed = claims_events.PayoutSettled(payout_id=other.envelope.aggregate_id)
    aggregate = ("claims.payout", other.envelope.aggregate_id)
    await steps.take(consumer, told("liandong.claims.v1.payout_settled", aggregate, 2, confirmed))
    await steps.advance(db, catalogue, 10)

    warnings = (await ask(servicer, "ListEarlyWarnings", loan_id=late)).warnings
    assert [warned.kind for warned in warnings] == ["payout_unconfirmed"]


# --- new terms ------------------------------------------------------------------------------------


async def test_an_extension_needs_the_packs_conditions_and_months(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan_id = await a_loan(servicer, consumer)
    asked: dict[str, Any] = {"loan_id": loan_id, "reason": "晚收"}
    unmet = await refused(
        "EXTENSION_CONDITIONS_NOT_MET", ask(servicer, "ExtendLoan", months=7, **asked)
    )
    assert unmet.facts["failed"] == "harvest_late, too_long"
    loan = (await ask(servicer, "ExtendLoan", months=3, conditions=["harvest_late"], **asked)).loan
    assert loan.matures_on == day(date(2022, 4, 4))
    assert loan.next_due_on == day(date(2022, 4, 4))
    pledged = await a_loan(servicer, consumer, product_id="partly")
    await refused(
        "EXTENSION_NOT_OFFERED",
        ask(servicer, "ExtendLoan", loan_id=pledged, months=1, reason="x"),
    )
    found = await ask(servicer, "GetLoanHistory", loan_id=loan_id)
    assert [change.kind for change in found.terms] == ["extension"]


async def test_a_renewal_carries_the_principal_and_moves_no_cash(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    house, fund = House(status="registered_poor"), Fund()
    old = (await steps.covered(servicer, consumer, house, fund)).loan_id
    await steps.advance(db, catalogue, 360)
    asked: dict[str, Any] = {"loan_id": old, "term_months": 12, "evidence": "sha256:ab"}
    conditions = ["project_good", "still_needs_funds", "age_ok", "blacklist_ok"]
    unmet = await refused(
        "RENEWAL_CONDITIONS_NOT_MET",
        ask(servicer, "RenewLoan", conditions=conditions[:3], **asked),
    )
    assert unmet.facts["failed"] == "blacklist_ok"
    before = await steps.exposure(db, house)

    renewed = await ask(servicer, "RenewLoan", conditions=conditions, **asked)

    assert renewed.subsidy_months_left == 24
    assert renewed.renewed.state == loans_pb2.LOAN_STATE_SETTLED
    assert renewed.loan.outstanding_fen == 30_000 * YUAN
    assert await steps.exposure(db, house) == before
    new = renewed.loan.loan_id
    assert await steps.story(db, new) == [
        "loan_applied",
        "cover_requested",
        "loan_approved",
        "loan_disbursed",
        "loan_renewed",
    ]
    await steps.take(consumer, fund.reserved(new))
    found = await ask(servicer, "GetLoanHistory", loan_id=new)
    assert found.renewed_from_loan_id == old
    total = await steps.books_are_whole(db)
    assert total["loans.outstanding_principal_fen"] == 30_000 * YUAN
    assert total["loans.covered_principal_fen"] >= 30_000 * YUAN
    await refused("LOAN_NOT_ACTIVE", ask(servicer, "RenewLoan", conditions=conditions, **asked))


async def test_new_terms_replan_what_is_owed_and_keep_a_bad_class(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan_id = await a_loan(servicer, consumer, term_months=1)
    await steps.advance(db, catalogue, 31 + 100)
    asked: dict[str, Any] = {"loan_id": loan_id, "term_months": 10, "reason": "灾后"}
    await refused("METHOD_NOT_ALLOWED", ask(servicer, "RestructureLoan", method="monthly", **asked))
    await refused(
        "LOAN_RATE_NOT_ALLOWED",
        ask(servicer, "RestructureLoan", method="bullet", rate_ppm=90_000, **asked),
    )

    loan = (
        await ask(servicer, "RestructureLoan", method="equal_principal", rate_ppm=20_000, **asked)
    ).loan

    assert (loan.rate_ppm, loan.next_due_on) == (20_000, day(date(2021, 6, 15)))
    request = loans_pb2.GetRepaymentScheduleRequest(county_code=COUNTY, loan_id=loan_id)
    plan = await servicer.GetRepaymentSchedule(request, calling(LENDER, request))
    assert [each.principal_fen for each in plan.instalments] == [3_000 * YUAN] * 10
    today = await steps.advance(db, catalogue, 1)
    loan = await steps.get(servicer, loan_id)
    assert loan.non_performing
    assert loan.five_tier_class == loans_pb2.FIVE_TIER_CLASS_SUBSTANDARD
    await ask(
        servicer, "ReclassifyLoan", loan_id=loan_id, reason="恢复还款",
        five_tier_class=loans_pb2.FIVE_TIER_CLASS_SPECIAL_MENTION,
    )  # fmt: skip
    await steps.advance(db, catalogue, 1)
    assert not (await steps.get(servicer, loan_id)).non_performing
    # The instalment that is due first, and all interest charged so far, not that of its month.
    await steps.repay(servicer, loan_id, 3_500 * YUAN, on=today)
    await steps.advance(db, catalogue, 40)
    loan = await steps.get(servicer, loan_id)
    assert (loan.next_due_on, loan.overdue_days) == (day(date(2021, 6, 15)), 10)
    loan = await steps.repay(servicer, loan_id, 60 * YUAN, on=date(2021, 6, 15))
    assert (loan.next_due_on, loan.overdue_days) == (day(date(2021, 7, 15)), 0)
    await steps.books_are_whole(db)


async def test_hardship_lets_off_a_part_of_the_interest_once(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan_id = await a_loan(servicer, consumer)
    await steps.advance(db, catalogue, 100)
    asked: dict[str, Any] = {"loan_id": loan_id, "evidence": "sha256:ab"}
    await refused("RELIEF_CONDITIONS_NOT_MET", ask(servicer, "GrantHardshipRelief", **asked))

    granted = await ask(servicer, "GrantHardshipRelief", conditions=["hardship"], **asked)

    assert granted.forgiven_fen == 150 * YUAN
    assert granted.loan.interest_fen == 150 * YUAN
    assert granted.flexible_repayment
    await refused(
        "RELIEF_USED", ask(servicer, "GrantHardshipRelief", conditions=["hardship"], **asked)
    )
    loan = await ask(
        servicer, "RestructureLoan", loan_id=loan_id, term_months=12, method="monthly", reason="x"
    )
    assert loan.loan.next_due_on == day(date(2021, 5, 14))
    await steps.books_are_whole(db)


# --- collection -----------------------------------------------------------------------------------


async def test_a_case_is_escalated_and_goes_to_court_in_order(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan_id = await a_loan(servicer, consumer, term_months=1)
    opened: dict[str, Any] = {"loan_id": loan_id, "cause": "refuses", "due_class": "malicious"}
    await refused("LOAN_NOT_OVERDUE", ask(servicer, "OpenCollectionCase", **opened))
    today = await steps.advance(db, catalogue, 40)
    case = (await ask(servicer, "OpenCollectionCase", CENTRE, **opened)).case
    assert list(case.actions) == ["forced_collection"]
    await refused("CASE_OPEN", ask(servicer, "OpenCollectionCase", **opened))

    async def step(kind: str) -> loans_pb2.CollectionCase:
        taken = await ask(
            servicer, "RecordCollectionStep", case_id=case.case_id, done_on=day(today), note="记录",
            kind=loans_pb2.CollectionStepKind.Value(f"COLLECTION_STEP_KIND_{kind}"),
        )  # fmt: skip
        return taken.case  # type: ignore[no-any-return]

    assert (await step("ESCALATED")).organ == "village_department"
    assert (await step("ESCALATED")).organ == "township_station"
    await refused("LAST_ORGAN", step("ESCALATED"))
    await refused("NOT_AT_COURT", step("JUDGMENT"))
    assert (await step("COURT_FILED")).at_court
    await step("JUDGMENT")
    await step("ENFORCED")
    await refused(
        "CASE_NOT_FOUND", ask(servicer, "GetCollectionCase", OTHER_LENDER, case_id=case.case_id)
    )
    for stranger in (OTHER_LENDER, OTHER_STATION):
        closing = {"case_id": case.case_id, "outcome": "撤销"}
        await refused("CASE_NOT_FOUND", ask(servicer, "CloseCollectionCase", stranger, **closing))
    await ask(servicer, "CloseCollectionCase", case_id=case.case_id, outcome="执行完毕")
    await refused("CASE_CLOSED", step("VISITED"))
    found = (await ask(servicer, "GetCollectionCase", case_id=case.case_id)).case
    assert [each.number for each in found.steps] == [1, 2, 3, 4, 5]
    await steps.books_are_whole(db)


async def test_a_campaign_forgives_a_part_of_the_interest_once_a_debt(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan_id = await a_loan(servicer, consumer, term_months=11)
    await steps.advance(db, catalogue, 361)
    early = await a_loan(servicer, consumer)
    asked: dict[str, Any] = {"loan_id": loan_id, "amount_fen": 969 * YUAN}
    await refused(
        "LOAN_NOT_OVERDUE", ask(servicer, "SettleWithDiscount", loan_id=early, amount_fen=1)
    )
    await refused("NO_CAMPAIGN_STAGE", ask(servicer, "SettleWithDiscount", **asked))
    await steps.advance(db, catalogue, 1)
    # 362 days of 30,000 yuan at 3.6 % are 1,086 yuan; a tenth is forgiven.
    await refused("DISCOUNT_NEEDS_PAYMENT", ask(servicer, "SettleWithDiscount", **asked))

    settled = await ask(
        servicer, "SettleWithDiscount", loan_id=loan_id, amount_fen=int(977.4 * YUAN)
    )

    assert (settled.stage, settled.forgiven_fen) == ("stage_1", 10_860)
    assert (settled.loan.interest_fen, settled.loan.outstanding_fen) == (0, 30_000 * YUAN)
    await refused("DISCOUNT_USED", ask(servicer, "SettleWithDiscount", **asked))
    await steps.books_are_whole(db)


async def test_two_persons_write_off_and_what_comes_later_is_a_recovery(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan_id = await a_loan(servicer, consumer, term_months=1)
    proposal: dict[str, Any] = {"loan_id": loan_id, "reason": "无可执行财产"}
    await refused("LOAN_NOT_NON_PERFORMING", ask(servicer, "ProposeWriteOff", **proposal))
    today = await steps.advance(db, catalogue, 31 + 80)
    proposed = (await ask(servicer, "ProposeWriteOff", **proposal)).write_off
    await refused("WRITE_OFF_PROPOSED", ask(servicer, "ProposeWriteOff", **proposal))
    decision: dict[str, Any] = {"write_off_id": proposed.write_off_id, "approve": True}
    await refused("SAME_PERSON", ask(servicer, "DecideWriteOff", **decision))

    decided = await ask(servicer, "DecideWriteOff", APPROVER, **decision)

    assert decided.loan.state == loans_pb2.LOAN_STATE_WRITTEN_OFF
    assert (decided.write_off.principal_fen, decided.write_off.interest_fen) == (3_000_000, 33_300)
    await refused("WRITE_OFF_DECIDED", ask(servicer, "DecideWriteOff", APPROVER, **decision))
    await steps.books_are_whole(db)
    recovered = await steps.repay(servicer, loan_id, 10_000 * YUAN, on=today)
    assert recovered.state == loans_pb2.LOAN_STATE_WRITTEN_OFF
    # More than was written off is the payer's.
    paid = await steps.repay(servicer, loan_id, 21_000 * YUAN, on=today)
    assert paid.suspense_fen == 31_000 * YUAN - 3_033_300
    said = await steps.said(db, "loan_repaid", events_pb2.LoanRepaid)
    assert [each.recovered_fen for each in said] == [1_000_000, 2_033_300]
    undone = await ask(servicer, "ReverseRepayment", loan_id=loan_id, number=3, reason="错账")
    assert undone.loan.state == loans_pb2.LOAN_STATE_WRITTEN_OFF
    await steps.books_are_whole(db)
    await steps.advance(db, catalogue, 3)
    await steps.books_are_whole(db)


# S21, decision 0028
async def test_what_comes_back_of_a_written_off_loan_belongs_to_those_who_paid(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    """30,333 yuan are written off, 10,000 recovered, and the whole loss is shared after that."""
    loan_id = await a_loan(servicer, consumer, term_months=1)
    today = await steps.advance(db, catalogue, 31 + 80)
    proposal: dict[str, Any] = {"loan_id": loan_id, "reason": "无可执行财产"}
    proposed = (await ask(servicer, "ProposeWriteOff", **proposal)).write_off
    decision: dict[str, Any] = {"write_off_id": proposed.write_off_id, "approve": True}
    await ask(servicer, "DecideWriteOff", APPROVER, **decision)
    await steps.repay(servicer, loan_id, 10_000 * YUAN, on=today)

    await steps.take(consumer, Fund().paid(loan_id, {"fund": ("fin-1", 3_033_300)}))

    # The fund had not heard of the 10,000: its lender gives them back.
    (said,) = await steps.said(db, "compensation_exceeded", events_pb2.CompensationExceeded)
    assert (said.excess_fen, said.subrogated_fen) == (1_000_000, 2_033_300)
    await steps.repay(servicer, loan_id, 20_000 * YUAN, on=today)
    paid = await steps.repay(servicer, loan_id, 1_000 * YUAN, on=today)
    assert (paid.subrogated_fen, paid.suspense_fen) == (0, 66_700)
    repaid = await steps.said(db, "loan_repaid", events_pb2.LoanRepaid)
    assert [each.subrogated_fen for each in repaid] == [0, 2_000_000, 33_300]
    await steps.books_are_whole(db)


# --- collateral -----------------------------------------------------------------------------------


async def test_required_collateral_is_valued_from_the_named_source_before_the_money(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    house = House()
    await steps.know(consumer, house)
    plain = (await steps.approved(servicer, house)).loan_id
    loan_id = (
        await steps.approved(
            servicer,
            house,
            product_id="pledged",
            principal_fen=1_000 * YUAN,
            particulars=loans_pb2.Particulars(guarantor_id="agr-1"),
        )
    ).loan_id
    await refused("COLLATERAL_MISSING", steps.disburse(servicer, loan_id))
    offered: dict[str, Any] = {
        "loan_id": loan_id,
        "pledge_id": "live_animals",
        "asset": "livestock",
        "units": 4,
        "unit_value_fen": 500 * YUAN,
        "source": "price_bulletin",
        "evidence": "sha256:ab",
    }
    for reason, changes in (
        ("COLLATERAL_NOT_ALLOWED", {"loan_id": plain}),
        ("PLEDGE_UNKNOWN", {"pledge_id": "gold"}),
        ("ASSET_NOT_ALLOWED", {"asset": "tractor"}),
        ("PRICE_SOURCE_NOT_NAMED", {"source": "neighbour"}),
        ("KEEPER_MISSING", {"pledge_id": "sheep", "asset": "tan_sheep"}),
        ("KEEPER_NOT_A_PARTY", {"pledge_id": "sheep", "asset": "tan_sheep", "keeper_id": "x-1"}),
        ("COLLATERAL_TOO_LOW", {"pledge_id": "", "units": 2}),
    ):
        await refused(reason, ask(servicer, "RegisterCollateral", **{**offered, **changes}))
    held = (await ask(servicer, "RegisterCollateral", **offered)).collateral
    assert (held.value_fen, held.secures_fen) == (2_000 * YUAN, 1_000 * YUAN)
    assert held.revalue_by == day(date(2021, 4, 4))
    await steps.disburse(servicer, loan_id)
    await refused(
        "LOAN_NOT_SETTLED", ask(servicer, "ReleaseCollateral", collateral_id=held.collateral_id)
    )

    today = await steps.advance(db, catalogue, 92)
    revalued = await ask(
        servicer, "RevalueCollateral", collateral_id=held.collateral_id, units=3,
        unit_value_fen=500 * YUAN, source="price_bulletin",
    )  # fmt: skip
    assert not revalued.enough
    warned = (await ask(servicer, "ListEarlyWarnings", loan_id=loan_id)).warnings
    assert {each.kind for each in warned} == {"revaluation_due", "collateral_short"}
    await steps.repay(servicer, loan_id, 2_000 * YUAN, on=today)
    await steps.advance(db, catalogue, 1)
    [freed] = (await ask(servicer, "ListCollateral", loan_id=loan_id)).collateral
    assert freed.released_on == day(today)
    await refused(
        "COLLATERAL_RELEASED",
        ask(servicer, "ReleaseCollateral", collateral_id=held.collateral_id),
    )
    await steps.books_are_whole(db)


async def test_deposited_sheep_bear_interest_and_give_the_loans_back_on_a_proven_sale(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    house = House()
    await steps.know(consumer, house)
    loan = await steps.approved(
        servicer,
        house,
        product_id="pledged",
        principal_fen=8_000 * YUAN,
        particulars=loans_pb2.Particulars(guarantor_id="agr-1"),
    )
    offered: dict[str, Any] = {
        "pledge_id": "sheep",
        "asset": "tan_sheep",
        "source": "price_bulletin",
    }
    held = (
        await ask(
            servicer, "RegisterCollateral", loan_id=loan.loan_id, units=10, evidence="note",
            unit_value_fen=1_000 * YUAN, keeper_id="agr-1", **offered,
        )
    ).collateral  # fmt: skip
    assert held.secures_fen == 8_000 * YUAN
    await steps.disburse(servicer, loan.loan_id)
    today = await steps.advance(db, catalogue, 90)
    [held] = (await ask(servicer, "ListCollateral")).collateral
    # 800 yuan a sheep at half a percent a month, ten sheep, two months.
    assert held.yield_fen == 2 * 10 * 4 * YUAN
    sale: dict[str, Any] = {
        "collateral_id": held.collateral_id,
        "sold_on": day(today),
        "evidence": "invoice",
    }
    missing = await refused("REFUND_NOT_DUE", ask(servicer, "RefundDepositInterest", **sale))
    assert missing.facts["missing"] == "proof_of_sale"

    refund = await ask(servicer, "RefundDepositInterest", proofs=["proof_of_sale"], **sale)

    # Three months of 8,000 yuan at 3.6 % a year.
    assert refund.refund_fen == 7_200
    again = ask(servicer, "RefundDepositInterest", proofs=["proof_of_sale"], **sale)
    await refused("REFUND_USED", again)
    await steps.books_are_whole(db)


# --- subsidy --------------------------------------------------------------------------------------


async def test_a_capped_subsidy_is_split_and_ends_with_the_households_months(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    house = House()
    loan_id = (await steps.active(servicer, consumer, house, product_id="partly")).loan_id
    today = await steps.advance(db, catalogue, 100)

    # 90 days at 3.0 of 3.6 %, then the household bears all.
    quote = await ask(servicer, "GetPayoffQuote", loan_id=loan_id, value_date=day(today))
    assert quote.subsidised_interest_fen == 22_500
    assert quote.interest_fen == 30_000 - 22_500
    [stopped] = await steps.said(db, "subsidy_stopped", events_pb2.SubsidyStopped)
    assert (stopped.cause, stopped.stopped_on) == ("months_used", day(date(2021, 4, 4)))
    await steps.repay(servicer, loan_id, 75 * YUAN, on=today)
    renewed = await ask(
        servicer, "RenewLoan", loan_id=loan_id, term_months=12, evidence="sha256:ab"
    )
    assert renewed.subsidy_months_left == 0
    await steps.advance(db, catalogue, 10)
    await steps.books_are_whole(db)


async def test_lenders_claim_a_quarter_and_the_bureau_pays_within_the_budget(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    house, fund = House(status="registered_poor"), Fund()
    loan_id = (await steps.covered(servicer, consumer, house, fund)).loan_id
    quarter: dict[str, Any] = {"programme_id": PROGRAMME, "year": 2021, "quarter": 1}
    await refused("QUARTER_NOT_OVER", ask(servicer, "ClaimSubsidy", **quarter))
    today = await steps.advance(db, catalogue, 100)
    # Money that came after the quarter does not change what it bore.
    await steps.repay(servicer, loan_id, 10_000 * YUAN, on=today)
    await refused("NOTHING_TO_CLAIM", ask(servicer, "ClaimSubsidy", OTHER_LENDER, **quarter))

    claim = (await ask(servicer, "ClaimSubsidy", **quarter)).claim

    assert (claim.amount_fen, claim.loans) == (86 * 300, 1)
    await refused("QUARTER_CLAIMED", ask(servicer, "ClaimSubsidy", **quarter))
    lines = (await ask(servicer, "GetSubsidyClaim", claim_id=claim.claim_id)).lines
    assert [(line.loan_id, line.borne_fen) for line in lines] == [(loan_id, 25_800)]
    budget: dict[str, Any] = {"programme_id": PROGRAMME, "year": 2021}
    await refused(
        "BELOW_BUDGET_FLOOR",
        ask(servicer, "SetSubsidyBudget", FINANCE, budget_fen=99_999, **budget),
    )
    await ask(servicer, "SetSubsidyBudget", FINANCE, budget_fen=100_000, **budget)
    paid = await ask(servicer, "PaySubsidy", FINANCE, claim_id=claim.claim_id, reference="拨款1号")
    assert paid.claim.paid_on == day(today)
    await refused(
        "CLAIM_PAID", ask(servicer, "PaySubsidy", FINANCE, claim_id=claim.claim_id, reference="x")
    )
    left = (await ask(servicer, "GetSubsidyBudget", FINANCE, **budget)).budget
    assert (left.floor_fen, left.paid_fen, left.balance_fen) == (100_000, 25_800, 74_200)
    await refused(
        "CLAIM_NOT_FOUND", ask(servicer, "GetSubsidyClaim", OTHER_LENDER, claim_id=claim.claim_id)
    )
    await steps.books_are_whole(db)
    # What is backdated into a claimed quarter comes back with the next claim.
    await steps.repay(servicer, loan_id, 10_000 * YUAN, on=date(2021, 3, 31))
    await steps.advance(db, catalogue, 90)
    second = (await ask(servicer, "ClaimSubsidy", **{**quarter, "quarter": 2})).claim
    by_loan = (await ask(servicer, "GetSubsidyClaim", claim_id=second.claim_id)).lines
    assert by_loan[0].borne_fen == 25_800 + second.amount_fen
    await steps.books_are_whole(db)


async def test_a_budget_that_is_used_up_pays_no_more(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    for _ in range(6):
        house = House(status="registered_poor", limit_fen=5_000_000)
        await steps.covered(servicer, consumer, house, Fund())
    await steps.advance(db, catalogue, 100)
    budget: dict[str, Any] = {"programme_id": PROGRAMME, "year": 2021, "budget_fen": 100_000}
    await ask(servicer, "SetSubsidyBudget", FINANCE, **budget)
    claim = (
        await ask(servicer, "ClaimSubsidy", programme_id=PROGRAMME, year=2021, quarter=1)
    ).claim
    too_much = await refused(
        "SUBSIDY_BUDGET_EXCEEDED",
        ask(servicer, "PaySubsidy", FINANCE, claim_id=claim.claim_id, reference="x"),
    )
    assert too_much.facts["balance_fen"] == "100000"
    claims = (await ask(servicer, "ListSubsidyClaims", FINANCE)).claims
    assert [each.amount_fen for each in claims] == [6 * 25_800]


# --- breakers -------------------------------------------------------------------------------------


async def test_a_breaker_is_reset_by_the_county_after_two_month_ends_below(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan_id = await a_loan(servicer, consumer, term_months=1)
    await a_loan(servicer, consumer)
    today = await steps.advance(db, catalogue, 31 + 72)
    reset: dict[str, Any] = {"scope": "village", "scope_id": VILLAGE, "reason": "已清收"}
    await refused("MONTH_ENDS_NOT_BELOW", ask(servicer, "ResetBreaker", CENTRE, **reset))
    await steps.repay(servicer, loan_id, 31_000 * YUAN, on=today)
    await steps.advance(db, catalogue, 20)
    few = await refused("MONTH_ENDS_NOT_BELOW", ask(servicer, "ResetBreaker", CENTRE, **reset))
    assert few.facts["month_ends_below"] == "1"
    await steps.advance(db, catalogue, 31)
    with pytest.raises(Denied):
        await ask(servicer, "ResetBreaker", FINANCE, **reset)

    freed = (await ask(servicer, "ResetBreaker", CENTRE, **reset)).breaker

    assert freed.scope_id == VILLAGE
    await refused("BREAKER_NOT_TRIPPED", ask(servicer, "ResetBreaker", CENTRE, **reset))
    records = (await ask(servicer, "ListBreakerRecords", CENTRE, scope_id=VILLAGE)).records
    assert [each.what for each in records] == ["tripped", "month_end", "month_end", "reset"]
    [said] = await steps.said(db, "breaker_reset", events_pb2.BreakerReset)
    assert said.month_ends_below == 2
    await steps.advance(db, catalogue, 1)
    request = loans_pb2.ListBreakersRequest(county_code=COUNTY)
    tripped = await servicer.ListBreakers(request, calling(CENTRE, request))
    assert VILLAGE not in [breaker.scope_id for breaker in tripped.breakers]
    await steps.books_are_whole(db)


async def test_a_day_close_that_is_done_twice_changes_nothing(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    await a_loan(servicer, consumer, term_months=1)
    today = await steps.advance(db, catalogue, 31 + 75)
    events = await steps.rows(db, "SELECT count(*) FROM outbox")
    request = steps.a_day_ahead(today)
    await steps.advancing(db, catalogue).AdvanceDay(request, calling(OPERATOR, request))

    assert await steps.rows(db, "SELECT count(*) FROM outbox") == events
    back = steps.a_day_ahead(OPENED)
    with pytest.raises(Refused):
        await steps.advancing(db, catalogue).AdvanceDay(back, calling(OPERATOR, back))


async def test_a_breaker_starts_the_recovery_where_the_pack_says_so(
    db: Database, consumer: Consumer
) -> None:
    stops = "effects: [stop_grant, stop_approve, stop_draw, stop_disburse]"
    collecting = a_catalogue(PACK.replace(stops, stops.replace("]", ", open_collection]")))
    servicer = LoansServicer(db, collecting)
    loan_id = await a_loan(servicer, consumer, term_months=1)

    await steps.advance(db, collecting, 31 + 72)

    cases = (await ask(servicer, "ListCollectionCases")).cases
    assert [(case.loan_id, case.cause) for case in cases] == [(loan_id, "breaker")]
    # Without a clause on reopening nobody resets it.
    reset: dict[str, Any] = {"scope": "village", "scope_id": VILLAGE, "reason": "x"}
    await refused("RESET_NOT_PROVIDED", ask(servicer, "ResetBreaker", CENTRE, **reset))
    await steps.books_are_whole(db)


async def test_a_renewal_that_no_fund_stands_behind_is_warned_of(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    fund = Fund()
    old = (await steps.covered(servicer, consumer, House(status="registered_poor"), fund)).loan_id
    await steps.advance(db, catalogue, 10)
    renewed = await ask(
        servicer, "RenewLoan", loan_id=old, term_months=12, evidence="sha256:ab",
        conditions=["project_good", "still_needs_funds", "age_ok", "blacklist_ok"],
    )  # fmt: skip

    await steps.take(consumer, fund.refused(renewed.loan.loan_id))

    warnings = (await ask(servicer, "ListEarlyWarnings")).warnings
    assert [(w.loan_id, w.kind) for w in warnings] == [(renewed.loan.loan_id, "renewal_uncovered")]
    await steps.books_are_whole(db)
