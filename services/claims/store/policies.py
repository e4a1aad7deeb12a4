"""Claims: SQL of master policies, and of the loans that wait for a cover."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Actor, ApprovedLoan, MasterPolicy
from services.kernel import database
from services.kernel.money import Fen


async def hold_policies(session: AsyncSession, counties: Sequence[str]) -> None:
    """Let no policy of these counties be issued until this transaction ends."""
    await database.fetch(
        session,
        """SELECT pg_advisory_xact_lock_shared(hashtext('liandong-claims-policies'), hashtext(c))
           FROM (SELECT unnest($1::text[]) AS c ORDER BY c) AS counties""",
        sorted(set(counties)),
    )


async def hold_policies_alone(session: AsyncSession, county_code: str) -> None:
    """Let no loan join a list of this county, and no other policy be issued, meanwhile."""
    await database.fetch(
        session,
        "SELECT pg_advisory_xact_lock(hashtext('liandong-claims-policies'), hashtext($1))",
        county_code,
    )


_POLICY = """
SELECT p.*, ARRAY(SELECT c.cover_id FROM policy_cover AS c
                  WHERE c.county_code = p.county_code AND c.policy_id = p.policy_id
                  ORDER BY c.cover_id) AS covers
FROM master_policy AS p
"""


def _policy(row: asyncpg.Record) -> MasterPolicy:
    return MasterPolicy(
        county_code=row["county_code"],
        policy_id=row["policy_id"],
        insurer_id=row["insurer_id"],
        programme_id=row["programme_id"],
        programme=row["programme"],
        area_code=row["area_code"],
        covers=tuple(row["covers"]),
        from_date=row["from_date"],
        until_date=row["until_date"],
        rate_ppm=row["rate_ppm"],
        enterprise_id=row["enterprise_id"],
        renews_policy_id=row["renews_policy_id"],
        end_reason=row["end_reason"],
    )


async def overlapping_policies(session: AsyncSession, policy: MasterPolicy) -> list[MasterPolicy]:
    """Policies of the same programme with a cover, a place and a day in common."""
    rows = await database.fetch(
        session,
        _POLICY
        + """WHERE p.county_code = $1 AND p.programme_id = $2
             AND p.from_date <= $5 AND p.until_date >= $4
             AND (starts_with(p.area_code, $6) OR starts_with($6, p.area_code))
             AND EXISTS (SELECT FROM policy_cover AS c
                         WHERE c.county_code = $1 AND c.policy_id = p.policy_id
                           AND c.cover_id = ANY($3::text[]))""",
        policy.county_code,
        policy.programme_id,
        list(policy.covers),
        policy.from_date,
        policy.until_date,
        policy.area_code,
    )
    return [_policy(row) for row in rows]


async def add_policy(
    session: AsyncSession, policy: MasterPolicy, *, issuer: Actor, on: date
) -> None:
    """Keep a new policy with its covers."""
    await database.execute(
        session,
        """WITH made AS (
               INSERT INTO master_policy (county_code, policy_id, insurer_id, programme_id,
                                          programme, area_code, from_date, until_date, rate_ppm,
                                          enterprise_id, renews_policy_id, issued_by,
                                          issued_person, issued_on)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
               RETURNING county_code, policy_id
           )
           INSERT INTO policy_cover
           SELECT made.county_code, made.policy_id, c FROM made, unnest($15::text[]) AS c""",
        policy.county_code,
        policy.policy_id,
        policy.insurer_id,
        policy.programme_id,
        policy.programme,
        policy.area_code,
        policy.from_date,
        policy.until_date,
        policy.rate_ppm,
        policy.enterprise_id,
        policy.renews_policy_id,
        issuer.institution_id,
        issuer.person_id,
        on,
        list(policy.covers),
    )


async def find_policies(
    session: AsyncSession, county_code: str, policy_ids: Sequence[UUID]
) -> dict[UUID, MasterPolicy]:
    """Policies by id."""
    rows = await database.fetch(
        session,
        _POLICY + "WHERE p.county_code = $1 AND p.policy_id = ANY($2::uuid[])",
        county_code,
        list(set(policy_ids)),
    )
    return {row["policy_id"]: _policy(row) for row in rows}


async def list_policies(
    session: AsyncSession,
    county_code: str,
    *,
    programme_id: str,
    insurer_id: str,
    areas: Sequence[str],
    after: UUID,
    limit: int,
) -> list[MasterPolicy]:
    """Policies in id order; of one insurer, one programme and some areas unless these are empty."""
    rows = await database.fetch(
        session,
        _POLICY
        + """WHERE p.county_code = $1 AND ($2 = '' OR p.programme_id = $2)
             AND ($3 = '' OR p.insurer_id = $3) AND p.policy_id > $4
             AND ($6::text[] = '{}' OR EXISTS (
                 SELECT FROM unnest($6::text[]) AS area
                 WHERE starts_with(p.area_code, area) OR starts_with(area, p.area_code)))
             ORDER BY p.policy_id LIMIT $5""",
        county_code,
        programme_id,
        insurer_id,
        after,
        limit,
        list(areas),
    )
    return [_policy(row) for row in rows]


async def end_policy(
    session: AsyncSession, policy: MasterPolicy, *, last_day: date, reason: str
) -> None:
    """Let a policy end on a day."""
    await database.execute(
        session,
        """UPDATE master_policy SET until_date = $3, end_reason = $4
           WHERE county_code = $1 AND policy_id = $2""",
        policy.county_code,
        policy.policy_id,
        last_day,
        reason,
    )


PolicyKey = tuple[str, str, str, date, str]
"""County, programme id, cover, day and area."""


async def policies_on(
    session: AsyncSession, keys: Sequence[PolicyKey]
) -> dict[PolicyKey, MasterPolicy]:
    """The policy that covers each key's day and place, where there is one."""
    rows = await database.fetch(
        session,
        """SELECT p.*, ARRAY(SELECT own.cover_id FROM policy_cover AS own
                             WHERE own.county_code = p.county_code
                               AND own.policy_id = p.policy_id ORDER BY own.cover_id) AS covers,
                  asked.cover_id, asked.on_date, asked.area
           FROM unnest($1::text[], $2::text[], $3::text[], $4::date[], $5::text[])
                AS asked (county_code, programme_id, cover_id, on_date, area)
           JOIN master_policy AS p USING (county_code, programme_id)
           JOIN policy_cover AS c USING (county_code, policy_id, cover_id)
           WHERE asked.on_date BETWEEN p.from_date AND p.until_date
             AND starts_with(asked.area, p.area_code)""",
        *database.columns(sorted(set(keys)), 5),
    )
    return {
        (
            row["county_code"],
            row["programme_id"],
            row["cover_id"],
            row["on_date"],
            row["area"],
        ): _policy(row)
        for row in rows
    }


