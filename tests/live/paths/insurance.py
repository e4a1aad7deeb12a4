"""Insurance: what a claim pays, and by when."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from tests.live.county import County, Wish
from tests.live.paths.loans import WANGCANG_COVERS, day, iso, without_assignment
from tests.live.paths.path import Answer, Path
from tests.live.setup import Case, Setup

COVER = "personal_accident"


def tier_setup(_: Case) -> Setup:
    """Insured under the year's programme, which its claims keep after the year."""
    required = [{"borrower_class": "poor_household", "covers": [COVER]}]
    return Setup(date(2017, 12, 20), {"insurance": {"required_covers": required}})


async def tier(county: County, case: Case) -> Answer:
    """A claim accepted on the case's day, and the day by which it must be paid."""
    given = case["inputs"]
    await county.open()
    household = await county.borrower()
    await county.lend(Wish(household, 1_000_000))
    await county.advance(day(given["accepted_on"]))
    claim = await county.report_claim(household, COVER, given["amount_fen"])
    approved = await county.approve_claim(claim.claim_id)
    return {"due_on": iso(approved.due_on)}


def cap_setup(case: Case) -> Setup:
    """The cover whose cap the programme states."""
    values: dict[str, Any] = without_assignment(WANGCANG_COVERS)
    return Setup(date(2018, 3, 5), values)


async def cap(county: County, case: Case) -> Answer:
    """A claim above the cap."""
    await county.open()
    household = await county.borrower()
    await county.lend(Wish(household, 1_000_000))
    claim = await county.report_claim(household, "micro_poverty", case["inputs"]["assessed_fen"])
    approved = await county.approve_claim(claim.claim_id)
    return {"payable_fen": approved.payable_fen}


PATHS: Mapping[str, Path] = {
    "insurance.claim_tier": Path(tier_setup, tier, unsaid=("tier", "working_days")),
    "insurance.cover_cap": Path(cap_setup, cap),
}
