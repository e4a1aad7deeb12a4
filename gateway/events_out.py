"""Gateway: what it says. One function per event."""

from liandong.gateway.v1 import events_pb2

from gateway.identity import Institution
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
