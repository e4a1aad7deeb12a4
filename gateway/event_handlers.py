"""
Events: what the gateway hears. The table at the end is the whole list beside the feed.

The feed keeps every event, whatever its type (`gateway/feed_intake.py`); what else the gateway
learns of one is a function here: a list of events of one type, in the transaction that takes them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import feed_intake, tie_handlers, tie_store
from gateway.event_types import MESSAGES
from services.kernel.bus import GATHER_SECONDS, Consumer
from services.kernel.database import Database
from services.kernel.inbox import Delivery, Handler, Handlers, Incoming

HANDLERS: Mapping[str, Handler] = {**tie_handlers.HANDLERS}
"""Event type to what is learned of it."""


async def take_all(session: AsyncSession, deliveries: Sequence[Delivery]) -> None:
    """Keep every event for the feeds, and the days on which they were said."""
    await feed_intake.take_all(session, deliveries)
    envelopes = [delivery.envelope for delivery in deliveries]
    days = [(each.county_code, each.business_date) for each in envelopes if each.business_date]
    await tie_store.note_days(session, days)


def consumer(db: Database, *, batch_size_max: int) -> Consumer:
    """The gateway's consumer: into the feed first, then to whoever learns of it."""
    return Consumer(
        db,
        "gateway",
        HANDLERS,
        batch_size_max=batch_size_max,
        take_all=take_all,
        gather_seconds=GATHER_SECONDS,
    )


def replay_handlers() -> Handlers:
    """The same for one event at a time: what waited for a person is taken as if it came now."""
    return {event_type: Handler(made, _again(event_type)) for event_type, made in MESSAGES.items()}


def _again(event_type: str) -> Any:
    async def handle(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
        await feed_intake.take(
            session, [(each.envelope, each.message.SerializeToString()) for each in events]
        )
        if event_type in HANDLERS:
            await HANDLERS[event_type].handle(session, events)

    return handle
