"""Credit: rating households on what was observed, a chunk a call."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import ExternalScore, Observed
from services.credit.operations.shared import (
    found,
    inputs_of,
    require_county,
    save,
    standings,
)
from services.credit.rules import rating, recording
from services.credit.rules.scheme import Scheme, missing_factors, scheme_of
from services.credit.store import files as store
from services.credit.store import limits as limit_store
from services.credit.store import standing as standing_store
from services.kernel import business_day
from services.kernel.caller import Caller, require_role
from services.kernel.errors import Refused, invalid_field
from services.kernel.ids import new_id
from services.programmes.loader import Catalogue

RATERS = ("county_centre",)
MODEL_USERS = ("bank", "county_centre")


@dataclass(frozen=True, slots=True)
class Rated:
    """What a chunk came to."""

    rated: int
    granted: int
    vetoed: int
    incomplete: tuple[UUID, ...]
    """Not rated: the scheme misses a factor of theirs."""
    last_household_id: UUID | None
    """Where to go on; None when there are none left."""


async def rate_households(
    session: AsyncSession,
    caller: Caller,
    catalogue: Catalogue,
    county_code: str,
    *,
    programme_id: str,
    within: str,
    after: UUID,
    limit: int,
) -> Rated:
    """Rate the next households of an area under the programme in force, and set their limits."""
    require_role(caller, RATERS)
    recording.check_area(within, county_code)
    caller.require_area(within or county_code)
    today = await business_day.today(session, county_code)
    ref = catalogue.in_force(county_code, programme_id, today)
    scheme = scheme_of(catalogue.terms(county_code, ref))
    if not scheme.automatic:
        raise Refused(
            "REVIEW_NEEDED",
            f"under {ref} people propose grades: open reviews",
            message_zh="该方案须经人工评议",
        )
    files = await store.lock_chunk(session, county_code, within, after=after, limit=limit)
    ids = [file.household_id for file in files]
    inputs = await inputs_of(session, county_code, ids, scheme=scheme, on=today)
    standing = await standings(session, county_code, ids, today)
    stops = await limit_store.find_stops(session, county_code, ref)
    incomplete = [
        file.household_id for file in files if _misses(scheme, inputs.get(file.household_id, {}))
    ]
    decisions = [
        rating.rate(
            file,
            inputs.get(file.household_id, {}),
            scheme=scheme,
            rating_id=new_id(),
            on=today,
            standing=rating.while_stopped(
                rating.awaiting_review(
                    standing.get(file.household_id, rating.NOTHING), file, scheme=scheme
                ),
                file,
                stops,
            ),
        )
        for file in files
        if file.household_id not in incomplete
    ]
    await save(session, decisions, today, rated_by=caller.institution_id)
    return Rated(
        rated=len(decisions),
        granted=sum(decision.file.limit_fen > 0 for decision in decisions),
        vetoed=sum(bool(decision.file.vetoes) for decision in decisions),
        incomplete=tuple(incomplete),
        last_household_id=files[-1].household_id if len(files) == limit else None,
    )


def _misses(scheme: Scheme, inputs: Mapping[str, Observed]) -> bool:
    return bool(missing_factors(scheme, rating.values_of(inputs)))


async def record_external_score(
    session: AsyncSession, caller: Caller, score: ExternalScore
) -> ExternalScore:
    """Keep an external model's score with the model's id."""
    require_role(caller, MODEL_USERS)
    require_county(caller, score.county_code)
    files = await store.lock_files(session, score.county_code, [score.household_id])
    found(files, score.household_id)
    today = await business_day.today(session, score.county_code)
    if score.scored_on > today:
        raise invalid_field(
            "OBSERVED_IN_FUTURE",
            "scored_on",
            score.scored_on,
            f"must not be after the business date {today}",
            "评分日期不能晚于营业日",
        )
    if not score.min_score_centi <= score.score_centi <= score.max_score_centi:
        raise invalid_field(
            "SCORE_OUT_OF_RANGE",
            "score_centi",
            score.score_centi,
            f"must be from {score.min_score_centi} to {score.max_score_centi}",
            "评分超出模型范围",
        )
    await standing_store.add_external_score(session, score)
    return score
