"""The annual bulletin: it is held against the journal, and a difference fails the demo."""

import io

from liandong.loans.v1 import reports_pb2
from rich.console import Console

from deploy.demo.bulletin import AnnualBulletin, checks, print_bulletin

TOTALS = {
    "journal.loans.loan_principal_fen": 700_000,
    "journal.loans.loan_interest_fen": 30,
    "journal.loans.interest_income_fen": -90,
    "journal.loans.treasury_receivable_fen": 20,
    "loans.disbursed_count": 2,
    "loans.disbursed_fen": 1_000_000,
}


def figures(**changes: int) -> reports_pb2.ReportFigures:
    values = {
        "loans": 2,
        "lent_fen": 1_000_000,
        "disbursed_fen": 1_000_000,
        "collected_principal_fen": 300_000,
        "balance_fen": 700_000,
        "interest_owed_fen": 30,
        "interest_charged_fen": 40,
        "subsidy_fen": 50,
        "subsidy_paid_fen": 30,
    }
    return reports_pb2.ReportFigures(**(values | changes))


def a_bulletin(own: reports_pb2.ReportFigures) -> AnnualBulletin:
    row = reports_pb2.ReportRow(keys=["rcb-1"], figures=own, households=1_234)
    total = reports_pb2.ReportRow(figures=own, households=1_234)
    return AnnualBulletin(2018, [row], total, checks([row], own, TOTALS))


def test_a_bulletin_that_is_the_journals_has_no_difference() -> None:
    assert a_bulletin(figures()).wrong == 0


def test_every_figure_that_differs_from_the_journal_is_found() -> None:
    for name in ("balance_fen", "interest_owed_fen", "subsidy_fen", "lent_fen", "loans"):
        own = figures(**{name: 77})
        assert a_bulletin(own).wrong > 0, name


def test_lenders_that_do_not_sum_to_the_county_are_found() -> None:
    row = reports_pb2.ReportRow(keys=["rcb-1"], figures=figures(due_fen=5))

    (found,) = [line for line in checks([row], figures(), TOTALS) if line.difference]

    assert (found.check, found.left, found.right) == ("bulletin: due_fen by lender", 5, 0)


def test_it_prints_a_line_for_each_lender_and_says_what_differs() -> None:
    printed = io.StringIO()

    print_bulletin(a_bulletin(figures(balance_fen=1)), Console(file=printed, width=80))

    text = printed.getvalue()
    assert "rcb-1" in text
    assert "1,234" in text
    assert "balance = journal: 1 and 700,000" in text
