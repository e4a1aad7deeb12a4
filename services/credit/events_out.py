"""Credit: what this service says. One function per event: its type and its message."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import polars as pl
from google.protobuf.message import Message
from liandong.credit.v1 import events_pb2

from services.credit.model import (
    Contest,
    CreditArea,
    Decision,
    Expired,
    Fact,
    Measure,
    Review,
)
from services.kernel import wire
from services.kernel.outbox import OutgoingEvent

AGGREGATE = "credit.credit_file"
REVIEW = "credit.review"


def decided(decisions: Sequence[Decision], on: date) -> list[OutgoingEvent]:
    """Everything that decisions about files say, each file's events in sequence."""
    return [
        event
        for decision in decisions
        for place, fact in enumerate(decision.facts, 1)
        for event in [_event(decision, fact, place, on)]
    ]


def _event(decision: Decision, fact: Fact, place: int, on: date) -> OutgoingEvent:
    file = decision.file
    event_type, message = _MESSAGES[fact](decision)
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type=AGGREGATE,
        aggregate_id=str(file.household_id),
        sequence=file.version - len(decision.facts) + place,
        county_code=file.county_code,
        message=message,
        business_date=on,
        programme=decision.measure.programme if decision.measure else file.programme,
    )


def rescored(
    county_code: str, sealed: pl.DataFrame, programme: str, on: date
) -> list[OutgoingEvent]:
    """What a re-score says of files that columns decided, in the order of `rating`'s facts."""
    names = ("household_id", "version", "graded", "vetoed", "limit_changed", "rating_id")
    made = ("score_centi", "grade", "vetoes", "limit_fen", "valid_until")
    events = []
    for row in sealed.select(*names, *made).iter_rows():
        household_id, version, graded, vetoed, limit_changed, rating_id, *what = row
        score_centi, grade, hit, limit_fen, until = what
        vetoes = hit.split(",") if hit else ()
        messages: list[tuple[str, Message]] = []
        if graded:
            message: Message = events_pb2.HouseholdGraded(
                household_id=household_id,
                rating_id=rating_id,
                score_centi=score_centi,
                grade=grade,
                vetoes=vetoes,
            )
            messages.append(("liandong.credit.v1.household_graded", message))
        if vetoed:
            message = events_pb2.HouseholdVetoed(household_id=household_id, vetoes=vetoes)
            messages.append(("liandong.credit.v1.household_vetoed", message))
        if limit_changed:
            message = events_pb2.LimitChanged(
                household_id=household_id,
                limit_fen=limit_fen,
                grade=grade,
                valid_until=wire.date_to_proto(until and date.fromisoformat(until)),
                held_by=() if limit_fen else [f"veto:{each}" for each in vetoes],
            )
            messages.append(("liandong.credit.v1.limit_changed", message))
        events += [
            OutgoingEvent(
                event_type=event_type,
                aggregate_type=AGGREGATE,
                aggregate_id=household_id,
                sequence=version + place,
                county_code=county_code,
                message=message,
                business_date=on,
                programme=programme,
            )
            for place, (event_type, message) in enumerate(messages, 1)
        ]
    return events


def household_graded(decision: Decision) -> tuple[str, Message]:
    """A household was rated, and something came out differently."""
    file = decision.file
    return "liandong.credit.v1.household_graded", events_pb2.HouseholdGraded(
        household_id=str(file.household_id),
        rating_id=_text(file.rating_id),
        score_centi=file.score_centi,
        grade=file.grade,
        vetoes=file.vetoes,
        holds=file.holds,
    )


def household_vetoed(decision: Decision) -> tuple[str, Message]:
    """A veto hit that did not before."""
    file = decision.file
    return "liandong.credit.v1.household_vetoed", events_pb2.HouseholdVetoed(
        household_id=str(file.household_id), vetoes=file.vetoes
    )


def limit_granted(decision: Decision) -> tuple[str, Message]:
    """A household has its first limit."""
    file = decision.file
    return "liandong.credit.v1.limit_granted", events_pb2.LimitGranted(
        household_id=str(file.household_id),
        limit_fen=file.limit_fen,
        grade=file.grade,
        valid_until=wire.date_to_proto(file.valid_until),
    )


def limit_changed(decision: Decision) -> tuple[str, Message]:
    """A limit, its grade or its last day is another, or it was taken away."""
    file = decision.file
    return "liandong.credit.v1.limit_changed", events_pb2.LimitChanged(
        household_id=str(file.household_id),
        limit_fen=file.limit_fen,
        grade=file.grade,
        valid_until=wire.date_to_proto(file.valid_until),
        held_by=() if file.limit_fen else (*file.holds, *(f"veto:{each}" for each in file.vetoes)),
    )


def household_listed(decision: Decision) -> tuple[str, Message]:
    """A sanction holds from today on."""
    measure = _measure(decision)
    return "liandong.credit.v1.household_listed", events_pb2.HouseholdListed(
        household_id=str(measure.household_id),
        reason=measure.code,
        measure_id=str(measure.measure_id),
        effects=measure.effects,
        from_on=wire.date_to_proto(measure.from_on),
        until_on=wire.date_to_proto(measure.until_on),
        relation=measure.relation,
    )


