"""Credit: SQL of measures and of what external models say."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import Actor, ExternalScore, Measure, MeasureKind, MeasureState
from services.kernel.database import columns, execute, fetch
from services.kernel.money import Fen

_MEASURE = """
SELECT county_code, measure_id, household_id, area_code, kind, code, programme, state, reason,
       evidence_sha256, effects, amount_fen, proposed_on, from_on, until_on, relation, origin_id,
       proposed_by, proposed_role, proposed_person, decided_by, decided_person, decision_reason,
       ended_on, end_reason, end_evidence_sha256, ended_by
FROM measure
"""


def _measure(row: asyncpg.Record) -> Measure:
    return Measure(
        county_code=row["county_code"],
        measure_id=row["measure_id"],
        household_id=row["household_id"],
        area_code=row["area_code"],
        kind=MeasureKind(row["kind"]),
        code=row["code"],
        programme=row["programme"],
        state=MeasureState(row["state"]),
        reason=row["reason"],
        evidence_sha256=row["evidence_sha256"],
        effects=tuple(row["effects"]),
        amount_fen=Fen(row["amount_fen"]),
        proposed_on=row["proposed_on"],
        from_on=row["from_on"],
        until_on=row["until_on"],
        relation=row["relation"],
        origin_id=row["origin_id"],
        proposed=Actor(row["proposed_by"], row["proposed_role"], row["proposed_person"]),
        decided_by=row["decided_by"],
        decided_person=row["decided_person"],
        decision_reason=row["decision_reason"],
        ended_on=row["ended_on"],
        end_reason=row["end_reason"],
        end_evidence_sha256=row["end_evidence_sha256"],
        ended_by=row["ended_by"],
    )


async def lock_measure(session: AsyncSession, county_code: str, measure_id: UUID) -> list[Measure]:
    """A measure and those of relatives that go with it, itself first; they are held."""
    rows = await fetch(
        session,
        f"""{_MEASURE} WHERE county_code = $1 AND (measure_id = $2 OR origin_id = $2)
            ORDER BY origin_id NULLS FIRST, measure_id FOR UPDATE""",
        county_code,
        measure_id,
    )
    return [_measure(row) for row in rows]


async def find_measures(
    session: AsyncSession, county_code: str, household_ids: Sequence[UUID]
) -> dict[UUID, list[Measure]]:
    """The measures of households that are in force, by household."""
    rows = await fetch(
        session,
        f"""{_MEASURE} WHERE county_code = $1 AND household_id = ANY($2::uuid[])
            AND state = 'in_force' ORDER BY measure_id""",
        county_code,
        household_ids,
    )
    found: defaultdict[UUID, list[Measure]] = defaultdict(list)
    for row in rows:
        found[row["household_id"]].append(_measure(row))
    return found


async def list_measures(
    session: AsyncSession,
    county_code: str,
    *,
    household_id: UUID | None,
    within: str,
    on: date | None,
    before: UUID,
    limit: int,
) -> list[Measure]:
    """Measures, the newest first; those that held on a day where one is given."""
    rows = await fetch(
        session,
        f"""{_MEASURE} WHERE county_code = $1 AND measure_id < $2
              AND ($3::uuid IS NULL OR household_id = $3)
              AND area_code >= $4 AND area_code < $4 || ':'
              AND ($5::date IS NULL OR (from_on <= $5 AND (until_on IS NULL OR until_on >= $5)
                   AND (ended_on IS NULL OR ended_on > $5)))
            ORDER BY measure_id DESC LIMIT $6""",
        county_code,
        before,
        household_id,
        within or county_code,
        on,
        limit,
    )
    return [_measure(row) for row in rows]


async def lock_run_out(
    session: AsyncSession, county_code: str, day: date, *, limit: int
) -> list[Measure]:
    """Measures in force whose last day has come, a bounded number."""
    rows = await fetch(
        session,
        f"""{_MEASURE} WHERE county_code = $1 AND state = 'in_force' AND until_on <= $2
            ORDER BY measure_id LIMIT $3 FOR UPDATE""",
        county_code,
        day,
        limit,
    )
    return [_measure(row) for row in rows]


_ADD = """
INSERT INTO measure (county_code, measure_id, household_id, area_code, kind, code, programme, state,
                     reason, evidence_sha256, effects, amount_fen, proposed_on, until_on, relation,
                     origin_id, proposed_by, proposed_role, proposed_person)
