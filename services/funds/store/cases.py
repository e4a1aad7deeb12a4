"""Funds: SQL of compensation cases, their parts and their recoveries."""

import json
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import (
    Amounts,
    Case,
    CaseFile,
    CaseState,
    Key,
    Part,
    Recovery,
)
from services.funds.store.shared import split
from services.kernel import database
from services.kernel.money import Fen


def _case(row: asyncpg.Record) -> Case:
    return Case(
        county_code=row["county_code"],
        case_id=row["case_id"],
        loan_id=row["loan_id"],
        lender_id=row["lender_id"],
        state=CaseState(row["state"]),
        loss_fen=Fen(row["loss_fen"]),
        cause=row["cause"],
        evidence=tuple(json.loads(row["evidence"])),
        programme=row["programme"],
        model_id=row["model_id"],
        overdue_days=row["overdue_days"],
        stated_on=row["stated_on"],
        paid_counted_fen=Fen(row["paid_counted_fen"]),
        filed_by=row["filed_by"],
        filed_on=row["filed_on"],
        decided_by=row["decided_by"],
        decided_on=row["decided_on"],
        reason=row["reason"],
        working=row["working"],
        version=row["version"],
    )


def _part(row: asyncpg.Record) -> Part:
    return Part(
        county_code=row["county_code"],
        case_id=row["case_id"],
        position=row["position"],
        layer=row["layer"],
        party=row["party"],
        institution_id=row["institution_id"],
        fund_id=row["fund_id"],
        own_loss=row["own_loss"],
        amount_fen=Fen(row["amount_fen"]),
        paid_fen=Fen(row["paid_fen"]),
        recovered_fen=Fen(row["recovered_fen"]),
    )


async def lock_cases(session: AsyncSession, keys: Iterable[Key]) -> dict[UUID, Case]:
    """Cases by id, held in id order; first of all locks taken."""
    rows = await database.fetch(
        session,
        """SELECT c.* FROM compensation_case AS c
           JOIN unnest($1::text[], $2::uuid[]) AS k (county_code, case_id)
             USING (county_code, case_id)
           ORDER BY c.county_code, c.case_id FOR UPDATE OF c""",
        *split(keys),
    )
    return {row["case_id"]: _case(row) for row in rows}


async def lock_paid_cases(session: AsyncSession, loans: Iterable[Key]) -> dict[Key, Case]:
    """The compensated case of each loan that has one, held in id order."""
    rows = await database.fetch(
        session,
        """SELECT c.* FROM compensation_case AS c
           JOIN unnest($1::text[], $2::uuid[]) AS k (county_code, loan_id)
             USING (county_code, loan_id)
           WHERE c.state = 'paid'
           ORDER BY c.county_code, c.case_id FOR UPDATE OF c""",
        *split(loans),
    )
    return {(row["county_code"], row["loan_id"]): _case(row) for row in rows}


async def loans_with_case(session: AsyncSession, loans: Iterable[Key]) -> set[Key]:
    """Loans whose loss is being decided or was shared; a denied case leaves the way open."""
    rows = await database.fetch(
        session,
        """SELECT county_code, loan_id FROM compensation_case
           JOIN unnest($1::text[], $2::uuid[]) AS k (county_code, loan_id)
             USING (county_code, loan_id)
           WHERE state IN ('filed', 'paid')""",
        *split(loans),
    )
    return {(row["county_code"], row["loan_id"]) for row in rows}


async def parts_of(session: AsyncSession, cases: Iterable[Key]) -> dict[UUID, list[Part]]:
    """The parts of some cases, in order."""
    rows = await database.fetch(
        session,
        """SELECT p.* FROM case_part AS p
           JOIN unnest($1::text[], $2::uuid[]) AS k (county_code, case_id)
             USING (county_code, case_id)
           ORDER BY p.case_id, p.position""",
        *split(cases),
    )
    parts: dict[UUID, list[Part]] = {}
    for row in rows:
        parts.setdefault(row["case_id"], []).append(_part(row))
    return parts