def household_released(decision: Decision) -> tuple[str, Message]:
    """A sanction ended."""
    measure = _measure(decision)
    return "liandong.credit.v1.household_released", events_pb2.HouseholdReleased(
        household_id=str(measure.household_id),
        measure_id=str(measure.measure_id),
        reason=measure.end_reason,
    )


def household_rewarded(decision: Decision) -> tuple[str, Message]:
    """A reward holds from today on."""
    measure = _measure(decision)
    return "liandong.credit.v1.household_rewarded", events_pb2.HouseholdRewarded(
        household_id=str(measure.household_id),
        measure_id=str(measure.measure_id),
        reward=measure.code,
        effects=measure.effects,
        from_on=wire.date_to_proto(measure.from_on),
        until_on=wire.date_to_proto(measure.until_on),
    )


def reward_ended(decision: Decision) -> tuple[str, Message]:
    """A reward was withdrawn or ran out."""
    measure = _measure(decision)
    return "liandong.credit.v1.reward_ended", events_pb2.RewardEnded(
        household_id=str(measure.household_id),
        measure_id=str(measure.measure_id),
        reward=measure.code,
        reason=measure.end_reason,
    )


def _measure(decision: Decision) -> Measure:
    assert decision.measure is not None, "the fact tells of a measure"
    return decision.measure


def reviews_moved(moved: Sequence[tuple[Review, str, str]], on: date) -> list[OutgoingEvent]:
    """Reviews that moved on, each with its next step and the organ that takes it."""
    return [
        OutgoingEvent(
            event_type="liandong.credit.v1.review_moved",
            aggregate_type=REVIEW,
            aggregate_id=str(review.review_id),
            sequence=review.version,
            county_code=review.county_code,
            message=events_pb2.ReviewMoved(
                review_id=str(review.review_id),
                household_id=str(review.household_id),
                state=review.state,
                step=step,
                organ=organ,
                due_on=wire.date_to_proto(review.due_on),
            ),
            business_date=on,
            programme=review.programme,
        )
        for review, step, organ in moved
    ]


def refusal_contested(contest: Contest, on: date) -> OutgoingEvent:
    """A household asks for a person."""
    message = events_pb2.RefusalContested(
        contest_id=str(contest.contest_id),
        household_id=str(contest.household_id),
        rating_id=str(contest.rating_id),
        due_on=wire.date_to_proto(contest.due_on),
    )
    return _of_contest(contest, "liandong.credit.v1.refusal_contested", message, 1, on)


def contest_answered(contest: Contest, on: date) -> OutgoingEvent:
    """A person answered."""
    message = events_pb2.ContestAnswered(
        contest_id=str(contest.contest_id),
        household_id=str(contest.household_id),
        upheld=contest.upheld,
    )
    return _of_contest(contest, "liandong.credit.v1.contest_answered", message, 2, on)


def _of_contest(
    contest: Contest, event_type: str, message: Message, sequence: int, on: date
) -> OutgoingEvent:
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type="credit.contest",
        aggregate_id=str(contest.contest_id),
        sequence=sequence,
        county_code=contest.county_code,
        message=message,
        business_date=on,
    )


def areas_certified(areas: Sequence[CreditArea], on: date) -> list[OutgoingEvent]:
    """Areas that became, or stopped being, credit areas."""
    return [
        OutgoingEvent(
            event_type="liandong.credit.v1.area_certified",
            aggregate_type="credit.credit_area",
            aggregate_id=f"{area.programme_id}:{area.area_code}",
            sequence=area.version,
            county_code=area.county_code,
            message=events_pb2.AreaCertified(
                area_code=area.area_code,
                certified=area.certified,
                numerator=area.numerator,
                denominator=area.denominator,
                scope=area.scope,
            ),
            business_date=on,
            programme=area.programme,
        )
        for area in areas
    ]


def limits_expired(county_code: str, expired: Sequence[Expired], day: date) -> list[OutgoingEvent]:
    """Limits whose last day has passed."""
    return [
        OutgoingEvent(
            event_type="liandong.credit.v1.limit_expired",
            aggregate_type=AGGREGATE,
            aggregate_id=str(each.household_id),
            sequence=each.sequence,
            county_code=county_code,
            message=events_pb2.LimitExpired(household_id=str(each.household_id)),
            business_date=day,
            programme=each.programme,
        )
        for each in expired
    ]


def _text(rating_id: UUID | None) -> str:
    return "" if rating_id is None else str(rating_id)


_MESSAGES = {
    Fact.LISTED: household_listed,
    Fact.RELEASED: household_released,
    Fact.REWARDED: household_rewarded,
    Fact.REWARD_ENDED: reward_ended,
    Fact.GRADED: household_graded,
    Fact.VETOED: household_vetoed,
    Fact.LIMIT_GRANTED: limit_granted,
    Fact.LIMIT_CHANGED: limit_changed,
}