SELECT county_code, measure_id, household_id, area_code, kind, code, programme, state, reason,
       evidence_sha256, string_to_array(effects, ','), amount_fen, proposed_on, until_on, relation,
       origin_id, proposed_by, proposed_role, proposed_person
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[], $13::date[],
            $14::date[], $15::text[], $16::uuid[], $17::text[], $18::text[], $19::text[])
     AS m (county_code, measure_id, household_id, area_code, kind, code, programme, state, reason,
           evidence_sha256, effects, amount_fen, proposed_on, until_on, relation, origin_id,
           proposed_by, proposed_role, proposed_person)
"""


async def add_measures(session: AsyncSession, measures: Sequence[Measure]) -> None:
    """Write proposed measures down."""
    rows = [
        (
            m.county_code,
            m.measure_id,
            m.household_id,
            m.area_code,
            m.kind,
            m.code,
            m.programme,
            m.state,
            m.reason,
            m.evidence_sha256,
            ",".join(m.effects),
            m.amount_fen,
            m.proposed_on,
            m.until_on,
            m.relation,
            m.origin_id,
            m.proposed.institution_id,
            m.proposed.role,
            m.proposed.person_id,
        )
        for m in measures
    ]
    await execute(session, _ADD, *columns(rows, 19))


_SAVE = """
UPDATE measure AS m
SET state = n.state, from_on = n.from_on, until_on = n.until_on, decided_by = n.decided_by,
    decided_person = n.decided_person, decision_reason = n.decision_reason, ended_on = n.ended_on,
    end_reason = n.end_reason, end_evidence_sha256 = n.end_evidence_sha256, ended_by = n.ended_by
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::date[], $5::date[], $6::text[], $7::text[],
            $8::text[], $9::date[], $10::text[], $11::text[], $12::text[])
     AS n (county_code, measure_id, state, from_on, until_on, decided_by, decided_person,
           decision_reason, ended_on, end_reason, end_evidence_sha256, ended_by)
WHERE m.county_code = n.county_code AND m.measure_id = n.measure_id
"""


async def save_measures(session: AsyncSession, measures: Sequence[Measure]) -> None:
    """Write what was decided of measures that this transaction holds."""
    rows = [
        (
            m.county_code,
            m.measure_id,
            m.state,
            m.from_on,
            m.until_on,
            m.decided_by,
            m.decided_person,
            m.decision_reason,
            m.ended_on,
            m.end_reason,
            m.end_evidence_sha256,
            m.ended_by,
        )
        for m in measures
    ]
    await execute(session, _SAVE, *columns(rows, 12))


async def add_measure_entries(
    session: AsyncSession,
    measures: Sequence[Measure],
    *,
    by: Actor,
    on: date,
    reason: str,
    evidence_sha256: str,
) -> None:
    """Keep who moved measures to where they stand now."""
    await execute(
        session,
        """INSERT INTO measure_entry (county_code, measure_id, state, acted_on, institution_id,
                                      person_id, reason, evidence_sha256)
           SELECT county_code, measure_id, state, $4, $5, $6, $7, $8
           FROM unnest($1::text[], $2::uuid[], $3::text[])
                AS m (county_code, measure_id, state)""",
        *columns([(m.county_code, m.measure_id, m.state) for m in measures], 3),
        on,
        by.institution_id,
        by.person_id,
        reason,
        evidence_sha256,
    )


async def add_external_score(session: AsyncSession, score: ExternalScore) -> None:
    """Keep a model's score."""
    await execute(
        session,
        """INSERT INTO external_score (county_code, score_id, household_id, model_id, score_centi,
               min_score_centi, max_score_centi, scored_on, evidence_sha256, source_id, person_id)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)""",
        score.county_code,
        score.score_id,
        score.household_id,
        score.model_id,
        score.score_centi,
        score.min_score_centi,
        score.max_score_centi,
        score.scored_on,
        score.evidence_sha256,
        score.source_id,
        score.person_id,
    )


async def find_external_scores(
    session: AsyncSession, county_code: str, household_ids: Sequence[UUID], *, on: date
) -> dict[UUID, list[ExternalScore]]:
    """The newest score of each model up to a day, by household; the newest of all first."""
    rows = await fetch(
        session,
        """SELECT * FROM (
               SELECT DISTINCT ON (household_id, model_id) county_code, score_id, household_id,
                      model_id, score_centi, min_score_centi, max_score_centi, scored_on,
                      evidence_sha256, source_id, person_id
               FROM external_score
               WHERE county_code = $1 AND household_id = ANY($2::uuid[]) AND scored_on <= $3
               ORDER BY household_id, model_id, scored_on DESC, score_id DESC) AS newest
           ORDER BY household_id, scored_on DESC, score_id DESC""",
        county_code,
        household_ids,
        on,
    )
    found: defaultdict[UUID, list[ExternalScore]] = defaultdict(list)
    for row in rows:
        found[row["household_id"]].append(ExternalScore(**dict(row)))
    return found
