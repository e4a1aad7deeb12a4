"""The one search over gRPC: what an id is of, and its story as far as the caller may know it."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import asyncpg
import structlog
from liandong.claims.v1 import claims_pb2, payouts_pb2
from liandong.gateway.v1 import find_pb2 as pb
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import find_store, resources, story_words
from gateway.access import may_call
from gateway.feed_pages import Filters, Pages, question_of
from gateway.feed_rules import ORGANS
from gateway.find_names import HOUSEHOLD, TRACE
from gateway.find_story import Links, Told, linked_ids, shown, step_of, time_of
from gateway.groups import AUDITORS, OPERATORS
from gateway.identity import ABOVE_COUNTIES, Claim, Directory, Institution
from gateway.onward import Onward, ask
from gateway.registry import timestamp
from gateway.resources import REQUEST
from gateway.servicer import OwnMethod, going_on
from services.kernel import metrics, wire
from services.kernel.away import is_away
from services.kernel.database import Database
from services.kernel.errors import NotFound

SERVICE = "/liandong.gateway.v1.FindService"
EVENT, INSTRUCTION, PAYOUT = "event", "instruction", "payout"
PAYOUTS = "liandong.claims.v1.PayoutsService/ListPayouts"
COUNTIES_MAX = 16
"""Counties in which an instruction is looked for."""
SCANNED_MAX = 500
"""Events that one page looks at."""
ROUNDS_MAX = 10
"""Pages that are looked at for one event that the caller may know."""
TRACES_MAX = 64
AT_ONCE_MAX = 4
"""Searches at once, whoever searches: connections are the calls' first of all."""
FILL_SECONDS = 0.2
FILLED_SECONDS = 3_600.0
CALL_KINDS = (REQUEST, INSTRUCTION)
"""What events do not name: calls do, and of instructions the claims service knows."""
NAMED_KINDS = (
    *(HOUSEHOLD, "loan", "claim", "payout", "case", "policy", "insured", "task", "issue", "cover"),
    *("collateral", "entitlement", "dispute", "review", "measure", "fund", "complaint", "contest"),
)
"""As what an operator's calls may have named an id: events about households are not his to know."""

