"""Loans: SQL of applications: their files, the steps taken, batches, the blacklist."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from uuid import UUID

import asyncpg
from pydantic import TypeAdapter
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.money import Fen
from services.loans.model import (
    Batch,
    BatchState,
    Contract,
    File,
    Finding,
    Listing,
    Pause,
    Stated,
    StepTaken,
)

_STATED = TypeAdapter(Stated)
_FINDINGS = TypeAdapter(tuple[Finding, ...])
_PAUSES = TypeAdapter(tuple[Pause, ...])
_CONTRACT = TypeAdapter(Contract)
_SIGNED = TypeAdapter(tuple[tuple[str, str], ...])


async def moment(session: AsyncSession) -> datetime:
    """The recorded time of this transaction."""
    rows = await database.fetch(session, "SELECT now() AS now")
    found: datetime = rows[0]["now"]
    return found


async def insert_files(session: AsyncSession, county_code: str, files: Sequence[File]) -> None:
    """Write the files of new applications."""
    values = [
        (
            county_code,
            file.loan_id,
            file.borrower_kind,
            file.stated.channel or "counter",
            file.applied_by,
            _STATED.dump_json(file.stated).decode(),
            _FINDINGS.dump_json(file.findings).decode(),
            *_moving(file),
        )
        for file in files
    ]
    if values:
        await database.write(
            session,
            """INSERT INTO application (county_code, loan_id, borrower_kind, channel, applied_by,
                                        stated, findings, clock_on, clock_at, due_at, done_on,
                                        done_at, late, pauses, contract)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[],
                                    $6::text[], $7::text[], $8::date[], $9::timestamptz[],
                                    $10::timestamptz[], $11::date[], $12::timestamptz[],
                                    $13::bool[], $14::text[], $15::text[])""",
            *database.columns(values, 15),
        )


def _moving(file: File) -> tuple[object, ...]:
    return (
        file.clock_on,
        file.clock_at,
        file.due_at,
        file.done_on,
        file.done_at,
        file.late,
        _PAUSES.dump_json(file.pauses).decode(),
        _CONTRACT.dump_json(file.contract).decode() if file.contract else "",
    )


async def save_files(session: AsyncSession, county_code: str, files: Sequence[File]) -> None:
    """Write what has changed of files whose loans are locked: rate, clock and contract."""
    values = [
        (county_code, file.loan_id, _STATED.dump_json(file.stated).decode(), *_moving(file))
        for file in files
    ]
    if values:
        await database.write(
            session,
            """UPDATE application AS a SET stated = n.stated, clock_on = n.clock_on,
                 clock_at = n.clock_at, due_at = n.due_at, done_on = n.done_on,
                 done_at = n.done_at, late = n.late, pauses = n.pauses, contract = n.contract
               FROM unnest($1::text[], $2::uuid[], $3::text[], $4::date[], $5::timestamptz[],
                           $6::timestamptz[], $7::date[], $8::timestamptz[], $9::bool[],
                           $10::text[], $11::text[])
                 AS n (county_code, loan_id, stated, clock_on, clock_at, due_at, done_on, done_at,
                       late, pauses, contract)
               WHERE a.county_code = n.county_code AND a.loan_id = n.loan_id""",
            *database.columns(values, 11),
        )


def _file(row: asyncpg.Record) -> File:
    contract = row["contract"]
    return File(
        loan_id=row["loan_id"],
        borrower_kind=row["borrower_kind"],
        stated=_STATED.validate_json(row["stated"]),
        applied_by=row["applied_by"],
        findings=_FINDINGS.validate_json(row["findings"]),
        clock_on=row["clock_on"],
        clock_at=row["clock_at"],
        due_at=row["due_at"],
        done_on=row["done_on"],
        done_at=row["done_at"],
        late=row["late"],
        pauses=_PAUSES.validate_json(row["pauses"]),
        contract=_CONTRACT.validate_json(contract) if contract else None,
    )


async def files_of(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID]
) -> dict[UUID, File]:
    """The files of some loans; loans of another book have none."""
    rows = await database.fetch(
        session,
        "SELECT * FROM application WHERE county_code = $1 AND loan_id = ANY($2::uuid[])",
        county_code,
        list(loan_ids),
    )
    return {row["loan_id"]: _file(row) for row in rows}


async def add_steps(session: AsyncSession, county_code: str, steps: Sequence[StepTaken]) -> None:
    """Write steps as they were taken."""
    values = [
        (
            county_code,
            each.loan_id,
            each.number,
            each.step,
            each.organ,
            each.body,
            each.institution_id,
            each.person_id,
            each.approved,
            each.reason,
            each.evidence,
            each.taken_on,
        )
        for each in steps
    ]
    if values:
        await database.write(
            session,
            """INSERT INTO step_taken (county_code, loan_id, number, step, organ, body,
                                       institution_id, person_id, approved, reason, evidence,
                                       taken_on)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::int[], $4::text[], $5::text[],
                                    $6::text[], $7::text[], $8::text[], $9::bool[], $10::text[],
                                    $11::text[], $12::date[])""",
            *database.columns(values, 12),
        )


async def steps_of(session: AsyncSession, county_code: str, loan_id: UUID) -> list[StepTaken]:
    """The steps of one loan's chain so far, in order."""
    rows = await database.fetch(
        session,
        "SELECT * FROM step_taken WHERE county_code = $1 AND loan_id = $2 ORDER BY number",
        county_code,
        loan_id,
    )
    return [
        StepTaken(
            loan_id=row["loan_id"],
            number=row["number"],
            step=row["step"],
            organ=row["organ"],
            body=row["body"],
            institution_id=row["institution_id"],
            person_id=row["person_id"],
            approved=row["approved"],
            reason=row["reason"],
            evidence=row["evidence"],
            taken_on=row["taken_on"],
        )
        for row in rows
    ]