async def add_awaited(session: AsyncSession, awaited: Sequence[tuple[ApprovedLoan, str]]) -> None:
    """Note the covers that loans wait for."""
    rows = [(loan.county_code, loan.loan_id, loan.programme_id, cover) for loan, cover in awaited]
    if rows:
        await database.execute(
            session,
            """INSERT INTO awaited_cover (county_code, loan_id, programme_id, cover_id)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[])""",
            *database.columns(rows, 4),
        )


async def policies_awaited(session: AsyncSession, county_code: str, on: date) -> list[MasterPolicy]:
    """Policies that cover the day, of programmes under which some loan waits for a cover."""
    rows = await database.fetch(
        session,
        _POLICY
        + """WHERE p.county_code = $1 AND $2 BETWEEN p.from_date AND p.until_date
             AND EXISTS (SELECT FROM awaited_cover AS a
                         WHERE a.county_code = $1 AND a.programme_id = p.programme_id)""",
        county_code,
        on,
    )
    return [_policy(row) for row in rows]


_AWAITING_LOAN = """
SELECT l.county_code, l.loan_id, l.household_id, l.area_code, l.lender_id, l.principal_fen,
       l.programme AS loan_programme, l.assignment_evidence, l.required_covers, l.approved_on
"""


async def take_awaited(
    session: AsyncSession,
    county_code: str,
    joinable: Sequence[tuple[UUID, str]],
    *,
    rows_max: int,
) -> list[tuple[ApprovedLoan, UUID, str]]:
    """Waiting loans that one of these policies covers, with policy and cover; they wait no more."""
    rows = await database.fetch(
        session,
        f"""WITH met AS (
               SELECT a.county_code, a.loan_id, a.cover_id, p.policy_id
               FROM unnest($2::uuid[], $3::text[]) AS j (policy_id, cover_id)
               JOIN master_policy AS p ON p.county_code = $1 AND p.policy_id = j.policy_id
               JOIN awaited_cover AS a ON a.county_code = $1 AND a.cover_id = j.cover_id
                                      AND a.programme_id = p.programme_id
               JOIN loan AS l ON l.county_code = $1 AND l.loan_id = a.loan_id
               WHERE starts_with(l.area_code, p.area_code)
               ORDER BY a.loan_id, a.cover_id LIMIT $4
           ), gone AS (
               DELETE FROM awaited_cover AS a USING met
               WHERE a.county_code = met.county_code AND a.loan_id = met.loan_id
                 AND a.cover_id = met.cover_id
               RETURNING a.county_code, a.loan_id, a.cover_id, met.policy_id
           )
           {_AWAITING_LOAN}, gone.policy_id, gone.cover_id
           FROM gone JOIN loan AS l USING (county_code, loan_id)
           ORDER BY l.loan_id, gone.cover_id""",  # noqa: S608 - a constant
        county_code,
        *database.columns(joinable, 2),
        rows_max,
    )
    return [(_awaiting_loan(row), row["policy_id"], row["cover_id"]) for row in rows]


