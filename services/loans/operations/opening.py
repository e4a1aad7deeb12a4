"""Loans: cut-over: live loans of a running county come in, all or none, and proven."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids
from services.kernel.errors import Conflict, LiandongError, NotFound
from services.loans import events_out, store
from services.loans.model import Borrower, Loan
from services.loans.operations.desk import Desk
from services.loans.operations.shared import Outcome, terms_by_ref
from services.loans.rules import opening as rules
from services.loans.rules.opening import Opening, Proof, Total
from services.loans.store import keeping
from services.loans.store import opening as openings
from services.programmes.loader import Catalogue


@dataclass(frozen=True, slots=True)
class Import:
    """What became of a call."""

    landed: bool
    outcomes: list[Outcome]
    proofs: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class Cutover:
    """What all loans of a call come in under."""

    county_code: str
    opening_on: date
    person_id: str
    dry_run: bool


async def import_openings(
    session: AsyncSession,
    cutover: Cutover,
    wanted: Sequence[Opening],
    control: Mapping[str, Total],
    catalogue: Catalogue,
) -> Import:
    """Take loans over with what is owed; any refusal or a total that differs, and none lands."""
    county_code = cutover.county_code
    today = await business_day.today(session, county_code)
    closed = await store.closed_through(session, county_code)
    rules.check_day(cutover.opening_on, today=today, closed_through=closed)
    for lender_id in sorted({opening.lender_id for opening in wanted}):
        await keeping.alone(session, county_code, lender_id)
    borrowers = await store.lock_borrowers(
        session, county_code, {opening.household_id for opening in wanted}
    )
    contracts = [(opening.lender_id, opening.reference) for opening in wanted]
    known = await openings.taken_over(session, county_code, contracts)
    outcomes: list[Outcome] = []
    taken: list[tuple[Loan, Opening]] = []
    for opening in wanted:
        try:
            _check_contract(opening, known)
            loan = _take_over(opening, borrowers, cutover, catalogue)
        except LiandongError as error:
            outcomes.append(error)
            continue
        known.add((opening.lender_id, opening.reference))
        outcomes.append(loan)
        taken.append((loan, opening))
    before = await openings.totals_by_lender(session, county_code)
    proofs = rules.prove(control, [opening for _, opening in taken], before)
    whole = len(taken) == len(wanted) and all(proof.agrees for proof in proofs)
    landed = whole and not cutover.dry_run
    if landed:
        loans = {loan.loan_id: loan for loan, _ in taken}
        await store.insert_loans(session, list(loans.values()))
        terms_of = terms_by_ref(catalogue, county_code)
        desk = Desk(county_code, loans, today, terms_of, person_id=cutover.person_id)
        await _land(session, desk, taken, cutover)
    return Import(landed, outcomes, proofs)


def _check_contract(opening: Opening, known: set[tuple[str, str]]) -> None:
    if (opening.lender_id, opening.reference) in known:
        raise Conflict(
            "OPENED_ALREADY",
            f"contract {opening.reference} of {opening.lender_id} came in before",
            message_zh="该合同已导入",
        )


def _take_over(
    opening: Opening,
    borrowers: Mapping[UUID, Borrower],
    cutover: Cutover,
    catalogue: Catalogue,
) -> Loan:
    borrower = borrowers.get(opening.household_id)
    if borrower is None or not borrower.area_code:
        raise NotFound(
            "HOUSEHOLD_UNKNOWN", f"no household {opening.household_id}", message_zh="无此农户"
        )
    county_code = cutover.county_code
    ref = catalogue.in_force(county_code, opening.programme_id, cutover.opening_on)
    return rules.take_over(
        opening,
        loan_id=ids.new_id(),
        borrower=borrower,
        terms=catalogue.terms(county_code, ref),
        parties=catalogue.parties(county_code, ref),
        opening_on=cutover.opening_on,
    )


async def _land(
    session: AsyncSession,
    desk: Desk,
    taken: Sequence[tuple[Loan, Opening]],
    cutover: Cutover,
) -> None:
    day = cutover.opening_on
    for loan, opening in taken:
        desk.post(loan.loan_id, rules.posting_of(opening, day))
        desk.say(loan.loan_id, lambda it: events_out.loan_opened(it, day, desk.today))
    await desk.write(session)
    rows = [(loan.loan_id, opening) for loan, opening in taken]
    await openings.save(session, cutover.county_code, rows, day, cutover.person_id)
