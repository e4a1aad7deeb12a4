"""Feed stream: one reader's feed as it happens; a slow one waits alone."""

import asyncio
from collections.abc import AsyncGenerator, Callable

import structlog

from gateway import feed_store
from gateway.feed_pages import Filters, Item, Page, Pages
from gateway.identity import Institution
from gateway.telling import Watch
from services.kernel.away import is_away
from services.kernel.database import Database
from services.kernel.errors import Unavailable
from services.kernel.pauses import Pause

LOOK_SECONDS = 0.25
"""How often a process looks for what others of its kind have kept."""
CHECK_SECONDS = 1.0
"""How often a reader to whom there is nothing to tell is allowed anew."""
SILENT_SECONDS_MAX = 15.0
"""After that the cursor is told alone: nobody looks twice through what is not the reader's."""

Held = Callable[[str], Pause | None]
"""The pause that holds an institution's feed, if any does."""

log = structlog.get_logger(__name__)


class Tail:
    """Where the feed ends: one look for all who wait."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._grown = asyncio.Condition()
        self.last = 0
        self.stopping = False

    async def run(self) -> None:
        """Look until cancelled; then let all streams end, so that the server need not wait."""
        try:
            while True:
                try:
                    async with self._db.transaction() as session:
                        await self._note(await feed_store.last_position(session))
                except Exception as error:
                    if not is_away(error):
                        raise
                    log.warning("feed_waits", error=type(error).__name__)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self.stopping = True
            async with self._grown:
                self._grown.notify_all()

    async def _note(self, last: int) -> None:
        if last > self.last:
            self.last = last
            async with self._grown:
                self._grown.notify_all()

    async def beyond(self, position: int, *, seconds: float) -> None:
        """Wait until there is more, or for a while."""
        async with self._grown:
            try:
                async with asyncio.timeout(seconds):
                    await self._grown.wait_for(lambda: self.stopping or self.last > position)
            except TimeoutError:
                return

    def require_running(self) -> None:
        """Refuse to go on once the gateway stops."""
        if self.stopping:
            raise Unavailable(
                "GATEWAY_STOPS",
                "this gateway stops; connect again and go on from the last cursor",
                message_zh="网关即将停止,请重新连接并从最后游标继续",
            )


class Told:
    """What a stream says next: an event, or only how far it has come, or that it is held."""

    __slots__ = ("held_because", "item", "live", "position")

    def __init__(
        self, position: int, item: Item | None, *, live: bool, held_because: str = ""
    ) -> None:
        self.held_because = held_because
        self.position = position
        self.item = item
        self.live = live


async def follow(
    pages: Pages,
    tail: Tail,
    watch: Watch,
    filters: Filters,
    *,
    after: int,
    held: Held,
) -> AsyncGenerator[Told]:
    """
    Everything a reader may know from a position on, in order, and then as it happens.

    A page is read, recorded and told before the next one is read, and telling waits for the client:
    a reader that is slow holds one page and nobody up. While an operator holds the feed it is told
    so, once, and then nothing; what waits is told when it is resumed.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + watch.seconds
    told, said_at, live, standing = after, loop.time(), False, False
    while loop.time() < ends:
        tail.require_running()
        reader = watch.allowed()
        if (pause := held(reader.institution_id)) is not None:
            if not standing:
                standing = True
                yield Told(told, None, live=False, held_because=pause.reason)
            await asyncio.sleep(min(CHECK_SECONDS, max(0.0, ends - loop.time())))
            continue
        standing = False
        page = await pages.read(reader, filters, after=told)
        if page.items:
            await watch.record(page.resources)
        for item in page.items:
            tail.require_running()
            if watch.allowed() is not reader or held(reader.institution_id) is not None:
                # Something about it has changed: the rest of the page is decided upon once more.
                break
            told, said_at = item.kept.position, loop.time()
            yield Told(told, item, live=live)
        else:
            told = page.upto
            arrived = page.upto >= page.last
            if (arrived and not live) or loop.time() - said_at > SILENT_SECONDS_MAX:
                live, said_at = live or arrived, loop.time()
                yield Told(told, None, live=live)
            if arrived:
                await tail.beyond(told, seconds=min(CHECK_SECONDS, max(0.0, ends - loop.time())))


async def count(
    pages: Pages, reader: Institution, *, after: int, pages_max: int
) -> tuple[int, bool, Page | None]:
    """How many events wait for a reader, whether there may be more, and the first page of them."""
    waiting, first = 0, None
    for _ in range(pages_max):
        page = await pages.read(reader, Filters(), after=after)
        waiting += len(page.items)
        if page.items and first is None:
            first = page
        after = page.upto
        if page.upto >= page.last:
            return waiting, False, first
    return waiting, True, first
