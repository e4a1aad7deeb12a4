"""Consents and payee accounts: the SQL."""

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import (
    Consent,
    ConsentMedium,
    DataCategory,
    PayeeAccount,
    PayeeAccountState,
    Provenance,
)
from services.households.store import records
from services.kernel import database

_WITHDRAWN = """w.source_id AS withdrawn_source_id, w.acted_by AS withdrawn_acted_by,
    w.evidence AS withdrawn_evidence, w.business_date AS withdrawn_business_date,
    w.recorded_at AS withdrawn_recorded_at"""


def _consent(row: Any) -> Consent:
    withdrawn = row["withdrawn_source_id"] is not None
    return Consent(
        consent_id=row["consent_id"],
        household_id=row["household_id"],
        person_id=row["person_id"],
        receiver_id=row["receiver_id"],
        purpose=row["purpose"],
        categories=tuple(DataCategory(each) for each in records.parsed(row["categories"])),
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
        wording_version=row["wording_version"],
        medium=ConsentMedium(row["medium"]),
        provenance=records.provenance_of(row),
        withdrawal=records.provenance_of(row, "withdrawn_") if withdrawn else None,
    )


async def insert_consent(session: AsyncSession, county_code: str, consent: Consent) -> None:
    """Keep a consent."""
    await records.insert(
        session,
        "consent",
        [
            {
                "county_code": county_code,
                "consent_id": consent.consent_id,
                "household_id": consent.household_id,
                "person_id": consent.person_id,
                "receiver_id": consent.receiver_id,
                "purpose": consent.purpose,
                "categories": consent.categories,
                "valid_from": consent.valid_from,
                "valid_to": consent.valid_to,
                "wording_version": consent.wording_version,
                "medium": consent.medium,
                **records.provenance_row(consent.provenance),
            }
        ],
    )


async def insert_withdrawal(
    session: AsyncSession,
    county_code: str,
    consent_id: UUID,
    medium: ConsentMedium,
    provenance: Provenance,
) -> None:
    """Keep that a consent was withdrawn."""
    row = {
        "county_code": county_code,
        "consent_id": consent_id,
        "medium": medium,
        **records.provenance_row(provenance),
    }
    await records.insert(session, "consent_withdrawal", [row])


async def load_consent(session: AsyncSession, county_code: str, consent_id: UUID) -> Consent | None:
    """One consent."""
    rows = await database.fetch(
        session,
        f"""SELECT c.*, {_WITHDRAWN} FROM consent AS c
            LEFT JOIN consent_withdrawal AS w USING (county_code, consent_id)
            WHERE county_code = $1 AND consent_id = $2""",  # noqa: S608 - own constant
        county_code,
        consent_id,
    )
    return _consent(rows[0]) if rows else None


async def list_consents(
    session: AsyncSession,
    county_code: str,
    household_ids: Sequence[UUID],
    *,
    known_by: date = records.NOW,
    receiver_id: str = "",
    after: UUID = records.START,
    limit: int = 10_000,
) -> list[Consent]:
    """Consents of households as known on a day, oldest first; of one receiver when named."""
    rows = await database.fetch(
        session,
        f"""SELECT c.*, {_WITHDRAWN} FROM consent AS c
            LEFT JOIN consent_withdrawal AS w
                 ON w.county_code = c.county_code AND w.consent_id = c.consent_id
                 AND w.business_date <= $3
            WHERE c.county_code = $1 AND c.household_id = ANY ($2::uuid[])
              AND c.business_date <= $3 AND ($4 = '' OR c.receiver_id = $4) AND c.consent_id > $5
            ORDER BY c.consent_id LIMIT $6""",  # noqa: S608 - own constant
        county_code,
        list(household_ids),
        known_by,
        receiver_id,
        after,
        limit,
    )
    return [_consent(row) for row in rows]


# --- payee accounts -------------------------------------------------------------------------------

