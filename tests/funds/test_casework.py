"""A case step by step, on a real PostgreSQL: notice, approval, denial, repair, appeal."""

from datetime import timedelta

import pytest
from liandong.funds.v1 import funds_pb2

from services.funds.events_in import handlers
from services.kernel import business_day
from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import Denied, Invalid, NotFound, Refused
from services.kernel.walls import EVERY_COUNTY
from tests.funds import steps
from tests.funds.casework import (
    PAYER,
    REVIEWER,
    SECOND_REVIEWER,
    TREASURER,
    Casework,
    a_strict_catalogue,
)
from tests.funds.county import CENTRE, COUNTY, LENDER, OPENED, OTHER_LENDER, Loan, a_caller

pytestmark = pytest.mark.postgres

FUND_FEN = 5_000_000
CATALOGUE = a_strict_catalogue()


@pytest.fixture
def work(db: Database) -> Casework:
    return Casework(db, CATALOGUE)


@pytest.fixture
def strict(db: Database) -> Consumer:
    return Consumer(db, "funds", handlers(CATALOGUE), batch_size_max=500)


async def bring(db: Database, days: int) -> None:
    """Open the day so many days after the first."""
    async with db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, OPENED + timedelta(days=days))


async def a_case(work: Casework, strict: Consumer, number: int = 1) -> funds_pb2.CompensationCase:
    loan = Loan(number)
    await steps.take(strict, loan.asks(), loan.disbursed(), loan.overdue(71, on=OPENED))
    return await work.file(loan.loan_id, LENDER, on=OPENED)


async def published(work: Casework, strict: Consumer) -> funds_pb2.CompensationCase:
    case = await a_case(work, strict)
    case = await work.step("VerifyCase", REVIEWER, case, findings="in order")
    for level in ("village", "township", "county"):
        case = await work.step("PublishCase", REVIEWER, case, level=level, place="board")
    return case


async def test_a_case_goes_through_every_step_with_other_persons(
    db: Database, work: Casework, strict: Consumer
) -> None:
    await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    case = await published(work, strict)
    assert case.state == funds_pb2.CASE_STATE_PUBLISHED
    with pytest.raises(Refused, match="NOTICE_RUNNING") as running:
        await work.step("ApproveCase", CENTRE, case)
    assert running.value.facts == {"notice_until": str(OPENED + timedelta(days=7))}

    await bring(db, 8)
    case = await work.step("ApproveCase", CENTRE, case)
    assert case.state == funds_pb2.CASE_STATE_PUBLISHED
    with pytest.raises(Refused, match="APPROVED_ALREADY"):
        await work.step("ApproveCase", CENTRE, case)
    with pytest.raises(Refused, match="CASE_NOT_APPROVED"):
        await work.step("PayCase", PAYER, case)
    case = await work.step("ApproveCase", TREASURER, case)
    assert case.state == funds_pb2.CASE_STATE_APPROVED
    with pytest.raises(Refused, match="SAME_PERSON"):
        await work.step("PayCase", TREASURER, case)
    case = await work.step("PayCase", PAYER, case)

    assert case.state == funds_pb2.CASE_STATE_PAID
    assert sum(part.amount_fen for part in case.parts) == case.loss_fen == 5_000_000
    taken = await work.ask("GetCaseFile", CENTRE, case_id=case.case_id)
    assert [each.step for each in taken.steps] == [
        "filed",
        "verified",
        "published",
        "published",
        "published",
        "approved",
        "approved",
        "paid",
    ]
    await steps.said(db)
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0


async def test_no_step_is_left_out_and_no_person_takes_two(
    work: Casework, strict: Consumer
) -> None:
    await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    case = await a_case(work, strict)

    with pytest.raises(Refused, match="STEPS_MISSING") as missing:
        await steps.decide(work.funds, case)
    assert missing.value.facts["missing"] == "audit,public_notice,approval_finance_bureau"
    with pytest.raises(Refused, match="STEPS_MISSING"):
        await work.step("ApproveCase", CENTRE, case)
    with pytest.raises(Refused, match="CASE_NOT_VERIFIED"):
        await work.step("PublishCase", REVIEWER, case, level="county", place="board")
    same = a_caller(person_id=LENDER.person_id)
    with pytest.raises(Refused, match="SAME_PERSON"):
        await work.step("VerifyCase", same, case, findings="in order")
    with pytest.raises(Denied, match="ROLE_NOT_ALLOWED"):
        await work.step("VerifyCase", LENDER, case, findings="in order")
    case = await work.step("VerifyCase", REVIEWER, case, findings="in order")
    with pytest.raises(Refused, match="STEPS_MISSING"):
        await work.step("ApproveCase", CENTRE, case)
    with pytest.raises(Invalid, match="LEVEL_UNKNOWN"):
        await work.step("PublishCase", REVIEWER, case, level="province", place="board")
    case = await work.step("PublishCase", REVIEWER, case, level="county", place="board")
    with pytest.raises(Refused, match="LEVEL_PUBLISHED"):
        await work.step("PublishCase", REVIEWER, case, level="county", place="board")


