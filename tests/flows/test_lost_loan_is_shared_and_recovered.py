"""A loan that is lost is shared by four parties; what comes back later goes back to them."""

from datetime import date

import pytest

from services.kernel.errors import Refused
from tests.flows.county import YUAN, County

pytestmark = pytest.mark.postgres

# Due on 5 April; the 71st day is 15 June, seen when that day is closed.
SEVENTY_DAYS = date(2018, 6, 15)
SEVENTY_ONE_DAYS = date(2018, 6, 16)


# LS18.fun.1, LS18.fun.2, S21
async def test_after_seventy_days_the_loss_is_shared_and_recoveries_go_back(
    county: County,
) -> None:
    household_id = await county.household()
    loan = await county.disbursed(household_id, 30_000 * YUAN, months=1)

    await county.advance(SEVENTY_DAYS)
    with pytest.raises(Refused):
        await county.compensated(loan.loan_id)
    await county.advance(SEVENTY_ONE_DAYS)
    bad = await county.loan(loan.loan_id)
    assert (bad.overdue_days, bad.non_performing) == (71, True)
    case = await county.compensated(loan.loan_id)

    shares = {share.party: share.amount_fen for share in case.parts}
    loss = sum(shares.values())
    # The treasury bore the interest: the household owes the principal alone.
    assert (case.loss_fen, loss) == (30_000 * YUAN, 30_000 * YUAN)
    assert shares == {
        "county_fund": loss * 20 // 100,
        "bank": loss * 10 // 100,
        "agri_guarantee": loss * 50 // 100,
        "guarantee_group": loss * 20 // 100,
    }
    assert (await county.loan(loan.loan_id)).subrogated_fen == loss
    before = (await county.books()).totals

    await county.approved_claim(household_id, 10_000 * YUAN)
    await county.tell()
    assert await county.confirmed("lender") == 1

    assert (await county.loan(loan.loan_id)).subrogated_fen == 20_000 * YUAN
    after = (await county.books()).totals
    # Of what came back the fund gets the part that it had paid.
    assert after["funds.balance_fen"] - before["funds.balance_fen"] == 2_000 * YUAN
    assert after["funds.loss_fen"] == loss
    assert "recovery_shared" in await county.story("funds", case.case_id)


# LS17.mon.3, LS17.mon.4, LS18.mon.1, S18
async def test_a_village_that_stopped_gives_its_cover_back_and_borrows_no_more(
    county: County,
) -> None:
    household_id, waiting_id = await county.household(), await county.household()
    await county.disbursed(household_id, 30_000 * YUAN, months=1)
    waiting = await county.approved(waiting_id, 20_000 * YUAN)
    assert (await county.books()).totals["funds.covered_fen"] == 50_000 * YUAN

    await county.advance(SEVENTY_ONE_DAYS)

    with pytest.raises(Refused) as refusal:
        await county.paid_out(waiting.loan_id)
    assert refusal.value.reason == "BREAKER_TRIPPED"
    late = await county.applied(waiting_id, 1_000 * YUAN)
    assert list(late.refusal_reasons) == ["BREAKER_TRIPPED"]
    await county.tell()
    assert (await county.books()).totals["funds.covered_fen"] == 30_000 * YUAN