_IS_REQUEST = re.compile(f"{REQUEST}:").match

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who searches, and for what purpose."""

    reader: Institution
    purpose: str

    @property
    def sees_calls(self) -> bool:
        """Whether calls of others are his to know."""
        return self.reader.role in AUDITORS or self.reader.role in OPERATORS

    def may_see(self, call: asyncpg.Record) -> bool:
        """Whether a call is his to know: his own, or in the county that he looks after."""
        if call["institution_id"] == self.reader.institution_id:
            return True
        return self.sees_calls and self.reader.county_code in (ABOVE_COUNTIES, call["county_code"])


@dataclass(frozen=True, slots=True)
class Found:
    """What has an id: the events by which its story is told, and the calls."""

    finding: pb.Finding
    seeds: tuple[UUID, ...]
    calls: tuple[asyncpg.Record, ...] = ()
    told_as: str = ""
    """The kind as which its story is told where that is another: an instruction's its payout's."""


class FindServicer:
    """Tells by the feeds' rules, from the events that are kept for them."""

    def __init__(self, db: Database, directory: Directory, pages: Pages) -> None:
        self._db = db
        self._directory = directory
        self._pages = pages
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)

    def methods(self) -> Mapping[str, OwnMethod]:
        """The methods by path."""
        return {
            f"{SERVICE}/Find": going_on(pb.FindRequest, self.Find),
            f"{SERVICE}/TellStory": going_on(pb.TellStoryRequest, self.TellStory),
        }

    async def Find(
        self, institution: Institution, claim: Claim, request: pb.FindRequest, onward: Onward
    ) -> pb.FindResponse:
        """What an id is of."""
        asker = Asker(institution, claim.purpose)
        found = await self._look_up(asker, UUID(request.id), onward)
        if not found:
            raise _unknown()
        _touch(onward, found[0].finding)
        return pb.FindResponse(findings=[each.finding for each in found])

    async def TellStory(
        self, institution: Institution, claim: Claim, request: pb.TellStoryRequest, onward: Onward
    ) -> pb.TellStoryResponse:
        """A page of a story."""
        asker = Asker(institution, claim.purpose)
        size = wire.page_size(request.page_size)
        after = wire.page_offset(request.page_token, digits_max=wire.POSITION_DIGITS_MAX)
        found = await self._look_up(asker, UUID(request.id), onward)
        about = [each for each in found if request.kind in ("", each.finding.kind)]
        if not about:
            raise _unknown()
        async with self._turns, self._db.transaction() as session:
            links = await self._links(session, asker, about[0])
            told, token = await self._page(session, asker, links, after=after, size=size)
            steps = await self._steps(session, asker, links, told)
        if not request.page_token:
            steps = [*self._calls_alone(about[0].calls, steps), *steps]
        _touch(onward, about[0].finding)
        return pb.TellStoryResponse(
            about=about[0].finding,
            linked=linked_ids(links.kinds),
            steps=steps,
            next_page_token=token,
        )

    async def _look_up(self, asker: Asker, one: UUID, onward: Onward) -> list[Found]:
        """What has an id: by events, calls, and the claims service, which keeps instructions."""
        async with self._turns, self._db.transaction() as session:
            found = await self._find(session, asker, one)
        if any(each.finding.kind != INSTRUCTION for each in found):
            return found
        # No connection is held while another service is asked.
        payout = await self._payout_of(asker, one, onward)
        if payout is None:
            return found
        calls = found[0].calls if found else ()
        paid = UUID(payout.payout_id)
        async with self._turns, self._db.transaction() as session:
            told = await self._first(session, asker, paid)
        if told is None:
            # A payout of which the feeds tell nothing yet, or not to this reader.
            return found
        made = _found(INSTRUCTION, one, (paid,), told=told, calls=calls)
        return [replace(made, told_as=PAYOUT)]

    async def _payout_of(self, asker: Asker, one: UUID, onward: Onward) -> claims_pb2.Payout | None:
        """The payout of an instruction, by the rules of those who may list payouts."""
        if not may_call(asker.reader.role, PAYOUTS):
            return None
        for county in counties_of(asker.reader)[:COUNTIES_MAX]:
            request = payouts_pb2.ListPayoutsRequest(
                county_code=county, instruction_id=str(one), page_size=1
            )
            answer = await ask(onward, PAYOUTS, request, payouts_pb2.ListPayoutsResponse)
            if answer.payouts:
                return answer.payouts[0]
        return None

    async def _find(self, session: AsyncSession, asker: Asker, one: UUID) -> list[Found]:
        """What has an id, as far as the asker may know."""
        first = await self._first(session, asker, one)
        if first is not None:
            calls: Sequence[asyncpg.Record] = ()
            if first.kind_of(one) == TRACE:
                calls = await self._calls(session, asker, [one.hex])
            found = _found(first.kind_of(one), one, (one,), told=first, calls=calls)
            if asker.reader.role in ORGANS and not found.finding.household_id:
                found.finding.household_id = first.kept.tie.household_id
            return [found]
        place = await find_store.position_of_event(session, one)
        if place is not None and (told := await self._told(session, asker, [place])):
            about = told[0].about
            return [_found(EVENT, one, (about[0],) if about else (), told=told[0])]
        calls = await self._calls(session, asker, [one.hex])
        if calls:
            return [_found(TRACE, one, (one,), calls=calls)]
        return await self._find_by_calls(session, asker, one)

    async def _find_by_calls(self, session: AsyncSession, asker: Asker, one: UUID) -> list[Found]:
        """What only calls name: a request, an instruction; for an operator whatever calls name."""
        kinds: tuple[str, ...] = CALL_KINDS
        if asker.reader.role in OPERATORS:
            kinds = (*CALL_KINDS, *NAMED_KINDS)
        rows = await find_store.calls_naming(session, [f"{kind}:{one}" for kind in kinds])
        found: list[Found] = []
        for kind in kinds:
            calls = [
                row
                for row in rows
                if f"{kind}:{one}" in row["resources"]
                and asker.may_see(row)
                # The search itself asks claims by it, whatever it is.
                and row["method"] != PAYOUTS
                # That somebody asked in vain tells nothing of what it is.
                and (kind == REQUEST or asker.sees_calls or row["outcome"] == "OK")
            ]
            if calls:
                traces = list(dict.fromkeys(row["trace_id"] for row in calls if row["trace_id"]))
                seeds = tuple(UUID(trace) for trace in traces[:TRACES_MAX])
                found.append(_found(kind, one, seeds, calls=calls))
        return found

    async def _first(self, session: AsyncSession, asker: Asker, one: UUID) -> Told | None:
        """The first event that names an id to the asker."""
        after = 0
        for _ in range(ROUNDS_MAX):
            places = await find_store.positions(
                session, {one: 0}, after=after, rows_max=SCANNED_MAX
            )
            for told in await self._told(session, asker, places):
                if told.kind_of(one):
                    return told
            if len(places) < SCANNED_MAX:
                return None
            after = places[-1]
        return None

    async def _told(self, session: AsyncSession, asker: Asker, places: Sequence[int]) -> list[Told]:
        """The events at positions that the asker may know, masked for it."""
        if not places:
            return []
        question = question_of(asker.reader, Filters())
        found = await find_store.events(session, question, places)
        allowed = await self._pages.allowed(session, asker.reader, asker.purpose, found)
        return [Told.of(kept, asker.reader, grounds) for kept, grounds in allowed]

    async def _links(self, session: AsyncSession, asker: Asker, found: Found) -> Links:
        """What is linked: of the first and the latest events, so that a long story stays quick."""
        kind = found.told_as or found.finding.kind
        links = Links(kind, found.seeds)
        if kind in (TRACE, *CALL_KINDS) or (found.calls and not found.told_as):
            return links
        new: Sequence[UUID] = found.seeds
        for _ in range(2):
            if not new:
                break
            since = dict.fromkeys(new, 0)
            first = await find_store.positions(session, since, after=0, rows_max=SCANNED_MAX)
            if len(first) == SCANNED_MAX:
                first += await find_store.positions(
                    session, since, after=first[-1], rows_max=SCANNED_MAX, newest=True
                )
            told = await self._told(session, asker, first)
            named = set(new)
            new = links.add(each for each in told if named & {name for name, _ in each.all_names()})
        return links

    async def _page(
        self, session: AsyncSession, asker: Asker, links: Links, *, after: int, size: int
    ) -> tuple[list[Told], str]:
        """The next events of a story and the token of the page after them."""
        places = await find_store.positions(session, links.since, after=after, rows_max=SCANNED_MAX)
        known = set(links.since)
        told = [
            each
            for each in await self._told(session, asker, places)
            if known & {name for name, _ in each.all_names()}
        ]
        if len(told) > size:
            return told[:size], _token(told[size - 1].kept.position)
        return told, _token(places[-1]) if len(places) == SCANNED_MAX else ""

    async def _calls(
        self, session: AsyncSession, asker: Asker, traces: Sequence[str]
    ) -> list[asyncpg.Record]:
        rows = await find_store.calls_of_traces(session, traces)
        return [row for row in rows if asker.may_see(row)]

    async def _steps(
        self, session: AsyncSession, asker: Asker, links: Links, told: Sequence[Told]
    ) -> list[pb.StoryStep]:
        """Events as steps, each with the call that caused it and who made that."""
        traces = sorted({each.trace_id for each in told} - {""})
        calls: dict[str, list[asyncpg.Record]] = {}
        for row in await find_store.calls_of_traces(session, traces):
            if row["outcome"] == "OK":
                calls.setdefault(row["trace_id"], []).append(row)
        return [
            self._step(asker, links, each, _cause(each, calls.get(each.trace_id, ())))
            for each in told
        ]

    def _step(
        self, asker: Asker, links: Links, told: Told, call: asyncpg.Record | None
    ) -> pb.StoryStep:
        step = step_of(told, linked=links.is_linked(told))
        if call is not None:
            seen = asker.may_see(call)
            if seen:
                step.call.CopyFrom(_call(call))
            # Who acted stands in the event itself, or is the asker's to know by the log.
            if seen or f'"{call["institution_id"]}"' in step.data:
                self._name(step, call["institution_id"])
        return step

    def _name(self, step: pb.StoryStep, institution_id: str) -> None:
        step.institution_id = institution_id
        if known := self._directory.find(institution_id):
            step.institution_name, step.institution_name_zh = known.name, known.name_zh

    def _calls_alone(
        self, calls: Sequence[asyncpg.Record], steps: Sequence[pb.StoryStep]
    ) -> list[pb.StoryStep]:
        """Calls that no event of the page tells of, before the events that they caused."""
        told = {step.call.call_id for step in steps if step.HasField("call")}
        alone = []
        for call in calls:
            if str(call["call_id"]) in told:
                continue
            zh, en = story_words.call(call["method"])
            step = pb.StoryStep(
                words=en,
                words_zh=zh,
                recorded_time=timestamp(call["called_at"]),
                trace_id=call["trace_id"],
                call=_call(call),
                county_code=call["county_code"],
            )
            self._name(step, call["institution_id"])
            alone.append(step)
        return alone


