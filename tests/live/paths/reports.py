"""Reports: a bulletin's sums, an indicator from its counts, a lender against its own ratio."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from services.programmes.calendars import add_months
from services.programmes.schema.indicators import CountUnit, Indicator
from services.programmes.schema.reports import ReportKind
from services.programmes.schema.values import Every
from tests.live.county import County, Wish
from tests.live.paths.breakers import parts, until_bad
from tests.live.paths.path import Answer, Path
from tests.live.platform import must
from tests.live.setup import RATE_PPM, Case, Setup

DAYS_OF_A_YEAR = 360
PPM = 1_000_000
BEGINS_ON = date(2018, 1, 30)
NEXT_VERSION = "hunan-poverty-office-137@2"


# --- a bulletin -----------------------------------------------------------------------------------


def bulletin_setup(_: Case) -> Setup:
    """The version of the loans is over when the bulletin is made; the next one asks for it."""
    return Setup(BEGINS_ON, then=NEXT_VERSION)


async def bulletin(county: County, case: Case) -> Answer:
    """
    Loans that bear interest themselves, paid so that each owes what the case says of it.

    What a loan owes at the report's opening was charged through the evening before.
    """
    report_on = date.fromisoformat(case["inputs"]["report_on"])
    await county.open()
    loans = [_Loan(county, each, report_on) for each in case["inputs"]["loans"]]
    steps = [(each.lent_on, each.take_over) for each in loans]
    steps += [(each.paid_on, each.pay) for each in loans if each.paid_on <= report_on]
    for on, step in sorted(steps, key=lambda each: each[0]):
        await county.advance(on)
        await step()
    await county.advance(report_on)
    report = next(
        each
        for each in county.terms.monitoring.reports
        if each.kind is ReportKind.BULLETIN and each.every == Every.MONTH and each.sections
    )
    answer = await county.ask(
        "loans.GetBulletin",
        "centre",
        programme_id=county.programme_id,
        report_id=report.id,
        day=report_on,
    )
    found: dict[str, int] = {}
    for section in answer.sections:
        found |= dict(section.figures)
    return found


class _Loan:
    """A loan of a bulletin's case: taken over as new, and paid so that so much is left."""

    def __init__(self, county: County, given: Mapping[str, Any], report_on: date) -> None:
        self._county = county
        self._given = given
        self._matures_on = date.fromisoformat(given["maturity_on"])
        self._left_fen = given["principal_outstanding_fen"]
        interest = given["interest_overdue_fen"]
        self.paid_on = self._matures_on
        if self._left_fen:
            days, over = divmod(interest * DAYS_OF_A_YEAR * PPM, self._left_fen * RATE_PPM)
            must(not over, "the interest is not that of whole days")
            self.paid_on = report_on - timedelta(days=1 + days)
            if not days:
                self.paid_on = self._matures_on
        self.lent_on, self._months = self._begin()
        self._loan_id = ""

    def _begin(self) -> tuple[date, int]:
        """As many whole months before its maturity as keep that day of the month."""
        for months in (3, 4, 5):
            begun = add_months(self._matures_on, -months)
            if begun >= BEGINS_ON and add_months(begun, months) == self._matures_on:
                return begun, months
        must(False, f"no month's day before {self._matures_on} keeps it")
        raise AssertionError

    async def take_over(self) -> None:
        """It comes from another book on the day on which it was paid out there."""
        county, owed = self._county, self._given["principal_due_fen"]
        household_id = await county.household()
        await county.settle()
        answer = await county.ask(
            "loans.ImportOpeningLoans",
            "centre",
            opening_on=county.today,
            items=[
                {
                    "reference": self._given["id"],
                    "household_id": household_id,
                    "lender_id": county.institution("bank"),
                    "programme_id": county.programme_id,
                    "product_id": "microcredit",
                    "principal_fen": owed,
                    "term_months": self._months,
                    "rate_ppm": RATE_PPM,
                    "disbursed_on": county.today,
                    "outstanding_fen": owed,
                    "next_due_on": self._matures_on,
                    "five_tier_class": 1,
                }
            ],
            control_totals=[
                {
                    "lender_id": county.institution("bank"),
                    "loans": 1,
                    "outstanding_fen": owed,
                    "interest_owed_fen": 0,
                }
            ],
        )
        must(answer.landed, f"openings refused: {[v.message for v in answer.verdicts]}")
        self._loan_id = answer.verdicts[0].id

    async def pay(self) -> None:
        """All interest, and principal until so much is left."""
        quote = await self._county.quote(self._loan_id)
        paid = self._given["principal_due_fen"] - self._left_fen + quote.interest_fen
        loan = await self._county.loan(self._loan_id)
        if paid:
            await self._county.repay(loan, paid)


# --- an indicator ---------------------------------------------------------------------------------


def ratio_setup(_: Case) -> Setup:
    """The programme names the counts and the decimals."""
    return Setup(date(2018, 3, 5))


async def ratio(county: County, case: Case) -> Answer:
    """The two counts of an indicator of households, stated for a day; it is worked out of them."""
    given = case["inputs"]
    await county.open()
    indicator = _of_households(county, given["decimals"])
    for count_id, value in (
        (indicator.numerator, given["numerator"]),
        (indicator.denominator, given["denominator"]),
    ):
        await _state(county, count_id, value)
    answer = await county.ask("loans.GetIndicators", "centre", programme_id=county.programme_id)
    (found,) = (each for each in answer.indicators if each.id == indicator.id)
    return {"pct": found.pct}


