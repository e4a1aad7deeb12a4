"""Feed intake: every event that any service says is kept once, with its ties."""

from collections.abc import Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import feed_store, feed_ties
from gateway.event_types import MESSAGES
from gateway.feed_store import Kept
from services.kernel.cloudevents import Envelope
from services.kernel.inbox import Delivery


async def take_all(session: AsyncSession, deliveries: Sequence[Delivery]) -> None:
    """
    Take a batch, in the order in which it was said.

    The stream has causes before their effects, whoever said them; an event that came a second time
    stands behind those of its aggregate that came before it all the same.
    """
    last: dict[tuple[str, str], int] = {}
    places = []
    for delivery in deliveries:
        aggregate = delivery.envelope.aggregate
        said = delivery.msg.metadata.sequence.stream
        last[aggregate] = max(last.get(aggregate, 0), said)
        places.append(last[aggregate])
    order = sorted(range(len(deliveries)), key=places.__getitem__)
    await take(session, [(deliveries[at].envelope, deliveries[at].payload) for at in order])


async def take(session: AsyncSession, events: Sequence[tuple[Envelope, bytes]]) -> None:
    """Keep events in the order given; one of a type that is not in the protos is told to nobody."""
    read = [
        (envelope, payload, MESSAGES[envelope.event_type].FromString(payload))
        for envelope, payload in events
        if envelope.event_type in MESSAGES
    ]
    if not read:
        return
    asked = {key for envelope, _, message in read for key in feed_ties.keys(envelope, message)}
    known = await feed_store.read_ties(session, sorted(asked))
    changed: dict[feed_ties.Key, None] = {}
    kept = []
    for envelope, payload, message in read:
        tie, more = feed_ties.learn(envelope, message, known)
        if more:
            changed[envelope.aggregate] = None
        kept.append((Kept(envelope, payload, tie), message))
    await feed_store.keep(session, kept)
    await feed_store.save_ties(session, {key: known[key] for key in changed})
