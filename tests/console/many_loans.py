"""
A county of many loans, written by sets: copies of loans that lived, each with a book of its own.

What it writes: rows of `loan`, `borrower` and `journal` in the schema of loans, every copy with ids
of its own and the figures, dates and village of the loan that it is a copy of, so that the journal
still balances; months' ends that were kept are made larger. What it does not write: applications,
events, cover in funds, households in the registry. It is a county's size for pages and reports; it
is no county to audit.
"""

import asyncpg

_COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = 'loans' AND table_name = $1
  AND is_generated = 'NEVER' AND is_identity = 'NO' ORDER BY ordinal_position
"""


async def write(dsn: str, county_code: str, loans: int) -> int:
    """Copy the county's owing loans until there are about so many more; how many were written."""
    connection = await asyncpg.connect(dsn)
    try:
        # For this connection only: the copies' foreign keys hold by the way they are made.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("SET synchronous_commit = off")
        owing = await connection.fetchval(
            "SELECT count(*) FROM loans.loan WHERE county_code = $1 AND state = 'active'",
            county_code,
        )
        times = -(-loans // owing)
        await _copy(connection, county_code, "loan", times, _LOAN)
        await _copy(connection, county_code, "borrower", times, _BORROWER)
        await _copy(connection, county_code, "journal", times, _JOURNAL)
        for table in ("loan", "borrower", "journal"):
            # As autovacuum does after so many new rows; an index alone then answers.
            await connection.execute(f"VACUUM (ANALYZE) loans.{table}", timeout=1_800)
        await _multiply_kept(connection, county_code, times)
        return int(owing * times)
    finally:
        await connection.close()


async def _copy(
    connection: asyncpg.Connection, county_code: str, table: str, times: int, made: dict[str, str]
) -> None:
    columns = [row["column_name"] for row in await connection.fetch(_COLUMNS, table)]
    values = ", ".join(made.get(name, f"t.{name}") for name in columns)
    sources = {
        "loan": "loans.loan AS t WHERE t.county_code = $1 AND t.state = 'active'",
        "borrower": """loans.borrower AS t WHERE t.county_code = $1 AND EXISTS (
            SELECT FROM loans.loan AS l WHERE l.county_code = $1 AND l.state = 'active'
              AND l.household_id = t.household_id)""",
        "journal": """loans.journal AS t JOIN loans.loan AS l ON l.county_code = t.county_code
            AND l.loan_id::text = split_part(t.cause_id, ':', 1)
            WHERE t.county_code = $1 AND l.state = 'active'""",
    }
    await connection.execute(
        f"""WITH template AS MATERIALIZED (SELECT t.* FROM {sources[table]})
            INSERT INTO loans.{table} ({", ".join(columns)})
            SELECT {values} FROM template AS t CROSS JOIN generate_series(1, $2::int) AS n""",
        county_code,
        times,
        timeout=1_800,
    )


async def _multiply_kept(connection: asyncpg.Connection, county_code: str, times: int) -> None:
    """Months' ends that were kept say of every loan that it is so many; settled ones too."""
    names = ", ".join(f"{name} = {name} * ($2 + 1)" for name in _KEPT)
    await connection.execute(
        f"UPDATE loans.kept_figures SET {names} WHERE county_code = $1", county_code, times
    )


def _other(name: str) -> str:
    """Another id, the same for the same id and number."""
    return f"md5(n || ':' || ({name})::text)"


_KEPT = (
    "loans",
    "owing_loans",
    "lent_fen",
    "disbursed_fen",
    "collected_principal_fen",
    "balance_fen",
    "interest_owed_fen",
    "overdue_principal_fen",
    "non_performing_loans",
    "non_performing_fen",
    "covered_fen",
)
_LOAN = {
    "loan_id": f"{_other('t.loan_id')}::uuid",
    "household_id": f"{_other('t.household_id')}::uuid",
}
_BORROWER = {"household_id": f"{_other('t.household_id')}::uuid"}
_CAUSE = "split_part(t.cause_id, ':', 1)"
_ID = f"{_other(_CAUSE)}::uuid::text"
_JOURNAL = {
    "entry_id": f"{_other('t.entry_id')}::uuid",
    "cause_id": f"replace(t.cause_id, {_CAUSE}, {_ID})",
    "debit_id": f"replace(t.debit_id, {_CAUSE}, {_ID})",
    "credit_id": f"replace(t.credit_id, {_CAUSE}, {_ID})",
}