async def take_awaited_of(
    session: AsyncSession, county_code: str, asked: Sequence[tuple[UUID, str]]
) -> list[tuple[UUID, UUID, str]]:
    """Loans of households that wait for a cover: loan, household, cover; they wait no more."""
    rows = await database.fetch(
        session,
        """DELETE FROM awaited_cover AS a
           USING loan AS l, unnest($2::uuid[], $3::text[]) AS asked (household_id, cover_id)
           WHERE a.county_code = $1 AND l.county_code = $1 AND l.loan_id = a.loan_id
             AND l.household_id = asked.household_id AND a.cover_id = asked.cover_id
           RETURNING a.loan_id, l.household_id, a.cover_id""",
        county_code,
        *database.columns(sorted(set(asked)), 2),
    )
    return [(row["loan_id"], row["household_id"], row["cover_id"]) for row in rows]


async def find_loans(
    session: AsyncSession, county_code: str, loan_ids: Sequence[UUID]
) -> dict[UUID, tuple[ApprovedLoan, bool]]:
    """Loans by id, and whether each is open."""
    rows = await database.fetch(
        session,
        f"""{_AWAITING_LOAN}, l.state = 'approved' AS is_open FROM loan AS l
            WHERE l.county_code = $1 AND l.loan_id = ANY($2::uuid[])""",
        county_code,
        list(set(loan_ids)),
    )
    return {row["loan_id"]: (_awaiting_loan(row), row["is_open"]) for row in rows}


async def add_disbursed(session: AsyncSession, paid: Sequence[tuple[str, UUID, int, date]]) -> None:
    """Note what was paid out on loans; several payments of one loan add up."""
    await database.execute(
        session,
        """UPDATE loan AS l SET disbursed_fen = l.disbursed_fen + said.amount,
                                disbursed_on = coalesce(l.disbursed_on, said.first)
           FROM (SELECT county_code, loan_id, sum(amount)::bigint AS amount, min(paid_on) AS first
                 FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::date[])
                      AS one (county_code, loan_id, amount, paid_on)
                 GROUP BY county_code, loan_id) AS said
           WHERE l.county_code = said.county_code AND l.loan_id = said.loan_id""",
        *database.columns(paid, 4),
    )


async def lending_fen(session: AsyncSession, policy: MasterPolicy) -> Fen:
    """What was really lent under the policy's programme, in its area and term."""
    rows = await database.fetch(
        session,
        """SELECT coalesce(sum(disbursed_fen), 0)::bigint AS lent FROM loan
           WHERE county_code = $1 AND programme_id = $2 AND starts_with(area_code, $3)
             AND disbursed_on BETWEEN $4 AND $5""",
        policy.county_code,
        policy.programme_id,
        policy.area_code,
        policy.from_date,
        policy.until_date,
    )
    return Fen(rows[0]["lent"])


def _awaiting_loan(row: asyncpg.Record) -> ApprovedLoan:
    return ApprovedLoan(
        county_code=row["county_code"],
        loan_id=row["loan_id"],
        household_id=row["household_id"],
        area_code=row["area_code"],
        lender_id=row["lender_id"],
        principal_fen=Fen(row["principal_fen"]),
        programme=row["loan_programme"],
        assignment_evidence=row["assignment_evidence"],
        required_covers=tuple(row["required_covers"]),
        approved_on=row["approved_on"],
    )
