"""Feeds over gRPC: from where a reader goes on, what it asks for, how far it has come."""

import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.unknown_fields import UnknownFieldSet
from liandong.gateway.v1 import feeds_pb2 as pb
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import feed_rules, feed_store, feed_stream
from gateway.access import contains
from gateway.event_types import noun_of
from gateway.feed_channel import CHANNELS_MAX, FEED_SYSTEMS, durable_of, stream_of, subjects_of
from gateway.feed_document import document
from gateway.feed_pages import Filters, Item, Pages
from gateway.feed_readers import cursor_of, readers
from gateway.feed_rules import ORGANS
from gateway.feed_stream import Tail
from gateway.identity import ABOVE_COUNTIES, Claim, Directory, Institution, caller_for
from gateway.pauses import Pauses
from gateway.registry import timestamp
from gateway.servicer import OwnMethod, of_bytes
from gateway.telling import OwnTelling, Watch
from services.kernel import rpc, wire
from services.kernel.caller import body_hash
from services.kernel.database import Database
from services.kernel.errors import (
    Denied,
    Exhausted,
    Invalid,
    NotFound,
    Refused,
    Violation,
    invalid_field,
)
from services.kernel.idempotency import once

SERVICE = "/liandong.gateway.v1.FeedsService"
MAIN = "main"
NATS = "nats"
READERS_MAX = 16
FULL_RETRY_SECONDS = 5.0
_CURSOR = re.compile(r"feed:([0-9]{1,18})")