async def test_a_cause_that_is_not_covered_leaves_the_loss_with_the_bank(
    work: Casework, strict: Consumer
) -> None:
    await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    case = await a_case(work, strict)

    case = await work.step("VerifyCase", REVIEWER, case, cause="gambling", findings="he gambled")

    assert (case.state, case.code) == (funds_pb2.CASE_STATE_DENIED, "CAUSE_NOT_COVERED")
    assert case.otherwise_borne_by == "bank"
    assert list(case.parts) == []


async def test_a_returned_case_is_repaired_in_time_by_its_lender(
    db: Database, work: Casework, strict: Consumer
) -> None:
    await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    case = await a_case(work, strict)
    late = await a_case(work, strict, 2)
    for each in (case, late):
        await work.step(
            "ReturnCase", REVIEWER, each, code="EVIDENCE_MISSING", reason="the death certificate"
        )
    with pytest.raises(Invalid, match="CODE_UNKNOWN"):
        await work.step("ReturnCase", REVIEWER, case, code="NO", reason="x")
    with pytest.raises(NotFound, match="CASE_NOT_FOUND"):
        await work.step("RepairCase", OTHER_LENDER, case, evidence=["sha256:ef"])

    repaired = await work.step("RepairCase", LENDER, case, evidence=["sha256:ef"])
    await bring(db, 6)

    assert (repaired.state, repaired.loss_fen) == (funds_pb2.CASE_STATE_FILED, case.loss_fen)
    with pytest.raises(Refused, match="CASE_NOT_RETURNED"):
        await work.step("RepairCase", LENDER, case, evidence=["sha256:ef"])
    with pytest.raises(Refused, match="REPAIR_TOO_LATE"):
        await work.step("RepairCase", LENDER, late, evidence=["sha256:ef"])
    assert (await steps.get_case(work.funds, late.case_id)).late


async def test_an_appeal_is_decided_by_a_second_organ(
    db: Database, work: Casework, strict: Consumer
) -> None:
    await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    case = await a_case(work, strict)
    with pytest.raises(Refused, match="CASE_NOT_DENIED"):
        await work.step("AppealCase", LENDER, case, reason="wrong")
    await work.step("DenyCase", REVIEWER, case, code="CAUSE_NOT_PROVEN", reason="no proof")

    await work.step("AppealCase", LENDER, case, reason="here it is", evidence=["sha256:ef"])
    with pytest.raises(Refused, match="APPEALED_ALREADY"):
        await work.step("AppealCase", LENDER, case, reason="again")
    with pytest.raises(Refused, match="SAME_ORGAN"):
        await work.step("DecideAppeal", CENTRE, case, grant=True, reason="right")
    granted = await work.step("DecideAppeal", TREASURER, case, grant=True, reason="right")

    assert granted.state == funds_pb2.CASE_STATE_FILED
    assert (await work.step("VerifyCase", REVIEWER, granted, findings="x")).state == (
        funds_pb2.CASE_STATE_VERIFIED
    )
    other = await a_case(work, strict, 2)
    await work.step("DenyCase", SECOND_REVIEWER, other, code="OTHER", reason="no")
    await bring(db, 11)
    with pytest.raises(Refused, match="APPEAL_TOO_LATE"):
        await work.step("AppealCase", LENDER, other, reason="late")
    with pytest.raises(Refused, match="NO_APPEAL"):
        await work.step("DecideAppeal", TREASURER, other, grant=True, reason="x")


async def test_what_the_issue_calls_bad_input_is_refused_with_the_numbers(
    work: Casework, strict: Consumer
) -> None:
    await steps.open_fund(work.funds, balance_fen=FUND_FEN)
    early, late, good = Loan(1), Loan(2), Loan(3)
    for loan, days in ((early, 70), (late, 102), (good, 71)):
        await steps.take(strict, loan.asks(), loan.disbursed(), loan.overdue(days, on=OPENED))

    async def refused(loan: Loan, **values: object) -> Refused:
        with pytest.raises(Refused) as refusal:
            await work.file(loan.loan_id, LENDER, on=OPENED, **values)
        return refusal.value

    before = await refused(early)
    assert before.reason == "TRIGGER_NOT_PASSED"
    assert before.facts == {"overdue_days": "70", "limit_days": "70"}
    above = await refused(good, claimed_fen=5_000_001)
    assert above.reason == "CLAIM_ABOVE_OWED"
    assert above.facts == {"claimed_fen": "5000001", "owed_fen": "5000000"}
    uncovered = await refused(good, cause="gambling")
    assert uncovered.facts == {"cause": "gambling", "borne_by": "bank"}
    assert (await refused(late)).facts == {"days_since": "31", "within_days": "30"}
    assert (await refused(Loan(9))).reason == "LOAN_NOT_COVERED"
    part = await work.file(good.loan_id, LENDER, on=OPENED, claimed_fen=4_000_000)
    assert part.loss_fen == 4_000_000
    assert (await refused(good)).reason == "CASE_EXISTS"
