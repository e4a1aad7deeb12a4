"""
What is collected of a lost loan while its own money is still on its way, to the fen.

A loss of 30,000 yuan is shared 20 : 10 : 50 : 20. The county's centre collects more than is left of
it, because money of the loan itself has come of which the funds have not heard: the household has
paid too much, and stands to get that once (decision 0028).
"""

from collections.abc import Mapping

import pytest
from liandong.funds.v1 import cases_pb2
from liandong.loans.v1 import loans_pb2

from services.kernel.errors import Refused
from tests.flows.county import FUND_FEN, YUAN, County
from tests.flows.test_lost_loan_is_shared_and_recovered import SEVENTY_ONE_DAYS
from tests.flows.test_payout_is_corrected_and_taken_back import kept_less, taken_back

pytestmark = pytest.mark.postgres

LOSS = 30_000 * YUAN
BORNE = (20, 10, 50, 20)
"""The county's fund, the bank, and two guarantors."""
DAY = 363
"""A day's interest in fen: the household owes it beside the loss, since the treasury stopped."""


async def a_shared_loss(county: County) -> tuple[str, str, str]:
    """A household's loan that was lost, and its case: three ids."""
    household_id = await county.household()
    loan = await county.disbursed(household_id, LOSS, months=1)
    await county.advance(SEVENTY_ONE_DAYS)
    case = await county.compensated(loan.loan_id)
    assert case.loss_fen == LOSS
    return household_id, loan.loan_id, case.case_id


