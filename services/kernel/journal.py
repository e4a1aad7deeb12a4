"""Journal: the double-entry book of a service. Append-only; every row is balanced in itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database, ids
from services.kernel.money import Fen
from services.kernel.values import light


@light
@dataclass(frozen=True, slots=True)
class Account:
    """One account: what it holds, and whose it is."""

    name: str
    """Kind of the account, e.g. `loan_principal`."""
    owner_id: str
    """The loan, fund, payout or institution."""


@light
@dataclass(frozen=True, slots=True)
class Transfer:
    """An amount that moves from one account (credited) to another (debited)."""

    debit: Account
    credit: Account
    amount_fen: Fen


@light
@dataclass(frozen=True, slots=True)
class Entry:
    """
    Transfers that belong together, with their cause and their dates.

    `kind` and `cause_id` together are posted once for ever: a second posting is an error.
    """

    county_code: str
    kind: str
    cause_id: str
    value_date: date
    business_date: date
    transfers: tuple[Transfer, ...]


_POST = """
INSERT INTO journal (entry_id, line, county_code, kind, cause_id, debit_account, debit_id,
                     credit_account, credit_id, amount_fen, value_date, business_date)
SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::text[], $6::text[],
                     $7::text[], $8::text[], $9::text[], $10::bigint[], $11::date[], $12::date[])
"""


async def post(session: AsyncSession, entries: Sequence[Entry]) -> None:
    """Write entries in the caller's transaction; transfers of nothing are left out."""
    rows: list[tuple[object, ...]] = []
    for entry_id, entry in zip(ids.new_ids(len(entries)), entries, strict=True):
        moved = [transfer for transfer in entry.transfers if transfer.amount_fen]
        for line, transfer in enumerate(moved):
            rows.append(
                (
                    entry_id,
                    line,
                    entry.county_code,
                    entry.kind,
                    entry.cause_id,
                    transfer.debit.name,
                    transfer.debit.owner_id,
                    transfer.credit.name,
                    transfer.credit.owner_id,
                    transfer.amount_fen,
                    entry.value_date,
                    entry.business_date,
                )
            )
    if rows:
        await database.write(session, _POST, *database.columns(rows, 12))


async def balances(session: AsyncSession, county_code: str) -> dict[str, int]:
    """Debits minus credits by account kind; over all kinds they sum to zero."""
    rows = await database.fetch(
        session,
        """SELECT account, sum(amount)::bigint AS balance_fen FROM (
               SELECT debit_account AS account, amount_fen AS amount
               FROM journal WHERE county_code = $1
               UNION ALL
               SELECT credit_account, -amount_fen FROM journal WHERE county_code = $1
           ) AS sides GROUP BY account ORDER BY account""",
        county_code,
    )
    return {row["account"]: int(row["balance_fen"]) for row in rows}


async def seal(session: AsyncSession) -> int:
    """
    Seal the rows committed since the last checkpoint, in commit order; how many there were.

    Rows of transactions that are older than every running one can never be joined by a late
    commit: that is the order, and a seal covers exactly those. Sealers of two processes take turns.
    """
    await database.fetch(
        session,
        "SELECT pg_advisory_xact_lock(hashtext('liandong-journal-seal'), "
        "hashtext(current_schema()))",
    )
    rows = await database.fetch(
        session,
        """WITH last AS (
               SELECT coalesce(max(upto_transaction::text::numeric), 0)::text::xid8 AS upto
               FROM journal_checkpoint
           ), edge AS (
               SELECT pg_snapshot_xmin(pg_current_snapshot()) AS upto
           ), fresh AS (
               SELECT j.* FROM journal AS j, last, edge
               WHERE j.transaction_id >= last.upto AND j.transaction_id < edge.upto
           ), digest AS (
               SELECT count(*) AS rows, sha256(coalesce(string_agg(
                   sha256(convert_to(concat_ws('|', entry_id, line, county_code, kind, cause_id,
                       debit_account, debit_id, credit_account, credit_id, amount_fen,
                       value_date, business_date), 'UTF8')), ''::bytea
                   ORDER BY transaction_id, entry_id, line), ''::bytea)) AS digest FROM fresh
           )
           INSERT INTO journal_checkpoint (upto_transaction, rows_sealed, digest)
           SELECT edge.upto, digest.rows, digest.digest FROM edge, digest WHERE digest.rows > 0
           RETURNING rows_sealed""",
    )
    return int(rows[0]["rows_sealed"]) if rows else 0
