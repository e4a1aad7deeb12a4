"""What is written of loans that changed: all of it, whichever of the two updates writes it."""

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest

from services.kernel.database import Database
from services.kernel.money import Fen
from services.kernel.values import replace
from services.kernel.walls import EVERY_COUNTY
from services.loans import store
from services.loans.model import Interest, Loan, LoanState
from tests.loans.builders import an_active_loan
from tests.loans.county import OPENED

pytestmark = pytest.mark.postgres

LATER = OPENED + timedelta(days=40)
FIXED = {"county_code", "loan_id", "household_id", "area_code", "lender_id", "programme",
         "product_id", "borrower_class", "principal_fen", "term_months", "purpose",
         "used_in_area", "assignment_evidence", "applied_on", "outlet_code"}  # fmt: skip
"""What an application fixed; no update writes it."""
CHANGES: dict[str, Any] = {
    "version": 7,
    "state": LoanState.WRITTEN_OFF,
    "next_step": "village_accepts",
    "decided": (("village_accepts", "vil-1-p1"),),
    "refusal_reasons": ("ABOVE_LIMIT",),
    "required_covers": ("accident",),
    "covers_in_force": ("accident",),
    "sla_due_on": LATER,
    "rate_ppm": 41_000,
    "subsidised": True,
    "disbursed_on": LATER,
    "matures_on": LATER,
    "notice_on": LATER,
    "outstanding_fen": Fen(5),
    "interest": Interest(LATER, 11, Fen(12), 13, Fen(14), Fen(15)),
    "overdue_days": 3,
    "five_tier_class": "loss",
    "non_performing_on": LATER,
    "subrogated_fen": Fen(4),
    "compensated": True,
    "covered": True,
    "method": "monthly",
    "next_due_on": LATER,
    "suspense_fen": Fen(6),
    "postings": 9,
    "subsidy_rate_ppm": 8,
    "subsidy_ends_on": LATER,
    "subsidy_ended_on": LATER,
    "undrawn_fen": Fen(2),
    "revolving_until": LATER,
}


async def saved(db: Database, before: Loan, now: Loan, *others: Loan) -> Loan | None:
    """What is read of a loan that was saved with others, beside how all of them were read."""
    was = {loan.loan_id: loan for loan in (before, *others)}
    async with db.transaction(EVERY_COUNTY) as session:
        await store.save_loans(session, [now, *others], was)
        return await store.find_loan(session, now.county_code, now.loan_id)


def test_every_field_that_may_change_is_tried() -> None:
    assert {field.name for field in fields(Loan)} - FIXED == set(CHANGES)


def test_the_least_update_that_is_taken_has_what_changed_and_an_ordinary_day_needs_few() -> None:
    usual, standing, whole = store._UPDATES
    assert (usual.width, standing.width, whole.width) == (12, 21, 37)
    before = an_active_loan()
    for name, value in CHANGES.items():
        now, was = replace(before, **{name: value}), {before.loan_id: before}
        update = next(each for each in store._UPDATES if each.writes_all([now], was))
        column = "accrued_through" if name == "interest" else name
        assert f"{column} = now_.{column}" in update.sql
    for name in ("version", "outstanding_fen", "interest", "overdue_days", "postings"):
        assert usual.writes_all([replace(before, **{name: CHANGES[name]})], was)


async def test_each_change_of_a_loan_is_written(db: Database) -> None:
    other = an_active_loan()
    for name, value in CHANGES.items():
        before = an_active_loan()
        now = replace(before, **{name: value})
        assert now != before, name
        async with db.transaction(EVERY_COUNTY) as session:
            await store.insert_loans(session, [before])
            if name == "version":
                await store.insert_loans(session, [other])

        assert await saved(db, before, now, other) == now, name


async def test_all_changes_at_once_are_written_with_and_without_what_was_read(db: Database) -> None:
    one, two = an_active_loan(), an_active_loan()
    async with db.transaction(EVERY_COUNTY) as session:
        await store.insert_loans(session, [one, two])
        # Who does not know how a loan was read has all of it written.
        await store.save_loans(session, [replace(two, **CHANGES)])
        found = await store.find_loan(session, two.county_code, two.loan_id)

    assert found == replace(two, **CHANGES)
    assert await saved(db, one, replace(one, **CHANGES)) == replace(one, **CHANGES)