class FeedsServicer:
    """Tells every institution its own feed."""

    def __init__(
        self,
        db: Database,
        directory: Directory,
        pages: Pages,
        tail: Tail,
        *,
        streams_max: int,
        paused: Pauses,
    ) -> None:
        self._paused = paused
        self._db = db
        self._directory = directory
        self._pages = pages
        self._tail = tail
        self._streams_max = streams_max
        self._streams = 0

    def methods(self) -> Mapping[str, OwnMethod]:
        """The methods with one answer."""
        return {
            f"{SERVICE}/AcknowledgeFeed": of_bytes(pb.AcknowledgeFeedRequest, self.AcknowledgeFeed),
            f"{SERVICE}/GetFeedStatus": of_bytes(pb.GetFeedStatusRequest, self.GetFeedStatus),
            f"{SERVICE}/GetFeedDocument": of_bytes(pb.GetFeedDocumentRequest, self.GetFeedDocument),
            f"{SERVICE}/SetNatsFeed": of_bytes(pb.SetNatsFeedRequest, self.SetNatsFeed),
        }

    def telling(self) -> Mapping[str, OwnTelling]:
        """The methods that go on telling."""
        return {f"{SERVICE}/Subscribe": self.subscribe}

    async def subscribe(self, watch: Watch, body: bytes) -> AsyncGenerator[bytes]:
        """The caller's feed, message by message; followers leave room for calls."""
        if self._streams >= self._streams_max:
            raise Exhausted(
                "TOO_MANY_STREAMS",
                f"{self._streams_max} feeds are followed at this gateway already",
                message_zh="订阅数量已达上限,请稍后重试",
                retry_seconds=FULL_RETRY_SECONDS,
            )
        self._streams += 1
        try:
            async with aclosing(self._follow(watch, _read(body))) as answers:
                async for answer in answers:
                    yield answer
        finally:
            self._streams -= 1

    async def _follow(self, watch: Watch, request: pb.SubscribeRequest) -> AsyncGenerator[bytes]:
        reader = watch.allowed()
        filters = replace(_filters(reader, request), purpose=watch.purpose)
        after = await self._start(reader, request)
        held = self._paused.feed
        async for told in feed_stream.follow(
            self._pages, self._tail, watch, filters, after=after, held=held
        ):
            answer = pb.SubscribeResponse(
                cursor=cursor_of(told.position),
                event=_to_proto(told.item) if told.item else None,
                live=told.live,
                held_because=told.held_because,
            )
            yield answer.SerializeToString()

    async def _start(self, reader: Institution, request: pb.SubscribeRequest) -> int:
        async with self._db.transaction() as session:
            first, _ = await feed_store.first_kept(session)
            match request.WhichOneof("start"):
                case "beginning":
                    return first - 1
                case "since":
                    moment = wire.time_from_proto("since", request.since)
                    return max(first - 1, await feed_store.position_at(session, moment))
                case "cursor":
                    after = await _position(session, request.cursor)
                case _:
                    name = request.reader or MAIN
                    known = await feed_store.readers(session, reader.institution_id)
                    found = {row["reader"]: row["position"] for row in known}
                    after = found.get(name, first - 1)
        if after < first - 1:
            raise Refused(
                "CURSOR_TOO_OLD",
                "what follows the cursor is no longer kept; begin at the beginning",
                message_zh="游标之后的事件已超过保存期限,请从头开始",
                facts={"first_cursor": cursor_of(first - 1)},
            )
        return after

    async def AcknowledgeFeed(
        self, institution: Institution, _claim: Claim, request: pb.AcknowledgeFeedRequest
    ) -> pb.AcknowledgeFeedResponse:
        """Note how far a reader has come: the same again changes nothing."""
        own, name = institution.institution_id, request.reader or MAIN
        if name == NATS:
            rule = "must not be `nats`: what was taken there is acknowledged there"
            raise invalid_field("READER_RESERVED", "reader", name, rule)
        async with self._db.transaction() as session:
            position = await _position(session, request.cursor)
            known = {row["reader"] for row in await feed_store.readers(session, own)}
            if name not in known and len(known - {NATS}) >= READERS_MAX:
                raise Exhausted(
                    "TOO_MANY_READERS",
                    f"an institution has at most {READERS_MAX} readers",
                    message_zh="读取方数量已达上限",
                )
            position = await feed_store.acknowledge(session, own, name, position)
        return pb.AcknowledgeFeedResponse(cursor=cursor_of(position))

    async def GetFeedStatus(
        self, institution: Institution, _claim: Claim, _request: pb.GetFeedStatusRequest
    ) -> pb.GetFeedStatusResponse:
        """How the caller's readers stand."""
        own = institution.institution_id
        async with self._db.transaction() as session:
            first, since = await feed_store.first_kept(session)
            last = await feed_store.last_position(session)
            known = await feed_store.readers(session, own)
            channels = await feed_store.channels(session)
        newest = await self._pages.newest(institution)
        return pb.GetFeedStatusResponse(
            last_cursor=cursor_of(last),
            last_event_time=timestamp(newest.envelope.recorded_at if newest else None),
            kept_since=timestamp(since),
            nats_open=any(row["institution_id"] == own and row["open"] for row in channels),
            readers=await readers(self._pages, institution, known, first_kept=first),
        )

    async def GetFeedDocument(
        self, institution: Institution, _claim: Claim, _request: pb.GetFeedDocumentRequest
    ) -> pb.GetFeedDocumentResponse:
        """The AsyncAPI document of the caller's feed."""
        found = document(institution.role)
        return pb.GetFeedDocumentResponse(document=json.dumps(found, ensure_ascii=False))

    async def SetNatsFeed(
        self, institution: Institution, claim: Claim, request: pb.SetNatsFeedRequest
    ) -> pb.SetNatsFeedResponse:
        """Open or close a government system's feed on NATS."""
        if not claim.person_id:
            raise Denied(
                "PERSON_NEEDED", "this call must name the person", message_zh="须指明经办人"
            )
        found = self._directory.find(request.institution_id)
        if found is None:
            raise NotFound(
                "INSTITUTION_NOT_FOUND", "no such institution is known", message_zh="机构不存在"
            )
        if found.role not in FEED_SYSTEMS:
            raise Refused(
                "NOT_A_GOVERNMENT_SYSTEM",
                "only systems of the government have a feed on NATS; others subscribe here",
                message_zh="仅政府系统可通过消息总线接收事件",
            )
        answer = pb.SetNatsFeedResponse(
            stream=stream_of(found.institution_id),
            durable=durable_of(found.institution_id),
            subjects=subjects_of(found.institution_id),
            open=request.open,
        )

        async def work(session: AsyncSession) -> pb.SetNatsFeedResponse:
            others = {row["institution_id"] for row in await feed_store.channels(session)}
            if len(others - {found.institution_id}) >= CHANNELS_MAX:
                raise Exhausted(
                    "TOO_MANY_CHANNELS",
                    f"at most {CHANNELS_MAX} feeds on NATS",
                    message_zh="消息总线通道数量已达上限",
                )
            await feed_store.set_channel(
                session, found.institution_id, is_open=request.open, person_id=claim.person_id
            )
            return answer

        method = f"{SERVICE}/SetNatsFeed"
        caller = caller_for(institution, claim, method=method, body_hash=body_hash(b""))
        return await once(self._db, caller, request, pb.SetNatsFeedResponse, work, money=False)


