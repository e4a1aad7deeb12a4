"""Credit over gRPC: values to messages and back, for every door."""

from collections.abc import Sequence
from uuid import UUID

from liandong.credit.v1 import (
    credit_pb2,
    indicators_pb2,
    limits_pb2,
    scores_pb2,
    standing_pb2,
)

from services.credit.model import (
    CreditFile,
    LimitState,
    Measure,
    MeasureKind,
    MeasureState,
    Observed,
    Rating,
)
from services.credit.reports import Standing
from services.credit.rules.explaining import NextGrade
from services.kernel import wire
from services.kernel.ids import parse_id

BEFORE_ALL = UUID(int=0)
AFTER_ALL = UUID(int=2**128 - 1)

STATES = {
    "counted": scores_pb2.LINE_STATE_COUNTED,
    "not_met": scores_pb2.LINE_STATE_NOT_MET,
    "missing": scores_pb2.LINE_STATE_MISSING,
    "waived": scores_pb2.LINE_STATE_WAIVED,
    "stale": scores_pb2.LINE_STATE_STALE,
}
KINDS = {
    MeasureKind.SANCTION: standing_pb2.MEASURE_KIND_SANCTION,
    MeasureKind.REWARD: standing_pb2.MEASURE_KIND_REWARD,
    MeasureKind.SECOND_GRANT: standing_pb2.MEASURE_KIND_SECOND_GRANT,
    MeasureKind.WAIVER: standing_pb2.MEASURE_KIND_WAIVER,
    MeasureKind.REHABILITATION: standing_pb2.MEASURE_KIND_REHABILITATION,
    MeasureKind.DEMOTION: standing_pb2.MEASURE_KIND_DEMOTION,
}
MEASURE_STATES = {
    MeasureState.PROPOSED: standing_pb2.MEASURE_STATE_PROPOSED,
    MeasureState.IN_FORCE: standing_pb2.MEASURE_STATE_IN_FORCE,
    MeasureState.REFUSED: standing_pb2.MEASURE_STATE_REFUSED,
    MeasureState.ENDED: standing_pb2.MEASURE_STATE_ENDED,
}


def after(field: str, text: str) -> UUID:
    """The id after which a page begins; all of them for none."""
    return parse_id(field, text) if text else BEFORE_ALL


def before(field: str, text: str) -> UUID:
    """The id before which a page begins, newest first; all of them for none."""
    return parse_id(field, text) if text else AFTER_ALL


def optional_id(field: str, text: str) -> UUID | None:
    """An id, or None where it was left empty."""
    return parse_id(field, text) if text else None


def file_to_proto(file: CreditFile, *, working: str = "") -> credit_pb2.CreditFile:
    """A credit file."""
    return credit_pb2.CreditFile(
        household_id=str(file.household_id),
        area_code=file.household.area_code,
        score_centi=file.score_centi,
        grade=file.grade,
        limit_fen=file.limit_fen,
        valid_until=wire.date_to_proto(file.valid_until),
        vetoes=file.vetoes,
        programme=file.programme,
        working=working,
        holds=file.holds,
        rating_id=str(file.rating_id or ""),
    )


def inputs_to_proto(rating: Rating, reads: Sequence[str]) -> list[scores_pb2.PinnedInput]:
    """A rating's inputs by code, with what the scheme reads and nobody had observed."""
    pinned = [
        scores_pb2.PinnedInput(
            code=code,
            value=seen.value,
            observed_on=wire.date_to_proto(seen.observed_on),
            entry=seen.entry,
            state=state_of(seen),
            expires_on=wire.date_to_proto(seen.expires_on),
        )
        for code, seen in rating.inputs.items()
    ]
    pinned += [
        scores_pb2.PinnedInput(code=code, state=state_of(None))
        for code in reads
        if code not in rating.inputs
    ]
    return sorted(pinned, key=lambda each: each.code)


def state_of(seen: Observed | None) -> indicators_pb2.InputState.ValueType:
    """How an indicator stands."""
    if seen is None:
        return indicators_pb2.INPUT_STATE_MISSING
    return indicators_pb2.INPUT_STATE_STALE if seen.stale else indicators_pb2.INPUT_STATE_FRESH