def _of_households(county: County, decimals: int) -> Indicator:
    monitoring = county.terms.monitoring
    units = {count.id: count.unit for count in monitoring.counts if not count.is_made}
    return next(
        each
        for each in monitoring.indicators
        if each.decimals == decimals
        and units.get(each.numerator) == units.get(each.denominator) == CountUnit.HOUSEHOLDS
    )


# --- counts that add up ---------------------------------------------------------------------------

MADE_COUNTS: Mapping[str, tuple[str, date]] = {
    "hunan-poverty-office-137@1": ("forbidden_projects_left", BEGINS_ON),
    "henan-lushi@1": ("lent", date(2017, 10, 31)),
}
"""Programme → the count that the case adds up, and a day on which it is stated."""


def count_check_setup(case: Case) -> Setup:
    """The programme says of what the count is made."""
    _, on_day = MADE_COUNTS[case["programme"]]
    return Setup(on_day)


async def count_check(county: County, case: Case) -> Answer:
    """The parts stated, then the whole: what the source says of it and then another number."""
    given = case["inputs"]
    count_id, _ = MADE_COUNTS[case["programme"]]
    await county.open(funds={}, covers=())
    made = next(each for each in county.terms.monitoring.counts if each.id == count_id)
    must(len(made.plus) == len(given["plus"]), f"{count_id} is made of {made.plus}")
    must(len(made.minus) == len(given["minus"]), f"{count_id} is less {made.minus}")
    whole = case["expected"]["result"]
    parts = dict(zip((*made.plus, *made.minus), (*given["plus"], *given["minus"]), strict=True))
    for name, value in parts.items():
        await _state(county, name, value)
    counts = await _counts(county)
    for name, value in parts.items():
        ours = counts[name].ours if counts[name].HasField("ours") else None
        said = counts[name].difference if counts[name].HasField("difference") else None
        must(said == (None if ours is None else value - ours), f"{name} differs by {said}")
    found = counts[count_id]
    must(not found.HasField("difference"), "compared with nothing stated")
    for said, difference in ((whole, 0), (whole + 1, 1)):
        await _state(county, count_id, said)
        again = (await _counts(county))[count_id]
        must(again.stated_value == said, f"{again.stated_value} stated")
        must(again.HasField("difference"), "no difference is said")
        must(again.difference == difference, f"{said} differs by {again.difference}")
        must(again.value == found.value, f"{count_id} is {again.value} when {said} is stated")
    return {"result": found.value}


async def _state(county: County, count_id: str, value: int) -> None:
    await county.ask(
        "loans.StateCount",
        "centre",
        programme_id=county.programme_id,
        count_id=count_id,
        on_day=county.today,
        value=value,
    )


async def _counts(county: County) -> Mapping[str, Any]:
    """The counts that are known, as the indicators' answer has them."""
    answer = await county.ask("loans.GetIndicators", "centre", programme_id=county.programme_id)
    return {each.id: each for each in answer.counts}


# --- what is tolerated ----------------------------------------------------------------------------


def tolerance_setup(case: Case) -> Setup:
    """Targets that the province leaves to the county, of which this case says nothing."""
    goal = {"of": "area_average", "or_ppm": 0}
    marks = {"full_at": goal, "marks_centi": 1_000}
    kpis: list[dict[str, Any]] = [
        {"id": "coverage", **marks},
        {"id": "average_balance", **marks},
        {"id": "npl", **marks, "zero_at_ppm": PPM},
    ]
    values = {"kpis": kpis, "tolerance_ppm": case["inputs"]["tolerance_ppm"]}
    return Setup(date(2018, 3, 5), values={"monitoring": values})


async def tolerance(county: County, case: Case) -> Answer:
    """The case's balances under the programme, and what the lender states of all its loans."""
    given = case["inputs"]
    await county.open()
    bad, all_ = given["micro_npl_fen"], given["micro_outstanding_fen"]
    wanted = [(amount, 1) for amount in parts(bad)]
    wanted += [(amount, 12) for amount in parts(all_ - bad)]
    households = await county.households([county.village()] * len(wanted))
    await county.rate()
    wishes = [
        Wish(household, amount, months=months)
        for household, (amount, months) in zip(households, wanted, strict=True)
    ]
    await county.lend_all(wishes)
    await until_bad(county, 1)
    await county.ask(
        "loans.StateLenderRatio",
        "bank",
        on_day=county.today,
        non_performing_fen=given["all_npl_fen"],
        outstanding_fen=given["all_outstanding_fen"],
    )
    answer = await county.ask("loans.AssessLenders", "centre", programme_id=county.programme_id)
    (lender,) = answer.lenders
    must(lender.figures.balance_fen == all_, f"the balance is {lender.figures.balance_fen}")
    must(lender.figures.non_performing_fen == bad, "another part is non-performing")
    return {"tolerated": lender.tolerated}


PATHS: Mapping[str, Path] = {
    "monitoring.bulletin": Path(bulletin_setup, bulletin),
    "monitoring.count_check": Path(
        count_check_setup,
        count_check,
        needs=("loans.StateCount", "loans.ReportCount.difference"),
    ),
    "monitoring.npl_tolerance": Path(tolerance_setup, tolerance),
    "monitoring.ratio": Path(ratio_setup, ratio),
}
