"""Households: what this service says. One function per event."""

from datetime import date

from liandong.households.v1 import events_pb2

from services.households.model import Household
from services.kernel.outbox import OutgoingEvent

HOUSEHOLD = "households.household"


def household_registered(household: Household, business_date: date) -> OutgoingEvent:
    """A household was entered in the registry."""
    household_id = str(household.household_id)
    return OutgoingEvent(
        event_type="liandong.households.v1.household_registered",
        aggregate_type=HOUSEHOLD,
        aggregate_id=household_id,
        sequence=household.version,
        county_code=household.county_code,
        message=events_pb2.HouseholdRegistered(
            household_id=household_id,
            household_number=household.household_number,
            area_code=household.area_code,
            status=household.status,
            member_count=household.member_count,
            honour=household.honour or "",
        ),
        business_date=business_date,
    )
