"""Planted wrong ways: the platform with one countermeasure switched off, for positive controls."""

import asyncio
import os
import runpy
from collections.abc import Sequence
from typing import Any

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import admission, bus, database, idempotency, inbox, outbox, rpc
from services.kernel.inbox import Delivery

VARIABLE = "LIANDONG_FAULTS_WRONG"
"""Which of them; the harness sets it, no settings of the platform know it."""
PAUSE_SECONDS = 1.0

_sort, _keep = inbox.sort, inbox.keep


async def _keep_anything(session: AsyncSession, deliveries: Sequence[Delivery]) -> None:
    ids = [delivery.envelope.event_id for delivery in deliveries]
    await database.execute(
        session, "DELETE FROM inbox_event WHERE event_id = ANY ($1::uuid[])", ids
    )
    await _keep(session, deliveries)


def no_inbox() -> None:
    """What was taken in before is taken in again."""

    async def sort(session: AsyncSession, deliveries: Sequence[Delivery]) -> inbox.Sorted:
        found = await _sort(session, deliveries)
        one_each = {each.envelope.event_id: each for each in (*found.take, *found.known)}
        return inbox.Sorted(list(one_each.values()), [], found.behind, found.early)

    inbox.sort, inbox.keep = sort, _keep_anything


def no_order() -> None:
    """What comes early is taken in as it comes; what was overtaken counts as known."""

    async def sort(session: AsyncSession, deliveries: Sequence[Delivery]) -> inbox.Sorted:
        found = await _sort(session, deliveries)
        return inbox.Sorted([*found.take, *found.early], found.known, found.behind, [])

    inbox.sort, inbox.keep = sort, _keep_anything


def by_the_clock() -> None:
    """What is older by the clock than the youngest that was seen counts as known."""
    youngest: dict[tuple[str, str], float] = {}

    async def sort(session: AsyncSession, deliveries: Sequence[Delivery]) -> inbox.Sorted:
        found = await _sort(session, deliveries)
        take: list[Delivery] = []
        known = list(found.known)
        for delivery in found.take:
            key = (delivery.envelope.noun, delivery.envelope.aggregate_type)
            at = delivery.envelope.recorded_at.timestamp()
            (take if at >= youngest.get(key, 0.0) else known).append(delivery)
            youngest[key] = max(at, youngest.get(key, 0.0))
        return inbox.Sorted(take, known, found.behind, found.early)

    inbox.sort = sort


def ack_first() -> None:
    """An event is acknowledged as it is read, and only then taken in."""
    take_all = bus.Consumer._take

    async def take(self: bus.Consumer, client: Any, messages: Sequence[Any]) -> None:
        for message in messages:
            await message.ack()
            # Or acknowledging it again would be refused by the client itself.
            message._ackd = False
        await client.flush()
        await asyncio.sleep(PAUSE_SECONDS)
        await take_all(self, client, messages)

    bus.Consumer._take = take  # type: ignore[method-assign]


def blind_relay() -> None:
    """What was published once is never looked for again."""

    async def compare(self: outbox.Relay, connection: Any, stream: JetStreamContext) -> None:
        del connection
        try:
            last = await stream.get_last_msg(outbox.STREAM, f"liandong.{self._noun}.>", direct=True)
            self._last = last.seq or 0
        except NotFoundError:
            self._last = 0

    outbox.Relay._compare_with_stream = compare  # type: ignore[method-assign]


def never_parks() -> None:
    """What cannot be taken in is tried for ever."""
    bus.ATTEMPTS_MAX = 1_000_000


def forgetful() -> None:
    """A command that is asked again is done again."""

    async def recall(
        session: AsyncSession, keys: Sequence[idempotency.RequestKey]
    ) -> dict[idempotency.RequestKey, bytes]:
        del session, keys
        return {}

    async def keep(session: AsyncSession, answers: Sequence[Any], *, money: bool) -> None:
        del session, answers, money

    idempotency.recall, idempotency.keep = recall, keep


def takes_all() -> None:
    """Nobody is turned away, however many wait and however little time they have."""
    admission.Admission.is_full = property(lambda _: False)  # type: ignore[assignment, method-assign]
    admission.Admission._is_too_late = lambda *_: False  # type: ignore[method-assign]
    # Nor does the library, which cuts off by chance what stands in a queue of more than 1,000.
    rpc.OPTIONS = (
        *rpc.OPTIONS,
        ("grpc.server.max_pending_requests", 10**9),
        ("grpc.server.max_pending_requests_hard_limit", 10**9),
    )


WAYS = {
    way.__name__: way
    for way in (
        *(no_inbox, no_order, by_the_clock, ack_first, blind_relay, never_parks, forgetful),
        takes_all,
    )
}

if __name__ == "__main__":
    WAYS[os.environ[VARIABLE]]()
    runpy.run_module("deploy.local.platform", run_name="__main__")
