"""Credit: SQL of indicators, of what was declared of them, and of what they were when."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import Entry, Indicator, IndicatorRule, Observed, Refresh
from services.credit.rules.indicators import observed
from services.kernel.database import columns, execute, fetch


async def add_indicators(
    session: AsyncSession,
    county_code: str,
    indicators: Sequence[Indicator],
    *,
    source_id: str,
    person_id: str,
) -> None:
    """Write observations down, in the order given."""
    rows = [
        (i.household_id, i.code, i.value, i.observed_on, i.expires_on, i.evidence_sha256)
        for i in indicators
    ]
    await execute(
        session,
        """INSERT INTO indicator (county_code, source_id, person_id, household_id, code, value,
                                  observed_on, expires_on, evidence_sha256)
           SELECT $1, $2, $3, household_id, code, value, observed_on, expires_on, evidence
           FROM unnest($4::uuid[], $5::text[], $6::bigint[], $7::date[], $8::date[], $9::text[])
                WITH ORDINALITY
                AS i (household_id, code, value, observed_on, expires_on, evidence, place)
           ORDER BY place""",
        county_code,
        source_id,
        person_id,
        *columns(rows, 6),
    )


async def find_inputs(
    session: AsyncSession,
    county_code: str,
    household_ids: Sequence[UUID],
    *,
    on: date,
    months: Mapping[str, int],
) -> dict[UUID, dict[str, Observed]]:
    """
    What was observed last of each household up to a day; of one day the later entry counts.

    `months` says for how many an observation counts, by code; a stale one is given as such.
    """
    rows = await fetch(
        session,
        """SELECT DISTINCT ON (household_id, code) household_id, code, value, observed_on, entry,
                  expires_on
           FROM indicator
           WHERE county_code = $1 AND household_id = ANY($2::uuid[]) AND observed_on <= $3
           ORDER BY household_id, code, observed_on DESC, entry DESC""",
        county_code,
        household_ids,
        on,
    )
    found: defaultdict[UUID, dict[str, Observed]] = defaultdict(dict)
    for household_id, code, value, observed_on, entry, stated in rows:
        found[household_id][code] = (
            Observed(value, observed_on, entry)
            if stated is None and code not in months
            else observed(value, observed_on, entry, stated=stated, months=months.get(code), on=on)
        )
    return found


async def find_entries(
    session: AsyncSession, county_code: str, household_id: UUID, entries: Sequence[int]
) -> dict[int, Entry]:
    """Observations of a household as they were recorded, by their entry."""
    rows = await fetch(
        session,
        """SELECT entry, code, value, observed_on, source_id, evidence_sha256 FROM indicator
           WHERE county_code = $1 AND household_id = $2 AND entry = ANY($3::bigint[])""",
        county_code,
        household_id,
        entries,
    )
    return {row["entry"]: Entry(*tuple(row)[1:]) for row in rows}


async def add_rules(
    session: AsyncSession,
    county_code: str,
    programme_id: str,
    rules: Sequence[IndicatorRule],
    *,
    by: str,
    person_id: str,
    on: date,
) -> None:
    """Write declarations down; of one code the last one counts."""
    rows = [
        (r.code, r.name_zh, r.min, r.max, r.unit, r.refresh.value, ",".join(r.suppliers))
        for r in rules
    ]
    await execute(
        session,
        """INSERT INTO indicator_rule (county_code, programme_id, declared_by, person_id,
                                       declared_on, code, name_zh, min, max, unit, refresh,
                                       suppliers)
           SELECT $1, $2, $3, $4, $5, code, name_zh, min, max, unit, refresh,
                  string_to_array(suppliers, ',')
           FROM unnest($6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::text[],
                       $11::text[], $12::text[]) WITH ORDINALITY
                AS r (code, name_zh, min, max, unit, refresh, suppliers, place)
           ORDER BY place""",
        county_code,
        programme_id,
        by,
        person_id,
        on,
        *columns(rows, 7),
    )


async def find_rules(
    session: AsyncSession, county_code: str, programme_ids: Sequence[str]
) -> dict[str, dict[str, IndicatorRule]]:
    """What a county declares now, by programme and code."""
    rows = await fetch(
        session,
        """SELECT DISTINCT ON (programme_id, code) programme_id, code, name_zh, min, max, unit,
                  refresh, suppliers
           FROM indicator_rule WHERE county_code = $1 AND programme_id = ANY($2::text[])
           ORDER BY programme_id, code, entry DESC""",
        county_code,
        programme_ids,
    )
    found: dict[str, dict[str, IndicatorRule]] = {each: {} for each in programme_ids}
    for row in rows:
        found[row["programme_id"]][row["code"]] = IndicatorRule(
            code=row["code"],
            name_zh=row["name_zh"],
            min=row["min"],
            max=row["max"],
            unit=row["unit"],
            refresh=Refresh(row["refresh"]),
            suppliers=tuple(row["suppliers"]),
        )
    return found
