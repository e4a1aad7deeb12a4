"""Loans: lists of lenders and national systems held against our loans, and which are due."""

from collections.abc import Mapping, Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel.caller import Caller
from services.kernel.errors import NotFound, Refused
from services.kernel.statement_desk import StatementDesk
from services.kernel.statements import Kind, Line, Record, Statement
from services.kernel.values import replace
from services.loans import store
from services.loans.operations.shared import terms_by_ref
from services.loans.rules import records as rules
from services.loans.rules.records import Shelf
from services.loans.store import agreements
from services.loans.store import records as shelves
from services.programmes.loader import Catalogue

LENDER_ROLES = frozenset({"bank", "mutual_aid_society", "insurer"})
NATIONAL_ROLES = frozenset({"poverty_office"})
"""Who brings the list of a national system: of all lenders."""
SEES_ALL = frozenset({"county_centre", "poverty_office", "finance_bureau", "auditor"})


def _id(record_id: str) -> UUID | None:
    try:
        return UUID(record_id)
    except ValueError:
        return None


def kind_of(catalogue: Catalogue, caller: Caller, institution_id: str) -> Kind:
    """Whether an institution's list is of its own loans or of everybody's."""
    known = catalogue.institutions.get(institution_id)
    role = str(known.role) if known is not None else ""
    if caller.role in LENDER_ROLES or caller.institution_id == institution_id:
        # That a lender brings its own list alone, the desk sees to.
        role = caller.role
    if role in LENDER_ROLES:
        return Kind.OWN
    if role in NATIONAL_ROLES:
        return Kind.NATIONAL
    if role:
        raise Refused(
            "NO_LIST_OF_LOANS",
            f"{institution_id} is a {role}: it has no list of loans",
            message_zh="该机构无贷款清单",
        )
    raise NotFound("INSTITUTION_UNKNOWN", f"no institution {institution_id}", message_zh="无此机构")


def desk(catalogue: Catalogue) -> StatementDesk:
    """Where lists of loans are taken in."""

    async def ours(
        session: AsyncSession, statement: Statement, lines: Sequence[Line]
    ) -> tuple[Sequence[Line], Mapping[str, Record]]:
        return await _ours(session, statement, lines, catalogue)

    return StatementDesk(
        ours,
        rules.parts,
        money=rules.MONEY,
        sees_all=SEES_ALL,
        check_line=rules.check_line,
    )


async def _ours(
    session: AsyncSession, statement: Statement, lines: Sequence[Line], catalogue: Catalogue
) -> tuple[Sequence[Line], Mapping[str, Record]]:
    """The lines by our ids, and our loans as they stood at the end of the list's day."""
    county_code = statement.county_code
    named = {
        (line.cells["lender_id"], line.record_id) for line in lines if _id(line.record_id) is None
    }
    known = await shelves.ids_of(session, county_code, named)
    lines = [
        replace(line, record_id=str(found))
        if (found := known.get((line.cells["lender_id"], line.record_id)))
        else line
        for line in lines
    ]
    held = await shelves.shelf(
        session,
        county_code,
        statement.institution_id if statement.kind is Kind.OWN else "",
        statement.as_of,
        {loan_id for line in lines if (loan_id := _id(line.record_id)) is not None},
    )
    moved = [each.loan.loan_id for each in held if each.moved]
    books = await store.postings_of(session, county_code, moved)
    plans = await agreements.plans_of(session, county_code, moved)
    terms_of = terms_by_ref(catalogue, county_code)
    records = [
        rules.record_of(
            Shelf(
                each.loan,
                each.class_then,
                books.get(each.loan.loan_id),
                plans.get(each.loan.loan_id),
            ),
            terms_of(each.loan.programme),
            statement,
        )
        for each in held
    ]
    return lines, {record.record_id: record for record in records}


async def note_due(session: AsyncSession, county_code: str, day: date) -> None:
    """At the end of a day each lender whose core system is the book owes its list of it."""
    await shelves.note_due(session, county_code, day)
