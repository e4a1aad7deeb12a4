"""Funds: the only module with SQL. Rows in, model out, and back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import (
    Amounts,
    Arrears,
    Case,
    CaseFile,
    CaseState,
    Contribution,
    Cover,
    CoverState,
    Fund,
    FundState,
    Key,
    LoanPayment,
    Part,
    Recovery,
    Statement,
)
from services.kernel import database
from services.kernel.money import Fen


def _split(keys: Iterable[Key]) -> tuple[list[str], list[UUID]]:
    ordered = sorted(set(keys))
    return [county for county, _ in ordered], [name for _, name in ordered]


async def business_days(session: AsyncSession, counties: Iterable[str]) -> dict[str, date]:
    """The business date of each county that has one here."""
    rows = await database.fetch(
        session,
        "SELECT county_code, business_date FROM business_day WHERE county_code = ANY($1::text[])",
        sorted(set(counties)),
    )
    return {row["county_code"]: row["business_date"] for row in rows}


# --- funds ---------------------------------------------------------------------------------------


def _fund(row: asyncpg.Record) -> Fund:
    return Fund(
        county_code=row["county_code"],
        fund_id=row["fund_id"],
        programme_id=row["programme_id"],
        kind=row["kind"],
        institution_id=row["institution_id"],
        state=FundState(row["state"]),
        balance_fen=Fen(row["balance_fen"]),
        covered_fen=Fen(row["covered_fen"]),
        owed_fen=Fen(row["owed_fen"]),
        leverage_reached=row["leverage_reached"],
        version=row["version"],
    )


async def add_fund(session: AsyncSession, fund: Fund) -> bool:
    """Write a new fund; False when the county has one of its kind already."""
    written = await database.execute(
        session,
        """INSERT INTO fund (county_code, fund_id, programme_id, kind, institution_id, state,
                             balance_fen, covered_fen, owed_fen, leverage_reached, version)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
           ON CONFLICT ON CONSTRAINT fund_kind_once DO NOTHING""",
        fund.county_code,
        fund.fund_id,
        fund.programme_id,
        fund.kind,
        fund.institution_id,
        fund.state.value,
        fund.balance_fen,
        fund.covered_fen,
        fund.owed_fen,
        fund.leverage_reached,
        fund.version,
    )
    return written == 1


async def lock_funds(session: AsyncSession, counties: Iterable[str]) -> dict[UUID, Fund]:
    """All funds of some counties, held until the transaction ends; last of all locks taken."""
    rows = await database.fetch(
        session,
        """SELECT * FROM fund WHERE county_code = ANY($1::text[])
           ORDER BY county_code, fund_id FOR UPDATE""",
        sorted(set(counties)),
    )
    return {row["fund_id"]: _fund(row) for row in rows}


async def list_funds(
    session: AsyncSession, county_code: str, *, after: UUID, limit: int
) -> list[Fund]:
    """A page of a county's funds."""
    rows = await database.fetch(
        session,
        """SELECT * FROM fund WHERE county_code = $1 AND fund_id > $2
           ORDER BY fund_id LIMIT $3""",
        county_code,
        after,
        limit,
    )
    return [_fund(row) for row in rows]


async def get_fund(session: AsyncSession, county_code: str, fund_id: UUID) -> Fund | None:
    """One fund as it stands."""
    rows = await database.fetch(
        session,
        "SELECT * FROM fund WHERE county_code = $1 AND fund_id = $2",
        county_code,
        fund_id,
    )
    return _fund(rows[0]) if rows else None


async def save_funds(session: AsyncSession, funds: Sequence[Fund]) -> None:
    """Write funds back that were locked."""
    if not funds:
        return
    rows = [
        (
            fund.county_code,
            fund.fund_id,
            fund.state.value,
            fund.balance_fen,
            fund.covered_fen,
            fund.owed_fen,
            fund.leverage_reached,
            fund.version,
        )
        for fund in funds
    ]
    await database.execute(
        session,
        """UPDATE fund SET state = n.state, balance_fen = n.balance_fen,
                  covered_fen = n.covered_fen, owed_fen = n.owed_fen,
                  leverage_reached = n.leverage_reached, version = n.version
           FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[],
                       $6::bigint[], $7::boolean[], $8::bigint[])
                AS n (county_code, fund_id, state, balance_fen, covered_fen, owed_fen,
                      leverage_reached, version)
           WHERE fund.county_code = n.county_code AND fund.fund_id = n.fund_id""",
        *database.columns(rows, 8),
    )


