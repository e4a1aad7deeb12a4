"""Self-service: the SQL of visits at stations; they are only added to."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database


@dataclass(frozen=True, slots=True)
class StationVisit:
    """A person at a station, and the consent on which its clerk looks."""

    visit_id: UUID
    county_code: str
    household_id: UUID
    institution_id: str
    person_id: str
    method: str
    evidence_kind: str
    evidence_reference: str
    evidence_sha256: bytes


async def enter_visit(session: AsyncSession, visit: StationVisit) -> None:
    """Keep a visit."""
    await database.execute(
        session,
        """INSERT INTO station_visit (visit_id, county_code, household_id, institution_id,
                                      person_id, method, evidence_kind, evidence_reference,
                                      evidence_sha256)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)""",
        visit.visit_id,
        visit.county_code,
        visit.household_id,
        visit.institution_id,
        visit.person_id,
        visit.method,
        visit.evidence_kind,
        visit.evidence_reference,
        visit.evidence_sha256,
    )


async def references(
    session: AsyncSession, household_id: UUID, visit_ids: Collection[UUID]
) -> dict[UUID, str]:
    """The consents of some visits of a household, by visit."""
    rows = await database.fetch(
        session,
        """SELECT visit_id, evidence_reference FROM station_visit
           WHERE household_id = $1 AND visit_id = ANY($2)""",
        household_id,
        list(visit_ids),
    )
    return {row["visit_id"]: row["evidence_reference"] for row in rows}
