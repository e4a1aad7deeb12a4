"""Loans: the only module with SQL. Rows in, model out, and back."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from operator import attrgetter, itemgetter
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.money import Fen
from services.loans.model import (
    Allocation,
    AreaBalance,
    Borrower,
    Breaker,
    BreakerScope,
    Compensation,
    Interest,
    Loan,
    LoanState,
)
from services.loans.rules.book import Posting, PostingKind
from services.programmes.settlement import Amounts

FIRST_ID, LAST_ID = UUID(int=0), UUID(int=2**128 - 1)
"""Before and behind every id that is made."""

# Column and type of every field, in the order of `_loan_values`.
_LOAN_COLUMNS = (
    ("county_code", "text"),
    ("loan_id", "uuid"),
    ("version", "bigint"),
    ("household_id", "uuid"),
    ("area_code", "text"),
    ("lender_id", "text"),
    ("programme", "text"),
    ("product_id", "text"),
    ("borrower_class", "text"),
    ("state", "text"),
    ("next_step", "text"),
    ("decided", "text"),
    ("refusal_reasons", "text"),
    ("principal_fen", "bigint"),
    ("term_months", "int"),
    ("purpose", "text"),
    ("used_in_area", "text"),
    ("assignment_evidence", "text"),
    ("required_covers", "text"),
    ("covers_in_force", "text"),
    ("applied_on", "date"),
    ("sla_due_on", "date"),
    ("rate_ppm", "bigint"),
    ("subsidised", "bool"),
    ("disbursed_on", "date"),
    ("matures_on", "date"),
    ("notice_on", "date"),
    ("outstanding_fen", "bigint"),
    ("accrued_through", "date"),
    ("household_numerator", "bigint"),
    ("household_posted_fen", "bigint"),
    ("treasury_numerator", "bigint"),
    ("treasury_posted_fen", "bigint"),
    ("interest_owed_fen", "bigint"),
    ("overdue_days", "int"),
    ("five_tier_class", "text"),
    ("non_performing_on", "date"),
    ("subrogated_fen", "bigint"),
    ("compensated", "bool"),
    ("covered", "bool"),
    ("method", "text"),
    ("next_due_on", "date"),
    ("suspense_fen", "bigint"),
    ("postings", "int"),
    ("subsidy_rate_ppm", "bigint"),
    ("subsidy_ends_on", "date"),
    ("subsidy_ended_on", "date"),
    ("undrawn_fen", "bigint"),
    ("revolving_until", "date"),
    ("outlet_code", "text"),
)
_NAMES = [name for name, _ in _LOAN_COLUMNS]
_of_row = itemgetter(*_NAMES)
_STATE, _DECIDED = _NAMES.index("state"), _NAMES.index("decided")
_LISTS = [_NAMES.index(each) for each in ("refusal_reasons", "required_covers", "covers_in_force")]
_INTEREST = slice(_NAMES.index("accrued_through"), _NAMES.index("interest_owed_fen") + 1)
_ARRAYS = ", ".join(f"${i}::{kind}[]" for i, (_, kind) in enumerate(_LOAN_COLUMNS, 1))
# Column names are our own constants; values always travel as parameters.
_INSERT_LOANS = f"INSERT INTO loan ({', '.join(_NAMES)}) SELECT * FROM unnest({_ARRAYS})"  # noqa: S608
# What an application fixed is never written again: the update stays in the page (HOT).
_FIXED = {"county_code", "loan_id", "household_id", "area_code", "lender_id", "programme",
          "product_id", "borrower_class", "principal_fen", "term_months", "purpose",
          "used_in_area", "assignment_evidence", "applied_on", "outlet_code"}  # fmt: skip
# What neither money nor time changes of most loans; columns and fields are named alike.
_SELDOM = {"next_step", "decided", "refusal_reasons", "required_covers", "covers_in_force",
           "sla_due_on", "subsidised", "disbursed_on", "matures_on", "notice_on", "compensated",
           "covered", "method", "subsidy_rate_ppm", "subsidy_ends_on",
           "revolving_until"}  # fmt: skip
# What does not change while a loan is paid as agreed, or is as late as it was.
_STANDING = {"state", "rate_ppm", "five_tier_class", "non_performing_on", "subrogated_fen",
             "next_due_on", "suspense_fen", "subsidy_ended_on", "undrawn_fen"}  # fmt: skip
_LOAN_KEY = ("county_code", "loan_id")


class _Update:
    """An update of many loans that leaves out columns, and what it is sent of a loan's values."""

    def __init__(self, without: Collection[str]) -> None:
        columns = [
            (place, name, kind)
            for place, (name, kind) in enumerate(_LOAN_COLUMNS)
            if name not in {*_FIXED, *without} or name in _LOAN_KEY
        ]
        self.width = len(columns)
        self.sent = itemgetter(*(place for place, _, _ in columns))
        self._left_out = attrgetter(*sorted(without)) if without else None
        sets = [f"{name} = now_.{name}" for _, name, _ in columns if name not in _LOAN_KEY]
        arrays = [f"${i}::{kind}[]" for i, (_, _, kind) in enumerate(columns, 1)]
        self.sql = (
            f"UPDATE loan SET {', '.join(sets)} FROM unnest({', '.join(arrays)})"  # noqa: S608
            f" AS now_ ({', '.join(name for _, name, _ in columns)})"
            " WHERE loan.county_code = now_.county_code AND loan.loan_id = now_.loan_id"
        )

    def writes_all(self, loans: Sequence[Loan], was: Mapping[UUID, Loan]) -> bool:
        """Whether nothing that it leaves out has changed of loans."""
        same = self._left_out
        return same is None or all(same(loan) == same(was[loan.loan_id]) for loan in loans)