async def add_contribution(session: AsyncSession, contribution: Contribution) -> None:
    """Write a contribution."""
    await database.execute(
        session,
        """INSERT INTO contribution (county_code, contribution_id, fund_id, source, amount_fen,
                                     value_date, business_date)
           VALUES ($1, $2, $3, $4, $5, $6, $7)""",
        contribution.county_code,
        contribution.contribution_id,
        contribution.fund_id,
        contribution.source,
        contribution.amount_fen,
        contribution.value_date,
        contribution.business_date,
    )


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


# --- cover ---------------------------------------------------------------------------------------


def _cover(row: asyncpg.Record) -> Cover:
    return Cover(
        county_code=row["county_code"],
        loan_id=row["loan_id"],
        lender_id=row["lender_id"],
        borrower_class=row["borrower_class"],
        area_code=row["area_code"],
        programme=row["programme"],
        principal_fen=Fen(row["principal_fen"]),
        model_id=row["model_id"],
        fund_id=row["fund_id"],
        state=CoverState(row["state"]),
        disbursed=row["disbursed"],
        version=row["version"],
    )


async def lock_covers(session: AsyncSession, keys: Iterable[Key]) -> dict[Key, Cover]:
    """The covers of some loans, held in id order; a loan without one is left out."""
    rows = await database.fetch(
        session,
        """SELECT c.* FROM cover AS c
           JOIN unnest($1::text[], $2::uuid[]) AS k (county_code, loan_id)
             USING (county_code, loan_id)
           ORDER BY c.county_code, c.loan_id FOR UPDATE OF c""",
        *_split(keys),
    )
    return {(row["county_code"], row["loan_id"]): _cover(row) for row in rows}


async def lock_unused_covers(
    session: AsyncSession, county_code: str, *, area_prefix: str, lender_id: str
) -> dict[Key, Cover]:
    """Reserved cover of loans that were not paid out yet, in an area or of a lender."""
    rows = await database.fetch(
        session,
        """SELECT * FROM cover
           WHERE county_code = $1 AND state = 'reserved' AND NOT disbursed
             AND starts_with(area_code, $2) AND ($3 = '' OR lender_id = $3)
           ORDER BY county_code, loan_id FOR UPDATE""",
        county_code,
        area_prefix,
        lender_id,
    )
    return {(row["county_code"], row["loan_id"]): _cover(row) for row in rows}


async def save_covers(session: AsyncSession, covers: Sequence[Cover]) -> None:
    """Write covers, new ones and those that were locked."""
    if not covers:
        return
    rows = [
        (
            cover.county_code,
            cover.loan_id,
            cover.lender_id,
            cover.borrower_class,
            cover.area_code,
            cover.programme,
            cover.principal_fen,
            cover.model_id,
            cover.fund_id,
            cover.state.value,
            cover.disbursed,
            cover.version,
        )
        for cover in covers
    ]
    await database.execute(
        session,
        """INSERT INTO cover (county_code, loan_id, lender_id, borrower_class, area_code,
                              programme, principal_fen, model_id, fund_id, state, disbursed,
                              version)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[],
                                $6::text[], $7::bigint[], $8::text[], $9::uuid[], $10::text[],
                                $11::boolean[], $12::bigint[])
           ON CONFLICT (county_code, loan_id) DO UPDATE
           SET lender_id = excluded.lender_id, borrower_class = excluded.borrower_class,
               area_code = excluded.area_code, programme = excluded.programme,
               principal_fen = excluded.principal_fen, model_id = excluded.model_id,
               fund_id = excluded.fund_id, state = excluded.state,
               disbursed = excluded.disbursed, version = excluded.version""",
        *database.columns(rows, 12),
    )


# --- what is known of covered loans --------------------------------------------------------------


