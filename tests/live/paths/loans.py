"""Loans: applications refused with their reasons, debts on a day, what a day close sees."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from tests.live.county import REFUSED, County, Wish
from tests.live.paths.path import Answer, Path
from tests.live.platform import must
from tests.live.setup import Case, Setup, benchmark

DAY = timedelta(days=1)
STARTS_ON = date(2018, 3, 5)
NON_POOR = 3
"""`RegistrationStatus` as on the wire."""


def day(text: str) -> date:
    """A day of a case."""
    return date.fromisoformat(text)


# --- what an application is refused for -----------------------------------------------------------


def amount_setup(case: Case) -> Setup:
    """The household's limit is the case's."""
    values: dict[str, Any] = {}
    if "hunan" in case["programme"]:
        values = chosen_ratio({"bank": 2, "fund": 8})
    return Setup(STARTS_ON, values, limit_fen=case["inputs"]["credit_limit_fen"])


def chosen_ratio(ratio: Mapping[str, int]) -> dict[str, Any]:
    """A county that has chosen its loss shares (S24)."""
    layers = [{"layer": "ratio", "ratio": dict(ratio)}]
    return {"fund": {"models": [{"id": "risk_sharing", "layers": layers}]}}


async def amount(county: County, case: Case) -> Answer:
    """The amount asked for, then one fen above and exactly the most that is said to fit."""
    given, expected = case["inputs"], case["expected"]
    await county.open()
    household = await county.borrower()
    must(
        given["product_cap_fen"] == county.product("microcredit").max_principal_fen,
        "the programme's product has another cap than the case",
    )
    if given["outstanding_fen"]:
        await county.lend(Wish(household, given["outstanding_fen"]))
    asked = await county.apply(Wish(household, given["requested_fen"]))
    most = expected["max_amount_fen"]
    above = await county.apply(Wish(household, most + 1))
    fits = await county.apply(Wish(household, most))
    binds = [
        reason.removeprefix("ABOVE_").lower()
        for reason in asked.refusal_reasons
        if reason.startswith("ABOVE_")
    ]
    return {
        "allowed": asked.state != REFUSED,
        "max_amount_fen": most if above.state == REFUSED != fits.state else None,
        "binding": binds[0] if binds else None,
    }


def purpose_setup(case: Case) -> Setup:
    """Which products have which lists the programme says; only the county's own list is open."""
    start = date(2020, 3, 2) if "tongxiang" in case["programme"] else STARTS_ON
    values: dict[str, Any] = {}
    if "lushi" in case["programme"]:
        listed = {"purpose": {"allowed": [case["inputs"]["purpose"]]}}
        values = {"loan_products": [{"id": "microcredit", **listed}]}
    return Setup(start, values)


def without_assignment(covers: Sequence[str]) -> dict[str, Any]:
    """Required covers whose policies can be issued whatever sweeps the programme leaves open."""
    return {"insurance": {"covers": [{"id": each, "assigned": False} for each in covers]}}


PRODUCTS: Mapping[str, tuple[str, int]] = {
    "zhejiang-tongxiang-sanzhi@1": ("sanzhi_credit", NON_POOR),
    "hunan-poverty-office-137@1": ("pooled_loan", 1),
}
"""Product whose purposes a case is about, and the borrower's status."""
PURPOSE_REASONS = ("PROHIBITED_PURPOSE", "PURPOSE_NOT_LISTED", "OUTSIDE_AREA")


async def purpose(county: County, case: Case) -> Answer:
    """An application names all its refusals at once; those about its purpose count."""
    given = case["inputs"]
    await county.open(funds={}, covers=())
    product_id, status = PRODUCTS.get(case["programme"], ("microcredit", 1))
    household = await county.borrower(status=status)
    loan = await county.apply(
        Wish(
            household,
            1_000_000,
            product_id=product_id,
            purpose=given["purpose"],
            used_in_area=given.get("used_in_area", ""),
        )
    )
    found = [reason.lower() for reason in loan.refusal_reasons if reason in PURPOSE_REASONS]
    return {"allowed": not found, "reason": found[0] if found else None}


# --- deadlines ------------------------------------------------------------------------------------