def standing_to_proto(standing: Standing) -> indicators_pb2.IndicatorState:
    """How one indicator of a household stands."""
    seen, entry = standing.seen, standing.entry
    return indicators_pb2.IndicatorState(
        code=standing.rule.code,
        state=state_of(seen),
        value=seen.value if seen else None,
        unit=standing.rule.unit,
        observed_on=wire.date_to_proto(seen.observed_on) if seen else None,
        expires_on=wire.date_to_proto(seen.expires_on) if seen else None,
        source_id=entry.source_id if entry else "",
        evidence_sha256=entry.evidence_sha256 if entry else "",
        programme=standing.programme,
    )


def rating_to_proto(
    rating: Rating, *, inputs: bool = True, reads: Sequence[str] = ()
) -> scores_pb2.Rating:
    """A rating, with or without its inputs."""
    override = rating.pins.override
    return scores_pb2.Rating(
        rating_id=str(rating.rating_id),
        household_id=str(rating.household_id),
        cause=rating.cause,
        programme=rating.programme,
        rated_on=wire.date_to_proto(rating.rated_on),
        score_centi=rating.score_centi,
        grade=rating.grade,
        vetoes=rating.vetoes,
        base_limit_fen=rating.base_limit_fen,
        uplift_fen=rating.uplift_fen,
        limit_fen=rating.limit_fen,
        valid_until=wire.date_to_proto(rating.valid_until),
        working=rating.working,
        honour=rating.honour,
        inputs=inputs_to_proto(rating, reads) if inputs else (),
        holds=[
            scores_pb2.PinnedHold(
                code=hold.code,
                grade_too=hold.grade_too,
                until=wire.date_to_proto(hold.until),
            )
            for hold in rating.pins.holds
        ],
        waived=rating.pins.waived,
        override_review_id="" if override is None else str(override.review_id),
        digest=rating.digest,
        demoted_steps=rating.pins.demoted,
    )


def next_to_proto(found: NextGrade | None) -> scores_pb2.NextGrade | None:
    """The way to the next grade."""
    if found is None:
        return None
    return scores_pb2.NextGrade(
        grade=found.grade,
        min_score_centi=found.min_score_centi,
        missing_centi=found.missing_centi,
        lift=found.lift,
        changes=[
            scores_pb2.IndicatorChange(
                indicator=change.indicator,
                value_from=change.value_from,
                value_to=change.value_to,
                gain_centi=change.gain_centi,
            )
            for change in found.changes
        ],
        reachable=found.reachable,
    )


def limit_to_proto(household_id: UUID, limit: LimitState) -> limits_pb2.Limit:
    """A limit."""
    return limits_pb2.Limit(
        household_id=str(household_id),
        granted_fen=limit.granted_fen,
        used_fen=limit.used_fen,
        committed_fen=limit.committed_fen,
        free_fen=limit.free_fen,
        own_used_fen=limit.own_used_fen,
        grade=limit.grade,
        valid_until=wire.date_to_proto(limit.valid_until),
        exceeded=limit.exceeded,
        granted_on=wire.date_to_proto(limit.granted_on),
    )


def measure_to_proto(measure: Measure) -> standing_pb2.Measure:
    """A measure."""
    return standing_pb2.Measure(
        measure_id=str(measure.measure_id),
        household_id=str(measure.household_id),
        kind=KINDS[measure.kind],
        code=measure.code,
        programme=measure.programme,
        state=MEASURE_STATES[measure.state],
        reason=measure.reason,
        evidence_sha256=measure.evidence_sha256,
        effects=measure.effects,
        amount_fen=measure.amount_fen,
        from_on=wire.date_to_proto(measure.from_on),
        until_on=wire.date_to_proto(measure.until_on),
        relation=measure.relation,
        origin_measure_id=str(measure.origin_id or ""),
        proposed_by=measure.proposed.institution_id,
        decided_by=measure.decided_by,
        ended_on=wire.date_to_proto(measure.ended_on),
        end_reason=measure.end_reason,
    )
