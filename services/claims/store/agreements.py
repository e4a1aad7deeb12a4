"""Claims: SQL of agreements, and of lines shared out."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Actor, Agreement, LineDivision
from services.kernel import database
from services.kernel.money import Fen


def _agreement(row: asyncpg.Record) -> Agreement:
    return Agreement(
        county_code=row["county_code"],
        agreement_id=row["agreement_id"],
        insurer_id=row["insurer_id"],
        programme_id=row["programme_id"],
        government_id=row["government_id"],
        bank_ids=tuple(row["bank_ids"]),
        signed_on=row["signed_on"],
        from_date=row["from_date"],
        until_date=row["until_date"],
        document=row["document"],
        ended_from=row["ended_from"],
        end_reason=row["end_reason"],
    )


async def add_agreement(
    session: AsyncSession, agreement: Agreement, *, actor: Actor, on: date
) -> None:
    """Keep an agreement."""
    await database.execute(
        session,
        """INSERT INTO agreement (county_code, agreement_id, insurer_id, programme_id,
                                  government_id, bank_ids, signed_on, from_date, until_date,
                                  document, recorded_person, recorded_on)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)""",
        agreement.county_code,
        agreement.agreement_id,
        agreement.insurer_id,
        agreement.programme_id,
        agreement.government_id,
        list(agreement.bank_ids),
        agreement.signed_on,
        agreement.from_date,
        agreement.until_date,
        agreement.document,
        actor.person_id,
        on,
    )


async def agreements_of(
    session: AsyncSession, county_code: str, programme_id: str, insurer_id: str = ""
) -> list[Agreement]:
    """Agreements of a programme, of one insurer or of all."""
    rows = await database.fetch(
        session,
        """SELECT * FROM agreement WHERE county_code = $1 AND programme_id = $2
             AND ($3 = '' OR insurer_id = $3) ORDER BY agreement_id""",
        county_code,
        programme_id,
        insurer_id,
    )
    return [_agreement(row) for row in rows]


async def lock_agreement(
    session: AsyncSession, county_code: str, agreement_id: UUID
) -> Agreement | None:
    """One agreement, held until the transaction ends."""
    rows = await database.fetch(
        session,
        "SELECT * FROM agreement WHERE county_code = $1 AND agreement_id = $2 FOR UPDATE",
        county_code,
        agreement_id,
    )
    return _agreement(rows[0]) if rows else None


async def end_agreement(session: AsyncSession, agreement: Agreement, *, person_id: str) -> None:
    """Write that an agreement was ended."""
    await database.execute(
        session,
        """UPDATE agreement SET ended_from = $3, end_reason = $4, ended_person = $5
           WHERE county_code = $1 AND agreement_id = $2""",
        agreement.county_code,
        agreement.agreement_id,
        agreement.ended_from,
        agreement.end_reason,
        person_id,
    )


async def list_agreements(
    session: AsyncSession,
    county_code: str,
    *,
    insurer_id: str,
    bank_id: str,
    after: UUID,
    limit: int,
) -> list[Agreement]:
    """Agreements in id order; of an insurer or a bank unless these are empty."""
    rows = await database.fetch(
        session,
        """SELECT * FROM agreement
           WHERE county_code = $1 AND ($2 = '' OR insurer_id = $2)
             AND ($3 = '' OR $3 = ANY(bank_ids)) AND agreement_id > $4
           ORDER BY agreement_id LIMIT $5""",
        county_code,
        insurer_id,
        bank_id,
        after,
        limit,
    )
    return [_agreement(row) for row in rows]


async def guarantee_volumes(
    session: AsyncSession,
    county_code: str,
    programme_id: str,
    cover_ids: Sequence[str],
    *,
    from_date: date,
    until_date: date,
) -> dict[str, Fen]:
    """Sums insured of covers that began in a period, by insurer."""
    rows = await database.fetch(
        session,
        """SELECT p.insurer_id, sum(i.sum_insured_fen)::bigint AS volume
           FROM insured AS i JOIN master_policy AS p USING (county_code, policy_id)
           WHERE i.county_code = $1 AND p.programme_id = $2 AND i.cover_id = ANY($3::text[])
             AND i.from_date BETWEEN $4 AND $5 AND i.state IN ('in_force', 'over')
           GROUP BY p.insurer_id""",
        county_code,
        programme_id,
        list(cover_ids),
        from_date,
        until_date,
    )
    return {row["insurer_id"]: Fen(row["volume"]) for row in rows}


async def add_division(
    session: AsyncSession, division: LineDivision, *, actor: Actor, on: date
) -> None:
    """Keep how a line was shared out."""
    await database.execute(
        session,
        """INSERT INTO line_division (county_code, division_id, programme_id, programme, cover_id,
                                      premium_fen, from_date, until_date, divided_by,
                                      divided_person, business_date)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)""",
        division.county_code,
        division.division_id,
        division.programme_id,
        division.programme,
        division.cover_id,
        division.premium_fen,
        division.from_date,
        division.until_date,
        actor.institution_id,
        actor.person_id,
        on,
    )
    await database.execute(
        session,
        """INSERT INTO line_share (county_code, division_id, insurer_id, volume_fen, share_fen)
           SELECT $1, $2, * FROM unnest($3::text[], $4::bigint[], $5::bigint[])""",
        division.county_code,
        division.division_id,
        *database.columns(division.shares, 3),
    )


async def list_divisions(
    session: AsyncSession, county_code: str, *, after: UUID, limit: int
) -> list[LineDivision]:
    """Divisions in id order, with their shares."""
    rows = await database.fetch(
        session,
        """SELECT d.*, s.insurers, s.volumes, s.shares FROM line_division AS d
           CROSS JOIN LATERAL (
               SELECT array_agg(insurer_id ORDER BY insurer_id) AS insurers,
                      array_agg(volume_fen ORDER BY insurer_id) AS volumes,
                      array_agg(share_fen ORDER BY insurer_id) AS shares
               FROM line_share AS own
               WHERE own.county_code = d.county_code AND own.division_id = d.division_id) AS s
           WHERE d.county_code = $1 AND d.division_id > $2 ORDER BY d.division_id LIMIT $3""",
        county_code,
        after,
        limit,
    )
    return [
        LineDivision(
            county_code=row["county_code"],
            division_id=row["division_id"],
            programme_id=row["programme_id"],
            programme=row["programme"],
            cover_id=row["cover_id"],
            premium_fen=Fen(row["premium_fen"]),
            from_date=row["from_date"],
            until_date=row["until_date"],
            shares=tuple(
                (name, Fen(volume), Fen(share))
                for name, volume, share in zip(
                    row["insurers"], row["volumes"], row["shares"], strict=True
                )
            ),
        )
        for row in rows
    ]
