"""Parked events: what a handler could not take, run again, or given up by two persons."""

import asyncio
import re
import uuid
from typing import Any

from liandong.common.v1 import operator_pb2
from starlette.responses import RedirectResponse, Response

from gateway.console.desk import Desk, Hidden

LIST = "liandong.common.v1.OperatorService/ListParkedEvents"
REPLAY = "liandong.common.v1.OperatorService/ReplayParkedEvents"
DROP = "liandong.common.v1.OperatorService/DropParkedEvent"
SERVICES = ("gateway", "credit", "loans", "claims", "funds", "households")
SHOWN = 50


async def parked(desk: Desk) -> Response:
    """What is parked in each service; a page of one service at a time where there is more."""
    params = desk.request.query_params
    only = params.get("service", "")
    services = [only] if only in SERVICES else list(SERVICES)
    token = params.get("token", "")[:200] if only in SERVICES else ""

    async def of(service: str) -> tuple[str, Any]:
        request = operator_pb2.ListParkedEventsRequest(page_size=SHOWN, page_token=token)
        return service, await desk.ask(LIST, request, service)

    found = await asyncio.gather(*(of(service) for service in services))
    return await desk.page(
        "parked.html",
        found=[(service, answer) for service, answer in found if answer.events],
        may_act=desk.may(REPLAY),
        request_id=str(uuid.uuid4()),
        done=params.get("done", ""),
    )


async def act(desk: Desk) -> Response:
    """Run events again, or propose and confirm that one is given up."""
    form = await desk.request.form()
    service = str(form.get("service", ""))
    if service not in SERVICES:
        raise Hidden(service)
    request_id = str(form.get("request_id", ""))
    if form.get("do") == "replay":
        answer = await desk.ask(
            REPLAY,
            operator_pb2.ReplayParkedEventsRequest(
                request_id=request_id, aggregate_id=str(form.get("aggregate", ""))
            ),
            service,
        )
        done = f"{answer.applied}-{answer.parked}"
    else:
        dropped = await desk.ask(
            DROP,
            operator_pb2.DropParkedEventRequest(
                request_id=request_id,
                event_id=str(form.get("event", "")),
                reason=str(form.get("reason", "")),
            ),
            service,
        )
        done = "dropped" if dropped.dropped else "proposed"
    assert re.fullmatch(r"[0-9a-z-]+", done)
    return RedirectResponse(f"/parked?done={done}", status_code=303)