def counties_of(reader: Institution) -> tuple[str, ...]:
    """The counties that an institution works in: of its areas, or its own."""
    found = sorted({area[:6] for area in reader.areas if len(area) >= 6})
    if not found and reader.county_code != ABOVE_COUNTIES:
        return (reader.county_code,)
    return tuple(found)


def _found(
    kind: str,
    one: UUID,
    seeds: tuple[UUID, ...],
    *,
    told: Told | None = None,
    calls: Sequence[asyncpg.Record] = (),
) -> Found:
    zh, en = story_words.kind(kind)
    finding = pb.Finding(kind=kind, id=shown(one, kind), words=en, words_zh=zh)
    if told is not None:
        finding.county_code = told.kept.envelope.county_code
        finding.household_id = str(one) if kind == HOUSEHOLD else told.household_id
        finding.first_time.CopyFrom(time_of(told.kept))
    elif calls:
        finding.county_code = calls[0]["county_code"]
        if first := timestamp(calls[0]["called_at"]):
            finding.first_time.CopyFrom(first)
    return Found(finding, seeds, tuple(calls))


def _cause(told: Told, calls: Sequence[asyncpg.Record]) -> asyncpg.Record | None:
    """The call that an event was caused by: the last command of its trace before it, or a call."""
    before = [row for row in calls if row["called_at"] <= told.kept.envelope.recorded_at]
    commands = [row for row in before if any(map(_IS_REQUEST, row["resources"]))]
    return next(iter((*reversed(commands), *before)), None)


