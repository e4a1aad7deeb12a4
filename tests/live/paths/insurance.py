"""Insurance: what it costs, how few policies it takes, what a claim pays, and by when."""

from collections.abc import Mapping
from datetime import date, timedelta
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


# --- a price that makes claims --------------------------------------------------------------------

SHEEP = "tan_sheep_price"
ONE_MONTH = 1


def december(case: Case) -> date:
    """The last month of the programme's year: the official calendar begins with the next one."""
    return date(int(case["programme"].split("@")[1]), 12, 1)


def price_setup(case: Case) -> Setup:
    """The county names who says the price, and the settlement period (S37)."""
    index = {"price_source": "price_watch", "period_months": ONE_MONTH}
    return Setup(december(case), {"insurance": {"covers": [{"id": SHEEP, "price_index": index}]}})


async def price(county: County, case: Case) -> Answer:
    """A household's flock, a month's price, and what the day close makes of both."""
    given = case["inputs"]
    await county.open(funds={}, covers=[SHEEP])
    household = await county.household()
    await county.settle()
    common: dict[str, Any] = {"programme_id": county.programme_id, "cover_id": SHEEP}
    quantity = {"household_id": household, "quantity_centi_jin": given["quantity_centi_jin"]}
    answer = await county.ask("claims.SetInsuredQuantities", "insurer", **common, items=[quantity])
    must(answer.verdicts[0].accepted, answer.verdicts[0].message)
    priced = {
        **common,
        "priced_on": county.today,
        "price_fen_per_jin": given["market_fen_per_jin"],
        "evidence": "sha256:market",
    }
    said = await county.ask("claims.RecordIndexValue", "finance", **priced)
    must(said.value.reason_code == "", said.value.reason_code)
    unknown = await county.ask("claims.RecordIndexValue", "centre", **priced)
    must(unknown.value.reason_code == "PRICE_SOURCE_UNKNOWN", "anybody may say a price")
    await county.advance(date(county.today.year + 1, 1, 1))
    (period,) = (await county.ask("claims.ListIndexPeriods", "insurer", cover_id=SHEEP)).periods
    claims = (await county.ask("claims.ListClaims", "insurer")).claims
    must(len(claims) == int(period.triggered), "not a claim for every unit")
    return {
        "gap_fen_per_jin": period.gap_fen_per_jin,
        "payout_fen": sum(claim.payable_fen for claim in claims),
    }


# --- what a line came to, and the pool behind it --------------------------------------------------

FAMILY = "family_accident"
LINE_SUM_FEN = 10_000_000_000
PPM = 1_000_000


def stabilisation_setup(case: Case) -> Setup:
    """One household whose premium is the whole line's."""
    rate_ppm = case["inputs"]["premium_fen"] * PPM // LINE_SUM_FEN
    cover = {
        "id": FAMILY,
        "sum_insured": {"of": "fixed", "amount_fen": LINE_SUM_FEN},
        "premium": {"rate_ppm": rate_ppm, "payer": "county"},
    }
    # Paid on the spot: the official calendar begins with the next year.
    tiers = [{"tier": "on_the_spot", "max_fen": None, "working_days": 0}]
    return Setup(december(case), {"insurance": {"covers": [cover], "claim_tiers": tiers}})


async def stabilisation(county: County, case: Case) -> Answer:
    """A line is stated with a deficit; the pool makes good what it holds."""
    given = case["inputs"]
    await county.open(funds={}, covers=())
    household = await county.household()
    await county.settle()
    policy = await county.ask(
        "claims.IssueMasterPolicy",
        "insurer",
        insurer_id=county.institution("insurer"),
        programme_id=county.programme_id,
        cover_id=FAMILY,
        from_date=county.today,
        until_date=county.today + timedelta(days=364),
    )
    listed = {"household_id": household, "cover_id": FAMILY}
    answer = await county.ask(
        "claims.EnrolInsured", "insurer", policy_id=policy.policy_id, items=[listed]
    )
    must(answer.verdicts[0].accepted, answer.verdicts[0].message)
    claim = await county.report_claim(household, FAMILY, given["claims_fen"])
    await county.approve_claim(claim.claim_id)
    fund_id = await _stabilisation_pool(county, given["fund_fen"])
    stated = county.today
    await county.advance(stated + timedelta(days=1))
    await county.ask(
        "claims.StateLineResult",
        "insurer",
        insurer_id=county.institution("insurer"),
        programme_id=county.programme_id,
        cover_id=FAMILY,
        until_date=stated,
    )
    await county.settle()
    results = (await county.ask("funds.ListLineResults", "finance")).results
    line = next(each for each in results if each.payouts_fen)
    asked = await county.ask(
        "funds.ProposeStabilisation",
        "finance",
        fund_id=fund_id,
        line_id=line.line_id,
        value_date=county.today,
    )
    decided = await county.ask(
        "funds.DecideFundOrder", "finance", post=2, order_id=asked.order.order_id, approve=True
    )
    fund = (await county.ask("funds.GetFund", "finance", fund_id=fund_id)).fund
    return {
        "deficit_fen": line.deficit_fen,
        "compensated_fen": decided.order.amount_fen,
        "fund_after_fen": fund.balance_fen,
    }


async def _stabilisation_pool(county: County, amount_fen: int) -> str:
    """The insurer's pool, with money in it."""
    answer = await county.ask(
        "funds.OpenFund",
        "finance",
        programme_id=county.programme_id,
        kind="insurer_stabilisation",
        scope_id=county.institution("insurer"),
    )
    await county.ask(
        "funds.RecordContribution",
        "finance",
        fund_id=answer.fund.fund_id,
        source="county_budget",
        amount_fen=amount_fen,
        value_date=county.today,
    )
    return str(answer.fund.fund_id)


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
    "insurance.price_index": Path(price_setup, price),
    "insurance.stabilisation": Path(
        stabilisation_setup,
        stabilisation,
        needs=("funds.ProposeStabilisation", "funds.DecideFundOrder", "funds.ListLineResults"),
    ),
}
