"""Loans over gRPC messages: who sees what, pages, the same request again, what is malformed."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from liandong.loans.v1 import loans_pb2

from services.kernel import wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import Conflict, Denied, Invalid, LiandongError, NotFound, Refused
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.loans import steps
from tests.loans.builders import YUAN
from tests.loans.county import (
    APPROVER,
    AUDITOR,
    BANK,
    CASHIER,
    CENTRE,
    COUNTY,
    LENDER,
    OPENED,
    OTHER_BANK,
    OTHER_COUNTY,
    OTHER_LENDER,
    OTHER_VILLAGE,
    VILLAGE,
    VILLAGE_DEPARTMENT,
    House,
    a_caller,
    calling,
    day,
)

pytestmark = pytest.mark.postgres

STRANGER = a_caller("county_centre", institution_id="cfc-2", county_code=OTHER_COUNTY)
STRANGE_BANK = a_caller("bank", institution_id="rcb-9", county_code=OTHER_COUNTY)


# --- who sees what --------------------------------------------------------------------------------


async def seen(servicer: LoansServicer, caller: Caller, **filters: Any) -> set[str]:
    return {loan.loan_id for loan in (await steps.listed(servicer, caller, **filters)).loans}


async def loans_of_two_banks(
    servicer: LoansServicer, consumer: Consumer
) -> tuple[House, str, str, str]:
    """Two loans of one household from two banks, and one in another village."""
    house, afar = House(), House(area_code=OTHER_VILLAGE)
    await steps.know(consumer, house, afar)
    ours = await steps.apply(servicer, house)
    theirs = await steps.apply(servicer, house, lender_id=OTHER_BANK)
    distant = await steps.apply(servicer, afar)
    return house, ours.loan_id, theirs.loan_id, distant.loan_id


# S55: a bank sees its own loans and nothing else.
async def test_a_lender_sees_its_own_loans_only(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    house, ours, theirs, distant = await loans_of_two_banks(servicer, consumer)
    household_id = str(house.household_id)

    assert await seen(servicer, LENDER) == {ours, distant}
    assert await seen(servicer, OTHER_LENDER) == {theirs}
    assert await seen(servicer, OTHER_LENDER, household_id=household_id) == {theirs}
    assert (await steps.get(servicer, ours, caller=LENDER)).loan_id == ours
    with pytest.raises(NotFound, match="LOAN_NOT_FOUND"):
        await steps.get(servicer, theirs, caller=LENDER)


async def test_others_see_the_loans_of_their_areas(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    house, ours, theirs, distant = await loans_of_two_banks(servicer, consumer)

    assert await seen(servicer, CENTRE) == await seen(servicer, AUDITOR) == {ours, theirs, distant}
    assert await seen(servicer, VILLAGE_DEPARTMENT) == {ours, theirs}
    assert await seen(servicer, CENTRE, within=OTHER_VILLAGE) == {distant}
    assert await seen(servicer, CENTRE, household_id=str(house.household_id)) == {ours, theirs}
    with pytest.raises(Denied, match="AREA_NOT_YOURS"):
        await steps.listed(servicer, VILLAGE_DEPARTMENT, within=OTHER_VILLAGE)
    with pytest.raises(NotFound, match="LOAN_NOT_FOUND"):
        await steps.get(servicer, distant, caller=VILLAGE_DEPARTMENT)


async def test_another_countys_institutions_see_nothing(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    _, ours, _, _ = await loans_of_two_banks(servicer, consumer)

    for caller in (STRANGER, STRANGE_BANK):
        with pytest.raises(Denied, match="AREA_NOT_YOURS"):
            await steps.listed(servicer, caller)
        with pytest.raises(NotFound, match="LOAN_NOT_FOUND"):
            await steps.get(servicer, ours, caller=caller)


async def test_loans_are_listed_by_state_and_in_pages_without_gaps(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    houses = [House() for _ in range(7)]
    await steps.know(consumer, *houses)
    made = [(await steps.apply(servicer, house)).loan_id for house in houses]
    await steps.decide(servicer, made[3], "county_checks", CENTRE, approve=False)

    found: list[str] = []
    token = ""
    for size in (3, 3, 1):
        answer = await steps.listed(servicer, CENTRE, page_size=3, page_token=token)
        assert len(answer.loans) == size
        found += [loan.loan_id for loan in answer.loans]
        token = answer.next_page_token
    assert token == ""
    assert found == sorted(made)

    refused = loans_pb2.LOAN_STATE_REFUSED
    assert await seen(servicer, CENTRE, state=refused) == {made[3]}
    assert await seen(servicer, CENTRE, state=loans_pb2.LOAN_STATE_ACTIVE) == set()
    exact = await steps.listed(servicer, CENTRE, page_size=7)
    assert exact.next_page_token == ""


async def test_a_quote_says_what_settles_the_loan_and_settles_it(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    loan = await steps.active(servicer, consumer, House())
    on = await steps.advance(db, catalogue, 10)
    request = loans_pb2.GetPayoffQuoteRequest(
        county_code=COUNTY, loan_id=loan.loan_id, value_date=day(on)
    )

    quote = await servicer.GetPayoffQuote(request, calling(LENDER, request))

    assert (quote.principal_fen, quote.interest_fen) == (30_000 * YUAN, 3_000)
    assert quote.subsidised_interest_fen == 0
    assert "36000 ppm" in quote.working
    owed = quote.principal_fen + quote.interest_fen
    settled = await steps.repay(servicer, loan.loan_id, owed, on=on)
    assert settled.state == loans_pb2.LOAN_STATE_SETTLED
    after = await servicer.GetPayoffQuote(request, calling(LENDER, request))
    assert (after.principal_fen, after.interest_fen) == (0, 0)
    with pytest.raises(NotFound, match="LOAN_NOT_FOUND"):
        await servicer.GetPayoffQuote(request, calling(OTHER_LENDER, request))


async def test_a_quote_for_a_day_before_the_last_posting_is_refused(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    loan = await steps.active(servicer, consumer, House())
    request = loans_pb2.GetPayoffQuoteRequest(
        county_code=COUNTY, loan_id=loan.loan_id, value_date=day(OPENED - timedelta(days=1))
    )

    with pytest.raises(Refused, match="VALUE_DATE_OUT_OF_RANGE"):
        await servicer.GetPayoffQuote(request, calling(LENDER, request))


# --- who does what --------------------------------------------------------------------------------


async def test_who_may_not_do_what_is_told_why(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house, afar = House(), House(area_code=OTHER_VILLAGE)
    await steps.know(consumer, house, afar)
    loan = await steps.approved(servicer, house)

    # What is another's is as good as nobody's.
    for another in (
        steps.apply(servicer, afar, caller=VILLAGE_DEPARTMENT),
        steps.disburse(servicer, loan.loan_id, caller=OTHER_LENDER),
    ):
        with pytest.raises(NotFound, match=r"HOUSEHOLD_UNKNOWN|LOAN_NOT_FOUND"):
            await another
    refusals = {
        "HOUSEHOLD_UNKNOWN": steps.apply(servicer, House()),
        "PROGRAMME_NOT_ADOPTED": steps.apply(servicer, house, programme_id="mortgages"),
        "PRODUCT_UNKNOWN": steps.apply(servicer, house, product_id="mortgage"),
        "SAME_PERSON": steps.disburse(servicer, loan.loan_id, caller=APPROVER),
        "LOAN_NOT_ACTIVE": steps.repay(servicer, loan.loan_id, 1),
        "LOAN_NOT_FOUND": steps.disburse(servicer, steps.an_id()),
        "WRONG_STEP": steps.decide(servicer, loan.loan_id, "county_checks", CENTRE),
    }
    for reason, call in refusals.items():
        with pytest.raises(LiandongError) as refusal:
            await call
        assert refusal.value.reason == reason
    nobody = a_caller("bank", institution_id=BANK)
    nobody = Caller(
        **{**{n: getattr(nobody, n) for n in Caller.__dataclass_fields__}, "person_id": ""}
    )
    with pytest.raises(Denied, match="PERSON_NEEDED"):
        await steps.disburse(servicer, loan.loan_id, caller=nobody)
    await steps.books_are_whole(db)


async def test_each_loan_of_a_batch_is_paid_out_or_says_why_not(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    houses = [House() for _ in range(3)]
    await steps.know(consumer, *houses)
    ready = (await steps.approved(servicer, houses[0])).loan_id
    waiting = (await steps.apply(servicer, houses[1])).loan_id
    theirs = (await steps.apply(servicer, houses[2], lender_id=OTHER_BANK)).loan_id
    asked = [ready, waiting, theirs, steps.an_id(), ready]
    request = loans_pb2.BatchDisburseLoansRequest(
        request_id=steps.an_id(),
        county_code=COUNTY,
        items=[loans_pb2.Disbursement(loan_id=loan_id) for loan_id in asked],
    )

    answer = await servicer.BatchDisburseLoans(request, calling(CASHIER, request))

    assert [verdict.reason for verdict in answer.verdicts] == [
        "",
        "LOAN_NOT_APPROVED",
        "LOAN_NOT_FOUND",
        "LOAN_NOT_FOUND",
        "LOAN_NOT_APPROVED",
    ]
    found = await steps.books_are_whole(db)
    assert found["loans.disbursed_fen"] == 30_000 * YUAN


# --- the same request again -----------------------------------------------------------------------


async def test_the_same_request_again_gets_the_same_answer_whatever_happened_since(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan = await steps.active(servicer, consumer, House())
    request = steps.a_repayment(loan.loan_id, 1_000_000)

    first = await servicer.RepayLoan(request, calling(LENDER, request))
    await steps.repay(servicer, loan.loan_id, 2_000_000)
    second = await servicer.RepayLoan(request, calling(LENDER, request))

    assert first == second
    assert first.loan.outstanding_fen == 2_000_000
    assert (await steps.story(db, loan.loan_id)).count("loan_repaid") == 2
    await steps.books_are_whole(db)


async def test_a_request_id_is_not_used_for_something_else_but_others_have_their_own(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    ours = await steps.active(servicer, consumer, House())
    request = steps.a_repayment(ours.loan_id, 1_000_000)
    await servicer.RepayLoan(request, calling(LENDER, request))
    other = loans_pb2.RepayLoanRequest()
    other.CopyFrom(request)
    other.amount_fen += 1

    with pytest.raises(Conflict, match="REQUEST_ID_REUSED"):
        await servicer.RepayLoan(other, calling(LENDER, other))
    with pytest.raises(NotFound, match="LOAN_NOT_FOUND"):
        await servicer.RepayLoan(request, calling(OTHER_LENDER, request))


async def test_repayments_of_one_lender_at_the_same_moment_are_each_decided_by_their_own_merit(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loans = [await steps.active(servicer, consumer, House()) for _ in range(4)]
    requests = [
        *(steps.a_repayment(loan.loan_id, 1_000_000 + place) for place, loan in enumerate(loans)),
        steps.a_repayment(loans[0].loan_id, 500_000),
        steps.a_repayment(steps.an_id(), 500_000),
    ]

    async def post(request: loans_pb2.RepayLoanRequest) -> loans_pb2.RepayLoanResponse:
        return await servicer.RepayLoan(request, calling(LENDER, request))

    answers = await asyncio.gather(*map(post, requests), return_exceptions=True)
    again = await asyncio.gather(*map(post, requests), return_exceptions=True)

    owed = loans[0].outstanding_fen
    *posted, refused = answers
    found = [each.loan.outstanding_fen for each in posted if not isinstance(each, BaseException)]
    assert found[1:4] == [owed - 1_000_001, owed - 1_000_002, owed - 1_000_003]
    assert min(found[0], found[4]) == owed - 1_500_000, "the later of the two sees the earlier"
    assert isinstance(refused, NotFound)
    assert again[:-1] == posted
    stories = [await steps.story(db, loan.loan_id) for loan in loans]
    assert [story.count("loan_repaid") for story in stories] == [2, 1, 1, 1]
    await steps.books_are_whole(db)


async def test_a_batch_again_makes_no_second_loan(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    houses = [House() for _ in range(3)]
    await steps.know(consumer, *houses)
    request = loans_pb2.BatchApplyForLoansRequest(
        request_id=steps.an_id(),
        county_code=COUNTY,
        items=[steps.an_application(house) for house in [*houses, House()]],
    )

    first = await servicer.BatchApplyForLoans(request, calling(CENTRE, request))
    second = await servicer.BatchApplyForLoans(request, calling(CENTRE, request))

    assert first == second
    assert [verdict.reason for verdict in first.verdicts] == ["", "", "", "HOUSEHOLD_UNKNOWN"]
    assert (await steps.totals(db))["loans.applications_count"] == 3
    await steps.books_are_whole(db)


async def test_what_was_refused_may_be_asked_again_when_it_holds(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    house = House()
    await steps.know(consumer, house)
    loan = await steps.approved(servicer, house)
    request = steps.a_repayment(loan.loan_id, 1_000_000)
    with pytest.raises(Refused, match="LOAN_NOT_ACTIVE"):
        await servicer.RepayLoan(request, calling(LENDER, request))

    await steps.disburse(servicer, loan.loan_id)
    answer = await servicer.RepayLoan(request, calling(LENDER, request))

    assert answer.loan.outstanding_fen == 2_000_000


# --- malformed ------------------------------------------------------------------------------------


def fields(error: LiandongError) -> set[str]:
    return {violation.field for violation in error.violations}


async def test_every_malformed_field_is_named(servicer: LoansServicer) -> None:
    wrong = loans_pb2.ApplyForLoanRequest(
        request_id="once", county_code="lushi", principal_fen=-1, used_in_area="here"
    )

    with pytest.raises(Invalid) as refusal:
        await servicer.ApplyForLoan(wrong, calling(CENTRE, wrong))

    assert fields(refusal.value) == {
        "request_id",
        "county_code",
        "household_id",
        "lender_id",
        "programme_id",
        "product_id",
        "principal_fen",
        "term_months",
        "purpose",
        "used_in_area",
    }


async def test_an_item_of_a_batch_is_named_with_its_place(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    loan = await steps.active(servicer, consumer, House())
    items = [
        loans_pb2.Repayment(loan_id=loan.loan_id, amount_fen=1, value_date=day(OPENED)),
        loans_pb2.Repayment(loan_id=loan.loan_id, amount_fen=1, value_date=day(OPENED)),
    ]
    items[1].value_date.month = 13
    request = loans_pb2.BatchRepayLoansRequest(
        request_id=steps.an_id(), county_code=COUNTY, items=items
    )

    with pytest.raises(Invalid) as refusal:
        await servicer.BatchRepayLoans(request, calling(LENDER, request))

    assert refusal.value.reason == "MALFORMED_DATE"
    assert fields(refusal.value) == {"items[1].value_date"}


@pytest.mark.parametrize("token", [wire.page_token("not an id"), wire.page_token("-1")])
async def test_a_page_token_of_ones_own_making_is_refused_by_name(
    servicer: LoansServicer, token: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        await steps.listed(servicer, CENTRE, page_token=token)
    assert fields(refusal.value) == {"page_token"}

    request = loans_pb2.ListBreakersRequest(county_code=COUNTY, page_token=token)
    with pytest.raises(Invalid) as refusal:
        await servicer.ListBreakers(request, calling(CENTRE, request))
    assert fields(refusal.value) == {"page_token"}


async def test_a_state_that_does_not_exist_is_refused_by_name(servicer: LoansServicer) -> None:
    with pytest.raises(Invalid) as refusal:
        await steps.listed(servicer, CENTRE, state=99)

    assert fields(refusal.value) == {"state"}


async def test_a_county_that_is_not_open_yet_says_so(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    request = steps.as_request(steps.an_application(House(), used_in_area=VILLAGE))
    request.county_code = "990109"

    with pytest.raises(Refused, match="COUNTY_NOT_OPEN"):
        await servicer.ApplyForLoan(request, calling(CENTRE, request))