def sla_setup(case: Case) -> Setup:
    """The county follows the programme early enough for the case's day."""
    return Setup(day(case["inputs"]["received_on"]), {"programme": {"effective_from": LUSHI_FROM}})


LUSHI_FROM = date(2017, 1, 1)


async def sla(county: County, case: Case) -> Answer:
    """Received on its day, and paid out on the day on which it was completed."""
    given = case["inputs"]
    await county.open()
    if "entity" in case["title"]:
        wish = Wish(await county.entity(), 1_000_000, product_id="entity_credit")
    else:
        wish = Wish(await county.borrower(), 1_000_000)
    loan = await county.apply(wish)
    answer: dict[str, Any] = {"due_on": iso(loan.sla_due_on)}
    if "completed_on" in given:
        await county.advance(day(given["completed_on"]))
        await county.decide(loan, wish)
        await county.settle()
        paid = await county.disburse(loan, wish)
        answer["breached"] = iso(paid.disbursed_on) > iso(paid.sla_due_on)
    return answer


def iso(message: Any) -> str:
    """A day of the wire as a case writes it."""
    return f"{message.year:04d}-{message.month:02d}-{message.day:02d}"


# --- debts ----------------------------------------------------------------------------------------


def snapshot_setup(case: Case) -> Setup:
    """A rate at which a year's interest is the case's."""
    given = case["inputs"]
    rate, _ = rate_and_days(given["principal_fen"], given["accrued_interest_fen"])
    values: dict[str, Any] = {"loans": {"benchmark": benchmark(rate)}}
    if "hunan" in case["programme"]:
        values |= chosen_ratio({"bank": 2, "fund": 8})
    if "wangcang" in case["programme"]:
        values |= without_assignment(WANGCANG_COVERS)
    return Setup(STARTS_ON, values)


WANGCANG_COVERS = ("policy_agri", "microloan", "micro_poverty")


def rate_and_days(
    principal_fen: int,
    interest_fen: int,
    *,
    after: int = 0,
    soon: bool = False,
    days_max: int = 360,
) -> tuple[int, int]:
    """A whole rate and a number of days, up to a year after others, that make this interest."""
    days_of_year = range(after + days_max, after, -1)
    for days in reversed(days_of_year) if soon else days_of_year:
        # interest = principal × rate/10⁶ × days/360
        rate, rest = divmod(interest_fen * 360_000_000, principal_fen * days)
        if rest == 0 and 0 < rate <= 1_000_000:
            return rate, days
    raise LookupError(f"no whole rate makes {interest_fen} of {principal_fen} fen")


async def snapshot(county: County, case: Case) -> Answer:
    """Lent on one day, quoted on the one on which so much interest has accrued."""
    given = case["inputs"]
    await county.open()
    loan = await county.lend(Wish(await county.borrower(), given["principal_fen"]))
    _, days = rate_and_days(given["principal_fen"], given["accrued_interest_fen"])
    await county.advance(county.today + days * DAY)
    quote = await county.quote(loan.loan_id)
    return {
        "household_principal_fen": quote.principal_fen,
        "household_interest_fen": quote.interest_fen,
        "household_debt_fen": quote.principal_fen + quote.interest_fen,
        "treasury_receivable_fen": quote.subsidised_interest_fen,
    }


def daily_setup(case: Case) -> Setup:
    """The case's rate for every term."""
    return Setup(STARTS_ON, {"loans": {"benchmark": benchmark(case["inputs"]["rate_ppm"])}})


async def daily_interest(county: County, case: Case) -> Answer:
    """Drawn for so many days, repaid, and nothing more accrues afterwards."""
    drawn, idle = case["inputs"]["periods"]
    await county.open()
    loan = await county.lend(Wish(await county.borrower(), drawn["balance_fen"]))
    await county.advance(county.today + drawn["days"] * DAY)
    quote = await county.quote(loan.loan_id)
    await county.repay(loan, quote.principal_fen + quote.interest_fen)
    await county.advance(county.today + idle["days"] * DAY)
    after = await county.loan(loan.loan_id)
    return {"interest_fen": quote.interest_fen + after.interest_fen + after.outstanding_fen}


# --- what a day close sees ------------------------------------------------------------------------


