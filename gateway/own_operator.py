"""The operator's surface of the gateway itself: its events that wait, and what it said."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date

from google.protobuf.message import Message
from liandong.common.v1 import operator_pb2 as pb
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import event_handlers, feed_store, pauses
from gateway.identity import Claim, Directory, Institution, caller_for
from gateway.routes import OWN
from gateway.servicer import OwnMethod, of_bytes
from services.kernel import pause_desk, rpc
from services.kernel.caller import body_hash
from services.kernel.database import Database
from services.kernel.operator import Books, OperatorServicer

SERVICE = "/liandong.common.v1.OperatorService"
METHODS: Mapping[str, type[Message]] = {
    "GetTotals": pb.GetTotalsRequest,
    "ListParkedEvents": pb.ListParkedEventsRequest,
    "ReplayParkedEvents": pb.ReplayParkedEventsRequest,
    "DropParkedEvent": pb.DropParkedEventRequest,
    "RepublishEvents": pb.RepublishEventsRequest,
    "ProposePause": pb.ProposePauseRequest,
    "ProposeResume": pb.ProposeResumeRequest,
    "DecidePause": pb.DecidePauseRequest,
    "ListPauses": pb.ListPausesRequest,
}


Serve = Callable[[Institution, Claim, Message], Awaitable[Message]]


async def _totals(session: AsyncSession, _county_code: str) -> Mapping[str, int]:
    return {"feed_events_count": await feed_store.last_position(session)}


async def _close_day(_session: AsyncSession, _county_code: str, _day: date) -> None:
    raise AssertionError("no method of the gateway closes a day")


def methods(db: Database, directory: Directory) -> Mapping[str, OwnMethod]:
    """What every service serves, where a call names the gateway as the service that it means."""
    servicer = OperatorServicer(
        db,
        Books(totals=_totals, close_day=_close_day),
        event_handlers.replay_handlers(),
        {**pause_desk.consumer_of(OWN), **pauses.pausable(directory)},
    )
    return {
        f"{SERVICE}/{name}": of_bytes(request_type, _method(servicer, name))
        for name, request_type in METHODS.items()
    }


def _method(servicer: OperatorServicer, name: str) -> Serve:
    async def serve(institution: Institution, claim: Claim, request: Message) -> Message:
        path = f"{SERVICE}/{name}"
        caller = caller_for(institution, claim, method=path, body_hash=body_hash(b""))
        # Nothing of the call itself is asked for there but who it is from.
        context = rpc.Guarded(None, caller)  # type: ignore[arg-type]
        answer: Message = await getattr(servicer, name)(request, context)
        return answer

    return serve
