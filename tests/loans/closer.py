"""A process that closes one day of a county, to be killed: `python -m tests.loans.closer ...`."""

import asyncio
import sys
from datetime import date

from services.kernel.database import Database
from services.loans import jobs
from tests.loans.county import a_catalogue


async def close(dsn: str, county_code: str, day: str, chunk_loans: int) -> None:
    """Age all loans at the end of the day."""
    db = Database(dsn, "loans", pool_size=2)
    work = jobs.work_day(a_catalogue(), chunk_loans=chunk_loans)
    await work(db, county_code, date.fromisoformat(day))
    await db.close()


if __name__ == "__main__":
    asyncio.run(close(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
