"""After the loan: the compliance list held against a loan, the report on what is overdue."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from services.kernel import wire
from services.loans.rules.schedule import Method, due_days
from tests.live.county import County
from tests.live.paths.path import Answer, Path, long
from tests.live.platform import must
from tests.live.setup import RATE_PPM, Case, Setup, benchmark

CHECKED_FROM = date(2018, 1, 2)
CHECKED_ON = date(2018, 7, 3)
"""By now the first quarter's subsidy has been due for a whole quarter."""
LENT_ON = date(2017, 5, 25)
REPORTED_FROM = date(2018, 5, 24)
REPORTED_ON = date(2018, 5, 30)
MONTHS = 12
BATCH_ITEMS = 500
DAILY_REPORT = 6
"""`TaskKind` as on the wire."""
INTEREST_FEN = 1_000_000
"""More than the interest of any of the loans; what is too much is kept for the payer."""

BY_BOOKS = ("not_at_benchmark", "subsidy_not_paid")
"""Hits that the loan's own books show; the others a person finds."""


def _batches(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + BATCH_ITEMS] for start in range(0, len(items), BATCH_ITEMS)]


async def take_over(
    county: County, items: Sequence[Mapping[str, Any]], *, product_id: str = "microcredit"
) -> list[str]:
    """Loans from the time before, of one household of the first village; their ids."""
    household_id = await county.household()
    await county.settle()
    settlement = county.product(product_id).settlement_cycles
    common = {
        "household_id": household_id,
        "lender_id": county.institution("bank"),
        "programme_id": county.programme_id,
        "product_id": product_id,
        "five_tier_class": 1,
    }
    found = []
    for part in _batches(items):
        loans = []
        for item in part:
            days = due_days(item["disbursed_on"], item["term_months"], Method(str(settlement[0])))
            ahead = next(day for day in days if day >= county.today)
            owed = {"outstanding_fen": item["principal_fen"], "next_due_on": ahead}
            loans.append({**common, **owed, **item})
        answer = await county.ask(
            "loans.ImportOpeningLoans",
            "centre",
            opening_on=county.today,
            items=loans,
            control_totals=[
                {
                    "lender_id": county.institution("bank"),
                    "loans": len(loans),
                    "outstanding_fen": sum(loan["outstanding_fen"] for loan in loans),
                    "interest_owed_fen": 0,
                }
            ],
        )
        must(answer.landed, f"openings refused: {[v.message for v in answer.verdicts][:3]}")
        found += [verdict.id for verdict in answer.verdicts]
    await county.settle()
    return found


def compliance_setup(case: Case) -> Setup:
    """A benchmark that the loan may miss, and a subsidy that may stay unpaid."""
    values = {
        "loans": {"benchmark": benchmark(RATE_PPM)},
        "loan_products": [
            {"id": "microcredit", "subsidy": {"mode": "full_at_benchmark", "max_months": 36}}
        ],
    }
    return Setup(CHECKED_FROM, values)


async def compliance(county: County, case: Case) -> Answer:
    """A loan with all that is wrong with it, held against the list by the day close and asked."""
    hits = {each["code"] for each in case["inputs"]["checks"] if each["hit"]}
    await county.open(funds={}, covers=())
    loan = {
        "reference": "C-1",
        "principal_fen": 3_000_000,
        "term_months": 36,
        "rate_ppm": RATE_PPM + ("not_at_benchmark" in hits),
        "disbursed_on": CHECKED_FROM,
        "subsidised": "subsidy_not_paid" in hits,
    }
    (loan_id,) = await take_over(county, [loan])
    await county.advance(CHECKED_ON)
    for code in sorted(hits.difference(BY_BOOKS)):
        await county.ask("loans.RegisterIssue", "centre", loan_id=loan_id, code=code, note="found")
    found = await county.ask("loans.CheckCompliance", "bank", loan_id=loan_id)
    listed = await county.ask("loans.ListIssues", "village", loan_id=loan_id)
    registered = {issue.code for issue in listed.issues}
    must(registered == hits, f"registered are {sorted(registered)}")
    return {"compliant": found.compliant, "issues": list(found.issues)}


def overdue_setup(_: Case) -> Setup:
    """A day before the loans fall due."""
    return Setup(REPORTED_FROM)


def _parts(total: int, count: int) -> list[int]:
    """A total in so many whole parts, as equal as can be."""
    whole, rest = divmod(total, count) if count else (0, 0)
    return [whole + (place < rest) for place in range(count)]


async def overdue_report(county: County, case: Case) -> Answer:
    """So many loans fall due, so many are paid back, and the county centre files the report."""
    given = case["inputs"]
    await county.open(funds={}, covers=())
    paid = _parts(given["collected_fen"], given["collected_count"])
    unpaid = _parts(
        given["due_fen"] - given["collected_fen"], given["due_count"] - given["collected_count"]
    )
    loans = [
        {
            "reference": f"C-{number}",
            "principal_fen": principal,
            "term_months": MONTHS,
            "rate_ppm": RATE_PPM,
            "disbursed_on": LENT_ON,
        }
        for number, principal in enumerate([*paid, *unpaid], 1)
    ]
    loan_ids = await take_over(county, loans)
    repayments = [
        {
            "loan_id": loan_id,
            "amount_fen": principal + INTEREST_FEN,
            "value_date": county.today,
        }
        for loan_id, principal in zip(loan_ids, paid, strict=False)
    ]
    for part in _batches(repayments):
        answer = await county.ask("loans.BatchRepayLoans", "bank", items=list(part))
        must(all(v.accepted for v in answer.verdicts), "a repayment was refused")
    await county.advance(REPORTED_ON)

    centre = county.institution("centre")
    await county.ask(
        "loans.AssignDuty",
        "centre",
        kind=DAILY_REPORT,
        owner_id=f"{centre}-p1",
        deputy_id=f"{centre}-p2",
    )
    tasks = (await county.ask("loans.ListTasks", "centre", kind=DAILY_REPORT)).tasks
    must(tasks, "no daily report is asked for while loans are overdue")
    filed = await county.ask(
        "loans.ReportDaily", "centre", task_id=tasks[-1].task_id, note="visited", post=2
    )
    figures = filed.figures
    must(figures.as_of == wire.date_to_proto(county.today), "the figures are another day's")
    return {
        "overdue_count": figures.overdue_count,
        "overdue_fen": figures.overdue_fen,
        "overdue_ratio_pct": figures.overdue_ratio_pct or None,
    }


PATHS: Mapping[str, Path] = {
    "monitoring.compliance": Path(
        compliance_setup, compliance, needs=("loans.CheckCompliance", "loans.ListIssues")
    ),
    "monitoring.overdue_report": Path(
        overdue_setup, overdue_report, needs=("loans.ReportDaily",), heavy=long
    ),
}
"""By rule; the report's hundreds of loans are asked in the long form only."""