async def save_statements(session: AsyncSession, statements: Sequence[Statement]) -> None:
    """Keep the latest word on each covered loan; at most one statement a loan."""
    if not statements:
        return
    rows = [
        (
            each.county_code,
            each.loan_id,
            each.loan_sequence,
            each.stated_on,
            each.overdue_days,
            each.non_performing,
            each.owed.principal_fen,
            each.owed.interest_fen,
        )
        for each in statements
    ]
    await database.execute(
        session,
        """INSERT INTO loan_statement AS s (county_code, loan_id, loan_sequence, stated_on,
                                            overdue_days, non_performing, principal_fen,
                                            interest_fen)
           SELECT n.* FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::date[], $5::int[],
                                  $6::boolean[], $7::bigint[], $8::bigint[])
                AS n (county_code, loan_id, loan_sequence, stated_on, overdue_days,
                      non_performing, principal_fen, interest_fen)
           JOIN cover USING (county_code, loan_id)
           ON CONFLICT (county_code, loan_id) DO UPDATE
           SET loan_sequence = excluded.loan_sequence, stated_on = excluded.stated_on,
               overdue_days = excluded.overdue_days, non_performing = excluded.non_performing,
               principal_fen = excluded.principal_fen, interest_fen = excluded.interest_fen
           WHERE s.loan_sequence < excluded.loan_sequence""",
        *database.columns(rows, 8),
    )


async def add_payments(session: AsyncSession, payments: Sequence[LoanPayment]) -> None:
    """Keep what was paid on covered loans."""
    if not payments:
        return
    rows = [
        (
            each.county_code,
            each.loan_id,
            each.event_id,
            each.payout_id,
            each.business_date,
            each.paid.principal_fen,
            each.paid.interest_fen,
        )
        for each in payments
    ]
    await database.execute(
        session,
        """INSERT INTO loan_payment (county_code, loan_id, event_id, payout_id, business_date,
                                     principal_fen, interest_fen)
           SELECT n.* FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::date[],
                                  $6::bigint[], $7::bigint[])
                AS n (county_code, loan_id, event_id, payout_id, business_date, principal_fen,
                      interest_fen)
           JOIN cover USING (county_code, loan_id)""",
        *database.columns(rows, 7),
    )


async def undo_payout(
    session: AsyncSession, county_code: str, payout_id: str, *, event_id: UUID, on: date
) -> None:
    """Mirror what a payout had paid, on the day it was undone."""
    await database.execute(
        session,
        """INSERT INTO loan_payment (county_code, loan_id, event_id, payout_id, business_date,
                                     principal_fen, interest_fen)
           SELECT county_code, loan_id, $3, payout_id, $4, -sum(principal_fen)::bigint,
                  -sum(interest_fen)::bigint
           FROM loan_payment WHERE county_code = $1 AND payout_id = $2
           GROUP BY county_code, loan_id, payout_id""",
        county_code,
        payout_id,
        event_id,
        on,
    )


async def arrears_of(session: AsyncSession, keys: Iterable[Key]) -> dict[Key, Arrears]:
    """The last statement on each loan and what was paid after its day."""
    rows = await database.fetch(
        session,
        """SELECT s.*, p.principal_paid_fen, p.interest_paid_fen
           FROM unnest($1::text[], $2::uuid[]) AS k (county_code, loan_id)
           JOIN loan_statement AS s USING (county_code, loan_id)
           CROSS JOIN LATERAL (
               SELECT coalesce(sum(principal_fen), 0)::bigint AS principal_paid_fen,
                      coalesce(sum(interest_fen), 0)::bigint AS interest_paid_fen
               FROM loan_payment AS l
               WHERE l.county_code = s.county_code AND l.loan_id = s.loan_id
                 AND l.business_date > s.stated_on
           ) AS p""",
        *_split(keys),
    )
    return {
        (row["county_code"], row["loan_id"]): Arrears(
            stated_on=row["stated_on"],
            overdue_days=row["overdue_days"],
            non_performing=row["non_performing"],
            stated=Amounts(Fen(row["principal_fen"]), Fen(row["interest_fen"])),
            paid_since=Amounts(Fen(row["principal_paid_fen"]), Fen(row["interest_paid_fen"])),
        )
        for row in rows
    }


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
        *_split(case_ids),
    )
    return {
        row["case_id"]: Amounts(Fen(row["principal_fen"]), Fen(row["interest_fen"])) for row in rows
    }


# --- cases ---------------------------------------------------------------------------------------


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
        *_split(keys),
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
        *_split(loans),
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
        *_split(loans),
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
        *_split(cases),
    )
    parts: dict[UUID, list[Part]] = {}
    for row in rows:
        parts.setdefault(row["case_id"], []).append(_part(row))
    return parts


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


# --- totals --------------------------------------------------------------------------------------

