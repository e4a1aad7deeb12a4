"""A fund covers what it can; what it cannot is refused, and asked for again when it has money."""

import pytest
from liandong.loans.v1 import loans_pb2

from tests.conftest import MakeSchema
from tests.flows.county import YUAN, County, a_county

pytestmark = pytest.mark.postgres

IN_REVIEW = loans_pb2.LOAN_STATE_IN_REVIEW
REFUSED = loans_pb2.LOAN_STATE_REFUSED


# S26: ten times the balance; S20: new lending waits for money.
async def test_the_loan_that_the_fund_cannot_cover_is_refused_and_its_room_is_free_again(
    schema: MakeSchema,
) -> None:
    county: County = await a_county(schema)
    await county.begin(fund_fen=5_000 * YUAN)
    first, second = await county.household(), await county.household()

    covered = await county.asked_for_cover(first, 50_000 * YUAN)
    uncovered = await county.asked_for_cover(second, 50_000 * YUAN)

    assert covered.state == IN_REVIEW
    assert uncovered.state == REFUSED
    (reason,) = uncovered.refusal_reasons
    assert reason.startswith("COVER_REFUSED_")
    assert await county.story("loans", uncovered.loan_id) == [
        "loan_applied",
        "cover_requested",
        "loan_refused",
    ]
    assert (await county.books()).totals["funds.covered_fen"] == 50_000 * YUAN

    await county.pay_into_fund(5_000 * YUAN)
    again = await county.asked_for_cover(second, 50_000 * YUAN)

    assert again.state == IN_REVIEW
    assert (await county.books()).totals["funds.covered_fen"] == 100_000 * YUAN


async def test_a_loan_that_the_bank_refuses_gives_its_cover_back(county: County) -> None:
    household_id = await county.household()
    loan = await county.asked_for_cover(household_id, 50_000 * YUAN)
    assert (await county.books()).totals["funds.covered_fen"] == 50_000 * YUAN

    request = loans_pb2.DecideApplicationRequest(
        loan_id=loan.loan_id, step="bank_approves", approve=False
    )
    await county.ask("loans", "DecideApplication", request, role="lender", post=2)
    await county.tell()

    assert (await county.books()).totals["funds.covered_fen"] == 0
    assert (await county.applied(household_id, 50_000 * YUAN)).state == IN_REVIEW
