"""Gateway: what it says. One function per event."""

from liandong.gateway.v1 import events_pb2

from gateway.identity import ABOVE_COUNTIES, Institution
from gateway.log_chain import DayRoot
from services.kernel import wire
from services.kernel.outbox import OutgoingEvent


def institution_changed(institution: Institution) -> OutgoingEvent:
    """An institution was added, changed or suspended."""
    message = events_pb2.InstitutionChanged(
        institution_id=institution.institution_id,
        role=institution.role,
        active=institution.active,
    )
    return OutgoingEvent(
        event_type="liandong.gateway.v1.institution_changed",
        aggregate_type="gateway.institution",
        aggregate_id=institution.institution_id,
        sequence=institution.version,
        county_code=institution.county_code,
        message=message,
        business_date=None,
    )


def day_root_made(root: DayRoot) -> OutgoingEvent:
    """A day of the access log has its root."""
    message = events_pb2.DayRootMade(
        day=wire.date_to_proto(root.day),
        checkpoint_number=root.checkpoint_number,
        position=root.position,
        digest=root.digest,
        previous=root.previous,
        key_id=root.key_id,
        signature=root.signature,
    )
    return OutgoingEvent(
        event_type="liandong.gateway.v1.day_root_made",
        aggregate_type="gateway.day_root",
        aggregate_id=root.day.isoformat(),
        sequence=1,
        county_code=ABOVE_COUNTIES,
        message=message,
        business_date=None,
    )
