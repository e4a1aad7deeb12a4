"""Credit: what this service hears. The table at the end is the whole list."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from liandong.households.v1 import events_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import operations
from services.credit.model import Household
from services.kernel.inbox import Handler, Handlers, Incoming
from services.programmes.loader import Catalogue

Told = (
    Sequence[Incoming[events_pb2.HouseholdRegistered]]
    | Sequence[Incoming[events_pb2.HouseholdChanged]]
)


async def _take(session: AsyncSession, catalogue: Catalogue, events: Told, *, relist: bool) -> None:
    """Of one household the last word counts; the events come in its order."""
    counties: defaultdict[str, dict[UUID, Household]] = defaultdict(dict)
    for event in events:
        message = event.message
        household_id = UUID(message.household_id)
        counties[event.envelope.county_code][household_id] = Household(
            household_id, message.area_code, message.status, message.honour
        )
    for county_code, told in sorted(counties.items()):
        households = [told[household_id] for household_id in sorted(told)]
        await operations.take_households(session, catalogue, county_code, households, relist=relist)


async def household_registered(
    catalogue: Catalogue,
    session: AsyncSession,
    events: Sequence[Incoming[events_pb2.HouseholdRegistered]],
) -> None:
    """A household is new in the registry: it gets an empty credit file."""
    await _take(session, catalogue, events, relist=True)


async def household_changed(
    catalogue: Catalogue,
    session: AsyncSession,
    events: Sequence[Incoming[events_pb2.HouseholdChanged]],
) -> None:
    """A household moved, or has another status or honour."""
    await _take(session, catalogue, events, relist=False)


async def household_delisted(
    session: AsyncSession, events: Sequence[Incoming[events_pb2.HouseholdDelisted]]
) -> None:
    """A household is off the registry's file: its limit ends, its file stays."""
    counties: defaultdict[str, set[UUID]] = defaultdict(set)
    for event in events:
        counties[event.envelope.county_code].add(UUID(event.message.household_id))
    for county_code, household_ids in sorted(counties.items()):
        await operations.delist_households(session, county_code, sorted(household_ids))


def handlers(catalogue: Catalogue) -> Handlers:
    """Every event that is heard, and what takes it."""
    return {
        "liandong.households.v1.household_registered": Handler(
            events_pb2.HouseholdRegistered, partial(household_registered, catalogue)
        ),
        "liandong.households.v1.household_changed": Handler(
            events_pb2.HouseholdChanged, partial(household_changed, catalogue)
        ),
        "liandong.households.v1.household_delisted": Handler(
            events_pb2.HouseholdDelisted, household_delisted
        ),
    }
