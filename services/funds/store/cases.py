"""Funds: SQL of compensation cases, their parts and their recoveries."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import (
    Amounts,
    Case,
    CaseFile,
    CaseState,
    Collecting,
    Key,
    Part,
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
        collection_steps=tuple(
            Collecting(each["kind"], date.fromisoformat(each["on"]), each["evidence"])
            for each in json.loads(row["collection_steps"])
        ),
        shows=tuple(json.loads(row["shows"])),
        code=row["code"],
        due_on=row["due_on"],
        notice_until=row["notice_until"],
        notice_levels=tuple(json.loads(row["notice_levels"])),
        reviewed_by=row["reviewed_by"],
        approvals=tuple((organ, person) for organ, person in json.loads(row["approvals"])),
        paid_by=row["paid_by"],
        denied_by_role=row["denied_by_role"],
        appeal=row["appeal"],
        appealed_by=row["appealed_by"],
        written_off_fen=Fen(row["written_off_fen"]),
        otherwise_borne_by=row["otherwise_borne_by"],
    )


_COLUMNS: Mapping[str, str] = {
    "county_code": "text",
    "case_id": "uuid",
    "loan_id": "uuid",
    "lender_id": "text",
    "state": "text",
    "loss_fen": "bigint",
    "cause": "text",
    "evidence": "text",
    "programme": "text",
    "model_id": "text",
    "overdue_days": "int",
    "stated_on": "date",
    "paid_counted_fen": "bigint",
    "filed_by": "text",
    "filed_on": "date",
    "decided_by": "text",
    "decided_on": "date",
    "reason": "text",
    "working": "text",
    "version": "bigint",
    "collection_steps": "text",
    "shows": "text",
    "code": "text",
    "due_on": "date",
    "notice_until": "date",
    "notice_levels": "text",
    "reviewed_by": "text",
    "approvals": "text",
    "paid_by": "text",
    "denied_by_role": "text",
    "appeal": "text",
    "appealed_by": "text",
    "written_off_fen": "bigint",
    "otherwise_borne_by": "text",
}
"""Columns of a case and their types, as both statements below write them."""


def _row(case: Case) -> tuple[object, ...]:
    steps = [
        {"kind": each.kind, "on": each.on.isoformat(), "evidence": each.evidence}
        for each in case.collection_steps
    ]
    encoded: Mapping[str, object] = {
        "state": case.state.value,
        "evidence": json.dumps(case.evidence),
        "collection_steps": json.dumps(steps),
        "shows": json.dumps(case.shows),
        "notice_levels": json.dumps(case.notice_levels),
        "approvals": json.dumps(case.approvals),
    }
    return tuple(encoded.get(name, getattr(case, name)) for name in _COLUMNS)


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
        version=row["version"],
    )


def cases_from(rows: Sequence[asyncpg.Record]) -> list[Case]:
    """Rows of cases read."""
    return [_case(row) for row in rows]


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
           WHERE c.state IN ('paid', 'closed')
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
           WHERE state <> 'denied'""",
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


async def paid_parts_of(session: AsyncSession, fund_id: UUID) -> list[Part]:
    """What a locked fund has paid, the latest case first."""
    rows = await database.fetch(
        session,
        """SELECT p.* FROM case_part AS p
           JOIN compensation_case AS c USING (county_code, case_id)
           WHERE p.fund_id = $1 AND p.paid_fen > 0
           ORDER BY c.decided_on DESC, p.case_id DESC, p.position DESC""",
        fund_id,
    )
    return [_part(row) for row in rows]


async def loans_of(session: AsyncSession, parts: Iterable[Part]) -> dict[UUID, UUID]:
    """By case: the loan that its parts are about."""
    rows = await database.fetch(
        session,
        """SELECT c.case_id, c.loan_id FROM compensation_case AS c
           JOIN unnest($1::text[], $2::uuid[]) AS k (county_code, case_id)
             USING (county_code, case_id)""",
        *split((part.county_code, part.case_id) for part in parts),
    )
    return {row["case_id"]: row["loan_id"] for row in rows}


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


_UNNEST = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(_COLUMNS.values(), 1))
_ADD = f"""INSERT INTO compensation_case ({", ".join(_COLUMNS)})
    SELECT * FROM unnest({_UNNEST})"""  # noqa: S608 - names of our own
_CHANGED = ", ".join(
    f"{name} = n.{name}" for name in _COLUMNS if name not in ("county_code", "case_id")
)
_SAVE = f"""UPDATE compensation_case AS c SET {_CHANGED}
    FROM unnest({_UNNEST}) AS n ({", ".join(_COLUMNS)})
    WHERE c.county_code = n.county_code AND c.case_id = n.case_id"""  # noqa: S608 - names of our own


async def add_cases(session: AsyncSession, cases: Sequence[Case]) -> None:
    """Write new cases."""
    if cases:
        columns = database.columns([_row(case) for case in cases], len(_COLUMNS))
        await database.execute(session, _ADD, *columns)


async def save_cases(session: AsyncSession, cases: Sequence[Case]) -> None:
    """Write back cases that were locked."""
    if cases:
        columns = database.columns([_row(case) for case in cases], len(_COLUMNS))
        await database.execute(session, _SAVE, *columns)


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


async def save_parts(session: AsyncSession, parts: Sequence[Part]) -> None:
    """Write what was paid of parts and came back; under the lock of their case or of their fund."""
    if not parts:
        return
    rows = [
        (p.county_code, p.case_id, p.position, p.paid_fen, p.recovered_fen, p.version)
        for p in parts
    ]
    await database.execute(
        session,
        """UPDATE case_part AS p SET paid_fen = n.paid_fen, recovered_fen = n.recovered_fen,
                  version = n.version
           FROM unnest($1::text[], $2::uuid[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[])
                AS n (county_code, case_id, position, paid_fen, recovered_fen, version)
           WHERE p.county_code = n.county_code AND p.case_id = n.case_id
             AND p.position = n.position""",
        *database.columns(rows, 6),
    )


def files(cases: Sequence[Case], parts: Mapping[UUID, Sequence[Part]]) -> list[CaseFile]:
    """Cases with their parts."""
    return [CaseFile(case, tuple(parts.get(case.case_id, ()))) for case in cases]