_ACCOUNTS = """
SELECT p.*, d.confirmed, d.source_id AS decided_source_id, d.acted_by AS decided_acted_by,
       d.evidence AS decided_evidence, d.business_date AS decided_business_date,
       d.recorded_at AS decided_recorded_at,
       p.account_id = (
           SELECT i.account_id FROM payee_in_force AS i
           WHERE i.county_code = p.county_code AND i.household_id = p.household_id
             AND i.business_date <= $3
           ORDER BY i.version DESC LIMIT 1) AS in_force
FROM payee_account AS p LEFT JOIN payee_decision AS d
     ON d.county_code = p.county_code AND d.account_id = p.account_id AND d.business_date <= $3
WHERE p.county_code = $1 AND p.household_id = ANY ($2::uuid[]) AND p.business_date <= $3
ORDER BY p.account_id
"""


def _state(row: Any) -> PayeeAccountState:
    if row["in_force"]:
        return PayeeAccountState.IN_FORCE
    if row["confirmed"] is False:
        return PayeeAccountState.REFUSED
    waits = row["earliest_on"] is not None and row["confirmed"] is None
    return PayeeAccountState.PROPOSED if waits else PayeeAccountState.REPLACED


async def list_accounts(
    session: AsyncSession,
    county_code: str,
    household_ids: Sequence[UUID],
    known_by: date = records.NOW,
) -> list[PayeeAccount]:
    """The accounts of households as known on a day, oldest first, their numbers sealed."""
    rows = await database.fetch(session, _ACCOUNTS, county_code, list(household_ids), known_by)
    return [
        PayeeAccount(
            account_id=row["account_id"],
            household_id=row["household_id"],
            holder_id=row["holder_id"],
            bank_id=row["bank_id"],
            state=_state(row),
            earliest_on=row["earliest_on"],
            provenance=records.provenance_of(row),
            decision=records.provenance_of(row, "decided_")
            if row["confirmed"] is not None
            else None,
            sealed=row["sealed"],
        )
        for row in rows
    ]


async def household_of_account(
    session: AsyncSession, county_code: str, account_id: UUID
) -> UUID | None:
    """Whose account it is."""
    rows = await database.fetch(
        session,
        "SELECT household_id FROM payee_account WHERE county_code = $1 AND account_id = $2",
        county_code,
        account_id,
    )
    return rows[0]["household_id"] if rows else None


async def insert_account(session: AsyncSession, county_code: str, account: PayeeAccount) -> None:
    """Keep an account."""
    await records.insert(
        session,
        "payee_account",
        [
            {
                "county_code": county_code,
                "account_id": account.account_id,
                "household_id": account.household_id,
                "holder_id": account.holder_id,
                "bank_id": account.bank_id,
                "sealed": account.sealed,
                "earliest_on": account.earliest_on,
                **records.provenance_row(account.provenance),
            }
        ],
    )


async def insert_decision(
    session: AsyncSession,
    county_code: str,
    account_id: UUID,
    provenance: Provenance,
    *,
    confirmed: bool,
) -> None:
    """Keep what the second person decided."""
    row = {
        "county_code": county_code,
        "account_id": account_id,
        "confirmed": confirmed,
        **records.provenance_row(provenance),
    }
    await records.insert(session, "payee_decision", [row])


async def put_in_force(
    session: AsyncSession, county_code: str, account: PayeeAccount, business_date: date
) -> int:
    """Make an account the household's; the how manieth it is."""
    rows = await database.fetch(
        session,
        """INSERT INTO payee_in_force (county_code, household_id, account_id, version,
                                       business_date)
           SELECT $1, $2, $3, 1 + count(*), $4 FROM payee_in_force
           WHERE county_code = $1 AND household_id = $2
           RETURNING version""",
        county_code,
        account.household_id,
        account.account_id,
        business_date,
    )
    version: int = rows[0]["version"]
    return version