async def debts_of(session: AsyncSession, fund_ids: Iterable[UUID]) -> dict[UUID, list[Part]]:
    """What locked funds owe, oldest first; only who holds a fund's lock pays its parts."""
    rows = await database.fetch(
        session,
        """SELECT p.* FROM case_part AS p
           JOIN compensation_case AS c USING (county_code, case_id)
           WHERE p.fund_id = ANY($1::uuid[]) AND p.paid_fen < p.amount_fen
           ORDER BY c.decided_on, p.case_id, p.position""",
        list(fund_ids),
    )
    debts: dict[UUID, list[Part]] = {}
    for row in rows:
        debts.setdefault(row["fund_id"], []).append(_part(row))
    return debts


async def paid_since_filing(session: AsyncSession, case_ids: Iterable[Key]) -> dict[UUID, Amounts]:
    """By case: what was paid after the statement that its loss was taken from."""
    rows = await database.fetch(
        session,
        """SELECT c.case_id, sum(l.principal_fen)::bigint AS principal_fen,
                  sum(l.interest_fen)::bigint AS interest_fen
           FROM unnest($1::text[], $2::uuid[]) AS k (county_code, case_id)
           JOIN compensation_case AS c USING (county_code, case_id)
           JOIN loan_payment AS l ON l.county_code = c.county_code AND l.loan_id = c.loan_id
             AND l.business_date > c.stated_on
           GROUP BY c.case_id""",
        *split(case_ids),
    )
    return {
        row["case_id"]: Amounts(Fen(row["principal_fen"]), Fen(row["interest_fen"])) for row in rows
    }


async def list_cases(
    session: AsyncSession,
    county_code: str,
    *,
    state: CaseState | None,
    seen_by: str,
    after: UUID,
    limit: int,
) -> list[Case]:
    """A page of a county's cases; an institution named sees those that concern it."""
    rows = await database.fetch(
        session,
        """SELECT c.* FROM compensation_case AS c
           WHERE c.county_code = $1 AND c.case_id > $2 AND ($3 = '' OR c.state = $3)
             AND ($4 = '' OR c.lender_id = $4 OR EXISTS (
                 SELECT FROM case_part AS p WHERE p.county_code = c.county_code
                   AND p.case_id = c.case_id AND p.institution_id = $4))
           ORDER BY c.case_id LIMIT $5""",
        county_code,
        after,
        state.value if state else "",
        seen_by,
        limit,
    )
    return [_case(row) for row in rows]


async def get_case(
    session: AsyncSession, county_code: str, case_id: UUID, *, seen_by: str
) -> Case | None:
    """One case, if the institution named may see it."""
    rows = await database.fetch(
        session,
        """SELECT c.* FROM compensation_case AS c
           WHERE c.county_code = $1 AND c.case_id = $2
             AND ($3 = '' OR c.lender_id = $3 OR EXISTS (
                 SELECT FROM case_part AS p WHERE p.county_code = c.county_code
                   AND p.case_id = c.case_id AND p.institution_id = $3))""",
        county_code,
        case_id,
        seen_by,
    )
    return _case(rows[0]) if rows else None


async def add_cases(session: AsyncSession, cases: Sequence[Case]) -> None:
    """Write new cases."""
    if not cases:
        return
    rows = [
        (
            case.county_code,
            case.case_id,
            case.loan_id,
            case.lender_id,
            case.state.value,
            case.loss_fen,
            case.cause,
            json.dumps(case.evidence),
            case.programme,
            case.model_id,
            case.overdue_days,
            case.stated_on,
            case.paid_counted_fen,
            case.filed_by,
            case.filed_on,
            case.version,
        )
        for case in cases
    ]
    await database.execute(
        session,
        """INSERT INTO compensation_case (county_code, case_id, loan_id, lender_id, state,
                 loss_fen, cause, evidence, programme, model_id, overdue_days, stated_on,
                 paid_counted_fen, filed_by, filed_on, version, decided_by, reason, working)
            SELECT n.*, '', '', ''
            FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[],
                        $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[],
                        $11::int[], $12::date[], $13::bigint[], $14::text[], $15::date[],
                        $16::bigint[]) AS n""",
        *database.columns(rows, 16),
    )


