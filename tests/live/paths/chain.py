"""The chain: a payout below the debt, and the fund that shares what is left."""

from collections.abc import Mapping
from datetime import timedelta

from tests.live.county import County
from tests.live.paths import funds, settlement
from tests.live.paths.path import Answer, Path
from tests.live.setup import Case, Setup

DAYS = 120
"""A loan of a month is then overdue for longer than the trigger, and its subsidy still runs."""


def setup(case: Case) -> Setup:
    """The covers of the case's payouts; its interest accrues within a year."""
    return settlement.setup(case, days_max=DAYS)


async def claim_to_compensation(county: County, case: Case) -> Answer:
    """The payout settles what it can; on the next day the lender files the rest."""
    given = case["inputs"]
    pots = {each["party"]: each["balance_fen"] for each in given["layers"] if each["type"] == "pot"}
    settled, debts = await settlement.settle(county, given, months=1, days_max=DAYS)
    fund_ids = {party: await county.fund(party, fen) for party, fen in pots.items()}
    # The close of the day states what is owed after the payout.
    await county.advance(county.today + timedelta(days=1))
    loan = await county.loan(debts.loan_ids[given["compensated_creditor"]])
    cause = funds.cause_of(case, funds.model_of(county))
    done = await funds.compensated(county, loan, cause)
    after = {
        party: (await county.ask("funds.GetFund", "finance", fund_id=fund_id)).fund.balance_fen
        for party, fund_id in fund_ids.items()
    }
    return {
        "settlement": settled,
        "loss_fen": done.loss_fen,
        "waterfall": {
            "allocations": [
                {"layer": part.layer, "party": part.party, "amount_fen": part.amount_fen}
                for part in done.parts
            ],
            "pots_after_fen": after,
            "uncovered_fen": done.loss_fen - sum(part.amount_fen for part in done.parts),
        },
    }


PATHS: Mapping[str, Path] = {
    "chain.claim_to_compensation": Path(setup, claim_to_compensation),
}