_UPDATES = (_Update({*_SELDOM, *_STANDING}), _Update(_SELDOM), _Update(()))
"""From the least to all: a column that is not sent is not worked on by the server either."""


def _joined(values: Sequence[str]) -> str:
    return ",".join(values)


def _parted(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _loan_values(loan: Loan) -> tuple[object, ...]:
    held = loan.interest
    return (
        loan.county_code,
        loan.loan_id,
        loan.version,
        loan.household_id,
        loan.area_code,
        loan.lender_id,
        loan.programme,
        loan.product_id,
        loan.borrower_class,
        loan.state,
        loan.next_step,
        _joined([f"{step}={person}" for step, person in loan.decided]),
        _joined(loan.refusal_reasons),
        loan.principal_fen,
        loan.term_months,
        loan.purpose,
        loan.used_in_area,
        loan.assignment_evidence,
        _joined(loan.required_covers),
        _joined(loan.covers_in_force),
        loan.applied_on,
        loan.sla_due_on,
        loan.rate_ppm,
        loan.subsidised,
        loan.disbursed_on,
        loan.matures_on,
        loan.notice_on,
        loan.outstanding_fen,
        held.accrued_through if held else None,
        held.household_numerator if held else 0,
        held.household_posted_fen if held else 0,
        held.treasury_numerator if held else 0,
        held.treasury_posted_fen if held else 0,
        held.owed_fen if held else 0,
        loan.overdue_days,
        loan.five_tier_class,
        loan.non_performing_on,
        loan.subrogated_fen,
        loan.compensated,
        loan.covered,
        loan.method,
        loan.next_due_on,
        loan.suspense_fen,
        loan.postings,
        loan.subsidy_rate_ppm,
        loan.subsidy_ends_on,
        loan.subsidy_ended_on,
        loan.undrawn_fen,
        loan.revolving_until,
        loan.outlet_code,
    )


def loan_of(row: asyncpg.Record) -> Loan:
    # Fields and columns have one order: a loan is read as often as anything is.
    values = list(_of_row(row))
    values[_STATE] = LoanState(values[_STATE])
    values[_DECIDED] = tuple(
        (step, person)
        for step, _, person in (each.partition("=") for each in _parted(values[_DECIDED]))
    )
    for place in _LISTS:
        values[place] = _parted(values[place])
    begun = values[_INTEREST][0] is not None
    values[_INTEREST] = [Interest(*values[_INTEREST]) if begun else None]
    return Loan(*values)


async def insert_loans(session: AsyncSession, loans: Sequence[Loan]) -> None:
    """Write new loans."""
    if loans:
        values = [_loan_values(loan) for loan in loans]
        await database.write(session, _INSERT_LOANS, *database.columns(values, len(_LOAN_COLUMNS)))


async def save_loans(
    session: AsyncSession, loans: Sequence[Loan], was: Mapping[UUID, Loan] | None = None
) -> None:
    """
    Write what has changed of loans that are locked.

    Who knows how they were read tells it: where only the usual changed, only that is sent.
    """
    if loans:
        wide = _UPDATES[-1]
        update = wide if was is None else next(u for u in _UPDATES if u.writes_all(loans, was))
        values = [update.sent(_loan_values(loan)) for loan in loans]
        touched = await database.execute(
            session, update.sql, *database.columns(values, update.width)
        )
        assert touched == len(loans), "a loan that is saved exists"


async def lock_loans(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID]
) -> dict[UUID, Loan]:
    """Read loans in id order and hold their rows until the transaction ends."""
    if not loan_ids:
        return {}
    rows = await database.fetch(
        session,
        """SELECT * FROM loan WHERE county_code = $1 AND loan_id = ANY($2::uuid[])
           ORDER BY loan_id FOR UPDATE""",
        county_code,
        list(loan_ids),
    )
    return {row["loan_id"]: loan_of(row) for row in rows}