async def save_cases(session: AsyncSession, cases: Sequence[Case]) -> None:
    """Write back cases that were locked."""
    if not cases:
        return
    rows = [
        (
            case.county_code,
            case.case_id,
            case.state.value,
            case.loss_fen,
            case.decided_by,
            case.decided_on,
            case.reason,
            case.working,
            case.version,
        )
        for case in cases
    ]
    await database.execute(
        session,
        """UPDATE compensation_case AS c
           SET state = n.state, loss_fen = n.loss_fen, decided_by = n.decided_by,
               decided_on = n.decided_on, reason = n.reason, working = n.working,
               version = n.version
           FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::date[],
                       $7::text[], $8::text[], $9::bigint[])
                AS n (county_code, case_id, state, loss_fen, decided_by, decided_on, reason,
                      working, version)
           WHERE c.county_code = n.county_code AND c.case_id = n.case_id""",
        *database.columns(rows, 9),
    )


async def add_parts(session: AsyncSession, parts: Sequence[Part]) -> None:
    """Write the parts of cases that were just shared."""
    if not parts:
        return
    rows = [
        (
            part.county_code,
            part.case_id,
            part.position,
            part.layer,
            part.party,
            part.institution_id,
            part.fund_id,
            part.own_loss,
            part.amount_fen,
            part.paid_fen,
            part.recovered_fen,
        )
        for part in parts
    ]
    await database.execute(
        session,
        """INSERT INTO case_part (county_code, case_id, position, layer, party, institution_id,
                                  fund_id, own_loss, amount_fen, paid_fen, recovered_fen)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::int[], $4::text[], $5::text[],
                                $6::text[], $7::uuid[], $8::boolean[], $9::bigint[],
                                $10::bigint[], $11::bigint[])""",
        *database.columns(rows, 11),
    )


async def _save_parts(
    session: AsyncSession, column: str, rows: Sequence[tuple[object, ...]]
) -> None:
    assert column in ("paid_fen", "recovered_fen")
    if not rows:
        return
    await database.execute(
        session,
        f"""UPDATE case_part AS p SET {column} = n.amount_fen
           FROM unnest($1::text[], $2::uuid[], $3::int[], $4::bigint[])
                AS n (county_code, case_id, position, amount_fen)
           WHERE p.county_code = n.county_code AND p.case_id = n.case_id
             AND p.position = n.position""",  # noqa: S608 - one of two names of our own
        *database.columns(rows, 4),
    )


async def save_paid(session: AsyncSession, parts: Sequence[Part]) -> None:
    """Write what was paid of parts; under the lock of the funds that pay."""
    rows = [(p.county_code, p.case_id, p.position, p.paid_fen) for p in parts]
    await _save_parts(session, "paid_fen", rows)


async def save_recovered(session: AsyncSession, parts: Sequence[Part]) -> None:
    """Write what came back of parts; under the lock of their cases."""
    rows = [(p.county_code, p.case_id, p.position, p.recovered_fen) for p in parts]
    await _save_parts(session, "recovered_fen", rows)


async def add_recoveries(session: AsyncSession, recoveries: Sequence[Recovery]) -> None:
    """Write recoveries and their shares."""
    if not recoveries:
        return
    rows = [
        (
            each.county_code,
            each.recovery_id,
            each.case_id,
            each.payout_id,
            each.amount_fen,
            each.household_fen,
            each.business_date,
        )
        for each in recoveries
    ]
    await database.execute(
        session,
        """INSERT INTO recovery (county_code, recovery_id, case_id, payout_id, amount_fen,
                                 household_fen, business_date)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[],
                                $6::bigint[], $7::date[])""",
        *database.columns(rows, 7),
    )
    shares = [
        (each.county_code, each.recovery_id, position, amount)
        for each in recoveries
        for position, amount in each.shares
    ]
    await database.execute(
        session,
        """INSERT INTO recovery_share (county_code, recovery_id, position, amount_fen)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::int[], $4::bigint[])""",
        *database.columns(shares, 4),
    )


def files(cases: Sequence[Case], parts: Mapping[UUID, Sequence[Part]]) -> list[CaseFile]:
    """Cases with their parts."""
    return [CaseFile(case, tuple(parts.get(case.case_id, ()))) for case in cases]
