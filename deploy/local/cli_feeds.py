"""The `liandong feeds` commands: what an institution is told, and how far it has come."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

import grpc
import typer
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from liandong.gateway.v1 import feeds_pb2 as pb
from liandong.gateway.v1 import feeds_pb2_grpc
from rich.console import Console
from rich.table import Table

from deploy.local import places
from deploy.local.cli_run import Folder, run
from deploy.local.client import Institution, may_ask_again
from deploy.local.remote import Remote
from gateway.feed_document import document as document_of
from services.programmes.schema.deployment import InstitutionRole

STUB: Any = feeds_pb2_grpc.FeedsServiceStub
PAUSE_SECONDS = 0.5

feeds = typer.Typer(no_args_is_help=True, help="Feeds: what each institution is told.")
console = Console()

Id = Annotated[str, typer.Argument(help="The institution's id.")]
Reader = Annotated[str, typer.Option("--reader", help="Which of its readers; empty for `main`.")]
Nouns = Annotated[list[str] | None, typer.Option("--noun", help="Only of this service.")]
Events = Annotated[list[str] | None, typer.Option("--event", help="Only of this type.")]
Areas = Annotated[list[str] | None, typer.Option("--area", help="Only in this area.")]


@feeds.command()
def follow(
    institution: Id,
    *,
    folder: Folder = "main",
    reader: Reader = "",
    cursor: Annotated[str, typer.Option(help="Go on after this cursor.")] = "",
    since: Annotated[datetime | None, typer.Option(help="From this moment on, UTC.")] = None,
    beginning: Annotated[bool, typer.Option(help="From the first event that is kept.")] = False,
    noun: Nouns = None,
    event: Events = None,
    area: Areas = None,
    once: Annotated[bool, typer.Option(help="End when everything has been told.")] = False,
    acknowledge: Annotated[bool, typer.Option(help="Note every event as done.")] = False,
) -> None:
    """Print an institution's feed as it happens, a line of JSON each; a break is gone on from."""
    asked = pb.SubscribeRequest(
        reader=reader, nouns=noun or (), event_types=event or (), area_codes=area or ()
    )
    if cursor:
        asked.cursor = cursor
    elif since is not None:
        moment = Timestamp()
        moment.FromDatetime(since.replace(tzinfo=UTC))
        asked.since.CopyFrom(moment)
    elif beginning:
        asked.beginning = True

    async def work() -> None:
        remote = Remote.read(places.find().folder(folder))
        async with remote.institution(institution) as client:
            async for answer in told(client, asked, once=once):
                print(line(answer), flush=True)
                if acknowledge:
                    await _acknowledge(client, reader, answer.cursor)

    run(work())


async def told(
    client: Institution, asked: pb.SubscribeRequest, *, once: bool
) -> AsyncIterator[pb.SubscribeResponse]:
    """The events of a feed; when the stream ends or breaks, it goes on from the last cursor."""
    while True:
        call = client.stub(STUB).Subscribe(asked, metadata=client.metadata(1, {}))
        try:
            async for answer in call:
                asked.cursor = answer.cursor
                if answer.HasField("event"):
                    yield answer
                elif once and answer.live:
                    call.cancel()
                    return
        except grpc.aio.AioRpcError as error:
            if not may_ask_again(error):
                raise
        await asyncio.sleep(PAUSE_SECONDS)


def line(answer: pb.SubscribeResponse) -> str:
    """An event on one line, its data in it and not beside it."""
    found = json_format.MessageToDict(answer.event)
    found["data"] = json.loads(answer.event.data)
    found["cursor"] = answer.cursor
    return json.dumps(found, ensure_ascii=False)


async def _acknowledge(client: Institution, reader: str, cursor: str) -> str:
    request = pb.AcknowledgeFeedRequest(request_id=str(uuid.uuid4()), reader=reader, cursor=cursor)
    answer = await client.call(STUB, "AcknowledgeFeed", request)
    return str(answer.cursor)


@feeds.command()
def acknowledge(
    institution: Id,
    cursor: Annotated[str, typer.Argument(help="All up to here is done.")],
    *,
    folder: Folder = "main",
    reader: Reader = "",
) -> None:
    """Note how far a reader of an institution has come."""

    async def work() -> None:
        remote = Remote.read(places.find().folder(folder))
        async with remote.institution(institution) as client:
            console.print(f"acknowledged {await _acknowledge(client, reader, cursor)}")

    run(work())


@feeds.command()
def status(institution: Id, *, folder: Folder = "main") -> None:
    """Show how far an institution's readers have come, and what waits for them."""

    async def work() -> None:
        remote = Remote.read(places.find().folder(folder))
        async with remote.institution(institution) as client:
            answer = await client.call(STUB, "GetFeedStatus", pb.GetFeedStatusRequest())
        table = Table("reader", "acknowledged", "when", "waiting", "since")
        for one in answer.readers:
            more = "+" if one.more_waiting else ""
            table.add_row(
                one.reader,
                one.acknowledged_cursor,
                _moment(one, "acknowledged_time"),
                f"{one.waiting_events}{more}",
                _moment(one, "waiting_since"),
            )
        console.print(table)
        console.print(
            f"last event {_moment(answer, 'last_event_time')}, on NATS {answer.nats_open}"
        )
        console.print(f"kept since {_moment(answer, 'kept_since')}, end {answer.last_cursor}")

    run(work())


def _moment(message: Any, name: str) -> str:
    return getattr(message, name).ToJsonString() if message.HasField(name) else "never"


@feeds.command()
def document(
    role: Annotated[InstitutionRole, typer.Argument(help="Whose feed, e.g. `bank`.")],
) -> None:
    """Print the AsyncAPI document of a role's feed, from the protos."""
    print(json.dumps(document_of(role.value), ensure_ascii=False, indent=2))


@feeds.command()
def nats(
    institution: Id,
    *,
    folder: Folder = "main",
    close: Annotated[bool, typer.Option("--close", help="Close it instead.")] = False,
) -> None:
    """Open a government system's feed on NATS: a stream and a durable consumer of its own."""

    async def work() -> None:
        remote = Remote.read(places.find().folder(folder))
        async with remote.institution(remote.with_role("operator")) as client:
            request = pb.SetNatsFeedRequest(
                request_id=str(uuid.uuid4()), institution_id=institution, open=not close
            )
            answer = await client.call(STUB, "SetNatsFeed", request)
        state = "open" if answer.open else "closed"
        console.print(f"{state}: stream {answer.stream}, durable {answer.durable}")
        console.print(f"subjects {answer.subjects}, at {remote.nats_url}")

    run(work())
