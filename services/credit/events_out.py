"""Credit: what this service says. One function per event: its type and its message."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from google.protobuf.message import Message
from liandong.credit.v1 import events_pb2

from services.credit.model import CreditFile, Decision, Expired, Fact
from services.kernel import wire
from services.kernel.outbox import OutgoingEvent

AGGREGATE = "credit.credit_file"


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
    event_type, message = _MESSAGES[fact](file)
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type=AGGREGATE,
        aggregate_id=str(file.household_id),
        sequence=file.version - len(decision.facts) + place,
        county_code=file.county_code,
        message=message,
        business_date=on,
        programme=file.programme,
    )


def household_graded(file: CreditFile) -> tuple[str, Message]:
    """A household was rated, and something came out differently."""
    return "liandong.credit.v1.household_graded", events_pb2.HouseholdGraded(
        household_id=str(file.household_id),
        rating_id=_text(file.rating_id),
        score_centi=file.score_centi,
        grade=file.grade,
        vetoes=file.vetoes,
    )


def household_vetoed(file: CreditFile) -> tuple[str, Message]:
    """A veto hit that did not before."""
    return "liandong.credit.v1.household_vetoed", events_pb2.HouseholdVetoed(
        household_id=str(file.household_id), vetoes=file.vetoes
    )


def limit_granted(file: CreditFile) -> tuple[str, Message]:
    """A household has its first limit."""
    return "liandong.credit.v1.limit_granted", events_pb2.LimitGranted(
        household_id=str(file.household_id),
        limit_fen=file.limit_fen,
        grade=file.grade,
        valid_until=wire.date_to_proto(file.valid_until),
    )


def limit_changed(file: CreditFile) -> tuple[str, Message]:
    """A limit, its grade or its last day is another, or it was taken away."""
    return "liandong.credit.v1.limit_changed", events_pb2.LimitChanged(
        household_id=str(file.household_id),
        limit_fen=file.limit_fen,
        grade=file.grade,
        valid_until=wire.date_to_proto(file.valid_until),
    )


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
    Fact.GRADED: household_graded,
    Fact.VETOED: household_vetoed,
    Fact.LIMIT_GRANTED: limit_granted,
    Fact.LIMIT_CHANGED: limit_changed,
}
