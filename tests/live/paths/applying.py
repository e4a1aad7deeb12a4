"""Applications: age, rate, a group's persons, sanctions, and what secures a loan."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

from services.programmes.calendars import add_months
from tests.live.county import REFUSED, County, Wish
from tests.live.paths.loans import day, iso
from tests.live.paths.path import Answer, Path, long
from tests.live.platform import must
from tests.live.setup import Case, Setup, benchmark

AMOUNT_FEN = 1_000_000


# --- who ------------------------------------------------------------------------------------------


LAST_YEARS: Mapping[str, int] = {"anhui-rcu-poverty-microcredit@1": 2016}
"""Of programmes that were over by the case's day: its days are taken so many years earlier."""


def years_early(case: Case, said: str) -> date:
    """A day of a case, or the same day in the programme's own years."""
    asked_on = day(case["inputs"]["on_date"])
    early = asked_on.year - LAST_YEARS.get(case["programme"], asked_on.year)
    return add_months(day(said), -12 * early)


def age_setup(case: Case) -> Setup:
    """The day of the application."""
    return Setup(years_early(case, case["inputs"]["on_date"]))


async def age_check(county: County, case: Case) -> Answer:
    """The case's birth date, and nothing else that a rule forbids."""
    given = case["inputs"]
    must(known_age(county) == given["max_age"], "the programme has another limit")
    await county.open(funds={}, covers=())
    household = await county.borrower()
    stated = {"birth_date": years_early(case, given["birth_date"])}
    loan = await county.apply(Wish(household, AMOUNT_FEN, stated=stated))
    must(list(loan.refusal_reasons) in ([], ["TOO_OLD"]), f"{list(loan.refusal_reasons)}")
    return {"allowed": loan.state != REFUSED}


def known_age(county: County) -> object:
    """The oldest that a borrower may be."""
    return county.terms.eligibility.max_age


def sanction_setup(case: Case) -> Setup:
    """The programme goes on with its next version in the years of the ban."""
    start = day(case["inputs"]["sanctioned_on"])
    return Setup(start, then="hubei-yunyang-troika@2018")


SANCTION = "wilful_default_loans"


async def sanction_check(county: County, case: Case) -> Answer:
    """One household sanctioned, with the case's relative where the programme reaches it."""
    given = case["inputs"]
    await county.open(funds={}, covers=())
    defaulter, relative = await county.households([county.village()] * 2)
    await county.rate()
    relatives = [{"household_id": relative, "relation": given["relation"]}]
    values: dict[str, Any] = {
        "household_id": defaulter,
        "programme_id": county.programme_id,
        "kind": 1,
        "code": SANCTION,
        "reason": "wilful default",
        "evidence_sha256": "ab" * 32,
    }
    if await county.refusal("credit.ProposeMeasure", "centre", relatives=relatives, **values):
        # The programme does not reach this relative: the defaulter alone is sanctioned.
        await county.ask("credit.ProposeMeasure", "centre", **values)
    listed = await county.ask("credit.ListMeasures", "centre", household_id=defaulter)
    [measure] = listed.measures
    decided = await county.ask(
        "credit.DecideMeasure",
        "centre",
        post=2,
        measure_id=measure.measure_id,
        approve=True,
        reason="as found",
    )
    await county.advance(day(given["applied_on"]))
    loan = await county.apply(Wish(relative, AMOUNT_FEN))
    own = await county.apply(Wish(defaulter, AMOUNT_FEN))
    must("SANCTIONED" in own.refusal_reasons, "who defaulted may borrow")
    return {
        "blocked_until": iso(decided.measure.until_on),
        "blocked": "SANCTIONED" in loan.refusal_reasons,
    }


PEOPLE_A_HOUSEHOLD = 9


