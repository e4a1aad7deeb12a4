"""Funds over gRPC messages, on a real PostgreSQL: the life of a fund and of a case."""

from datetime import timedelta
from uuid import uuid4

import pytest
from liandong.funds.v1 import events_pb2, funds_pb2

from services.funds.servicer import FundsServicer
from services.kernel import business_day
from services.kernel.bus import Consumer
from services.kernel.database import Database, fetch
from services.kernel.errors import Conflict, Denied, Invalid, NotFound, Refused
from services.kernel.ids import new_id
from services.kernel.walls import EVERY_COUNTY
from tests.funds import steps
from tests.funds.county import (
    AUDITOR,
    CENTRE,
    COUNTY,
    GUARANTOR,
    LENDER,
    OPENED,
    OTHER_LENDER,
    TREASURY,
    Loan,
    a_caller,
    a_catalogue,
    calling,
    payout_allocated,
    payout_settled,
)

pytestmark = pytest.mark.postgres

NEXT = OPENED + timedelta(days=1)
FUND_FEN = 5_000_000


async def an_overdue_loan(
    consumer: Consumer, number: int = 1, *, days: int = 71, interest_fen: int = 0, **more: str
) -> Loan:
    loan = Loan(number, **more)  # type: ignore[arg-type]
    await steps.take(
        consumer,
        loan.asks(),
        loan.disbursed(),
        loan.overdue(days, on=OPENED, interest_fen=interest_fen),
    )
    return loan


async def test_a_fund_is_opened_once_and_takes_money(db: Database, servicer: FundsServicer) -> None:
    fund = await steps.open_fund(servicer)
    assert (fund.balance_fen, fund.capacity_fen, fund.programme) == (0, 0, "plain@1")

    fund = await steps.contribute(servicer, fund, 700)

    assert (fund.balance_fen, fund.capacity_fen) == (700, 7000)
    with pytest.raises(Conflict, match="FUND_EXISTS"):
        await steps.open_fund(servicer)
    books = await steps.totals(db)
    assert (books["funds.contributed_fen"], books["funds.book_difference_fen"]) == (700, 0)


async def test_a_contribution_sent_twice_is_posted_once(
    db: Database, servicer: FundsServicer
) -> None:
    fund = await steps.open_fund(servicer)
    request = funds_pb2.RecordContributionRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        fund_id=fund.fund_id,
        source="county_budget",
        amount_fen=700,
        value_date={"year": 2021, "month": 1, "day": 2},  # type: ignore[arg-type]
    )

    first = await servicer.RecordContribution(request, calling(TREASURY, request))
    second = await servicer.RecordContribution(request, calling(TREASURY, request))

    assert first == second
    assert (await steps.totals(db))["funds.balance_fen"] == 700


async def test_who_may_not_or_what_is_wrong_is_refused(servicer: FundsServicer) -> None:
    fund = await steps.open_fund(servicer)

    with pytest.raises(Denied, match="ROLE_NOT_ALLOWED"):
        await steps.contribute(servicer, fund, 1, caller=LENDER)
    with pytest.raises(Invalid, match="VALUE_DATE_AHEAD"):
        await steps.contribute(servicer, fund, 1, value_date=NEXT)
    with pytest.raises(Invalid, match="KIND_NOT_IN_PROGRAMME"):
        await steps.open_fund(servicer, kind="bank")
    with pytest.raises(NotFound, match="PROGRAMME_NOT_ADOPTED"):
        await steps.open_fund(servicer, programme_id="nobody-knows")
    with pytest.raises(NotFound, match="FUND_NOT_FOUND"):
        await steps.get_fund(servicer, funds_pb2.Fund(fund_id=str(new_id())))
    stranger = a_caller("county_centre", county_code="990109")
    with pytest.raises(Denied, match="AREA_NOT_YOURS"):
        await steps.get_fund(servicer, fund, caller=stranger)


async def test_funds_are_listed_in_pages(servicer: FundsServicer) -> None:
    made = [await steps.open_fund(servicer), await steps.open_fund(servicer, kind="mutual_fund")]
    request = funds_pb2.ListFundsRequest(county_code=COUNTY, page_size=1)

    first = await servicer.ListFunds(request, calling(AUDITOR, request))
    request.page_token = first.next_page_token
    second = await servicer.ListFunds(request, calling(AUDITOR, request))

    assert [*first.funds, *second.funds] == made
    assert second.next_page_token == ""


