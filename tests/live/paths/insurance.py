"""Insurance: what it costs, how few policies it takes, what a claim pays, and by when."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from services.programmes import policies
from tests.live.county import BATCH_ITEMS, County, Wish
from tests.live.paths.loans import WANGCANG_COVERS, day, iso, without_assignment
from tests.live.paths.path import Answer, Path
from tests.live.platform import must
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


YUNYANG_START: Mapping[str, date] = {"hubei-yunyang-troika@2017": date(2017, 3, 6)}
COVER_OF_PREMIUM: Mapping[str, str] = {"henan-sanmenxia-211@1": "loan_guarantee"}
"""The cover whose rate a case is about; elsewhere it is the policy's premium on lending."""


def premium_setup(case: Case) -> Setup:
    """The rates and caps are the programme's own."""
    return Setup(YUNYANG_START.get(case["programme"], date(2018, 3, 5)))


async def premium(county: County, case: Case) -> Answer:
    """The rate that is proposed, or the programme's own, on the case's base."""
    given = case["inputs"]
    await county.open(funds={}, covers=())
    cover_id = COVER_OF_PREMIUM.get(case["programme"], "")
    quote = await county.ask(
        "claims.QuotePremium",
        "insurer",
        programme_id=county.programme_id,
        cover_id=cover_id,
        base_fen=given["base_fen"],
        rate_ppm=given["rate_ppm"] if cover_id else None,
    )
    must(quote.rate_ppm == given["rate_ppm"], f"a rate of {quote.rate_ppm} ppm")
    answer: dict[str, Any] = {"premium_fen": quote.premium_fen}
    if quote.HasField("max_premium_fen"):
        answer |= {"allowed": quote.allowed, "max_premium_fen": quote.max_premium_fen}
    return answer


async def master_policy(county: County, case: Case) -> Answer:
    """Every household of a file on the list of one policy, for each of its covers."""
    given = case["inputs"]
    await county.open(funds={}, covers=())
    cover_ids = policies.master_covers(county.terms.insurance)
    must(len(cover_ids) == given["covers"], f"the policy has {len(cover_ids)} covers")
    [policy_id] = await county.insure(*cover_ids)
    households = await county.import_households(given["households"])
    await county.settle()
    lines = [
        {"household_id": household_id, "cover_id": cover_id}
        for household_id in households
        for cover_id in cover_ids
    ]
    for start in range(0, len(lines), BATCH_ITEMS):
        answer = await county.ask(
            "claims.EnrolInsured",
            "insurer",
            policy_id=policy_id,
            items=lines[start : start + BATCH_ITEMS],
        )
        refused = [each.reason for each in answer.verdicts if not each.accepted]
        must(not refused, f"lines refused: {refused[:3]}")
    counts = await county.ask(
        "claims.CountCertificates", "centre", programme_id=county.programme_id
    )
    must(counts.households == given["households"], f"{counts.households} households")
    return {
        "certificates_before": counts.certificates_before,
        "policies_after": counts.policies_after,
    }


PATHS: Mapping[str, Path] = {
    "insurance.premium": Path(premium_setup, premium),
    "insurance.master_policy": Path(premium_setup, master_policy, heavy=lambda _: True),
    "insurance.claim_tier": Path(tier_setup, tier, unsaid=("tier", "working_days")),
    "insurance.cover_cap": Path(cap_setup, cap),
}