async def find_loan(session: AsyncSession, county_code: str, loan_id: UUID) -> Loan | None:
    """One loan, not locked."""
    rows = await database.fetch(
        session,
        "SELECT * FROM loan WHERE county_code = $1 AND loan_id = $2",
        county_code,
        loan_id,
    )
    return loan_of(rows[0]) if rows else None


async def list_loans(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    household_id: UUID | None,
    state: LoanState | None,
    after: UUID | None,
    limit: int,
) -> list[Loan]:
    """Loans within any of some areas, of one lender or all, in id order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM loan WHERE county_code = $1
             AND EXISTS (SELECT FROM unnest($2::text[]) AS a (code)
                         WHERE starts_with(loan.area_code, a.code))
             AND ($3 = '' OR lender_id = $3)
             AND ($4::uuid IS NULL OR household_id = $4)
             AND ($5::text IS NULL OR state = $5)
             AND ($6::uuid IS NULL OR loan_id > $6)
           ORDER BY loan_id LIMIT $7""",
        county_code,
        list(areas),
        lender_id,
        household_id,
        state,
        after,
        limit,
    )
    return [loan_of(row) for row in rows]


async def due_ids(
    session: AsyncSession, county_code: str, day: date, limit: int, after: UUID | None
) -> list[UUID]:
    """Active loans of which something was due before a day, in id order, not held."""
    rows = await database.fetch(
        session,
        """SELECT loan_id FROM loan WHERE county_code = $1 AND state = 'active'
             AND next_due_on < $2 AND loan_id > $4
           ORDER BY loan_id LIMIT $3""",
        county_code,
        day,
        limit,
        # Not `$4 IS NULL OR`: a plan that is kept for any value would begin at the first loan.
        after or FIRST_ID,
    )
    return [row["loan_id"] for row in rows]


async def lock_ended_limits(
    session: AsyncSession, county_code: str, day: date, limit: int
) -> list[Loan]:
    """Limits whose last valid day is before a day and that still have room, in id order, held."""
    rows = await database.fetch(
        session,
        """SELECT * FROM loan WHERE county_code = $1 AND state = 'active' AND undrawn_fen > 0
             AND revolving_until < $2
           ORDER BY loan_id LIMIT $3 FOR UPDATE""",
        county_code,
        day,
        limit,
    )
    return [loan_of(row) for row in rows]