async def group_micro(county: County, case: Case) -> Answer:
    """The case's persons in households that borrow together: so much, and not a fen more."""
    given, most = case["inputs"], case["expected"]["amount_fen"]
    product = county.product("mutual_help_loan")
    must(product.per_capita_fen == given["per_capita_fen"], "another amount a person")
    await county.open(funds={}, covers=())
    whole, rest = divmod(given["persons"], PEOPLE_A_HOUSEHOLD)
    sizes = [PEOPLE_A_HOUSEHOLD] * whole + ([rest] if rest else [])
    lead, *members = await county.each([county.household(people=size) for size in sizes])
    await county.rate()
    asked = Wish(lead, most, product_id=product.id, stated={"member_ids": members})
    above = await county.apply(replace(asked, principal_fen=most + 1))
    fits = await county.apply(asked)
    must(list(above.refusal_reasons) == ["ABOVE_PRODUCT_CAP"], f"{list(above.refusal_reasons)}")
    return {"amount_fen": most if fits.state != REFUSED else None}


# --- the rate -------------------------------------------------------------------------------------

RATE_STARTS_ON: Mapping[str, date] = {"hunan-online-kuaidai@zhuzhou": date(2021, 3, 1)}
RATED: Mapping[str, str] = {
    "henan-sanmenxia-211@1": "entity_credit",
    "hunan-online-kuaidai@zhuzhou": "kuaidai",
}
FUNDED_ABOVE_PPM = 47_500


def rate_setup(case: Case) -> Setup:
    """The case's benchmark, or one above what a source of money bears."""
    cap = case["inputs"]["cap"]
    rates = benchmark(cap.get("benchmark_rate_ppm", FUNDED_ABOVE_PPM))
    start = RATE_STARTS_ON.get(case["programme"], date(2018, 3, 5))
    values: dict[str, Any] = {"loans": {"benchmark": rates}}
    if "kuaidai" in case["programme"]:
        clause = {"id": "kuaidai", "revolving": {"validity_months": 12}}
        values["loan_products"] = [clause]
    return Setup(start, values)


async def rate_check(county: County, case: Case) -> Answer:
    """The rate proposed; then the bound itself, and one part in a million beyond it."""
    given, bound = case["inputs"], case["expected"]["bound_rate_ppm"]
    await county.open(funds={}, covers=())
    product_id = RATED.get(case["programme"], "microcredit")
    entity = "entity" in product_id
    borrower = await county.entity() if entity else await county.borrower()
    funding = given["funding_source"]
    stated = {} if funding == "own" else {"funding": funding}

    async def allowed(rate_ppm: int) -> bool:
        particulars = {**stated, "proposed_rate_ppm": rate_ppm}
        wish = Wish(borrower, AMOUNT_FEN, product_id=product_id, stated=particulars)
        loan = await county.apply(wish)
        reasons = list(loan.refusal_reasons)
        must(reasons in ([], ["LOAN_RATE_NOT_ALLOWED"]), f"refused with {reasons}")
        return not reasons

    beyond = bound + (-1 if given["cap"]["mode"] == "absolute_min" else 1)
    binds = await allowed(bound) and not await allowed(beyond)
    return {
        "bound_rate_ppm": bound if binds else None,
        "allowed": await allowed(given["proposed_rate_ppm"]),
    }


# --- what secures a loan --------------------------------------------------------------------------


async def collateral_cover(county: County, case: Case) -> Answer:
    """Collateral of the case's worth, then worth a fen more."""
    given = case["inputs"]
    await county.open(funds={}, covers=())
    wish = Wish(await county.entity(), given["loan_fen"], product_id="pooled_loan")
    loan = await county.apply(wish)
    must(loan.state != REFUSED, f"refused with {list(loan.refusal_reasons)}")
    worth = given["collateral_value_fen"]

    async def refused(value_fen: int) -> str:
        return await county.refusal(
            "loans.RegisterCollateral",
            "bank",
            loan_id=loan.loan_id,
            asset="warehouse",
            units=1,
            unit_value_fen=value_fen,
            source="appraiser",
            evidence=uuid4().hex,
        )

    reason = await refused(worth)
    must(reason in ("", "COLLATERAL_TOO_LOW"), f"refused with {reason}")
    must(not await refused(worth + 1), "a fen more is not enough")
    return {"accepted": not reason}


def herd_setup(_: Case) -> Setup:
    """Animals valued by a named source, on a limit of a year."""
    pledge = {"id": "live_animals", "price_source": "price_bureau"}
    clause = {
        "id": "animal_pledge",
        "revolving": {"validity_months": 12},
        "security": {"pledges": [pledge]},
    }
    return Setup(date(2018, 3, 5), {"loan_products": [clause]})