async def stands(county: County, loan_id: str, case_id: str) -> Mapping[str, int]:
    """Where the money stands: in the loan's book, at those who bore the loss, elsewhere."""
    loan, case = await county.loan(loan_id), await county.case(case_id)
    back = [part.recovered_fen for part in case.parts]
    # In the ratio in which they bore it; each sharing may round by a fen.
    assert all(abs(fen - sum(back) * pct // 100) <= 2 for fen, pct in zip(back, BORNE, strict=True))
    totals = (await county.books()).totals
    assert totals["funds.balance_fen"] == FUND_FEN - LOSS * BORNE[0] // 100 + back[0]
    assert sum(part.amount_fen for part in case.parts) - sum(back) == loan.subrogated_fen
    return {
        "owed": loan.outstanding_fen + loan.interest_fen,
        "suspense": loan.suspense_fen,
        "back": sum(back),
        "household": sum(each.household_fen for each in await county.recoveries(case_id)),
    }


async def number_of(county: County, loan_id: str, amount_fen: int) -> int:
    """The number of a repayment in the loan's statement."""
    request = loans_pb2.GetLoanStatementRequest(loan_id=loan_id)
    statement = await county.ask("loans", "GetLoanStatement", request, role="lender")
    (found,) = [
        each.number
        for each in statement.postings
        if each.kind == loans_pb2.POSTING_KIND_REPAYMENT and each.amount_fen == amount_fen
    ]
    return int(found)


def shared(recoveries: list[cases_pb2.Recovery]) -> list[tuple[str, int]]:
    """What came back, by where it came from."""
    return sorted((each.source, each.recovered_fen // YUAN) for each in recoveries)


# S20, S21, S22
async def test_a_repayment_that_was_on_its_way_is_undone_after_more_was_collected_than_left(
    county: County,
) -> None:
    _, loan_id, case_id = await a_shared_loss(county)

    # 4,000 come to the bank; before the funds hear of it, all of the loss is collected.
    await county.posted(loan_id, 4_000 * YUAN)
    recorded = await county.collected(case_id, LOSS)
    assert (recorded.recovered_fen, recorded.household_fen) == (LOSS, 0)
    await county.tell()

    # 34,000 were paid of 30,000 and a day: the rest is in suspense at the bank, and only there.
    assert await stands(county, loan_id, case_id) == {
        "owed": 0,
        "suspense": 4_000 * YUAN - DAY,
        "back": LOSS,
        "household": 0,
    }
    found = await county.recoveries(case_id)
    assert shared(found) == [("repayment", 4_000), ("repayment", 26_000)]
    story = await county.story("funds", case_id)
    assert [name for name in story if name.startswith("recovery")] == [
        *("recovery_shared", "recovery_reversed", "recovery_shared", "recovery_shared"),
    ]

    # The money had not come at all: what was collected pays the loan, and nothing is too much.
    await county.undone(loan_id, await number_of(county, loan_id, 4_000 * YUAN))

    assert await stands(county, loan_id, case_id) == {
        "owed": DAY,
        "suspense": 0,
        "back": LOSS - DAY,
        "household": 0,
    }
    # What was collected and shared is not the bank's to undo.
    with pytest.raises(Refused, match="NOT_A_REPAYMENT"):
        await county.undone(loan_id, await number_of(county, loan_id, LOSS))


# S21, S41
async def test_a_payout_that_was_on_its_way_is_taken_back_after_more_was_collected_than_left(
    county: County,
) -> None:
    household_id, loan_id, case_id = await a_shared_loss(county)

    # 10,000 of an insurer go to the loan; before the bank confirms them 26,000 are collected.
    payout_id = await county.approved_claim(household_id, 10_000 * YUAN)
    await county.tell()
    await county.collected(case_id, 26_000 * YUAN)
    await county.tell()
    await county.confirmed("lender")

    assert await stands(county, loan_id, case_id) == {
        "owed": 0,
        "suspense": 6_000 * YUAN - DAY,
        "back": LOSS,
        "household": 0,
    }
    assert shared(await county.recoveries(case_id)) == [("payout", 10_000), ("repayment", 20_000)]

    await taken_back(county, payout_id)

    # The household owes the 10,000 again to those who paid, and 6,000 of its own are at the bank.
    assert await stands(county, loan_id, case_id) == {
        "owed": 10_000 * YUAN,
        "suspense": 6_000 * YUAN - DAY,
        "back": 20_000 * YUAN,
        "household": 0,
    }


# S21, S43
async def test_a_payout_of_which_less_was_kept_leaves_what_was_paid_too_much_to_those_who_paid(
    county: County,
) -> None:
    household_id, loan_id, case_id = await a_shared_loss(county)
    await county.approved_claim(household_id, 10_000 * YUAN)
    await county.tell()
    # 21,000 for 20,000: the 1,000 too much step in when the bank keeps 3,000 less of the payout.
    await county.repaid(loan_id, 21_000 * YUAN)
    assert (await county.loan(loan_id)).suspense_fen == 1_000 * YUAN - DAY

    await kept_less(county, 7_000 * YUAN)
    await county.confirmed("insurer")

    assert await stands(county, loan_id, case_id) == {
        "owed": 2_000 * YUAN + DAY,
        "suspense": 0,
        "back": 28_000 * YUAN - DAY,
        "household": 0,
    }
    assert "compensation_exceeded" in await county.story("loans", loan_id)


# S21
async def test_what_is_collected_above_the_loss_is_the_household_s_at_the_funds_alone(
    county: County,
) -> None:
    _, loan_id, case_id = await a_shared_loss(county)
    await county.repaid(loan_id, 3_000 * YUAN)

    recorded = await county.collected(case_id, 29_000 * YUAN)
    await county.tell()

    assert recorded.household_fen == 2_000 * YUAN
    assert await stands(county, loan_id, case_id) == {
        "owed": DAY,
        "suspense": 0,
        "back": LOSS,
        "household": 2_000 * YUAN,
    }

    # Undoing the repayment opens the loan again; nobody is given what was collected twice.
    await county.undone(loan_id, await number_of(county, loan_id, 3_000 * YUAN))

    assert await stands(county, loan_id, case_id) == {
        "owed": 3_000 * YUAN + DAY,
        "suspense": 0,
        "back": 27_000 * YUAN,
        "household": 2_000 * YUAN,
    }