async def closed_through(session: AsyncSession, county_code: str) -> date | None:
    """Up to which day the county's books are closed; None when they never were."""
    rows = await database.fetch(
        session,
        "SELECT closed_through FROM accounting_period WHERE county_code = $1",
        county_code,
    )
    return rows[0]["closed_through"] if rows else None


async def close_period(session: AsyncSession, county_code: str, through: date) -> bool:
    """Close the books through a day; False when they are closed that far or further already."""
    touched = await database.execute(
        session,
        """INSERT INTO accounting_period (county_code, closed_through) VALUES ($1, $2)
           ON CONFLICT (county_code) DO UPDATE SET closed_through = excluded.closed_through
           WHERE accounting_period.closed_through < excluded.closed_through""",
        county_code,
        through,
    )
    return touched == 1


def posting_of(row: asyncpg.Record) -> Posting:
    return Posting(
        number=row["number"],
        kind=PostingKind(row["kind"]),
        value_date=row["value_date"],
        amount_fen=Fen(row["amount_fen"]),
        fixed=Amounts(
            interest_fen=Fen(row["interest_fen"]), principal_fen=Fen(row["principal_fen"])
        ),
        rate_ppm=row["rate_ppm"],
        reverses=row["reverses"],
        reference=row["reference"],
    )


async def postings_of(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID]
) -> dict[UUID, list[Posting]]:
    """The books of some loans, in order of booking; a loan without one has an empty list."""
    books: dict[UUID, list[Posting]] = {loan_id: [] for loan_id in loan_ids}
    rows = await database.fetch(
        session,
        """SELECT * FROM posting WHERE county_code = $1 AND loan_id = ANY($2::uuid[])
           ORDER BY loan_id, number""",
        county_code,
        list(loan_ids),
    )
    for row in rows:
        books[row["loan_id"]].append(posting_of(row))
    return books


async def add_postings(
    session: AsyncSession,
    county_code: str,
    rows: Sequence[tuple[UUID, Posting, str]],
    booked_on: date,
) -> None:
    """Write postings, each with the person who made it, empty for none."""
    if not rows:
        return
    values = [
        (
            county_code,
            loan_id,
            posting.number,
            posting.kind,
            posting.value_date,
            booked_on,
            posting.amount_fen,
            posting.fixed.interest_fen,
            posting.fixed.principal_fen,
            posting.rate_ppm,
            posting.reverses,
            posting.reference,
            person_id,
        )
        for loan_id, posting, person_id in rows
    ]
    await database.write(
        session,
        """INSERT INTO posting (county_code, loan_id, number, kind, value_date, booked_on,
                                amount_fen, interest_fen, principal_fen, rate_ppm, reverses,
                                reference, person_id)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::int[], $4::text[], $5::date[],
                                $6::date[], $7::bigint[], $8::bigint[], $9::bigint[],
                                $10::bigint[], $11::int[], $12::text[], $13::text[])""",
        *database.columns(values, 13),
    )


async def lock_noticed(session: AsyncSession, county_code: str, day: date) -> list[Loan]:
    """Active loans whose maturity is told on a day, or was to be told before it, held."""
    rows = await database.fetch(
        session,
        """SELECT * FROM loan WHERE county_code = $1 AND state = 'active' AND notice_on <= $2
           ORDER BY loan_id FOR UPDATE""",
        county_code,
        day,
    )
    return [loan_of(row) for row in rows]


def _borrower(row: asyncpg.Record) -> Borrower:
    return Borrower(
        county_code=row["county_code"],
        household_id=row["household_id"],
        area_code=row["area_code"],
        status=row["status"],
        limit_fen=Fen(row["limit_fen"]),
        grade=row["grade"],
        limit_valid_until=row["limit_valid_until"],
        exposure_fen=Fen(row["exposure_fen"]),
        people=row["people"],
        entity_kind=row["entity_kind"],
        held_by=_parted(row["held_by"]),
    )


async def lock_borrowers(
    session: AsyncSession, county_code: str, household_ids: Collection[UUID]
) -> dict[UUID, Borrower]:
    """Read borrowers in id order and hold them: their exposure is about to change."""
    rows = await database.fetch(
        session,
        """SELECT * FROM borrower WHERE county_code = $1 AND household_id = ANY($2::uuid[])
           ORDER BY household_id FOR UPDATE""",
        county_code,
        list(household_ids),
    )
    return {row["household_id"]: _borrower(row) for row in rows}


