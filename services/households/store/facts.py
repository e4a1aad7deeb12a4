"""Facts, and what is contested of the registry: the SQL."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import (
    Content,
    Dispute,
    DisputeOutcome,
    DisputeSide,
    DisputeSubject,
    Fact,
    FactKind,
    Provenance,
)
from services.households.store import records
from services.kernel import database

Open = Callable[[bytes, UUID], Content]
"""Opens what a fact says."""
OpenText = Callable[[bytes, UUID], str]


async def insert_facts(
    session: AsyncSession, county_code: str, facts: Sequence[tuple[Fact, bytes]]
) -> None:
    """Keep facts, each with what it says sealed."""
    await records.insert(
        session,
        "fact",
        [
            {
                "county_code": county_code,
                "fact_id": fact.fact_id,
                "household_id": fact.household_id,
                "person_id": fact.person_id,
                "kind": fact.kind,
                "sealed": sealed,
                "valid_from": fact.valid_from,
                "valid_to": fact.valid_to,
                "source_role": fact.source_role,
                "replaces_id": fact.replaces_id,
                **records.provenance_row(fact.provenance),
            }
            for fact, sealed in facts
        ],
    )


def _fact(row: Any, open_content: Open) -> Fact:
    return Fact(
        fact_id=row["fact_id"],
        household_id=row["household_id"],
        person_id=row["person_id"],
        kind=FactKind(row["kind"]),
        content=open_content(row["sealed"], row["fact_id"]),
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
        source_role=row["source_role"],
        provenance=records.provenance_of(row),
        replaces_id=row["replaces_id"],
    )


async def list_facts(
    session: AsyncSession,
    county_code: str,
    household_id: UUID,
    open_content: Open,
    *,
    known_by: date = records.NOW,
    kinds: Sequence[FactKind] = tuple(FactKind),
    own_of: str = "",
    replaced: bool = False,
    after: UUID = records.START,
    limit: int = 1000,
) -> list[Fact]:
    """Facts about a household of some kinds, or of one institution, as known on a day."""
    rows = await database.fetch(
        session,
        """SELECT * FROM fact AS f
           WHERE county_code = $1 AND household_id = $2 AND business_date <= $3
             AND (kind = ANY ($4::text[]) OR source_id = $5) AND fact_id > $6
             AND ($7 OR NOT EXISTS (
                 SELECT FROM fact AS n WHERE n.county_code = $1 AND n.replaces_id = f.fact_id
                   AND n.business_date <= $3))
           ORDER BY fact_id LIMIT $8""",
        county_code,
        household_id,
        known_by,
        [kind.value for kind in kinds],
        own_of,
        after,
        replaced,
        limit,
    )
    return [_fact(row, open_content) for row in rows]


async def load_fact(
    session: AsyncSession, county_code: str, fact_id: UUID, open_content: Open
) -> tuple[Fact, bool] | None:
    """A fact, and whether another replaced it."""
    rows = await database.fetch(
        session,
        """SELECT *, EXISTS (SELECT FROM fact AS n WHERE n.county_code = $1
                             AND n.replaces_id = f.fact_id) AS replaced
           FROM fact AS f WHERE county_code = $1 AND fact_id = $2""",
        county_code,
        fact_id,
    )
    return (_fact(rows[0], open_content), rows[0]["replaced"]) if rows else None


# --- disputes -------------------------------------------------------------------------------------


async def insert_dispute(
    session: AsyncSession, county_code: str, dispute: Dispute, sealed: bytes
) -> None:
    """Keep what is contested, the statement sealed."""
    await records.insert(
        session,
        "dispute",
        [
            {
                "county_code": county_code,
                "dispute_id": dispute.dispute_id,
                "household_id": dispute.household_id,
                "area_code": dispute.area_code,
                "subject": dispute.subject,
                "subject_id": dispute.subject_id,
                "side": dispute.side,
                "subject_source_id": dispute.subject_source_id,
                "sealed": sealed,
                "due_on": dispute.due_on,
                **records.provenance_row(dispute.provenance),
            }
        ],
    )


async def insert_answer(
    session: AsyncSession,
    county_code: str,
    dispute_id: UUID,
    outcome: DisputeOutcome,
    sealed: bytes,
    *,
    provenance: Provenance,
) -> None:
    """Keep the answer, sealed."""
    row = {
        "county_code": county_code,
        "dispute_id": dispute_id,
        "outcome": outcome,
        "sealed": sealed,
        **records.provenance_row(provenance),
    }
    await records.insert(session, "dispute_answer", [row])


async def open_disputes(
    session: AsyncSession, county_code: str, household_id: UUID, known_by: date = records.NOW
) -> frozenset[tuple[DisputeSubject, UUID]]:
    """What of a household is contested and has no answer, as known on a day."""
    rows = await database.fetch(
        session,
        """SELECT subject, subject_id FROM dispute AS d
           WHERE county_code = $1 AND household_id = $2 AND business_date <= $3
             AND NOT EXISTS (SELECT FROM dispute_answer AS a WHERE a.county_code = $1
                             AND a.dispute_id = d.dispute_id AND a.business_date <= $3)""",
        county_code,
        household_id,
        known_by,
    )
    return frozenset((DisputeSubject(row["subject"]), row["subject_id"]) for row in rows)


_DISPUTES = """
SELECT d.*, a.outcome, a.sealed AS answer_sealed, a.source_id AS answer_source_id,
       a.acted_by AS answer_acted_by, a.evidence AS answer_evidence,
       a.business_date AS answer_business_date, a.recorded_at AS answer_recorded_at