_TOTALS = """
SELECT f.balance_fen, f.covered_fen, n.contributed_fen, c.cases_paid_count, c.loss_fen,
       p.paid_fen, p.owed_fen, p.lender_own_fen, r.recovered_fen, p.recovered_to_funds_fen
FROM (SELECT coalesce(sum(balance_fen), 0)::bigint AS balance_fen,
             coalesce(sum(covered_fen), 0)::bigint AS covered_fen
      FROM fund WHERE county_code = $1) AS f,
     (SELECT coalesce(sum(amount_fen), 0)::bigint AS contributed_fen
      FROM contribution WHERE county_code = $1) AS n,
     (SELECT count(*) AS cases_paid_count, coalesce(sum(loss_fen), 0)::bigint AS loss_fen
      FROM compensation_case WHERE county_code = $1 AND state = 'paid') AS c,
     (SELECT coalesce(sum(paid_fen) FILTER (WHERE fund_id IS NOT NULL), 0)::bigint AS paid_fen,
             coalesce(sum(amount_fen - paid_fen) FILTER (WHERE NOT own_loss), 0)::bigint
                 AS owed_fen,
             coalesce(sum(amount_fen) FILTER (WHERE own_loss), 0)::bigint AS lender_own_fen,
             coalesce(sum(recovered_fen) FILTER (WHERE fund_id IS NOT NULL), 0)::bigint
                 AS recovered_to_funds_fen
      FROM case_part WHERE county_code = $1) AS p,
     (SELECT coalesce(sum(amount_fen), 0)::bigint AS recovered_fen
      FROM recovery WHERE county_code = $1) AS r
"""

_DIFFERENCE = """
WITH side AS (
    SELECT debit_account AS account, debit_id AS owner, amount_fen AS amount
    FROM journal WHERE county_code = $1
    UNION ALL
    SELECT credit_account, credit_id, -amount_fen FROM journal WHERE county_code = $1
), book AS (
    SELECT account, owner, sum(amount) AS amount FROM side GROUP BY account, owner
), part AS (
    SELECT fund_id, case_id, own_loss, amount_fen, amount_fen - paid_fen AS open_fen
    FROM case_part WHERE county_code = $1
), difference AS (
    SELECT f.balance_fen - coalesce(b.amount, 0) AS amount
    FROM fund AS f
    LEFT JOIN book AS b ON b.account = 'fund_cash' AND b.owner = f.fund_id::text
    WHERE f.county_code = $1
    UNION ALL
    SELECT f.covered_fen - coalesce((SELECT sum(c.principal_fen) FROM cover AS c
        WHERE c.county_code = $1 AND c.fund_id = f.fund_id AND c.state = 'reserved'), 0)
    FROM fund AS f WHERE f.county_code = $1
    UNION ALL
    SELECT f.owed_fen - coalesce((SELECT sum(p.open_fen) FROM part AS p
        WHERE p.fund_id = f.fund_id), 0)
    FROM fund AS f WHERE f.county_code = $1
    UNION ALL
    SELECT c.loss_fen - coalesce(p.amount_fen, 0)
    FROM compensation_case AS c
    LEFT JOIN (SELECT case_id, sum(amount_fen) AS amount_fen FROM part GROUP BY case_id) AS p
        USING (case_id)
    WHERE c.county_code = $1 AND c.state = 'paid'
    UNION ALL
    SELECT c.loss_fen - coalesce(b.amount, 0)
    FROM compensation_case AS c
    LEFT JOIN book AS b ON b.account = 'compensation_expense' AND b.owner = c.case_id::text
    WHERE c.county_code = $1 AND c.state = 'paid'
    UNION ALL
    SELECT coalesce((SELECT sum(amount_fen) FROM contribution WHERE county_code = $1), 0)
         + coalesce((SELECT sum(amount) FROM book WHERE account = 'contributions'), 0)
    UNION ALL
    SELECT coalesce((SELECT sum(open_fen) FROM part WHERE NOT own_loss), 0)
         + coalesce((SELECT sum(amount) FROM book WHERE account = 'share_payable'), 0)
)
SELECT coalesce(sum(abs(amount)), 0)::bigint AS book_difference_fen FROM difference
"""


async def totals(session: AsyncSession, county_code: str) -> dict[str, int]:
    """The figures of a county, and by how much rows and journal disagree."""
    figures = (await database.fetch(session, _TOTALS, county_code))[0]
    difference = (await database.fetch(session, _DIFFERENCE, county_code))[0]
    return {name: int(value) for name, value in (*figures.items(), *difference.items())}
