"""Suspensions: a programme whose loans went bad, an outlet that collected too little."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from services.programmes.calendars import add_months
from tests.live.county import REFUSED, County, Wish
from tests.live.paths.breakers import STARTS_ON, parts, tripped, until_bad
from tests.live.paths.loans import chosen_ratio
from tests.live.paths.path import Answer, Path
from tests.live.platform import must
from tests.live.setup import Case, Setup

OUTLET, OTHER_OUTLET = "0012", "0013"
GOOD_MONTHS = 12
SMALL_FEN = 100_000
LENT_DAY = 15


def npl_setup(_: Case) -> Setup:
    """The programme states its threshold; its county chooses who bears losses."""
    return Setup(STARTS_ON, chosen_ratio({"bank": 2, "fund": 8}))


async def npl_suspension(county: County, case: Case) -> Answer:
    """The case's balances: the bad part falls due first and is not repaid."""
    given = case["inputs"]
    bad = parts(given["npl_fen"])
    good = parts(given["outstanding_fen"] - given["npl_fen"])
    await county.open()
    *households, late = await county.import_households(len(bad) + len(good) + 1)
    await county.rate()
    amounts = [(each, 1) for each in bad] + [(each, GOOD_MONTHS) for each in good]
    wishes = [
        Wish(household, amount_fen, months=months)
        for household, (amount_fen, months) in zip(households, amounts, strict=True)
    ]
    await county.lend_all(wishes)
    await until_bad(county, 1)
    stopped = await tripped(county, "programme")
    asked = await county.apply(Wish(late, SMALL_FEN))
    refused = asked.state == REFUSED and "BREAKER_TRIPPED" in asked.refusal_reasons
    must(refused == bool(stopped), f"{stopped} tripped, {list(asked.refusal_reasons)} refused")
    return {"suspended": stopped == {county.programme_id}}


def recovery_setup(case: Case) -> Setup:
    """Loans are lent two months before the first month in which one falls due."""
    first = date.fromisoformat(f"{case['inputs']['months'][0]['month']}-{LENT_DAY}")
    return Setup(add_months(first, -2), chosen_ratio({"bank": 2, "fund": 8}))


async def recovery_rate(county: County, case: Case) -> Answer:
    """What falls due is repaid on its day, but for what the case leaves uncollected."""
    months: Sequence[Mapping[str, Any]] = case["inputs"]["months"]
    lent_on = county.today
    await county.open()
    amounts = [
        (amount_fen, place + 2)
        for place, each in enumerate(months)
        for amount_fen in parts(each["due_fen"])
    ]
    *households, late = await county.import_households(len(amounts) + 1)
    await county.rate()
    loans = await county.lend_all(
        [
            Wish(household, amount_fen, months=term, outlet=OUTLET)
            for household, (amount_fen, term) in zip(households, amounts, strict=True)
        ]
    )
    for place, each in enumerate(months):
        await county.advance(add_months(lent_on, place + 2))
        due = [loan for loan, (_, term) in zip(loans, amounts, strict=True) if term == place + 2]
        short_fen = each["due_fen"] - each["collected_fen"]
        for loan in due:
            quote = await county.quote(loan.loan_id)
            owed_fen = quote.principal_fen + quote.interest_fen
            await county.repay(loan, owed_fen - short_fen)
            short_fen = 0
        await county.advance(add_months(lent_on.replace(day=1), place + 3))
    stopped = await tripped(county, "outlet")
    at_outlet = await county.apply(Wish(late, SMALL_FEN, outlet=OUTLET))
    refused = at_outlet.state == REFUSED and "BREAKER_TRIPPED" in at_outlet.refusal_reasons
    must(refused == bool(stopped), f"{stopped} tripped, {list(at_outlet.refusal_reasons)}")
    elsewhere = await county.apply(Wish(late, SMALL_FEN, outlet=OTHER_OUTLET))
    must(elsewhere.state != REFUSED, f"the next outlet: {list(elsewhere.refusal_reasons)}")
    records = await county.ask("loans.ListBreakerRecords", "centre", page_size=500)
    trips = [each.recorded_on for each in records.records if each.what == "tripped"]
    return {
        "suspended": stopped == {f"{county.institution('bank')}/{OUTLET}"},
        "suspended_after": f"{trips[0].year}-{trips[0].month:02d}" if trips else None,
    }


PATHS: Mapping[str, Path] = {
    "monitoring.npl_suspension": Path(npl_setup, npl_suspension),
    "monitoring.recovery_rate": Path(recovery_setup, recovery_rate),
}
