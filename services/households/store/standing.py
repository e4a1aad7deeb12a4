"""Status changes and reconciliations of delisted households: the SQL."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import (
    DelistedLoan,
    Household,
    Provenance,
    Reconciliation,
    RegistrationStatus,
    StatusChange,
)
from services.households.store import records
from services.kernel import database

RECONCILIATIONS_MAX = 100


async def insert_change(
    session: AsyncSession,
    household: Household,
    change: StatusChange,
    *,
    before: RegistrationStatus,
) -> None:
    """Keep a change of status; `household` is as the change made it."""
    await insert_changes(session, [(household, change, before)])


async def insert_changes(
    session: AsyncSession, changes: Sequence[tuple[Household, StatusChange, RegistrationStatus]]
) -> None:
    """Keep changes of status: the household as changed, the change, the status before."""
    await records.insert(
        session,
        "status_change",
        [
            {
                "county_code": household.county_code,
                "change_id": change.change_id,
                "household_id": household.household_id,
                "version": household.version,
                "status_before": before,
                "status": change.status,
                "effective_on": change.effective_on,
                "reason": change.reason,
                **records.provenance_row(change.provenance),
            }
            for household, change, before in changes
        ],
    )


async def list_changes(
    session: AsyncSession, county_code: str, household_id: UUID, known_by: date
) -> list[tuple[StatusChange, RegistrationStatus]]:
    """The changes of a household's status, oldest first, each with the status before."""
    rows = await database.fetch(
        session,
        """SELECT * FROM status_change
           WHERE county_code = $1 AND household_id = $2 AND business_date <= $3 ORDER BY version""",
        county_code,
        household_id,
        known_by,
    )
    return [
        (
            StatusChange(
                change_id=row["change_id"],
                status=RegistrationStatus(row["status"]),
                effective_on=row["effective_on"],
                reason=row["reason"],
                provenance=records.provenance_of(row),
            ),
            RegistrationStatus(row["status_before"]),
        )
        for row in rows
    ]


async def insert_reconciliation(
    session: AsyncSession, county_code: str, made: Reconciliation, business_date: date
) -> None:
    """Keep a lender's statement; the signatures come by `insert_signature`."""
    await records.insert(
        session,
        "reconciliation",
        [
            {
                "county_code": county_code,
                "reconciliation_id": made.reconciliation_id,
                "household_id": made.household_id,
                "lender_id": made.lender_id,
                "loans": [
                    {"loan_id": str(loan.loan_id), "outstanding_fen": loan.outstanding_fen}
                    for loan in made.loans
                ],
                "statement_hash": made.statement_hash,
                "archive_holders": made.archive_holders,
                "business_date": business_date,
            }
        ],
    )


async def insert_signature(
    session: AsyncSession,
    county_code: str,
    reconciliation_id: UUID,
    side: str,
    provenance: Provenance,
) -> None:
    """Keep a signature."""
    row = {
        "county_code": county_code,
        "reconciliation_id": reconciliation_id,
        "side": side,
        **records.provenance_row(provenance),
    }
    await records.insert(session, "reconciliation_signature", [row])


async def household_of_reconciliation(
    session: AsyncSession, county_code: str, reconciliation_id: UUID
) -> UUID | None:
    """Whose reconciliation it is."""
    rows = await database.fetch(
        session,
        """SELECT household_id FROM reconciliation
           WHERE county_code = $1 AND reconciliation_id = $2""",
        county_code,
        reconciliation_id,
    )
    return rows[0]["household_id"] if rows else None


async def list_reconciliations(
    session: AsyncSession, county_code: str, household_id: UUID
) -> list[Reconciliation]:
    """The statements about a household with their signatures, newest first."""
    rows = await database.fetch(
        session,
        """SELECT * FROM reconciliation WHERE county_code = $1 AND household_id = $2
           ORDER BY reconciliation_id DESC LIMIT $3""",
        county_code,
        household_id,
        RECONCILIATIONS_MAX,
    )
    signatures = await database.fetch(
        session,
        """SELECT * FROM reconciliation_signature
           WHERE county_code = $1 AND reconciliation_id = ANY ($2::uuid[]) ORDER BY side""",
        county_code,
        [row["reconciliation_id"] for row in rows],
    )
    return [
        Reconciliation(
            reconciliation_id=row["reconciliation_id"],
            household_id=row["household_id"],
            lender_id=row["lender_id"],
            loans=tuple(
                DelistedLoan(UUID(loan["loan_id"]), loan["outstanding_fen"])
                for loan in records.parsed(row["loans"])
            ),
            statement_hash=row["statement_hash"],
            archive_holders=tuple(records.parsed(row["archive_holders"])),
            signatures={
                each["side"]: records.provenance_of(each)
                for each in signatures
                if each["reconciliation_id"] == row["reconciliation_id"]
            },
        )
        for row in rows
    ]
