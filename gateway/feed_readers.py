"""Feed readers: how far each of an institution's readers has come, and what waits for it."""

from collections.abc import Sequence

from asyncpg import Record
from liandong.gateway.v1 import feeds_pb2 as pb

from gateway import feed_stream
from gateway.feed_pages import Pages
from gateway.identity import Institution
from gateway.registry import timestamp
from services.kernel import wire

COUNTED_PAGES_MAX = 10
"""Pages that are counted for each reader: 1,000 events, or 50,000 positions."""


async def readers(
    pages: Pages, institution: Institution, known: Sequence[Record], *, first_kept: int
) -> list[pb.FeedReader]:
    """How each reader of an institution stands, as far as it is counted."""
    found = []
    for row in known:
        waiting, more, page = await feed_stream.count(
            pages,
            institution,
            after=max(row["position"], first_kept - 1),
            pages_max=COUNTED_PAGES_MAX,
        )
        begun = page.items[0].kept.envelope.recorded_at if page else None
        found.append(
            pb.FeedReader(
                reader=row["reader"],
                acknowledged_cursor=cursor_of(row["position"]),
                acknowledged_time=timestamp(row["acknowledged_at"]),
                waiting_events=waiting,
                more_waiting=more,
                waiting_since=timestamp(begun),
            )
        )
    return found


def cursor_of(position: int) -> str:
    """A position as readers know it."""
    return wire.page_token(f"feed:{position}")