FROM dispute AS d LEFT JOIN dispute_answer AS a
     ON a.county_code = d.county_code AND a.dispute_id = d.dispute_id
WHERE d.county_code = $1
"""


def _dispute(row: Any, open_text: OpenText, open_answer: OpenText) -> Dispute:
    answered = row["outcome"] is not None
    return Dispute(
        dispute_id=row["dispute_id"],
        household_id=row["household_id"],
        area_code=row["area_code"],
        subject=DisputeSubject(row["subject"]),
        subject_id=row["subject_id"],
        subject_source_id=row["subject_source_id"],
        side=DisputeSide(row["side"]),
        statement=open_text(row["sealed"], row["dispute_id"]),
        due_on=row["due_on"],
        provenance=records.provenance_of(row),
        outcome=DisputeOutcome(row["outcome"]) if answered else None,
        answer=open_answer(row["answer_sealed"], row["dispute_id"]) if answered else "",
        answered=records.provenance_of(row, "answer_") if answered else None,
    )


async def load_dispute(
    session: AsyncSession,
    county_code: str,
    dispute_id: UUID,
    open_text: OpenText,
    open_answer: OpenText,
) -> Dispute | None:
    """One dispute with its answer."""
    rows = await database.fetch(
        session, f"{_DISPUTES} AND d.dispute_id = $2", county_code, dispute_id
    )
    return _dispute(rows[0], open_text, open_answer) if rows else None


async def list_disputes(
    session: AsyncSession,
    county_code: str,
    open_text: OpenText,
    open_answer: OpenText,
    *,
    household_id: UUID | None,
    party: str,
    prefixes: Sequence[str],
    answered: bool,
    after: UUID,
    limit: int,
) -> list[Dispute]:
    """Disputes of areas (prefixes), or in which an institution is a party, oldest first."""
    rows = await database.fetch(
        session,
        f"""{_DISPUTES}
              AND ($2::uuid IS NULL OR d.household_id = $2)
              AND (d.source_id = $3 OR d.subject_source_id = $3
                   OR EXISTS (SELECT FROM unnest($4::text[]) AS seen (prefix)
                              WHERE starts_with(d.area_code, prefix)))
              AND ($5 OR a.outcome IS NULL) AND d.dispute_id > $6
            ORDER BY d.dispute_id LIMIT $7""",
        county_code,
        household_id,
        party,
        list(prefixes),
        answered,
        after,
        limit,
    )
    return [_dispute(row, open_text, open_answer) for row in rows]