async def test_a_loss_is_shared_to_the_fen_and_the_cover_used_up(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    fund = await steps.open_fund(servicer, balance_fen=FUND_FEN)
    loan = await an_overdue_loan(consumer, interest_fen=33)

    case = await steps.file(servicer, loan)
    paid = await steps.decide(servicer, case)

    assert (case.state, paid.state) == (funds_pb2.CASE_STATE_FILED, funds_pb2.CASE_STATE_PAID)
    assert paid.loss_fen == 5_000_033
    assert [(p.party, p.institution_id, p.amount_fen, p.paid_fen) for p in paid.parts] == [
        ("county_fund", "fin-1", 1_000_007, 1_000_007),
        ("bank", "rcb-1", 500_003, 500_003),
        ("guarantee", "agr-1", 2_500_016, 0),
        ("reguarantee", "grp-1", 1_000_007, 0),
    ]
    now = await steps.get_fund(servicer, fund)
    left = FUND_FEN - 1_000_007
    assert (now.balance_fen, now.covered_fen, now.capacity_fen) == (left, 0, left * 10)
    found = steps.names(await steps.said(db))
    assert found == ["cover_reserved", "case_step_taken", "compensation_paid", "cover_released"]
    assert await steps.totals(db) == {
        "funds.balance_fen": left,
        "funds.book_difference_fen": 0,
        "funds.cases_paid_count": 1,
        "funds.contributed_fen": FUND_FEN,
        "funds.covered_fen": 0,
        "funds.lender_own_fen": 500_003,
        "funds.loss_fen": 5_000_033,
        "funds.owed_fen": 3_500_023,
        "funds.paid_fen": 1_000_007,
        "funds.recovered_fen": 0,
        "funds.recovered_to_funds_fen": 0,
        "funds.shares_paid_fen": 0,
        "funds.accounts_difference_fen": 0,
        "funds.withdrawn_fen": 0,
        "funds.stabilised_fen": 0,
        "funds.fees_paid_fen": 0,
        "funds.fees_owed_fen": 0,
        "funds.known_outstanding_fen": 5_000_000,
        "funds.unrecovered_fen": 5_000_033,
    }


async def test_the_event_of_a_compensation_sums_to_the_loss(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=600_000)
    await steps.decide(servicer, await steps.file(servicer, await an_overdue_loan(consumer)))

    (row,) = await steps.said(db, "compensation_paid")
    message = events_pb2.CompensationPaid.FromString(row["payload"])

    assert [(p.party, p.amount_fen, p.paid) for p in message.parts] == [
        ("county_fund", 600_000, True),
        ("county_fund", 400_000, False),
        ("bank", 500_000, True),
        ("guarantee", 2_500_000, False),
        ("reguarantee", 1_000_000, False),
    ]
    assert sum(part.amount_fen for part in message.parts) == message.loss_fen == 5_000_000


async def test_a_case_waits_for_its_trigger_its_cause_and_its_lender(
    servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    loan = await an_overdue_loan(consumer, days=70)

    with pytest.raises(Refused, match="TRIGGER_NOT_PASSED") as refusal:
        await steps.file(servicer, loan)
    assert refusal.value.facts == {"overdue_days": "70", "limit_days": "70"}

    await steps.take(consumer, loan.overdue(71, on=NEXT))
    with pytest.raises(Refused, match="CAUSE_NOT_COVERED"):
        await steps.file(servicer, loan, cause="wilful_default")
    with pytest.raises(Refused, match="LOAN_NOT_COVERED"):
        await steps.file(servicer, loan, caller=OTHER_LENDER)
    with pytest.raises(Denied, match="ROLE_NOT_ALLOWED"):
        await steps.file(servicer, loan, caller=CENTRE)
    with pytest.raises(Refused, match="LOAN_NOT_COVERED"):
        await steps.file(servicer, Loan(99))
    await steps.file(servicer, loan)
    with pytest.raises(Refused, match="CASE_EXISTS"):
        await steps.file(servicer, loan)


async def test_a_case_is_decided_once_by_another_person(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    loan = await an_overdue_loan(consumer)
    case = await steps.file(servicer, loan)
    same = a_caller("county_centre", person_id=LENDER.person_id)

    with pytest.raises(Refused, match="SAME_PERSON"):
        await steps.decide(servicer, case, caller=same)
    with pytest.raises(Invalid, match="REASON_NEEDED"):
        await steps.decide(servicer, case, approve=False)
    with pytest.raises(Denied, match="ROLE_NOT_ALLOWED"):
        await steps.decide(servicer, case, caller=LENDER)
    denied = await steps.decide(servicer, case, approve=False, reason="no proof")
    with pytest.raises(Refused, match="CASE_NOT_OPEN"):
        await steps.decide(servicer, case)

    assert (denied.state, denied.reason) == (funds_pb2.CASE_STATE_DENIED, "no proof")
    again = await steps.file(servicer, loan)
    assert (await steps.decide(servicer, again)).state == funds_pb2.CASE_STATE_PAID
    assert (await steps.totals(db))["funds.cases_paid_count"] == 1


async def test_what_is_paid_after_filing_lowers_the_loss_and_later_interest_never_raises_it(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    loan = await an_overdue_loan(consumer, interest_fen=50_000)
    await steps.take(consumer, loan.repaid(0, 10_000, on=NEXT))
    case = await steps.file(servicer, loan)
    assert case.loss_fen == 5_040_000

    await steps.take(
        consumer,
        payout_allocated("p-1", loan, principal_fen=960_000, interest_fen=40_000, on=NEXT),
        loan.overdue(73, on=NEXT, principal_fen=4_040_000, interest_fen=900),
    )
    paid = await steps.decide(servicer, case)

    assert paid.loss_fen == sum(part.amount_fen for part in paid.parts) == 4_040_000
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0


async def test_a_loan_settled_before_the_decision_is_not_compensated(
    servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    loan = await an_overdue_loan(consumer)
    case = await steps.file(servicer, loan)

    await steps.take(consumer, loan.settled())

    with pytest.raises(Refused, match="LOAN_NOT_COVERED"):
        await steps.decide(servicer, case)


async def test_after_its_programme_ended_a_fund_is_asked_for_what_it_owes_alone(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=600_000)
    covered, lost = Loan(2, principal_fen=1_000_000), await an_overdue_loan(consumer)
    await steps.take(consumer, covered.asks())
    case = await steps.file(servicer, lost)
    async with db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, NEXT)

    await steps.decide(FundsServicer(db, a_catalogue(until=OPENED)), case)

    # No multiple holds any more: nothing is added for the loan that is covered still.
    due = events_pb2.TopUpDue.FromString((await steps.said(db, "top_up_due"))[-1]["payload"])
    assert due.amount_fen == 400_000
    assert await steps.cover_state(db, covered.loan_id) == "reserved"


async def test_a_fund_that_is_short_owes_the_rest_and_pays_it_first_when_topped_up(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    fund = await steps.open_fund(servicer, balance_fen=1_300_000)
    first, second = [await an_overdue_loan(consumer, number) for number in (1, 2)]
    cases = [await steps.file(servicer, loan) for loan in (first, second)]

    for case in cases:
        await steps.decide(servicer, case)

    short = await steps.get_fund(servicer, fund)
    assert (short.balance_fen, short.owed_fen) == (0, 700_000)
    assert len(await steps.said(db, "fund_suspended")) == 1
    due = events_pb2.TopUpDue.FromString((await steps.said(db, "top_up_due"))[-1]["payload"])
    assert due.amount_fen == 700_000
    await steps.contribute(servicer, fund, 600_000)
    await steps.take(consumer, Loan(3).asks())
    assert [r.reason for r in await steps.refusals(db)] == ["FUND_SUSPENDED"]

    free = await steps.contribute(servicer, fund, 1_000_000)

    assert (free.balance_fen, free.owed_fen) == (900_000, 0)
    await steps.take(consumer, Loan(4).asks())
    assert len(await steps.said(db, "cover_reserved")) == 3
    paid = await steps.get_case(servicer, cases[1].case_id)
    assert [part.paid_fen for part in paid.parts if part.party == "county_fund"] == [1_000_000]
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0


async def test_a_pot_pays_before_the_shares_and_never_owes(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    await steps.open_fund(servicer, balance_fen=2_000_001, kind="mutual_fund")
    loan = await an_overdue_loan(consumer, interest_fen=77, borrower_class="entity")

    case = await steps.file(servicer, loan, cause="price_fall")
    paid = await steps.decide(servicer, case)

    assert paid.loss_fen == 5_000_000
    assert [(p.layer, p.party, p.amount_fen, p.paid_fen) for p in paid.parts] == [
        ("mutual", "mutual_fund", 2_000_001, 2_000_001),
        ("ratio", "county_fund", 1_500_000, 1_500_000),
        ("ratio", "bank", 1_499_999, 1_499_999),
    ]
    assert await steps.said(db, "fund_suspended") == []
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0


async def test_a_batch_gives_each_item_its_own_verdict(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    overdue = [await an_overdue_loan(consumer, number) for number in (1, 2)]
    early = await an_overdue_loan(consumer, 3, days=70)
    filing = funds_pb2.BatchFileCompensationCasesRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        items=[
            funds_pb2.CompensationFiling(
                loan_id=str(loan.loan_id), cause="illness", evidence=steps.EVIDENCE
            )
            for loan in (overdue[0], early, overdue[1], overdue[0])
        ],
    )

    filed = (await servicer.BatchFileCompensationCases(filing, calling(LENDER, filing))).verdicts
    decision = funds_pb2.BatchDecideCompensationCasesRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        items=[
            funds_pb2.CaseDecision(case_id=filed[0].id, approve=True),
            funds_pb2.CaseDecision(case_id=str(new_id()), approve=True),
            funds_pb2.CaseDecision(case_id=filed[2].id, approve=True),
            funds_pb2.CaseDecision(case_id=filed[0].id, approve=True),
        ],
    )
    call = calling(CENTRE, decision)
    decided = (await servicer.BatchDecideCompensationCases(decision, call)).verdicts

    assert [v.reason for v in filed] == ["", "TRIGGER_NOT_PASSED", "", "CASE_EXISTS"]
    assert [v.reason for v in decided] == ["", "CASE_NOT_FOUND", "", "CASE_NOT_OPEN"]
    books = await steps.totals(db)
    assert books["funds.cases_paid_count"] == 2
    assert books["funds.balance_fen"] == FUND_FEN - 2_000_000
    assert books["funds.book_difference_fen"] == 0


async def test_a_recovery_goes_back_in_the_proportion_borne_and_the_rest_waits(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    fund = await steps.open_fund(servicer, balance_fen=FUND_FEN)
    loan = await an_overdue_loan(consumer)
    await steps.decide(servicer, await steps.file(servicer, loan))

    await steps.take(consumer, payout_settled("p-1", loan, subrogated_fen=950_000))
    assert (await steps.get_fund(servicer, fund)).balance_fen == FUND_FEN - 1_000_000 + 190_000
    await steps.take(consumer, payout_settled("p-2", loan, subrogated_fen=4_100_000))

    assert (await steps.get_fund(servicer, fund)).balance_fen == FUND_FEN
    shared = [
        events_pb2.RecoveryShared.FromString(row["payload"]).amount_fen
        for row in await steps.said(db, "recovery_shared")
    ]
    assert shared == [950_000, 4_050_000]
    async with db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(
            session, "SELECT sum(household_fen) AS given, sum(waiting_fen) AS waiting FROM recovery"
        )
    # A payout is in the loan's book: what nobody is left to get is no household's here (0028).
    assert tuple(rows[0]) == (0, 50_000)
    books = await steps.totals(db)
    assert (books["funds.recovered_fen"], books["funds.recovered_to_funds_fen"]) == (
        5_000_000,
        1_000_000,
    )
    assert books["funds.book_difference_fen"] == 0


async def test_money_that_comes_back_pays_what_the_fund_owes(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    fund = await steps.open_fund(servicer, balance_fen=700_000)
    loan = await an_overdue_loan(consumer)
    await steps.decide(servicer, await steps.file(servicer, loan))

    await steps.take(consumer, payout_settled("p-1", loan, subrogated_fen=2_500_000))

    now = await steps.get_fund(servicer, fund)
    assert (now.balance_fen, now.owed_fen) == (200_000, 0)
    assert (await steps.totals(db))["funds.book_difference_fen"] == 0


async def test_a_payout_on_a_loan_without_a_case_brings_nothing_back(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    loan = await an_overdue_loan(consumer)

    await steps.take(consumer, payout_settled("p-1", loan, subrogated_fen=950_000))

    assert await steps.said(db, "recovery_shared") == []


async def test_a_case_is_seen_by_those_whom_it_concerns(
    servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    case = await steps.file(servicer, await an_overdue_loan(consumer))
    await steps.decide(servicer, case)

    for caller in (CENTRE, TREASURY, AUDITOR, LENDER, GUARANTOR):
        assert (await steps.get_case(servicer, case.case_id, caller=caller)).loss_fen == 5_000_000
    with pytest.raises(NotFound, match="CASE_NOT_FOUND"):
        await steps.get_case(servicer, case.case_id, caller=OTHER_LENDER)
    station = a_caller("township_station", institution_id="tst-1")
    with pytest.raises(Denied, match="ROLE_NOT_ALLOWED"):
        await steps.get_case(servicer, case.case_id, caller=station)


async def test_cases_are_listed_by_state_in_pages(
    servicer: FundsServicer, consumer: Consumer
) -> None:
    await steps.open_fund(servicer, balance_fen=FUND_FEN)
    cases = [
        await steps.file(servicer, await an_overdue_loan(consumer, number)) for number in range(3)
    ]
    await steps.decide(servicer, cases[1])
    request = funds_pb2.ListCompensationCasesRequest(
        county_code=COUNTY, state=funds_pb2.CASE_STATE_FILED, page_size=1
    )

    first = await servicer.ListCompensationCases(request, calling(LENDER, request))
    request.page_token = first.next_page_token
    second = await servicer.ListCompensationCases(request, calling(LENDER, request))
    other = await servicer.ListCompensationCases(request, calling(OTHER_LENDER, request))

    assert [case.case_id for case in (*first.cases, *second.cases)] == [
        cases[0].case_id,
        cases[2].case_id,
    ]
    assert second.next_page_token == ""
    assert list(other.cases) == []