async def add_exposure(
    session: AsyncSession, county_code: str, changes: Sequence[tuple[UUID, int]]
) -> None:
    """Change what households are exposed to; several changes of one household are summed."""
    moved = [(household, change) for household, change in changes if change]
    if moved:
        await database.write(
            session,
            """UPDATE borrower SET exposure_fen = exposure_fen + by.change
               FROM (SELECT household_id, sum(change)::bigint AS change
                     FROM unnest($2::uuid[], $3::bigint[]) AS each (household_id, change)
                     GROUP BY household_id) AS by
               -- Named twice: by the list alone they are looked up, and not the county read.
               WHERE county_code = $1 AND borrower.household_id = ANY ($2::uuid[])
                 AND borrower.household_id = by.household_id""",
            county_code,
            [household for household, _ in moved],
            [change for _, change in moved],
        )


async def save_households(
    session: AsyncSession,
    rows: Sequence[tuple[str, UUID, str, str]],
    people: Sequence[int] = (),
) -> None:
    """Write where households are and how they stand (county, id, area or '', status), and how many
    people live in each where that was said."""
    counts = people or [0] * len(rows)
    values = [(*row, count) for row, count in zip(rows, counts, strict=True)]
    await database.execute(
        session,
        """INSERT INTO borrower (county_code, household_id, area_code, status, people)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::int[])
           ON CONFLICT (county_code, household_id) DO UPDATE SET
             area_code = coalesce(nullif(excluded.area_code, ''), borrower.area_code),
             status = excluded.status,
             people = coalesce(nullif(excluded.people, 0), borrower.people)""",
        *database.columns(values, 5),
    )


async def save_entities(session: AsyncSession, rows: Sequence[tuple[str, UUID, str, str]]) -> None:
    """Write entities that may borrow (county, id, area, kind); they have no household's status."""
    await database.execute(
        session,
        """INSERT INTO borrower (county_code, household_id, area_code, entity_kind)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[])
           ON CONFLICT (county_code, household_id) DO UPDATE SET
             area_code = excluded.area_code, entity_kind = excluded.entity_kind""",
        *database.columns(rows, 4),
    )


async def save_limits(
    session: AsyncSession, rows: Sequence[tuple[str, UUID, int, str, date | None, str]]
) -> None:
    """Write limits as credit says (county, household, limit, grade, last day, what holds it)."""
    await database.execute(
        session,
        """INSERT INTO borrower (county_code, household_id, limit_fen, grade, limit_valid_until,
                                 held_by)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::date[],
                                $6::text[])
           ON CONFLICT (county_code, household_id) DO UPDATE SET
             limit_fen = excluded.limit_fen, grade = excluded.grade,
             limit_valid_until = excluded.limit_valid_until, held_by = excluded.held_by""",
        *database.columns(rows, 6),
    )


async def limits_held(
    session: AsyncSession, county_code: str, household_ids: Collection[UUID]
) -> dict[UUID, tuple[str, ...]]:
    """Of households, those whose limit something took away, and what; not held."""
    rows = await database.fetch(
        session,
        """SELECT household_id, held_by FROM borrower
           WHERE county_code = $1 AND household_id = ANY($2::uuid[]) AND held_by <> ''""",
        county_code,
        list(household_ids),
    )
    return {row["household_id"]: _parted(row["held_by"]) for row in rows}


def breaker_of(row: asyncpg.Record) -> Breaker:
    return Breaker(
        county_code=row["county_code"],
        scope=BreakerScope(row["scope"]),
        scope_id=row["scope_id"],
        tripped=row["tripped"],
        epoch=row["epoch"],
        effects=_parted(row["effects"]),
        numerator=row["numerator"],
        denominator=row["denominator"],
        version=row["version"],
    )


