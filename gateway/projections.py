"""Gateway: what it keeps of others' words alone, and so can be made again from them."""

from collections.abc import Sequence
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import feed_intake, tie_store
from gateway.event_handlers import HANDLERS
from gateway.event_types import MESSAGES
from services.kernel.inbox import Handler, Handlers, Incoming
from services.kernel.projections import Kept, Projection


def projection() -> Projection:
    """
    Who has to do with which household, whose events are whose, and how far each county's days are.

    What the public reads is no projection: it is asked of the services and held for a minute. Nor
    is the feed: its positions are promised to its readers, and are the order of its taking.
    """
    return Projection(
        noun="gateway",
        kept=(
            Kept("household_tie"),
            Kept("household_alias"),
            Kept("household_consent"),
            Kept("feed_tie"),
            Kept("county_day"),
        ),
        handlers=_handlers(),
        given=("feed_state",),
    )


def _handlers() -> Handlers:
    return {event_type: Handler(made, _taking(event_type)) for event_type, made in MESSAGES.items()}


def _taking(event_type: str) -> Any:
    async def handle(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
        await feed_intake.take(
            session, [(each.envelope, each.message.SerializeToString()) for each in events]
        )
        envelopes = [each.envelope for each in events]
        await tie_store.note_days(
            session,
            [(each.county_code, each.business_date) for each in envelopes if each.business_date],
        )
        if event_type in HANDLERS:
            await HANDLERS[event_type].handle(session, events)

    return handle