async def collateral_limit(county: County, case: Case) -> Answer:
    """The case's animals pledged: what they are worth, and what is lent on them."""
    given = case["inputs"]
    await county.open(funds={}, covers=())
    wish = Wish(await county.entity(), AMOUNT_FEN, product_id="animal_pledge")
    loan = await county.apply(wish)
    held = await county.secure(
        loan.loan_id, wish, units=given["units"], unit_value_fen=given["unit_value_fen"]
    )
    return {"collateral_value_fen": held.value_fen, "limit_fen": held.secures_fen}


def sheep_setup(case: Case) -> Setup:
    """Sheep valued by a named source; the case's rate."""
    pledge = {"id": "sheep", "price_source": "price_bureau"}
    clause = {"id": "sheep_pledge", "security": {"pledges": [pledge]}}
    values: dict[str, Any] = {"loan_products": [clause]}
    if "loan_rate_ppm" in case["inputs"]:
        values["loans"] = {"benchmark": benchmark(case["inputs"]["loan_rate_ppm"])}
    return Setup(date(2018, 3, 5), values)


async def asset_deposit(county: County, case: Case) -> Answer:
    """Sheep deposited for a loan of all that they secure; a month later they have borne."""
    given = case["inputs"]
    await county.open(covers=())
    most = case["expected"]["pledge_loan_fen"]
    months = given.get("loan_months", 12)
    wish = Wish(await county.borrower(), most, product_id="sheep_pledge", months=months)
    loan = await county.apply(wish)
    must(loan.state != REFUSED, f"refused with {list(loan.refusal_reasons)}")
    held = await county.secure(
        loan.loan_id, wish, units=given["units"], unit_value_fen=given["unit_price_fen"]
    )
    await county.decide(loan, wish)
    loan = await county.disburse(loan, wish)
    start = county.today
    await _pay_month(county, loan, add_months(start, 1))
    # The close of that day notes what they bore.
    await county.advance(county.today + timedelta(days=1))
    listed = await county.ask("loans.ListCollateral", "bank", loan_id=loan.loan_id)
    [borne] = listed.collateral
    answer = {
        "deposit_value_per_unit_fen": held.secures_fen // given["units"],
        "interest_per_unit_month_fen": borne.yield_fen // given["units"],
        "pledge_loan_fen": held.secures_fen,
    }
    if "loan_months" in given:
        for month in range(2, months):
            await _pay_month(county, loan, add_months(start, month))
        await county.advance(add_months(start, months))
        refunded = await county.ask(
            "loans.RefundDepositInterest",
            "bank",
            collateral_id=held.collateral_id,
            sold_on=county.today,
            proofs=["proof_of_sale"],
            evidence=uuid4().hex,
        )
        planned = await county.ask("loans.GetRepaymentSchedule", "bank", loan_id=loan.loan_id)
        answer["loan_interest_fen"] = sum(each.interest_fen for each in planned.instalments)
        answer["refund_fen"] = refunded.refund_fen
    return answer


async def _pay_month(county: County, loan: Any, on: date) -> None:
    """The interest of a month on its day."""
    await county.advance(on)
    await county.repay(loan, (await county.quote(loan.loan_id)).interest_fen)


def fixed(start: date) -> Callable[[Case], Setup]:
    """A setup that needs nothing but its first day."""

    def setup(_: Case) -> Setup:
        return Setup(start)

    return setup


PATHS: Mapping[str, Path] = {
    "loans.age_check": Path(age_setup, age_check, unsaid=("age",)),
    "loans.sanction_check": Path(sanction_setup, sanction_check, heavy=long),
    "loans.group_micro": Path(fixed(date(2017, 3, 6)), group_micro),
    "loans.rate_check": Path(rate_setup, rate_check),
    "loans.collateral_cover": Path(fixed(date(2018, 3, 5)), collateral_cover),
    "loans.collateral_limit": Path(herd_setup, collateral_limit),
    "loans.asset_deposit": Path(
        sheep_setup, asset_deposit, heavy=lambda case: "loan_months" in case["inputs"]
    ),
}