async def share_breakers(
    session: AsyncSession,
    county_code: str,
    scopes: Collection[tuple[str, str]],
    watched: Collection[str],
) -> dict[tuple[str, str], Breaker]:
    """
    Read the breakers of scopes so that none can trip before this transaction ends.

    A scope of a watched kind without a row gets one first: a trip must have something to wait for.
    """
    kinds = [scope for scope, _ in scopes]
    names = [name for _, name in scopes]
    await database.execute(
        session,
        """INSERT INTO breaker (county_code, scope, scope_id)
           SELECT $1, s.scope, s.scope_id
           FROM unnest($2::text[], $3::text[]) AS s (scope, scope_id)
           WHERE s.scope = ANY($4::text[])
             AND NOT EXISTS (SELECT FROM breaker AS b WHERE b.county_code = $1
                             AND b.scope = s.scope AND b.scope_id = s.scope_id)
           ORDER BY s.scope, s.scope_id
           ON CONFLICT DO NOTHING""",
        county_code,
        kinds,
        names,
        list(watched),
    )
    rows = await database.fetch(
        session,
        """SELECT b.* FROM breaker AS b
           JOIN unnest($2::text[], $3::text[]) AS s (scope, scope_id) USING (scope, scope_id)
           WHERE county_code = $1 ORDER BY scope, scope_id FOR SHARE OF b""",
        county_code,
        kinds,
        names,
    )
    return {(row["scope"], row["scope_id"]): breaker_of(row) for row in rows}


async def tripped_breakers(session: AsyncSession, county_code: str) -> list[Breaker]:
    """Breakers that are tripped now."""
    rows = await database.fetch(
        session,
        "SELECT * FROM breaker WHERE county_code = $1 AND tripped ORDER BY scope, scope_id",
        county_code,
    )
    return [breaker_of(row) for row in rows]


async def trip_breakers(session: AsyncSession, breakers: Sequence[Breaker]) -> list[Breaker]:
    """Trip scopes: their rows are taken for update and their epoch is raised."""
    values = [
        (b.county_code, b.scope, b.scope_id, _joined(b.effects), b.numerator, b.denominator)
        for b in sorted(breakers, key=lambda b: (b.scope, b.scope_id))
    ]
    rows = await database.fetch(
        session,
        """INSERT INTO breaker (county_code, scope, scope_id, effects, numerator, denominator,
                                tripped, epoch, version)
           SELECT t.*, true, 1, 1 FROM unnest($1::text[], $2::text[], $3::text[], $4::text[],
                                              $5::bigint[], $6::bigint[]) AS t
           ON CONFLICT (county_code, scope, scope_id) DO UPDATE SET
             tripped = true, epoch = breaker.epoch + 1, version = breaker.version + 1,
             effects = excluded.effects, numerator = excluded.numerator,
             denominator = excluded.denominator
           RETURNING *""",
        *database.columns(values, 6),
    )
    return [breaker_of(row) for row in rows]


async def area_balances(
    session: AsyncSession, county_code: str, programme_id: str
) -> list[AreaBalance]:
    """Principal owed by village under a programme, and the bad part of it (S16)."""
    rows = await database.fetch(
        session,
        """SELECT left(area_code, 12) AS village, sum(outstanding_fen)::bigint AS owed,
                  coalesce(sum(outstanding_fen) FILTER (WHERE non_performing_on IS NOT NULL), 0)
                      ::bigint AS bad
           FROM loan WHERE county_code = $1 AND state = 'active'
             AND split_part(programme, '@', 1) = $2
           GROUP BY village ORDER BY village""",
        county_code,
        programme_id,
    )
    return [AreaBalance(row["village"], Fen(row["owed"]), Fen(row["bad"])) for row in rows]


async def any_non_performing(session: AsyncSession, county_code: str) -> bool:
    """Whether a county has an active loan that is non-performing."""
    rows = await database.fetch(
        session,
        """SELECT FROM loan WHERE county_code = $1 AND state = 'active'
             AND non_performing_on IS NOT NULL LIMIT 1""",
        county_code,
    )
    return bool(rows)


