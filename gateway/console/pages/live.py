"""Live events: the institution's own feed as it happens, taken up where the browser left off."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from liandong.gateway.v1 import feeds_pb2
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import PlainTextResponse, Response

from gateway.console.desk import Desk, chosen

SUBSCRIBE = "liandong.gateway.v1.FeedsService/Subscribe"
FEED_STATUS = "liandong.gateway.v1.FeedsService/GetFeedStatus"
NOUNS = ("households", "credit", "loans", "claims", "funds", "gateway")
SHOWN_MAX = 300
PAUSE_SECONDS = 1.0
PING_SECONDS = 15
LOOK_BACK_SECONDS = 30
SAID_MAX = 6
AWAY = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
)
PLACES = {"loans.loan": "loans", "claims.claim": "claims", "funds.case": "cases"}


async def live(desk: Desk) -> Response:
    """The page; events come over the stream below."""
    noun = chosen(desk.request.query_params.get("noun", ""), NOUNS)
    begin = chosen(desk.request.query_params.get("from", ""), ("beginning", "now"))
    status = await desk.ask_if_mine(FEED_STATUS, feeds_pb2.GetFeedStatusRequest())
    return await desk.page(
        "live.html", noun=noun, begin=begin, nouns=NOUNS, feed=status, most=SHOWN_MAX
    )


async def stream(desk: Desk) -> Response:
    """The events, each with the feed's cursor as its id: who comes back names the last."""
    if desk.session.streams >= desk.settings.streams_of_session_max:
        return PlainTextResponse("too many live pages\n", status_code=429)
    return EventSourceResponse(_told(desk, await _begin(desk)), ping=PING_SECONDS)


async def _begin(desk: Desk) -> feeds_pb2.SubscribeRequest:
    """Behind the last event that the browser has; else a little back, or as it was chosen."""
    params = desk.request.query_params
    noun = chosen(params.get("noun", ""), NOUNS)
    request = feeds_pb2.SubscribeRequest(nouns=[noun] if noun else [])
    after = desk.request.headers.get("last-event-id") or params.get("after", "")
    if after and len(after) <= 64:
        request.cursor = after
    elif params.get("from") == "beginning":
        request.beginning = True
    else:
        status = await desk.ask(FEED_STATUS, feeds_pb2.GetFeedStatusRequest())
        if params.get("from") == "now" or not status.HasField("last_event_time"):
            if status.last_cursor:
                request.cursor = status.last_cursor
            else:
                request.beginning = True
        else:
            back = status.last_event_time.seconds - LOOK_BACK_SECONDS
            request.since.CopyFrom(Timestamp(seconds=back))
    return request


async def _told(desk: Desk, request: feeds_pb2.SubscribeRequest) -> AsyncIterator[ServerSentEvent]:
    desk.session.streams += 1
    console = desk.request.state.console
    try:
        while console.sessions.lives(desk.session.session_id):
            try:
                async for answer in desk.caller.follow(desk.session.person_id, SUBSCRIBE, request):
                    yield _event(desk, answer)
                    if answer.cursor:
                        request.cursor = answer.cursor
                    if not console.sessions.lives(desk.session.session_id):
                        break
            except grpc.aio.AioRpcError as error:
                if error.code() not in AWAY:
                    break
                yield ServerSentEvent(event="away", data="away")
                await asyncio.sleep(PAUSE_SECONDS)
        yield ServerSentEvent(event="over", data="over")
    finally:
        desk.session.streams -= 1


def _event(desk: Desk, answer: feeds_pb2.SubscribeResponse) -> ServerSentEvent:
    if not answer.HasField("event"):
        # A browser takes no notice of an event without data.
        data = answer.held_because or "at"
        return ServerSentEvent(event="at", id=answer.cursor, data=data)
    event = answer.event
    html = desk.looks.render(
        "live_event.html",
        desk.language,
        event=event,
        noun=event.source.rsplit("/", 1)[-1],
        said=_said(event.data),
        at=datetime.fromtimestamp(event.time.seconds, UTC),
        where=_where(event),
    )
    return ServerSentEvent(event="told", id=answer.cursor, data=html.replace("\n", ""))


def _where(event: feeds_pb2.FeedEvent) -> str:
    place = PLACES.get(event.aggregate_type)
    return f"/{place}/{event.subject}" if place else f"/find?q={event.subject}"


def _said(data: str) -> list[tuple[str, Any, bool]]:
    """The first plain fields of an event: name, value, whether it is money."""
    try:
        fields = json.loads(data)
    except ValueError:
        return []
    found = [
        (name, int(value) if name.endswith("Fen") else value, name.endswith("Fen"))
        for name, value in fields.items()
        if isinstance(value, str | int | bool) and not name.endswith(("Id", "countyCode"))
    ]
    return found[:SAID_MAX]