async def save_batches(session: AsyncSession, county_code: str, batches: Sequence[Batch]) -> None:
    """Write batches of loans that are locked, new ones and changed ones."""
    values = [
        (
            county_code,
            each.loan_id,
            each.number,
            each.amount_fen,
            each.purpose,
            each.evidence,
            each.supplier,
            each.state,
            each.requested_by,
            each.requested_on,
            each.county_approved_by,
            each.progress_signed_by,
            _SIGNED.dump_json(each.signed).decode(),
            each.paid_on,
            each.payment_evidence,
        )
        for each in batches
    ]
    await database.execute(
        session,
        """INSERT INTO batch (county_code, loan_id, number, amount_fen, purpose, evidence, supplier,
                              state, requested_by, requested_on, county_approved_by,
                              progress_signed_by, signed, paid_on, payment_evidence)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::int[], $4::bigint[], $5::text[],
                                $6::text[], $7::text[], $8::text[], $9::text[], $10::date[],
                                $11::text[], $12::text[], $13::text[], $14::date[], $15::text[])
           ON CONFLICT (county_code, loan_id, number) DO UPDATE SET
             state = excluded.state, county_approved_by = excluded.county_approved_by,
             progress_signed_by = excluded.progress_signed_by, signed = excluded.signed,
             paid_on = excluded.paid_on, payment_evidence = excluded.payment_evidence""",
        *database.columns(values, 15),
    )


async def batches_of(session: AsyncSession, county_code: str, loan_id: UUID) -> list[Batch]:
    """The batches of one loan, in order."""
    rows = await database.fetch(
        session,
        "SELECT * FROM batch WHERE county_code = $1 AND loan_id = $2 ORDER BY number",
        county_code,
        loan_id,
    )
    return [
        Batch(
            loan_id=row["loan_id"],
            number=row["number"],
            amount_fen=Fen(row["amount_fen"]),
            purpose=row["purpose"],
            evidence=row["evidence"],
            supplier=row["supplier"],
            state=BatchState(row["state"]),
            requested_by=row["requested_by"],
            requested_on=row["requested_on"],
            county_approved_by=row["county_approved_by"],
            progress_signed_by=row["progress_signed_by"],
            signed=_SIGNED.validate_json(row["signed"]),
            paid_on=row["paid_on"],
            payment_evidence=row["payment_evidence"],
        )
        for row in rows
    ]


async def list_households(
    session: AsyncSession, rows: Sequence[tuple[str, UUID, str, date]]
) -> None:
    """Put households on the blacklist (county, household, cause, since)."""
    await database.execute(
        session,
        """INSERT INTO listing (county_code, household_id, cause, listed_on)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::date[])
           ON CONFLICT DO NOTHING""",
        *database.columns(rows, 4),
    )


async def release_households(session: AsyncSession, rows: Sequence[tuple[str, UUID]]) -> None:
    """Take households off the blacklist (county, household)."""
    await database.execute(
        session,
        """DELETE FROM listing USING unnest($1::text[], $2::uuid[]) AS gone (county, id)
           WHERE county_code = gone.county AND household_id = gone.id""",
        *database.columns(rows, 2),
    )


async def listings_of(
    session: AsyncSession, county_code: str, household_ids: Collection[UUID]
) -> list[Listing]:
    """Who of some households is on the blacklist."""
    rows = await database.fetch(
        session,
        """SELECT household_id, cause, listed_on FROM listing
           WHERE county_code = $1 AND household_id = ANY($2::uuid[])
           ORDER BY household_id, cause""",
        county_code,
        list(household_ids),
    )
    return [Listing(row["household_id"], row["cause"], row["listed_on"]) for row in rows]


async def lent_under(
    session: AsyncSession, county_code: str, programme_id: str, product_id: str
) -> Fen:
    """
    Lent or promised under a product, over all borrowers.

    Whoever counts a line holds it until the end of the transaction: two do not both take the rest.
    """
    await database.fetch(
        session,
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
        f"loans.line:{county_code}:{programme_id}:{product_id}",
    )
    rows = await database.fetch(
        session,
        """SELECT coalesce(sum(CASE WHEN disbursed_on IS NULL THEN principal_fen
                                    ELSE outstanding_fen + undrawn_fen END), 0)::bigint AS lent
           FROM loan WHERE county_code = $1 AND product_id = $3
             AND split_part(programme, '@', 1) = $2 AND state NOT IN ('refused', 'settled')""",
        county_code,
        programme_id,
        product_id,
    )
    return Fen(rows[0]["lent"])


async def open_loans(
    session: AsyncSession, county_code: str, household_ids: Collection[UUID]
) -> dict[tuple[UUID, str, str], int]:
    """By borrower, programme and product, loans that are not settled."""
    rows = await database.fetch(
        session,
        """SELECT household_id, split_part(programme, '@', 1) AS programme_id, product_id,
                  count(*)::int AS loans
           FROM loan WHERE county_code = $1 AND household_id = ANY($2::uuid[])
             AND state NOT IN ('refused', 'settled')
           GROUP BY household_id, programme_id, product_id""",
        county_code,
        list(household_ids),
    )
    return {
        (row["household_id"], row["programme_id"], row["product_id"]): row["loans"] for row in rows
    }