async def villages(session: AsyncSession, county_code: str) -> list[str]:
    """Every village of the county that has a household, with loans or without."""
    rows = await database.fetch(
        session,
        # From one area to the next in the index: very many households live in each.
        """WITH RECURSIVE found AS (
               SELECT min(area_code) AS area_code FROM borrower
               WHERE county_code = $1 AND area_code > ''
               UNION ALL
               SELECT (SELECT min(b.area_code) FROM borrower AS b
                       WHERE b.county_code = $1 AND b.area_code > found.area_code)
               FROM found WHERE found.area_code IS NOT NULL
           ) SELECT DISTINCT left(area_code, 12) AS village FROM found
             WHERE area_code IS NOT NULL ORDER BY village""",
        county_code,
    )
    return [row["village"] for row in rows]


async def save_allocations(
    session: AsyncSession, county_code: str, allocations: Sequence[Allocation]
) -> None:
    """Write what payouts came to; a payout is allocated once."""
    heads = [
        (
            county_code,
            a.payout.payout_id,
            a.payout.household_id,
            a.payout.amount_fen,
            a.payout.amount_fen - a.household_fen,
            a.household_fen,
            a.payout.value_date,
        )
        for a in allocations
    ]
    await database.write(
        session,
        """INSERT INTO allocation (county_code, payout_id, household_id, amount_fen, lenders_fen,
                                   household_fen, value_date)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[],
                                $6::bigint[], $7::date[])""",
        *database.columns(heads, 7),
    )
    parts = [
        (
            county_code,
            a.payout.payout_id,
            part.loan_id,
            part.lender_id,
            part.interest_fen,
            part.principal_fen,
            part.subrogated_fen,
        )
        for a in allocations
        for part in a.parts
    ]
    if parts:
        await database.write(
            session,
            """INSERT INTO allocation_part (county_code, payout_id, loan_id, lender_id,
                                            interest_fen, principal_fen, subrogated_fen)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[],
                                    $6::bigint[], $7::bigint[])""",
            *database.columns(parts, 7),
        )


async def subrogated_by(
    session: AsyncSession, county_code: str, loan_ids: Sequence[UUID]
) -> dict[tuple[UUID, int], Fen]:
    """By loan and number of a posting: what of it went to those who compensated the lender."""
    rows = await database.fetch(
        session,
        """SELECT debit_id, split_part(cause_id, ':', 2)::int AS number,
                  sum(amount_fen)::bigint AS amount_fen FROM journal
           WHERE county_code = $1 AND debit_id = ANY ($2::text[])
             AND debit_account = 'subrogated_debt' AND credit_account = 'recovery_payable'
             AND kind IN ('repayment', 'recovery')
           GROUP BY debit_id, cause_id""",
        county_code,
        [str(each) for each in loan_ids],
    )
    return {(UUID(row["debit_id"]), row["number"]): Fen(row["amount_fen"]) for row in rows}


async def save_compensations(
    session: AsyncSession, county_code: str, rows: Sequence[tuple[Compensation, int]]
) -> None:
    """Write compensations, each with what others than the lender bear."""
    values = [(county_code, c.case_id, c.loan_id, c.loss_fen, others) for c, others in rows]
    await database.execute(
        session,
        """INSERT INTO compensation (county_code, case_id, loan_id, loss_fen, others_fen)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[])""",
        *database.columns(values, 5),
    )


