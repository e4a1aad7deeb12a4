"""What is written of loans that changed: all of it, whichever of the two updates writes it."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database, ids
from services.kernel.database import Database
from services.kernel.money import Fen
from services.kernel.values import replace
from services.kernel.walls import EVERY_COUNTY
from services.loans import store
from services.loans.model import File, Interest, Loan, LoanState, Stated, StepTaken
from services.loans.store import applications
from tests.loans.builders import an_active_loan
from tests.loans.county import COUNTY, OPENED

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


# --- applications ---------------------------------------------------------------------------------


def heard_by(session: AsyncSession) -> list[str]:
    """What goes over a session's connection from now on."""
    heard: list[str] = []
    database._driver(session).add_query_logger(lambda record: heard.append(record.query))
    return heard


def a_step(loan: Loan) -> StepTaken:
    return StepTaken(
        loan_id=loan.loan_id,
        number=1,
        step="village_accepts",
        organ="village_department",
        body="",
        institution_id="vil-1",
        person_id="vil-1-p1",
        approved=True,
        reason="",
        evidence="",
        taken_on=OPENED,
    )


async def test_what_an_application_comes_to_is_written_together(db: Database) -> None:
    loan, household = an_active_loan(), uuid4()
    file = File(loan.loan_id, "household", Stated(), "vil-1-p1")
    async with db.transaction(EVERY_COUNTY) as session:
        await store.save_households(session, [(COUNTY, household, "123456001001", "non_poor")])
        heard = heard_by(session)

        await store.insert_loans(session, [loan])
        await applications.insert_files(session, COUNTY, [file])
        await applications.add_steps(session, COUNTY, [a_step(loan)])
        await store.add_exposure(session, COUNTY, [(household, 7)])

        assert heard == []
        found = await applications.files_of(session, COUNTY, [loan.loan_id])
        taken = await applications.steps_of(session, COUNTY, loan.loan_id)
    (written,) = [sql for sql in heard if "INSERT INTO loan" in sql]
    for part in ("INSERT INTO application", "INSERT INTO step_taken", "UPDATE borrower"):
        assert part in written
    assert found == {loan.loan_id: file}
    assert taken == [a_step(loan)]


async def test_a_decision_is_written_together(db: Database) -> None:
    loan = an_active_loan()
    file = File(loan.loan_id, "household", Stated(), "vil-1-p1")
    async with db.transaction(EVERY_COUNTY) as session:
        await store.insert_loans(session, [loan])
        await applications.insert_files(session, COUNTY, [file])
    due = replace(file, clock_on=OPENED, done_on=LATER)
    async with db.transaction(EVERY_COUNTY) as session:
        heard = heard_by(session)

        await applications.save_files(session, COUNTY, [due])
        await applications.add_steps(session, COUNTY, [a_step(loan)])

        assert heard == []
        found = await applications.files_of(session, COUNTY, [loan.loan_id])
    (written,) = [sql for sql in heard if "UPDATE application" in sql]
    assert "INSERT INTO step_taken" in written
    assert found == {loan.loan_id: due}


async def test_what_households_are_exposed_to_is_summed_for_each_and_no_other(db: Database) -> None:
    one, two, other = uuid4(), uuid4(), uuid4()
    async with db.transaction(EVERY_COUNTY) as session:
        rows = [(COUNTY, each, "123456001001", "non_poor") for each in (one, two, other)]
        await store.save_households(session, rows)

        await store.add_exposure(session, COUNTY, [(one, 500), (two, 30), (one, -100), (other, 0)])

        found = await store.lock_borrowers(session, COUNTY, [one, two, other])
    assert {each: found[each].exposure_fen for each in found} == {one: 400, two: 30, other: 0}


def taken_out(plan: Mapping[str, Any], table: str) -> Iterator[float]:
    """How many rows each part of a plan takes out of a table, for the others to look at."""
    if plan.get("Relation Name") == table and "Scan" in plan["Node Type"]:
        yield plan["Actual Rows"] * plan["Actual Loops"]
    for part in plan.get("Plans", ()):
        yield from taken_out(part, table)


async def test_a_county_that_came_in_just_now_is_not_read_for_a_few_households(
    db: Database,
) -> None:
    households = ids.new_ids(3_000)
    async with db.transaction(EVERY_COUNTY) as session:
        # Of what is not committed yet nobody can have told the planner anything.
        rows = [(COUNTY, each, "123456001001", "non_poor") for each in households]
        await store.save_households(session, rows)
        sent: list[Any] = []
        database._driver(session).add_query_logger(sent.append)
        await store.add_exposure(session, COUNTY, [(each, 5) for each in households[::200]])
        await database.fetch(session, "SELECT 1")

        (update,) = [each for each in sent if "UPDATE borrower" in each.query]
        asked = f"EXPLAIN (ANALYZE, FORMAT JSON) {update.query}"
        (found,) = await database.fetch(session, asked, *update.args)

    (explained,) = found[0]
    assert sum(taken_out(explained["Plan"], "borrower")) == len(households[::200])