async def _position(session: AsyncSession, cursor: str) -> int:
    """The position of a cursor that this feed has given."""
    try:
        found = _CURSOR.fullmatch(wire.page_start(cursor))
    except Invalid:
        found = None
    if found is None or int(found[1]) > await feed_store.last_position(session):
        raise invalid_field(
            "MALFORMED_CURSOR", "cursor", cursor[:64], "must come from this feed", "游标无效"
        )
    return int(found[1])


def _read(body: bytes) -> pb.SubscribeRequest:
    try:
        request = pb.SubscribeRequest.FromString(body)
    except DecodeError as error:
        raise Invalid("MALFORMED_MESSAGE", "the request is not a valid message") from error
    _require_known_fields(request)
    rpc.check(request)
    return request


def _require_known_fields(request: Message) -> None:
    """Refuse a filter that we do not know: it would let everything pass."""
    found: Any = UnknownFieldSet(request)
    strangers = [str(field.field_number) for field in found]
    if strangers:
        raise Invalid(
            "UNKNOWN_FIELD",
            f"fields {', '.join(strangers[:10])} are not known",
            message_zh="请求含未知字段",
            violations=[Violation(name, "***", "is not a field") for name in strangers[:10]],
        )


def _filters(reader: Institution, request: pb.SubscribeRequest) -> Filters:
    """What is asked for; refused where it names what the reader is never told."""
    types = feed_rules.told_types(reader.role)
    nouns = {noun_of(each) for each in types}
    violations = [
        Violation(f"nouns[{place}]", noun[:40], "must be a service that tells you something")
        for place, noun in enumerate(request.nouns)
        if noun not in nouns
    ]
    if violations:
        raise Invalid(
            "UNKNOWN_NOUN", "no such service", message_zh="服务名未知", violations=violations
        )
    violations = [
        Violation(f"event_types[{place}]", each[:100], "must be an event that you are told of")
        for place, each in enumerate(request.event_types)
        if each not in types
    ]
    if violations:
        raise Invalid(
            "UNKNOWN_EVENT", "no such event", message_zh="事件类型未知", violations=violations
        )
    for area in request.area_codes:
        _require_area(reader, area)
    asked = types
    if request.nouns:
        asked = frozenset(each for each in asked if noun_of(each) in request.nouns)
    if request.event_types:
        asked &= frozenset(request.event_types)
    return Filters(
        asked if request.nouns or request.event_types else None, tuple(request.area_codes)
    )


def _require_area(reader: Institution, area: str) -> None:
    """Refuse an area where an organ has no part; a party's own may lie anywhere."""
    if reader.role not in ORGANS:
        return
    in_county = reader.county_code == ABOVE_COUNTIES or contains(reader.county_code, area)
    if not in_county or (reader.areas and not any(contains(own, area) for own in reader.areas)):
        raise Denied(
            "AREA_NOT_YOURS",
            f"{reader.institution_id} may not ask about {area}",
            message_zh="超出本机构辖区",
        )


def _to_proto(item: Item) -> pb.FeedEvent:
    envelope = item.kept.envelope
    time = Timestamp()
    time.FromDatetime(envelope.recorded_at)
    return pb.FeedEvent(
        id=str(envelope.event_id),
        type=envelope.event_type,
        source=f"/liandong/{envelope.noun}",
        subject=envelope.aggregate_id,
        time=time,
        data_content_type="application/json",
        data=item.data,
        aggregate_type=envelope.aggregate_type,
        sequence=envelope.sequence,
        county_code=envelope.county_code,
        business_date=wire.date_to_proto(envelope.business_date),
        programme=envelope.programme,
        masked=item.masked,
    )