_TOTALS = """
WITH book AS (
    SELECT owner, sum(amount) AS balance FROM (
        SELECT debit_id AS owner, amount_fen AS amount FROM journal
        WHERE county_code = $1
          AND debit_account IN ('loan_principal', 'loan_interest', 'suspense')
        UNION ALL
        SELECT credit_id, -amount_fen FROM journal
        WHERE county_code = $1
          AND credit_account IN ('loan_principal', 'loan_interest', 'suspense')
    ) AS sides GROUP BY owner
), loans AS (
    SELECT * FROM loan WHERE county_code = $1
), principal AS (
    SELECT business_date, sum(amount) AS moved FROM (
        SELECT business_date, amount_fen AS amount FROM journal
        WHERE county_code = $1 AND debit_account = 'loan_principal'
        UNION ALL
        SELECT business_date, -amount_fen FROM journal
        WHERE county_code = $1 AND credit_account = 'loan_principal'
    ) AS sides GROUP BY business_date
), kept AS (
    SELECT kept_on, sum(balance_fen) AS balance FROM kept_figures
    WHERE county_code = $1 GROUP BY kept_on
)
SELECT
    (SELECT coalesce(sum(abs(kept.balance - coalesce((
        SELECT sum(moved) FROM principal WHERE business_date <= kept.kept_on), 0))), 0)
     FROM kept) AS kept_difference_fen,
    (SELECT count(*) FROM borrower WHERE county_code = $1 AND status <> '') AS borrowers_count,
    (SELECT coalesce(sum(limit_fen), 0) FROM borrower WHERE county_code = $1) AS limit_fen,
    (SELECT count(*) FROM loans) AS applications_count,
    (SELECT count(*) FROM loans WHERE disbursed_on IS NOT NULL) AS disbursed_count,
    (SELECT coalesce(sum(principal_fen - undrawn_fen), 0) FROM loans
        WHERE disbursed_on IS NOT NULL) AS disbursed_fen,
    (SELECT coalesce(sum(outstanding_fen), 0) FROM loans) AS outstanding_principal_fen,
    (SELECT coalesce(sum(interest_owed_fen), 0) FROM loans) AS interest_owed_fen,
    (SELECT coalesce(sum(principal_fen), 0) FROM loans WHERE covered AND NOT compensated
        AND state IN ('in_review', 'approved', 'active', 'written_off')) AS covered_principal_fen,
    (SELECT count(*) FROM allocation WHERE county_code = $1) AS payouts_allocated_count,
    (SELECT count(*) FROM allocation WHERE county_code = $1 AND reversed_on IS NOT NULL)
        AS payouts_reversed_count,
    (SELECT coalesce(sum(lenders_fen), 0) FROM allocation
     WHERE county_code = $1 AND reversed_on IS NOT NULL) AS reversed_lenders_fen,
    (SELECT coalesce(sum(amount_fen), 0) FROM allocation WHERE county_code = $1)
        AS payout_amount_fen,
    (SELECT coalesce(sum(lenders_fen), 0) FROM allocation WHERE county_code = $1)
        AS payout_lenders_fen,
    (SELECT coalesce(sum(household_fen), 0) FROM allocation WHERE county_code = $1)
        AS payout_household_fen,
    (SELECT coalesce(sum(others_fen), 0) FROM compensation WHERE county_code = $1)
        AS compensated_fen,
    (SELECT count(*) FROM compensation WHERE county_code = $1) AS compensations_count,
    (SELECT coalesce(sum(subrogated_fen), 0) FROM loans) AS subrogated_fen,
    (SELECT coalesce(sum(suspense_fen), 0) FROM loans) AS suspense_fen,
    (SELECT coalesce(sum(abs(outstanding_fen + interest_owed_fen - suspense_fen
                             - coalesce(balance, 0))), 0)
     FROM loans LEFT JOIN book ON owner = loan_id::text) AS book_difference_fen,
    (SELECT coalesce(sum(abs(b.exposure_fen - coalesce(l.exposure, 0))), 0)
     FROM (SELECT * FROM borrower WHERE county_code = $1) AS b
     LEFT JOIN (SELECT household_id, sum(CASE WHEN disbursed_on IS NULL THEN principal_fen
                                              ELSE outstanding_fen + undrawn_fen END)
                    AS exposure
                FROM loans WHERE state NOT IN ('refused', 'settled') GROUP BY household_id) AS l
       USING (household_id)) AS exposure_difference_fen
"""


async def totals(session: AsyncSession, county_code: str) -> dict[str, int]:
    """The control totals of a county, by name."""
    rows = await database.fetch(session, _TOTALS, county_code)
    return {f"loans.{name}": int(value) for name, value in rows[0].items()}