def overdue_setup(case: Case) -> Setup:
    """Classes by the case's table."""
    values: dict[str, Any] = {"monitoring": {"five_tier": case["inputs"]["table"]}}
    return Setup(date(2017, 7, 3), values | chosen_ratio({"bank": 2, "fund": 8}))


async def five_tier(county: County, case: Case) -> Answer:
    """A loan of a month, and so many days after it was due."""
    await county.open()
    loan = await county.lend(Wish(await county.borrower(), 1_000_000, months=1))
    due = day(iso(loan.matures_on))
    await county.advance(due + (case["inputs"]["overdue_days"] + 1) * DAY)
    loan = await county.loan(loan.loan_id)
    must(loan.overdue_days == case["inputs"]["overdue_days"], f"{loan.overdue_days} days overdue")
    tier = (
        type(loan)
        .DESCRIPTOR.fields_by_name["five_tier_class"]
        .enum_type.values_by_number[loan.five_tier_class]
    )
    return {
        "tier": tier.name.removeprefix("FIVE_TIER_CLASS_").lower(),
        "non_performing": loan.non_performing,
    }


def npl_setup(case: Case) -> Setup:
    """The loan's month begins a month before the case's due date."""
    due = day(case["inputs"]["due_on"])
    return Setup(month_before(due), {"programme": {"effective_from": LUSHI_FROM}})


def month_before(due: date) -> date:
    """The same day of the month before; the cases have no month ends."""
    return date(due.year, due.month - 1, due.day)


async def npl_trigger(county: County, case: Case) -> Answer:
    """Aged by the close of the case's day."""
    given = case["inputs"]
    await county.open()
    loan = await county.lend(Wish(await county.borrower(), 1_000_000, months=1))
    must(iso(loan.matures_on) == given["due_on"], f"due on {iso(loan.matures_on)}")
    await county.advance(day(given["as_of"]) + DAY)
    loan = await county.loan(loan.loan_id)
    return {"overdue_days": loan.overdue_days, "triggered": loan.non_performing}


NPL_MORE_THAN_DAYS = 70
TERM_MONTHS = 2


def subsidy_stop_setup(case: Case) -> Setup:
    """Two months before the due date whose 71st overdue day is the case's."""
    given = case["inputs"]
    due = day(given["npl_on"]) - (NPL_MORE_THAN_DAYS + 1) * DAY
    start = date(due.year - 1, due.month + 12 - TERM_MONTHS, due.day)
    rates = benchmark(given["rate_ppm"])
    return Setup(
        start, {"programme": {"effective_from": LUSHI_FROM}, "loans": {"benchmark": rates}}
    )


async def subsidy_stop(county: County, case: Case) -> Answer:
    """The treasury's interest grows from the case's first day until the loan is non-performing."""
    given = case["inputs"]
    stops_on, as_of = day(given["npl_on"]), day(given["as_of"])
    await county.open()
    loan = await county.lend(
        Wish(await county.borrower(), given["principal_fen"], months=TERM_MONTHS)
    )
    await county.advance(day(given["from"]))
    before = await county.quote(loan.loan_id)
    await county.advance(stops_on)
    must(not (await county.loan(loan.loan_id)).non_performing, "non-performing too early")
    await county.advance(stops_on + DAY)
    must((await county.loan(loan.loan_id)).non_performing, "not non-performing yet")
    await county.advance(as_of)
    after = await county.quote(loan.loan_id)
    return {
        "subsidised_days": (stops_on - day(given["from"])).days,
        "subsidy_fen": after.subsidised_interest_fen - before.subsidised_interest_fen,
        "household_interest_fen": after.interest_fen,
    }


PATHS: Mapping[str, Path] = {
    "loans.amount_check": Path(amount_setup, amount),
    "loans.purpose_check": Path(purpose_setup, purpose),
    "loans.sla": Path(sla_setup, sla),
    "loans.debt_snapshot": Path(snapshot_setup, snapshot),
    "loans.daily_interest": Path(daily_setup, daily_interest),
    "loans.five_tier": Path(overdue_setup, five_tier, unsaid=("risk_list",)),
    "loans.npl_trigger": Path(npl_setup, npl_trigger),
    "loans.subsidy_stop": Path(subsidy_stop_setup, subsidy_stop),
}