def _call(row: asyncpg.Record) -> pb.StoryCall:
    return pb.StoryCall(
        call_id=str(row["call_id"]),
        method=row["method"],
        institution_id=row["institution_id"],
        called_time=timestamp(row["called_at"]),
        outcome=row["outcome"],
        reason=row["reason"],
        position=row["position"],
    )


def _touch(onward: Onward, finding: pb.Finding) -> None:
    """Have the access log name what was looked up."""
    if named := resources.name_of(finding.kind, finding.id):
        onward.touch(named)
    if finding.household_id and finding.kind != HOUSEHOLD:
        onward.touch(f"{HOUSEHOLD}:{finding.household_id}")


def _unknown() -> NotFound:
    return NotFound(
        "ID_NOT_FOUND",
        "nothing that is yours to know has this id",
        message_zh="未找到该编号对应的、您可查阅的内容",
    )


def _token(position: int) -> str:
    return wire.page_token(str(position))


async def keep_filling(db: Database) -> None:
    """Name the events that were kept before names were, some at a time, until cancelled."""
    while True:
        try:
            with metrics.job("gateway", "name_events"):
                more = await db.work(find_store.fill)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("names_wait", error=type(error).__name__)
            more = False
        await asyncio.sleep(FILL_SECONDS if more else FILLED_SECONDS)
