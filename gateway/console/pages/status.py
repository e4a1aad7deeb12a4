"""Status: how an institution stands; and the hands that pause and resume, of two persons."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from liandong.common.v1 import operator_pb2
from liandong.gateway.v1 import feeds_pb2, gateway_pb2
from starlette.responses import RedirectResponse, Response

from gateway.console.desk import Desk, Hidden, chosen

STATUS = "liandong.gateway.v1.GatewayService/GetStatus"
FEED_STATUS = "liandong.gateway.v1.FeedsService/GetFeedStatus"
PAUSES = "liandong.common.v1.OperatorService/ListPauses"
PROPOSE = "liandong.common.v1.OperatorService/ProposePause"
RESUME = "liandong.common.v1.OperatorService/ProposeResume"
DECIDE = "liandong.common.v1.OperatorService/DecidePause"
KEEPERS = ("gateway", "credit", "loans", "claims", "funds")
"""Each keeps the pauses of what it holds back."""
KINDS = {
    "institution": operator_pb2.PAUSE_KIND_INSTITUTION,
    "feed": operator_pb2.PAUSE_KIND_FEED,
    "consumer": operator_pb2.PAUSE_KIND_CONSUMER,
    "product": operator_pb2.PAUSE_KIND_PRODUCT,
}
HOURS = (1, 4, 24, 168)
SHOWN = 100


async def status(desk: Desk) -> Response:
    """Calls, refusals, quota, feed, certificate, pauses: one's own only."""
    own, feed = await asyncio.gather(
        desk.ask(STATUS, gateway_pb2.GetStatusRequest()),
        desk.ask_if_mine(FEED_STATUS, feeds_pb2.GetFeedStatusRequest()),
    )
    now = datetime.now(UTC)
    ends = own.certificate_ends_at.ToDatetime(UTC)
    return await desk.page("status.html", own=own, feed=feed, days_left=(ends - now).days)


async def hands(desk: Desk) -> Response:
    """What is paused or proposed, and forms to propose and decide."""
    over_too = desk.request.query_params.get("over") == "1"

    async def of(noun: str) -> tuple[str, Any]:
        request = operator_pb2.ListPausesRequest(over_too=over_too, page_size=SHOWN)
        return noun, await desk.ask(PAUSES, request, noun)

    found = await asyncio.gather(*(of(noun) for noun in KEEPERS))
    return await desk.page(
        "hands.html",
        pauses=[(noun, pause) for noun, answer in found for pause in answer.pauses],
        cut=any(answer.next_page_token for _, answer in found),
        may_act=desk.may(PROPOSE),
        over_too=over_too,
        request_id=str(uuid.uuid4()),
        keepers=KEEPERS,
        kinds=KINDS,
        hours=HOURS,
        states=operator_pb2.PauseState,
    )


async def act(desk: Desk) -> Response:
    """Propose a pause or its end, or decide as the second person."""
    form = await desk.request.form()
    noun = chosen(str(form.get("keeper", "")), KEEPERS)
    do = str(form.get("do", ""))
    if not noun:
        raise Hidden("keeper")
    request_id = str(form.get("request_id", ""))
    if do == "pause":
        kind = KINDS.get(str(form.get("kind", "")))
        if kind is None:
            raise Hidden("kind")
        request = operator_pb2.ProposePauseRequest(
            request_id=request_id,
            kind=kind,
            subject=str(form.get("subject", "")).strip(),
            county_code=desk.county if kind == operator_pb2.PAUSE_KIND_PRODUCT else "",
            reason=str(form.get("reason", "")),
        )
        hours = str(form.get("hours", ""))
        if hours in map(str, HOURS):
            until = datetime.now(UTC) + timedelta(hours=int(hours))
            request.expire_time.CopyFrom(Timestamp(seconds=int(until.timestamp())))
        await desk.ask(PROPOSE, request, noun)
    elif do == "resume":
        resume = operator_pb2.ProposeResumeRequest(
            request_id=request_id,
            pause_id=str(form.get("pause", "")),
            reason=str(form.get("reason", "")),
        )
        await desk.ask(RESUME, resume, noun)
    else:
        decide = operator_pb2.DecidePauseRequest(
            request_id=request_id, pause_id=str(form.get("pause", "")), confirm=do == "confirm"
        )
        await desk.ask(DECIDE, decide, noun)
    return RedirectResponse("/hands", status_code=303)
